"""JNLI: does the premise entail or contradict the hypothesis, or neither (JGLUE, Kurihara et al. 2022)? Metric: acc.

Version 1.1, which all published rows used, asks with English labels and draws shots at random; 1.3 asks with Japanese
labels and draws shots of every label. Their scores can not be compared. The label mix of the data hides constant answers in
acc (always `neutral`: 55 %), so balanced accuracy, Matthews correlation and macro F1 stand beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from eval_harness.prompts import Doc
from eval_harness.tasks.base import FixedChoice

_LABELS = ("entailment", "contradiction", "neutral")
_WORDS = {"1.1": _LABELS, "1.3": ("含意", "矛盾", "中立")}


class JNLI(FixedChoice):
    """Documents: `id`, `premise`, `hypothesis`, `choices` (three words), `gold` (0 entailment, 1 contradiction, 2 neutral)."""

    dataset = "jnli"
    versions = ("1.1", "1.3")
    leaderboard_shots = 3
    on_leaderboard = True
    published_documents = 2434
    lm_eval_name = "jnli"
    labels = _LABELS
    columns: ClassVar[dict[str, str]] = {
        "id": "sentence_pair_id",
        "premise": "sentence1",
        "hypothesis": "sentence2",
    }

    def __init__(self, version: str, prompt: str) -> None:
        super().__init__(version, prompt)
        self.stratified = version == "1.3"

    @classmethod
    def data_reservation(cls, data: str, pool: str) -> str | None:
        if data == "JGLUE v1.1":
            return None
        return f"the data are {data}; published rows used v1.1, of which 28 labels differ"

    @classmethod
    def fields(cls, version: str, doc: Doc, newline: str) -> Mapping[str, Any]:
        named = dict(zip(("entails", "contradicts", "neutral"), _WORDS[version], strict=True))
        return {**super().fields(version, doc, newline), **named, "labels": newline.join(_WORDS[version])}

    @property
    def words(self) -> Sequence[str]:
        return _WORDS[self.version]
