"""Stages of a run: done once, skipped when nothing changed, redone when something did, resumed after a kill.

A stage owns one folder of the run. Its marker `.done.json`, written last, holds the digest of everything it was made from
and the size of every file it left; `.inputs` is written first, so that a half-finished folder is only continued with the
same inputs and is cleared otherwise.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import haigo
from haigo import files, pool
from haigo.cli import HaigoError
from haigo.progress import clock
from launch.chain import words

_DONE, _INPUTS = ".done.json", ".inputs"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One piece of a run.

    Args:
        name: its folder, relative to the run folder.
        inputs: everything that the result depends on, as JSON: options and the identities of earlier stages.
        action: does the work in the stage's folder and returns the result's identity: a JSON value that changes when, and
            only when, what it wrote changes. Picklable when stages run side by side.
        keep: the action itself sorts out what is stale (a table of proxy runs), so its folder is never cleared.
    """

    name: str
    inputs: Any
    action: Callable[[], Any]
    keep: bool = False


class Run:
    """The stages of one run folder."""

    def __init__(self, root: Path, *, dry_run: bool = False) -> None:
        self.root = root
        self.dry_run = dry_run
        self.states: list[tuple[str, str]] = []

    def do(self, stage: Stage) -> Any:
        """Run one stage if it has to be run, and return its identity."""
        return self.do_all([stage], workers=1)[stage.name]

    def do_all(self, stages: list[Stage], workers: int, on_wait: Callable[[], None] | None = None) -> dict[str, Any]:
        """Run those of `stages` that have to be run, up to `workers` at a time; their identities by name."""
        identities: dict[str, Any] = {}
        todo: dict[str, tuple[Stage, str]] = {}
        for stage in stages:
            wanted = files.digest({"inputs": stage.inputs, "haigo": haigo.__version__})
            marker = self._marker(stage.name)
            if marker is not None and marker["inputs"] == wanted:
                identities[stage.name] = marker["identity"]
                self._say("unchanged", stage.name)
                continue
            self._say("changed" if marker is not None else "to do", stage.name)
            todo[stage.name] = (stage, wanted)
        if self.dry_run:
            # what comes later depends on results that are not there yet
            identities.update(dict.fromkeys(todo))
            return identities
        for name, (stage, wanted) in todo.items():
            self._make_ready(name, wanted, stage.keep)
        if len(todo) == 1 or workers == 1:
            for name, (stage, wanted) in todo.items():
                start = time.monotonic()
                identities[name] = words.within(name, stage.action)
                self._finish(name, wanted, identities[name], time.monotonic() - start)
        elif todo:
            start = time.monotonic()
            pool.run(
                {name: partial(words.within, name, stage.action) for name, (stage, _) in todo.items()},
                min(workers, len(todo)),
                on_wait,
                lambda name, result: self._finish(name, todo[name][1], result, time.monotonic() - start),
            )
            identities.update({name: files.read_json(self.root / name / _DONE)["identity"] for name in todo})
        return {stage.name: identities[stage.name] for stage in stages}

    def _marker(self, name: str) -> Mapping[str, Any] | None:
        """The stage's marker, if every file that it lists is still there with its size."""
        folder = self.root / name
        try:
            marker = files.read_json(folder / _DONE)
            whole = all((folder / path).stat().st_size == size for path, size in marker["outputs"].items())
            return marker if whole else None
        except (HaigoError, OSError, KeyError, TypeError, AttributeError):
            return None

    def _make_ready(self, name: str, wanted: str, keep: bool) -> None:
        folder = self.root / name
        self._adopt(folder)
        files.claim(folder)
        files.remove(folder / _DONE)
        started = folder / _INPUTS
        same = started.exists() and started.read_text(encoding="utf-8") == wanted
        if not same and not keep:
            files.remove_tree(folder)
        files.write_text(started, wanted)

    def _adopt(self, folder: Path) -> None:
        """Take over what an earlier version, which kept no journal, left in a stage's folder: its marker lists it."""
        if not files.ours(folder) and (folder / _INPUTS).is_file():
            with contextlib.suppress(HaigoError):
                marker = files.read_record(folder / _DONE, {"inputs": str, "outputs": {str: int}})
                files.adopt(folder / name for name in marker["outputs"])
            files.adopt([folder / _DONE, folder / _INPUTS])

    def _finish(self, name: str, wanted: str, identity: Any, seconds: float) -> None:
        folder = self.root / name
        outputs = {
            str(path.relative_to(folder)): path.stat().st_size
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.name.startswith(".")
        }
        marker = {"inputs": wanted, "identity": identity, "outputs": outputs, "seconds": round(seconds, 1)}
        files.write_json(folder / _DONE, marker)
        print(f"  {name}: done in {clock(seconds)}", file=sys.stderr, flush=True)

    def _say(self, state: str, name: str) -> None:
        self.states.append((state, name))
        if not self.dry_run and state == "unchanged":
            print(f"  {name}: unchanged", file=sys.stderr, flush=True)


def seconds_spent(root: Path) -> dict[str, float]:
    """Seconds of every finished stage below a run folder, from the markers."""
    return {
        str(marker.parent.relative_to(root)): files.read_json(marker)["seconds"] for marker in sorted(root.rglob(_DONE))
    }
