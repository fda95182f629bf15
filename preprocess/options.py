"""The options of preprocess' verbs, each declared once.

`CleanOptions`, `DedupOptions` ... say what the result is to be; functions take them, and run files of other rooms have
some of their fields as keys. `CleanCommand`, `DedupCommand` ... are whole command lines: what is read and where it goes, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from haigo.cli import HaigoError
from haigo.options import Options, again, amount, count, few, option, seed

FORMATS = ("auto", "jsonl", "parquet", "txt", "mediawiki", "kokkai", "files", "html", "warc")
TXT_DOCUMENTS = ("auto", "file", "blank-lines", "paragraphs", "lines", "pieces")
MARKUPS = ("auto", "plain", "code", "minutes", "wikitext", "aozora")
"""Those of `rules.MARKUPS`."""
PROFILES = (*MARKUPS, "web", "manual", "encyclopaedia", "news", "literature", "english")
"""Those of `rules.MARKUPS` and `domains.yml`."""
PII = ("mail", "phone", "address")
STEPS = ("split", "clean", "gather", "dedup", "decontaminate", "score", "resplit", "index", "join")
"""Of preprocess.scale, in order; `clean` stands for the two around it too."""
EXECUTORS = ("pool", "datatrove", "slurm", "ray")
SPLIT = [0.96, 0.02, 0.02]
SEED = 1234
TOKENIZER = "tokenizer folder or SentencePiece model file"


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _shares(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise HaigoError(f"{text} is not three numbers such as 0.96,0.02,0.02.") from None


@dataclass(frozen=True, kw_only=True)
class RowOptions(Options):
    """Of every verb that reads rows."""

    skip_broken: int = count(
        "so many rows that cannot be read are passed over, counted and named", 0, least=0, metavar="N"
    )


@dataclass(frozen=True, kw_only=True)
class WorkOptions(RowOptions):
    """Of verbs that work in processes; what comes out does not depend on their number."""

    workers: int = few("processes", 1)


@dataclass(frozen=True, kw_only=True)
class TextOptions(RowOptions):
    """Of verbs that read plain text."""

    txt_documents: str = option(
        "how a txt file is parted: file (it is one document), blank-lines (at two or more), paragraphs (at every blank line),"
        " lines, or pieces of some 500 characters; auto: Aozora's and members of a tar are whole, others as blank-lines",
        "auto",
        among=TXT_DOCUMENTS,
        flags=("--documents",),
    )


@dataclass(frozen=True, kw_only=True)
class ReadOptions(TextOptions):
    """How raw files are read."""

    format: str = option("what the files are; auto: told by each", "auto", among=FORMATS)
    text_key: str = option("the field that holds the text, in jsonl and parquet", "text")
    patterns: list[str] = option("of folders, only files such as '*.py'", [], flags=("--pattern",))
    exclude: list[str] = option("of folders, no file or folder of this name", [])
    encoding: str = option("of txt, source and HTML files; auto: detected", "auto")
    keep_urls: list[str] = option(
        "only pages on this list: hosts, beginnings of addresses, patterns with *, one a line", [], metavar="FILE"
    )
    drop_urls: list[str] = option("no page on this list, written the same", [], metavar="FILE")
    join: str = option("minutes: what a document is", "speech", among=("speech", "meeting"))
    attendance: bool = option("minutes: keep the attendance lists", False, hidden=True)


@dataclass(frozen=True, kw_only=True)
class CleanOptions(ReadOptions, WorkOptions):
    """What `clean.clean_corpus` can be told."""

    profile: str = option("which rules apply", "auto", among=PROFILES)
    markup: str = option("what every document is written in; auto: told by its text", "auto", among=MARKUPS)
    pii: list[str] = option("mask personal information: mail,phone,address", [], among=PII, listed=_names)
    filters: list[str] = option("a filter of HojiChar's as a step", [], flags=("--hojichar",), metavar="FILTER")
    normalise: str | None = option(
        "invisible,kana or none (default: the profile's own)", None, flags=("--normalise", "--normalize")
    )
    languages: list[str] = option("drop documents in other ones: ja,en (by pycld2)", [], listed=_names)
    site_pages: int | None = count(
        "take out lines that stand on so many pages of a host, and a fifth of them; 0: none (default: the profile's)",
        None,
        least=0,
    )
    split_shares: list[float] = option("shares of train,valid,test", SPLIT, flags=("--split",), listed=_shares)
    seed: int = seed("key of the split and of samples", SEED)
    min_chars: int | None = option("drop shorter documents (default: the profile's)", None)
    max_chars: int | None = option("clean a random sample of at most this much, one document at least", None)
    max_documents: int | None = option("the same, in documents", None)
    unfinished: bool = option(
        "take a fetched folder that was broken off, or does not fit its data card, all the same", False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.site_pages == 1:
            raise HaigoError("every line stands on 1 page.", "give 2 or more, or 0 for none", option="site_pages")


@dataclass(frozen=True, kw_only=True)
class DedupOptions(WorkOptions):
    """What `dedup.dedup` can be told."""

    priority: list[str] = option(
        "corpora whose copy stays, best first; the others follow as they are given", [], listed=_names
    )
    method: str = option("near-duplicates too, or equal ones only", "minhash", among=("minhash", "exact"))
    threshold: float = option("Jaccard similarity from which on two documents are nearly equal", 0.8, above=0, most=1)
    shingle: int = count("characters of a shingle", 5, most=100)
    bands: int = count("MinHash bands", 14, most=256)
    rows: int = count("MinHash rows of a band", 8, most=64)
    seed: int = seed("of the hashes", SEED)
    memory_gb: float = amount("gigabytes that a process may take; what stays does not depend on it", 2.0)


@dataclass(frozen=True, kw_only=True)
class DecontaminateOptions(WorkOptions):
    """What `decontaminate.decontaminate` can be told."""

    remove: str = option(
        "what goes: the document, or only the lines with the text (paragraph), or none",
        "document",
        among=("document", "paragraph", "none"),
    )
    long: int = count("characters in a row that give an evaluation text away", 50, least=8, most=1000)
    short: int = count("least characters at which a whole text does", 20, least=8, most=1000)
    keys: list[str] = option(
        "where other jsonl has its texts, such as question and answer; empty: text", [], listed=_names
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.short > self.long:
            both = ("short", "long")
            raise HaigoError(f"--short {self.short} is above --long {self.long}.", "swap or loosen them", option=both)


@dataclass(frozen=True, kw_only=True)
class IndexOptions(TextOptions, WorkOptions):
    """What `index.index` can be told."""

    json_key: str = option("key or column of the text", "text", flags=("--json-key", "--text-key"))
    append_eod: bool = option("leave the end piece out", True, flags=("--no-append-eod",))
    split_bytes: int | None = count(
        "plain jsonl files above this are cut into shards of about this size; empty: a thirty-second of the file, 4 MB at"
        " least and 64 MB at most",
        None,
        hidden=True,
    )


@dataclass(frozen=True, kw_only=True)
class SampleOptions(WorkOptions):
    """What `sample.sample` can be told: how large, and which part of it each corpus has."""

    characters: int | None = count("the whole sample (300 million for 50,000 pieces)", None)
    budgets: dict[str, int] = count(
        "once for every corpus, instead of --characters", {}, flags=("--budget",), metavar="NAME=CHARACTERS"
    )
    temperature: float = amount("1: the corpora's own shares; large: equal shares", 1.0)
    fill: bool = option("what a corpus is short of goes to the others, in proportion to their shares", False)
    repeats: int = count("how often a line of 20 characters or more may stand in a corpus' sample", 1)
    seed: int = seed("key of the draw", SEED)

    def __post_init__(self) -> None:
        super().__post_init__()
        both = ("characters", "budgets")
        if self.characters is None and not self.budgets:
            raise HaigoError(
                "--characters is missing.", "say how large the sample is to be, such as --characters 3e8", option=both
            )
        if self.characters is not None and self.budgets:
            raise HaigoError("--characters and --budget exclude each other.", "give one of them", option=both)


@dataclass(frozen=True, kw_only=True)
class MeasureOptions(Options):
    """How a tokenizer is measured, whether it was trained or taken in."""

    seed: int = seed("draws the text", SEED)
    compare: list[str] = option("other tokenizers, measured beside", [], nargs="+", metavar="OTHER")
    check_chars: int | None = count("check a random part of each corpus (default: all)", None)
    exact_json: bool = option("write no tokenizer.json that cuts a checked text otherwise than spm.model", False)


@dataclass(frozen=True, kw_only=True)
class TokenizerOptions(MeasureOptions):
    """What `tokenizer_train.train` can be told."""

    vocab_size: int = few("number of pieces; fewer when the text does not hold that many", 50_000)
    chars_per_corpus: int = count("without --sample: training text of each corpus", 3_000_000)
    sample: str | None = option("folder written by preprocess.sample: its text is trained on", None)
    model_type: str = option("unigram or bpe", "unigram", among=("unigram", "bpe"))
    threads: int = few("other numbers may give other pieces", 1)
    force: bool = option("train even if the memory seems not to be enough", False)
    compare_sizes: list[int] = option(
        "numbers of pieces that are trained on the same text too, and only measured beside", [], nargs="+", least=300
    )


@dataclass(frozen=True, kw_only=True)
class ScaleDedup(DedupOptions):
    """The key `dedup` of the run file of `preprocess.scale`."""

    beside: dict[str, str] = option(
        "other corpora that take part, and of which nothing is written here: name, and folder of preprocess.clean or of"
        " another run",
        {},
    )


@dataclass(frozen=True, kw_only=True)
class ScaleDecontaminate(DecontaminateOptions):
    """The key `decontaminate` of the run file of `preprocess.scale`."""

    against: list[str] = option("evaluation files, or folders of them")


@dataclass(frozen=True, kw_only=True)
class ScaleResplit(Options):
    """The key `resplit` of the run file of `preprocess.scale`."""

    split_shares: list[float] | None = option("shares of train,valid,test (default: cleaning's)", None)
    seed: int | None = again(CleanOptions, "seed", doc="key of the split (default: cleaning's)", default=None)


@dataclass(frozen=True, kw_only=True)
class ScaleRun(Options):
    """The run file of `preprocess.scale`."""

    corpus: str = option("name of the corpus")
    inputs: list[str] = option("files, folders, patterns; a file is a piece of work, a large one several")
    output: str = option("folder of the whole run, which all nodes see")
    tokenizer: str = option(TOKENIZER)
    clean: dict[str, Any] = option("options of preprocess.clean: the fields of `CleanOptions`", {})
    dedup: dict[str, Any] | None = option(
        "take out what repeats other documents: options of preprocess.dedup, and beside; empty: all documents stay",
        None,
    )
    decontaminate: dict[str, Any] | None = option(
        "take out evaluation texts: against, and options of preprocess.decontaminate", None
    )
    score: dict[str, Any] | None = option(
        "score the documents, and drop those beyond limits of scores: options of preprocess.score", None
    )
    resplit: dict[str, Any] | None = option(
        "deal out train, valid and test anew over the whole corpus: split_shares, seed; empty: as each file was cleaned",
        None,
    )
    split_bytes: int = count(
        "files above this are cut into pieces of about this size as they lie on the disk; 0: none is",
        256 << 20,
        least=0,
    )
    tasks: int = few("the work is dealt out to so many tasks; the result does not depend on it", 1)
    workers: int = few("tasks at a time", 1)
    executor: str = option("what runs the tasks", "pool", among=EXECUTORS)
    slurm: dict[str, Any] = option("keys of datatrove's SlurmPipelineExecutor", {})
    ray: dict[str, Any] = option("options of Ray's tasks, such as num_cpus and memory (bytes)", {})


# --- command lines ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Printed(Options):
    """Of verbs that end with a report."""

    json: bool = option("print the report as JSON", False)


@dataclass(frozen=True, kw_only=True)
class Rewritten(Printed):
    """Of verbs that make folders of documents, or only say what they would do."""

    output_dir: str | None = option("folder of what is written (not with --dry-run)", None)
    dry_run: bool = option("write nothing, print what would be done", False)

    @property
    def target(self) -> str | None:
        """The folder to write; None in a dry run."""
        if not self.dry_run and not self.output_dir:
            raise HaigoError(
                "--output-dir is missing.", "name a folder, or give --dry-run", option=("output_dir", "dry_run")
            )
        return None if self.dry_run else self.output_dir


@dataclass(frozen=True, kw_only=True)
class CleanCommand(CleanOptions, Rewritten):
    """`preprocess.clean`."""

    inputs: list[str] = option("files, folders or patterns", positional=True, metavar="INPUT")
    corpus: str = option("name of the corpus")


@dataclass(frozen=True, kw_only=True)
class DedupCommand(DedupOptions, Rewritten):
    """`preprocess.dedup`."""

    folders: list[str] = option("folders that preprocess.clean wrote", positional=True, metavar="DIR")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method == "exact":
            self.refuse_idle("--method exact", "threshold")


@dataclass(frozen=True, kw_only=True)
class DecontaminateCommand(DecontaminateOptions, Rewritten):
    """`preprocess.decontaminate`."""

    folders: list[str] = again(DedupCommand, "folders")
    against: list[str] = option("evaluation files, or folders", nargs="+", metavar="FILE")


@dataclass(frozen=True, kw_only=True)
class IndexCommand(IndexOptions, Printed):
    """`preprocess.index`."""

    inputs: list[str] = option("jsonl, parquet or txt, also compressed; folders", positional=True, metavar="FILE")
    tokenizer: str = option(TOKENIZER)
    output_prefix: str = option("as GPT-NeoX's --output-prefix")
    as_usual: bool = option("accepted; it is the default", False, flags=("--append-eod",))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.as_usual and not self.append_eod:
            raise HaigoError("--append-eod and --no-append-eod exclude each other.", "give one of them")


@dataclass(frozen=True, kw_only=True)
class SampleCommand(SampleOptions, Printed):
    """`preprocess.sample`."""

    corpora: list[str] = again(DedupCommand, "folders", metavar="CLEANED_DIR")
    output_dir: str = option("folder of the sample")
    mixture: str | None = option("mixture.yml: budgets in proportion to its weights", None)

    def __post_init__(self) -> None:
        super().__post_init__()
        given = {"--mixture": self.mixture, "--budget": self.budgets, "--temperature": self.temperature != 1}
        named = [flag for flag, value in given.items() if value]
        if len(named) > 1:
            raise HaigoError(f"{named[0]} and {named[1]} exclude each other.", "give one of them")


@dataclass(frozen=True, kw_only=True)
class TokenizerCommand(TokenizerOptions, Printed):
    """`preprocess.tokenizer`."""

    corpora: list[str] = again(SampleCommand, "corpora")
    output_dir: str = option("tokenizer folder to write")
    unseen: list[str] = option("corpora that are only checked", [], nargs="+", metavar="CLEANED_DIR")
    adopt: str | None = option(
        "take this tokenizer in and measure it, instead of training one: a SentencePiece model, a tokenizer.json, or a folder",
        None,
        metavar="MODEL_OR_FOLDER",
    )
    eod_piece: str | None = option(
        "with --adopt: the piece that ends a document, as the tokenizer calls it (default: <|endoftext|>)",
        None,
        metavar="PIECE",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.adopt and self.sample:
            raise HaigoError("--adopt and --sample exclude each other.", "a model that is there needs no training text")
        if self.adopt:
            self.refuse_idle("--adopt", "vocab_size", "chars_per_corpus", "model_type", "threads", "force")
        elif self.eod_piece is not None:
            raise HaigoError("--eod-piece says nothing without --adopt.", "add --adopt TOKENIZER", option="eod_piece")
        if self.sample:
            self.refuse_idle("--sample", "chars_per_corpus")


@dataclass(frozen=True, kw_only=True)
class ScaleCommand(Options):
    """`preprocess.scale`: some keys of its run file may be given again."""

    run: str = option("run file", positional=True, metavar="RUN.yml")
    executor: str | None = again(ScaleRun, "executor", default=None)
    only: str | None = option("one step (default: all)", None, among=STEPS)
    tasks: int | None = again(ScaleRun, "tasks", default=None)
    workers: int | None = again(ScaleRun, "workers", default=None)
    status: bool = option("say how far each step is, and do nothing", False)
    estimate: bool = option(
        "say what the run takes, measured on a sample of about one percent, and do nothing else", False
    )
    tokens: float | None = amount("with --estimate: for so many tokens of such text, too", None)
    json: bool = option("print what --status and --estimate say as JSON", False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tokens is not None and not self.estimate:
            raise HaigoError("--tokens says nothing without --estimate.", "add --estimate", option="tokens")


@dataclass(frozen=True, kw_only=True)
class InspectCommand(Printed):
    """`preprocess.inspect`."""

    prefixes: list[str] = option(
        "path without .bin or .idx; with --domains a folder of preprocess.partition", positional=True, metavar="PREFIX"
    )
    domains: bool = option("show the parts of a partition", False)
    verify: bool = option("check digests, structure and ids", False)
    sample: int = count("show N documents", 0, least=0, metavar="N")
    tokenizer: str | None = option("tokenizer folder or model: decodes samples, refuses another vocabulary", None)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.domains:
            self.refuse_idle("--domains", "verify", "tokenizer")
