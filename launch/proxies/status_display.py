"""What a swarm shows while it trains: on a terminal a table that is redrawn in place, in a log plain lines."""

from __future__ import annotations

import shutil
import sys
import time
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from haigo import shown
from haigo.progress import Progress, clock

_BAR = 16
_SPARE_ROWS = 4  # of the terminal, kept for the heading and the shell's prompt


@dataclass
class _Running:
    since: float
    tokens: int = 0
    base: int | None = None
    """Tokens at its first word: what an earlier start had trained already."""


class StatusDisplay(Progress):
    """The state of all proxies.

    Args:
        runs: how many the table has.
        waiting: how many of them are to be trained.
        tokens: training tokens of one.
    """

    def __init__(self, runs: int, waiting: int, tokens: int) -> None:
        super().__init__("proxies", waiting * tokens, "tokens")
        self.runs, self.tokens = runs, tokens
        self.running: dict[str, _Running] = {}
        self.finished = 0
        self.best: dict[str, tuple[float, str]] = {}
        """metric -> (least value so far, its run); "mean" is that over all losses."""
        self._trained = 0.0
        self._old = 0.0
        self._drawn = 0

    def __enter__(self) -> StatusDisplay:
        return self

    def started(self, name: str) -> None:
        self.running[name] = _Running(time.monotonic())

    def at(self, name: str, tokens: int) -> None:
        """`name` has trained on so many tokens."""
        one = self.running[name]
        if one.base is None:
            one.base = tokens
            self._old += tokens
        one.tokens = tokens

    def ended(self, name: str, finished: bool) -> None:
        """`name` is finished, or failed."""
        one = self.running.pop(name)
        if finished:
            self._trained += self.tokens
        elif one.base:
            self._old -= one.base  # it is counted anew should it start again

    def result(self, name: str, metrics: Mapping[str, float]) -> None:
        """A proxy's losses, of now or of before."""
        self.finished += 1
        if metrics:
            for metric, value in {"mean": sum(metrics.values()) / len(metrics), **metrics}.items():
                if metric not in self.best or value < self.best[metric][0]:
                    self.best[metric] = (value, name)

    def refresh(self) -> None:
        """Show the state if it is time to."""
        self.done = self._trained + sum(one.tokens for one in self.running.values())
        self.show(self._counts())

    def say(self, text: str) -> None:
        """Print a line that stays."""
        if self.quiet:
            return
        if self.live:
            self._print(text, end="\n")
            self._print(self._text(time.monotonic()), end="")
        else:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    def left(self, now: float) -> float | None:
        """Seconds left at the rate so far; None before there is one."""
        spent, trained = now - self._start, self.done - self._old
        if not self.total or trained <= 0 or spent <= 0:
            return None
        return max(0.0, self.total - self.done) * spent / trained

    def _counts(self) -> str:
        best = self.best.get("mean")
        best_mean = f", best mean so far {best[0]:.3f} ({best[1]})" if best else ""
        return f"{self.finished}/{self.runs} done, {len(self.running)} running{best_mean}"

    def _text(self, now: float) -> str:
        share = min(1.0, self.done / self.total) if self.total else 1.0
        filled, left = int(20 * share), self.left(now)
        rate = max(0.0, self.done - self._old) / max(now - self._start, 1e-9)
        parts = [f"proxies [{'#' * filled}{'.' * (20 - filled)}] {share:4.0%}"]
        parts += [f"{rate:,.0f} tokens/s"] if rate else []
        parts += [f"{clock(left)} left"] if left is not None else []
        parts.append(self._counts())
        lines = [" ".join(parts)]
        if self.live:
            room = max(0, shutil.get_terminal_size().lines - _SPARE_ROWS - len(lines))
            lines += self._rows(now)[:room]
        return "\n".join(lines)

    def _rows(self, now: float) -> list[str]:
        wide = max((len(name) for name in self.running), default=0)
        made = []
        for name, one in self.running.items():
            share = min(1.0, one.tokens / self.tokens) if self.tokens else 1.0
            filled = int(_BAR * share)
            state = "evaluating" if share >= 1 else "starting" if one.base is None else ""
            trained = one.tokens - (one.base or 0)
            if not state and trained > 0:
                state = f"{clock((self.tokens - one.tokens) * (now - one.since) / trained)} left"
            made.append(f"  {name:{wide}}  [{'#' * filled}{'.' * (_BAR - filled)}] {share:4.0%}  {state}")
        best = [f"{metric} {value:.3f} ({run})" for metric, (value, run) in self.best.items() if metric != "mean"]
        return [*made, *(["  best: " + ", ".join(best)] if best else [])]

    def close(self, ended_well: bool = True) -> None:
        self.running.clear()
        super().close(ended_well)

    def _print(self, text: str, end: str) -> None:
        if not self.live:
            super()._print(text, end)
            return
        if self.quiet:
            return
        width = max(20, shutil.get_terminal_size().columns - 1)
        lines = text.split("\n")
        # back to the first line of what was drawn, and clear from there: fewer lines may follow than stood there
        back = f"\x1b[{self._drawn - 1}A" if self._drawn > 1 else ""
        safe = map(shown.line, lines)
        drawn = "\n".join(_cut(line, width) if end == "" else line for line in safe)
        shown.raw(sys.stderr).write(f"\r{back}\x1b[J{drawn}{end}")
        sys.stderr.flush()
        self._drawn = len(lines) if end == "" else 0


def _cut(text: str, width: int) -> str:
    """As much of a line as fits: one that wraps would put the next drawing in the wrong place."""
    used = 0
    for at, sign in enumerate(text):
        used += 2 if unicodedata.east_asian_width(sign) in "WF" else 1
        if used > width:
            return text[:at]
    return text


def line(name: str, result: Mapping[str, Any], done: int, runs: int) -> str:
    """A finished proxy in one line."""
    scores = " ".join(f"{metric.removesuffix('_bpb')} {value:.3f}" for metric, value in result["metrics"].items())
    more = "".join(f" {metric} {value:.3f}" for metric, value in result.get("scores", {}).items())
    return f"{done:4d}/{runs} {name}  {scores}{more}  ({result['seconds']:.0f} s)"


def note(text: str) -> None:
    """A remark on stderr, once."""
    sys.stderr.write(f"haigo: {text}\n")
    sys.stderr.flush()
