"""Rows that cannot be read: none is passed over unless the user says how many may be, and each is counted and named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from haigo.cli import HaigoError

_NAMED = 1000
_OF_A_ROW = ("mend or delete", "part it")  # fixes of single rows; others are of the whole file or command


class Broken:
    """What was passed over so far.

    Args:
        most: how many rows may be.

    Attributes:
        count: rows passed over.
        named: what each was, with file and line, up to a thousand.
    """

    def __init__(self, most: int = 0) -> None:
        self.most, self.count = most, 0
        self.named: list[str] = []

    def note(self, error: HaigoError) -> None:
        """Pass over the row that `error` is about.

        Raises:
            HaigoError: it is one too many; the error itself where none is allowed.
        """
        self.take(1, [error.problem], error)

    def take(self, count: int, named: Iterable[str], error: HaigoError | None = None) -> None:
        """The same for what another process found, with its own count."""
        self.count += count
        self.named = [*self.named, *named][:_NAMED]
        if self.count <= self.most:
            return
        if not self.most and error is not None:
            hint = ", or pass over so many rows with --skip-broken N" if error.fix.startswith(_OF_A_ROW) else ""
            options = (*error.options, "skip_broken") if hint else error.options
            raise HaigoError(error.problem, error.fix + hint, option=options)
        raise HaigoError(
            f"more than {self.most:,} rows are broken; the last: {self.named[-1]}",
            "mend the input, or allow more with --skip-broken N",
            option="skip_broken",
        ) from None

    def report(self) -> dict[str, Any]:
        """What stands in a report; nothing where nothing was passed over."""
        return {"broken_rows": {"count": self.count, "rows": self.named}} if self.count else {}


def broken_lines(report: Mapping[str, Any]) -> list[str]:
    """The part of a report as lines to read."""
    broken = report.get("broken_rows")
    if not broken:
        return []
    shown = [f"      {problem}" for problem in broken["rows"][:5]]
    return [f"  passed over: {broken['count']:,} broken rows", *shown]
