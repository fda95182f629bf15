"""Checkpoints from elsewhere: what they may hold is read, what they could run is named and refused, by every verb."""

from __future__ import annotations

import argparse
import collections
import io
import os
import pickle
import random
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from haigo import cli, pickles
from launch import stretch
from launch.neox.conversion import checkpoint
from launch.neox.conversion import pickles as checkpoints

STEP = "global_step20"


class Calls:
    """Pickles to a call."""

    def __init__(self, called: Any, *arguments: Any) -> None:
        self.called, self.arguments = called, arguments

    def __reduce__(self) -> Any:
        return self.called, self.arguments


def states() -> dict[str, Any]:
    """What GPT-NeoX and DeepSpeed write beside the weights."""
    np.random.seed(1)
    return {
        "module": collections.OrderedDict(w=torch.ones(3, dtype=torch.bfloat16), p=torch.nn.Parameter(torch.zeros(2))),
        "args": {"max_position_embeddings": 128, "sizes": torch.Size([2]), "kind": torch.float16},
        "sparse_tensor_module_names": set(),
        "random_rng_state": random.Random(3).getstate(),
        "np_rng_state": np.random.get_state(),
        "torch_rng_state": torch.get_rng_state(),
        "rng_tracker_states": {"model-parallel-rng": torch.get_rng_state()},
        "named": argparse.Namespace(a=1, b=b"\xff\x00"),
        "ds_config": {"fp16": {"enabled": True}},
        "lr_scheduler": None,
        "dp_world_size": 2,
    }


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A save folder with one checkpoint, whose weights a test writes."""
    folder = tmp_path / "received"
    (folder / STEP / "configs").mkdir(parents=True)
    text = '{"max_position_embeddings": 128, "seq_length": 128, "num_layers": 2, "hidden_size": 8, "num_attention_heads": 2,'
    text += ' "pos_emb": "rotary"}'
    (folder / STEP / "configs" / "c.yml").write_text(text)
    (folder / "latest").write_text(STEP)
    return folder


@pytest.fixture
def stretched(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """The state of a checkpoint -> exit code and what was said by launch.stretch."""
    monkeypatch.setattr(stretch, "interpreter", lambda: Path(sys.executable))

    def call(state: Any) -> tuple[int, str]:
        path = base / STEP / "mp_rank_00_model_states.pt"
        path.write_bytes(state) if isinstance(state, bytes) else torch.save(state, path)
        code = cli.run(stretch.main, [str(base), "--seq-length", "512", "--output-dir", str(tmp_path / "copy")])
        return code, capsys.readouterr().err

    return call


def same(one: Any, two: Any) -> bool:
    if isinstance(one, torch.Tensor | np.ndarray):
        return type(one) is type(two) and one.dtype == two.dtype and one.tolist() == two.tolist()
    if isinstance(one, dict):
        return type(one) is type(two) and one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, tuple | list):
        return type(one) is type(two) and len(one) == len(two) and all(map(same, one, two))
    return bool(one == two)


def test_all_that_a_checkpoint_holds_is_copied(stretched: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = types.ModuleType("deepspeed.runtime.fp16.loss_scaler")
    scaler = type("DynamicLossScaler", (), {"__module__": fake.__name__})
    fake.DynamicLossScaler = scaler  # type: ignore[attr-defined]
    for package in ("deepspeed", "deepspeed.runtime", "deepspeed.runtime.fp16"):
        monkeypatch.setitem(sys.modules, package, types.ModuleType(package))
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    code, said = stretched(states() | {"optimizer": {"loss_scaler": scaler(), "state": [torch.ones(4)]}})
    assert code == 0, said
    copy = torch.load(tmp_path / "copy" / STEP / "mp_rank_00_model_states.pt", weights_only=False)
    wanted = states() | {"optimizer": None}
    wanted["args"]["max_position_embeddings"] = 512
    assert same(wanted, copy)
    (tmp_path / "copy").rename(tmp_path / "other")
    code, said = stretched(states() | {"args": {"max_position_embeddings": 128, "scaler": scaler()}})
    assert code == 4 and "an object of deepspeed.runtime.fp16.loss_scaler.DynamicLossScaler cannot be copied" in said


def script() -> bytes:
    """A TorchScript program in the place of weights."""
    held = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), held)
    return held.getvalue()


HOSTILE = {
    "posix.mkdir": lambda mark: Calls(os.mkdir, mark),
    "builtins.eval": lambda mark: Calls(eval, f"__import__('os').mkdir({mark!r})"),
    "builtins.getattr": lambda mark: Calls(getattr, mark, "upper"),
    "torch.serialization.load": lambda mark: Calls(torch.load, mark),
    "torch.hub.load": lambda mark: Calls(torch.hub.load, mark, "x"),
    "numpy.load": lambda mark: Calls(np.lib._npyio_impl.load, mark),
    "functools.partial": lambda mark: __import__("functools").partial(print, mark),
    "codecs.decode": lambda mark: Calls(__import__("codecs").decode, mark),
    "pickle.loads": lambda mark: Calls(pickle.loads, b""),
    "subprocess.Popen": lambda mark: Calls(__import__("subprocess").Popen, ["mkdir", mark]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_could_run_is_named_and_refused(name: str, base: Path, tmp_path: Path) -> None:
    mark, path = tmp_path / "ran", base / STEP / "mp_rank_00_model_states.pt"
    torch.save(states() | {"optimizer": HOSTILE[name](str(mark))}, path)
    with pytest.raises(checkpoints.Named, match=name.rpartition(".")[2]):
        checkpoints.load(str(path))
    with pytest.raises(cli.Refused, match=r"mp_rank_00_model_states\.pt names .*" + name.rpartition(".")[2]):
        checkpoint.read(path, base / STEP)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["posix.mkdir", "torch.hub.load"])
def test_stretch_refuses_it(name: str, stretched: Any, base: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    code, said = stretched(states() | {"optimizer": HOSTILE[name](str(mark))})
    assert code == 3 and f"{base / STEP / 'mp_rank_00_model_states.pt'} names {name}" in said, said
    assert not mark.exists() and not (tmp_path / "copy").exists()


def test_programs_and_old_pickles_are_refused(stretched: Any, base: Path, tmp_path: Path) -> None:
    code, said = stretched(script())
    assert code == 3 and "names torch.jit" in said
    code, said = stretched(pickle.dumps(Calls(os.mkdir, str(tmp_path / "ran"))))
    assert code == 4 and "could not be rewritten" in said and not (tmp_path / "ran").exists()
    held = io.BytesIO()
    torch.save(states(), held, _use_new_zipfile_serialization=False)
    assert stretched(held.getvalue())[0] == 4
    with zipfile.ZipFile(held := io.BytesIO(), "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps(Calls(os.mkdir, str(tmp_path / "ran")), protocol=2))
        archive.writestr("a/version", "3")
    assert stretched(held.getvalue())[0] in (3, 4) and not (tmp_path / "ran").exists()


def test_folders_beside_the_program_are_not_what_it_imports(
    stretched: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "torch.py").write_text(f"import os; os.mkdir({str(tmp_path / 'ran')!r})")
    monkeypatch.chdir(tmp_path / "here")
    assert stretched(states())[0] == 0 and not (tmp_path / "ran").exists()


def test_a_jobs_answer_is_data(tmp_path: Path) -> None:
    path = tmp_path / "1_0_result.pkl"
    path.write_bytes(pickle.dumps(("success", {"loss": 1.5, "names": ["a", None]})))
    assert pickles.plain(path) == ("success", {"loss": 1.5, "names": ["a", None]})
    path.write_bytes(pickle.dumps(("success", Calls(os.mkdir, str(tmp_path / "ran")))))
    with pytest.raises(pickle.UnpicklingError, match=r"names posix\.mkdir") as caught:
        pickles.plain(path)
    told = pickles.refusal(path, caught.value)
    assert told is not None and told.code == 3 and not (tmp_path / "ran").exists()
