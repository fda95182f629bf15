"""Progress on stderr: one live bar on a terminal, a plain line every few seconds in a log."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType

from haigo import shown

_LINE_EVERY_S = 10.0


def clock(seconds: float) -> str:
    """`75` -> `1:15`, `3700` -> `1:01:40`."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


class Progress:
    """Counts towards `total` (None when it is not known) and shows where it stands.

    Args:
        label: what is being done, a few words.
        total: how many `unit`s there are in all; None when that is not known beforehand.
        unit: what is counted, e.g. "documents" or "tokens".
        after: seconds before anything is shown: what is done sooner passes without a word.
    """

    def __init__(self, label: str, total: float | None, unit: str = "", after: float = 0.0) -> None:
        self.label, self.total, self.unit, self.after = label, total, unit, after
        self.done = 0.0
        self.quiet = os.environ.get("HAIGO_QUIET") == "1"  # a worker process: its parent shows the progress
        self.live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._start = time.monotonic()
        self._shown = self._start - (_LINE_EVERY_S if after else 0.0) if not self.live else 0.0
        self._detail = ""

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(ended_well=kind is None)

    def update(self, amount: float = 1, detail: str = "") -> None:
        """Count `amount` more; `detail` is a short text shown behind the figures (the last loss, a file name)."""
        self.done += amount
        self.show(detail)

    def show(self, detail: str = "") -> None:
        """Show the current state if it is time to."""
        self._detail = detail or self._detail
        now = time.monotonic()
        if now - self._start >= self.after and now - self._shown >= (0.2 if self.live else _LINE_EVERY_S):
            self._shown = now
            self._print(self._text(now), end="" if self.live else "\n")

    def close(self, ended_well: bool = True) -> None:
        """Print the closing line."""
        spent = time.monotonic() - self._start
        count = f" {self.done:,.0f} {self.unit}" if self.done and self.unit else ""
        self._print(f"{self.label}:{count} {'done in' if ended_well else 'stopped after'} {clock(spent)}", end="\n")

    def _text(self, now: float) -> str:
        spent = now - self._start
        rate = self.done / spent if spent > 0 else 0.0
        parts = [f"{self.label}: {self.done:,.0f}"]
        if self.total:
            share = min(1.0, self.done / self.total)
            filled = int(20 * share)
            parts = [
                f"{self.label} [{'#' * filled}{'.' * (20 - filled)}] {share:4.0%} {self.done:,.0f}/{self.total:,.0f}"
            ]
        parts.append(self.unit)
        if rate:
            parts.append(f"{rate:,.1f}/s")
            if self.total and self.total > self.done:
                parts.append(f"{clock((self.total - self.done) / rate)} left")
        if self._detail:
            parts.append(self._detail)
        return " ".join(part for part in parts if part)

    def _print(self, text: str, end: str) -> None:
        if self.quiet or time.monotonic() - self._start < self.after:
            return
        safe = shown.line(text)
        out = shown.raw(sys.stderr)
        out.write(f"\r\x1b[K{safe}{end}" if self.live else f"{safe}{end}")
        out.flush()
