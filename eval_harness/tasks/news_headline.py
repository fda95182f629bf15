"""news_headline 1.0: which of five headlines is the article's own? Metric: acc.

Not a task of the leaderboard: it measures reading the news, which general questions do not. `eval_harness.headlines` builds its
files from any news corpus. Prompt 0.3 is the leaderboard's Alpaca frame, 0.2 bare fields.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from eval_harness import data
from eval_harness.tasks.base import MultipleChoice
from haigo.cli import HaigoError

_FIELDS: dict[str, type | tuple[type, ...]] = {"article": str, "headlines": list, "label": int}


class NewsHeadline(MultipleChoice):
    """Documents: `id`, `article`, `choices` (headlines), `gold`."""

    dataset = "news_headline"
    versions = ("1.0",)
    leaderboard_shots = 0
    scored_split = "test"

    def read(self, path: Path) -> list[dict[str, Any]]:
        docs = []
        for line, row in data.rows(path, _FIELDS):
            headlines = row["headlines"]
            if not all(isinstance(h, str) and h for h in headlines) or not 0 <= row["label"] < len(headlines):
                raise HaigoError(f"{path} line {line}: bad headlines or label.", "build the file again")
            docs.append(
                {"id": row.get("id", line - 1), "article": row["article"], "choices": headlines, "gold": row["label"]}
            )
        return docs
