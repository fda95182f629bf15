"""Cases that stand in files; and data for development that is not the project's: where it lies, and what a test does where it
does not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml


def data_of(test: str) -> dict[str, Any]:
    """The cases of a test file, by name: `data/x.yml` beside `test_x.py`."""
    path = Path(test)
    path = path.parent / "data" / f"{path.stem.removeprefix('test_')}.yml"
    found: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return found


def shared() -> Path:
    """HAIGO_SHARED, or `shared` beside the clone."""
    return Path(os.environ.get("HAIGO_SHARED") or Path(__file__).resolve().parents[2] / "shared")


def needed(name: str) -> Path:
    """A file or folder of the shared data; the test is skipped where it is not at hand."""
    path = shared() / name
    if not path.exists():
        pytest.skip(f"{path} is not here (HAIGO_SHARED)")
    return path
