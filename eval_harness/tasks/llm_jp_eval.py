"""llm-jp-eval 1.3.0's tasks: an instruction, the first examples of the training file, a generated answer compared as text.

A task is `llmjp_NAME-1.3-SPLIT`, scored on llm-jp-eval's split `dev` or `test`. Its files are those that llm-jp-eval's
`preprocess_dataset.py` writes (`evaluation/SPLIT/NAME.json`); JGLUE's are also read as published, and split as it does.
Every document has the same shots, the first of `train`, and documents are scored in their file's order. The model writes the
task's number of tokens or up to its end token, as transformers' text-generation pipeline (4.38) gives it; what stands before
the first blank line is the answer, in Unicode's NFKC. Metrics: exact_match, char_f1 (fuzzywuzzy's token_sort_ratio), set_f1
(of lines), pearson and spearman.
"""

from __future__ import annotations

import functools
import random
import unicodedata
from abc import ABCMeta
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

from eval_harness import data, metrics
from eval_harness.origins import Origin, jglue
from eval_harness.prompts import Doc, Prompt, alpaca
from eval_harness.tasks.base import Encode, Generate, Rules, Score, Scores, card
from haigo.cli import HaigoError

_ENDED = {"pearson", "spearman"}
"""Metrics of all documents together."""
_RAW: dict[str, tuple[dict[str, type | tuple[type, ...]], str, str]] = {
    "jnli": (
        {"sentence1": str, "sentence2": str, "label": str},
        "前提：{sentence1}\n仮説：{sentence2}",
        "{label}",
    ),
    "jsts": (
        {"sentence1": str, "sentence2": str, "label": (int, float)},
        "文1：{sentence1}\n文2：{sentence2}",
        "{label}",
    ),
    "jcommonsenseqa": (
        {"question": str, **{f"choice{n}": str for n in range(5)}, "label": int},
        "質問：{question}\n選択肢：0.{choice0},1.{choice1},2.{choice2},3.{choice3},4.{choice4}",
        "{label}",
    ),
}
"""JGLUE's rows: their fields, and input and output that llm-jp-eval makes of them."""


