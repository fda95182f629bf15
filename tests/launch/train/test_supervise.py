"""The supervised run against processes that crash, hang, lie, and are killed; their log lines and files are GPT-NeoX's."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from neox_world import REPO, World
from shared_data import data_of

from haigo import cli, yamlfile
from launch import deepy
from launch.plan.config import write_config
from launch.plan.options import ConfigOptions
from launch.train import runner

DATA = data_of(__file__)

ITERS, EVERY = 20, 6


class Run:
    """A config, a fake GPT-NeoX that misbehaves, and what came of it."""

    def __init__(self, root: Path, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.config, self.monkeypatch = root, config, monkeypatch
        self.save = config.parent / "checkpoints" / "tiny"

    def plan(self, *faults: dict[str, Any] | None, **more: Any) -> None:
        told = {"save": str(self.save), "iters": ITERS, "every": EVERY, "faults": faults, **more}
        self.monkeypatch.setenv("FAKE_TRAINING", json.dumps(told))

    def go(self, *words: str) -> int:
        return cli.run(deepy.main, ["train.py", str(self.config), "--restart-wait", "0.1", *words])

    def start(self, *words: str) -> subprocess.Popen[str]:
        """The same in a process of its own."""
        environment = dict(os.environ)
        site = environment["PYTHONPATH"]
        environment["PYTHONPATH"] = os.pathsep.join([site, str(REPO)])
        # stubs for GPT-NeoX's packages stand on PYTHONPATH; Haigo itself must not see them
        code = (
            f"import sys; sys.path.remove({site!r}); from haigo import cli; from launch import deepy; "
            "raise SystemExit(cli.run(deepy.main, sys.argv[1:]))"
        )
        return subprocess.Popen(
            [sys.executable, "-c", code, "train.py", str(self.config), "--restart-wait", "0.1", *words],
            env=environment,
            cwd=REPO,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )

    @property
    def calls(self) -> list[dict[str, Any]]:
        path = self.save.parent / "tiny.calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def log(self) -> str:
        return (self.save / "haigo" / "output.log").read_text()

    def steps(self) -> list[int]:
        return [int(step) for step in re.findall(r"iteration\s+(\d+)/", self.log)]

    def wait_for_step(self, step: int) -> None:
        deadline = time.monotonic() + 240
        path = self.save / "haigo" / "output.log"
        while time.monotonic() < deadline:
            if path.exists() and f"iteration {step:8d}/" in path.read_text():
                return
            time.sleep(0.05)
        raise AssertionError(f"step {step} did not come")

    @property
    def gate(self) -> Path:
        """A file that a run waits for after its seventh step, where its plan names it."""
        return self.save.parent / "go on"

    def to_the_end(self, haigo: subprocess.Popen[str]) -> str:
        """Open the gate when a watcher has said that it watches; all that it says."""
        assert haigo.stderr is not None
        said = ""
        while "still trains" not in said and (line := haigo.stderr.readline()):
            said += line
        self.gate.write_text("")
        said += haigo.stderr.read()
        haigo.wait(timeout=300)
        return said

    def latest(self) -> str:
        return (self.save / "latest").read_text()


@pytest.fixture
def run(fake_neox: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> Run:
    output = world.root / "run" / "tiny.yml"
    arguments = {"mixture": world.mixture, "catalogue": world.catalogue, "tokens": 20_480}
    write_config(ConfigOptions(output=output, model="0-1M", cluster="local-cpu", **arguments))
    with socket.socket() as one:  # 29500 may be another run's on this machine
        one.bind(("", 0))
        port = one.getsockname()[1]
    yamlfile.write(output, {**yamlfile.read(output), "checkpoint_factor": EVERY, "master_port": port})
    shutil.copy(Path(__file__).parents[1] / "fake_training.py", fake_neox / "deepy.py")
    return Run(fake_neox, output, monkeypatch)


def gone(pid: int) -> bool:
    return runner.start_time(pid) == ""


def test_a_run_without_trouble(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.plan()
    assert run.go() == 0
    assert run.steps() == list(range(1, ITERS + 1))
    said = capsys.readouterr().err
    assert "started from the beginning" in said and "finished: step 20, loss 2.1180." in said
    record = json.loads((run.save / "haigo_run.json").read_text())
    assert record["stream"]["train_batch_size"] == 8 and record["starts"][0]["consumed_samples"] == 0
    assert [one["weight"] for one in record["stream"]["corpora"]] == [0.75, 0.25]


def test_a_killed_run_goes_on_from_its_last_checkpoint(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.plan({"kind": "kill", "at": 8}, {"kind": "exit", "code": 247, "at": 15}, None)
    assert run.go() == 0
    assert run.steps() == [*range(1, 9), *range(7, 16), *range(13, 21)]
    said = capsys.readouterr().err
    assert "ended with 137: it was killed" in said and "ended with 247: a rank was killed" in said
    assert "starting again from global_step6" in said and "starting again from global_step12" in said
    assert "2 restarts" in said
    starts = json.loads((run.save / "haigo_run.json").read_text())["starts"]
    assert [(one["step"], one["consumed_samples"]) for one in starts] == [(0, 0), (6, 48), (12, 96)]


def test_restarts_without_progress_are_bounded(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.plan(*[{"kind": "exit", "code": 247, "at": 3}] * 9)
    assert run.go("--max-restarts", "2") == 247
    assert len(run.calls) == 3
    assert "2 restarts in a row brought no new checkpoint" in capsys.readouterr().err


def test_progress_pays_for_more_restarts(run: Run) -> None:
    run.plan(*[{"kind": "exit", "code": 247, "at": at} for at in (7, 13, 19)], None)
    assert run.go("--max-restarts", "1") == 0
    assert len(run.calls) == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("ModuleNotFoundError: No module named 'apex'", "has no package apex"),
        ("ValueError: something", "an exception in GPT-NeoX"),
    ],
)
def test_what_would_happen_again_is_not_started_again(
    run: Run, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    run.plan({"kind": "says", "text": text, "code": 1})
    assert run.go() == 1
    told = capsys.readouterr().err
    assert said in told and "not started again" in told and text in told
    assert len(run.calls) == 1


def test_a_port_in_use_is_changed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_PORT", "29621")  # as launch.slurm's jobs set it for srun's ranks
    run.plan({"kind": "says", "text": "RuntimeError: [errno: 98 - Address already in use]", "code": 1}, None)
    assert run.go() == 0
    changed = yamlfile.read(run.calls[1]["argv"][1])
    plain = yamlfile.read(run.config)
    before, after = plain.pop("master_port"), changed.pop("master_port")
    assert after > 1023 and after != before
    assert [call["port"] for call in run.calls] == ["29621", str(after)]
    assert changed == plain and run.calls[1]["argv"][1] != str(run.config)


def test_a_hang_is_stopped_and_started_again(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.plan({"kind": "hang", "at": 8}, None)
    assert run.go("--hang-seconds", "1.5", "--hang-pause", "60", "--hang-factor", "3") == 0
    said = capsys.readouterr().err
    assert "no sign of life" in said and "phase 'steps'" in said
    assert run.steps() == [*range(1, 9), *range(7, 21)]
    assert all(gone(call["pid"]) for call in run.calls)


def test_a_hang_for_good_is_a_failure(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.plan({"kind": "hang", "at": 3}, {"kind": "hang", "at": 3})
    assert run.go("--hang-seconds", "1", "--hang-pause", "60", "--hang-factor", "3", "--max-restarts", "1") == 4
    assert "it hung and was stopped" in capsys.readouterr().err
    assert len(run.calls) == 2


def test_a_dead_launcher_that_says_0_is_a_crash(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.plan({"kind": "orphans", "at": 8}, None)
    assert run.go() == 0
    assert "ended with 0 while ranks were still training" in capsys.readouterr().err
    assert gone(int((run.save.parent / "orphan").read_text()))


def test_a_run_that_says_0_too_early_is_a_crash(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.plan({"kind": "lie", "at": 8}, None)
    assert run.go() == 0
    assert "names global_step6 and not global_step20" in capsys.readouterr().err
    assert run.steps()[-1] == 20


def test_a_torn_checkpoint_is_passed_over(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.plan({"kind": "torn", "at": 12}, None)
    assert run.go() == 0
    said = capsys.readouterr().err
    assert "global_step12 mp_rank_00_model_states.pt is cut short" in said
    assert "now names global_step6 (it named global_step12)" in said
    assert run.steps() == [*range(1, 13), *range(7, 21)]


def test_a_checkpoint_that_only_looks_whole(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """torch.load would take it: it never compares the CRC that it wrote."""
    run.plan({"kind": "flipped", "at": 12}, None)
    assert run.go() == 0
    said = capsys.readouterr().err
    assert "starting again from global_step12" not in said
    assert "is damaged (archive/data.pkl)" in said and "starting again from global_step6" in said
    assert run.steps() == [*range(1, 13), *range(7, 21)]


def test_a_torn_base_is_not_tried_again(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.plan({"kind": "says", "text": "RuntimeError: PytorchStreamReader failed", "code": 1}, None)
    assert run.go() == 1
    assert "the same would happen again" in capsys.readouterr().err


def test_a_lost_latest_is_restored(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.plan({"kind": "no latest", "at": 14}, None)
    assert run.go() == 0
    assert "latest is missing" in capsys.readouterr().err
    assert run.steps() == [*range(1, 15), *range(13, 21)]
    (run.save / "latest").unlink()
    assert run.go() == 0
    assert len(run.calls) == 2 and run.latest() == "global_step20"


def test_all_torn_is_refused_and_nothing_changed(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.plan({"kind": "exit", "code": 1, "at": 8})
    assert run.go("--max-restarts", "0") == 1
    (run.save / "global_step6" / "mp_rank_00_model_states.pt").write_bytes(b"PK")
    assert run.go() == 3
    assert "no whole checkpoint" in capsys.readouterr().err
    assert len(run.calls) == 1 and run.latest() == "global_step6"


def test_a_finished_run_is_not_started_again(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.plan()
    assert run.go() == 0
    before = (run.save / "global_step20" / "mp_rank_00_model_states.pt").stat().st_mtime_ns
    assert run.go() == 0
    assert "this run is finished" in capsys.readouterr().out
    assert len(run.calls) == 1
    assert (run.save / "global_step20" / "mp_rank_00_model_states.pt").stat().st_mtime_ns == before
    # other data under the same name were never trained
    content = yamlfile.read(run.config)
    yamlfile.write(run.config, {**content, "train_data_weights": [0.5, 0.5]})
    for words in ((), ("--dry-run",)):
        assert run.go(*words) == 3
        said = capsys.readouterr().err
        assert "holds a finished run (global_step20) on another stream" in said and "name another save folder" in said
    yamlfile.write(run.config, {**content, "train_data_paths": [str(run.root / "gone")], "train_data_weights": [1.0]})
    assert run.go() == 0 and "this run is finished" in capsys.readouterr().out  # its data may be gone
    yamlfile.write(run.config, content)
    # longer: it goes on
    yamlfile.write(run.config, {**yamlfile.read(run.config), "train_iters": 21})
    run.plan(iters=21)
    assert run.go() == 0
    assert run.steps() == list(range(1, 22))


def test_nan_stops_and_names_the_last_good_checkpoint(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    yamlfile.write(run.config, {**yamlfile.read(run.config), "keep_last_n_checkpoints": 3})
    run.plan({"kind": "nan", "at": 11}, pause=0.1)
    assert run.go() == 4
    said = capsys.readouterr().err
    assert "not a number at step 11" in said and "good checkpoint before it is global_step6" in said
    assert run.latest() == "global_step6" and len(run.calls) == 1


def test_checkpoints_after_a_nan_are_moved_aside(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    # told only afterwards, as when all of it comes at once: the checkpoints of 12 and 18 hold no numbers
    run.plan({"kind": "nan", "at": 11, "late": True}, pause=0.0)
    yamlfile.write(run.config, {**yamlfile.read(run.config), "keep_last_n_checkpoints": 4})
    assert run.go() == 4
    assert run.latest() == "global_step6"
    assert "keep_last_n_checkpoints would delete new checkpoints" in capsys.readouterr().err
    assert sorted(path.name for path in (run.save / "haigo" / "aside").iterdir()) == [
        "global_step12",
        "global_step18",
        "global_step20",
    ]
    assert not (run.save / "global_step18").exists()


def test_nan_may_be_let_through(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.plan({"kind": "nan", "at": 11})
    assert run.go("--nan", "warn") == 0
    assert "warning: the loss was not a number at step 11" in capsys.readouterr().err


def test_a_spike_warns_or_stops(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    yamlfile.write(run.config, {**yamlfile.read(run.config), "train_iters": 60})
    run.plan({"kind": "spike", "at": 40}, iters=60)
    assert run.go() == 0
    assert "warning: the loss rose from about" in capsys.readouterr().err
    shutil.rmtree(run.save)
    (run.save.parent / "tiny.calls.jsonl").unlink()
    assert run.go("--spike", "stop") == 4
    assert "from step 40 on" in capsys.readouterr().err
    assert run.latest() == "global_step36"


@pytest.mark.parametrize(("change", "said"), DATA["other_data_is_refused"])
def test_other_data_is_refused(run: Run, capsys: pytest.CaptureFixture[str], change: dict[str, Any], said: str) -> None:
    run.plan({"kind": "exit", "code": 247, "at": 8})
    assert run.go("--max-restarts", "0") == 247
    yamlfile.write(run.config, {**yamlfile.read(run.config), **change})
    assert run.go() == 3
    assert said in capsys.readouterr().err
    assert len(run.calls) == 1
    run.plan(iters=yamlfile.read(run.config)["train_iters"] if "train_iters" not in change else ITERS)
    run.go("--other-data", "--max-restarts", "0")
    told = capsys.readouterr().err
    assert "other data: " in told and ("samples are" in told or "shuffled anew" in told)
    assert json.loads((run.save / "haigo_run.json").read_text())["starts"][1]["other_data"]


def test_the_same_batch_in_other_pieces_is_no_other_data(run: Run) -> None:
    run.plan({"kind": "exit", "code": 247, "at": 8}, None)
    assert run.go("--max-restarts", "0") == 247
    change = {"train_micro_batch_size_per_gpu": 4, "gradient_accumulation_steps": 2}
    yamlfile.write(run.config, {**yamlfile.read(run.config), **change})
    assert run.go() == 0


def test_a_finetuning_run_goes_on_from_its_own_checkpoints(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change = {"finetune": True, "load": str(tmp_path / "base")}
    (tmp_path / "base" / "global_step1").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "base" / "global_step1" / "mp_rank_00_model_states.pt", "w") as archive:
        archive.writestr("archive/data.pkl", "x" * 1000)
    (tmp_path / "base" / "latest").write_text("global_step1")
    yamlfile.write(run.config, {**yamlfile.read(run.config), **change})
    run.plan({"kind": "exit", "code": 247, "at": 8}, {"kind": "exit", "code": 247, "at": 14}, None)
    # the same command three times, although the checks refuse the file itself once it has checkpoints
    assert [run.go("--max-restarts", "0") for _ in range(3)] == [247, 247, 0]
    shown = run.save / "haigo" / "configs" / "tiny.yml"
    for call in run.calls[1:]:
        changed = yamlfile.read(call["argv"][1])
        assert changed["load"] == str(run.save) and changed["finetune"] is False
    assert run.steps() == [*range(1, 9), *range(7, 15), *range(13, 21)]
    assert yamlfile.read(run.calls[0]["argv"][1])["finetune"] is True
    # the dry run shows the file that would be started, and does not refuse what the run itself would do
    shown.unlink()
    (run.save / "latest").write_text("global_step12")
    capsys.readouterr()
    assert run.go("--dry-run") == 0
    said = capsys.readouterr()
    assert "would go on from global_step12" in said.err and f"train.py {shown}\n" in said.out
    assert yamlfile.read(shown)["finetune"] is False and len(run.calls) == 3


def test_a_damaged_base_is_never_trained_on(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """torch.load would take the flipped bit for a weight."""
    folder = tmp_path / "base" / "global_step1"
    folder.mkdir(parents=True)
    file = folder / "mp_rank_00_model_states.pt"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", "x" * 1000)
    content = bytearray(file.read_bytes())
    content[200] ^= 1
    file.write_bytes(content)
    (tmp_path / "base" / "latest").write_text("global_step1")
    yamlfile.write(run.config, {**yamlfile.read(run.config), "finetune": True, "load": str(tmp_path / "base")})
    run.plan(None)
    assert run.go() == 3 and run.calls == []
    assert "mp_rank_00_model_states.pt is damaged" in capsys.readouterr().err


def test_a_save_folder_of_another_run_is_not_written_over(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.plan({"kind": "exit", "code": 247, "at": 8})
    assert run.go("--max-restarts", "0") == 247
    (run.save / "haigo_run.json").unlink()
    content = yamlfile.read(run.config)
    del content["load"]
    yamlfile.write(run.config, content)
    assert run.go() == 3
    assert "would write over" in capsys.readouterr().err


def test_kill_9_of_the_watcher_costs_nothing(run: Run) -> None:
    run.plan(gate=str(run.gate))
    first = run.start()
    run.wait_for_step(4)
    first.kill()
    first.communicate(timeout=300)
    second = run.start()
    said = run.to_the_end(second)
    assert second.returncode == 0 and "finished: step 20" in said, said
    assert len(run.calls) == 1 and run.steps() == list(range(1, 21))


def test_a_killed_watcher_is_not_refused_for_the_port_of_its_own_run(run: Run) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    yamlfile.write(run.config, {**yamlfile.read(run.config), "master_port": port})
    run.plan(gate=str(run.gate), port=port)
    first = run.start()
    run.wait_for_step(4)
    first.kill()
    first.communicate(timeout=300)
    second = run.start()
    said = run.to_the_end(second)
    assert second.returncode == 0 and "this run still trains" in said, said
    assert len(run.calls) == 1 and run.steps() == list(range(1, 21))


def test_two_ranks_of_one_machine(run: Run) -> None:
    """DeepSpeed is told to keep a log for each, and the next start does not take those of this one for its own."""
    launcher = run.root / "site" / "deepspeed" / "launcher"
    launcher.mkdir()
    (launcher / "__init__.py").write_text("")
    (launcher / "runner.py").write_text("def main(args=None): pass\n")
    change = {"num_gpus": 2, "train_micro_batch_size_per_gpu": 4, "gradient_accumulation_steps": 1}
    yamlfile.write(run.config, {**yamlfile.read(run.config), **change})
    run.plan({"kind": "exit", "code": 247, "at": 8}, None)
    (run.save / "haigo" / "ranks").mkdir(parents=True)
    (run.save / "haigo" / "ranks" / "1_rank0.log").write_text("of an earlier start\n")
    assert run.go() == 0
    assert json.loads((run.save / "haigo" / "start.json").read_text())["ranks"] == ["1_rank0.log"]
    assert run.steps() == [*range(1, 9), *range(7, 21)] and "earlier start" not in run.log


def test_two_watchers_of_one_run(run: Run) -> None:
    run.plan(pause=0.2)
    first = run.start()
    try:
        run.wait_for_step(2)
        assert run.go() == 2
    finally:
        first.send_signal(signal.SIGTERM)
        first.communicate(timeout=300)
    assert len(run.calls) == 1


def test_after_kill_9_of_all_of_it_the_same_command_goes_on(run: Run) -> None:
    run.plan({"kind": "hang", "at": 14}, None)
    first = run.start()
    run.wait_for_step(14)
    group = int(json.loads((run.save / "haigo" / "child.json").read_text())["pid"])
    first.kill()
    os.killpg(group, signal.SIGKILL)
    first.communicate(timeout=300)
    assert run.go() == 0
    assert run.steps() == [*range(1, 15), *range(13, 21)]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 143)])
def test_signals_stop_every_rank(run: Run, number: int, code: int) -> None:
    run.plan({"kind": "hang", "at": 8})
    haigo = run.start()
    run.wait_for_step(8)
    haigo.send_signal(number)
    said = haigo.communicate(timeout=300)[1]
    assert haigo.returncode == code, said
    assert "2 since global_step6 have to be done again" in said
    assert gone(run.calls[0]["pid"])


def test_requeue_waits_for_a_near_checkpoint(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "bin" / "scontrol"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "4242")
    run.plan(pause=0.4)
    haigo = run.start("--requeue", "--grace-seconds", "60")
    run.wait_for_step(9)
    haigo.send_signal(signal.SIGUSR1)
    said = haigo.communicate(timeout=300)[1]
    assert haigo.returncode == 143, said
    assert "waiting for the checkpoint of step 12" in said and "job 4242 is back in the queue" in said
    assert run.latest() == "global_step12" and (tmp_path / "asked").read_text() == "show job 4242\nrequeue 4242\n"
    assert gone(run.calls[0]["pid"])


def test_requeue_does_not_wait_for_a_far_one(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "4242")
    monkeypatch.setenv("PATH", str(tmp_path))
    run.plan(pause=0.4)
    haigo = run.start("--requeue", "--grace-seconds", "5.5")
    run.wait_for_step(8)
    haigo.send_signal(signal.SIGTERM)
    said = haigo.communicate(timeout=300)[1]
    assert haigo.returncode == 143
    assert "no scontrol on PATH" in said and "waiting for" not in said
    assert run.latest() == "global_step6"


@pytest.mark.parametrize(
    "words", [["--hang-factor", "0"], ["--max-restarts", "-1"], ["--requeue"], ["--grace-seconds", "-1"]]
)
def test_options_that_make_no_sense(run: Run, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    run.plan()
    assert run.go(*words) == 2
    assert run.calls == []


def test_no_supervise_is_the_plain_run(run: Run) -> None:
    run.plan({"kind": "exit", "code": 247, "at": 8})
    with socket.socket() as one:  # DeepSpeed's own port may be in use on a machine where something trains
        one.bind(("", 0))
        yamlfile.write(run.config, {**yamlfile.read(run.config), "master_port": one.getsockname()[1]})
    assert run.go("--no-supervise") == 247
    assert len(run.calls) == 1 and not (run.save / "haigo").exists()
