"""The options of eval_harness' verbs, spelt as lm-eval spells its own."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from eval_harness.fewshot import LEADERBOARD_SEED
from eval_harness.fillers import KINDS
from eval_harness.metrics import BOOTSTRAP_ITERS
from eval_harness.origins import VERSIONS
from haigo import cli
from haigo.cli import HaigoError
from haigo.options import FEW, Options, again, count, few, option, seed

Limit = int | float | None
"""How many documents of a task: all, a number or a share."""
FEWEST_QUESTIONS = 20
"""Fewer questions of a kind of gap say nothing of a model."""
POOLS = ("train", "test")
SUITES = ("leaderboard", "base-ja", "llm-jp")


def _words(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _shots(text: str) -> list[int | None]:
    return [None if word.strip() == "own" else _number(word, int, "a whole number") for word in text.split(",")]


def _limits(text: str) -> list[int | float | None]:
    # as jp-stable reads it: what is not all digits is a share
    kinds = [int if word.strip().isdigit() else float for word in text.split(",")]
    words = zip(text.split(","), kinds, strict=True)
    return [None if word.strip() == "all" else _number(word, kind, "a number") for word, kind in words]


def _batch_size(text: str) -> int | str:
    if re.fullmatch(r"auto(:\d+)?", text):
        return text
    try:
        return cli.whole(text)
    except argparse.ArgumentTypeError:
        raise HaigoError(f"{text:.40} is neither a whole number nor auto", option="batch_size") from None


def _number(word: str, kind: Any, name: str) -> Any:
    try:
        return kind(word)
    except ValueError:
        raise HaigoError(f"'{word}' is not {name}; write for example 3,3,2.") from None


@dataclass(frozen=True, kw_only=True)
class ScoreOptions(Options):
    """What a model is scored on."""

    underscored: ClassVar[bool] = True

    tasks: list[str] = option(
        "task ids with commas between them; jnli-1.1-* names all prompts; other names are lm-eval's", [], listed=_words
    )
    num_fewshot: list[int | None] = option(
        "shots, one number or one a task; `own` is the task's own (default)", [], listed=_shots
    )
    limit: list[int | float | None] = option(
        "documents, one number or one a task; 0.1 is a tenth, `all` the default", [], listed=_limits
    )
    data_dir: str | None = option("the folder with the data sets' files", None)
    fewshot_pool: str = option(
        "where the shots come from: train, or test where train can not be had", "train", among=POOLS
    )
    data_version: str = option(
        "the JGLUE release of the files: v1.1 (as published rows), v1.2 or v1.3", "v1.1", among=VERSIONS
    )
    hub: bool = option("fetch JAQKET's, XLSum-ja's and XWinograd-ja's files where --data_dir lacks them", False)


@dataclass(frozen=True, kw_only=True)
class RunOptions(ScoreOptions):
    """What `eval_harness.run` can be told."""

    suite: str | None = option("tasks, shots and limits of a known set, instead of --tasks", None, among=SUITES)
    model: str = option("lm-eval's word for what runs the model", "hf", among=("hf", "hf-causal", "hf-auto", "vllm"))
    model_args: list[str] = option(
        "pretrained=FOLDER[,dtype=float32][,tokenizer=FOLDER][,max_length=N]; again for a second model", []
    )
    trust_remote_code: bool = option("run Python code that the model brings along, in lm-eval's own tasks too", False)
    output_path: str | None = option("folder for result.json and the samples", None)
    log_samples: bool = option("write samples_TASK.jsonl too", False)
    batch_size: int | str | None = option(
        "contexts a forward pass, or auto[:N] as lm-eval has it (default: by their length); it does not change scores",
        None,
        least=1,
        most=FEW,
        parse=_batch_size,
    )
    device: str | None = option("cpu, cuda, cuda:0 ... (default: cuda if there is one)", None)
    apply_chat_template: str | None = option(
        "ask through the model's chat template, or a file: Jinja, or preprocess.pairs' YAML; no row of a base model compares",
        None,
        const="",
        metavar="FILE",
    )
    seed: int = seed("of the document order and the draws; any but 42 is not the leaderboard's", LEADERBOARD_SEED)
    bootstrap_iters: int = option("draws behind mcc's error", BOOTSTRAP_ITERS, least=0, most=10**9)
    exclude: str | None = option("file of contaminated ids: the score is also given without them", None, metavar="IDS")
    explain: int | None = option(
        "print document N (default the first) as it is scored", None, const=0, metavar="N", least=0
    )
    layout: str | None = option("models: write models/ORG/MODEL below --output_path", None, among=("flat", "models"))
    include_path: str | None = option("folder with YAML files of further tasks for lm-eval", None)
    json: bool = option("print result.json's content instead of the summary", False)
    list_tasks: bool = option("print every task id and end", False, flags=("--list",))


@dataclass(frozen=True, kw_only=True)
class TableOptions(Options):
    """What `eval_harness.leaderboard` can be told."""

    results: list[Path] = option(
        "what eval_harness.run, jp-stable, lm-eval (0.4) or llm-jp-eval wrote", positional=True, metavar="RESULT.json"
    )
    sort: str | None = option("order of the rows: a column, average or name", None, metavar="COLUMN")
    all: bool = option("also rows that are not in the leaderboard's README", False)
    markdown: Path | None = option("write the table as Markdown", None, metavar="FILE")
    html: Path | None = option("write the table as a web page", None, metavar="FILE")
    language: str = option("of the web page", "en", among=("en", "ja"), flags=("--language", "--lang"))


def _token_counts(text: str) -> list[float]:
    return [_number(word, cli.whole, "a number") for word in text.split(",")]


@dataclass(frozen=True, kw_only=True)
class CurveOptions(Options):
    """What `eval_harness.curve` can be told."""

    results: list[Path] = option(
        "result.json files of a run's checkpoints, or folders with them", positional=True, metavar="RESULT"
    )
    against: list[Path] = option("the same of a second run; may be repeated", [], metavar="RESULT")
    tokens: list[int] = option(
        "tokens of each result, in their order, where no conversion.json tells",
        [],
        listed=_token_counts,
        least=0,
        most=cli.MOST,
    )
    against_tokens: list[int] = option(
        "the same of --against's results", [], listed=_token_counts, least=0, most=cli.MOST
    )
    output_dir: Path | None = option("where curve.svg, curve.png and curve.csv go", None, metavar="FOLDER")


@dataclass(frozen=True, kw_only=True)
class ModelOptions(Options):
    """Which model, and where it runs."""

    underscored: ClassVar[bool] = True

    model: str = option("a Hugging Face model folder", metavar="FOLDER")
    tokenizer: str | None = option("the folder with its tokenizer, where it is another", None, metavar="FOLDER")
    dtype: str = option("float32, float16, bfloat16, or auto for the checkpoint's", "float32")
    trust_remote_code: bool = option("run the model's own code", False)
    device: str | None = option("cpu, cuda ... (default: cuda if there is one)", None)

    def model_args(self) -> dict[str, Any]:
        """The model as a mapping: a folder's name is never read as options."""
        named = {"tokenizer": self.tokenizer} if self.tokenizer is not None else {}
        return {"pretrained": self.model, "dtype": self.dtype, **named}


