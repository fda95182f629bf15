"""What a swarm shows while it trains: on a terminal a table that is redrawn in place, in a log plain lines."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from haigo.progress import Progress, bar, clock
from launch.proxies.live import LivePage


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
        quiet: only count.
        page: that shows the same.
    """

    def __init__(self, runs: int, waiting: int, tokens: int, quiet: bool = False, page: LivePage | None = None) -> None:
        super().__init__("proxies", waiting * tokens, "tokens", quiet=quiet)
        self.runs, self.tokens = runs, tokens
        self.running: dict[str, _Running] = {}
        self.finished = 0
        self.best: dict[str, tuple[float, str]] = {}
        """metric -> (least value so far, its run); "mean" is that over all losses."""
        self.results: dict[str, dict[str, float]] = {}
        self.page = page
        self._trained = 0.0

    def __enter__(self) -> StatusDisplay:
        return self

    def started(self, name: str) -> None:
        self.running[name] = _Running(time.monotonic())

    def at(self, name: str, tokens: int) -> None:
        """`name` has trained on so many tokens."""
        one = self.running[name]
        if one.base is None:
            one.base = tokens
            self.before += tokens
        one.tokens = tokens

    def ended(self, name: str, finished: bool) -> None:
        """`name` is finished, or failed."""
        one = self.running.pop(name)
        if finished:
            self._trained += self.tokens
        elif one.base:
            self.before -= one.base  # it is counted anew should it start again

    def result(self, name: str, metrics: Mapping[str, float]) -> None:
        """A proxy's losses, of now or of before."""
        self.finished += 1
        self.results[name] = dict(metrics)
        if metrics:
            for metric, value in {"mean": sum(metrics.values()) / len(metrics), **metrics}.items():
                if metric not in self.best or value < self.best[metric][0]:
                    self.best[metric] = (value, name)

    def refresh(self) -> None:
        """Show the state if it is time to."""
        self.done = self._trained + sum(one.tokens for one in self.running.values())
        if self.page is not None:
            self.page.show(self.state())
        self.show()

    def state(self) -> dict[str, Any]:
        """All of it, for a page."""
        running = [
            {"name": name, "share": self._share(one), "state": self._state(one)} for name, one in self.running.items()
        ]
        counts = {"runs": self.runs, "finished": self.finished, "done": self.done, "total": self.total}
        return {**counts, "rate": self.rate, "left": self.left, "running": running, "results": self.results}

    def say(self, text: str) -> None:
        """A line that stays."""
        if self.page is not None:
            self.page.said.append(text)
        if self.quiet:
            return
        super().say(text)
        if self.live:
            self.draw(self.text())

    def text(self) -> str:
        """All of it: on a terminal a line for each proxy that is being trained, too."""
        best = self.best.get("mean")
        best_mean = f", best mean so far {best[0]:.3f} ({best[1]})" if best else ""
        counts = f"{self.finished}/{self.runs} done, {len(self.running)} running{best_mean}"
        rate = f"{self.rate:,.0f} tokens/s" if self.rate else ""
        head = " ".join(filter(None, [f"proxies {bar(self.done / (self.total or 1))}", rate, self.left, counts]))
        return "\n".join([head, *self._rows()]) if self.live else head

    def _rows(self) -> list[str]:
        wide = max((len(name) for name in self.running), default=0)
        rows = []
        for name, one in self.running.items():
            rows.append(f"  {name:{wide}}  {bar(self._share(one), 16)}  {self._state(one)}")
        best = [f"{metric} {value:.3f} ({run})" for metric, (value, run) in self.best.items() if metric != "mean"]
        return [*rows, *(["  best: " + ", ".join(best)] if best else [])]

    def _share(self, one: _Running) -> float:
        return one.tokens / self.tokens if self.tokens else 1.0

    def _state(self, one: _Running) -> str:
        """What a proxy is at, in a word, or how long it will take."""
        if self._share(one) >= 1:
            return "evaluating"
        if one.base is None:
            return "starting"
        trained = one.tokens - one.base
        left = (self.tokens - one.tokens) * (time.monotonic() - one.since) / trained if trained > 0 else None
        return "" if left is None else f"{clock(left)} left"

    def close(self, ended_well: bool = True) -> None:
        self.running.clear()
        super().close(ended_well)


def line(name: str, result: Mapping[str, Any], done: int, runs: int) -> str:
    """A finished proxy in one line."""
    scores = " ".join(f"{metric.removesuffix('_bpb')} {value:.3f}" for metric, value in result["metrics"].items())
    more = "".join(f" {metric} {value:.3f}" for metric, value in result.get("scores", {}).items())
    return f"{done:4d}/{runs} {name}  {scores}{more}  ({result['seconds']:.0f} s)"
