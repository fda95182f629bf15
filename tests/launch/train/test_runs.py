"""launch.runs: a table of runs against processes that train, fail and are killed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from neox_world import REPO, World
from shared_data import data_of

from haigo import cli, files, yamlfile
from launch import runs, slurm
from launch.plan.config import write_config
from launch.plan.options import ConfigOptions
from launch.train import runner, runs_table

DATA = data_of(__file__)


class Several:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        self.table = folder / "table.yml"

    def save(self, name: str) -> Path:
        return self.folder / "checkpoints" / name

    def plan(self, **runs_of: dict[str, Any]) -> None:
        plans = {
            name: {"save": str(self.save(name)), "iters": 20, "every": 6, **more} for name, more in runs_of.items()
        }
        self.monkeypatch.setenv("FAKE_TRAINING", json.dumps({"by_config": plans}))

    def calls(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / "checkpoints" / f"{name}.calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "launch.runs", str(self.table), *words],
            cwd=REPO,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait_for_steps(self, *names: str, step: int = 2) -> None:
        deadline = time.monotonic() + 120
        logs = [self.folder / "table.runs" / name / "output.log" for name in names]
        while time.monotonic() < deadline:
            if all(log.exists() and f"iteration {step:8d}/" in log.read_text() for log in logs):
                return
            time.sleep(0.05)
        raise AssertionError([log.with_name("watch.log").read_text() for log in logs])


@pytest.fixture
def several(fake_neox: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> Several:
    folder = world.root / "several"
    for name in ("a", "b", "c"):
        output = folder / f"{name}.yml"
        arguments = {"mixture": world.mixture, "catalogue": world.catalogue, "tokens": 20_480}
        write_config(ConfigOptions(output=output, model="0-1M", cluster="local-cpu", **arguments))
        yamlfile.write(output, {**yamlfile.read(output), "checkpoint_factor": 6})
    shutil.copy(Path(__file__).parents[1] / "fake_training.py", fake_neox / "deepy.py")
    # only GPT-NeoX's interpreter may see the stubs, Haigo's own child must not
    python = fake_neox / "python"
    site = shlex.quote(str(fake_neox / "site"))
    python.write_text(f'#!/bin/sh\nPYTHONPATH={site} exec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv("GPT_NEOX_PYTHON", str(python))
    monkeypatch.delenv("PYTHONPATH")
    made = Several(folder, monkeypatch)
    rows = [{"name": name, "config": f"{name}.yml", "gpus": gpus, "options": "--restart-wait 0.1 --max-restarts 1"}
            for name, gpus in (("a", "0"), ("b", "1"), ("c", "0"))]  # fmt: skip
    yamlfile.write(made.table, {"runs": rows})
    return made


def test_one_that_fails_does_not_stop_the_others(several: Several, capsys: pytest.CaptureFixture[str]) -> None:
    several.plan(
        a={"faults": [{"kind": "exit", "code": 247, "at": 8}]},
        b={"faults": [{"kind": "says", "text": "OSError: [Errno 28] No space left on device", "code": 1}]},
        c={},
    )
    assert cli.run(runs.main, [str(several.table), "--json"]) == 4
    shown = capsys.readouterr()
    rows = {row["name"]: row for row in json.loads(shown.out)}
    assert [rows[name]["state"] for name in "abc"] == ["finished", "failed", "finished"]
    assert rows["b"]["code"] == 1 and rows["a"]["step"] == rows["c"]["step"] == 20
    assert "1 of 3 runs failed: b" in shown.err
    assert len(several.calls("a")) == 2 and len(several.calls("b")) == 1
    ports = [yamlfile.read(several.folder / "table.runs" / name / "place.yml")["master_port"] for name in "abc"]
    assert len(set(ports)) == 3
    # the same command again: only what failed is started
    several.plan(a={}, b={}, c={})
    assert cli.run(runs.main, [str(several.table)]) == 0
    assert [len(several.calls(name)) for name in "abc"] == [2, 2, 1]
    assert cli.run(runs.main, [str(several.table), "--status", "--json"]) == 0
    assert {row["state"] for row in json.loads(capsys.readouterr().out)} == {"finished"}


def test_another_run_of_the_machine_has_the_port(several: Several) -> None:
    """The row's port is no wish of the user's: a free one is taken, as by a run without a table."""
    several.plan(a={}, b={}, c={})
    with socket.socket() as other:
        with contextlib.suppress(OSError):  # in use already: all the same
            other.bind(("", runs_table.FIRST_PORT))
            other.listen()
        assert cli.run(runs.main, [str(several.table)]) == 0
    assert [len(several.calls(name)) for name in "abc"] == [1, 1, 1]


def test_kill_9_of_the_watch_and_the_same_command_again(several: Several) -> None:
    several.plan(a={"pause": 0.4}, b={"pause": 0.4}, c={})
    first = several.start()
    several.wait_for_steps("a", "b")
    first.kill()
    first.communicate(timeout=300)
    second = several.start()
    said = second.communicate(timeout=120)[0]
    assert second.returncode == 0, said
    assert [len(several.calls(name)) for name in "abc"] == [1, 1, 1]
    # c shares a GPU with a, and waited for it
    assert said.index("a: finished") < said.index("c: started")


def test_sigterm_stops_all(several: Several) -> None:
    several.plan(a={"pause": 0.4}, b={"pause": 0.4}, c={})
    process = several.start()
    several.wait_for_steps("a", "b")
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 143, said
    assert all(runner.start_time(several.calls(name)[0]["pid"]) == "" for name in "ab")
    assert several.calls("c") == []


def test_stop_from_elsewhere(several: Several, capsys: pytest.CaptureFixture[str]) -> None:
    several.plan(a={"pause": 0.4}, b={"pause": 0.4}, c={"pause": 0.4})
    process = several.start("--at-once", "1")
    several.wait_for_steps("a")
    process.kill()
    process.communicate(timeout=300)
    assert cli.run(runs.main, [str(several.table), "--stop", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["state"] for row in rows] == ["failed", "waiting", "waiting"] and rows[0]["code"] == 143
    assert runner.start_time(several.calls("a")[0]["pid"]) == ""


def test_stop_beside_a_watch_that_would_start_the_next(several: Several, capsys: pytest.CaptureFixture[str]) -> None:
    several.plan(a={"pause": 0.4}, b={"pause": 0.4}, c={"pause": 0.4})
    process = several.start()
    several.wait_for_steps("a", "b")
    assert cli.run(runs.main, [str(several.table), "--stop", "--json"]) == 0
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 130, said
    rows = json.loads(capsys.readouterr().out)
    assert [row["state"] for row in rows] == ["failed", "failed", "waiting"]
    assert several.calls("c") == [] and not (several.folder / "table.runs" / runs_table.STOP).exists()
    # a mark that a killed --stop has left behind stops nothing
    files.write_text(several.folder / "table.runs" / runs_table.STOP, "")
    several.plan(a={}, b={}, c={})
    assert cli.run(runs.main, [str(several.table)]) == 0


def test_status_stops_nothing(several: Several, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where a run's keeper was killed, and its watcher and its training are still there."""
    several.plan(a={"pause": 0.4})
    rows = [{"name": "a", "config": "a.yml", "gpus": "0", "options": "--restart-wait 0.1"}]
    yamlfile.write(several.table, {"runs": rows})
    process = several.start()
    several.wait_for_steps("a")
    process.kill()
    process.communicate(timeout=300)
    keeper_of_watcher = json.loads((several.folder / "table.runs" / "a" / "child.json").read_text())["pid"]
    os.kill(keeper_of_watcher, signal.SIGKILL)
    assert cli.run(runs.main, [str(several.table), "--status", "--json"]) == 0
    (call,) = several.calls("a")
    assert runner.start_time(call["pid"])
    assert cli.run(runs.main, [str(several.table)]) == 0
    assert sum(len(one["argv"]) > 0 for one in several.calls("a")) <= 2 and "finished" in capsys.readouterr().err


