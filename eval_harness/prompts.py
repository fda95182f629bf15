"""The leaderboard's prompts: six frames (prompt versions 0.1 to 0.6), and what each task puts into them.

A prompt version is a family: 0.1 and 0.2 for base models, 0.2.1 the mended 0.2, 0.3 the Alpaca style, 0.4 and 0.5 rinna's
dialogue styles, 0.6 Llama 2's. Half-width `:` and full-width `：`, blanks before line ends and missing blank lines are
the leaderboard's own and change scores: nothing here may be tidied. The strings are those of jp-stable (effdbea); JNLI 1.1's
are those of the published rows (d4bdbfa).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Doc = Mapping[str, Any]
ALPACA_HEADER = (
    "以下は、タスクを説明する指示と、文脈のある入力の組み合わせです。要求を適切に満たす応答を書きなさい。\n\n"
)


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


def system_prompt() -> str:
    """Prompt 0.6's system line: the environment's SYSTEM_PROMPT, as in the leaderboard's harness."""
    return os.environ.get("SYSTEM_PROMPT", "あなたは役立つアシスタントです。")


def base_frame(version: str, description: str, text: Callable[[Doc], str], **more: Any) -> Prompt:
    """For base models: a description and bare fields."""
    return Prompt(version=version, description=description, text=text, **more)


def alpaca_frame(instruction: Callable[[Doc], str], question: Callable[[Doc], str]) -> Prompt:
    """The Alpaca style, 0.3."""
    return Prompt(
        version="0.3",
        description=ALPACA_HEADER,
        text=lambda doc: f"### 指示:\n{instruction(doc)}\n\n### 入力:\n{question(doc)}\n\n### 応答:\n",
    )


def dialogue_frame(version: str, newline: str, instruction: str, question: Callable[[Doc, str], str]) -> Prompt:
    """rinna's dialogue styles."""
    return Prompt(
        version=version,
        description=f"ユーザー: {instruction}{newline}システム: 分かりました。{newline}",
        text=lambda doc: f"ユーザー: {question(doc, newline)}{newline}システム: ",
        separator=newline,
        stop=newline,
    )


def llama2_frame(instruction: Callable[[Doc], str], question: Callable[[Doc], str]) -> Prompt:
    """Llama 2's chat style, 0.6."""
    return Prompt(
        version="0.6",
        description=f"<s>[INST] <<SYS>>\n{system_prompt()}\n<</SYS>>\n\n",
        text=lambda doc: f"{instruction(doc)}\n\n{question(doc)} [/INST] ",
        separator=" </s><s>[INST] ",
    )


def by_version(*prompts: Prompt) -> dict[str, Prompt]:
    """Prompts by their version."""
    return {prompt.version: prompt for prompt in prompts}
