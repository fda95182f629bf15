"""A log for every rank, and all of them in one: DeepSpeed's `--enable_each_rank_log`, for which GPT-NeoX has no key.

Run as a program by GPT-NeoX's interpreter in its checkout, `rank_logs.py FOLDER deepy.py train.py ...` starts the unchanged
deepy.py with that flag among the runner's words. DeepSpeed honours it for a local launch only; through pdsh or srun
the ranks' output stays one stream. Imported, it gathers the files' lines with `[rank N] ` before them.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path

_PIECE = 1 << 18
_FILE = re.compile(r"^\d+_rank(\d+)\.log$")


def main() -> None:
    folder, script, words = sys.argv[1], sys.argv[2], sys.argv[3:]
    # not this file's folder: its modules have names of their own that GPT-NeoX's imports must not meet
    sys.path[0] = os.getcwd()
    sys.argv = [script, *words]
    import runpy

    import deepspeed.launcher.runner as runner  # type: ignore[import-not-found,unused-ignore]

    plain = runner.main

    def with_logs(args: list[str] | None = None) -> None:
        plain(["--enable_each_rank_log", folder, *(args or [])])

    runner.main = with_logs
    runpy.run_path(script, run_name="__main__")


class Gatherer:
    """Appends what the ranks of one start write to the run's log.

    Args:
        folder: where DeepSpeed writes; files that are there already belong to earlier starts.
        log: the combined log.
        known: files of earlier starts; those that are there now when None.
    """

    def __init__(self, folder: Path, log: Path, known: Iterable[str] | None = None) -> None:
        self.folder, self.log = folder, log
        self.known = self.names() if known is None else set(known)
        self._places: dict[str, int] = {}

    def names(self) -> set[str]:
        """The rank logs that are there."""
        return {path.name for path in self.folder.glob("*.log")} if self.folder.is_dir() else set()

    def gather(self, end: bool = False) -> bool:
        """Copy the lines that have come since the last call, whole lines only (all of them at the `end`), and of every file no
        more than a bounded piece.

        Returns:
            Whether there is more to copy.
        """
        gathered, places, more = [], dict(self._places), False
        for name in sorted(self.names() - self.known):
            match = _FILE.match(name)
            if match is None:
                continue
            with open(self.folder / name, "rb") as handle:
                at = places.get(name, 0)
                at = at if 0 <= at <= os.fstat(handle.fileno()).st_size else 0  # cut meanwhile, or noted wrongly
                handle.seek(at)
                data = handle.read(_PIECE)
            full = len(data) == _PIECE
            more = more or full
            cut = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
            if (end and not full) or (full and not cut):  # a piece without any line end: it is not waited for
                cut = len(data)
            places[name] = at + cut
            gathered += [b"[rank %s] %s\n" % (match[1].encode(), line) for line in data[:cut].splitlines()]
        if gathered:
            from haigo import files  # late: this file is also run by GPT-NeoX's interpreter, which has no Haigo

            with files.append(self.log, anyones=True, buffering=0) as handle:
                handle.write(b"".join(gathered))
        self._places = places  # after the writing: what a full disk refused is gathered again
        return more

    @property
    def places(self) -> dict[str, int]:
        """How far each file has been read, for a watcher that comes after this one."""
        return dict(self._places)

    @places.setter
    def places(self, given: dict[str, int]) -> None:
        self._places = dict(given)


if __name__ == "__main__":
    main()
