"""Files that are either whole or not there: temporary name in the same folder, flush, rename.

Everything Haigo writes goes through `atomic`, so that a kill -9 or a full disk never leaves half a file under its real
name and never harms the file that stood there before. `owner` gives a folder to one process at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from haigo.cli import HaigoError

_CHUNK = 1 << 20


@contextlib.contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well it is flushed and renamed to `path`.

    When the block raises, the temporary file is removed and what stood at `path` is untouched.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, target)
    except OSError as error:
        if error.filename is None or error.filename == str(temporary):
            error.filename = str(target)  # the user knows the real name only
        raise
    finally:
        with contextlib.suppress(OSError):  # a read-only disk says no here too; the first error is the one to tell
            temporary.unlink()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic(path) as temporary:
        # a file name that is no UTF-8 holds lone surrogates; written as \\udc83 they come back from JSON as they were
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON (non-ASCII kept readable), atomically. NaN is refused: it is not JSON."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file.

    Raises:
        HaigoError: the file is missing or is not JSON; the sentence names the file and the line.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise HaigoError(f"{path} does not exist.", "check the path, or run the step that writes it") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        line = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise HaigoError(f"{path} is not valid JSON{line}.", "write it again with the step that makes it") from None


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Hexadecimal sha256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while chunk := handle.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def digest(value: Any) -> str:
    """Hexadecimal sha256 of a JSON value, independent of the order of its keys."""
    packed = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(packed.encode(errors="surrogatepass")).hexdigest()


def remove_leftovers(folder: str | os.PathLike[str], *, below: bool = True) -> None:
    """Delete the temporary files that a killed process left in `folder`, and `below` it too. Hold its lock while calling."""
    for stale in Path(folder).rglob(".*.tmp") if below else Path(folder).glob(".*.tmp"):
        with contextlib.suppress(FileNotFoundError):
            stale.unlink()


@contextlib.contextmanager
def owner(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Hold `folder` for this process alone; the lock goes with the process, also after kill -9.

    Raises:
        HaigoError: another process holds it.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    with open(place / ".lock", "a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            who = handle.read().strip()
            raise HaigoError(
                f"{place} is in use by another process{f' ({who})' if who else ''}.",
                "wait for it to end, stop it, or choose another folder",
            ) from None
        with contextlib.suppress(OSError):  # on a full disk the lock holds all the same, only without a name
            handle.truncate(0)
            handle.write(f"pid {os.getpid()}")
            handle.flush()
        yield


def require_space(folder: str | os.PathLike[str], need_bytes: int, what: str) -> None:
    """Refuse to start what will not fit.

    Raises:
        HaigoError: less than `need_bytes` are free on the disk that holds `folder`.
    """
    place = Path(folder)
    while not place.exists():
        place = place.parent
    stat = os.statvfs(place)
    free = stat.f_bavail * stat.f_frsize
    if free < need_bytes:
        raise HaigoError(
            f"{what} needs about {need_bytes / 1e6:,.0f} MB, and {folder} has {free / 1e6:,.0f} MB free.",
            "free some space, or name a folder on a larger disk",
        )
