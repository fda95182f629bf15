"""Where a data set comes from, and under which names its files lie; each task says its own (`tasks/NAME.yml`).

Nothing of them is part of Haigo. `tasks/README.md` says for each where it is published, under which licence, and which may
not be passed on. Each is read in the format it is published in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = "https://github.com/yahoojapan/JGLUE"
VERSIONS = ("v1.1", "v1.2", "v1.3")


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """One data set."""

    places: Mapping[str, Sequence[str]]
    """split -> where its file may lie in the data folder, the published name first; of JGLUE with `{version}` in it."""
    where: str
    """How to get it, as an imperative; of JGLUE with `{split}` and `{version}` in it."""
    title: str
    blobs: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    """split -> git's blob id of each published file, where it is known -> the releases that it is in."""
    hub: tuple[str, Mapping[str, str]] | None = None
    """The data set on the Hugging Face hub and the file of each split, where it needs no loading script."""
    sizes: Sequence[int] = ()
    """How many documents published rows scored."""
    released: bool = False
    """It is one of JGLUE's, which have releases."""

    def paths(self, folder: Path, split: str, version: str) -> list[Path]:
        """Where the file of a split may lie."""
        places = self.places.get(split, ())
        return [folder / (place.format(version=version) if self.released else place) for place in places]

    def releases(self, split: str, blob: str) -> tuple[str, ...]:
        """The releases that hold these very bytes; the data set's name where it has none."""
        return tuple(self.blobs.get(split, {}).get(blob, ()))


def jglue(dataset: str, blobs: Mapping[str, Mapping[str, Sequence[str]]]) -> Origin:
    """One of JGLUE's data sets: in the official layout, or flat."""
    places = {}
    for split in ("train", "valid", "test"):
        official = f"{dataset}-{{version}}/{split}-{{version}}.json"
        places[split] = (official, f"datasets/{official}", f"{dataset}-{split}-{{version}}.json")
    where = f"get datasets/{dataset}-{{version}}/{{split}}-{{version}}.json from {REPOSITORY} (CC BY-SA 4.0)"
    return Origin(title="JGLUE", places=places, where=where, blobs=blobs, released=True)
