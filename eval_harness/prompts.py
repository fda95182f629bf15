"""The leaderboard's prompts: six frames (prompt versions 0.1 to 0.6), and what each task puts into them (`tasks/NAME.yml`).

A prompt version is a family: 0.1 and 0.2 for base models, 0.2.1 the mended 0.2, 0.3 the Alpaca style, 0.4 and 0.5 rinna's
dialogue styles, 0.6 Llama 2's. Half-width `:` and full-width `：`, blanks before line ends and missing blank lines are
the leaderboard's own and change scores: nothing here or there may be tidied. The strings are those of jp-stable (effdbea);
JNLI 1.1's are those of the published rows (d4bdbfa).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Doc = Mapping[str, Any]
Fields = Callable[[Doc, str], Mapping[str, Any]]
"""What stands for the names in a prompt: (document, the frame's line break) -> name -> text."""
_ALPACA = "以下は、タスクを説明する指示と、文脈のある入力の組み合わせです。要求を適切に満たす応答を書きなさい。\n\n"
_NEWLINES = {"0.4": "<NL>"}
_TEXTS = {
    "0.3": "### 指示:\n{instruction}\n\n### 入力:\n{question}\n\n### 応答:\n",
    "0.4": "ユーザー: {question}<NL>システム: ",
    "0.5": "ユーザー: {question}\nシステム: ",
    "0.6": "{instruction}\n\n{question} [/INST] ",
}
"""The frames of prompts that a task gives as instruction and question; those of 0.4 and 0.5 have the instruction above."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """How one example becomes text.

    The context of a question is `description + shots + text(doc)`, where every shot is `text(shot) + target(shot) +
    separator`; nothing stands between a text and its target.
    """

    version: str
    """Prompt version, the last part of a task id."""
    description: str
    """Stands once, at the head of the context."""
    text: Callable[[Doc], str]
    """The question, up to where the answer begins."""
    separator: str = "\n\n"
    """Between shots, and between the last shot and the question."""
    stop: str = "\n"
    """Where a generated answer ends."""
    digit_targets: bool = False
    """The answers of the shots are the number of the choice, although its text is scored (JCommonsenseQA 0.2)."""
    around: tuple[str, str] = ("", "")
    """What stands before an article and before its summary (XLSum-ja)."""


def system_prompt() -> str:
    """Prompt 0.6's system line: the environment's SYSTEM_PROMPT, as in the leaderboard's harness."""
    return os.environ.get("SYSTEM_PROMPT", "あなたは役立つアシスタントです。")


def alpaca(version: str, instruction: str, question: Callable[[Doc], str]) -> Prompt:
    """llm-jp-eval's prompt: the Alpaca frame with the instruction once, above all examples."""
    description = f"{_ALPACA}### 指示:\n{instruction}\n\n"
    return Prompt(
        version=version, description=description, text=lambda doc: f"### 入力:\n{question(doc)}\n\n### 応答:\n"
    )


def make(version: str, row: Mapping[str, Any], fields: Fields) -> Prompt:
    """A prompt version of a task.

    Args:
        row: `description` and `text` of a prompt for base models; or `instruction` and `question` (or the whole `text`), which
            the version's frame holds.
    """
    newline = _NEWLINES.get(version, "\n")

    def text(doc: Doc) -> str:
        held = fields(doc, newline)
        if "text" in row:
            return str(row["text"].format_map(held))
        parts = {name: row[name].format_map(held) for name in ("instruction", "question")}
        return _TEXTS[version].format_map(parts)

    separator, stop = "\n\n", "\n"
    if "description" in row:
        description = row["description"].format_map(fields({}, newline))
    elif version == "0.3":
        description = _ALPACA
    elif version == "0.6":
        description, separator = f"<s>[INST] <<SYS>>\n{system_prompt()}\n<</SYS>>\n\n", " </s><s>[INST] "
    else:
        instruction = row["instruction"].format_map(fields({}, newline))
        description = f"ユーザー: {instruction}{newline}システム: 分かりました。{newline}"
        separator = stop = newline
    return Prompt(
        version=version,
        description=description,
        text=text,
        separator=separator,
        stop=stop,
        digit_targets=row.get("digit_targets", False),
        around=tuple(row.get("around", ("", ""))),
    )