def test_words_and_files_for_a_node_of_ones_own(several: Several, tmp_path: Path) -> None:
    rows = [{"name": "x", "config": ["a.yml"], "host": "node7", "slots": 4, "options": ["--max-restarts", "0"]}]
    yamlfile.write(several.table, {"runs": rows})
    (entry,) = runs_table.read(several.table)
    words = runs_table.command(entry, 3, tmp_path, ["python"])
    assert yamlfile.read(tmp_path / "place.yml") == {"master_port": 29503, "force_multi": True}
    assert (tmp_path / "hostfile").read_text() == "node7 slots=4\n"
    assert words[-6:] == ["--hostfile", str(tmp_path / "hostfile"), "--log", str(tmp_path / "output.log"),
                          "--max-restarts", "0"]  # fmt: skip


def test_csv_and_yaml_say_the_same(several: Several) -> None:
    (several.folder / "t.csv").write_text('name,config,gpus,options\na,a.yml,"0,1",--max-restarts 1\nb,b.yml,,\n')
    rows = [
        {"name": "a", "config": "a.yml", "gpus": "0,1", "options": "--max-restarts 1"},
        {"name": "b", "config": "b.yml"},
    ]
    yamlfile.write(several.folder / "t.yml", {"runs": rows})
    first, second = runs_table.read(several.folder / "t.csv"), runs_table.read(several.folder / "t.yml")
    assert first == second
    assert first[0].meets(first[1])


