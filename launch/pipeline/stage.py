"""Stages of a run: done once, skipped when nothing changed, redone when something did, resumed after a kill.

A stage owns one folder of the run. Its marker `.done.json`, written last, holds the digest of everything it was made from
and the mark (sha256, size, inode, ctime) of every file it left: a stage is skipped, and its files are used, only while they
hold those bytes. `.inputs` is written first, so that a half-finished folder is only continued with the same inputs and is
cleared otherwise. Markers of the first edition hold sizes: the digests of their files are computed once.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import haigo
from haigo import digests, files, pool, sealed
from haigo.cli import HaigoError, Refused
from haigo.progress import Progress
from launch.pipeline import keys
from launch.pipeline import moved as move
from launch.pipeline.spent import Spent, measured

DONE, INPUTS = ".done.json", ".inputs"
_CPU, _STEPS, _MEMORY = "cpu_seconds", "training_cpu_seconds", "memory_bytes"
_FIRST_EDITION = "0.1.0"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One piece of a run.

    Args:
        name: its folder, relative to the run folder.
        inputs: everything that the result depends on, as JSON: options and the identities of earlier stages.
        action: does the work in the stage's folder and returns the result's identity: a JSON value that changes when, and
            only when, what it wrote changes. Picklable when stages run side by side.
        keep: the action itself sorts out what is stale (a table of proxy runs), so its folder is never cleared.
        exact: later stages read whatever lies in its folder, so nothing else may lie there.
        former: the inputs as the first edition stated them, where it stated others.
        proof: the identity, told from the stage's files: what the first edition's marker says of them besides their sizes.
    """

    name: str
    inputs: Any
    action: Callable[[], Any]
    keep: bool = False
    exact: bool = False
    former: Any = None
    proof: Callable[[], Any] | None = None

    def wanted(self) -> str:
        """The digest that a marker of this stage must hold."""
        return files.digest({"inputs": self.inputs, "haigo": haigo.__version__})

    def wanted_formerly(self) -> str:
        """The digest that a marker of the first edition must hold."""
        stated = self.inputs if self.former is None else self.former
        return files.digest({"inputs": stated, "haigo": _FIRST_EDITION})


@dataclass(frozen=True)
class Marker:
    """What `.done.json` says of a finished stage."""

    inputs: str
    identity: Any
    outputs: dict[str, Any]
    """Path -> mark; path -> size in the first edition."""
    spent: Spent
    former: bool
    """The first edition's."""

    def write(self, folder: Path) -> None:
        """Write it; the stage is then finished."""
        content = {"inputs": self.inputs, "identity": self.identity, "outputs": self.outputs}
        for name, value in (("seconds", self.spent.seconds), (_CPU, self.spent.cpu), (_STEPS, self.spent.training)):
            content |= {} if value is None else {name: round(value, 1)}
        content |= {} if self.spent.memory is None else {_MEMORY: self.spent.memory}
        sealed.write(folder / DONE, content)


