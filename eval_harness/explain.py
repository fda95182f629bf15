"""`--explain`: one example exactly as it is scored, and what lm-eval's own way would make of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from eval_harness import tasks
from eval_harness.engine import Prepared, requests

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

    from eval_harness.model import LeaderboardLM


def explain(model: LeaderboardLM, prepared: Prepared, number: int = 0) -> str:
    """The context, token ids, choices and numbers of document `number` (in scoring order), as text for people."""
    rules, doc, context = prepared.rules, prepared.docs[number], prepared.contexts[number]
    ids, how = model.context_ids(context), "no special tokens" if model.chat is None else "by the chat template"
    lines = [
        f"{rules.name}, {prepared.shots} shots, document {number} (id {doc['id']})",
        "--- context, as the model gets it (blanks and line ends matter) ---",
        model.shown(context),
        "--- end of context ---",
        f"{len(ids):,} tokens by {model.tokenizer_kind}, {how}: {_short(ids)}",
    ]
    if not context and model.chat is None:
        lines.append("an empty context stands for the end-of-text token")
    asked = list(requests(prepared, number, model))
    if asked[0].request_type == "generate_until":
        return "\n".join([*lines, *_generation(model, prepared, number, asked)])
    return "\n".join([*lines, *_choices(model, prepared, number, ids, asked)])


def _choices(
    model: LeaderboardLM, prepared: Prepared, number: int, ids: Sequence[int], asked: list[Instance]
) -> list[str]:
    doc, context, choices = prepared.docs[number], prepared.contexts[number], [each.args[1] for each in asked]
    answers = model.loglikelihood(asked)
    row = prepared.rules.judge(doc, answers)
    lines = []
    cut = len(ids) + max(len(model.encode(choice)) for choice in choices) - model.max_length - 1
    if cut > 0:
        lines.append(f"too long for {model.max_length:,} tokens: about {cut:,} are cut off at the beginning")
    lines.append("choices, encoded by themselves (sum of log-probabilities in nats; per character for acc_norm):")
    for place, (choice, (score, greedy)) in enumerate(zip(choices, answers, strict=True)):
        mark = "*" if place == doc["gold"] else " "
        lines.append(
            f"{mark} {choice}: {score:.4f} ({score / len(choice):.4f} a character{', greedy' if greedy else ''}), "
            f"ids {_short(model.encode(choice))}"
        )
    lines.append(f"answer: {choices[row['prediction']]}; acc {row['acc']:.0f}")
    return lines if model.chat is not None else lines + _difference(model, context, choices, prepared.rules.dataset)


def _difference(model: LeaderboardLM, context: str, choices: Sequence[str], dataset: str) -> list[str]:
    """How stock lm-eval would cut the same text into tokens."""
    if not context:
        start = f"lm-eval itself starts from its prefix token {model.prefix_token_id}, here {model.eot_token_id}"
        return [start, *_own_task(dataset)]
    lines = ["lm-eval's own way encodes context and choice as one text:"]
    for choice in choices:
        blanks = context[len(context.rstrip()) :]
        head = context.rstrip()
        whole, first = model.encode(head + blanks + choice), model.encode(head)
        theirs, ours = whole[len(first) :], model.encode(choice)
        same = theirs == ours and first == model.encode(context)
        lines.append(f"  {choice}: " + ("the same tokens are scored" if same else f"would score ids {_short(theirs)}"))
    if len(context.rstrip()) < len(context):
        lines.append("  (it moves the blanks and line ends at the context's end into the choice)")
    return lines + _own_task(dataset)


def _own_task(dataset: str) -> list[str]:
    """What lm-eval's own task of the same data asks instead."""
    rules = tasks.rules_of(dataset)
    if rules.lm_eval_name is None:
        return []
    return [f"lm-eval's own task, ja_leaderboard_{rules.lm_eval_name}, {rules.lm_eval_differs()}"]


def _generation(model: LeaderboardLM, prepared: Prepared, number: int, asked: list[Instance]) -> list[str]:
    (answer,), wanted = model.generate_until(asked), asked[0].args[1]
    stops = wanted["until"]
    prepared.rules.pieces = model.pieces
    row = prepared.rules.judge(prepared.docs[number], [answer])
    figures = {name: value for name, value in row.items() if isinstance(value, float)}
    end = model.encode(stops[0]) if stops and stops[0] != model.tokenizer.eos_token else []
    cut = ", ".join(map(repr, stops)) or "a blank line"
    return [
        f"greedy, at most {wanted['max_gen_toks']} tokens, cut at {cut}; ends at token "
        f"{end[-1] if end else model.eot_token_id}"
        + ("" if end else " (end of text: the stop string is that, or encodes to nothing)"),
        f"answer: {answer!r}",
        f"right: {row['target']!r}",
        "figures: " + ", ".join(f"{name} {value:.4f}" for name, value in figures.items()),
        "lm-eval's own task would take up to 256 tokens, stop at its own end-of-text token too, and skip special tokens",
        *_own_task(prepared.rules.dataset),
    ]


def _short(ids: Sequence[int], most: int = 24) -> str:
    words: list[Any] = list(ids) if len(ids) <= most else [*ids[: most // 2], "...", *ids[-most // 2 :]]
    return "[" + ", ".join(map(str, words)) + "]"
