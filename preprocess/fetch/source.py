"""What every source is to the command: its options, the requests it would send, and the fetching itself.

A source is one dataclass in a file of its own, whose fields are its options: command line and constructor are made of them.
It stands, by its name, in `SOURCES` of `__main__`.
"""

from __future__ import annotations

import abc
import argparse
import contextlib
import dataclasses
import datetime
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from haigo import cli, files
from haigo.cli import HaigoError

from ..sources import Document
from .card import About
from .client import Client
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

    def room(self, store: Store, most: int) -> int:
        """How many documents more there may be, up to `most`."""
        return most if self.documents is None else min(most, self.documents - store.documents)


class Option:
    """What makes a field of a source an option of its command, in `Annotated[kind, Option(...)] = default`.

    Args:
        text: its help.
        flag: in place of `--field-name`; "" for a positional argument.
        how: for argparse; a `default` here is the command line's alone. An option without any default is required.
    """

    def __init__(self, text: str, flag: str | None = None, **how: Any) -> None:
        self.text, self.flag, self.how = text, flag, how

    def add(self, parser: argparse.ArgumentParser, field: dataclasses.Field[Any]) -> None:
        """Put it on a parser."""
        flag = f"--{field.name}" if self.flag is None else self.flag
        how = {"help": self.text, **self.how}
        if not flag:
            parser.add_argument(field.name, **how)
            return
        if isinstance(field.default, bool):
            how["action"] = "store_true"
        if field.default_factory is not dataclasses.MISSING:
            how["default"] = field.default_factory()
        elif field.default is dataclasses.MISSING:
            how["required"] = True
        else:
            how.setdefault("default", field.default)
        parser.add_argument(*dict.fromkeys((flag.replace("_", "-"), flag)), dest=field.name, **how)


@dataclasses.dataclass
class Source(abc.ABC):
    """One source with its options.

    Attributes:
        licence: put into every document in place of what the source says.
        limits: when to stop.
        trouble: sentences on what could not be had; the run ends with them, its card says `complete: false`.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    gap_s: ClassVar[float]
    """Default pause after each reply."""
    conditions: ClassVar[tuple[str, ...]] = ()
    """Fields that all documents of a folder have in common."""
    obey_robots: ClassVar[bool] = False
    unique: ClassVar[bool] = True
    """See `state.opened`."""

    licence: str | None = dataclasses.field(default=None, kw_only=True)
    limits: Limits = dataclasses.field(default_factory=Limits, kw_only=True)
    trouble: list[str] = dataclasses.field(default_factory=list, init=False)

    @classmethod
    def options(cls) -> list[tuple[dataclasses.Field[Any], Option]]:
        """The source's own options, by field."""
        hints = typing.get_type_hints(cls, include_extras=True)
        return [
            (field, each)
            for field in dataclasses.fields(cls)
            for each in getattr(hints[field.name], "__metadata__", ())
            if isinstance(each, Option)
        ]

    @classmethod
    def of(cls, args: argparse.Namespace, limits: Limits) -> Self:
        """The source that the options describe. Raises HaigoError for options that make no sense."""
        given = {field.name: getattr(args, field.name) for field, _ in cls.options()}
        return cls(**given, licence=args.licence, limits=limits)

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


def add_options(kind: type[Source], parser: argparse.ArgumentParser) -> None:
    """The options that every source has, and a source's own."""
    add = parser.add_argument
    add("--debug", action="store_true", help=argparse.SUPPRESS)
    add("--output-dir", "--output_dir", help="folder of the corpus (not with --dry-run)")
    add("--corpus", help="name of the corpus on its data card (default: the folder's)")
    add("--contact", help="your mail address or URL, told to every server (or set HAIGO_CONTACT)")
    add("--gap", type=_pause, help="seconds of pause after each reply (default: the source's)")
    add("--tries", type=cli.count, default=6, help="how often a request is sent before giving up")
    add("--timeout", type=cli.amount, default=60.0, help="longest silence of a server in seconds")
    add(
        "--allow-private", "--allow_private", action="store_true", help="names and redirects may lead into this network"
    )
    add("--licence", help="put this licence into every document, in place of what the source says")
    add("--max-documents", "--max_documents", type=cli.count, help="stop when this many are there")
    add("--max-chars", "--max_chars", type=cli.count, help="stop when this many characters are there")
    add("--dry-run", "--dry_run", action="store_true", help="print the requests, send none")
    add("--json", action="store_true", help="print the data card (or the plan) as JSON")
    for field, option in kind.options():
        option.add(parser, field)


def _pause(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= float(text) < 3600:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text:.40} is not a pause in seconds, such as 3")


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


Listed = Annotated[
    Path | None, Option("a file with an address a line (# begins a comment)", "--list", type=Path, metavar="FILE")
]
"""For a source of addresses."""


def addresses(given: list[str], listed: Path | None) -> list[str]:
    """Addresses as given, then those in a file, one a line; each once.

    Raises:
        HaigoError: the file is missing, not text, or holds no address.
    """
    found = list(given)
    if listed is not None:
        lines = (line.strip() for line in files.read_text(listed, "give a file with an address a line").splitlines())
        in_file = [line for line in lines if line and not line.startswith("#")]
        if not in_file:
            raise HaigoError(f"{listed} holds no address.", "write an address a line")
        found += in_file
    return list(dict.fromkeys(found))


def several(names: list[str]) -> str:
    """A list for the card, shortened."""
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
