"""Ask a model a question with choices, and see the log-likelihood of each.

    python -m eval_harness.ask --model MODEL_FOLDER --question "日本の首都は？" --choices 東京,京都,大阪 [--answer 東京]

The question is put as JCommonsenseQA puts it (prompt 0.3, no shots), and every choice is scored as the leaderboard scores
it. `*` stands before the right choice, or before the model's where no --answer is given. Without --question, questions
are read from standard input: a line with the question, a line with the choices (`*` before the right one, if you like), an
empty line to end.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eval_harness import metrics, tasks
from eval_harness.options import AskOptions
from haigo import cli, flags
from haigo.cli import HaigoError

if TYPE_CHECKING:
    from eval_harness.model import LeaderboardLM


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What a model makes of a question."""

    question: str
    choices: tuple[str, ...]
    loglikelihoods: tuple[float, ...]
    prediction: int
    answer: int | None

    def __str__(self) -> str:
        star = self.prediction if self.answer is None else self.answer
        lines = [f"Question: {self.question}", "Choices:"]
        for number, (choice, score) in enumerate(zip(self.choices, self.loglikelihoods, strict=True)):
            lines.append(f"{'*' if number == star else ' '} {choice}: {score:.2f}")
        verdict = "" if self.answer is None else " (right)" if self.answer == self.prediction else " (wrong)"
        return "\n".join([*lines, f"Answer: {self.choices[self.prediction]}{verdict}"])


def ask(
    model: LeaderboardLM, question: str, choices: Sequence[str], answer: str | None = None, prompt: str = "0.3"
) -> Reply:
    """Score every choice after the question.

    Raises:
        HaigoError: fewer than two choices, an empty one, or an answer that is not among them.
    """
    from lm_eval.api.instance import Instance

    words = check(choices, answer)
    doc = {"question": question, "choices": list(words), "gold": 0}
    context = tasks.make(f"jcommonsenseqa-1.1-{prompt}").context(doc, [])
    asked = [
        Instance(request_type="loglikelihood", doc=doc, arguments=(context, word), idx=number)
        for number, word in enumerate(words)
    ]
    scores = tuple(score for score, _ in model.loglikelihood(asked))
    return Reply(
        question=question,
        choices=words,
        loglikelihoods=scores,
        prediction=metrics.picks(scores, words)[0],
        answer=None if answer is None else words.index(answer),
    )


def check(choices: Sequence[str], answer: str | None) -> tuple[str, ...]:
    """The choices without the blanks around them, if they can be asked."""
    words = tuple(choice.strip() for choice in choices)
    if len(words) < 2 or not all(words):
        raise HaigoError(f"{len(words)} choices are given, or one is empty.", "give two or more, with commas between")
    twice = next((word for word in words if words.count(word) > 1), None)
    if twice is not None:
        raise HaigoError(f"the choice {twice} is given twice.", "give each once")
    if answer is not None and answer not in words:
        raise HaigoError(f"--answer {answer} is not one of the choices {', '.join(words)}.", "write it as a choice")
    return words


def marked(line: str) -> tuple[list[str], str | None]:
    """The choices of a typed line, and the one with `*` before it."""
    words = [word.strip() for word in line.split(",")]
    right = [word[1:].strip() for word in words if word.startswith("*")]
    if len(right) > 1:
        raise HaigoError(f"{len(right)} choices are marked as right.", "put one * before the right choice")
    return [word.removeprefix("*") for word in words], right[0] if right else None


def _typed() -> Iterator[tuple[str, str]]:
    while True:
        if sys.stdin.isatty():
            print("Question (empty to end): ", end="", flush=True)
        question = sys.stdin.readline().strip()
        if not question:
            return
        if sys.stdin.isatty():
            print("Choices, with commas: ", end="", flush=True)
        yield question, sys.stdin.readline().strip()


def main(argv: Sequence[str] | None = None) -> int | None:
    """The command."""
    given = flags.parse("eval_harness.ask", __doc__, AskOptions, argv)
    tasks.make(f"jcommonsenseqa-1.1-{given.prompt}")  # an unknown prompt is told before the model is loaded
    if (given.question is None) != (given.choices is None):
        raise HaigoError("--question and --choices belong together.", "give both, or neither to type them")
    if given.choices is not None:
        check(given.choices.split(","), given.answer)
    from eval_harness.model import load

    # as a mapping: a folder's name is never read as options
    options = {"pretrained": given.model}
    trusted = given.trust_remote_code
    model = load(options, device=given.device, show_progress=False, trust_remote_code=trusted)
    if given.question is not None and given.choices is not None:
        print(ask(model, given.question, given.choices.split(","), given.answer, given.prompt))
        return None
    for question, line in _typed():
        try:
            choices, right = marked(line)
            print(ask(model, question, choices, given.answer if right is None else right, given.prompt), flush=True)
        except HaigoError as error:
            if not sys.stdin.isatty():
                raise
            print(f"haigo: {error}", file=sys.stderr)  # a slip at the keyboard: the next question may be right
    return None


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
