"""JCommonsenseQA 1.1: a question and five choices (JGLUE, Kurihara et al. 2022). Metric: acc."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eval_harness import data, prompts
from eval_harness.origins import JGLUE, VERSIONS
from eval_harness.tasks.base import MultipleChoice
from haigo.cli import HaigoError

_CHOICES = 5
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "question": str,
    "label": int,
    **{f"choice{number}": str for number in range(_CHOICES)},
}


class JCommonsenseQA(MultipleChoice):
    """Documents: `id`, `question`, `choices` (five strings), `gold` (0 to 4)."""

    dataset = "jcommonsenseqa"
    versions = ("1.1",)
    leaderboard_shots = 3
    published_documents = 1119
    lm_eval_name = "jcommonsenseqa"
    origin = JGLUE(
        blobs={
            "train": {
                "4d11d31788cb22850b0a88d41a1ffdd13e8a180b": VERSIONS,
            },
            "valid": {
                "1099679e5bc9a4d70f9ae6a6e7b41dca84897f99": VERSIONS,
            },
            "test": {
                "d4f935a1cf75da0c53849fb6f69c2dee63a23b0d": ("v1.3",),
            },
        }
    )

    @classmethod
    def prompts(cls, version: str) -> Mapping[str, prompts.Prompt]:
        return _prompts()

    def read(self, path: Path) -> list[dict[str, Any]]:
        docs = []
        for line, row in data.rows(path, _FIELDS):
            if not 0 <= row["label"] < _CHOICES:
                raise HaigoError(f"{path} line {line}: label {row['label']} is not 0 to 4.", "mend that line")
            choices = [row[f"choice{number}"] for number in range(_CHOICES)]
            if not all(choices):
                raise HaigoError(f"{path} line {line} has an empty choice.", "mend that line")
            docs.append(
                {
                    "id": row.get("q_id", line - 1),
                    "question": row["question"],
                    "choices": choices,
                    "gold": row["label"],
                }
            )
        return docs

    def warnings(self, shots: int) -> list[str]:
        if not self.prompt.digit_targets:
            return []
        return [
            f"{self.name}: the shots answer with the number of a choice, but the text of the choices is scored, so scores "
            "stay near chance. Prompt 0.2.1 or 0.3 measures more; 0.2 is kept for comparison with published rows."
        ]


def _bullets(doc: prompts.Doc, newline: str = "\n") -> str:
    return newline.join(f"- {choice}" for choice in doc["choices"])


def _prompts() -> dict[str, prompts.Prompt]:
    """Prompts of JCommonsenseQA 1.1; documents have `question` and `choices`."""
    best = "与えられた選択肢の中から、最適な答えを選んでください。"
    best_of_five = "与えられた5つの選択肢の中から、最適な答えを選んでください。"
    pick = "出力は以下から選択してください："
    dialogue = lambda doc, nl: f"質問：{doc['question']}{nl}選択肢：{nl}{_bullets(doc, nl)}"  # noqa: E731
    return prompts.by_version(
        prompts.base_frame(
            "0.1",
            "[問題]に対する[答え]を[選択肢]の中から選んでください。\n\n",
            lambda doc: f"[問題]:{doc['question']}\n[選択肢]:[{', '.join(doc['choices'])}]\n[答え]:",
        ),
        prompts.base_frame(
            "0.2",
            "質問と回答の選択肢を入力として受け取り、選択肢から回答を選択してください。"
            "なお、回答は選択肢の番号(例:0)でするものとします。 \n\n",
            lambda doc: (
                f"質問:{doc['question']}\n選択肢:{','.join(f'{i}.{c}' for i, c in enumerate(doc['choices']))}\n回答:"
            ),
            digit_targets=True,
        ),
        prompts.base_frame(
            "0.2.1",
            f"{best} \n\n",
            lambda doc: f"質問：{doc['question']}\n選択肢：\n{_bullets(doc)}\n回答：",
        ),
        prompts.alpaca_frame(lambda doc: f"{best}{pick}\n{_bullets(doc)}", lambda doc: str(doc["question"])),
        prompts.dialogue_frame("0.4", "<NL>", best, dialogue),
        prompts.dialogue_frame("0.5", "\n", best, dialogue),
        prompts.llama2_frame(
            lambda doc: f"{best_of_five}{pick}\n{_bullets(doc)}", lambda doc: f"質問：{doc['question']}"
        ),
    )
