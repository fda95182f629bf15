"""Cleaned corpora with scores in each document's meta: quality, perplexity, language, words of advertising and of adult pages.

    python -m preprocess.score DIR... --output-dir OUT [--quality MODEL] [--perplexity MODEL] [--language] [--spam] [--adult]
           [--skip-broken N] [--workers N] [--json]

DIR is a folder that preprocess.clean (dedup, decontaminate) wrote; OUT/NAME has the same documents in the same shards, with
`meta.scores` such as {"quality": 0.93, "perplexity": 61.2, "language": "ja", "language_probability": 0.98, "spam": 0.0,
"adult": 0.0}, only those asked for; scores that were there stay. MODEL is a folder of preprocess.quality. Nothing is
dropped: preprocess.partition parts by scores. OUT/score.json tells the quantiles of every corpus. Of a long document an
excerpt is read. Memory: about 0.4 GB a worker; disk: as much as the input. A killed run goes on with the shards that were
not finished; done work is found by its bytes.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from haigo import __version__, cli, digests, files, flags, memory, pool, sealed
from haigo.cli import HaigoError
from haigo.formats import documents
from haigo.formats.documents.broken import broken_lines

from . import quality_model, rewrite
from .rewrite import CorpusShard
from .score_options import ScoreCommand, ScoreOptions
from .scores import Scorer, lots

REPORT = "score.json"
KEY = "scores"
_NOTES = "notes"
_QUANTILES = range(0, 101, 5)
_COUNTS = ("documents", "characters", "bytes")
_MEMORY = 400_000_000
_MORE_DISK = 1.15
_LIKE = {"recipe": str, "sha256": str, "counts": dict.fromkeys(_COUNTS, int), "columns": {str: [object]}}


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
    """What the scores depend on, beside the text: which, and the models' recipes."""
    models = (("quality", options.quality), ("perplexity", options.perplexity))
    recipes = {f"{name}_model": quality_model.about(folder)["recipe"] for name, folder in models if folder}
    return {"scores": options.scores, **recipes}


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
        if workers * _MEMORY > free:
            raise HaigoError(
                f"{workers} workers need about {workers * _MEMORY / 1e9:,.1f} GB of memory, and {free / 1e9:,.1f} GB are free.",
                "use fewer --workers",
                option="workers",
            )
        files.require_space(self.target, need, "the scored corpora")
        print(
            f"haigo: score: {len(self.corpora)} corpora, {len(self.shards)} shards; up to {need / 1e6:,.0f} MB of disk in"
            f" {self.target}, {workers * _MEMORY / 1e9:,.1f} GB of memory",
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
            work[name] = partial(
                score_shard, shard, self.asked, str(self.work), files.digest([self.settings, shard.sha256])
            )
            sizes[name] = Path(shard.path).stat().st_size
        notes = pool.run_shown("score", work, self.asked.workers, "packed bytes", sizes)
        rewrite.tell_changed(self.corpora, self.shards, (note["counts"]["documents"] for note in notes.values()))
        rows = {}
        for name, folder in self.corpora.items():
            made: dict[str, Any] = {split: {**dict.fromkeys(_COUNTS, 0), "rules": {}} for split in documents.SPLITS}
            columns: dict[str, list[Any]] = {}
            for shard in self.shards:
                if shard.corpus == name:
                    note = notes[_name(shard)]
                    for key in _COUNTS:
                        made[shard.split][key] += note["counts"][key]
                    for key, values in note["columns"].items():
                        columns.setdefault(key, []).extend(values)
            self.reports[name] = rewrite.report(folder, made, "score", self.settings)
            total = {key: sum(row[key] for row in made.values()) for key in _COUNTS}
            rows[name] = {**total, **{key: _spread(values) for key, values in columns.items()}}
        return {
            "corpora": rows,
            "options": self.settings,
            **self.broken.report(),
            "input": rewrite.named(self.shards),
            "output": [{"file": name, "sha256": note["sha256"]} for name, note in notes.items()],
            "recipe": self.recipe,
            "tool": f"haigo {__version__}",
        }


def _name(shard: CorpusShard) -> str:
    return f"{shard.corpus}/{shard.split}/{Path(shard.path).name}"


def _spread(values: Sequence[Any]) -> dict[str, Any]:
    """Counts of a score that is a word; else every twentieth quantile."""
    if values and isinstance(values[0], str):
        return dict(Counter(values).most_common())
    quantiles = np.quantile(np.array(values, dtype=np.float64), [each / 100 for each in _QUANTILES])
    return {f"{each}%": float(f"{value:.6g}") for each, value in zip(_QUANTILES, quantiles.tolist(), strict=True)}


def score_shard(shard: CorpusShard, options: ScoreOptions, work: str, recipe: str) -> dict[str, Any]:
    """Score one shard (in a worker process): its copy below `work`, and a note of what it came to.

    Returns:
        The note: its own digest, how many documents, characters and bytes, and the scores, column by column.
    """
    target = Path(work) / _name(shard)
    marker = Path(work) / _NOTES / f"{shard.corpus}-{shard.split}-{target.name[:-10]}.json"
    with contextlib.suppress(HaigoError, OSError):  # none yet, or a damaged one: it is scored again
        known, _ = sealed.read(marker, _LIKE)
        if known["recipe"] == recipe and digests.sha256(target) == known["sha256"]:
            return known
    scorer = Scorer(options)
    lines: list[bytes] = []
    counts, columns = Counter(dict.fromkeys(_COUNTS, 0)), dict[str, list[Any]]()
    for lot in lots(shard.read()):
        for document, row in zip(lot, scorer.score([document.text for document in lot]), strict=True):
            before = document.meta.get(KEY)
            document.meta = {**document.meta, KEY: {**(before if isinstance(before, dict) else {}), **row}}
            line = documents.line(document)
            lines.append(line.packed)
            counts.update({"documents": 1, "characters": line.characters, "bytes": line.bytes})
            for name, value in row.items():
                columns.setdefault(name, []).append(value)
    documents.write_shard(target, lines)
    note = {"recipe": recipe, "sha256": digests.sha256(target), "counts": dict(counts), "columns": columns}
    return sealed.write(marker, note)


def table(report: Mapping[str, Any]) -> str:
    """The report as a few lines to read."""
    lines = []
    for name, row in report["corpora"].items():
        lines.append(f"{name}: {row['documents']:,} documents, {row['characters']:,} characters")
        for key, spread in row.items():
            if isinstance(spread, dict):
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
