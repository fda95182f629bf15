"""What every task of the leaderboard answers: its documents, its text, its requests, its figures."""

from __future__ import annotations

import abc
import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from eval_harness import data, metrics, prompts
from eval_harness.origins import Origin, jglue
from eval_harness.prompts import Doc, Prompt
from haigo import yamlfile

Encode = Callable[[str], list[int]]
Scores = dict[str, float | None]
END_OF_TEXT = "\0end of text"
"""As a stop string: whatever the model's tokenizer ends a text with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """Ask for the log-likelihood of `choice` after the context."""

    choice: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Generate:
    """Ask for a greedy continuation of the context."""

    stops: tuple[str, ...]
    """Where the answer ends; none: as transformers' text-generation pipeline gives it, up to the end-of-text token."""
    max_new_tokens: int


@functools.cache
def card(dataset: str) -> dict[str, Any]:
    """A task's YAML file: `origin` (where the data come from) and `prompts`."""
    content: dict[str, Any] = yamlfile.read(Path(__file__).with_name(f"{dataset}.yml"))
    return content


class Rules(abc.ABC):
    """One task in one version with one prompt; its data's origin and its prompts stand in `DATASET.yml` beside its module."""

    dataset: ClassVar[str]
    """The first part of the task id, and of the names of its data files and its YAML file."""
    versions: ClassVar[tuple[str, ...]]
    main_metric: ClassVar[str]
    """The figure of the leaderboard's table."""
    main_scale: ClassVar[float]
    """What makes percent of it."""
    metrics: ClassVar[tuple[str, ...]] = ("acc",)
    """Figures of a document of which the task has the means."""
    leaderboard_shots: ClassVar[int]
    """Shots of the published rows."""
    published_documents: ClassVar[int | None] = None
    """Documents that published rows scored, where their figure is a share of right answers."""
    lm_eval_name: ClassVar[str | None] = None
    """lm-eval's own task of the same data, behind `ja_leaderboard_`."""
    japanese_metric: ClassVar[bool] = False
    """Whether the metric needs the extra `ja`."""
    higher_is_better: ClassVar[dict[str, bool]]
    stratified: bool = False
    first_shots: ClassVar[bool] = False
    """Whether documents keep their file's order and all have the first examples as shots."""
    program: ClassVar[str | None] = None
    """Whose rules these are, where they are not the leaderboard's."""
    too_long: ClassVar[str] = "are too long even without shots; jp-stable stops there, here their beginning is cut"
    """What is said of contexts without room for an answer."""
    scored_split: str = "valid"
    has_shots: ClassVar[bool] = True
    on_leaderboard: ClassVar[bool] = False
    """Whether `published.csv` has a column of that name."""

    @classmethod
    def lm_eval_differs(cls) -> str:
        """How lm-eval's own task of the same data asks otherwise."""
        return (
            "has other prompts (where there is one, 0.3 with full-width colons), other shots (its own generator) and the "
            "documents in their file's order"
        )

    @classmethod
    def data_reservation(cls, data: str, pool: str) -> str | None:
        """Why a score on published data may still not stand beside published rows.

        Args:
            data: what the files are, as `eval_harness.datasets.label` says it; pool: the split of the shots.
        """
        return None

    @classmethod
    def published_notes(cls, row: Mapping[str, str]) -> list[str]:
        """What is to be known about a row of published.csv."""
        return []

    def __init__(self, version: str, prompt: str) -> None:
        self.version = version
        self.pieces: Callable[[str], list[str]] = list
        """The model's tokenizer as a splitter of text, set before scoring; only Rouge asks for it."""
        self.prompt: Prompt = self.prompts(version)[prompt]
        self.name = f"{self.dataset}-{version}-{prompt}"

    @classmethod
    def origin(cls) -> Origin:
        """Where the data come from."""
        content = card(cls.dataset)["origin"]
        return jglue(cls.dataset, content["jglue"]) if "jglue" in content else Origin(**content)

    @classmethod
    def prompts(cls, version: str) -> Mapping[str, Prompt]:
        """The prompt versions of a task version."""
        fields = functools.partial(cls.fields, version)
        rows = card(cls.dataset)["prompts"].items()
        return {
            name: prompts.make(name, row, fields)
            for names, row in rows
            for name in names.split()
            if row.get("never_in") != version
        }

    @classmethod
    def fields(cls, version: str, doc: Doc, newline: str) -> Mapping[str, Any]:
        """What stands for the names in the prompts of a task version: the document's own fields, and what is made of them.

        Args:
            doc: empty for what stands above all documents.
            newline: how the prompt breaks lines.
        """
        return {**doc, "newline": newline}

    @abc.abstractmethod
    def read(self, path: Path) -> list[dict[str, Any]]:
        """The documents of a file, in its order; each has `id`."""

    def read_split(self, path: Path, split: str) -> list[dict[str, Any]]:
        """The documents of a split, where a file may hold two."""
        return self.read(path)

    def reservations(self, limit: float | None) -> list[str]:
        """What is to be known of a score of a task that the leaderboard does not have."""
        return ["the task is Haigo's own: there are no published rows"]

    @abc.abstractmethod
    def target(self, doc: Doc) -> str:
        """The right answer as it stands in a shot."""

    @abc.abstractmethod
    def requests(self, doc: Doc, encode: Encode) -> Sequence[Score | Generate]:
        """What the model is asked after the context of `doc`."""

    @abc.abstractmethod
    def judge(self, doc: Doc, answers: Sequence[Any]) -> dict[str, Any]:
        """One document's row of the samples file: prediction, target and per-document figures."""

    def aggregate(self, rows: Sequence[Mapping[str, Any]], bootstrap_iters: int) -> Scores:
        """The task's figures and standard errors from what `judge` gave, in the leaderboard's order and names: the means of
        `metrics`."""
        figures: Scores = {}
        for metric in self.metrics:
            values = [row[metric] for row in rows]
            figures[metric] = metrics.mean(values)
            figures[f"{metric}_stderr"] = metrics.mean_stderr(values)
        return figures

    def baseline(self, docs: Sequence[Doc]) -> dict[str, float | None]:
        """What answering without reading gives, in the unit of the main metric: the commonest answer, and chance."""
        return {"majority": None, "chance": None}

    def warnings(self, shots: int) -> list[str]:
        """Sentences that the user should read before trusting the score."""
        return []

    @property
    def needs_model(self) -> bool:
        """Whether the contexts depend on the model's tokenizer and length."""
        return type(self).room is not Rules.room or type(self).trim is not Rules.trim

    def room(self, doc: Doc, encode: Encode, max_length: int) -> int | None:
        """How many tokens the context of `doc` may have before one shot fewer is drawn; None where shots stay."""
        return None

    def trim(self, context: str, doc: Doc, encode: Encode, decode: Callable[[list[int]], str], max_length: int) -> str:
        """The context as it is sent to the model, where the task itself cuts what is too long."""
        return context

    def context(self, doc: Doc, shots: Sequence[Doc]) -> str:
        """Description, shots and question as one text."""
        text, separator = self.prompt.text, self.prompt.separator
        examples = "".join(f"{text(shot)}{self.target(shot)}{separator}" for shot in shots)
        return f"{self.prompt.description}{examples}{text(doc)}"


