"""The run file: everything that one run of the whole chain is made from, in one YAML.

Its keys are the fields below; docs/runfile.md and the template of `launch.pipeline --init` are made from them
(`python -m launch.pipeline.reference` prints that page). In every path and command `${NAME}` stands for an environment
variable and `{prepared}` for the folder that the `prepare` command fills.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from eval_harness.options import ScoreOptions
from haigo import cli, naming, yamlfile
from haigo.cli import HaigoError
from haigo.options import Options, again, build, count, few, option
from haigo.options import seed as seed_option
from launch.engine.options import TrainOptions
from launch.pipeline.corpus import Corpus
from launch.plan.options import ConfigOptions
from mixer.options import ChoiceOptions, DesignOptions, LimitOptions, enough_for_two
from preprocess.options import DecontaminateOptions, DedupOptions, TokenizerOptions


@dataclass(frozen=True, kw_only=True)
class Dedup(Options):
    """Documents that repeat others, in any corpus, are taken out after cleaning; off unless `method` is set."""

    method: str = option(
        "none; exact: equal after NFKC, without blanks and punctuation; minhash: nearly equal ones too",
        "none",
        among=("none", "exact", "minhash"),
    )
    priority: list[str] = again(DedupOptions, "priority")
    threshold: float = again(DedupOptions, "threshold")
    shingle: int = again(DedupOptions, "shingle")
    bands: int = again(DedupOptions, "bands")
    rows: int = again(DedupOptions, "rows")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method != "minhash":
            self.refuse_idle(f"'dedup.method' {self.method}", "threshold", "shingle", "bands", "rows")


@dataclass(frozen=True, kw_only=True)
class Decontaminate(Options):
    """Texts of evaluation files are taken out after dedup, and the scores are also given without the items found; off
    unless `against` names a file."""

    against: list[str] = option(
        "evaluation files or folders of them: JGLUE's, the leaderboard's other tasks', any jsonl", []
    )
    remove: str = again(DecontaminateOptions, "remove")
    long: int = again(DecontaminateOptions, "long")
    short: int = again(DecontaminateOptions, "short")
    keys: list[str] = again(DecontaminateOptions, "keys")


@dataclass(frozen=True, kw_only=True)
class Tokenizer(Options):
    """A tokenizer is trained unless `path` names one."""

    path: str | None = option(
        "an existing tokenizer: a folder, a SentencePiece model or a tokenizer.json; empty: train one", None
    )
    eod_piece: str | None = option(
        "of an existing one: the piece that ends a document, as it calls it (empty: `<|endoftext|>`)", None
    )
    vocab_size: int = again(TokenizerOptions, "vocab_size", least=300)
    chars_per_corpus: int = again(
        TokenizerOptions,
        "chars_per_corpus",
        default=10_000_000,
        doc="how many characters of each corpus it is trained on",
    )
    model_type: str = again(TokenizerOptions, "model_type")
    compare: list[str] = again(
        TokenizerOptions, "compare", doc="other tokenizers, as `path`, whose compression the report shows beside"
    )
    compare_sizes: list[int] = again(TokenizerOptions, "compare_sizes")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.path:
            self.refuse_idle("'tokenizer.path'", "vocab_size", "chars_per_corpus", "model_type", "compare_sizes")
        elif self.eod_piece is not None:
            raise HaigoError("'tokenizer.eod_piece' says nothing without 'tokenizer.path'.", "name the tokenizer there")


@dataclass(frozen=True, kw_only=True)
class Objective(Options):
    """What the mixture is chosen for. Every metric is bits per byte, lower is better."""

    metrics: dict[str, float] = option(
        "metric -> weight. `CORPUS_bpb`: held-out loss on a corpus; `NAME_bpb`: loss on the right answers of `pairs`",
        above=0,
    )
    ceilings: dict[str, str] = option(
        "metric (or pattern such as `*_bpb`) -> how much worse than at token share it may be predicted, e.g. `+5%`", {}
    )


@dataclass(frozen=True, kw_only=True)
class Proxies(Options):
    """The small runs that the mixing laws are fitted on."""

    model: str = option("a name in neox_configs/proxies, or a GPT-NeoX YAML", "0-3M")
    runs: int = again(DesignOptions, "runs", least=4)
    rounds: int | None = few(
        "2: half of the runs first, half of the others around the optimum that those say; 1: all at once; empty: 2 from 16 runs"
        " and 2 a corpus on, but 1 where a run folder's were designed at once",
        None,
        most=2,
    )
    held_out: int = again(DesignOptions, "held_out", default=6)
    tokens: int = again(TrainOptions, "tokens", default=300_000, doc="training tokens of each proxy")
    floor: float = again(DesignOptions, "floor")
    eval_tokens: int = again(TrainOptions, "eval_tokens", default=20_000)
    screen: int = again(
        DesignOptions,
        "held_out",
        doc="so many more mixtures are judged by n-gram counts (seconds, `launch.screen`): a help where `runs` are few",
    )

    def in_rounds(self, corpora: int) -> int:
        """How many rounds a new run folder has."""
        return self.rounds or (2 if enough_for_two(self.runs, corpora) else 1)


@dataclass(frozen=True, kw_only=True)
class Search(ChoiceOptions):
    """How the mixture is chosen."""

    method: str = again(ChoiceOptions, "method", default="law")
    max_epochs: float = again(LimitOptions, "max_epochs")
    target_tokens: int | None = count("tokens of the run that the mixture is for; empty: `train.tokens`", None)
    groups: dict[str, list[float]] = again(LimitOptions, "groups")


@dataclass(frozen=True, kw_only=True)
class Train(Options):
    """The small models trained side by side, with equal budget, on the chosen mixture and on others."""

    model: str = option("a name in neox_configs/proxies or models, or a GPT-NeoX YAML", "1M")
    tokens: int = again(TrainOptions, "tokens", default=2_000_000, doc="training tokens of each model")
    seq_length: int | None = again(ConfigOptions, "seq_length", least=2)
    compare: list[str] = option(
        "mixtures beside the chosen one, which is always trained: token_share, uniform, temperature",
        ["token_share"],
        among=("token_share", "uniform", "temperature"),
    )
    evaluations: int = count("points on each learning curve", 10)
    eval_tokens: int = again(TrainOptions, "eval_tokens", default=6_000)
    test_tokens: int = again(
        TrainOptions,
        "test_tokens",
        default=60_000,
        doc="test tokens of each corpus, for the figures at the end",
        least=1,
    )


@dataclass(frozen=True, kw_only=True)
class Scores(Options):
    """Tasks that the trained models are scored on; an empty list scores nothing."""

    tasks: list[str] = option("task-version-prompt, as the leaderboard names them", [])
    num_fewshot: list[int] = option("examples in the prompt, one number a task", [], least=0)
    limit: int | None = count("documents of each task; empty: all", None)
    data_dir: str | None = again(ScoreOptions, "data_dir")
    fewshot_pool: str = again(ScoreOptions, "fewshot_pool")
    data_version: str = again(ScoreOptions, "data_version")


@dataclass(frozen=True, kw_only=True)
class Configs(Options):
    """The GPT-NeoX configs written for the real training."""

    models: list[str] = option("sizes in neox_configs/models", ["1-3B", "2-7B", "7B", "13B"])
    cluster: str = again(ConfigOptions, "cluster", default="a100-40gb")
    nodes: int = again(
        ConfigOptions,
        "nodes",
        doc="number of nodes; where a size does not fit, the smallest number that does is taken and said",
    )
    tokens: int = again(ConfigOptions, "tokens", default=20_000_000_000, least=1)


@dataclass(frozen=True, kw_only=True)
class RunFile(Options):
    """The whole chain."""

    output: str = option("the run folder")
    title: str = option("headline of the report", "Haigo run")
    note: str = option("a sentence shown at the top of the report, e.g. that the text is synthetic", "")
    language: str = option("of the report", "en", among=("en", "ja"))
    seed: int = seed_option("seed of the design, the proxies, the search and the training", 1)
    data_seed: int = seed_option(
        "seed of the train/valid/test split, of dedup's hashes and of the tokenizer's sample", 1234
    )
    workers: int | None = few("processes side by side; empty: all cores (proxies on CUDA: what the devices hold)", None)
    prepare: list[str] = option("a command run first; it fills `{prepared}`, and `{python}` is this interpreter", [])
    corpora: dict[str, Corpus] = option("name -> corpus")
    split: list[float] = option("shares of the documents for training, validation and test", [0.94, 0.03, 0.03])
    dedup: Dedup = option("repeated documents", Dedup())
    decontaminate: Decontaminate = option("texts of evaluation files", Decontaminate())
    tokenizer: Tokenizer = option("the tokenizer", Tokenizer())
    pairs: dict[str, str] = option(
        "name -> jsonl of {context, target}: the loss on the targets is the metric `NAME_bpb` of every proxy", {}
    )
    test_pairs: dict[str, str] = option("the same names, other questions: used for the trained models only", {})
    objective: Objective = option("what the mixture is chosen for")
    proxies: Proxies = option("proxy runs", Proxies())
    search: Search = option("mixture search", Search())
    train: Train = option("the trained models", Train())
    scores: Scores = option("scoring", Scores())
    configs: Configs = option("configs for the real training", Configs())

    @property
    def target_tokens(self) -> int:
        """Tokens of the run that the mixture is for."""
        return self.search.target_tokens or self.train.tokens

    def text_folder(self) -> str:
        """The folder of the run with the text that is trained on: that of the last of the stages that are on."""
        if self.decontaminate.against:
            return "decontaminate"
        return "dedup" if self.dedup.method != "none" else "corpora"


def read(path: str | os.PathLike[str], overrides: Sequence[str] = (), output: str | None = None) -> RunFile:
    """Read and check a run file.

    Args:
        path: the YAML.
        overrides: `key=value` or `section.key=value`, as given by `--set`; the value is read as YAML.
        output: the run folder, instead of the file's.

    Raises:
        HaigoError: unknown key (with the nearest), wrong type, missing key, unset environment variable, values that
            contradict each other. The sentence names the file and the key.
    """
    name = str(path)
    raw = yamlfile.read(path)
    if not isinstance(raw, dict):
        raise HaigoError(
            f"{name} is not a run file: it holds no keys.", "`python -m launch.pipeline --init` writes one"
        )
    for override in overrides:
        _override(raw, override)
    run: RunFile = build(RunFile, raw, name, "")
    _check(run, name)
    return run.replaced(output=output) if output else run


def _override(raw: dict[str, Any], text: str) -> None:
    dotted, equals, value = text.partition("=")
    if not equals:
        raise HaigoError(f"--set {text} has no value.", "write --set section.key=value")
    *above, last = dotted.split(".")
    place = raw
    for part in above:
        place = place.setdefault(part, {})
        if not isinstance(place, dict):
            raise HaigoError(f"--set {text}: '{part}' has no keys below it.", "see docs/runfile.md")
    place[last] = yamlfile.loads(value, f"--set {dotted}")


def check_corpus(corpus: str, source: str) -> str:
    """The name of a corpus of a run file, when it can be one.

    Raises:
        HaigoError: it cannot.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", corpus):
        raise HaigoError(
            f"{source}: {corpus[:60]!r} cannot be a corpus name.",
            "use letters, digits, - and _, beginning with a letter",
        )
    return naming.check(corpus, "corpus", source)


