"""What every source is to the command: its options, the requests it would send, and the fetching itself.

A source is one dataclass in a file of its own, whose fields are its options (`haigo.options`) beside those that all have, and a
line in `SOURCES` of `__main__`.
"""

from __future__ import annotations

import abc
import dataclasses
import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from haigo.cli import HaigoError
from haigo.options import Options, amount, count, option
from haigo.progress import Progress

from ..sources import Document
from ..sources.page import UNKNOWN_LICENCE as UNKNOWN_LICENCE
from .card import About
from .client import Client
from .state import Store

T = TypeVar("T")


@dataclasses.dataclass
class Source(Options, abc.ABC):
    """One source with its options.

    Attributes:
        trouble: sentences on what could not be had; the run ends with them, its card says `complete: false`.
    """

    name: ClassVar[str]
    gap_s: ClassVar[float]
    """Default pause after each reply."""
    conditions: ClassVar[tuple[str, ...]] = ()
    """Fields that all documents of a folder have in common."""
    obey_robots: ClassVar[bool] = False
    unique: ClassVar[bool] = True
    """See `state.opened`."""

    _: dataclasses.KW_ONLY
    output_dir: str | None = option("folder of the corpus (not with --dry-run)", None)
    corpus: str | None = option("name of the corpus on its data card (default: the folder's)", None)
    contact: str | None = option("your mail address or URL, told to every server (or set HAIGO_CONTACT)", None)
    gap: float | None = option("seconds of pause after each reply (default: the source's)", None, least=0, most=3600)
    tries: int = count("how often a request is sent before giving up", 6)
    timeout: float = amount("longest silence of a server in seconds", 60.0)
    allow_private: bool = option("names and redirects may lead into this network", False)
    licence: str | None = option("put this licence into every document, in place of what the source says", None)
    max_documents: int | None = count("stop when this many are there", None)
    max_chars: int | None = count("stop when this many characters are there", None)
    dry_run: bool = option("print the requests, send none", False)
    json: bool = option("print the data card (or the plan) as JSON", False)
    trouble: list[str] = dataclasses.field(default_factory=list, init=False)

    @property
    def networked(self) -> bool:
        """False when only local files are read: no contact is needed then."""
        return True

    def inputs(self) -> list[Path]:
        """Files of the user's that are read."""
        values = (getattr(self, field.name) for field in dataclasses.fields(self))
        return [value for value in values if isinstance(value, Path)]

    def identity(self) -> dict[str, Any]:
        """What all documents of a folder have in common; a folder that holds another one is refused."""
        return {"source": self.name} | {name: getattr(self, name) for name in self.conditions}

    def reached(self, store: Store) -> bool:
        """True when the corpus is as large as it may be; asked after each answer."""
        documents, characters = self.max_documents, self.max_chars
        return (documents is not None and store.documents >= documents) or (
            characters is not None and store.characters >= characters
        )

    def each(self, store: Store, units: Sequence[T], noun: str) -> Iterator[T]:
        """The pieces of work one after the other, with a line of progress, until the corpus is as large as it may be."""
        with Progress(self.name, len(units), noun) as progress:
            for unit in units:
                if self.reached(store):
                    return
                yield unit
                progress.update(detail=f"{store.documents:,} documents")

    @abc.abstractmethod
    def about(self, store: Store) -> About:
        """For the data card, when all is there."""

    @abc.abstractmethod
    def plan(self) -> Iterator[str]:
        """The requests that a first run would send, one a line, as far as they are known beforehand."""

    @abc.abstractmethod
    def fetch(self, client: Client, store: Store) -> None:
        """Get everything that is not there yet."""

    def sign(self, document: Document, origin: str, licence: str, fetched: str) -> Document:
        """The document with licence, origin and date in its meta."""
        document.meta = document.meta | {
            "source": self.name,
            "origin": origin,
            "licence": self.licence or licence,
            "fetched": fetched,
        }
        return document


def today(client: Client) -> datetime.date:
    """The date (UTC) by the client's clock."""
    return datetime.datetime.fromtimestamp(client.clock.time(), datetime.UTC).date()


def date(text: str) -> datetime.date:
    """An option's date.

    Raises:
        HaigoError: it is none.
    """
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise HaigoError(f"'{text}' is not a date.", "write it as 2024-11-29") from None
