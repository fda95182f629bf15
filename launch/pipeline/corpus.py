"""The keys of a run file that one corpus has: where its text is, how it is cleaned, parted and limited."""

from __future__ import annotations

from dataclasses import dataclass

from haigo.cli import HaigoError
from haigo.options import Options, again, count, option
from preprocess.options import FORMATS, MARKUPS, PROFILES, CleanOptions
from preprocess.partition_options import MOST, PartitionOptions


@dataclass(frozen=True, kw_only=True)
class Partition(Options):
    """A corpus is parted into domains where `topics` or `quality` is set; it is measured as a whole all the same."""

    topics: int | None = count(
        "so many parts by what the documents are about; small ones are joined", None, least=2, most=MOST
    )
    quality: int | None = count(
        "so many parts of equal supply, from the worst text to the best; in each topic where there are any",
        None,
        least=2,
        most=MOST,
    )
    good: list[str] = option(
        "with `quality`: corpora of this run whose text is good, or the path of one model that preprocess.quality trained",
        [],
    )

    least: int = again(PartitionOptions, "least")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.quality and not self.good:
            raise HaigoError(
                "--quality is set, and nothing says which text is good.",
                "name corpora of the run, or a model, as --good",
                option=("quality", "good"),
            )
        if not self.quality:
            self.refuse_idle("no 'quality'", "good")
        if not self.on:
            self.refuse_idle("no 'topics' and no 'quality'", "least")

    @property
    def on(self) -> bool:
        """Whether the corpus is parted."""
        return bool(self.topics or self.quality)


@dataclass(frozen=True, kw_only=True)
class Corpus(Options):
    """One corpus: its raw files and the limits on its weight."""

    files: list[str] = option("raw files; shell patterns such as `news/*.jsonl.gz` are expanded")
    format: str = option(
        "jsonl, parquet, txt, mediawiki, kokkai, html, warc, files (each compressed or in a tar too);"
        " `auto` looks at the content",
        "auto",
        among=FORMATS,
    )
    profile: str = option(
        "which cleaning rules: auto (markup only) or what the corpus is: web, manual, encyclopaedia, news, minutes, literature,"
        " code, english; plain, wikitext and aozora name the markup",
        "auto",
        among=PROFILES,
    )
    markup: str = option(
        "what every document is written in, where the profile leaves that open; `auto` tells it of each document by its text",
        "auto",
        among=MARKUPS,
    )
    text_key: str = again(CleanOptions, "text_key")
    txt_documents: str = again(CleanOptions, "txt_documents")
    min_chars: int | None = count(
        "documents shorter than this are dropped; empty: the profile's own limit", None, least=0
    )
    max_chars: int | None = count("take at most so many characters, documents drawn at random; empty: all", None)
    normalise: list[str] | None = option(
        "characters that are taken out or made ordinary: `invisible` (zero-width, soft hyphens, direction marks), `kana`"
        " (half-width), or none; empty: the profile's own",
        None,
        among=("invisible", "kana", "none"),
    )
    skip_broken: int = again(CleanOptions, "skip_broken")
    unfinished: bool = again(CleanOptions, "unfinished")
    min: float = option("least weight in the mixture", 0.0, least=0, most=1)
    max: float = option("greatest weight in the mixture", 1.0, above=0, most=1)
    max_epochs: float | None = option("how often it may be repeated; empty: `search.max_epochs`", None, above=0)
    group: str = option("a name shared by corpora that have a common limit in `search.groups`, e.g. ja, en, code", "")
    partition: Partition = option(
        "parts it into domains, each with a weight of its own, e.g. `{topics: 4}`; `min` and `max` are then of all together",
        Partition(),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.partition.on and self.group:
            raise HaigoError(
                f"--group is '{self.group}' beside --partition, whose parts are a group of their own.",
                "leave one of the two out",
                option=("group", "partition"),
            )
