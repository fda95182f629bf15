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


def _bullets(doc: Doc, newline: str = "\n") -> str:
    return newline.join(f"- {choice}" for choice in doc["choices"])


def jcommonsenseqa() -> dict[str, Prompt]:
    """Prompts of JCommonsenseQA 1.1; documents have `question` and `choices`."""
    best = "与えられた選択肢の中から、最適な答えを選んでください。"
    best_of_five = "与えられた5つの選択肢の中から、最適な答えを選んでください。"
    pick = "出力は以下から選択してください："
    dialogue = lambda doc, nl: f"質問：{doc['question']}{nl}選択肢：{nl}{_bullets(doc, nl)}"  # noqa: E731
    return by_version(
        base_frame(
            "0.1",
            "[問題]に対する[答え]を[選択肢]の中から選んでください。\n\n",
            lambda doc: f"[問題]:{doc['question']}\n[選択肢]:[{', '.join(doc['choices'])}]\n[答え]:",
        ),
        base_frame(
            "0.2",
            "質問と回答の選択肢を入力として受け取り、選択肢から回答を選択してください。"
            "なお、回答は選択肢の番号(例:0)でするものとします。 \n\n",
            lambda doc: (
                f"質問:{doc['question']}\n選択肢:{','.join(f'{i}.{c}' for i, c in enumerate(doc['choices']))}\n回答:"
            ),
            digit_targets=True,
        ),
        base_frame(
            "0.2.1",
            f"{best} \n\n",
            lambda doc: f"質問：{doc['question']}\n選択肢：\n{_bullets(doc)}\n回答：",
        ),
        alpaca_frame(lambda doc: f"{best}{pick}\n{_bullets(doc)}", lambda doc: str(doc["question"])),
        dialogue_frame("0.4", "<NL>", best, dialogue),
        dialogue_frame("0.5", "\n", best, dialogue),
        llama2_frame(lambda doc: f"{best_of_five}{pick}\n{_bullets(doc)}", lambda doc: f"質問：{doc['question']}"),
    )


def jnli(labels: tuple[str, str, str]) -> dict[str, Prompt]:
    """Prompts of JNLI; documents have `premise` and `hypothesis`.

    Args:
        labels: the words for entailment, contradiction and neutral: English in version 1.1, Japanese in 1.3.
    """
    entails, contradicts, neutral = labels
    ask = "与えられた前提と仮説の関係を回答してください。"
    instruction = f"{ask}\n\n出力は以下から選択してください：\n" + "\n".join(labels)
    plain = lambda doc: f"前提：{doc['premise']}\n仮説：{doc['hypothesis']}"  # noqa: E731

    def dialogue(version: str, newline: str) -> Prompt:
        return dialogue_frame(
            version,
            newline,
            f"{ask}出力は以下から選択してください：{newline}" + newline.join(labels),
            lambda doc, nl: f"前提：{doc['premise']}{nl}仮説：{doc['hypothesis']}",
        )

    return by_version(
        base_frame(
            "0.2",
            f"前提と仮説の関係を{entails}、{contradicts}、{neutral}の中から回答してください。\n\n制約:\n"
            f"- 前提から仮説が、論理的知識や常識的知識を用いて導出可能である場合は{entails}と出力\n"
            f"- 前提と仮説が両立しえない場合は{contradicts}と出力\n"
            f"- そのいずれでもない場合は{neutral}と出力\n\n",
            lambda doc: f"前提:{doc['premise']}\n仮説:{doc['hypothesis']}\n関係:",
        ),
        alpaca_frame(lambda doc: instruction, plain),
        dialogue("0.4", "<NL>"),
        dialogue("0.5", "\n"),
        llama2_frame(lambda doc: instruction, plain),
    )


def jsquad(with_title: bool) -> dict[str, Prompt]:
    """Prompts of JSQuAD 1.1, and of 1.2, which adds the article's title; documents have `title`, `passage`, `question`."""
    extract = "与えられた文脈から、質問に対する答えを抜き出してください。"

    def question(doc: Doc, newline: str = "\n") -> str:
        title = f"{doc['title']}{newline}" if with_title else ""
        return f"文脈：{title}{doc['passage']}{newline}質問：{doc['question']}"

    def short(doc: Doc) -> str:
        title = f"題名:{doc['title']}\n" if with_title else ""
        return f"{title}文章:{doc['passage']}\n質問:{doc['question']}\n回答:"

    source = "題名と文章" if with_title else "文章"
    made = by_version(
        base_frame(
            "0.2",
            f"質問に対する回答を{source}から一言で抽出してください。回答は名詞で答えてください。\n\n",
            short,
        ),
        alpaca_frame(lambda doc: extract, question),
        dialogue_frame("0.4", "<NL>", extract, question),
        dialogue_frame("0.5", "\n", extract, question),
        llama2_frame(lambda doc: extract, question),
    )
    if not with_title:
        made["0.1"] = base_frame(
            "0.1",
            "[題名]と[問題]から[質問]に対する[答え]を抜き出しなさい\n\n",
            lambda doc: f"[題名]:{doc['title']}\n[問題]:{doc['passage']}\n[質問]:{doc['question']}\n[答え]:",
        )
    return made
