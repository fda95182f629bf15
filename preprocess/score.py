"""Cleaned corpora with scores in each document's meta: quality, perplexity, language, words of advertising and of adult pages.

    python -m preprocess.score DIR... --output-dir OUT [--quality MODEL] [--perplexity MODEL] [--language] [--spam] [--adult]
           [--least quality=0.3] [--most perplexity=900] [--skip-broken N] [--workers N] [--json]

DIR is a folder that preprocess.clean (dedup, decontaminate) wrote; OUT/NAME has the same documents in the same shards, with
`meta.scores` such as {"quality": 0.93, "perplexity": 61.2, "language": "ja", "language_probability": 0.98, "spam": 0.0,
"adult": 0.0}, only those asked for; scores that were there stay. MODEL is a folder of preprocess.quality. Documents go only
by --least and --most; preprocess.partition parts by scores. OUT/score.json tells the quantiles of every corpus, those of
documents that went included. Of a long document an excerpt is read. Memory: about 0.4 GB a worker; disk: as much as the
input. A killed run goes on with the shards that were not finished; done work is found by its bytes.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from haigo import __version__, cli, digests, files, flags, memory, pool, sealed
from haigo.cli import HaigoError
from haigo.formats import documents
from haigo.formats.documents import Line
from haigo.formats.documents.broken import broken_lines

from . import quality_model, rewrite
from .account import Account, opening
from .rewrite import CorpusShard
from .score_options import ScoreCommand, ScoreOptions
from .scores import Scorer, lots

REPORT = "score.json"
KEY = "scores"
_NOTES = "notes"
_QUANTILES = range(0, 101, 5)
_LOT = 1 << 18
_BESIDE = {"language": ("language_probability",)}
MEMORY = 400_000_000
"""Bytes that a process takes."""
_MORE_DISK = 1.15
_LIKE = {**rewrite.NOTE, "counts": dict.fromkeys(rewrite.COUNTS, int), "columns": {str: [object]}, "rules": dict}


def score(
    folders: Sequence[str | os.PathLike[str]],
    output_dir: str | os.PathLike[str],
    options: ScoreOptions | None = None,
    **given: Any,
) -> dict[str, Any]:
    """Score the documents of corpora.

    Args:
        folders: cleaned corpora.
        output_dir: gets a folder for each corpus, and the report.
        options: or its fields by name.

    Returns:
        The report, as written to score.json.

    Raises:
        HaigoError: folders that are no cleaned corpora, models or libraries that are missing, too little memory or disk.
    """
    options = options or ScoreOptions(**given)
    corpora = documents.corpora(folders)
    target = Path(output_dir)
    models = [Path(each) for each in (options.quality, options.perplexity) if each]
    rewrite.claim(corpora, target, REPORT, models)
    Scorer(options)  # what is missing is named before the work
    run = Scoring(corpora, target, options)
    with files.owner(target):
        rewrite.remove_leftovers(corpora, target)
        done = run.finished()
        if done is not None:
            files.remove_tree(run.work)
            return done
        run.require_room()
        report = run.report()
        files.remove(target / REPORT)
        rewrite.put(run.work, target, run.reports)
        report = sealed.write(target / REPORT, report)
        files.remove_tree(run.work)
    return report


def settings(options: ScoreOptions) -> dict[str, Any]:
    """What the result depends on, beside the documents: which scores, the models' recipes, and limits."""
    models = (("quality", options.quality), ("perplexity", options.perplexity))
    recipes = {f"{name}_model": quality_model.about(folder)["recipe"] for name, folder in models if folder}
    limits = {name: getattr(options, name) for name in options.given("least", "most")}
    return {"scores": options.scores, **recipes, **limits}


