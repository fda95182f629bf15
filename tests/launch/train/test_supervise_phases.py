"""A run in phases under `launch.deepy`: one command, whatever happens before, at and after the switch."""

from __future__ import annotations

import json
import shutil
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
from neox_world import World
from test_supervise import Run

from haigo import cli, yamlfile
from launch import configs, preflight
from launch import samples as samples_verb
from neox_configs import phases, reader

STEPS, SWITCH, EVERY = 20, 12, 5
MIXTURE = """
phases:
  - {tokens: 12288, weights: {news: 0.75, code: 0.25}}
  - {tokens: 8192, weights: {news: 0.2, code: 0.8}, schedule: decay}
"""


class Phases(Run):
    """As `Run`; every start of a phase gets the plan of its config."""

    def plan(self, *faults: dict[str, Any] | None, **more: Any) -> None:
        told = {"save": str(self.save), "every": EVERY, "faults": faults, **more}
        of_each = {"phase-1": {**told, "iters": SWITCH}, "phase-2": {**told, "iters": STEPS}}
        self.monkeypatch.setenv("FAKE_TRAINING", json.dumps({"by_config": of_each}))

    def phases(self) -> list[Path]:
        return [path for (path,) in phases.expand([self.config])]

    def started(self) -> list[str]:
        return [Path(call["argv"][1]).stem for call in self.calls]

    def restored(self) -> list[int]:
        record = json.loads((self.save / "haigo_run.json").read_text())
        return [start["step"] for start in record["starts"]]


