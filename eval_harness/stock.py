"""lm-eval's own tasks, by their own names, as lm-eval runs them: its requests, its prompts, its metrics.

So a `japanese_leaderboard` score can stand beside the leaderboard's own, and so can any of the thousands of other tasks. They
fetch their data themselves, which is looked at before a model is loaded (`inspect`). Tasks are scored one by one, those of a
group too: one that fails takes no other with it, and what is finished is kept for the next run (`score`).
Only what the model's tokenizer makes of a text is Haigo's: ids that are proved (`eval_harness.loading`).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval_harness import tasks
from eval_harness.journal import Journal, fingerprint, key
from eval_harness.options import Limit
from eval_harness.result import MANY, same_text
from haigo import files
from haigo.cli import Failed, HaigoError

if TYPE_CHECKING:
    from eval_harness.loading import CheckedLM

NAME = "lm_eval.partial.jsonl"
_PARTS = ("results", "versions", "n-shot", "n-samples", "higher_is_better", "same_answer")
"""Of a task's outcome; `n-samples` says how many documents there are and how many were scored, `same_answer` the one answer
that a model gave to all of them (None: there were several)."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A task, group or tag of lm-eval's, as it was asked for."""

    name: str
    shots: int | None
    limit: int | float | None
    leaves: Mapping[str, str]
    """Tasks in it -> what they are known by in the journal: settings, shots, limit and documents."""
    sizes: Mapping[str, int]
    """Tasks in it -> how many documents are scored."""