def _check(run: RunFile, name: str) -> None:
    """What no single key can tell: told now, not by the stage that stumbles over it after everything was trained."""
    for problem, fix in _names(run, name):
        raise HaigoError(f"{name}: {problem}", fix)
    for problem, fix in _contradictions(run):
        raise HaigoError(f"{name}: {problem}", fix)


def _names(run: RunFile, name: str) -> Iterator[tuple[str, str]]:
    """What is wrong with the names that the user gives: problem and fix."""
    if len(run.corpora) < 2 and not any(each.partition.on for each in run.corpora.values()):
        few = "a mixture needs two corpora or more." if run.corpora else "no corpus is given."
        yield few, f"add {'one' if run.corpora else 'at least two'} under `corpora:`"
    for corpus in run.corpora:
        check_corpus(corpus, name)
    for both in set(run.pairs) & set(run.corpora):
        yield f"'{both}' is the name of a corpus and of a pairs file.", "rename one of them"
    naming.check_all(run.pairs, "pairs file", name)
    naming.check_all([*run.corpora, *run.pairs], "corpus or pairs file", name)
    groups = dict.fromkeys(each.group for each in run.corpora.values() if each.group)
    naming.check_all(groups, "group", name, reserved=())
    naming.check_all(run.search.groups, "group", name, reserved=())
    lists = {"train.compare": run.train.compare, "configs.models": run.configs.models}
    for key, given in (lists | {"dedup.priority": run.dedup.priority}).items():
        for each in given:
            if given.count(each) > 1:
                yield f"'{key}' names '{each}' twice.", "name each once"
    for corpus in run.dedup.priority:
        if corpus not in run.corpora:
            near = cli.nearest(corpus, run.corpora)
            problem = f"'dedup.priority' names '{corpus}', which is no corpus here.{near}"
            yield problem, f"the corpora are {', '.join(run.corpora)}"
    yield from _good(run)
    metrics = {f"{each}_bpb" for each in [*run.corpora, *run.pairs]}
    for metric in run.objective.metrics:
        if metric not in metrics:
            problem = f"'objective.metrics' names '{metric}', which no corpus or pairs file gives."
            yield problem + cli.nearest(metric, metrics), f"the metrics are: {', '.join(sorted(metrics))}"
    if set(run.test_pairs) - set(run.pairs):
        yield "'test_pairs' has names that 'pairs' lacks.", "use the same names in both"