@pytest.mark.parametrize(("row", "said"), DATA["bad_rows"])
def test_bad_rows(several: Several, capsys: pytest.CaptureFixture[str], row: dict[str, Any], said: str) -> None:
    yamlfile.write(several.table, {"runs": [row]})
    assert cli.run(runs.main, [str(several.table)]) == 2
    assert said in capsys.readouterr().err
    assert not (several.folder / "table.runs").exists()


def test_two_runs_into_one_folder(several: Several, capsys: pytest.CaptureFixture[str]) -> None:
    yamlfile.write(several.table, {"runs": [{"name": "x", "config": "a.yml"}, {"name": "y", "config": "a.yml"}]})
    assert cli.run(runs.main, [str(several.table)]) == 2
    assert "save to the same folder" in capsys.readouterr().err


def test_two_runs_into_one_folder_under_two_names(several: Several, capsys: pytest.CaptureFixture[str]) -> None:
    """The folder counts, not how it is written; jobs of an array are runs like those of a table."""
    content = yamlfile.read(several.folder / "a.yml")
    (several.folder / "link").symlink_to(several.folder)
    paths = []
    for name, save in (("one", several.folder / "s"), ("two", several.folder / "link" / "s/")):
        paths.append(str(several.folder / f"{name}.yml"))
        yamlfile.write(paths[-1], {**content, "save": f"{save}", "load": f"{save}"})
    yamlfile.write(several.table, {"runs": [{"name": Path(each).stem, "config": each} for each in paths]})
    assert cli.run(runs.main, [str(several.table)]) == 2
    assert "one and two save to the same folder" in capsys.readouterr().err
    words = ["--nodes", "1", "--gpus-per-node", "1", "--time", "10", "-o", str(several.folder / "j.sbatch"), "--array"]
    assert cli.run(slurm.main, [*paths, *words]) == 2
    assert "two.yml (run 1) save to the same folder" in capsys.readouterr().err


def test_odd_words_stay_words(several: Several, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = random.Random(3)
    for number in range(50):
        odd = "".join(rng.choice("ab $`'\"\\;&|<>(){}*?~#!\n\t日") for _ in range(12)).strip() or "x"
        yamlfile.write(several.table, {"runs": [{"name": "a", "config": "a.yml", "options": ["--wandb_group", odd]}]})
        assert cli.run(runs.main, [str(several.table), "--folder", str(tmp_path / "f"), "--dry-run"]) == 0
        words = shlex.split(capsys.readouterr().out)
        assert words[-2:] == ["--wandb_group", odd], number
    assert not (tmp_path / "f").exists() and os.listdir(several.folder)
