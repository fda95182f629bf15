"""news_cloze 1.0: which of four names, places or dates goes on with a news text? Metric: acc.

Not tasks of the leaderboard: they tell small models apart, which questions do not. `eval_harness.cloze` builds their files
from any news corpus. Prompt 0.1 is the text up to the gap and nothing else, so that a model that only continues texts is
asked what it was trained for. A task a kind: `news_cloze_who`, `news_cloze_where`, `news_cloze_when`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from eval_harness import data
from eval_harness.tasks.base import MultipleChoice
from haigo.cli import HaigoError

_FIELDS: dict[str, type | tuple[type, ...]] = {"context": str, "choices": list, "label": int}


class NewsCloze(MultipleChoice):
    """Documents: `id`, `context`, `choices`, `gold`."""

    versions = ("1.0",)
    leaderboard_shots = 0
    scored_split = "test"
    has_shots = False
    kind: ClassVar[str]

    def read(self, path: Path) -> list[dict[str, Any]]:
        docs = []
        for line, row in data.rows(path, _FIELDS):
            choices = row["choices"]
            if (
                row.get("kind") != self.kind
                or not row["context"]
                or len(choices) < 2
                or not all(isinstance(choice, str) and choice for choice in choices)
                or len(set(choices)) < len(choices)
                or not 0 <= row["label"] < len(choices)
            ):
                raise HaigoError(
                    f"{path} line {line}: not a question of '{self.kind}' with different choices and a label among them.",
                    "build the file again with eval_harness.cloze",
                )
            docs.append(
                {"id": row.get("id", line - 1), "context": row["context"], "choices": choices, "gold": row["label"]}
            )
        return docs


class NewsClozeWho(NewsCloze):
    """Persons and organisations."""

    dataset, kind = "news_cloze_who", "who"


class NewsClozeWhere(NewsCloze):
    """Countries, prefectures and cities."""

    dataset, kind = "news_cloze_where", "where"


class NewsClozeWhen(NewsCloze):
    """Dates, months, years and weekdays."""

    dataset, kind = "news_cloze_when", "when"
