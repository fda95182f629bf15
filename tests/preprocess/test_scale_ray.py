"""preprocess.scale on a real Ray of this machine, with a worker killed: the bytes of the pool; skips where Ray is absent.

RAY_PYTHON may name an interpreter that has Ray, with what `preprocess` needs.
"""

import importlib.util
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from haigo import cli, yamlfile
from preprocess import scale

ROOT = Path(__file__).resolve().parents[2]


def run_file(model_dir, place, **more):
    rng = random.Random(6)
    (place / "raw").mkdir(parents=True)
    for number in range(4):
        rows = [{"text": "".join(rng.choices("日本の山は雨である質問。", k=90))} for _ in range(8)]
        (place / "raw" / f"{number}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    keys = {"corpus": "x", "inputs": ["raw"], "output": "out", "tokenizer": str(model_dir), "clean": {"min_chars": 10}}
    yamlfile.write(place / "run.yml", {**keys, "tasks": 2, "resplit": {}, **more})


def datasets(place):
    return {path.name: path.read_bytes() for path in place.glob("out/*_document.*")}


@pytest.mark.slow
def test_ray_gives_the_bytes_of_the_pool_and_a_killed_task_stops_no_other(model_dir, tmp_path, monkeypatch):
    python = os.environ.get("RAY_PYTHON") or (sys.executable if importlib.util.find_spec("ray") else None)
    if python is None:
        pytest.skip("Ray is not installed (pip install 'haigo[ray]', or RAY_PYTHON)")
    run_file(model_dir, tmp_path / "pool")
    monkeypatch.chdir(tmp_path / "pool")
    assert scale.main(["run.yml"]) == 0
    run_file(model_dir, tmp_path / "ray", executor="ray", ray={"num_cpus": 0.5, "memory": 100_000_000})
    patch = tmp_path / "patch"
    patch.mkdir()
    # in every process of Ray's: whoever cleans the third file for the first time is killed
    (patch / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        f"mark = {str(tmp_path / 'killed')!r}\n"
        "def hook(event, args):\n"
        "    if event == 'open' and str(args[0]).endswith('raw/2.jsonl') and 'default_worker' in ' '.join(sys.argv[:1]):\n"
        "        try:\n"
        "            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))\n"
        "        except FileExistsError:\n"
        "            return\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.addaudithook(hook)\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{patch}:{ROOT}", "HAIGO_QUIET": "1", "RAY_ADDRESS": "local"}

    def call():
        words = [python, "-m", "preprocess.scale", "run.yml"]
        return subprocess.run(
            words, cwd=tmp_path / "ray", env=environment, capture_output=True, text=True, timeout=240, check=False
        )

    first = call()
    assert first.returncode == cli.FAILED and (tmp_path / "killed").exists(), first.stderr[-3000:]
    assert "1 of 2 tasks failed" in first.stderr and "the same command again" in first.stderr
    second = call()
    assert second.returncode == 0, second.stderr[-3000:]
    assert datasets(tmp_path / "ray") == datasets(tmp_path / "pool") != {}


def test_without_ray(model_dir, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    run_file(model_dir, tmp_path)
    monkeypatch.chdir(tmp_path)
    assert cli.run(scale.main, ["run.yml", "--executor", "ray"]) == cli.BAD_INPUT
    assert "pip install 'haigo[ray]'" in capsys.readouterr().err
