"""The engine's small world, which the tests of swarms share."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from engine_world import base, catalogue, world  # noqa: F401