class MultipleChoice(Rules):
    """Every choice is scored after the context, encoded on its own; the most likely one is the answer.

    Documents have `choices` (list of strings) and `gold` (index).
    """

    main_metric = "acc"
    main_scale = 100.0
    higher_is_better: ClassVar[dict[str, bool]] = {"acc": True, "acc_norm": True}
    metrics: ClassVar[tuple[str, ...]] = ("acc", "acc_norm")

    def target(self, doc: Doc) -> str:
        return str(doc["gold"]) if self.prompt.digit_targets else str(doc["choices"][doc["gold"]])

    def requests(self, doc: Doc, encode: Encode) -> Sequence[Score | Generate]:
        return [Score(choice=choice) for choice in doc["choices"]]

    def judge(self, doc: Doc, answers: Sequence[Any]) -> dict[str, Any]:
        scores = [float(score) for score, _ in answers]
        best, best_per_character = metrics.picks(scores, doc["choices"])
        return {
            "choices": [
                {"text": choice, "loglikelihood": score} for choice, score in zip(doc["choices"], scores, strict=True)
            ],
            "prediction": best,
            "target": doc["gold"],
            "acc": float(best == doc["gold"]),
            "acc_norm": float(best_per_character == doc["gold"]),
        }

    def baseline(self, docs: Sequence[Doc]) -> dict[str, float | None]:
        commonest = Counter(doc["gold"] for doc in docs).most_common(1)[0][1]
        return {
            "majority": commonest / len(docs),
            "chance": sum(1 / len(doc["choices"]) for doc in docs) / len(docs),
        }


class FixedChoice(MultipleChoice):
    """The choices are the same in every document, which has a label; their mix hides constant answers in acc, so balanced
    accuracy, Matthews correlation and macro F1 stand beside it."""

    labels: ClassVar[tuple[str, ...]]
    """As the data name them; numbers stand for them too."""
    columns: ClassVar[dict[str, str]]
    """Field of a document -> column of the data; `id` may be missing there."""

    higher_is_better: ClassVar[dict[str, bool]] = dict.fromkeys(
        ("acc", "acc_norm", "balanced_acc", "mcc", "macro_f1"), True
    )

    @property
    def words(self) -> Sequence[str]:
        """The choices, in the order of the labels."""
        return self.labels

    def read(self, path: Path) -> list[dict[str, Any]]:
        own = {name: column for name, column in self.columns.items() if name != "id"}
        kinds: dict[str, type | tuple[type, ...]] = {**dict.fromkeys(own.values(), str), "label": (str, int)}
        docs = []
        for line, row in data.rows(path, kinds):
            doc = {"id": row.get(self.columns["id"], line - 1)} | {name: row[column] for name, column in own.items()}
            gold = data.label_number(row["label"], self.labels, f"{path} line {line}")
            docs.append(doc | {"choices": list(self.words), "gold": gold})
        return docs

    def aggregate(self, rows: Sequence[Mapping[str, Any]], bootstrap_iters: int) -> Scores:
        figures = super().aggregate(rows, bootstrap_iters)
        golds, answers = [row["target"] for row in rows], [row["prediction"] for row in rows]
        figures["balanced_acc"] = metrics.balanced_accuracy(golds, answers)
        figures["mcc"] = metrics.mcc(golds, answers)
        figures["mcc_stderr"] = metrics.mcc_stderr(golds, answers, bootstrap_iters)
        figures["macro_f1"] = metrics.macro_f1(golds, answers)
        return figures
