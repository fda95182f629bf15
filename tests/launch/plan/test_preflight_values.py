"""launch.preflight repeats GPT-NeoX's own validation, and refuses what that would silently train wrongly."""

from __future__ import annotations

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from neox_world import World
from shared_data import data_of, shared

from haigo import cli
from launch.plan import preflight
from launch.plan.config import make_config
from launch.plan.options import ConfigOptions
from launch.preflight import main as preflight_main
from neox_configs import spellings
from neox_configs.keys import KEYS

DATA = data_of(__file__)


@pytest.fixture(scope="module")
def base(shared_world: World) -> dict[str, Any]:
    made = make_config(
        ConfigOptions(
            model="0-1M",
            cluster="local-cpu",
            mixture=shared_world.mixture,
            catalogue=shared_world.catalogue,
            output=shared_world.root / "run" / "values.yml",
            tokens=20_480,
        )
    )
    return made.config


def asked(
    base: dict[str, Any], folder: Path, changes: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    """What the command says to a config with some keys changed (None takes a key away)."""
    config = {key: value for key, value in {**copy.deepcopy(base), **changes}.items() if value is not None}
    path = folder / "changed.yml"
    path.write_text(yaml.safe_dump(config).replace("1.0e-08", "1.0e-8"), encoding="utf-8")
    code = cli.run(preflight_main, [str(path)])
    said = capsys.readouterr()
    return code, said.out, said.err


REFUSED: list[tuple[dict[str, Any], str]] = DATA["refused"]


@pytest.mark.parametrize(("changes", "said"), REFUSED, ids=[str(one[0])[:60] for one in REFUSED])
def test_refused_with_file_and_fix(
    base: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], said: str
) -> None:
    code, out, err = asked(base, tmp_path, changes, capsys)
    assert code == cli.REFUSED, out
    assert said in out, out
    assert "changed.yml" in err and "fix: " in err and "Traceback" not in err


SOUND: list[dict[str, Any]] = DATA["sound"]


@pytest.mark.parametrize("changes", SOUND, ids=[str(one)[:60] for one in SOUND])
def test_sound_configs_pass(
    base: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any]
) -> None:
    code, out, err = asked(base, tmp_path, changes, capsys)
    assert code == cli.OK, out + err


def test_a_single_dataset_with_its_split(
    base: dict[str, Any], shared_world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lists = {f"{split}_data_{kind}": None for split in ("train", "valid", "test") for kind in ("paths", "weights")}
    one = {**lists, "data_path": str(shared_world.prefix("news"))}
    assert asked(base, tmp_path, {**one, "split": "949,50,1"}, capsys)[0] == cli.OK
    for split, said in (
        ("a,b", "is not a list of numbers"),
        ("0,50,50", "leaves nothing to train on"),
        ("90,-5,15", "negative"),
        ("25,25,25,25", "drops all after the third"),
    ):
        code, out, _ = asked(base, tmp_path, {**one, "split": split}, capsys)
        assert code == cli.REFUSED and said in out, out
    code, out, _ = asked(base, tmp_path, {**one, "split": "90,5,3"}, capsys)
    assert code == cli.OK and "sums to 98" in out


CASES = DATA["cases"]


@pytest.mark.parametrize(("name", "said"), CASES, ids=[name for name, _ in CASES])
def test_the_tried_configs(name: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = shared() / "cases" / "neox" / name
    if not path.is_file():
        pytest.skip("no shared cases")
    assert cli.run(preflight_main, [str(path)]) == cli.REFUSED
    taken = capsys.readouterr()
    assert said in taken.out and name in taken.err and "fix: " in taken.err
    assert "exit_interval" not in taken.out + taken.err


def test_a_key_of_another_program_is_told_by_what_it_means() -> None:
    for name, right in (
        ("save_interval", "checkpoint_factor"),
        ("micro_batch_size", "train_micro_batch_size_per_gpu"),
        ("tensor_model_parallel_size", "model_parallel_size"),
        ("lr_warmup_fraction", "warmup"),
        ("num_layer", "num_layers"),
        ("hiden_size", "hidden_size"),
        ("numlayers", "num_layers"),
        ("save_intervall", "checkpoint_factor"),
    ):
        assert spellings.meant(name, KEYS) == right, name
    for name in ("fp8", "exit_duration", "log_iters", "tie_word_embeddings", "my_own_key"):
        assert spellings.meant(name, KEYS) is None, name
    assert {key.split(".")[0] for key in spellings.ELSEWHERE.values()} <= set(KEYS)
    assert not set(spellings.ELSEWHERE) & set(KEYS)


VALUES: tuple[Any, ...] = ("x", "", 1, 7, 0, -1, 1.5, True, False, [], [1], ["a"], {}, {"x": 1}, {"enabled": True})


@pytest.mark.neox
def test_whatever_gpt_neox_refuses_is_refused(neox: Any, base: dict[str, Any], tmp_path: Path) -> None:
    """Every key with values of every type: NeoXArgs itself is the judge. It may take what is refused here, never the other
    way round."""
    pairs, kept = [], []
    plain = json.loads(json.dumps(base))
    for number, name in enumerate(name for name in KEYS if name not in ("log_dir", "config_files", "tensorboard_dir")):
        for index, value in enumerate(VALUES):
            path = tmp_path / f"{number}-{index}.yml"
            path.write_text(yaml.safe_dump({**plain, name: value}).replace("1.0e-08", "1.0e-8"), encoding="utf-8")
            pairs.append([str(path), None])
            kept.append((path, name, value))
    probe = Path(__file__).parents[1] / "neox_args_probe.py"
    environment = {**neox.environment, "FAKE_CUDA_COUNT": "1"}
    environment["PYTHONPATH"] = f"{neox.root}:{environment.get('PYTHONPATH', '')}"
    done = subprocess.run(
        [str(neox.python), str(probe)],
        input=json.dumps(pairs),
        capture_output=True,
        text=True,
        cwd=neox.root,
        env=environment,
        check=True,
    )
    told = json.loads(done.stdout.splitlines()[-1].removeprefix("PROBE "))["configs"]
    missed = []
    for (path, name, value), theirs in zip(kept, told, strict=True):
        if "error" in theirs and name not in ("hostfile",):
            try:
                bad = bool(preflight.preflight([path], gpus=1).failed)
            except cli.HaigoError:
                bad = True
            if not bad:
                missed.append((name, value, theirs["error"]))
    assert sum("error" in one for one in told) > 2000 and not missed, missed