class Scoring:
    """One call and its figures."""

    def __init__(self, corpora: Mapping[str, Path], target: Path, options: ScoreOptions) -> None:
        self.corpora, self.target, self.asked = corpora, target, options
        self.work = target / rewrite.PARTIAL
        self.shards = rewrite.shards(corpora, skip_broken=options.skip_broken)
        self.broken = documents.broken_rows((shard.path for shard in self.shards), options.skip_broken)
        self.settings = settings(options)
        self.recipe = files.digest({"format": 1, "settings": self.settings, "input": rewrite.named(self.shards)})
        self.reports: dict[str, dict[str, Any]] = {}

    def require_room(self) -> None:
        """Say how much disk and memory it takes; refuse where there is not so much."""
        need = round(_MORE_DISK * sum(Path(shard.path).stat().st_size for shard in self.shards))
        workers = min(self.asked.workers, len(self.shards))
        free = memory.available()
        if workers * MEMORY > free:
            raise HaigoError(
                f"{workers} workers need about {workers * MEMORY / 1e9:,.1f} GB of memory, and {free / 1e9:,.1f} GB are free.",
                "use fewer --workers",
                option="workers",
            )
        files.require_space(self.target, need, "the scored corpora")
        print(
            f"haigo: score: {len(self.corpora)} corpora, {len(self.shards)} shards; up to {need / 1e6:,.0f} MB of disk in"
            f" {self.target}, {workers * MEMORY / 1e9:,.1f} GB of memory",
            file=sys.stderr,
        )

    def finished(self) -> dict[str, Any] | None:
        """score.json, where all is there as it was made of just this."""
        if not (self.target / REPORT).is_file():
            return None
        with contextlib.suppress(HaigoError):
            done, _ = sealed.read(self.target / REPORT, {"recipe": str, "output": [{"file": str, "sha256": str}]})
            noted = {row["file"]: {"sha256": row["sha256"]} for row in done["output"]}
            there = [path for name in self.corpora for path in (self.target / name).glob("*/*.jsonl.zst")]
            whole = done["recipe"] == self.recipe and len(there) == len(noted)
            if whole and not digests.changed(self.target, noted)[0]:
                return dict(files.read_json(self.target / REPORT))
        return None

    def report(self) -> dict[str, Any]:
        """Do the work below `work`, and give the report."""
        work, sizes = {}, {}
        for shard in self.shards:
            name = f"{shard.corpus}/{shard.name}"
            recipe = files.digest([self.settings, shard.sha256])
            work[name] = partial(_noted, shard, self.asked, (self.work / shard.corpus, self._marker(shard)), recipe)
            sizes[name] = Path(shard.path).stat().st_size
        counts = pool.run_shown("score", work, self.asked.workers, "packed bytes", sizes)
        rewrite.tell_changed(self.corpora, self.shards, counts.values())
        notes = Notes([(shard, self._marker(shard)) for shard in self.shards])
        for name, folder in self.corpora.items():
            made = rewrite.together((shard.split, note) for shard, note in notes.of(name))
            self.reports[name] = rewrite.report(folder, made, "score", self.settings)
        return {
            "corpora": rows(self.asked, notes, self.corpora),
            "options": self.settings,
            **self.broken.report(),
            "input": rewrite.named(self.shards),
            "output": [
                {"file": f"{shard.corpus}/{name}", "sha256": sha256}
                for shard, note in notes
                for name, sha256 in note["sums"].items()
            ],
            "recipe": self.recipe,
            "tool": f"haigo {__version__}",
        }

    def _marker(self, shard: CorpusShard) -> Path:
        return self.work / _NOTES / f"{shard.corpus}-{shard.split}-{Path(shard.path).name[:-10]}.json"


def _noted(shard: CorpusShard, options: ScoreOptions, places: tuple[Path, Path], recipe: str) -> int:
    """Score one shard, unless that is noted (in a worker process); how many documents it had."""
    folder, marker = places
    make = partial(score_shard, shard, options, folder / shard.name)
    return int(rewrite.once(marker, folder, [shard.name], recipe, make)["read"])


class Notes:
    """Shards and what was noted of them, read one by one each time that they are gone through: scores take memory."""

    def __init__(self, markers: Sequence[tuple[CorpusShard, Path]]) -> None:
        self._markers = markers

    def of(self, corpus: str) -> Iterator[tuple[CorpusShard, dict[str, Any]]]:
        """Those of one corpus."""
        return (each for each in self if each[0].corpus == corpus)

    def __iter__(self) -> Iterator[tuple[CorpusShard, dict[str, Any]]]:
        return ((shard, sealed.read(marker, _LIKE)[0]) for shard, marker in self._markers)


def rows(
    options: ScoreOptions, notes: Iterable[tuple[CorpusShard, Mapping[str, Any]]], corpora: Iterable[str] = ()
) -> dict[str, dict[str, Any]]:
    """What score.json says of every corpus: what stays, what went, and how every score is spread, gone documents included.

    Args:
        notes: shards, and what `score_shard` gave for each.
        corpora: also those without a shard.
    """
    found = {name: _Row(options) for name in corpora}
    for shard, note in notes:
        found.setdefault(shard.corpus, _Row(options)).add(note)
    return {name: row.content() for name, row in found.items()}


