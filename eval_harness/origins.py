"""Where a data set comes from, and under which names its files lie; each task says its own (`tasks/NAME.yml`).

Nothing of them is part of Haigo. `tasks/README.md` says for each where it is published, under which licence, and which may
not be passed on. Each is read in the format it is published in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

REPOSITORY = "https://github.com/yahoojapan/JGLUE"
VERSIONS = ("v1.1", "v1.2", "v1.3")


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """One data set that is not JGLUE's."""

    places: Mapping[str, Sequence[str]]
    """split -> where its file may lie in the data folder, the published name first."""
    where: str
    """How to get it, as an imperative."""
    title: str
    blobs: Mapping[str, str] = field(default_factory=dict)
    """split -> git's blob id of the published file, where it is known."""
    hub: tuple[str, Mapping[str, str]] | None = None
    """The data set on the Hugging Face hub and the file of each split, where it needs no loading script."""
    sizes: Sequence[int] = ()
    """How many documents published rows scored."""

    def releases(self, split: str, blob: str) -> tuple[str, ...]:
        """The data set's name where these are the published bytes."""
        return (self.title,) if self.blobs.get(split) == blob else ()


@dataclass(frozen=True, kw_only=True, slots=True)
class JGLUE:
    """One of JGLUE's data sets, which has releases."""

    blobs: Mapping[str, Mapping[str, Sequence[str]]]
    """split -> git's blob id of each published file -> the releases it is in."""

    def releases(self, split: str, blob: str) -> tuple[str, ...]:
        """The releases that hold these very bytes."""
        return tuple(self.blobs.get(split, {}).get(blob, ()))
