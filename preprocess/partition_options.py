"""The options of `preprocess.partition`; see `preprocess.options`."""

from __future__ import annotations

from dataclasses import dataclass

from haigo.cli import HaigoError
from haigo.options import again, count, option, seed

from .options import SEED, DedupCommand, Printed, WorkOptions

MOST = 200
"""Topics, and bands, of a corpus."""


@dataclass(frozen=True, kw_only=True)
class PartitionOptions(WorkOptions):
    """What `partition.partition` can be told: how each corpus is parted."""

    topics: int | None = count("parts of each corpus by what its documents are about", None, most=MOST)
    bands: int | None = count("parts by a score, of equal supply, in each topic where there are any", None, most=MOST)
    by: str = option("which score the bands are of: a name in the documents' meta.scores", "quality")
    least: int = count("training documents of each part; smaller topics are joined to the most similar", 20)
    sample: int = count("training documents on which the topics of a corpus are found", 20_000)
    seed: int = seed("draws that sample, and starts k-means", SEED)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.bands:
            self.refuse_idle("no --bands", "by")
        if not self.topics:
            self.refuse_idle("no --topics", "sample", "seed")


@dataclass(frozen=True, kw_only=True)
class PartitionCommand(PartitionOptions, Printed):
    """`preprocess.partition`."""

    folders: list[str] = again(DedupCommand, "folders")
    output_dir: str = option("gets a folder for each part, partition.json and supply.csv")
    model: str | None = option("partition.json of an earlier call: documents are labelled as there", None)
    supply: str | None = option("supply.csv of the corpora: their tokens and limits are handed on", None)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model:
            self.refuse_idle("--model", "topics", "bands", "least")
        elif not (self.topics or self.bands):
            how = ("topics", "bands", "model")
            raise HaigoError(
                "nothing says how to part the corpora.", "give --topics K, --bands B or --model FILE", option=how
            )
