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
_BESIDE = {"language": ("language_probability",)}
_COUNTS = ("documents", "characters", "bytes")
MEMORY = 400_000_000
"""Bytes that a process takes."""
_MORE_DISK = 1.15
_LIKE = {"recipe": str, "sha256": str, "counts": dict.fromkeys(_COUNTS, int), "columns": {str: [object]}, "rules": dict}


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
            name = _name(shard)
            recipe = files.digest([self.settings, shard.sha256])
            work[name] = partial(score_shard, shard, self.asked, (self.work / name, self._marker(shard)), recipe)
            sizes[name] = Path(shard.path).stat().st_size
        counts = pool.run_shown("score", work, self.asked.workers, "packed bytes", sizes)
        rewrite.tell_changed(self.corpora, self.shards, counts.values())
        rows = {}
        for name, folder in self.corpora.items():
            notes = _Notes([(shard.split, self._marker(shard)) for shard in self.shards if shard.corpus == name])
            self.reports[name] = rewrite.report(folder, _made(notes), "score", self.settings)
            rows[name] = _row(self.asked, notes)
        sums = {_name(shard): _read(self._marker(shard))["sha256"] for shard in self.shards}
        return {
            "corpora": rows,
            "options": self.settings,
            **self.broken.report(),
            "input": rewrite.named(self.shards),
            "output": [{"file": name, "sha256": sha256} for name, sha256 in sums.items() if sha256],
            "recipe": self.recipe,
            "tool": f"haigo {__version__}",
        }

    def _marker(self, shard: CorpusShard) -> Path:
        return self.work / _NOTES / f"{shard.corpus}-{shard.split}-{Path(shard.path).name[:-10]}.json"


def _name(shard: CorpusShard) -> str:
    return f"{shard.corpus}/{shard.split}/{Path(shard.path).name}"


def _read(marker: Path) -> dict[str, Any]:
    return sealed.read(marker, _LIKE)[0]


class _Notes:
    """Split and note of the shards of a corpus, read one by one each time that they are gone through: scores take memory."""

    def __init__(self, markers: Sequence[tuple[str, Path]]) -> None:
        self._markers = markers

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        return ((split, _read(marker)) for split, marker in self._markers)


def _made(notes: _Notes) -> dict[str, dict[str, Any]]:
    """What stays in each split, as `rewrite.report` asks for it."""
    counts = {split: Counter(dict.fromkeys(_COUNTS, 0)) for split in documents.SPLITS}
    accounts = {split: Account() for split in documents.SPLITS}
    for split, note in notes:
        counts[split].update(note["counts"])
        accounts[split].merge(note["rules"])
    return {split: {**counts[split], "rules": accounts[split].rules} for split in documents.SPLITS}


def _row(options: ScoreOptions, notes: _Notes) -> dict[str, Any]:
    """A corpus in score.json: what stays, what went, and how every score is spread. Memory: 8 bytes a document."""
    total, dropped = Counter(dict.fromkeys(_COUNTS, 0)), Counter[str]()
    for _, note in notes:
        total.update(note["counts"])
        dropped.update({rule: found["documents"] for rule, found in note["rules"].items()})
    names = [name for score in options.scores for name in (score, *_BESIDE.get(score, ()))]
    scored = total["documents"] + dropped.total() > 0
    spreads = {name: _spread(note["columns"].get(name, ()) for _, note in notes) for name in names if scored}
    return {**total, **({"dropped": dict(sorted(dropped.items()))} if dropped else {}), **spreads}


def _spread(parts: Iterable[Sequence[Any]]) -> dict[str, Any]:
    """Counts of a score that is a word; else every twentieth quantile."""
    words, numbers = Counter[str](), list[np.ndarray]()
    for part in parts:
        if part and isinstance(part[0], str):
            words.update(part)
        else:
            numbers.append(np.array(part, dtype=np.float64))
    if words:
        return dict(words.most_common())
    quantiles = np.quantile(np.concatenate(numbers), [each / 100 for each in _QUANTILES])
    return {f"{each}%": float(f"{value:.6g}") for each, value in zip(_QUANTILES, quantiles.tolist(), strict=True)}


def score_shard(shard: CorpusShard, options: ScoreOptions, places: tuple[Path, Path], recipe: str) -> int:
    """Score one shard (in a worker process).

    Args:
        places: of the scored shard (none where all of it goes), and of the note: the shard's digest, how many documents,
            characters and bytes stay, the scores of all, column by column, and the account of what went.

    Returns:
        How many documents it had.
    """
    target, marker = places
    with contextlib.suppress(HaigoError, OSError):  # none yet, or a damaged one: it is scored again
        known = _read(marker)
        if known["recipe"] == recipe and _sum(target) == known["sha256"]:
            gone = sum(rule["documents"] for rule in known["rules"].values())
            return int(known["counts"]["documents"]) + gone
    scorer = Scorer(options)
    lines: list[bytes] = []
    account = Account()
    counts, columns = Counter(dict.fromkeys(_COUNTS, 0)), dict[str, list[Any]]()
    for lot in lots(shard.read()):
        for document, found in zip(lot, scorer.score([document.text for document in lot]), strict=True):
            for name, value in found.items():
                columns.setdefault(name, []).append(value)
            if (rule := options.drops(found)) is not None:
                account.note(rule, len(document.text), opening(document.text))
                continue
            before = document.meta.get(KEY)
            document.meta = {**document.meta, KEY: {**(before if isinstance(before, dict) else {}), **found}}
            line = documents.line(document)
            lines.append(line.packed)
            counts.update({"documents": 1, "characters": line.characters, "bytes": line.bytes})
    if lines:
        documents.write_shard(target, lines)
    else:
        files.remove(target)
    note = {"recipe": recipe, "sha256": _sum(target), "counts": dict(counts), "columns": columns}
    sealed.write(marker, {**note, "rules": account.rules})
    return counts["documents"] + sum(rule["documents"] for rule in account.rules.values())


def _sum(path: Path) -> str:
    return digests.sha256(path) if path.is_file() else ""


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
