"""The guides' readers have what the tests of several folders make: servers, checkpoints, evaluation files."""

import sys
from pathlib import Path

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS / name) for name in ("launch", "launch/neox", "launch/plan", "eval_harness", "preprocess")]
