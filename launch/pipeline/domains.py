"""Corpora that are parted into domains: which parts there are, and what makes them.

The parts of NAME stand in `partition/NAME`, and where they are bands of quality, its scored text in `score/NAME`. They are what
is mixed; models are measured on NAME's own held-out documents.
"""

from __future__ import annotations

from pathlib import Path

from haigo import digests
from haigo.formats import documents
from haigo.formats import partition as partitions
from launch.pipeline.runfile import RunFile

FOLDER, SCORED = "partition", "score"


def parted(run: RunFile) -> list[str]:
    """The corpora that are parted."""
    return [name for name, corpus in run.corpora.items() if corpus.partition.on]


def parts(root: Path, run: RunFile) -> dict[str, str]:
    """Everything that has a weight -> the corpus it is part of, or is: the corpora's order, a parted one's parts in its place.

    Raises:
        HaigoError: a partition is missing or damaged.
    """
    found: dict[str, str] = {}
    for name, corpus in run.corpora.items():
        domains = partitions.read(root / FOLDER / name)["domains"] if corpus.partition.on else [name]
        found |= dict.fromkeys(domains, name)
    return found


def folder(root: Path, run: RunFile, part: str, corpus: str) -> Path:
    """The cleaned text of a part of a corpus, or of the corpus itself."""
    return root / run.text_folder() / corpus if part == corpus else root / FOLDER / corpus / part


def groups(run: RunFile) -> dict[str, list[float]]:
    """The limits on sums of weights: the run file's groups, and the corpora that are parted."""
    own = {name: [run.corpora[name].min, run.corpora[name].max] for name in parted(run)}
    return run.search.groups | {name: limits for name, limits in own.items() if limits != [0.0, 1.0]}


def score(root: Path, run: RunFile, name: str) -> list[str]:
    """Score one corpus for its bands: by a classifier of the good corpora against it, or by the model that is named.

    Returns:
        the digests of its training shards.
    """
    from preprocess import quality
    from preprocess.score import score as with_scores

    place, text, good = root / SCORED / name, root / run.text_folder(), run.corpora[name].partition.good
    model = Path(good[0])
    if good[0] in run.corpora:
        model = place / "model"
        quality.train([text / each for each in good], [text / name], model, seed=run.data_seed)
    with_scores([text / name], place / "text", quality=str(model))
    return _digests(place / "text" / name)


def make(root: Path, run: RunFile, name: str) -> dict[str, list[str]]:
    """Part one corpus; part -> the digests of its training shards."""
    from preprocess.partition import partition
    from preprocess.partition_options import PartitionOptions

    asked = run.corpora[name].partition
    source = root / SCORED / name / "text" / name if asked.quality else root / run.text_folder() / name
    options = asked.shared(PartitionOptions, bands=asked.quality)
    found = partition([source], root / FOLDER / name, options.replaced(seed=run.data_seed) if asked.topics else options)
    return {part: _digests(root / FOLDER / name / part) for part in found["domains"]}


def _digests(folder: Path) -> list[str]:
    return [digests.sha256(shard) for shard in documents.shards(folder)]
