"""JNLI: does the premise entail or contradict the hypothesis, or neither (JGLUE, Kurihara et al. 2022)? Metric: acc.

Version 1.1, which all published rows used, asks with English labels and draws shots at random; 1.3 asks with Japanese
labels and draws shots of every label. Their scores can not be compared. The label mix of the data hides constant answers in
acc (always `neutral`: 55 %), so balanced accuracy, Matthews correlation and macro F1 stand beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eval_harness import data, prompts
from eval_harness.origins import JGLUE, VERSIONS
from eval_harness.tasks.base import FixedChoice

_LABELS = ("entailment", "contradiction", "neutral")
_WORDS = {"1.1": _LABELS, "1.3": ("含意", "矛盾", "中立")}
_FIELDS: dict[str, type | tuple[type, ...]] = {"sentence1": str, "sentence2": str, "label": (str, int)}


class JNLI(FixedChoice):
    """Documents: `id`, `premise`, `hypothesis`, `choices` (three words), `gold` (0 entailment, 1 contradiction, 2 neutral)."""

    dataset = "jnli"
    versions = ("1.1", "1.3")
    leaderboard_shots = 3
    published_documents = 2434
    lm_eval_name = "jnli"
    origin = JGLUE(
        blobs={
            "train": {
                "14d9948a80dc585cfd53eb358594b0722b937802": VERSIONS,
            },
            "valid": {
                "fee97af8f0b9325441b35186fcb04b3e0415800d": ("v1.1",),
                "bd1cf766540d75fb189a87a9a7c8e1a31e1565e0": ("v1.2", "v1.3"),
            },
            "test": {
                "feee1a6643ca0ee2a888958db72aaeb5e0e1c845": ("v1.3",),
            },
        }
    )

    def __init__(self, version: str, prompt: str) -> None:
        super().__init__(version, prompt)
        self.stratified = version == "1.3"

    @classmethod
    def data_reservation(cls, data: str, pool: str) -> str | None:
        if data == "JGLUE v1.1":
            return None
        return f"the data are {data}; published rows used v1.1, of which 28 labels differ"

    @classmethod
    def prompts(cls, version: str) -> Mapping[str, prompts.Prompt]:
        made = _prompts(_WORDS[version])
        if version == "1.1":
            del made["0.6"]  # never existed
        return made

    def read(self, path: Path) -> list[dict[str, Any]]:
        docs = []
        for line, row in data.rows(path, _FIELDS):
            gold = data.label_number(row["label"], _LABELS, f"{path} line {line}")
            docs.append(
                {
                    "id": row.get("sentence_pair_id", line - 1),
                    "premise": row["sentence1"],
                    "hypothesis": row["sentence2"],
                    "choices": list(_WORDS[self.version]),
                    "gold": gold,
                }
            )
        return docs


def _prompts(labels: tuple[str, str, str]) -> dict[str, prompts.Prompt]:
    """Prompts of JNLI; documents have `premise` and `hypothesis`.

    Args:
        labels: the words for entailment, contradiction and neutral: English in version 1.1, Japanese in 1.3.
    """
    entails, contradicts, neutral = labels
    ask = "与えられた前提と仮説の関係を回答してください。"
    instruction = f"{ask}\n\n出力は以下から選択してください：\n" + "\n".join(labels)
    plain = lambda doc: f"前提：{doc['premise']}\n仮説：{doc['hypothesis']}"  # noqa: E731

    def dialogue(version: str, newline: str) -> prompts.Prompt:
        return prompts.dialogue_frame(
            version,
            newline,
            f"{ask}出力は以下から選択してください：{newline}" + newline.join(labels),
            lambda doc, nl: f"前提：{doc['premise']}{nl}仮説：{doc['hypothesis']}",
        )

    return prompts.by_version(
        prompts.base_frame(
            "0.2",
            f"前提と仮説の関係を{entails}、{contradicts}、{neutral}の中から回答してください。\n\n制約:\n"
            f"- 前提から仮説が、論理的知識や常識的知識を用いて導出可能である場合は{entails}と出力\n"
            f"- 前提と仮説が両立しえない場合は{contradicts}と出力\n"
            f"- そのいずれでもない場合は{neutral}と出力\n\n",
            lambda doc: f"前提:{doc['premise']}\n仮説:{doc['hypothesis']}\n関係:",
        ),
        prompts.alpaca_frame(lambda doc: instruction, plain),
        dialogue("0.4", "<NL>"),
        dialogue("0.5", "\n"),
        prompts.llama2_frame(lambda doc: instruction, plain),
    )
