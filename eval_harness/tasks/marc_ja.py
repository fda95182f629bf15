"""MARC-ja 1.1: is a product review positive or negative (JGLUE, Kurihara et al. 2022)? Metric: acc.

Its data may not be passed on and can no longer be had from Amazon: bring your own copy. Published rows were scored on 5,734
or on 5,654 reviews, so not even they are all on the same data.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eval_harness import data, prompts
from eval_harness.origins import Origin
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
    origin = Origin(
        title="MARC-ja",
        places={
            split: (f"marc_ja-v1.1/{split}-v1.0.json", f"marc_ja-v1.1/{split}-v1.1.json", f"marc_ja-{split}-v1.1.json")
            for split in ("train", "valid")
        },
        where="it may not be passed on and Amazon has withdrawn its source: write your copy as lines of "
        '{"sentence": ..., "label": "positive" or "negative"}',
        blobs={},
        sizes=(5734, 5654),
    )

    @classmethod
    def prompts(cls, version: str) -> Mapping[str, prompts.Prompt]:
        ask = "製品レビューを、ポジティブまたはネガティブの感情クラスのいずれかに分類してください。"
        review = lambda doc: str(doc["review"])  # noqa: E731
        return prompts.by_version(
            prompts.base_frame(
                "0.2",
                "製品レビューをnegativeかpositiveのいずれかのセンチメントに分類してください。出力は小文字化してください。 \n\n",
                lambda doc: f"製品レビュー:{doc['review']}\nセンチメント:",
            ),
            prompts.alpaca_frame(lambda doc: f"以下の{ask}", review),
            prompts.dialogue_frame("0.4", "<NL>", f"与えられた{ask}", lambda doc, nl: review(doc)),
            prompts.dialogue_frame("0.5", "\n", f"与えられた{ask}", lambda doc, nl: review(doc)),
            prompts.llama2_frame(lambda doc: f"以下の{ask}", review),
        )

    def read(self, path: Path) -> list[dict[str, Any]]:
        words = list(_LABELS) if self.prompt.version == "0.2" else ["ポジティブ", "ネガティブ"]
        docs = []
        for line, row in data.rows(path, _FIELDS):
            gold = data.label_number(row["label"], _LABELS, f"{path} line {line}")
            docs.append(
                {"id": row.get("review_id", line - 1), "review": row["sentence"], "choices": words, "gold": gold}
            )
        return docs
