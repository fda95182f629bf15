"""Sources that are a list of addresses, each fetched by itself, by the rules of its site's robots.txt."""

from __future__ import annotations

import abc
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from haigo import files
from haigo.cli import HaigoError
from haigo.options import option

from .client import Client
from .source import Source
from .state import Store


@dataclasses.dataclass
class Addresses(Source):
    """The addresses that are given and those in a file, each once."""

    gap_s = 2.0
    obey_robots = True
    noun: ClassVar[str] = "address"

    urls: list[str] = option("addresses", positional=True, nargs="*", metavar="URL")
    listed: Path | None = option(
        "a file with an address a line (# begins a comment)", None, flags=("--list",), metavar="FILE"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.urls = list(dict.fromkeys([*self.urls, *(read(self.listed) if self.listed else ())]))
        if not self.urls:
            raise HaigoError(f"no {self.noun} is named.", "give addresses, or a file of them with --list")
        for url in self.urls:
            if not url.startswith(("http://", "https://")) or url.split() != [url]:
                raise HaigoError(f"{url} is not an http or https address.", "give such as https://example.org/a.txt")

    def plan(self) -> Iterator[str]:
        for url in self.urls:
            yield f"GET {url}  (after its site's robots.txt)"

    def fetch(self, client: Client, store: Store) -> None:
        for url in self.each(store, self.urls, self.name):
            self.one(client, store, url)

    @abc.abstractmethod
    def one(self, client: Client, store: Store, url: str) -> None:
        """Get what is new at one address."""


def read(path: Path) -> list[str]:
    """The addresses in a file, one a line.

    Raises:
        HaigoError: the file is missing, not text, or holds no address.
    """
    lines = (
        re.split(r"\s#", line)[0].strip()
        for line in files.read_text(path, "give a file with an address a line").splitlines()
    )
    addresses = [line for line in lines if line and not line.startswith("#")]
    if not addresses:
        raise HaigoError(f"{path} holds no address.", "write an address a line")
    return addresses


def several(names: list[str]) -> str:
    """A list for the card, shortened."""
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
