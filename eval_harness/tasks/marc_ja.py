"""MARC-ja 1.1: is a product review positive or negative (JGLUE, Kurihara et al. 2022)? Metric: acc.

Its data may not be passed on and can no longer be had from Amazon: bring your own copy. Published rows were scored on 5,734
or on 5,654 reviews, so not even they are all on the same data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from eval_harness.tasks.base import FixedChoice


class MARCJa(FixedChoice):
    """Documents: `id`, `review`, `choices` (two words), `gold` (0 positive, 1 negative)."""

    dataset = "marc_ja"
    versions = ("1.1",)
    leaderboard_shots = 3
    on_leaderboard = True
    published_documents = 5654
    lm_eval_name = "marc_ja"
    labels = ("positive", "negative")
    columns: ClassVar[dict[str, str]] = {"id": "review_id", "review": "sentence"}

    @property
    def words(self) -> Sequence[str]:
        return self.labels if self.prompt.version == "0.2" else ("ポジティブ", "ネガティブ")
