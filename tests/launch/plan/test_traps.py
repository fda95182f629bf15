"""Each trap that NeoXArgs accepts: preflight names it, and a short run of the real GPT-NeoX on CPU shows what comes of it.

`data/traps.yml` holds them; `golden_traps.json` what the real program did, which is looked at where that is not at hand.
`HAIGO_WRITE_GOLDEN=1` with the real one writes it anew.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from neox_world import World
from shared_data import data_of

from haigo import files
from launch.neox import checkpoints, log, ports
from launch.plan import preflight

BASE, RUNS = data_of(__file__)["base"], data_of(__file__)["runs"]
GOLDEN = Path(__file__).parents[1] / "golden_traps.json"
NAMES = [one["name"] for one in RUNS]


def config(world: World, changes: dict[str, Any], ranks: int, save: Path) -> dict[str, Any]:
    """The sound config of six steps with these changes; None takes a key away, "null" writes it as null."""
    data: dict[str, Any] = {}
    for split in ("train", "valid", "test"):
        data[f"{split}_data_paths"] = [str(world.prefix(corpus, split)) for corpus in ("news", "code")]
        data[f"{split}_data_weights"] = [0.75, 0.25]
    place = {"vocab_file": str(world.root / "tokenizer" / "spm.model"), "save": str(save), "num_gpus": ranks}
    made = {key: value for key, value in {**BASE, **data, **place, **changes}.items() if value is not None}
    return {key: None if value == "null" else value for key, value in made.items()}


def write(place: Path, content: dict[str, Any]) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(content, sort_keys=False)
    place.write_text(re.sub(r"(?m): (\d)e-", r": \1.0e-", text))
    return place


@pytest.mark.parametrize("trap", RUNS, ids=NAMES)
def test_named_and_shown(trap: dict[str, Any], shared_world: World, tmp_path: Path) -> None:
    ranks = trap.get("ranks", 1)
    made = config(shared_world, trap.get("changes", {}), ranks, tmp_path / "save")
    report = preflight.preflight([write(tmp_path / "trap.yml", made)], gpus=ranks)
    refused = [check.found for check in report.failed]
    warned = [check.found for check in report.checks if check.status == "warn"]
    if "says" in trap:
        assert any(trap["says"] in one for one in refused), refused
    else:
        assert refused == []
    if "warns" in trap:
        assert any(trap["warns"] in one for one in warned), warned
    shown(trap, json.loads(GOLDEN.read_text()))


def shown(trap: dict[str, Any], runs: dict[str, Any]) -> None:
    got = runs[trap["name"]]
    assert eval(trap["shows"], {"runs": runs} | got), (trap["name"], got)


@pytest.mark.neox
@pytest.mark.slow
def test_the_real_program_still_does_so(neox: Any, shared_world: World, tmp_path: Path) -> None:
    jobs = []
    for number, trap in enumerate(RUNS):
        ranks, folder = trap.get("ranks", 1), tmp_path / str(number)
        made = config(shared_world, trap.get("changes", {}), ranks, folder / "save")
        path = write(folder / "trap.yml", made)
        job = {"config": str(path), "ranks": ranks, "log": str(folder / "log"), "port": ports.free(), "seconds": 300}
        jobs.append(job)
    files.write_json(tmp_path / "jobs.json", jobs)
    environment = {**neox.environment, "HOME": str(tmp_path), "TORCH_EXTENSIONS_DIR": str(tmp_path / "extensions")}
    done = subprocess.run(
        [str(neox.python), str(Path(__file__).parents[1] / "neox" / "neox_train.py"), str(tmp_path / "jobs.json")],
        cwd=neox.root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=3000,
    )
    codes = [json.loads(line[4:]) for line in done.stdout.splitlines() if line.startswith("RAN ")]
    assert len(codes) == len(jobs), done.stderr[-3000:]
    runs = {one["name"]: result(Path(job["log"]), code) for one, job, code in zip(RUNS, jobs, codes, strict=True)}
    if os.environ.get("HAIGO_WRITE_GOLDEN"):
        rows = ",\n".join(f" {json.dumps(name)}: {json.dumps(got)}" for name, got in runs.items())
        GOLDEN.write_text(f"{{\n{rows}\n}}\n", encoding="utf-8")
    for trap in RUNS:
        shown(trap, runs)
    golden = json.loads(GOLDEN.read_text())
    for name, got in runs.items():  # figures of another machine's torch differ in their last digits
        assert got["codes"] == golden[name]["codes"] and got["saved"] == golden[name]["saved"], name
        assert got["losses"] == pytest.approx(golden[name]["losses"], abs=2e-3, nan_ok=True), name


def result(place: Path, codes: list[int]) -> dict[str, Any]:
    """What a run did, from its log and its save folder."""
    steps = [one for one in map(log.step, log.lines(place)) if one is not None]
    text = place.read_text(errors="replace")
    raised = re.findall(r"(?m)^(\w+(?:Error|Exception|Exit|Interrupt)\b.*)$", text)
    saves = re.findall(r"Checkpoint global_step(\d+) is about to be saved", text)
    save = place.parent / "save"
    saved = checkpoints.steps(save)
    return {
        "codes": codes,
        "losses": [one.loss for one in steps],
        "rates": [one.learning_rate for one in steps],
        "saved": saved,
        "saves": list(map(int, saves)),
        "error": raised[-1][:90] if raised and any(codes) else "",
        "unequal": unequal(save / f"global_step{saved[-1]}") if saved and len(codes) > 1 else {},
    }


def unequal(folder: Path) -> dict[str, float]:
    """Weights that all ranks of a model should hold alike, and how far they are apart."""
    from launch.neox.conversion import checkpoint

    one, other = (checkpoint.read(folder / f"mp_rank_{rank:02d}_model_states.pt", folder)["module"] for rank in (0, 1))
    alike = (
        "dense.bias",
        "dense_4h_to_h.bias",
        "linear2.bias",
        "layernorm.weight",
        "layernorm.bias",
        "norm.weight",
        "norm.bias",
    )
    found = {name: float((value - other[name]).abs().max()) for name, value in one.items() if name.endswith(alike)}
    return {name: round(value, 6) for name, value in found.items() if value}
