"""Progress on stderr: on a terminal lines that are redrawn in place, in a log plain lines every few seconds."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import sys
import threading
import time
import unicodedata
from collections.abc import Iterator
from types import TracebackType

from haigo import shown

LINE_EVERY_S = 7.0
"""In a log: with the time that starting up takes, nothing is silent for ten seconds."""
_LIVE_EVERY_S = 0.2
_SPARE_ROWS = 4  # of the terminal, kept for the shell's prompt and what was said before


def clock(seconds: float) -> str:
    """`75` -> `1:15`, `3700` -> `1:01:40`."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def bar(share: float, width: int = 20) -> str:
    """`[#####...............]  25%` of a share of 1."""
    filled = int(width * min(1.0, share))
    return f"[{'#' * filled}{'.' * (width - filled)}] {min(1.0, share):4.0%}"


class Screen:
    """What stands on stderr and is replaced by what comes next, and lines above it that stay.

    Whoever reads has gone, or a disk is full: what is shown is lost then, and the work goes on.

    Args:
        every_s: seconds from one showing to the next in a log; live_s: on a terminal.

    Attributes:
        live: it is a terminal.
        quiet: nothing is shown; so in a worker process, whose parent shows the progress.
    """

    def __init__(self, every_s: float = LINE_EVERY_S, live_s: float = _LIVE_EVERY_S) -> None:
        self.quiet = os.environ.get("HAIGO_QUIET") == "1"
        self.live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._every_s = live_s if self.live else every_s
        self._last = -math.inf
        self._drawn = 0
        self._lock = threading.Lock()

    def due(self) -> bool:
        """Whether it is time to draw; a time is given once."""
        with self._lock:
            now = time.monotonic()
            if self.quiet or now - self._last < self._every_s:
                return False
            self._last = now
            return True

    def draw(self, text: str) -> None:
        """Show these lines in the place of the last ones; on a terminal as many and as much of each as fit."""
        lines = [shown.line(each) for each in text.split("\n")]
        if not self.live:
            self._write("\n".join(lines) + "\n")
            return
        size = shutil.get_terminal_size()
        lines = [_cut(each, max(20, size.columns - 1)) for each in lines[: max(1, size.lines - _SPARE_ROWS)]]
        self._write(self._back() + "\n".join(lines))
        self._drawn = len(lines)

    def say(self, text: str) -> None:
        """Show lines that stay."""
        self._write(f"{self._back()}{shown.text(text)}\n")
        self._drawn = 0

    def _back(self) -> str:
        # to the first line of what was drawn, and clear from there: fewer lines may follow than stood there
        up = f"\x1b[{self._drawn - 1}A" if self._drawn > 1 else ""
        return f"\r{up}\x1b[J" if self._drawn else ""

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            shown.raw(sys.stderr).write(text)
            sys.stderr.flush()


def _cut(text: str, width: int) -> str:
    """As much of a line as fits: one that wraps would put the next drawing in the wrong place."""
    used = 0
    for at, sign in enumerate(text):
        used += 2 if unicodedata.east_asian_width(sign) in "WF" else 1
        if used > width:
            return text[:at]
    return text


class Progress(Screen):
    """Counts towards `total` (None when it is not known) and shows where it stands.

    Args:
        label: what is being done, a few words.
        total: how many `unit`s there are in all; None when that is not known beforehand.
        unit: what is counted, e.g. "documents" or "tokens".
        after: seconds before anything is shown: what is done sooner passes without a word.
        quiet: only count.

    Attributes:
        done: how many are done; before: how many of them were when it began, which say nothing of the speed.
    """

    def __init__(
        self, label: str, total: float | None, unit: str = "", after: float = 0.0, quiet: bool = False
    ) -> None:
        super().__init__()
        self.label, self.total, self.unit, self.after = label, total, unit, after
        self.done = self.before = 0.0
        self.quiet |= quiet
        self._start = time.monotonic()
        self._detail = ""
        if not self.live and not after:
            self._last = self._start

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(ended_well=kind is None)

    @contextlib.contextmanager
    def beating(self) -> Iterator[None]:
        """Show where it stands also while nobody counts: of a long piece of work, by a thread of its own. Nothing may be forked
        meanwhile."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(1.0):
                self.show()

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def update(self, amount: float = 1, detail: str = "") -> None:
        """Count `amount` more; `detail` is a short text shown behind the figures (the last loss, a file name)."""
        self.done += amount
        self.show(detail)

    def show(self, detail: str = "") -> None:
        """Show the current state if it is time to."""
        self._detail = detail or self._detail
        if time.monotonic() - self._start >= self.after and self.due():
            self.draw(self.text())

    def close(self, ended_well: bool = True) -> None:
        """Show the closing line."""
        spent = time.monotonic() - self._start
        count = f" {self.done:,.0f} {self.unit}" if self.done and self.unit else ""
        if not self.quiet and spent >= self.after:
            end = "done in" if ended_well else "stopped after"
            super().say(shown.line(f"{self.label}:{count} {end} {clock(spent)}"))

    @property
    def rate(self) -> float:
        """Units a second since it began."""
        return max(0.0, self.done - self.before) / max(time.monotonic() - self._start, 1e-9)

    @property
    def left(self) -> str:
        """`1:15 left` at the rate so far; empty where that is not known."""
        more = (self.total or 0.0) - self.done
        return f"{clock(more / self.rate)} left" if self.rate and more > 0 else ""

    def text(self) -> str:
        """The line."""
        if self.total:
            count = f"{self.label} {bar(self.done / self.total)} {self.done:,.0f}/{self.total:,.0f}"
        elif self.done:
            count = f"{self.label}: {self.done:,.0f} {self.unit}".rstrip()
        else:  # a long piece of work that counts nothing
            count = f"{self.label}: {clock(time.monotonic() - self._start)} so far"
        parts = [
            count,
            self.unit if self.total else "",
            f"{self.rate:,.1f}/s" if self.rate else "",
            self.left,
            self._detail,
        ]
        return " ".join(filter(None, parts))
