"""Ask a model a question with choices, and see the log-likelihood of each; or a free question, and read its answer.

    python -m eval_harness.ask --model MODEL_FOLDER --question "日本の首都は？" --choices 東京、京都、大阪 [--answer 東京]
    python -m eval_harness.ask --model FINETUNED_FOLDER --question "日本の首都は？" --chat [--template FILE]

The question is put as JCommonsenseQA puts it (prompt 0.3, no shots), and every choice is scored as the leaderboard scores
it. `*` stands before the right choice, which --answer or a `*` in --choices names, and before no other. Choices are parted by
`,`, `、` or `，`, and by blanks beside Japanese characters (by any blank where there is no comma); "..." holds one together.
Without --question, questions are read from standard input: a line with the question, a line with the choices, an empty line to
end. With --chat a question is put by the model's chat template and answered freely.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eval_harness import chat, metrics, tasks
from eval_harness.options import AskOptions
from haigo import cli, flags
from haigo.cli import HaigoError

if TYPE_CHECKING:
    from eval_harness.model import LeaderboardLM


_COMMA = "[,、，､]"
_WIDE = r"[^\x00-\x7f]"
_COMMAS = re.compile(rf"\s*{_COMMA}\s*|(?<={_WIDE})\s+|(?<!\*)\s+(?={_WIDE})")
"""Where a line of choices is parted: a blank between two words of English belongs to a choice."""
_HELD, _PLACE = re.compile('"([^"]*)"'), "\x1a"
"""What "..." holds together, and what stands for it meanwhile."""

WORDS: dict[str, dict[str, Any]] = {
    "en": {
        "question": "Question",
        "choices": "Choices",
        "answer": "Answer",
        "star": "* ",
        "blank": "  ",
        "right": " (right)",
        "wrong": " (wrong)",
        "digits": {},
        "ask_question": "Question (empty to end): ",
        "ask_choices": "Choices, with commas or blanks between: ",
    },
    "ja": {
        "question": "質問",
        "choices": "選択肢",
        "answer": "AI回答",
        "star": "*",
        "blank": " ",
        "right": "（正解）",
        "wrong": "（不正解）",
        "digits": str.maketrans("0123456789.-", "０１２３４５６７８９．－"),
        "ask_question": "質問（空行で終わり）: ",
        "ask_choices": "選択肢（「、」か空白で区切り、正解の前に*）: ",
    },
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What a model makes of a question."""

    question: str
    choices: tuple[str, ...]
    loglikelihoods: tuple[float, ...]
    prediction: int
    answer: int | None

    def __str__(self) -> str:
        return self.text()

    def text(self, lang: str = "en") -> str:
        """For people: `en`, or `ja` with Japanese words and full-width figures."""
        words = WORDS[lang]
        lines = [f"{words['question']}: {self.question}", f"{words['choices']}:"]
        for number, (choice, score) in enumerate(zip(self.choices, self.loglikelihoods, strict=True)):
            star = words["star"] if number == self.answer else words["blank"]
            lines.append(f"{star}{choice}: {f'{score:.2f}'.translate(words['digits'])}")
        verdict = "" if self.answer is None else words["right" if self.answer == self.prediction else "wrong"]
        return "\n".join([*lines, f"{words['answer']}: {self.choices[self.prediction]}{verdict}"])


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
    """The choices of a typed line, and the one with `*` before it.

    Raises:
        HaigoError: more than one has it.
    """
    line = line.replace(_PLACE, "")
    held = _HELD.findall(line)
    bare = _HELD.sub(_PLACE, line.strip().replace("＊", "*"))
    parts = re.split(_COMMAS if re.search(_COMMA, bare) else r"(?<!\*)\s+", bare)
    stars = [number for number, part in enumerate(parts) if part.startswith("*")]
    if len(stars) > 1:
        raise HaigoError(f"{len(stars)} choices are marked as right.", "put one * before the right choice")
    whole = iter(held)
    words = [re.sub(_PLACE, lambda _: next(whole), part.removeprefix("*").strip()) for part in parts]
    return words, words[stars[0]] if stars else None


def _asked(line: str, answer: str | None) -> tuple[tuple[str, ...], str | None]:
    """The choices of a line and the right one, if they can be asked; `answer` is --answer."""
    choices, right = marked(line)
    if None not in (right, answer) and right != answer:
        raise HaigoError(f"* marks {right} as right, and --answer {answer}.", "leave one of the two out")
    right = answer if right is None else right
    return check(choices, right), right


def _typed(lang: str, chat: bool) -> Iterator[tuple[str, str]]:
    """Questions and lines of choices (none of a chat) from standard input."""
    while True:
        if sys.stdin.isatty():
            print(WORDS[lang]["ask_question"], end="", flush=True)
        question = sys.stdin.readline().strip()
        if not question:
            return
        if sys.stdin.isatty() and not chat:
            print(WORDS[lang]["ask_choices"], end="", flush=True)
        yield question, "" if chat else sys.stdin.readline().strip()


def _check(given: AskOptions) -> None:
    """Raise where options contradict each other, or can not be asked: before a model is loaded."""
    tasks.make(f"jcommonsenseqa-1.1-{given.prompt}")
    if given.template is not None and not given.chat:
        raise HaigoError("--template has no effect without --chat.", "give --chat too", option="template")
    if given.chat:
        given.refuse_idle("--chat", "choices", "answer", "prompt")
    elif (given.question is None) != (given.choices is None):
        raise HaigoError(
            "--question and --choices belong together.",
            "give both, or neither to type them, or --chat for a free answer",
        )
    if given.choices is not None:
        _asked(given.choices, given.answer)


def main(argv: Sequence[str] | None = None) -> int | None:
    """The command."""
    given = flags.parse("eval_harness.ask", __doc__, AskOptions, argv)
    _check(given)
    template = chat.read(given.model, given.tokenizer, given.template) if given.chat else None
    from eval_harness.model import load

    trusted = given.trust_remote_code
    model = load(given.model_args(), device=given.device, show_progress=False, trust_remote_code=trusted)

    def answered(question: str, line: str) -> str:
        if template is not None:
            said = chat.answer(model, template, question, given.max_new_tokens)
            return f"{WORDS[given.lang]['question']}: {question}\n{WORDS[given.lang]['answer']}: {said}"
        choices, right = _asked(line, given.answer)
        return ask(model, question, choices, right, given.prompt).text(given.lang)

    if given.question is not None:
        print(answered(given.question, given.choices or ""))
        return None
    for question, line in _typed(given.lang, given.chat):
        try:
            print(answered(question, line), flush=True)
        except HaigoError as error:
            if not sys.stdin.isatty():
                raise
            print(f"haigo: {error}", file=sys.stderr)  # a slip at the keyboard: the next question may be right
    return None


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
