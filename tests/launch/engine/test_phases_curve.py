"""A run that changes its mixture twice: the embedded engine has GPT-NeoX's samples and loss curve over both switches, by its
numbers kept in golden_phases.json and by the program itself where it is at hand; killed anywhere, it ends the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from test_neox_curve import weights

from haigo import yamlfile
from haigo.formats.dataset.indexed import MMapReader, MMapWriter
from launch.engine import log
from launch.local.train import train
from launch.neox import phase_order, samples
from launch.plan import phases as plans
from launch.plan.options import ConfigOptions
from neox_configs import catalogue, phases, reader

HERE = Path(__file__).parent
GOLDEN = HERE / "golden_phases.json"
BATCH, SEQ, BOUNDS = 4, 32, (0, 24, 34, 50)
MIXTURES = [{"a": 0.7, "b": 0.3}, {"a": 0.25, "b": 0.75}, {"a": 0.5, "b": 0.5}]


@pytest.fixture(scope="module")
def run(world, tmp_path_factory) -> Path:
    """The list of phases; datasets made by numpy's frozen generator alone, so that the golden numbers hold everywhere."""
    root = tmp_path_factory.mktemp("phases")
    known = {}
    for number, (name, documents, longest) in enumerate((("a", 120, 90), ("b", 60, 70))):
        random = np.random.RandomState(number)
        prefix = root / name / "train_text_document"
        with MMapWriter(prefix, np.uint16) as writer:
            for _ in range(documents):
                walk = np.cumsum(random.randint(0, 3, size=random.randint(2, longest))) * (number + 2) % 300 + 3
                writer.add([*walk, world.words.eod_id])
                writer.end_document()
        known[name] = dict.fromkeys(("train", "valid", "test"), prefix)
    catalogue.write(root / "corpora.yml", world.tokenizer, known)
    model = {
        key: value for key, value in world.config().items()
        if "data" not in key and key not in ("train_iters", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
    }  # fmt: skip
    yamlfile.write(root / "model.yml", {**model, "make_vocab_size_divisible_by": 128, "warmup": 0.1, "min_lr": 0.0005})
    rows = [
        {"tokens": (last - first) * BATCH * SEQ, "weights": mixture}
        for (first, last), mixture in zip(pairwise(BOUNDS), MIXTURES, strict=True)
    ]
    rows[-1]["schedule"] = "decay"
    yamlfile.write(root / "mixture.yml", {"phases": rows})
    options = ConfigOptions(
        model=root / "model.yml", cluster="local-cpu", mixture=root / "mixture.yml", catalogue=root / "corpora.yml",
        output=root / "run.yml", global_batch_tokens=BATCH * SEQ,
    )  # fmt: skip
    plans.write(plans.plan(options), root / "run.yml")
    return root / "run.yml"


def configs(run: Path) -> list[dict[str, object]]:
    return [reader.load(paths) for paths in phases.expand([run])]


def ours(world, run: Path, folder: Path) -> list[float]:
    import torch
    from safetensors.torch import save_file

    (folder / "start").mkdir(parents=True)
    save_file(
        {name: torch.from_numpy(value) for name, value in weights("as shipped").items()},
        folder / "start/model.safetensors",
    )
    first, *then = configs(run)
    train(first, folder / "run", then=then, tokenizer=world.tokenizer, init_from=folder / "start", valid={}, export=False,
          checkpoints=False, progress=lambda tick: None)  # fmt: skip
    return [entry["loss"] for entry in log.read(folder / "run" / "log.jsonl") if "loss" in entry]


def due(run: Path) -> list[dict[str, object]]:
    """What the phases read, by GPT-NeoX's rules computed here."""
    found = []
    for config in configs(run):
        first, last = phase_order.phase_of(config)["steps"]
        found += samples.first_samples(config, (last - first) * BATCH)
    return found


def test_each_token_is_read_once_while_a_corpus_lasts_and_shares_are_met(run: Path) -> None:
    read = due(run)
    assert [sample["sample"] for sample in read] == list(range(BOUNDS[-1] * BATCH))
    times: dict[tuple[str, int, int], int] = {}
    for sample in read:
        seen = 0
        for document, offset, count in sample["documents"]:
            for at in range(offset, offset + min(count, SEQ - seen)):  # the last label is the next sample's first token
                times[key] = times.get(key := (sample["corpus"], document, at), 0) + 1
            seen += count
    for corpus in ("a", "b"):
        total = len(MMapReader(run.parent / corpus / "train_text_document").tokens)
        counts = [count for (name, *_), count in times.items() if name == corpus]
        assert sum(counts) == SEQ * sum(sample["corpus"] == corpus for sample in read)
        # before all have been read once none is read twice
        assert len(counts) == min(total, sum(counts)) and set(counts) == ({1} if corpus == "a" else {1, 2})
    for (first, last), mixture in zip(pairwise(BOUNDS), MIXTURES, strict=True):
        of_phase = read[first * BATCH : last * BATCH]
        for corpus, weight in mixture.items():
            taken = sum(sample["corpus"] == corpus for sample in of_phase)
            assert abs(taken - weight * len(of_phase)) <= 1


def test_golden_curve(world, run: Path, tmp_path: Path) -> None:
    golden = json.loads(GOLDEN.read_text())
    assert [sample["sha256"][:16] for sample in due(run)] == golden["samples"]
    found = ours(world, run, tmp_path)
    assert max(abs(a - b) for a, b in zip(found, golden["losses"], strict=True)) < 1e-4


def test_killed_around_the_switches_the_bytes_are_the_same(world, run: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "launch.local", str(run), "--output-dir"]
    environment = {**os.environ, "HAIGO_QUIET": "1"}

    def bytes_of(folder: Path) -> bytes:
        subprocess.run([*words, str(folder)], check=True, env=environment, capture_output=True, timeout=300)
        return (folder / "model" / "model.safetensors").read_bytes()

    unbroken = bytes_of(tmp_path / "unbroken")
    for step in (BOUNDS[1] - 1, BOUNDS[1] + 2):
        process = subprocess.Popen([*words, str(tmp_path / "killed")], env=environment, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline and process.poll() is None:
            if any(entry.get("step", 0) >= step for entry in log.read(tmp_path / "killed" / "log.jsonl")):
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert bytes_of(tmp_path / "killed") == unbroken


@pytest.mark.neox
@pytest.mark.slow
def test_equals_neox(world, run: Path, tmp_path: Path, neox) -> None:
    np.savez(tmp_path / "start.npz", **weights("as shipped"))
    recorded, losses = tmp_path / "samples.txt", []
    path = os.pathsep.join([str(HERE.parent / "neox" / "recorded"), neox.environment.get("PYTHONPATH", "")])
    for number, config in enumerate(configs(run), 1):
        changes = {"save": str(tmp_path / "save"), "load": str(tmp_path / "save"), "eval_iters": 0, "log_interval": 10}
        yamlfile.write(tmp_path / f"{number}.yml", {**config, **changes})
        done = subprocess.run(
            [str(neox.python), str(HERE / "neox_curve.py"), str(tmp_path / f"{number}.yml"),
             str(tmp_path / "start.npz") if number == 1 else "none"],
            cwd=neox.root,
            env={**neox.environment, "PYTHONPATH": path, "RECORD_SAMPLES": str(recorded), "MASTER_PORT": "29761"},
            capture_output=True,
            text=True,
            timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        losses += json.loads(done.stdout)["losses"]
    lines = [line.split() for line in recorded.read_text().splitlines()]
    read = due(run)
    assert [(int(line[1]), line[2], int(line[3]), line[4]) for line in lines] == [
        (sample["sample"], sample["prefix"], sample["index"], sample["sha256"]) for sample in read
    ]
    if os.environ.get("HAIGO_WRITE_GOLDEN"):
        kept = {"samples": [line[4][:16] for line in lines], "losses": [round(loss, 6) for loss in losses]}
        GOLDEN.write_text(json.dumps(kept, indent=1) + "\n")
    found = ours(world, run, tmp_path / "ours")
    assert len(found) == BOUNDS[-1]
    worst = max(abs(a - b) for a, b in zip(found, losses, strict=True))
    print(f"largest difference over {BOUNDS[-1]} steps and two switches {worst:.2e}")
    assert worst < 1e-4
