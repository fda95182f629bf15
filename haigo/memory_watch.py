"""The most memory that this process and all its descendants take together while something runs.

What looks is a process of its own (this file, run by a bare interpreter): a thread would hinder forks. It ends with its parent.
Counted is the proportional set size of each process, so that pages which several share count once and files in the system's
cache do not. Linux only.
"""

import os
import select
import subprocess
import sys
import time

_EVERY_S = 0.5
_SHARE = 20
"""Looking takes a twentieth of a core at most."""


class Watch:
    """Looks from its making until `most` is asked for, twice a second, and once more then."""

    def __init__(self) -> None:
        command = [sys.executable, "-I", "-S", __file__, str(os.getpid())]
        self._process: subprocess.Popen[bytes] | None = None
        if sys.platform == "linux" and taken(os.getpid()) is not None:
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, start_new_session=True)

    def most(self) -> int | None:
        """Bytes at most; None where the system does not say."""
        if self._process is None:
            return None
        said, _ = self._process.communicate(b"\n")
        return int(said) if said.strip().isdigit() else None

    def stop(self) -> None:
        """End it without an answer."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


def taken(root: int, without: int = 0) -> int | None:
    """Bytes that a process and its descendants take now; None where the system does not say.

    Args:
        without: a descendant that does not count.
    """
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else []:
        if name.isdigit() and (stat := _read(f"/proc/{name}/stat")):
            parents.setdefault(int(stat.rpartition(b")")[2].split()[1]), []).append(int(name))
    family = [root]
    for each in family:
        family += [child for child in parents.get(each, []) if child != without]
    sizes = [_size(each) for each in family]
    return None if sizes[0] is None else sum(each or 0 for each in sizes)


def _size(process: int) -> int | None:
    for line in _read(f"/proc/{process}/smaps_rollup").splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * 1024
    return None


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as handle:
            return handle.read()
    except OSError:  # it has ended, or is another user's
        return b""


def main(parent: int) -> None:
    """Look until a line comes, and say the most; without an answer where the parent has ended."""
    most = 0
    while os.getppid() == parent:
        begin = time.monotonic()
        most = max(most, taken(parent, os.getpid()) or 0)
        wait = max(_EVERY_S, _SHARE * (time.monotonic() - begin))
        if select.select([0], [], [], wait)[0]:
            if os.read(0, 1):
                print(max(most, taken(parent, os.getpid()) or 0))
            return


if __name__ == "__main__":
    main(int(sys.argv[1]))
