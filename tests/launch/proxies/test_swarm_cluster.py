"""Jobs through submitit on this machine, and GPT-NeoX proxies: with a checkout that only pretends, and with the real one."""

from __future__ import annotations

import contextlib
import csv
import os
import shlex
import shutil
import signal
import sys
import time
import zipfile
from pathlib import Path

import pytest
from shared_data import data_of

from haigo import cli, files, jobs, yamlfile
from haigo.cli import HaigoError
from launch import proxies
from launch.engine.options import TrainOptions
from launch.local.train import train
from launch.neox import gpus
from launch.proxies import cluster, neox
from launch.proxies.options import ClusterOptions
from launch.proxies.proxy import Proxy

DATA = data_of(__file__)

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent

FAKE = """
import json, os, sys, time, zipfile
import yaml
config = yaml.safe_load(open(sys.argv[-1]))
save, steps = config["save"], config["train_iters"]
os.makedirs(save, exist_ok=True)
latest = os.path.join(save, "latest")
first = int(open(latest).read().removeprefix("global_step")) if os.path.exists(latest) else 0
with open(os.path.join(os.path.dirname(save), "..", "starts.txt"), "a") as out:
    out.write(json.dumps([first, os.environ.get("CUDA_VISIBLE_DEVICES")]) + "\\n")
for step in range(first + 1, steps + 1):
    print(f" iteration {step:8d}/{steps:8d} | lm_loss: {5 - step / steps:.6E} | number of nan iterations:   0 |", flush=True)
    if step % config["checkpoint_factor"] == 0 or step == steps:
        os.makedirs(os.path.join(save, f"global_step{step}"), exist_ok=True)
        with zipfile.ZipFile(os.path.join(save, f"global_step{step}", "mp_rank_00_model_states.pt"), "w") as file:
            file.writestr("archive/data.pkl", "weights")
        open(latest, "w").write(f"global_step{step}")
    if os.path.exists(os.environ["FAKE_FAILS"]) and step == steps // 2 and first == 0:
        raise SystemExit("a GPU fell off the bus")
"""

STUB = """
import os, shutil, sys, types
def convert(options):
    assert open(os.path.join(options.checkpoint, "latest")).read() == f"global_step{options.iteration}"
    shutil.copytree(os.environ["FAKE_MODEL"], options.out)
made = types.ModuleType("launch.neox.conversion.convert")
made.convert = convert
sys.modules["launch.neox.conversion.convert"] = made
"""


# what jobs do, by reference: a job imports this module
def double(task):
    if task.get("fails") and not Path(task["fails"]).exists():
        Path(task["fails"]).write_text("")
        raise HaigoError("it does not work today.", "come back tomorrow")
    if task.get("dies"):
        os.kill(os.getpid(), signal.SIGKILL)
    if task.get("waits"):
        time.sleep(task["waits"])
    return task["value"] * 2


@pytest.fixture
def importable(monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (ROOT, ROOT / "tests", HERE))))


def events(tasks, tmp_path, tries, **options):
    executor = cluster.Local(double, ClusterOptions(gpus=0), tmp_path / "jobs", tmp_path, **options)
    return [event for event in jobs.run(executor, tasks, tries) if event is not None]


def test_jobs_end_well_fail_and_die(importable, tmp_path):
    tasks = [("good", {"value": 2}), ("again", {"value": 3, "fails": str(tmp_path / "failed")})]
    tasks.append(("dead", {"value": 4, "dies": True}))
    found = events(tasks, tmp_path, at_once=3, tries=2, progress=lambda name: 7)
    kinds = {name: [e.kind for e in found if e.name == name and e.kind != "tick"] for name, _ in tasks}
    assert kinds == {
        "good": ["started", "done"],
        "again": ["started", "again", "started", "done"],
        "dead": ["started", "again", "started", "failed"],
    }
    values = {event.name: event.value for event in found if event.kind == "done"}
    assert values == {"good": 4, "again": 6}
    said = {event.name: event.value for event in found if event.kind in ("again", "failed")}
    assert said["again"] == "it does not work today." and "ended without a result" in said["dead"]
    assert {event.value for event in found if event.kind == "tick"} <= {7}


def test_what_runs_is_stopped_with_its_parent(importable, tmp_path):
    started = time.monotonic()
    executor = cluster.Local(double, ClusterOptions(gpus=0), tmp_path / "jobs", tmp_path)
    made = jobs.run(executor, [("long", {"value": 1, "waits": 300})])
    assert next(made).kind == "started"
    folder = str(tmp_path / "jobs")
    while not (works := _working_on(folder)) and time.monotonic() - started < 60:
        time.sleep(0.1)
    assert works
    made.close()
    assert time.monotonic() - started < 120 and not _working_on(folder)


