"""JCommonsenseQA 1.1: a question and five choices (JGLUE, Kurihara et al. 2022). Metric: acc."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eval_harness import data
from eval_harness.prompts import Doc
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
    on_leaderboard = True
    published_documents = 1119
    lm_eval_name = "jcommonsenseqa"

    @classmethod
    def fields(cls, version: str, doc: Doc, newline: str) -> Mapping[str, Any]:
        choices = doc.get("choices", ())
        return {
            **super().fields(version, doc, newline),
            "listed": ", ".join(choices),
            "numbered": ",".join(f"{number}.{choice}" for number, choice in enumerate(choices)),
            "bullets": newline.join(f"- {choice}" for choice in choices),
        }

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
