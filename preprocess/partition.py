"""Corpora parted into domains: by what their documents are about, by bands of a score, or both.

    python -m preprocess.partition DIR... --output-dir OUT [--topics K] [--bands B] [--by quality] [--supply supply.csv]
           [--model partition.json] [--least 20] [--sample 20000] [--seed 1234] [--skip-broken N] [--workers N] [--json]

DIR is a folder that preprocess.clean, preprocess.dedup or preprocess.score wrote. OUT/NAME.t0.q2 is the part of the corpus NAME
with topic 0 and band 2, a cleaned corpus for every later step; topics are numbered from the largest, bands from the lowest
score. --bands needs a score of each document (preprocess.score); its thresholds part the training bytes of each topic evenly.
Topics with fewer than --least training documents a band are joined to the most similar. OUT/partition.json tells the parts with
the words that tell each from the others, and is the model: with --model it labels other text the same. OUT/supply.csv has the
parts with the corpus as their `group`; with --supply their tokens and limits too. preprocess.inspect OUT --domains shows them.
Memory: about 0.3 GB, and 10 bytes for each character of the sample (64 million at most). A killed run goes on where it was.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from haigo import __version__, cli, files, flags, memory, naming, pool, sealed
from haigo.cli import HaigoError, nearest
from haigo.formats import documents, tables
from haigo.formats import partition as partitions
from haigo.formats.documents.broken import broken_lines
from haigo.formats.partition import NAME

from . import partition_cut, partition_shards, rewrite, topics
from .partition_options import PartitionCommand, PartitionOptions
from .partition_shards import Cut, Draw, Piece
from .rewrite import CorpusShard
from .topics import Topics

SUPPLY = "supply.csv"
_SAMPLE_CHARS = 64_000_000
_WORDED, _WORDED_CHARS = 4_000, 8_000_000
_BASE, _BYTES_A_CHARACTER, _BYTES_A_DOCUMENT = 300_000_000, 10, 40
_TERMS = 12


def partition(
    folders: Sequence[str | os.PathLike[str]],
    output_dir: str | os.PathLike[str],
    options: PartitionOptions | None = None,
    *,
    model: str | os.PathLike[str] | None = None,
    supply: str | os.PathLike[str] | None = None,
    **given: Any,
) -> dict[str, Any]:
    """Part corpora into domains.

    Args:
        folders: cleaned corpora.
        output_dir: gets a folder for each part, partition.json and supply.csv.
        options: or its fields by name.
        model: a partition.json by which documents are labelled, instead of topics and bands of their own.
        supply: supply.csv of the corpora.

    Returns:
        What partition.json holds.

    Raises:
        HaigoError: no cleaned corpora, too few documents, a document without its score, a model of other corpora.
    """
    options = options or PartitionOptions(**given)
    corpora = documents.corpora(folders)
    known = partitions.read(model) if model is not None else None
    there = known["corpora"] if known else corpora
    for name in corpora:
        if name not in there:
            raise HaigoError(
                f"{model} says nothing of the corpus '{name}'.{nearest(name, there)}", f"it knows {', '.join(there)}"
            )
    table = _supply(supply, corpora)
    target = Path(output_dir)
    _claim(corpora, target, options, known, [Path(each) for each in (model, supply) if each])
    run = _Partition(corpora, target / rewrite.PARTIAL, options, known)
    run.require_room(target)
    with files.owner(target):
        files.remove_leftovers(target, below=False)
        before = _earlier(target)
        found, reports = run.content(table)
        files.remove(target / NAME)
        rewrite.put(run.work, target, reports)
        for name in before:
            if name not in found["domains"]:  # of an earlier partition
                files.remove_tree(target / name)
        files.write_text(target / SUPPLY, partition_cut.supply(found, table))
        content = sealed.write(target / NAME, found)
        files.remove_tree(run.work)
    return content


def _supply(path: str | os.PathLike[str] | None, corpora: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """The rows of the corpora in their supply.csv; none where it is not given."""
    if path is None:
        return {}
    rows = tables.read_supply(path)
    for name in corpora:
        if not rows.get(name, {}).get("tokens"):
            raise HaigoError(
                f"{path} has no tokens of the corpus '{name}'.{nearest(name, rows)}", "add its row", option="supply"
            )
        if rows[name].get("group"):
            raise HaigoError(
                f"{path}: '{name}' is in the group '{rows[name]['group']}', and its parts are a group of their own.",
                "take it out of that group: a part has one",
                option="supply",
            )
    return {name: rows[name] for name in corpora}


def _claim(
    corpora: Mapping[str, Path], target: Path, options: PartitionOptions, known: Any, reads: Sequence[Path]
) -> None:
    """Ask, before the work, whether all that may come may be written."""
    files.check_output(target, [*corpora.values(), *reads])
    files.check_output(target, names=(NAME, SUPPLY))
    for name in corpora:
        if known:
            names = [domain for domain, row in known["domains"].items() if row["group"] == name]
        else:
            names = partition_cut.names(name, options.topics, options.topics or 1, options.bands)
        naming.check_all(names, "part", "preprocess.partition")
        for each in names:
            if os.path.lexists(target / each):
                documents.claim(target / each, reads, corpora.values())


def _earlier(target: Path) -> list[str]:
    """The parts that an earlier partition left in a folder."""
    if not files.made(target / NAME):
        return []
    try:
        return list(partitions.read(target)["domains"])
    except HaigoError as error:
        print(f"haigo: {error.problem.removesuffix('.')}: its parts may stay in the folder.", file=sys.stderr)
        return []


class _Partition:
    """One partition and its figures."""

    def __init__(self, corpora: Mapping[str, Path], work: Path, options: PartitionOptions, known: Any) -> None:
        self.corpora, self.work, self.asked, self.known = corpora, work, options, known
        self.shards = rewrite.shards(corpora, skip_broken=options.skip_broken)
        self.broken = documents.broken_rows((shard.path for shard in self.shards), options.skip_broken)
        self.sizes = {name: self._size(name) for name in corpora}

    def _size(self, name: str) -> tuple[int, int]:
        """Documents and characters of a corpus' training split, by its report or, where that counts none, as they are."""
        row = documents.report(self.corpora[name]).get("splits", {}).get("train", {})
        if row.get("documents"):
            return int(row["documents"]), int(row["characters"])
        sizes = [len(document.text) for shard in self._of(name, "train") for document in shard.read()]
        return len(sizes), sum(sizes)

    def _of(self, name: str, split: str | None = None) -> list[CorpusShard]:
        return [each for each in self.shards if each.corpus == name and split in (None, each.split)]

    def _draw(self, name: str) -> Draw:
        there, characters = (max(1, each) for each in self.sizes[name])
        share = min(1.0, self.asked.sample / there, _SAMPLE_CHARS / characters)
        return Draw(self.asked.seed, share, min(share, _WORDED / there, _WORDED_CHARS / characters))

    def require_room(self, target: Path) -> None:
        """Say what it will take, and refuse what would be killed half-way."""
        packed = sum(os.path.getsize(shard.path) for shard in self.shards)
        count = sum(documents for documents, _ in self.sizes.values())
        fitted = [self._draw(name).share * self.sizes[name][1] for name in self.corpora] if self.asked.topics else [0.0]
        need = _BASE + int(max(fitted)) * _BYTES_A_CHARACTER + count * _BYTES_A_DOCUMENT
        need += self.asked.workers * 2 * documents.SHARD_BYTES
        told = f"{packed / 1e6:,.0f} MB of packed text are read and written anew"
        print(f"haigo: partition: {told}; about {need / 1e9:,.1f} GB of memory.", file=sys.stderr)
        if need > (free := memory.available()):
            raise HaigoError(
                f"that needs about {need / 1e9:,.1f} GB of memory, and {free / 1e9:,.1f} GB are free.",
                "lower --sample, use fewer --workers, or take a larger machine",
                option=("sample", "workers"),
            )
        files.require_space(target, int(1.2 * packed), "the partition")

    def content(self, table: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Do the work below `work`; what partition.json holds, and the report of each part."""
        self.work.mkdir(parents=True, exist_ok=True)
        models = self._models()
        labels = self._label(models)
        cuts = {name: self._cut(name, models[name], labels[name]) for name in self.corpora}
        made = self._write(models, labels, cuts)
        domains: dict[str, dict[str, Any]] = {}
        reports: dict[str, dict[str, Any]] = {}
        for name in self.corpora:
            for row in partition_cut.domains(name, models[name], cuts[name], made[name]):
                domain = row.pop("name")
                domains[domain] = row
                step = {"topic": row["topic"], "band": row["band"], "label": row["label"]}
                reports[domain] = partition_cut.report(self.corpora[name], domain, row, step)
        limits = {
            name: {key: row[key] for key in ("min", "max", "max_epochs") if key in row} for name, row in table.items()
        }
        stated = ("topics", "bands", "by", "least", "sample", "seed")
        return {
            "format": 1,
            "domains": domains,
            "groups": limits,
            "options": {key: getattr(self.asked, key) for key in stated},
            "input": rewrite.named(self.shards),
            **self.broken.report(),
            "tool": f"haigo {__version__}",
            "corpora": {
                name: {**models[name], "joined": list(cuts[name].joined), "thresholds": list(cuts[name].thresholds)}
                for name in self.corpora
            },
        }, reports

    # -- topics --------------------------------------------------------------------------------------------------------

    def _models(self) -> dict[str, dict[str, Any]]:
        """Corpus -> topics (as JSON, None without), joined, terms, by, thresholds, as far as they are known yet."""
        if self.known:
            return {name: dict(self.known["corpora"][name]) for name in self.corpora}
        by = self.asked.by if self.asked.bands else None
        made: dict[str, dict[str, Any]] = {
            name: {"topics": None, "joined": [], "terms": [[]], "by": by, "thresholds": []} for name in self.corpora
        }
        if not self.asked.topics:
            return made
        files_of = {
            name: {
                shard.path: str(self._note("sample", shard, [self._draw(name).share, self._draw(name).worded]))
                for shard in self._of(name, "train")
            }
            for name in self.corpora
        }
        work = {
            f"{name}/{path}": partial(partition_shards.sample, shard, self._draw(name), files_of[name][path])
            for name in self.corpora
            for shard in self._of(name, "train")
            for path in [shard.path]
        }
        pool.run_shown("partition: words of a sample", work, self.asked.workers, "shards")
        fits = {name: partial(self._fit, name, list(files_of[name].values())) for name in self.corpora}
        for name, fitted in pool.run_shown("partition: topics", fits, 1, "corpora").items():
            made[name] |= fitted
        return made

    def _fit(self, name: str, paths: list[str]) -> dict[str, Any]:
        counts, words = partition_shards.load_sample(paths)
        assert self.asked.topics
        try:
            model, found = topics.fit(counts, self.asked.topics, self.asked.seed)
        except HaigoError as error:
            raise HaigoError(f"the corpus '{name}': {error.problem}", error.fix, error.options) from None
        return {"topics": model.packed(), "terms": partition_cut.documents_with(words, found, self.asked.topics)}

    def _label(self, models: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
        """Corpus -> path of a shard -> the file with the labels of its documents."""
        kept: dict[str, dict[str, str]] = {name: {} for name in self.corpora}
        work = {}
        for shard in self.shards:
            model = models[shard.corpus]
            topics_of = Topics.unpacked(model["topics"], NAME) if model["topics"] else None
            file = str(self._note("label", shard, [model["topics"], model["by"]]))
            kept[shard.corpus][shard.path] = file
            work[shard.path] = partial(partition_shards.label, shard, topics_of, model["by"], file)
        pool.run_shown("partition: labels", work, self.asked.workers, "shards")
        counts = [len(partition_shards.load_labels(kept[each.corpus][each.path])["bytes"]) for each in self.shards]
        rewrite.tell_changed(self.corpora, self.shards, counts)
        return kept

    def _note(self, kind: str, shard: CorpusShard, made_from: Any) -> Path:
        recipe = files.digest([1, shard.sha256, self.asked.seed, made_from])
        return self.work / f"{kind}-{shard.corpus}-{shard.split}-{Path(shard.path).name[:5]}-{recipe[:16]}.npz"

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _cut(self, name: str, model: dict[str, Any], labels: Mapping[str, str]) -> Cut:
        """How the labels of a corpus become parts; the model's terms are those of the parts then."""
        if self.known:
            return Cut(model["joined"], model["thresholds"])
        lots = [partition_shards.load_labels(labels[shard.path]) for shard in self._of(name, "train")]
        if not lots:
            raise HaigoError(f"the corpus '{name}' has no training document.", "leave it out")
        train = {key: np.concatenate([lot[key] for lot in lots]) for key in lots[0]}
        vectors = Topics.unpacked(model["topics"], NAME).vectors if model["topics"] else np.zeros((1, 1), np.int16)
        joined = partition_cut.joined(name, train["topics"], vectors, self.asked)
        bands = self.asked.bands or 1
        final = np.asarray(joined)[train["topics"]]
        thresholds = [
            partition_cut.thresholds(name, self.asked.by, bands, train["scores"][own], train["bytes"][own])
            for own in (final == topic for topic in range(max(joined) + 1))
        ]
        if model["topics"]:
            model["terms"] = partition_cut.terms(model["terms"], joined, _TERMS)
        return Cut(joined, thresholds)

    def _write(
        self, models: Mapping[str, Any], labels: Mapping[str, Mapping[str, str]], cuts: Mapping[str, Cut]
    ) -> dict[str, dict[str, dict[str, Any]]]:
        """Corpus -> split -> part -> what was written."""
        work = {}
        for name, cut in cuts.items():
            parts = partition_cut.names(
                name, models[name]["topics"], len(cut.thresholds), models[name]["by"] and cut.bands
            )
            for split in documents.SPLITS:
                shards = self._of(name, split)
                paths = [labels[name][each.path] for each in shards]
                work[f"{name}/{split}"] = Piece(shards, paths, cut, parts, split, str(self.work)).write
        made = pool.run_shown("partition: writing", work, self.asked.workers)
        return {name: {split: made[f"{name}/{split}"] for split in documents.SPLITS} for name in self.corpora}


def table(found: Mapping[str, Any]) -> str:
    """partition.json as a few lines to read."""
    total = sum(row["splits"]["train"]["bytes"] for row in found["domains"].values())
    lines = [f"{len(found['domains'])} domains"]
    for name, row in found["domains"].items():
        train, held = row["splits"]["train"], sum(row["splits"][each]["documents"] for each in ("valid", "test"))
        share = train["bytes"] / max(1, total)
        lines.append(f"  {name}: {train['documents']:,} + {held:,} documents, {share:.1%} of the bytes: {row['label']}")
    for name, model in found["corpora"].items():
        if model["topics"] and (gone := len(model["joined"]) - len(model["thresholds"])):
            lines.append(f"  {name}: {gone} topic(s) of too few documents were joined to the most similar")
    empty = [name for name, row in found["domains"].items() if not row["splits"]["valid"]["documents"]]
    if empty:
        lines.append(f"  no document in valid, measure on the whole corpus': {', '.join(empty)}")
    for name, row in found["groups"].items():
        if "min" in row or "max" in row:
            lines.append(f"  limits of the parts together: --group {name}={row.get('min', 0):g}:{row.get('max', 1):g}")
    return "\n".join([*lines, *broken_lines(found)])


def main(argv: Sequence[str] | None = None) -> int:
    options = flags.parse("preprocess.partition", __doc__, PartitionCommand, argv)
    found = partition(options.folders, options.output_dir, options, model=options.model, supply=options.supply)
    shown = {key: value for key, value in found.items() if key != "corpora"} if options.json else found
    cli.show(shown, lambda content: f"{options.output_dir}: {table(content)}", options.json)
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
