"""XLSum-ja 1.0: sum up a news article in a sentence (XL-Sum, Hasan et al. 2021). Metric: rouge2 (percent).

A model may write as many tokens as the right summary has with its own tokenizer, and ten more. Where the context is too long,
every article in it is cut at a sentence's end to an equal share of the room. Rouge is over the pieces of the model's own
tokenizer, as in the published rows (the harness overwrites the word splitter that its code names), so it compares models
with one tokenizer only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from eval_harness import data, metrics
from eval_harness.prompts import Doc
from eval_harness.tasks.base import Encode, Generate, Rules, Score, Scores
from eval_harness.tasks.jsquad import STATIC_BUDGET, dynamic_budget
from haigo.cli import HaigoError

_MORE = 10


def shorten(
    context: str, head: str, tail: str, end: str, room: int, encode: Encode, decode: Callable[[list[int]], str]
) -> str:
    """The context with every article cut at a `。` to an equal share of `room` tokens, if it is longer than that.

    Args:
        head, tail: what stands before an article, and between it and its summary.
        end: the line break that follows a cut.
    """
    if len(encode(context)) <= room:
        return context
    parts = [head + part for part in context.split(head)]
    found = ""
    if tail not in parts[0]:
        found = parts.pop(0).replace(head, "")
    share = room // len(parts)
    for part in parts:
        article, _, summary = part.rpartition(tail)
        kept: list[str] = []
        for sentence in article.split("。"):
            if len(encode("。".join([*kept, sentence]))) > share:
                if kept:
                    kept[-1] += f"。{end}"
                else:
                    kept.append(decode(encode(sentence)[:share]) + end)
                break
            kept.append(sentence)
        found += "。".join(kept) + tail + summary
    return found


class XLSumJa(Rules):
    """Documents: `id`, `text`, `summary`."""

    dataset = "xlsum_ja"
    versions = ("1.0",)
    main_metric = "rouge2"
    main_scale = 1.0
    leaderboard_shots = 1
    on_leaderboard = True
    lm_eval_name = "xlsum"
    scored_split = "test"
    higher_is_better: ClassVar[dict[str, bool]] = {"rouge2": True}

    def read(self, path: Path) -> list[dict[str, Any]]:
        names, *rows = data.table(data.text(path), path) or [[]]
        docs = []
        for line, cells in enumerate((cells for cells in rows if cells), start=1):
            row = dict(zip(names, cells, strict=False))
            data.check(row, {"text": str, "summary": str}, f"{path} row {line}")
            docs.append({"id": row.get("id") or line - 1, "text": row["text"], "summary": row["summary"]})
        if not docs:
            raise HaigoError(f"{path} holds no article.", "get the file again")
        return docs

    def target(self, doc: Doc) -> str:
        return str(doc["summary"])

    def _budget(self, doc: Doc, encode: Encode) -> int:
        return len(encode(doc["summary"])) + _MORE if dynamic_budget() else STATIC_BUDGET

    def trim(self, context: str, doc: Doc, encode: Encode, decode: Callable[[list[int]], str], max_length: int) -> str:
        head, tail = self.prompt.around
        room = max_length - self._budget(doc, encode)
        short = shorten(context, head, tail, self.prompt.stop, room, encode, decode)
        if self.prompt.version in ("0.4", "0.5"):
            return short.replace("<NL><NL>", "<NL>")
        return short

    def requests(self, doc: Doc, encode: Encode) -> Sequence[Score | Generate]:
        return [Generate(stops=(self.prompt.stop,), max_new_tokens=self._budget(doc, encode))]

    def judge(self, doc: Doc, answers: Sequence[Any]) -> dict[str, Any]:
        found = metrics.rouge2(self.pieces(answers[0]), self.pieces(doc["summary"]))
        return {"prediction": answers[0], "target": doc["summary"], "rouge2": found}

    def aggregate(self, rows: Sequence[Mapping[str, Any]], bootstrap_iters: int) -> Scores:
        return {"rouge2": metrics.bootstrap_middle([row["rouge2"] for row in rows]) * 100.0}
