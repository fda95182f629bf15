"""MGSM 1.0, Japanese: grade-school arithmetic with worked-out shots (Shi et al. 2022). Metric: acc.

The model may write 256 tokens, up to its end-of-text token; the answer is the last number before the first line break. Shots
are drawn from the eight exemplars; where the context gets too long, jp-stable draws one fewer with the same generator, and
so on, so the contexts depend on the tokenizer and on the model's length. Rows made before 2023-10 dropped the first
shots instead, and prompt 0.3 had no blank line before its `### 入力:`; the version number stayed 1.0.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from eval_harness import data
from eval_harness.prompts import Doc
from eval_harness.tasks.base import END_OF_TEXT, Encode, Generate, Rules, Score
from haigo.cli import HaigoError

_BUDGET = 256
_NUMBER = re.compile(r"-?[0-9.,]+")
_QUESTION, _STEPS = "問題：", "ステップごとの答え："


def last_number(text: str) -> int | None:
    """The last number of an answer, when it is a whole one."""
    found = _NUMBER.findall(text)
    try:
        value = float(found[-1].strip(".").replace(",", "")) if found else float("nan")
    except ValueError:
        return None
    return int(value) if value.is_integer() else None


class MGSM(Rules):
    """Documents: `id`, `question` and `answer` (the exemplars' worked-out answer, else None), `number` (None there)."""

    dataset = "mgsm"
    versions = ("1.0",)
    main_metric = "acc"
    main_scale = 100.0
    leaderboard_shots = 5
    on_leaderboard = True
    published_documents = 250
    lm_eval_name = "mgsm"
    scored_split = "test"
    higher_is_better: ClassVar[dict[str, bool]] = {"acc": True}

    @classmethod
    def published_notes(cls, row: Mapping[str, str]) -> list[str]:
        if "jaqket_v2-0.1" not in row["task_versions"]:
            return []
        return ["MGSM before October 2023: too long contexts lost their first shots, prompt 0.3 a blank line"]

    @classmethod
    def fields(cls, version: str, doc: Doc, newline: str) -> Mapping[str, Any]:
        return {**doc, "question": str(doc.get("question")).replace(_QUESTION, "")}

    def read(self, path: Path) -> list[dict[str, Any]]:
        if path.suffix == ".py":
            return _exemplars(path)
        if path.suffix == ".jsonl":
            rows = data.rows(path, {"question": str, "answer": str})
            return [{"id": n, "question": r["question"], "answer": r["answer"], "number": None} for n, r in rows]
        docs = []
        text = data.text(path).replace("\r\n", "\n")
        for line, row in enumerate(data.table(text, path, delimiter="\t"), start=1):
            try:
                question, number = row[0], int(row[1].replace(",", ""))
            except (IndexError, ValueError):
                raise HaigoError(f"{path} line {line} is not a question, a tab and a number.", "mend it") from None
            docs.append({"id": line - 1, "question": question, "answer": None, "number": number})
        if not docs:
            raise HaigoError(f"{path} is empty.", "get the file again")
        return docs

    def target(self, doc: Doc) -> str:
        if doc["answer"] is None:  # a test question: only its number is known
            return str(doc["number"])
        return str(doc["answer"]).replace(_STEPS, "")

    def room(self, doc: Doc, encode: Encode, max_length: int) -> int | None:
        return max_length - _BUDGET

    def requests(self, doc: Doc, encode: Encode) -> Sequence[Score | Generate]:
        return [Generate(stops=(END_OF_TEXT, "\n"), max_new_tokens=_BUDGET)]

    def judge(self, doc: Doc, answers: Sequence[Any]) -> dict[str, Any]:
        found = last_number(answers[0])
        return {
            "prediction": answers[0],
            "number": found,
            "target": doc["number"],
            "acc": float(found is not None and found == doc["number"]),
        }


def _exemplars(path: Path) -> list[dict[str, Any]]:
    """The Japanese exemplars out of the data set's `exemplars.py`, which is read and never run."""
    try:
        tree = ast.parse(data.text(path))
        tables = [node for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)]
        table = ast.literal_eval(tables[0].value)["ja"]
        return [
            {"id": key, "question": str(row["q"]), "answer": str(row["a"]), "number": None}
            for key, row in table.items()
        ]
    except (SyntaxError, ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise HaigoError(f"{path} holds no Japanese exemplars.", "get mgsm/exemplars.py again") from None
