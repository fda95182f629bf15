"""JSQuAD: copy the answer to a question out of a passage (JGLUE, Kurihara et al. 2022). Metrics: exact_match, f1 (percent).

Version 1.2 adds the article's title to the prompt of 1.1. A model may write as many tokens as its own tokenizer needs for the
longest right answer, as in jp-stable (DYNAMIC_MAX_LENGTH=false in the environment: 256).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from eval_harness import data, metrics
from eval_harness.prompts import Doc
from eval_harness.tasks.base import Encode, Generate, Rules, Score, Scores
from haigo.cli import HaigoError

STATIC_BUDGET = 256


def dynamic_budget() -> bool:
    """Whether the longest right answer limits the generation (jp-stable's environment variable)."""
    return os.environ.get("DYNAMIC_MAX_LENGTH", "true").lower() != "false"


def questions(path: Path) -> Iterator[tuple[str, str, dict[str, Any], list[str]]]:
    """Title, paragraph, question and right answers of every question of JSQuAD's file, in its order."""
    whole = data.parse(path.read_bytes(), str(path), "get the file again")
    for article in data.check(whole, {"data": list}, str(path))["data"]:
        title = data.check(article, {"title": str, "paragraphs": list}, str(path))["title"]
        for paragraph in article["paragraphs"]:
            context = data.check(paragraph, {"context": str, "qas": list}, f"{path}, article {title}")["context"]
            for row in paragraph["qas"]:
                where = f"{path}, article {title}, question {row.get('id') if isinstance(row, dict) else '?'}"
                data.check(row, {"id": str, "question": str, "answers": list}, where)
                answers = [data.check(answer, {"text": str}, where)["text"] for answer in row["answers"]]
                if not answers:
                    raise HaigoError(f"{where} has no answer.", "leave it out or give it one")
                yield title, context, row, answers


class JSQuAD(Rules):
    """Documents: `id`, `title`, `passage` (what stands after the last `[SEP]`), `question`, `answers` (strings)."""

    dataset = "jsquad"
    versions = ("1.1", "1.2")
    main_metric = "exact_match"
    main_scale = 1.0
    leaderboard_shots = 2
    on_leaderboard = True
    published_documents = 4442
    lm_eval_name = "jsquad"
    japanese_metric = True
    higher_is_better: ClassVar[dict[str, bool]] = {"exact_match": True, "f1": True}

    @classmethod
    def data_reservation(cls, data: str, pool: str) -> str | None:
        if pool != "train" or not data.endswith("v1.3"):
            return None
        return f"the data are {data}; published rows' shots are from v1.1, whose train file has more questions"

    @classmethod
    def published_notes(cls, row: Mapping[str, str]) -> list[str]:
        own = row["harness_model_type"] == "hf-causal-experimental"
        return ["answers of up to 256 tokens (hf-causal-experimental)"] if own else []

    @classmethod
    def fields(cls, version: str, doc: Doc, newline: str) -> Mapping[str, Any]:
        title = doc.get("title")
        shown = version == "1.2"  # which adds the article's title
        return {
            **super().fields(version, doc, newline),
            "heading": f"{title}{newline}" if shown else "",
            "headed": f"題名:{title}\n" if shown else "",
            "source": "題名と文章" if shown else "文章",
        }

    def read(self, path: Path) -> list[dict[str, Any]]:
        docs = [
            {
                "id": row["id"],
                "title": title,
                "passage": context.split("[SEP]")[-1].strip(),
                "question": row["question"],
                "answers": answers,
            }
            for title, context, row, answers in questions(path)
        ]
        if not docs:
            raise HaigoError(f"{path} holds no question.", "get the file again")
        return docs

    def target(self, doc: Doc) -> str:
        return str(doc["answers"][0])

    def requests(self, doc: Doc, encode: Encode) -> Sequence[Score | Generate]:
        longest = max(len(encode(answer)) for answer in doc["answers"]) if dynamic_budget() else STATIC_BUDGET
        return [Generate(stops=(self.prompt.stop,), max_new_tokens=longest)]

    def judge(self, doc: Doc, answers: Sequence[Any]) -> dict[str, Any]:
        (given,) = answers
        return {
            "prediction": given,
            "target": list(doc["answers"]),
            "exact_match": metrics.exact_match(given, doc["answers"]),
            "f1": metrics.answer_f1(given, doc["answers"]),
        }

    def aggregate(self, rows: Sequence[Mapping[str, Any]], bootstrap_iters: int) -> Scores:
        return {metric: 100.0 * sum(row[metric] for row in rows) / len(rows) for metric in ("exact_match", "f1")}