def _good(run: RunFile) -> Iterator[tuple[str, str]]:
    """What is wrong with the good text that bands of quality are made by."""
    for corpus, each in run.corpora.items():
        named, key = each.partition.good, f"'corpora.{corpus}.partition.good'"
        others = [name for name in run.corpora if name != corpus]
        if len(named) == 1 and named[0] not in run.corpora:
            if "/" not in named[0]:
                near = cli.nearest(named[0], others)
                yield (
                    f"{key} names '{named[0]}', which is no corpus here.{near}",
                    "name other corpora, or a model by its path",
                )
            continue
        for name in named:
            if name not in others:
                what = "the corpus itself" if name == corpus else f"'{name}', which is no corpus here"
                yield f"{key} names {what}.", f"the other corpora are {', '.join(others)}"


def _contradictions(run: RunFile) -> Iterator[tuple[str, str]]:
    """What does not go together: problem and fix."""
    if run.proxies.rounds == 2 and run.proxies.runs < 8:
        problem = f"'proxies.rounds' is 2, and half of {run.proxies.runs} 'proxies.runs' is too little to fit a law."
        yield problem, "give 8 runs or more, or one round"
    if run.seed == 0 and run.configs.models:
        yield "'seed' is 0, and GPT-NeoX refuses the seed 0.", "give 1 or more, or no configs.models"
    for corpus, each in run.corpora.items():
        if not each.files:
            yield f"'corpora.{corpus}.files' is empty.", "name its raw files"
        if each.group in run.corpora and run.corpora[each.group].partition.on:
            yield (
                f"'corpora.{corpus}.group' is '{each.group}', whose parts are a group of that name.",
                "rename the group",
            )
        if each.min > each.max:
            problem = f"'corpora.{corpus}.min' is {each.min:g}, above its 'max' of {each.max:g}."
            yield problem, "swap or loosen them"
    short, long = run.decontaminate.short, run.decontaminate.long
    if short > long:
        yield f"'decontaminate.short' is {short}, above 'decontaminate.long' ({long}).", "swap or loosen them"
    if not run.objective.metrics:
        yield "'objective.metrics' is empty.", "name what the mixture is chosen for, e.g. {news_bpb: 1.0}"
    if len(run.split) != 3 or min(run.split) <= 0 or abs(sum(run.split) - 1) > 1e-6:
        yield "'split' must be three positive shares that sum to 1.", "e.g. [0.94, 0.03, 0.03]"
    tasks, shots = len(run.scores.tasks), len(run.scores.num_fewshot)
    if tasks != shots:
        problem = f"{tasks} tasks but {shots} numbers of few-shots."
        yield problem, "give one number of 'scores.num_fewshot' for each of 'scores.tasks'"
    for group, limits in run.search.groups.items():
        if len(limits) != 2 or limits[0] > limits[1]:
            yield f"'search.groups.{group}' is not [least, greatest].", "give two shares such as [0.5, 0.9]"
        if group in run.corpora and run.corpora[group].partition.on:
            yield (
                f"'search.groups.{group}' is a corpus that is parted.",
                f"give 'corpora.{group}.min' and 'max' instead",
            )
        if group not in [each.group for each in run.corpora.values()]:
            yield f"no corpus has the group '{group}'.", "set `group:` on the corpora it holds"


FIRST_ROUND = "round-1"
"""Folder of the first of two rounds; the tables of both together stand where those of one would."""