def _working_on(folder):
    """Processes of submitit's that work in a folder of jobs."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if folder.encode() in words and any(b"_submit" in word for word in words):
                found.append(int(path.parent.name))
    return found


@pytest.mark.slow
def test_jobs_on_a_real_slurm(importable, slurm, tmp_path, monkeypatch):
    for name in ("PATH", "SLURM_CONF"):
        monkeypatch.setenv(name, slurm.environment[name])
    monkeypatch.setattr(cluster, "_GONE_S", 2.0)
    on = ClusterOptions(executor="slurm", partition="main", gpus=0, cpus=1, minutes=5, slurm={"comment": "swarm"})

    def run(tasks, on=on, tries=1):
        return jobs.run(cluster.Slurm(double, on, tmp_path / "jobs", tmp_path), tasks, tries)

    tasks = [("good", {"value": 2}), ("again", {"value": 3, "fails": str(tmp_path / "failed")})]
    tasks.append(("dead", {"value": 4, "dies": True}))
    found = [event for event in run(tasks, tries=2) if event is not None]
    kinds = {name: [e.kind for e in found if e.name == name] for name, _ in tasks}
    assert kinds["good"] == ["started", "done"] and kinds["again"] == ["started", "again", "started", "done"]
    assert kinds["dead"] == ["started", "again", "started", "failed"]
    assert {e.name: e.value for e in found if e.kind == "done"} == {"good": 4, "again": 6}
    # a job outlives the command that submitted it, and the next one finds it
    slow = [("slow", {"value": 5, "waits": 8})]
    first = run(slow)
    assert next(first).kind == "started"
    first.close()
    number = files.read_json(tmp_path / "slow" / "job.json")["id"]
    assert [e.value for e in run(slow) if e is not None and e.kind == "done"] == [10]
    assert not (tmp_path / "slow" / "job.json").exists()
    submitted = {path.name.split("_")[0] for path in (tmp_path / "jobs").glob("*_result.pkl")}
    assert number in submitted and len(submitted) == 1 + 2 + 1  # the dead ones left no result
    with pytest.raises(HaigoError, match="Slurm refused the job"):
        list(run(slow, ClusterOptions(executor="slurm", partition="nowhere", gpus=0)))


@pytest.mark.parametrize(("given", "told"), DATA["bad_clusters_are_told"])
def test_bad_clusters_are_told(given, told):
    with pytest.raises(HaigoError, match=told):
        ClusterOptions(**given)
    assert ClusterOptions(executor="slurm", partition="gpu,big", slurm={"account": "p-1", "gres": "gpu:a100:1"})


def test_no_slurm_here_is_told(importable, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HaigoError, match="there is no sbatch here"):
        cluster.Slurm(double, ClusterOptions(executor="slurm"), tmp_path, tmp_path)


def test_gpus_of_this_machine(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert gpus.numbers(os.environ) == [2, 5]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus.numbers(os.environ) == []


# --- GPT-NeoX ----------------------------------------------------------------------------------------------------------


def base_of(world) -> dict[str, object]:
    made = {key: value for key, value in world.config(train_iters=None).items() if "_data_" not in key}
    more = {"pipe_parallel_size": 0, "model_parallel_size": 1, "zero_optimization": {"stage": 0}, "num_workers": 0}
    more |= {"distributed_backend": "gloo", "tokenizer_type": "SPMTokenizer", "output_layer_parallelism": "column"}
    more |= {"hidden_dropout": 0.0, "attention_dropout": 0.0, "make_vocab_size_divisible_by": 128}
    return {**made, **more, "deepspeed_extra_args": {"gradient_clipping": 1.0}}


@pytest.fixture(scope="module")
def finished(world, tmp_path_factory):
    """A model that the pretending converter gives for every checkpoint, and what the embedded engine says of it."""
    folder = tmp_path_factory.mktemp("finished")
    config = {**world.config(train_iters=20), "make_vocab_size_divisible_by": 128}
    valid = {name: world.prefix(name, "valid") for name in ("plain", "rhyme")}
    return folder, train(config, folder, tokenizer=world.tokenizer, valid=valid, progress=lambda tick: None)


@pytest.fixture
def pretending(importable, finished, tmp_path, monkeypatch):
    """A GPT-NeoX that prints losses and writes `latest`, and a converter that gives the finished model."""
    root = tmp_path / "fake-neox"
    (root / "megatron").mkdir(parents=True)
    (root / "train.py").write_text("")
    (root / "deepy.py").write_text(FAKE)
    (root / "site" / "deepspeed").mkdir(parents=True)
    (root / "site" / "deepspeed" / "__init__.py").write_text("")
    (root / "python").write_text(f'#!/bin/sh\nPYTHONPATH={root}/site exec {sys.executable} "$@"\n')
    (root / "python").chmod(0o755)
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub" / "sitecustomize.py").write_text(STUB)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'stub'}{os.pathsep}{ROOT}")
    monkeypatch.setenv("GPT_NEOX_DIR", str(root))
    monkeypatch.setenv("GPT_NEOX_PYTHON", str(root / "python"))
    monkeypatch.setenv("FAKE_MODEL", str(finished[0] / "model"))
    monkeypatch.setenv("FAKE_FAILS", str(tmp_path / "fails"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path


def test_a_swarm_of_gpt_neox_runs(world, catalogue, finished, pretending, capsys):
    yamlfile.write(pretending / "base.yml", base_of(world))
    (pretending / "ratios.csv").write_text("run,plain,rhyme\np000,0.5,0.5\n")
    words = ["--ratios", "ratios.csv", "--catalogue", str(world.root / "corpora.yml"), "--config", "base.yml"]
    words += ["--output-dir", "out", "--tokens", "2560", "--engine", "neox", "--gpus", "0", "--workers", "1"]
    words = [str(pretending / word) if word in ("ratios.csv", "base.yml", "out") else word for word in words]
    assert cli.run(proxies.main, [*words, "--seed", "0"]) == cli.BAD_INPUT
    assert "GPT-NeoX refuses the seed 0" in capsys.readouterr().err and not (pretending / "out").exists()
    (pretending / "fails").write_text("")
    assert cli.run(proxies.main, words) == cli.OK
    assert "p000 failed and is tried again: GPT-NeoX ended with 1" in capsys.readouterr().err
    place = pretending / "out" / "runs" / "p000"
    # 20 steps, saved every second one; the second start went on from the middle
    starts = [line.split(",")[0] for line in (place / "starts.txt").read_text().splitlines()]
    assert starts == ["[0", "[10"]
    with open(pretending / "out" / "metrics.csv", encoding="utf-8", newline="") as handle:
        (row,) = list(csv.DictReader(handle))
    assert list(row) == ["run", "plain_bpb", "rhyme_bpb", "size", "tokens", "seed", "seconds"]
    for name, value in finished[1]["metrics"].items():
        assert float(row[name]) == pytest.approx(value, abs=2e-6)
    assert row["tokens"] == "2560" and row["seed"] == "1234" and float(row["seconds"]) > 0
    assert files.read_json(place / "result.json")["loss"] == pytest.approx(5 - 19.5 / 20)
    assert files.read_json(pretending / "out" / "swarm.json")["common"]["engine"] == "gpt-neox"
    assert not (place / "neox").exists() and not (place / "model").exists() and not (place / "job.json").exists()
    assert cli.run(proxies.main, words) == cli.OK
    assert len((place / "starts.txt").read_text().splitlines()) == 2
    assert not list(world.root.rglob("*indexmap*"))


def test_the_config_of_a_proxy(world, catalogue, pretending, monkeypatch):
    config = proxies.proxy_config(base_of(world), {"plain": 0.25, "rhyme": 0.75}, catalogue, 7)
    valid = {name: world.prefix(name, "valid") for name in ("plain", "rhyme")}
    options = TrainOptions(valid=valid, tokenizer=str(world.tokenizer))

    def task(name):
        return Proxy(config=config, folder=pretending / name, options=options, steps=40, decay=36)

    made = yamlfile.read(neox.write_config(task("a")))
    assert made["train_iters"] == 40 and made["lr_decay_iters"] == 36 and made["seed"] == 7
    assert made["train_data_weights"] == [0.25, 0.75] and made["eval_iters"] == 0 and made["num_gpus"] == 1
    for prefix, corpus in zip(made["train_data_paths"], ("plain", "rhyme"), strict=True):
        assert Path(f"{prefix}.bin").resolve() == Path(f"{world.prefix(corpus)}.bin").resolve()
        assert Path(prefix).is_relative_to(pretending / "a" / "neox" / "data")
    assert made["vocab_file"] == str(world.tokenizer / "spm.model") and made["load"] == made["save"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    made = yamlfile.read(neox.write_config(task("b")))
    assert made["include"] == "localhost:3" and "num_gpus" not in made
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(HaigoError, match="does not name one GPU"):
        neox.write_config(task("c"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    # GPT-NeoX runs in its own checkout: a folder that is relative here is none there
    monkeypatch.chdir(pretending)
    near = Proxy(config=config, folder=Path("near"), options=options, steps=40, decay=36)
    made = yamlfile.read(neox.write_config(near))
    assert {Path(made["save"]), Path(made["load"])} == {pretending / "near" / "neox" / "save"}
    assert all(Path(prefix).is_relative_to(pretending / "near") for prefix in made["train_data_paths"])


def test_a_save_that_was_broken_off_is_no_checkpoint(tmp_path):
    save, config = tmp_path / "neox" / "save", {"num_layers": 2, "pipe_parallel_size": 0}

    def saved(step: int) -> Path:
        (save / f"global_step{step}").mkdir(parents=True)
        file = save / f"global_step{step}" / "mp_rank_00_model_states.pt"
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("archive/data.pkl", "weights")
        return file

    (save / "global_step5").mkdir(parents=True)
    neox.repair(save, config)  # killed in its first save
    assert not save.exists()
    saved(5)
    (save / "global_step10").mkdir()
    (save / "latest").write_text("global_step5")
    neox.repair(save, config)  # killed in its second one: GPT-NeoX goes on from the first
    assert (save / "latest").read_text() == "global_step5"
    (save / "latest").write_text("global_step15")  # one that is gone
    neox.repair(save, config)
    assert (save / "latest").read_text() == "global_step5"
    torn = saved(15)
    torn.write_bytes(torn.read_bytes()[:40])
    (save / "latest").write_text("global_step15")
    neox.repair(save, config)
    assert (save / "latest").read_text() == "global_step5"
    (save / "latest").unlink()
    neox.repair(save, config)
    assert (save / "latest").read_text() == "global_step5"
    shutil.rmtree(save)
    neox.repair(save, config)
    assert not save.exists()


def test_losses_of_a_log_that_was_broken_off(tmp_path):
    line = " iteration {:8d}/{:8d} | lm_loss: {} | x |\n"
    text = "".join(line.format(step, 20, f"{step}.5E+00") for step in (2, 4, 6, 4, 6, 8))
    (tmp_path / "train.log").write_text("noise\n" + text + " iteration 10/ 20 | lm_l")
    assert neox.logged(tmp_path / "train.log") == [(2, 2.5), (4, 4.5), (6, 6.5), (8, 8.5)]
    assert neox.steps_done(tmp_path) == 10 and neox.steps_done(tmp_path / "nowhere") == 0


@pytest.mark.neox
@pytest.mark.slow
def test_real_gpt_neox(world, catalogue, neox_checkout, tmp_path):
    """Two proxies by GPT-NeoX itself, and the same two by the embedded engine: other start weights, so near, not equal."""
    base = base_of(world)
    table = {"a": {"plain": 0.9, "rhyme": 0.1}, "b": {"plain": 0.1, "rhyme": 0.9}}
    made = proxies.run(table, catalogue, base, tmp_path / "neox", tokens=12_800, workers=1, show=False,
                       cluster=ClusterOptions(gpus=0))  # fmt: skip
    assert sorted(made.trained) == ["a", "b"] and not made.failed
    ours = proxies.run(table, catalogue, base, tmp_path / "ours", tokens=12_800, workers=1, show=False)
    for run in table:
        for name, value in made.results[run]["metrics"].items():
            assert value == pytest.approx(ours.results[run]["metrics"][name], rel=0.08)
    for name, better in (("plain_bpb", "a"), ("rhyme_bpb", "b")):
        found = {run: made.results[run]["metrics"][name] for run in table}
        assert min(found, key=found.get) == better
    assert not list(world.root.rglob("*indexmap*"))


@pytest.fixture
def neox_checkout(importable, request, monkeypatch, tmp_path):
    real = request.getfixturevalue("neox")
    # the shim, where there is one, is for training alone: the converter and Haigo itself have torch as it is
    shim = {
        name: value for name, value in real.environment.items() if name in ("FAKE_CUDA", "DS_ACCELERATOR", "PYTHONPATH")
    }
    exports = " ".join(f"{name}={shlex.quote(value)}" for name, value in shim.items())
    python = shlex.quote(str(real.python))
    wrapper = tmp_path / "python"
    wrapper.write_text(f'#!/bin/sh\ncase "$1" in deepy.py) export {exports or "SHIM=0"} ;; esac\nexec {python} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("GPT_NEOX_DIR", str(real.root))
    monkeypatch.setenv("GPT_NEOX_PYTHON", str(wrapper))
    monkeypatch.setenv("PATH", real.environment["PATH"])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return real