class Run:
    """The stages of one run folder.

    Args:
        root: the run folder.
        dry_run: nothing is written; say only what would be done.
        full: read files above 4 GiB, too, before they are taken as unchanged.
        moves: how the place of the run folder was written before, and is now, where it was moved.
        preload: modules that stages side by side need; a process of its own imports them while the first stage works.

    Attributes:
        spent: what each stage that had to be run took.
        walls: wall seconds of these, those side by side counted once, by the first part of their names.
    """

    def __init__(
        self,
        root: Path,
        *,
        dry_run: bool = False,
        full: bool = False,
        moves: Mapping[str, str] | None = None,
        preload: Sequence[str] = (),
    ) -> None:
        self.root, self.dry_run, self.full = root, dry_run, full
        self.moves, self.preload, self.spent = dict(moves or {}), list(preload), dict[str, Spent]()
        self.states: list[tuple[str, str]] = []
        self.foreign: dict[str, set[Path]] = {}
        self.walls: dict[str, float] = {}

    def claim(self, names: list[str]) -> None:
        """See, before anything is written, that no stage would work in a folder of the user's.

        Raises:
            Refused: a folder of a stage holds files, and none of them is ours.
        """
        for name in names:
            folder = self.root / name
            if not (files.ours(folder) or (folder / INPUTS).is_file() or (folder / DONE).is_file()):
                raise Refused(
                    f"{folder} holds files that this run did not make, and '{name}' would be written there.",
                    "name another run folder (`output:`, or --output-dir), or move that folder away",
                )

    def made_from(self, stage: Stage) -> bool:
        """Whether the folder of a stage was made from just these inputs, or is being made from them."""
        folder = self.root / stage.name
        try:
            marker = read_marker(folder)
        except HaigoError:
            return False
        if marker is not None:
            return marker.inputs == (stage.wanted_formerly() if marker.former else stage.wanted())
        return (folder / INPUTS).is_file() and files.read_text(folder / INPUTS) == stage.wanted()

    def do(self, stage: Stage) -> Any:
        """Run one stage if it has to be run, and return its identity."""
        return self.do_all([stage], workers=1)[stage.name]

    def do_all(self, stages: list[Stage], workers: int, on_wait: Callable[[], None] | None = None) -> dict[str, Any]:
        """Run those of `stages` that have to be run, up to `workers` at a time; their identities by name."""
        identities: dict[str, Any] = {}
        todo: dict[str, Stage] = {}
        inspected: dict[str, tuple[str, list[str]]] = {}
        for stage in stages:
            state, identity, paths = self._inspect(stage)
            self._say(state, stage.name)
            if state == "unchanged":
                identities[stage.name] = identity
            else:
                todo[stage.name], inspected[stage.name] = stage, (state, paths)
        if self.dry_run:
            # what comes later depends on results that are not there yet
            identities.update(dict.fromkeys(todo))
            return identities
        self.claim(list(todo))
        for name, stage in todo.items():
            self._make_ready(stage, *inspected[name])
        begin = time.monotonic()
        if todo and self.preload:
            pool.serve(self.preload)
        if len(todo) == 1 or workers == 1:
            for name, stage in todo.items():
                identities[name], spent = measured(partial(_act, name, stage.action))
                self._finish(stage, identities[name], spent)
        elif todo:

            def finish(name: str, answer: tuple[Any, Any, Spent]) -> None:
                identities[name] = answer[0]
                digests.learn(answer[1])
                self._finish(todo[name], answer[0], answer[2])

            # a worker shows nothing of its own
            waiting = Progress(f"{stages[0].name.split('/')[0]}: {len(todo)} side by side", None, after=5.0)
            work = {name: partial(_act_apart, digests.known(), name, stage.action) for name, stage in todo.items()}
            pool.run(work, min(workers, len(todo)), on_wait or waiting.show, finish, served=bool(self.preload))
        if todo:
            group = stages[0].name.split("/")[0]
            self.walls[group] = self.walls.get(group, 0.0) + time.monotonic() - begin
        return {stage.name: identities[stage.name] for stage in stages}

    def _inspect(self, stage: Stage) -> tuple[str, Any, list[str]]:
        """(state, identity, files that are not as they were left) of a stage."""
        folder = self.root / stage.name
        try:
            marker = read_marker(folder)
        except HaigoError as error:
            self._report(stage.name, f"{error.problem.rstrip('.')}: the stage is gone through again")
            return "changed", None, []
        if marker is None:
            return "to do", None, []
        if marker.inputs != (stage.wanted_formerly() if marker.former else stage.wanted()):
            return "changed", None, []
        wrong, now = digests.changed(folder, marker.outputs, full=self.full)
        for path, why in wrong.items():
            self._report(stage.name, f"{folder / path} {why}: the stage is done again")
        if not wrong and marker.former and stage.proof is not None and _proof(stage) != marker.identity:
            self._report(stage.name, f"{folder} does not hold what its marker says: the stage is done again")
            return "damaged", None, []
        if wrong:
            return "damaged", None, list(wrong)
        if stage.exact:
            self._refuse_others(stage.name, set(marker.outputs))
        if not self.dry_run:
            self._keep(stage, marker, now)
        return "unchanged", marker.identity, []

    def _keep(self, stage: Stage, marker: Marker, now: dict[str, Any]) -> None:
        """Bring the marker of a stage that is as it was left up to date, and its files to the run folder's new place."""
        folder = self.root / stage.name
        if marker.former:
            # the first edition kept no journal; its marker is the proof that these files are the stage's
            _adopt(folder)
            files.write_text(folder / INPUTS, stage.wanted())
        moved = move.texts(folder, now, self.moves) if self.moves else {}
        if (
            moved
        ):  # a kill half-way leaves files of either kind: both are told first, so that neither is taken for damage
            replace(marker, inputs=stage.wanted(), outputs={**now, **move.either(now, moved)}).write(folder)
            for path, text in moved.items():
                files.write_text(folder / path, text)
            now = digests.marks(folder, now, now)
        if now != marker.outputs:
            replace(marker, inputs=stage.wanted(), outputs=now).write(folder)

    def _make_ready(self, stage: Stage, state: str, broken: list[str]) -> None:
        folder, wanted = self.root / stage.name, stage.wanted()
        started = folder / INPUTS
        if started.is_file() and not files.made(started):
            _adopt(folder)
        files.remove(folder / DONE)
        same = started.is_file() and started.read_text(encoding="utf-8", errors="replace") == wanted
        if stage.keep:
            for path in broken:
                files.remove(folder / path)
        elif folder.exists() and (state == "damaged" or not same):
            for stayed in files.remove_tree(folder):
                self._report(stage.name, f"{stayed} is not the run's and stays")
        folder.mkdir(parents=True, exist_ok=True)
        if stage.exact:
            self._refuse_others(stage.name, {os.path.relpath(each, folder) for each in _ours(folder)})
        self.foreign[stage.name] = {each for each in digests.below(folder) if not files.made(each)}
        files.write_text(started, wanted)

    def _finish(self, stage: Stage, identity: Any, spent: Spent) -> None:
        folder = self.root / stage.name
        # what a program of the user's (`prepare`) wrote there while the stage ran is the stage's, too
        files.adopt(each for each in digests.below(folder) if each not in self.foreign[stage.name])
        marks = digests.marks(folder, [os.path.relpath(each, folder) for each in _ours(folder)])
        Marker(stage.wanted(), identity, marks, spent, former=False).write(folder)
        self.spent[stage.name] = spent
        self._report(stage.name, f"done in {spent.words()}")

    def _refuse_others(self, name: str, known: set[str]) -> None:
        folder = self.root / name
        for path in digests.below(folder):  # other files stay where they are and nothing reads them
            if path.name.endswith(".jsonl.zst") and str(path.relative_to(folder)) not in known:
                raise Refused(
                    f"{path} is not the run's, and later stages would read it with what is.",
                    "move it out of the run folder",
                )

    def _say(self, state: str, name: str) -> None:
        self.states.append((state, name))
        if not self.dry_run and state == "unchanged":
            self._report(name, "unchanged")

    def _report(self, name: str, what: str) -> None:
        print(f"  {name}: {what}", file=sys.stderr, flush=True)