@dataclass(frozen=True, kw_only=True)
class AskOptions(ModelOptions):
    """What `eval_harness.ask` can be told."""

    question: str | None = option("the question; without it they are read from standard input", None)
    choices: str | None = option('two or more, parted by , 、 or blanks ("..." holds one together)', None)
    answer: str | None = option("the right choice; or mark it with * in --choices", None)
    prompt: str = option("prompt version of JCommonsenseQA", "0.3")
    lang: str = option("the words around questions and answers", "en", among=("en", "ja"))
    chat: bool = option("a free answer, by the model's chat template", False)
    template: Path | None = option("the template of --chat: Jinja, or preprocess.pairs' YAML", None, metavar="FILE")
    max_new_tokens: int = few("how long an answer of --chat may be", 256)


@dataclass(frozen=True, kw_only=True)
class EmbedOptions(ModelOptions):
    """What `eval_harness.embed` can be told."""

    file: Path | None = option("sentences, one a line, or JSON lines with text", None, positional=True, metavar="FILE")
    output: Path | None = option("vectors.parquet or vectors.npy", None, metavar="FILE")
    jsts: Path | None = option("JSTS's file: print Spearman's correlation", None, metavar="FILE")
    layer: int = option("which layer's states; -1 is the last", -1, least=-(10**6), most=10**6)


@dataclass(frozen=True, kw_only=True)
class HeadlineOptions(Options):
    """What `eval_harness.headlines` can be told."""

    underscored: ClassVar[bool] = True

    corpus: Path = option("folder of preprocess.clean, or a .jsonl file", positional=True, metavar="CORPUS")
    output_dir: Path = option("where test.jsonl goes")
    split: str = option("which split of the folder", "test")
    seed: int = seed("of the draws", 1234)
    characters: int = count("how much of an article is shown", 400, least=40)


@dataclass(frozen=True, kw_only=True)
class ClozeOptions(Options):
    """What `eval_harness.cloze` can be told."""

    underscored: ClassVar[bool] = True

    corpus: Path = again(HeadlineOptions, "corpus")
    output_dir: Path = option("where who.jsonl, where.jsonl and when.jsonl go")
    kinds: list[str] = option("which kinds of gaps", list(KINDS), listed=_words, among=KINDS)
    items: int = count("questions of a kind at most", 500, least=FEWEST_QUESTIONS)
    split: str = again(HeadlineOptions, "split")
    seed: int = again(HeadlineOptions, "seed")
    characters: int = count("of the text before a gap at most", 200, least=40)
