"""A mixture with phases: what `launch.configs` makes of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from neox_world import REPO, World
from shared_data import data_of

from haigo import cli, files, yamlfile
from haigo.cli import HaigoError
from haigo.formats import mixture as mixtures
from haigo.formats.dataset import manifest
from launch import configs, preflight, slurm
from launch.engine import settings
from launch.engine.optimizer import learning_rate
from launch.local import __main__ as local
from launch.neox import checkpoints
from neox_configs import phases, reader

DATA = data_of(__file__)
TWO = {
    "phases": [
        {"tokens": 40960, "weights": {"news": 0.75, "code": 0.25}},
        {"tokens": 20480, "weights": {"news": 0.3, "code": 0.7}},
    ]
}


def made(world: World, mixture: Any = TWO, *words: str, code: int = 0) -> Path:
    yamlfile.write(world.root / "phases.yml", mixture)
    output = world.root / "run" / "m.yml"
    given = ["--model", "0-1M", "--cluster", "local-cpu", "--mixture", world.root / "phases.yml", "--output", output]
    assert cli.run(configs.main, [*map(str, [*given, "--catalogue", world.catalogue]), *words]) == code
    return output


def each(output: Path) -> list[dict[str, Any]]:
    return [reader.load(paths) for paths in phases.expand([output])]


def test_each_phase_is_a_config_that_goes_on_from_the_one_before(world: World) -> None:
    first, second = each(made(world))
    assert (first["train_iters"], second["train_iters"]) == (40, 60)
    assert first["save"] == second["save"] == first["load"] == second["load"]
    differing = {key for key in {*first, *second} if first.get(key) != second.get(key)}
    assert differing <= {
        "train_iters",
        "train_data_paths",
        "train_data_weights",
        "checkpoint_factor",
        "extra_save_iters",
    }
    assert checkpoints.milestones(second) == [40]  # from where the second may be done again
    assert first["lr_decay_iters"] == 60  # one schedule through all
    assert first["train_data_weights"] == [0.75, 0.25] and second["train_data_weights"] == [0.3, 0.7]
    for config in (first, second):
        assert config["train_iters"] % config["checkpoint_factor"]


def test_a_decay_begins_at_the_peak_and_ends_at_nothing(world: World) -> None:
    rows = [TWO["phases"][0], {**TWO["phases"][1], "schedule": "decay"}]
    output = made(world, {"phases": rows})
    first, second = each(output)
    for each_file in (output, *phases.of(output)):
        said = next(line for line in each_file.read_text().splitlines() if line.startswith("# rate:"))
        assert "no change up to step 40, then linearly down to 0 at step 60; one batch" in said and "cosine" not in said
    assert first["lr_decay_style"] == "constant" and "override_lr_scheduler" not in first
    assert second["lr_decay_style"] == "linear" and second["override_lr_scheduler"]
    rates = [learning_rate(step, settings.resolve(second)) for step in (40, 50, 60)]
    peak = first["optimizer"]["params"]["lr"]
    assert rates == pytest.approx([peak, peak / 2, 0.0]) and learning_rate(39, settings.resolve(first)) == peak


def test_the_same_command_keeps_what_is_there_and_mends_what_is_not(world: World) -> None:
    output = made(world)
    folder = output.with_suffix("")
    whole = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".haigo"}
    index = folder / "phase-2" / "code" / "train_text_document.idx"
    inode = index.stat().st_ino
    made(world)
    assert index.stat().st_ino == inode
    index.unlink()
    index.write_bytes(b"torn")
    files.adopt([index])
    made(world)
    assert {path: path.read_bytes() for path in whole} == whole
    # GPT-NeoX's orders of another dataset of that name are not used for the new one
    order = index.with_name("train_text_document_train_1_indexmap_1ns_2sl_3s_packedpi_ac_doc_idx.npy")
    order.write_bytes(b"old")
    made(world, {"phases": [TWO["phases"][0], {**TWO["phases"][1], "weights": {"news": 0.6, "code": 0.4}}]})
    assert not order.exists()


def test_killed_while_it_writes_the_same_command_ends_the_same(world: World) -> None:
    output = made(world)
    want = {path: path.read_bytes() for path in output.with_suffix("").rglob("*.idx")}
    words = [
        "--model",
        "0-1M",
        "--cluster",
        "local-cpu",
        "--mixture",
        world.root / "phases.yml",
        "--catalogue",
        world.catalogue,
    ]
    other = output.with_name("k.yml")
    for delay in (0.4, 0.9):
        process = subprocess.Popen(
            [sys.executable, "-m", "launch.configs", *map(str, words), "--output", str(other)],
            env={**os.environ, "PYTHONPATH": str(REPO)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(delay)
        process.kill()
        process.wait()
    assert cli.run(configs.main, [*map(str, words), "--output", str(other)]) == 0
    folder = output.with_suffix("")
    assert {
        folder / path.relative_to(other.with_suffix("")): path.read_bytes()
        for path in other.with_suffix("").rglob("*.idx")
    } == want


def test_every_command_that_takes_configs_takes_the_list(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    output = made(world)
    capsys.readouterr()
    assert cli.run(preflight.main, [str(output), "--gpus", "1"]) == 0
    heads = [line for line in capsys.readouterr().out.splitlines() if line.endswith(".yml:")]
    assert heads == [f"{path}:" for path in phases.of(output)]
    assert cli.run(local.main, [str(output), "--output-dir", str(world.root / "trained"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 60
    second = output.with_suffix("") / "phase-2.yml"
    assert cli.run(local.main, [str(second), "--output-dir", str(world.root / "half")]) == 2
    assert "is of the phase of steps 40 to 60, and 0 steps come before it" in capsys.readouterr().err
    assert cli.run(local.main, [str(output), "--output-dir", str(world.root / "short"), "--tokens", "2048"]) == 2
    assert "the phases of a run say how long it is" in capsys.readouterr().err


def test_a_job_for_the_list(world: World, tmp_path: Path) -> None:
    output = made(world)
    for (path,) in phases.expand([output]):
        yamlfile.write(path, {key: value for key, value in yamlfile.read(path).items() if key != "num_gpus"})
    job = ["--nodes", "1", "--gpus-per-node", "1", "--time", "1:00:00", "--output", str(tmp_path / "job.sbatch")]
    assert cli.run(slurm.main, [str(output), *job]) == 0
    text = (tmp_path / "job.sbatch").read_text()
    assert str(output) in text and str(tmp_path / "job-launcher.yml") in text


def test_a_phase_that_leaves_a_corpus_out(world: World) -> None:
    rows = [TWO["phases"][0], {"tokens": 20480, "weights": {"news": 1.0}}]
    _, second = each(made(world, {"phases": rows}))
    assert [Path(path).parent.name for path in second["train_data_paths"]] == ["news"]
    view = manifest.read(second["train_data_paths"][0])["view"]
    assert view["begins_at"] == 240 and view["samples"] == [320, 480]


@pytest.mark.parametrize("text", DATA["bad"])
def test_bad_phases_are_named(world: World, text: str) -> None:
    path = world.root / "bad.yml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(HaigoError, match=DATA["bad"][text]):
        mixtures.read(path)


def test_other_readers_take_the_mean(world: World) -> None:
    path = world.root / "mean.yml"
    path.write_text(yaml.safe_dump(TWO))
    assert mixtures.read(path)["weights"] == pytest.approx({"news": 0.6, "code": 0.4})


def test_tokens_and_recipes_that_do_not_fit(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    made(world, TWO, "--tokens", "1e6", code=2)
    assert "--tokens is 1e+06, and the phases" in capsys.readouterr().err
    made(world, {"phases": [TWO["phases"][0], {"tokens": 3, "weights": {"news": 1.0, "code": 0}}]}, code=2)
    assert "phase 2 is less than one step" in capsys.readouterr().err
    (world.root / "list.yml").write_text("phases: [m/gone.yml]\n")
    assert cli.run(preflight.main, [str(world.root / "list.yml")]) == 2
    assert "gone.yml, which does not exist" in capsys.readouterr().err


def test_preflight_of_the_list_says_nothing_of_the_phase_that_comes_later(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    output = made(world)
    later = phases.of(output)[1]
    assert cli.run(preflight.main, [str(later), "--gpus", "1"]) == 0
    assert "the phase goes from step 40 to 60" in capsys.readouterr().out
    assert cli.run(preflight.main, [str(output), "--gpus", "1"]) == 0
    assert "the phase goes from" not in capsys.readouterr().out


def test_a_batch_that_is_worked_out_is_the_one_of_the_datasets(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """GPT-NeoX works it out of the micro batch, the accumulation and the GPUs where it is left out."""
    first, _ = each(made(world))
    path = tmp_path / "p.yml"
    for steps, code in ((1, 0), (2, cli.REFUSED)):
        config = {**first, "gradient_accumulation_steps": steps * first["gradient_accumulation_steps"]}
        del config["train_batch_size"]
        yamlfile.write(path, config)
        assert cli.run(preflight.main, [str(path), "--gpus", "1"]) == code
    said = capsys.readouterr().out
    assert (
        f"train_batch_size is not what the datasets of this phase were made for ({first['train_batch_size']})" in said
    )
