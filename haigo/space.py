"""Whether a disk has room for what is to be written."""

from __future__ import annotations

import os
from pathlib import Path

from haigo.cli import HaigoError


def require_space(folder: str | os.PathLike[str], need_bytes: int, what: str) -> None:
    """Refuse to start what will not fit.

    Raises:
        HaigoError: less than `need_bytes` are free on the disk that holds `folder`.
    """
    place = Path(folder)
    while not place.exists():
        place = place.parent
    usage = os.statvfs(place)
    free = usage.f_bavail * usage.f_frsize
    if free < need_bytes:
        raise HaigoError(
            f"{what} needs about {need_bytes / 1e6:,.0f} MB, and {folder} has {free / 1e6:,.0f} MB free.",
            "free some space, or name a folder on a larger disk",
        )
