"""Names in GPT-NeoX's save folder: `global_stepN` with `configs/` in it, and `latest`, which names one of them."""

from __future__ import annotations

import os
import re
from pathlib import Path

_TAG = re.compile(r"global_step(0|[1-9]\d*)")


def step_of(name: str) -> int | None:
    """The step of a checkpoint's folder name; None for any other name."""
    match = _TAG.fullmatch(name)
    return int(match[1]) if match else None


def steps(folder: str | os.PathLike[str]) -> list[int]:
    """The steps whose folders lie there, in order; none where there is no such folder."""
    place = Path(folder)
    if not place.is_dir():
        return []
    found = (step_of(path.name) for path in place.iterdir() if path.is_dir())
    return sorted(step for step in found if step is not None)


def latest(folder: str | os.PathLike[str]) -> str | None:
    """What `latest` names, which need not be there; None when that file is missing or empty."""
    mark = Path(folder) / "latest"
    return (mark.read_text(encoding="utf-8", errors="replace").strip() or None) if mark.is_file() else None


def kept_configs(checkpoint: str | os.PathLike[str]) -> list[Path]:
    """The config files that GPT-NeoX kept with a checkpoint; together they are the run's config."""
    return sorted(
        path for path in (Path(checkpoint) / "configs").glob("*") if path.suffix in (".yml", ".yaml", ".json")
    )
