"""A decay on the embedded engine: the same rates and losses as GPT-NeoX's own, from the same checkpoint on the same samples."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_neox_curve import HERE, STEPS, as_neox_has_them, config_of, corpora, weights  # noqa: F401

from haigo import yamlfile
from haigo.cli import HaigoError, Refused
from launch.engine import checkpoint, log
from launch.local.train import train

GOLDEN = HERE / "golden_decay.json"
FROM = 30


class Enough(Exception):
    """Ends a run in mid-way."""


def stable(world: Any, corpora: list[str], **more: Any) -> dict[str, Any]:  # noqa: F811
    return {**config_of(world, corpora, "as shipped"), "lr_decay_style": "constant", "checkpoint_factor": FROM, **more}


def decay(config: dict[str, Any]) -> dict[str, Any]:
    """As launch.configs writes it."""
    schedule = {"lr_decay_style": "linear", "lr_decay_iters": STEPS, "warmup": FROM / STEPS, "min_lr": 0.0}
    return {
        **config,
        **schedule,
        "override_lr_scheduler": True,
        "load": "/somewhere",
        "iteration": FROM,
        "finetune": False,
    }


def run(config: dict[str, Any], folder: Path, world: Any, stop: int | None = None, **more: Any) -> list[dict[str, Any]]:
    def progress(tick: Any) -> None:
        if tick.step == stop:
            raise Enough

    try:
        given = {"valid": {}, "export": False, "checkpoint_every_s": 1e9, "progress": progress, **more}
        train(config, folder, tokenizer=world.tokenizer, **given)
    except Enough:
        pass
    return [entry for entry in log.read(folder / "log.jsonl") if "loss" in entry]


@pytest.fixture(scope="module")
def first(world: Any, corpora: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """A run that was stopped after its checkpoint of step 30."""
    import torch
    from safetensors.torch import save_file

    root = tmp_path_factory.mktemp("first")
    (root / "start").mkdir()
    save_file(
        {name: torch.from_numpy(value) for name, value in weights("as shipped").items()},
        root / "start/model.safetensors",
    )
    run(stable(world, corpora), root / "run", world, stop=FROM + 1, init_from=root / "start")
    assert (root / "run" / checkpoint.NAME).is_file()
    return root / "run"


def test_golden_decay(world: Any, corpora: list[str], first: Path, tmp_path: Path) -> None:  # noqa: F811
    before = (first / checkpoint.NAME).read_bytes()
    rows = run(decay(stable(world, corpora)), tmp_path / "run", world, continue_from=first)
    golden = json.loads(GOLDEN.read_text())
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))  # the curve of the whole
    found = [row["loss"] for row in rows[FROM:]]
    assert max(abs(one - other) for one, other in zip(found, golden["losses"], strict=True)) < 1e-4
    # GPT-NeoX logs the rate of the step that follows
    rates = [row["lr"] for row in rows[FROM + 1 :]]
    assert rates == pytest.approx(golden["rates_after"][:-1], rel=1e-9) and golden["rates_after"][-1] == 0
    assert (first / checkpoint.NAME).read_bytes() == before


def test_a_decay_that_was_killed_ends_with_the_same_bytes(
    world: Any,
    corpora: list[str],  # noqa: F811
    first: Path,
    tmp_path: Path,
) -> None:
    config = decay(stable(world, corpora))
    whole = run(config, tmp_path / "whole", world, continue_from=first)
    broken = {"continue_from": first, "checkpoint_every_s": 0.0}
    run(config, tmp_path / "broken", world, stop=FROM + 5, **broken)
    again = run(config, tmp_path / "broken", world, **broken)
    times = ("time_s",)
    assert [{k: v for k, v in row.items() if k not in times} for row in again] == [
        {k: v for k, v in row.items() if k not in times} for row in whole
    ]


def test_what_is_refused(world: Any, corpora: list[str], first: Path, tmp_path: Path) -> None:  # noqa: F811
    config = decay(stable(world, corpora))
    given = {"continue_from": first}
    with pytest.raises(HaigoError, match="names other weights to start from") as caught:
        run({**config, "iteration": None}, tmp_path / "a", world)
    assert "--continue-from" in caught.value.fix
    with pytest.raises(HaigoError, match="is for a config with a schedule of its own"):
        run({**config, "override_lr_scheduler": False}, tmp_path / "b", world, **given)
    with pytest.raises(HaigoError, match=r"goes on at step 25, and .* is at step 30"):
        run({**config, "warmup": 0.5}, tmp_path / "c", world, **given)
    with pytest.raises(Refused, match=r"another run, which differs in train_data_weights"):
        run({**config, "train_data_weights": [0.9, 0.1]}, tmp_path / "d", world, **given)
    with pytest.raises(Refused, match="the samples would come in another order"):
        longer = {"train_iters": 4000, "lr_decay_iters": 4000, "warmup": FROM / 4000}
        run({**config, **longer}, tmp_path / "e", world, **given)
    with pytest.raises(HaigoError, match=r"holds no checkpoint.pt"):
        run(config, tmp_path / "f", world, continue_from=tmp_path)
    with pytest.raises(HaigoError, match="--tokens has no effect with --continue-from"):
        run(config, tmp_path / "g", world, tokens=10**6, **given)


@pytest.mark.neox
@pytest.mark.slow
def test_equals_neox(world: Any, corpora: list[str], first: Path, tmp_path: Path, neox: Any) -> None:  # noqa: F811
    theirs = {
        **stable(world, corpora),
        "num_gpus": 1,
        "pipe_parallel_size": 0,
        "model_parallel_size": 1,
        "zero_optimization": {"stage": 0},
        "distributed_backend": "gloo",
        "tokenizer_type": "SPMTokenizer",
        "vocab_file": str(world.tokenizer / "spm.model"),
        "eval_iters": 0,
        "num_workers": 0,
        "log_interval": 10,
        "save": str(tmp_path / "save"),
    }
    np.savez(tmp_path / "start.npz", **as_neox_has_them("as shipped"))
    told = []
    for name, config, start in (
        ("stable", theirs, str(tmp_path / "start.npz")),
        ("decay", {**decay(theirs), "load": str(tmp_path / "save"), "save": str(tmp_path / "end")}, "none"),
    ):
        yamlfile.write(tmp_path / f"{name}.yml", config)
        words = [str(neox.python), str(HERE / "neox_curve.py"), str(tmp_path / f"{name}.yml"), start]
        done = subprocess.run(
            words, cwd=neox.root, env=neox.environment, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        told.append(json.loads(done.stdout))
    assert len(told[1]["losses"]) == STEPS - FROM
    assert told[1]["losses"][0] == told[0]["losses"][FROM]  # the same weights on the same samples
    if os.environ.get("HAIGO_WRITE_GOLDEN"):
        kept = {key: [round(value, 9) for value in told[1][key]] for key in ("losses", "rates_after")}
        GOLDEN.write_text(json.dumps(kept, indent=1) + "\n")
    rows = run(decay(stable(world, corpora)), tmp_path / "run", world, continue_from=first)
    assert max(abs(row["loss"] - loss) for row, loss in zip(rows[FROM:], told[1]["losses"], strict=True)) < 1e-3