def read_marker(folder: Path) -> Marker | None:
    """The marker of a finished stage, of either edition; None where there is none.

    Raises:
        HaigoError: it is damaged.
    """
    path = folder / DONE
    if not path.is_file():
        return None
    content, whole = sealed.read(path)
    inputs, outputs, seconds = content.get("inputs"), content.get("outputs"), content.get("seconds")
    cpu, steps = content.get(_CPU), content.get(_STEPS, 0)
    if not (isinstance(inputs, str) and isinstance(outputs, dict) and isinstance(seconds, int | float)):
        outputs = {"": None}
    if any(os.path.isabs(each) or ".." in Path(each).parts for each in outputs):  # another's files are no output of it
        outputs = {"": None}
    if all(digests.is_mark(each) if whole else type(each) is int for each in outputs.values()):
        measured_cpu = float(cpu) if isinstance(cpu, int | float) else None
        training, memory = float(steps) if isinstance(steps, int | float) else 0.0, content.get(_MEMORY)
        most = memory if isinstance(memory, int) else None
        spent = Spent(float(seconds or 0), measured_cpu, training, memory=most)
        return Marker(str(inputs), content.get("identity"), outputs, spent, not whole)
    raise HaigoError(f"{path} is damaged.", "delete it: the stage is then gone through again")


def _ours(folder: Path) -> list[Path]:
    return [path for path in digests.below(folder) if files.made(path)]


def _adopt(folder: Path) -> None:
    """Take over what the first edition, which kept no journal, left in a stage's folder: its marker lists it; where there is
    none, the stage was broken off, and all that is there was its own."""
    with contextlib.suppress(HaigoError):
        marker = read_marker(folder)
        if marker is None:
            files.adopt_tree(folder)
        else:
            files.adopt((folder / each for each in marker.outputs), below=folder)
    files.adopt(folder / each for each in (DONE, INPUTS, ".lock"))


def _proof(stage: Stage) -> Any:
    assert stage.proof is not None
    try:
        return stage.proof()
    except (HaigoError, OSError, KeyError, TypeError, ValueError):
        return None


def _act(name: str, action: Callable[[], Any]) -> Any:
    """A stage's action; what a room complains about is said with the run file's keys."""
    try:
        return action()
    except HaigoError as error:
        raise error.spelled(partial(keys.key_of, name)) from error


def _act_apart(known: Mapping[Any, str], name: str, action: Callable[[], Any]) -> tuple[Any, Any, Spent]:
    """The same in a process of its own, which has read what its parent has, and tells what it has read and what it took."""
    digests.learn(known)
    answer, spent = measured(partial(_act, name, action))
    return answer, digests.known(), spent


def spent_on(root: Path) -> dict[str, Spent]:
    """What every finished stage below a run folder took, from the markers."""
    markers = {marker.parent: read_marker(marker.parent) for marker in sorted(root.rglob(DONE))}
    return {str(folder.relative_to(root)): marker.spent for folder, marker in markers.items() if marker}
