"""XWinograd-ja 1.0: which of two sentences, that differ in what a pronoun stands for, is likelier (Tikhonov and Ryabinin
2021; the Japanese set by Stability AI)? Metric: acc. No prompt and no shots: whole sentences are scored after the
end-of-text token. A tie is wrong, as in jp-stable."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from eval_harness import data
from eval_harness.prompts import Doc
from eval_harness.tasks.base import MultipleChoice
from haigo.cli import HaigoError

_FIELDS: dict[str, type | tuple[type, ...]] = {"sentence1": str, "sentence2": str, "answer": (str, int)}


class XWinogradJa(MultipleChoice):
    """Documents: `id`, `choices` (two sentences), `gold` (0 or 1)."""

    dataset = "xwinograd_ja"
    versions = ("1.0",)
    leaderboard_shots = 0
    on_leaderboard = True
    published_documents = 959
    lm_eval_name = "xwinograd"
    scored_split = "test"
    has_shots = False
    higher_is_better: ClassVar[dict[str, bool]] = {"acc": True}
    metrics = ("acc",)

    @classmethod
    def lm_eval_differs(cls) -> str:
        return "strips the sentences"

    def read(self, path: Path) -> list[dict[str, Any]]:
        docs = []
        for line, row in data.json_rows(path, _FIELDS):
            if str(row["answer"]) not in ("1", "2") or not (row["sentence1"] and row["sentence2"]):
                raise HaigoError(f"{path} row {line}: the answer is not 1 or 2, or a sentence is empty.", "mend it")
            docs.append(
                {
                    "id": row.get("id", line - 1),
                    "choices": [row["sentence1"], row["sentence2"]],
                    "gold": int(row["answer"]) - 1,
                }
            )
        return docs

    def judge(self, doc: Doc, answers: Sequence[Any]) -> dict[str, Any]:
        row = super().judge(doc, answers)
        # pairs (log-likelihood, is greedy) are compared, so equal sums are told apart by the second
        right, other = answers[doc["gold"]], answers[1 - doc["gold"]]
        return {**{name: row[name] for name in ("choices", "prediction", "target")}, "acc": float(right > other)}
