"""The options of `preprocess.quality` and `preprocess.score`; see `preprocess.options`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from haigo.cli import HaigoError, nearest
from haigo.options import again, count, option, seed

from .options import SEED, DedupCommand, Printed, ReadOptions, WorkOptions

_NUMBERS = ("quality", "perplexity", "language_probability", "spam", "adult")
SCORES = ("quality", "perplexity", "language", "spam", "adult")
"""What a document can be scored by, in the order in which its meta has them; language brings language_probability."""


@dataclass(frozen=True, kw_only=True)
class QualityOptions(ReadOptions):
    """What `quality.train` can be told."""

    characters: int = count("of good and of ordinary text, drawn where there is more", 5_000_000)
    excerpt: int = count("of a longer document so many characters are read, in pieces spread over it", 1000, least=100)
    seed: int = seed("draws the text", SEED)


@dataclass(frozen=True, kw_only=True)
class QualityCommand(QualityOptions, Printed):
    """`preprocess.quality`."""

    good: list[str] = option("good text: files, folders, patterns, or cleaned corpora", nargs="+", metavar="FILE")
    ordinary: list[str] = option("ordinary text, such as pages as they come", nargs="+", metavar="FILE")
    output_dir: str = option("folder of the model")


@dataclass(frozen=True, kw_only=True)
class ScoreOptions(WorkOptions):
    """What `score.score` can be told: which scores."""

    quality: str | None = option("probability of being good text, by this model", None, metavar="MODEL")
    perplexity: str | None = option("per character, under this model's good text", None, metavar="MODEL")
    language: bool = option("language and its share of the text", False)
    spam: bool = option("words of advertising in 1,000 characters (HojiChar's list)", False)
    adult: bool = option("words of adult pages in 1,000 characters (HojiChar's list)", False)
    least: dict[str, float] = option("drop documents of which this score is below", {}, metavar="SCORE=NUMBER")
    most: dict[str, float] = option("drop documents of which this score is above", {}, metavar="SCORE=NUMBER")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.scores:
            raise HaigoError(
                "no score is asked for.", "give --quality MODEL, --perplexity MODEL, --language, --spam or --adult",
                option=SCORES,
            )  # fmt: skip
        given = [name for name in _NUMBERS if name.partition("_")[0] in self.scores]
        for limits in ("least", "most"):
            for name in getattr(self, limits):
                if name not in given:
                    raise HaigoError(
                        f"--{limits} names '{name}', which is no number that is asked for.{nearest(name, given)}",
                        f"name one of {', '.join(given)}" if given else "ask for another score",
                        option=limits,
                    )

    def drops(self, row: Mapping[str, Any]) -> str | None:
        """The rule that drops a document with these scores; None where it stays."""
        low = next((name for name, least in self.least.items() if row[name] < least), None)
        high = next((name for name, most in self.most.items() if row[name] > most), None)
        return f"low_{low}" if low else f"high_{high}" if high else None

    @property
    def scores(self) -> list[str]:
        """The names of the scores that are asked for."""
        return [name for name in SCORES if getattr(self, name)]


@dataclass(frozen=True, kw_only=True)
class ScoreCommand(ScoreOptions, Printed):
    """`preprocess.score`."""

    folders: list[str] = again(DedupCommand, "folders")
    output_dir: str = option("gets a folder for each corpus, and score.json")
