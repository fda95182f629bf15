"""The small world of the engine's tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from engine_world import base, catalogue, world  # noqa: F401