class _Row:
    """A corpus in score.json. Memory: 40 bytes for each value that a score takes; those of models are rounded."""

    def __init__(self, options: ScoreOptions) -> None:
        names = [name for score in options.scores for name in (score, *_BESIDE.get(score, ()))]
        self._spreads = {name: _Spread() for name in names}
        self._total, self._dropped = Counter(dict.fromkeys(rewrite.COUNTS, 0)), Counter[str]()

    def add(self, note: Mapping[str, Any]) -> None:
        """Count a shard."""
        self._total.update(note["counts"])
        self._dropped.update({rule: found["documents"] for rule, found in note["rules"].items()})
        for name, column in note["columns"].items():
            self._spreads[name].add(column)

    def content(self) -> dict[str, Any]:
        """The row."""
        gone = {"dropped": dict(sorted(self._dropped.items()))} if self._dropped else {}
        return {**self._total, **gone, **{name: spread.content() for name, spread in self._spreads.items() if spread}}


class _Spread:
    """How a score is spread: counts of one that is a word; else every twentieth quantile, as `numpy.quantile` gives them."""

    def __init__(self) -> None:
        self._words = Counter[str]()
        self._values, self._counts = np.zeros(0), np.zeros(0, dtype=np.int64)
        self._lately, self._waiting = list[np.ndarray](), 0

    def __bool__(self) -> bool:
        return bool(self._words) or len(self._values) > 0 or self._waiting > 0

    def add(self, column: Sequence[Any]) -> None:
        """Count a shard's values."""
        if column and isinstance(column[0], str):
            self._words.update(column)
            return
        self._lately.append(np.array(column, dtype=np.float64))
        self._waiting += len(column)
        # all that are known are put in order again: not for every shard
        if self._waiting > max(_LOT, len(self._values)):
            self._count()

    def _count(self) -> None:
        lately, ones = np.concatenate([self._values, *self._lately]), np.ones(self._waiting, dtype=np.int64)
        self._values, places = np.unique(lately, return_inverse=True)
        self._counts = np.bincount(places, np.concatenate([self._counts, ones])).astype(np.int64)
        self._lately, self._waiting = [], 0

    def content(self) -> dict[str, Any]:
        """What score.json says of it."""
        if self._words:
            return dict(self._words.most_common())
        self._count()
        ends = np.cumsum(self._counts)
        places = (ends[-1] - 1) * np.array(_QUANTILES) / 100
        below, above = (
            self._values[np.searchsorted(ends, each, side="right")] for each in (np.floor(places), np.ceil(places))
        )
        found = below + (above - below) * (places % 1)
        return {f"{each}%": float(f"{value:.6g}") for each, value in zip(_QUANTILES, found.tolist(), strict=True)}


def score_shard(shard: CorpusShard, options: ScoreOptions, target: Path) -> dict[str, Any]:
    """Score one shard.

    Returns:
        counts of the documents that stay, the account of what went (`rules`), the scores of all, column by column, and how many
        there were (`read`). No shard is written where all of it goes.
    """
    account, columns, read = Account(), dict[str, list[Any]](), 0

    def scored() -> Iterator[Line]:
        nonlocal read
        scorer = Scorer(options)
        for lot in lots(shard.read()):
            read += len(lot)
            for document, found in zip(lot, scorer.score([document.text for document in lot]), strict=True):
                for name, value in found.items():
                    columns.setdefault(name, []).append(value)
                if (rule := options.drops(found)) is not None:
                    account.note(rule, len(document.text), opening(document.text))
                    continue
                before = document.meta.get(KEY)
                document.meta = {**document.meta, KEY: {**(before if isinstance(before, dict) else {}), **found}}
                yield documents.line(document)

    counts = documents.write_lines(target, scored())
    return {"counts": counts, "rules": account.rules, "columns": columns, "read": read}


def table(report: Mapping[str, Any]) -> str:
    """The report as a few lines to read."""
    lines = []
    for name, row in report["corpora"].items():
        lines.append(f"{name}: {row['documents']:,} documents, {row['characters']:,} characters")
        if gone := row.get("dropped"):
            lines.append(f"  dropped: {', '.join(f'{rule} {count:,}' for rule, count in gone.items())}")
        for key, spread in row.items():
            if isinstance(spread, dict) and key != "dropped":
                shown = [f"{each} {value:g}" for each, value in spread.items()]
                if "50%" in spread:
                    shown = [f"{each} {spread[each]:g}" for each in ("5%", "25%", "50%", "75%", "95%")]
                lines.append(f"  {key}: {', '.join(shown[:8])}")
    return "\n".join([*lines, *broken_lines(report)])


def main(argv: Sequence[str] | None = None) -> int:
    options = flags.parse("preprocess.score", __doc__, ScoreCommand, argv)
    cli.show(score(options.folders, options.output_dir, options), table, options.json)
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
