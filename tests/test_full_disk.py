"""A disk that takes no more, here by a limit: the file that was written is named, and the same command finishes the work."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_house
from fuzzing import wrong

ROOT = Path(__file__).parent.parent
CASES = [
    ("preprocess.fetch", 3000, "fetched/.fetch/state.sqlite cannot be read or written"),
    ("launch.hostfile", 100, "hosts/.haigo."),
    ("mixer.design", 150, "design/ratios.csv would become larger than a file may be here"),
]


def run(verb, words, place, limit=None):
    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        [sys.executable, "-m", verb, *words], cwd=place, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, preexec_fn=limited if limit else None,
    )  # fmt: skip
    assert not wrong(verb, done.returncode, done.stderr)
    return done.returncode, done.stderr


@pytest.mark.parametrize(("verb", "limit", "said"), CASES)
def test_a_full_disk_is_named(tmp_path, verb, limit, said):
    tiny_house.build(tmp_path)
    step = next(each for each in tiny_house.STEPS if each.verb == verb)
    words = step.words.replace("{out}", step.out).split()
    code, told = run(verb, words, tmp_path, limit)
    assert code == 2 and said in told, told
    assert run(verb, words, tmp_path)[0] == 0
    assert not list(tmp_path.rglob(".haigo.tmp"))
