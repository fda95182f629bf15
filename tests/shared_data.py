"""Data for development that is not the project's: where it lies, and what a test does where it does not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def shared() -> Path:
    """HAIGO_SHARED, or `shared` beside the clone."""
    return Path(os.environ.get("HAIGO_SHARED") or Path(__file__).resolve().parents[2] / "shared")


def needed(name: str) -> Path:
    """A file or folder of the shared data; the test is skipped where it is not at hand."""
    path = shared() / name
    if not path.exists():
        pytest.skip(f"{path} is not here (HAIGO_SHARED)")
    return path
