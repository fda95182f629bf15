"""One save folder is trained into by one run at a time, also where the runs keep their logs in folders of their own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from haigo import files
from haigo.cli import HaigoError
from launch.train import process, runner

NAME = "run-folder"
_NAMES = ("events.jsonl", "start.json", "places.json", "output.log", NAME)


def _take_over(folder: Path) -> None:
    """Enter what a watcher of an earlier version, which kept no journal, left in a run's folder: its lock and diary say so."""
    if not files.ours(folder) and (folder / "running.lock").is_file() and (folder / "events.jsonl").is_file():
        files.adopt(folder / name for name in (*runner.NAMES, *_NAMES))
        files.adopt([folder.parent / "haigo_run.json"] if folder.name == "haigo" else [])


@contextlib.contextmanager
def alone(folder: Path, config: Mapping[str, Any], root: Path) -> Iterator[None]:
    """Hold a run's folder and its save folder for this watcher.

    Where both are not in one place, the save folder says where the run is (`haigo/run-folder`), so that a training whose
    watcher was killed is found from there too.

    Args:
        folder: the run's own.
        config: what `reader.load` gave.
        root: where relative paths start.

    Raises:
        HaigoError: another watcher has one of them, or another run trains into the save folder.
    """
    place = (root / str(config["save"]) / "haigo").resolve() if config.get("save") else folder
    with contextlib.ExitStack() as held:
        held.enter_context(files.owner(folder))
        if place != folder:
            held.enter_context(files.owner(place))
        for each in {folder, place}:
            _take_over(each)
        mark = place / NAME
        there = _named(mark, place)
        for other in {there, place} - {folder}:
            child = process.running(other, tidy=False)
            if child is not None:
                raise HaigoError(
                    f"another run trains into {place.parent} (pid {child.pid}, its logs are in {other}).",
                    f"go on watching it with --run-folder {other}, or stop it first",
                )
        if place != folder:
            files.write_text(mark, str(folder))
        yield


def _named(mark: Path, place: Path) -> Path:
    """The folder that a mark names; `place` where there is none, or where what it holds is no path."""
    with contextlib.suppress(OSError, ValueError):
        text = mark.read_text(encoding="utf-8")
        if text and "\0" not in text:
            return Path(text)
    return place
