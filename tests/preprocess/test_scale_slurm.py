"""All steps as array jobs of a real Slurm, with kill -9 of tasks: benchmarks/scale_slurm.py, in small."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_killed_tasks_on_slurm_and_the_same_command_give_the_bytes_of_one_machine(
    slurm, model_dir, monkeypatch, capsys
):
    if importlib.util.find_spec("datatrove") is None or not Path(sys.executable).with_name("activate").is_file():
        pytest.skip("datatrove is not installed (pip install 'haigo[data]'), or not in a virtual environment")
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import scale_slurm

    words = ["--shards", "30", "--tasks", "2", "--kills", "3", "--model", str(model_dir)]
    said = (scale_slurm.main(words), capsys.readouterr().out)
    assert said[0] == 0, said[1]
    assert "the same as one machine" in said[1] and "a task killed in each of 3 steps" in said[1]
