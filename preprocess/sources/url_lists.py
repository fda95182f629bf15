"""Lists of addresses that a user wants or does not want: of hosts, of paths on a host, and of patterns."""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from haigo.cli import HaigoError

_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_PORT = re.compile(r":\d+$")


def host(url: str) -> str:
    """The host of an address, in small letters and without `www.` and port; empty where it has none."""
    try:
        return (urlsplit(url).hostname or "").removeprefix("www.")
    except ValueError:
        return ""


class _List:
    """One list: `example.jp` (and the hosts below it), `example.jp/path` (all that begins so), or a pattern with `*`.

    Hosts are compared as `host` gives them: in small letters, without `www.` and port.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._hosts, self._starts = set[str](), dict[str, list[str]]()
        patterns = []
        for path in paths:
            for number, line in enumerate(_lines(path), 1):
                entry = _SCHEME.sub("", re.split(r"(?:^|\s)#", line.removeprefix("\ufeff"), maxsplit=1)[0].strip())
                if any(each in entry for each in " \t"):
                    raise HaigoError(f"{path} has a blank in an address (line {number}).", "give one address a line")
                name, slash, rest = entry.partition("/")
                name = _PORT.sub("", name.lower()).removeprefix("www.")
                if "*" in entry:
                    patterns.append(fnmatch.translate(f"{name}{slash}{rest}"))
                    if not slash:  # of hosts, whatever stands there
                        patterns.append(fnmatch.translate(f"{name}/*"))
                elif rest.rstrip("/"):
                    self._starts.setdefault(name, []).append(rest)
                elif name:
                    self._hosts.add(name)
        self._pattern = re.compile("|".join(patterns)) if patterns else None
        self.empty = not (self._hosts or self._starts or patterns)

    def has(self, url: str) -> bool:
        """Whether an address is on it."""
        name = host(url)
        parts = name.split(".")
        above = {".".join(parts[at:]) for at in range(len(parts))}
        if above & self._hosts:
            return True
        rest = _SCHEME.sub("", url).partition("/")[2]
        if any(rest.startswith(start) for start in self._starts.get(name, ())):
            return True
        return self._pattern is not None and self._pattern.fullmatch(f"{name}/{rest}") is not None


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError:
        raise HaigoError(f"{path} is no list of addresses: it is not UTF-8 text.", "give one address a line") from None
    except OSError as error:
        raise HaigoError(f"{path} cannot be read ({error.strerror}).", "name a file with one address a line") from None


class UrlLists:
    """What is to be kept, and what to be dropped.

    Args:
        keep: files; where there are any, an address that is on none of them goes.
        drop: files; an address on one of them goes.

    Raises:
        HaigoError: a file that cannot be read, is no text, or lists nothing.
    """

    def __init__(self, keep: Sequence[str] = (), drop: Sequence[str] = ()) -> None:
        for option, paths in (("keep_urls", keep), ("drop_urls", drop)):
            for path in paths:
                if _List([path]).empty:
                    raise HaigoError(f"{path} lists no address.", "give one address a line", option=option)
        self._keep, self._drop = (_List(paths) if paths else None for paths in (keep, drop))

    def unwanted(self, url: str) -> str | None:
        """Why a page of this address is not wanted, or None; without an address it is on no list."""
        if self._drop is not None and url and self._drop.has(url):
            return "address on a list to drop"
        if self._keep is not None and not (url and self._keep.has(url)):
            return "address on no list to keep"
        return None


@functools.lru_cache(maxsize=4)
def of(keep: tuple[str, ...], drop: tuple[str, ...]) -> UrlLists:
    """The lists of some files, read once."""
    return UrlLists(keep, drop)
