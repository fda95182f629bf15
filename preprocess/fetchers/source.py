"""What every source is to the command: a few facts, the requests it would send, and the fetching itself."""

from __future__ import annotations

import abc
import argparse
import dataclasses
import datetime
from collections.abc import Iterator
from typing import Any, ClassVar

from haigo.cli import HaigoError

from ..sources import Document
from .card import About
from .http import Client
from .state import Store

UNKNOWN_LICENCE = "not stated"


@dataclasses.dataclass
class Limits:
    """When to stop before everything is there; None for never. A limit is checked after each answer."""

    documents: int | None = None
    characters: int | None = None

    def reached(self, store: Store) -> bool:
        """True when the corpus is as large as it may be."""
        return (self.documents is not None and store.documents >= self.documents) or (
            self.characters is not None and store.characters >= self.characters
        )


class Source(abc.ABC):
    """One source with its options.

    Attributes:
        trouble: sentences on what could not be had; the run ends with them, its card says `complete: false`.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    gap_s: ClassVar[float]
    """Default pause after each reply."""
    obey_robots: ClassVar[bool] = False
    unique: ClassVar[bool] = True
    """See `state.opened`."""
    networked = True
    """False when only local files are read: no contact is needed then."""

    def __init__(self, licence: str | None = None, limits: Limits | None = None) -> None:
        self.licence = licence
        self.limits = limits or Limits()
        self.trouble: list[str] = []

    @staticmethod
    @abc.abstractmethod
    def add_options(parser: argparse.ArgumentParser) -> None:
        """The source's own options."""

    @classmethod
    @abc.abstractmethod
    def of(cls, args: argparse.Namespace, licence: str | None, limits: Limits) -> Source:
        """The source that the options describe. Raises HaigoError for options that make no sense."""

    @abc.abstractmethod
    def identity(self) -> dict[str, Any]:
        """What all documents of a folder have in common; a folder that holds another one is refused."""

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