def split(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names of the leaderboard's tasks and names that only lm-eval can know, each in their order."""
    ours = {name.split("-")[0] for name in tasks.names()}
    theirs = [n for n in names if n.split("-")[0] not in ours and not any(c in n for c in "*?[")]
    twice = next((name for name in theirs if theirs.count(name) > 1), None)
    if twice is not None:
        raise HaigoError(f"--tasks names {twice} twice.", "name it once")
    return [n for n in names if n not in theirs], theirs


def check_folder(path: str | Path) -> None:
    """Raise where `--include_path` is no folder."""
    if not Path(path).is_dir():
        raise HaigoError(f"--include_path {path} is not a folder.", "name the folder with lm-eval's YAML files")


def check(names: Sequence[str], include_path: str | Path | None) -> Any:
    """lm-eval's task manager, once it knows all names.

    Raises:
        HaigoError: a name that neither has, or YAML files that can not be read.
    """
    if include_path is not None:
        check_folder(include_path)
    from lm_eval.tasks import TaskManager

    try:
        manager = TaskManager(include_path=str(include_path) if include_path else None)
    except Exception as error:  # YAML files fail in as many ways as there are
        raise HaigoError(
            f"--include_path {include_path}: lm-eval can not read its files: {_reason(error)}", "mend the YAML file"
        ) from None
    for name in names:
        if name not in manager.task_index:
            raise tasks.unknown(name, manager.task_index)
    return manager


def inspect(named: Sequence[tuple[str, int | None, Limit]], manager: Any) -> list[Asked]:
    """Load the data of all tasks and write the first prompt of each, before any model is loaded.

    Args:
        named: name, shots (None: the task's own) and limit of each.

    Raises:
        HaigoError: tasks that can not be run, all of them.
    """
    from eval_harness.loading import quiet

    inspected: list[Asked] = []
    wrong: dict[str, str] = {}
    settings: dict[str, tuple[str, Any, Any]] = {}
    with quiet():
        for name, number, limit in named:
            try:
                loaded = manager.load([name])["tasks"]
            except (Exception, SystemExit) as error:  # data sets fail in as many ways as there are
                wrong[name] = _reason(error)
                continue
            leaves, sizes = {}, {}
            for leaf, task in loaded.items():
                before = settings.setdefault(leaf, (name, number, limit))
                if before[1:] != (number, limit):
                    wrong[leaf] = f"{before[0]} and {name} both hold it, with other shots or another limit"
                try:
                    leaves[leaf], sizes[leaf] = _inspect(task, number, limit)
                except (Exception, SystemExit) as error:  # the same
                    wrong[leaf] = _reason(error)
            inspected.append(Asked(name, number, limit, leaves, sizes))
    if wrong:
        count = "one of lm-eval's tasks" if len(wrong) == 1 else f"{len(wrong)} of lm-eval's tasks"
        raise HaigoError(
            f"{count} can not be run: " + "; ".join(f"{name}: {why}" for name, why in wrong.items()),
            "leave them out, or get their data (`lm_eval --tasks NAME` fetches them where there is a network)",
        )
    return inspected


def _inspect(task: Any, shots: int | None, limit: int | float | None) -> tuple[str, int]:
    """What a task's figures depend on, as a digest, and how many documents are scored; raises where it can not be run."""
    if getattr(task, "UNSAFE_CODE", False):
        raise ValueError("it runs code that the model writes, which is not done here")
    if getattr(task, "MULTIMODAL", False):
        raise ValueError("it needs a model that takes pictures or sound")
    docs = list(task.eval_docs)
    if not docs:
        raise ValueError("it has no documents")
    if shots is not None and task.get_config("num_fewshot") != 0:
        task.set_config(key="num_fewshot", value=shots)
    elif task.get_config("num_fewshot") is None:
        task.set_config(key="num_fewshot", value=0)
    task.build_all_requests(limit=1, rank=0, world_size=1)
    seen = hashlib.sha256()
    for doc in docs:
        seen.update(_stable(doc))
    if task.get_config("num_fewshot"):
        for doc in task.fewshot_docs() or []:
            seen.update(_stable(doc))
    scored = len(docs) if limit is None else min(len(docs), math.ceil(limit if limit >= 1 else limit * len(docs)))
    return key(version("lm_eval"), shots, limit, _stable(task.dump_config()).decode(), seen.hexdigest()), scored


def _stable(value: Any) -> bytes:
    """JSON of anything, without addresses in memory."""
    return re.sub(r" at 0x[0-9a-f]+", "", json.dumps(value, sort_keys=True, default=repr)).encode()


def score(
    asked: Sequence[Asked],
    model: CheckedLM,
    manager: Any,
    kept: Journal | None,
    save: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Score a model on lm-eval's tasks, one by one.

    Args:
        kept: the finished tasks of an earlier run, and of this one as they come.
        save: called after every task with what there is so far.

    Returns:
        `results`, `versions`, `n-shot`, `n-samples` and `higher_is_better` as lm-eval gives them; `asked`: name -> its tasks;
        `dtype`; `limits` of tasks that have one; `same_answer` (`_PARTS`); `failed`: task -> reason, and `unfinished`: tasks
        still to come, both only where there are any.
    """
    from eval_harness.requests_bar import RequestsBar

    scored: dict[str, Any] = {part: {} for part in _PARTS} | {
        "asked": {each.name: list(each.leaves) for each in asked},
        "limits": {leaf: each.limit for each in asked for leaf in each.leaves if each.limit is not None},
        "dtype": str(model.model.dtype).removeprefix("torch."),
        "special_tokens": special_tokens(model),
        **({"chat_template": model.chat.record()} if model.chat is not None else {}),
    }
    failed: dict[str, str] = {}
    sizes = {leaf: size for each in asked for leaf, size in each.sizes.items()}
    rest = list(sizes)

    def so_far() -> dict[str, Any]:
        return scored | ({"failed": failed} if failed else {}) | ({"unfinished": rest} if rest else {})

    with RequestsBar(sum(sizes.values())) as bar:
        for each in asked:
            loaded = _again(manager, each, failed)
            for leaf in [leaf for leaf in each.leaves if leaf in rest]:  # another group may hold it too
                known, figures = each.leaves[leaf], None
                old = kept.known.get(known) if kept else None
                try:
                    with bar.task(leaf, sizes[leaf]):
                        figures = old or _score(model, loaded["tasks"][leaf], each, manager)
                except (Exception, SystemExit) as error:  # metrics and data fail in as many ways as there are
                    failed.setdefault(leaf, _reason(error))
                rest.remove(leaf)
                for part, value in (figures or {}).items():
                    scored[part][leaf] = value
                _warn(leaf, figures or {})
                if kept and figures and not old:
                    kept.add(known, figures)
                save(so_far())
            _groups(scored, loaded["groups"])
    save(so_far())
    return so_far()


def _again(manager: Any, asked: Asked, failed: dict[str, str]) -> Any:
    """The tasks anew: writing a first prompt has moved the generators that draw their shots."""
    from eval_harness.loading import quiet

    try:
        with quiet():
            return manager.load([asked.name])
    except (Exception, SystemExit) as error:  # its data went away meanwhile
        failed |= {leaf: _reason(error) for leaf in asked.leaves}
        return {"tasks": {}, "groups": {}}


def raise_failed(found: Mapping[str, Mapping[str, Any]], output_path: str | Path | None) -> None:
    """Raise where a task failed.

    Args:
        found: model (nothing where there is only one) -> its result.

    Raises:
        Failed: names every task that failed, and why.
    """
    failed = {
        f"{model}: {task}" if model else task: why
        for model, each in found.items()
        for task, why in each.get("lm_eval", {}).get("failed", {}).items()
    }
    if failed:
        raise Failed(
            f"{len(failed)} of lm-eval's tasks failed: " + "; ".join(f"{task}: {why}" for task, why in failed.items()),
            "mend what they say; the same command scores only what is missing"
            if output_path is not None
            else "mend what they say, and give --output_path so that the others are not scored again",
        )


def run(
    result: dict[str, Any],
    asked: Sequence[Asked],
    lm: CheckedLM,
    manager: Any,
    output_path: str | Path | None,
    keep_answers: bool,
) -> None:
    """Score lm-eval's own tasks into `result`, and write result.json whenever one is done."""

    def save(part: dict[str, Any]) -> None:
        result["lm_eval"] = part
        if output_path is not None:
            files.write_json(Path(output_path) / "result.json", result)

    kept, done = None, False
    if output_path is not None:
        kept = Journal(
            Path(output_path) / NAME, fingerprint(result["config"]["model_args"], None, lm.tokenizer_record())
        )
        if kept.resumed:
            print(f"haigo: {kept.resumed:,} of lm-eval's tasks are done already.", file=sys.stderr)
    behind = special_tokens(lm)["behind"]
    if behind:
        print(
            f"haigo: the tokenizer puts the special tokens {behind} behind every text of lm-eval's own tasks, also between "
            "question and answer, as in lm-eval; --model_args add_bos_token=False leaves special tokens out.",
            file=sys.stderr,
        )
    try:
        score(asked, lm, manager, kept, save)
        done = True
    finally:
        if kept:
            kept.close(done=done and not keep_answers and "failed" not in result["lm_eval"])


def _score(model: Any, task: Any, asked: Asked, manager: Any) -> dict[str, Any]:
    from lm_eval import simple_evaluate

    outcome = simple_evaluate(
        model=model,
        tasks=[task],
        num_fewshot=asked.shots,
        limit=asked.limit,
        task_manager=manager,
        log_samples=True,
        apply_chat_template=model.chat is not None,
    )
    assert outcome is not None
    name = task.task_name
    figures = {part: _plain(outcome[part].get(name)) for part in _PARTS if part in outcome}
    return figures | {"same_answer": _same_answer(outcome.get("samples", {}).get(name, []))}


def _same_answer(samples: Sequence[Mapping[str, Any]]) -> str | None:
    """The one answer to every document, where it says nothing of the model: a text, or choices that are all equally likely."""
    answers = [sample.get("filtered_resps") or [] for sample in samples]
    if len(answers) < MANY:
        return None
    if all(
        len(each) > 1 and len({str(one[0]) for one in each if isinstance(one, list | tuple)}) == 1 for each in answers
    ):
        return "every choice equally likely"
    texts = [each[0] for each in answers if len(each) == 1 and isinstance(each[0], str)]
    return same_text(texts) if len(texts) == len(answers) else None


def _warn(leaf: str, outcome: Mapping[str, Any]) -> None:
    """Tell of figures that are no numbers, which the table has no place for, and of a model that gave one answer to all."""
    if outcome.get("same_answer"):
        print(f"haigo: {leaf}: the model gave all documents one answer, {outcome['same_answer']}; its score says nothing of "
              "what it knows.", file=sys.stderr)  # fmt: skip
    figures = outcome.get("results", {})
    lost = [key.split(",")[0] for key, each in figures.items() if "," in key and "_stderr" not in key and each is None]
    if lost:
        print(f"haigo: {leaf}: {' and '.join(lost)} came out as no number.", file=sys.stderr)


def _groups(scored: dict[str, Any], groups: Mapping[str, Any]) -> None:
    """Add the figures of groups whose tasks are all there."""
    from lm_eval.evaluator_utils import EvalAcc, aggregate_groups

    whole = {
        name: group
        for name, group in groups.items()
        if all(task.task_name in scored["results"] for task in group.get_all_tasks())
    }
    if not whole:
        return
    there = EvalAcc(metrics=dict(scored["results"]), num_fewshot=dict(scored["n-shot"]), groups=whole)
    outcome = aggregate_groups(there)._to_eval_results()
    for name in whole:
        scored["results"][name] = _plain(outcome["results"][name])
        scored["versions"][name] = outcome["versions"].get(name)
        if name in outcome["n-shot"]:
            scored["n-shot"][name] = outcome["n-shot"][name]


def _plain(value: Any) -> Any:
    """Figures as JSON holds them: numpy's as Python's, one that is no number as None."""
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | None) else str(value)


def special_tokens(model: CheckedLM) -> dict[str, list[int]]:
    """Ids of the special tokens that lm-eval lets the tokenizer put `before` and `behind` every text."""
    plain, whole = model.opened.ids("a"), list(model.tok_encode("a"))
    place = next((n for n in range(len(whole)) if whole[n : n + len(plain)] == plain), len(whole))
    return {"before": whole[:place], "behind": whole[place + len(plain) :]}


def _reason(error: BaseException) -> str:
    problem = str(getattr(error, "problem", "") or error)
    return " ".join(next((line for line in problem.splitlines() if line.strip()), type(error).__name__).split())[:300]
