"""Text of unknown origin on its way to people: a terminal, a web page, Markdown.

Model names, figures' names, corpus text and what servers say may hold sequences that drive a terminal (escape, the C1
controls, carriage return, backspace), that turn the direction of writing round what follows, or that are markup. None of
it is lost: such a character is written as its JSON escape, so that what a command prints with --json stays the same JSON.
"""

from __future__ import annotations

import contextlib
import errno
import html as _html
import math
import os
import re
import stat
import sys
import time
from collections.abc import Iterator
from typing import Any, TextIO, cast

from haigo import redact

# C0 but tab and line end, DEL and C1, the separators and the overrides of direction, annotation marks
_DRIVES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb]")
BAR_EVERY_S = 10.0
_BREAKS = re.compile("[\t\n]")
_MARKUP = re.compile(r"[\\`*_\[\]<>|#~!&{}]")
_COLOURED = re.compile("(\x1b\\[[0-9;]*m|\r)|" + _DRIVES.pattern)


def text(value: object) -> str:
    """Several lines for a terminal: only line ends and tabs are kept of what is no visible character."""
    return _DRIVES.sub(_escaped, redact.values(str(value)))


def log(value: object) -> str:
    """The output of a program that the user started: its colours and its bar's carriage returns stay too."""
    return _COLOURED.sub(lambda found: found[1] or _escaped(found), redact.values(str(value)))


def line(value: object) -> str:
    """One line for a terminal: `text`, and line ends and tabs written out too, so that nothing forges a second line."""
    return _BREAKS.sub(_escaped, text(value))


def markdown(value: object) -> str:
    """One line that Markdown shows as it is, in a table's cell too: no HTML, no emphasis, no link but an address itself."""
    flat = " ".join(line(" ".join(str(value).split())).split())
    return _MARKUP.sub(lambda found: f"\\{found[0]}", flat)


def html(value: object) -> str:
    """Text for an element or a quoted attribute of a web page."""
    return _html.escape(text(value))


class Unheard:
    """A text stream whose reader may go away (`2>&1 | head`, a closed terminal): what is said after that goes nowhere, and
    the work and its exit code stay what they are."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, written: str) -> int:
        """As of the stream."""
        with self._whoever_reads():
            self.stream.write(written)
        return len(written)

    def flush(self) -> None:
        """As of the stream."""
        with self._whoever_reads():
            self.stream.flush()

    @contextlib.contextmanager
    def _whoever_reads(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # a terminal that was closed gives EIO, and so does a failing disk, which is another thing
            if error.errno != errno.EPIPE and not (error.errno == errno.EIO and self._is_device()):
                raise
            with contextlib.suppress(OSError, ValueError):  # ValueError: a stream without a file behind it
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self.stream.fileno())
                os.close(nowhere)

    def _is_device(self) -> bool:
        try:
            return stat.S_ISCHR(os.fstat(self.stream.fileno()).st_mode)
        except (OSError, ValueError):
            return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class Filtered:
    """A text stream whose every character is safe for a terminal. `raw` is the stream behind it.

    `haigo.cli.run` puts it before standard output and standard error, so that no command has to think of it.
    """

    def __init__(self, raw: TextIO) -> None:
        self.raw = raw

    def write(self, written: str) -> int:
        """Write `text(written)`; how long what was given is."""
        self.raw.write(text(written))
        return len(written)

    def writelines(self, lines: Any) -> None:
        """Write every one."""
        for one in lines:
            self.write(one)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


class FilteredBars(Filtered):
    """The same for what draws bars of its own, which are written over and over: a line of theirs every ten seconds, the others
    are held back; all of them where they are not to be shown."""

    def __init__(self, raw: TextIO, shows: bool = True) -> None:
        super().__init__(raw)
        self._next, self._within = time.monotonic() + BAR_EVERY_S if shows else math.inf, False

    def write(self, written: str) -> int:
        """As of `Filtered`; the line end behind a bar belongs to it."""
        bar = written.strip()
        self._within = written.startswith("\r") or (self._within and not bar)
        if not self._within:
            return super().write(written)
        if bar and time.monotonic() >= self._next:
            self._next = time.monotonic() + BAR_EVERY_S
            super().write(f"{bar}\n")
        return len(written)


@contextlib.contextmanager
def filtered() -> Iterator[None]:
    """Standard output and standard error are `Filtered` within the block."""
    before = sys.stdout, sys.stderr
    filter_streams()
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()  # here, where a reader that went away is no error; at the end of Python it would be
        sys.stdout, sys.stderr = before


def filter_streams() -> None:
    """Make standard output and standard error `Filtered` for good: in a worker process."""
    sys.stdout, sys.stderr = (
        cast(TextIO, Filtered(cast(TextIO, Unheard(raw(stream))))) for stream in (sys.stdout, sys.stderr)
    )


def raw(stream: TextIO) -> TextIO:
    """The stream behind `Filtered`, for those who write control sequences of their own and have cleaned the rest."""
    return stream.raw if isinstance(stream, Filtered) else stream


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