class LLMJPEval(Rules):
    """One task. Documents: `id` (place in the file, from 0), `input`, `output`."""

    own_name: ClassVar[str]
    """llm-jp-eval's name of the task."""
    versions = ("1.3",)
    main_scale = 100.0
    leaderboard_shots = 4
    first_shots = True
    program = "llm-jp-eval 1.3.0"
    too_long = "are longer than the model takes; llm-jp-eval asks beyond that or fails, here their beginning is cut"

    def __init__(self, version: str, prompt: str) -> None:
        super().__init__(version, prompt)
        self.scored_split = prompt  # the last part of the id is the split

    @classmethod
    def origin(cls) -> Origin:
        name = cls.own_name
        made = {split: [f"{root}evaluation/{split}/{name}.json" for root in ("", "1.3.0/", "dataset/1.3.0/")] for split in
                ("train", "dev", "test")}  # fmt: skip
        source = card("llm_jp_eval")[name].get("source")
        if source is not None:
            where = f"preprocess it with llm-jp-eval 1.3.0 ({source['title']}, {source['where']}, {source['licence']})"
            return Origin(title=source["title"], places=made, where=where)
        blobs = {"jsts": {"valid": {"8374a83973edc34788ecf0b3d52ae73048f518fe": ["v1.1"]}}}.get(name)
        raw = jglue(name, blobs if blobs is not None else card(name)["origin"]["jglue"])
        # llm-jp-eval tests on JGLUE's valid file and cuts its own dev split off the train file
        of = {"train": "train", "dev": "train", "test": "valid"}
        return Origin(
            title="JGLUE",
            places={split: [*made[split], *raw.places[theirs]] for split, theirs in of.items()},
            where=f"preprocess it with llm-jp-eval 1.3.0, or {raw.where}".replace("{split}", "{{train,valid}}"),
            blobs={split: raw.blobs.get(theirs, {}) for split, theirs in of.items()},
            released=True,
        )

    @classmethod
    def prompts(cls, version: str) -> Mapping[str, Prompt]:
        prompt = alpaca(version, str(card("llm_jp_eval")[cls.own_name]["instruction"]), lambda doc: str(doc["input"]))
        return dict.fromkeys(("dev", "test"), prompt)

    def reservations(self, limit: float | None) -> list[str]:
        most = [] if limit is None else [
            f"at most {limit} documents of a task were scored (max_num_samples)" if isinstance(limit, int)
            else "only a part of the documents was scored (--limit)"
        ]  # fmt: skip
        return [*most, f"llm-jp-eval's own split '{self.scored_split}' of the data"]

    def read(self, path: Path) -> list[dict[str, Any]]:
        """A file that llm-jp-eval preprocessed, or one of JGLUE's from beginning to end."""
        pairs = self._preprocessed(path) if path.name == f"{self.own_name}.json" else self._published(path)
        if not pairs:
            raise HaigoError(f"{path} holds no sample.", "get the file again")
        docs = [{"id": number, "input": given, "output": wanted} for number, (given, wanted) in enumerate(pairs)]
        for doc in docs if _ENDED & set(self.metrics) else ():
            if metrics.number_in(unicodedata.normalize("NFKC", str(doc["output"]))) is None:
                raise HaigoError(f"{path}: output {doc['output']!r} of sample {doc['id']} is no number.", "mend it")
        return docs

    def read_split(self, path: Path, split: str) -> list[dict[str, Any]]:
        docs = self.read(path)
        if path.name == f"{self.own_name}.json" or split == "test":
            return docs
        random.Random(42).shuffle(docs)
        cut = int(len(docs) * 0.9)
        return docs[:cut] if split == "train" else docs[cut:]

    def _preprocessed(self, path: Path) -> list[tuple[str, str]]:
        whole = data.parse(path.read_bytes(), str(path), "get the file again")
        content = data.check(
            whole, {"instruction": str, "output_length": int, "metrics": list, "samples": list}, str(path)
        )
        row = card("llm_jp_eval")[self.own_name]
        for key, wanted in (
            ("instruction", row["instruction"]),
            ("output_length", row["length"]),
            ("metrics", row["metrics"]),
        ):
            if content[key] != wanted:
                raise HaigoError(
                    f"{path}: '{key}' is {str(content[key])[:60]!r}, another than {self.program}'s.",
                    "preprocess the data with llm-jp-eval 1.3.0",
                )
        samples = enumerate(content["samples"])
        rows = [data.check(each, {"input": str, "output": str}, f"{path} sample {n}") for n, each in samples]
        return [(each["input"], each["output"]) for each in rows]

    def _published(self, path: Path) -> list[tuple[str, str]]:
        if self.own_name == "jsquad":
            return list(_questions(path))
        fields, given, wanted = _RAW[self.own_name]
        return [(given.format_map(row), wanted.format_map(row)) for _, row in data.rows(path, fields)]

    def target(self, doc: Doc) -> str:
        return str(doc["output"])

    def room(self, doc: Doc, encode: Encode, max_length: int) -> int | None:
        return max_length - self._length

    @functools.cached_property
    def _length(self) -> int:
        return int(card("llm_jp_eval")[self.own_name]["length"])

    def requests(self, doc: Doc, encode: Encode) -> Sequence[Score | Generate]:
        return [Generate(stops=(), max_new_tokens=self._length)]

    def judge(self, doc: Doc, answers: Sequence[Any]) -> dict[str, Any]:
        given = unicodedata.normalize("NFKC", str(answers[0]).split("\n\n")[0].strip())
        right = unicodedata.normalize("NFKC", str(doc["output"]))
        figures = {
            "exact_match": lambda: float(given == right),
            "char_f1": lambda: metrics.token_sort_ratio(given, right) / 100,
            "set_f1": lambda: metrics.set_f1(given, right),
        }
        named = {name: figures[name]() for name in self.metrics if name in figures}
        return {"prediction": given, "target": right, **named}

    def aggregate(self, rows: Sequence[Mapping[str, Any]], bootstrap_iters: int) -> Scores:
        if not _ENDED & set(self.metrics):
            return super().aggregate(rows, bootstrap_iters)
        golds = [float(row["target"]) for row in rows]
        answers = [metrics.digits_in(row["prediction"]) for row in rows]
        return {name: metrics.correlation(name, golds, answers) for name in self.metrics}

    def baseline(self, docs: Sequence[Doc]) -> dict[str, float | None]:
        if self.main_metric != "exact_match":
            return super().baseline(docs)
        commonest = Counter(unicodedata.normalize("NFKC", doc["output"]) for doc in docs).most_common(1)[0][1]
        return {"majority": commonest / len(docs), "chance": None}


def _questions(path: Path) -> list[tuple[str, str]]:
    from eval_harness.tasks.jsquad import questions

    return [(f"文章：{context}\n質問：{row['question']}", answers[0]) for _, context, row, answers in questions(path)]


def _task(name: str, row: Mapping[str, Any]) -> type[LLMJPEval]:
    own = {
        "__doc__": f"llm-jp-eval's task {name}.",
        "__module__": __name__,
        "dataset": f"llmjp_{name}",
        "own_name": name,
        "metrics": tuple(row["metrics"]),
        "main_metric": row["metrics"][0],
        "higher_is_better": dict.fromkeys(row["metrics"], True),
    }
    return cast("type[LLMJPEval]", ABCMeta(f"LLMJPEval_{name}", (LLMJPEval,), own))


TASKS: tuple[type[LLMJPEval], ...] = tuple(_task(name, row) for name, row in card("llm_jp_eval").items())
