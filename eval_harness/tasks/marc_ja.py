"""MARC-ja 1.1: is a product review positive or negative (JGLUE, Kurihara et al. 2022)? Metric: acc.

Its data may not be passed on and can no longer be had from Amazon: bring your own copy. Published rows were scored on 5,734
or on 5,654 reviews, so not even they are all on the same data.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from eval_harness import data
from eval_harness.tasks.base import FixedChoice

_LABELS = ("positive", "negative")
_FIELDS: dict[str, type | tuple[type, ...]] = {"sentence": str, "label": (str, int)}


class MARCJa(FixedChoice):
    """Documents: `id`, `review`, `choices` (two words), `gold` (0 positive, 1 negative)."""

    dataset = "marc_ja"
    versions = ("1.1",)
    leaderboard_shots = 3
    published_documents = 5654
    lm_eval_name = "marc_ja"

    def read(self, path: Path) -> list[dict[str, Any]]:
        words = list(_LABELS) if self.prompt.version == "0.2" else ["ポジティブ", "ネガティブ"]
        docs = []
        for line, row in data.rows(path, _FIELDS):
            gold = data.label_number(row["label"], _LABELS, f"{path} line {line}")
            docs.append(
                {"id": row.get("review_id", line - 1), "review": row["sentence"], "choices": words, "gold": gold}
            )
        return docs