@pytest.fixture
def run(fake_neox: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> Phases:
    (world.root / "phases.yml").write_text(MIXTURE)
    output = world.root / "run" / "tiny.yml"
    words = ["--model", "0-1M", "--cluster", "local-cpu", "--catalogue", world.catalogue, "--output", output]
    assert cli.run(configs.main, list(map(str, [*words, "--mixture", world.root / "phases.yml"]))) == 0
    with socket.socket() as one:  # 29500 may be another run's on this machine
        one.bind(("", 0))
        port = one.getsockname()[1]
    for (path,) in phases.expand([output]):
        yamlfile.write(path, {**yamlfile.read(path), "checkpoint_factor": EVERY, "master_port": port})
    shutil.copy(Path(__file__).parents[1] / "fake_training.py", fake_neox / "deepy.py")
    return Phases(fake_neox, output, monkeypatch)


def test_one_command_trains_all_phases(run: Phases, capsys: pytest.CaptureFixture[str]) -> None:
    run.plan()
    assert run.go() == 0
    assert run.started() == ["phase-1", "phase-2"] and run.steps() == list(range(1, STEPS + 1))
    assert run.restored() == [0, SWITCH] and run.latest() == f"global_step{STEPS}"
    capsys.readouterr()
    assert run.go() == 0
    said = capsys.readouterr().out
    assert f"these {SWITCH} steps are done" in said and "this run is finished" in said
    assert run.started() == ["phase-1", "phase-2"]


@pytest.mark.parametrize(
    ("faults", "steps"),
    [
        ([{"kind": "kill", "at": 8}, None, None], [*range(1, 9), *range(6, 21)]),
        ([None, {"kind": "exit", "code": 247, "at": 13}, None], [*range(1, 14), *range(13, 21)]),
        ([None, {"kind": "kill", "at": 18}, None], [*range(1, 19), *range(16, 21)]),
    ],
    ids=["before", "at", "after"],
)
def test_a_crash_around_the_switch(run: Phases, faults: list[dict[str, Any] | None], steps: list[int]) -> None:
    run.plan(*faults)
    assert run.go() == 0
    assert run.steps() == steps


def test_a_watcher_killed_in_a_later_phase_is_replaced_there(run: Phases) -> None:
    run.plan(gate=str(run.gate), pause=0.05)
    run.gate.parent.mkdir(parents=True, exist_ok=True)
    first = run.start()
    run.wait_for_step(7)
    first.send_signal(signal.SIGKILL)
    first.wait()
    run.gate.write_text("")
    second = run.start()
    run.wait_for_step(SWITCH + 1)
    run.gate.unlink()
    second.send_signal(signal.SIGKILL)
    second.wait()
    said = run.to_the_end(third := run.start())
    assert third.returncode == 0 and "still trains" in said
    assert run.started() == ["phase-1", "phase-2"] and run.steps() == list(range(1, STEPS + 1))


def test_a_lost_checkpoint_takes_the_run_back_to_its_phase(run: Phases, capsys: pytest.CaptureFixture[str]) -> None:
    run.plan()
    assert run.go() == 0
    for step in (STEPS, 15, SWITCH):
        shutil.rmtree(run.save / f"global_step{step}")
    assert run.go() == 0
    assert run.started() == ["phase-1", "phase-2"] * 2 and run.restored() == [0, SWITCH, 10, SWITCH]


def test_a_phase_is_not_started_from_elsewhere(run: Phases, capsys: pytest.CaptureFixture[str]) -> None:
    run.plan()
    first, second = run.phases()
    run.config = second
    assert run.go() == 3
    assert "is at step 0, and this config is of the phase from step 12 to 20" in capsys.readouterr().err
    assert run.calls == []
    assert cli.run(preflight.main, [str(second), "--gpus", "1"]) == 0
    assert "warn phase: the phase goes from step 12 to 20, and the run is at step 0" in capsys.readouterr().out
    assert first.is_file()


@pytest.mark.parametrize("key", ["train_iters", "seed", "train_data_weights", "train_data_paths"])
def test_a_phase_whose_config_was_changed_is_refused(run: Phases, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    run.plan()
    first, second = (yamlfile.read(path) for path in run.phases())
    others = {"train_iters": 13, "seed": 5, "train_data_weights": [0.5, 0.5]}
    others["train_data_paths"] = [first["train_data_paths"][0], second["train_data_paths"][1]]
    yamlfile.write(run.phases()[0], {**first, key: others[key]})
    assert run.go() == 3
    assert f"{key} is not what the datasets of this phase were made for" in capsys.readouterr().err


def test_a_later_phase_may_change_before_it_begins_and_a_trained_one_may_not(
    run: Phases, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    def again(text: str) -> None:
        (world.root / "phases.yml").write_text(text)
        words = ["--model", "0-1M", "--cluster", "local-cpu", "--catalogue", world.catalogue, "--output", run.config]
        assert cli.run(configs.main, list(map(str, [*words, "--mixture", world.root / "phases.yml"]))) == 0
        for path in run.phases():
            yamlfile.write(path, {**yamlfile.read(path), "checkpoint_factor": EVERY, "master_port": port})

    port = yamlfile.read(run.phases()[0])["master_port"]
    run.plan({"kind": "says", "at": 8, "text": "ValueError: no", "code": 1})
    assert run.go("--max-restarts", "0") == 1
    again(MIXTURE.replace("0.2, code: 0.8", "0.1, code: 0.9"))
    run.plan(None, None, None, None)
    again(MIXTURE.replace("0.75, code: 0.25", "0.6, code: 0.4"))
    assert run.go() == 3
    assert "a phase that was trained is another one than before" in capsys.readouterr().err
    again(MIXTURE.replace("0.2, code: 0.8", "0.1, code: 0.9"))
    assert run.go() == 0
    assert yamlfile.read(run.phases()[1])["train_data_weights"] == [6 / 64, 58 / 64]


def test_what_a_phase_reads_is_shown_from_its_begin(run: Phases, capsys: pytest.CaptureFixture[str]) -> None:
    second = run.phases()[1]
    capsys.readouterr()
    assert samples_verb.main([str(second), "--first", "8", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    config = reader.load(second)
    assert samples_verb.main([str(run.config), "--first", str(SWITCH * 8 + 8), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[-8:] == shown
    assert shown[0]["step"] == SWITCH and shown[0]["sample"] == SWITCH * config["train_batch_size"]
