"""Configs that GPT-NeoX takes without a word and then trains otherwise than they read, or ends on at its first batch."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from neox_world import World, write_weights
from shared_data import data_of

from haigo import cli
from launch import preflight
from launch.plan.config import write_config
from launch.plan.options import ConfigOptions

DATA = data_of(__file__)


@pytest.fixture
def asked(shared_world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Changed keys (None takes a key away) -> exit code and all that was said."""
    write_config(
        ConfigOptions(
            model="1-3B",
            cluster="a100-40gb",
            nodes=1,
            seq_length=512,
            mixture=shared_world.mixture,
            catalogue=shared_world.catalogue,
            output=tmp_path / "base.yml",
        )
    )
    base = yaml.safe_load((tmp_path / "base.yml").read_text())

    def call(changes: dict[str, Any]) -> tuple[int, str]:
        config = {key: value for key, value in {**copy.deepcopy(base), **changes}.items() if value is not None}
        (tmp_path / "changed.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
        code = cli.run(preflight.main, [str(tmp_path / "changed.yml"), "--gpus", "4"])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, said.out

    code, out = call({})
    assert code == cli.OK, out
    return call


FUSED = {"scaled_upper_triang_masked_softmax_fusion": True}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"load": "/nowhere/at/all"}, "holds no checkpoint: GPT-NeoX would start at step 0 from random weights"),
        ({"load": "EleutherAI/pythia-1b"}, "from random weights"),
        ({"load": None, "iteration": 5}, "iteration: 5 does nothing without load"),
        ({"save": "~/runs/a", "load": "~/runs/a"}, "GPT-NeoX puts no value in place of ~ and $"),
        ({"save": "$HOME/a", "load": "$HOME/a"}, "GPT-NeoX puts no value in place of ~ and $"),
        ({"save": str(Path(__file__).resolve()), "load": None}, "is a file, not a folder"),
        ({"train_impl": "dpo"}, "write dataset_impl: pairwise"),
        ({"train_impl": "rm"}, "write dataset_impl: pairwise"),
        ({"train_impl": "kto"}, "without train_reward_data_paths"),
        ({"train_impl": "reinforce"}, "dataset_impl: online"),
        ({"dataset_impl": "pairwise"}, "leave dataset_impl out"),
        ({"moe_num_experts": 4, "moe_top_k": 5}, "moe_top_k is above moe_num_experts"),
        ({"moe_num_experts": 3, "model_parallel_size": 2, "train_batch_size": None}, "moe_num_experts cannot be split"),
        ({"use_mup": True}, "use_mup without base_shapes_file"),
        ({"pos_emb": "rpe", "attention_config": [[["flash"], 24]]}, "flash attention leaves the rpe out"),
        ({"sliding_window_width": 100, "attention_config": None}, "counts in flash attention only"),
        (
            {"sliding_window_width": 100, "attention_config": None, "pipe_parallel_size": 1, "eval_iters": 0, **FUSED},
            "the fused causal softmax has no window",
        ),
        ({"curriculum_learning": {"enabled": True}}, "curriculum_learning has no curriculum_type"),
    ],
)
def test_named(asked: Any, changes: dict[str, Any], said: str) -> None:
    code, out = asked(changes)
    assert code == cli.REFUSED and said in out, out


@pytest.mark.parametrize(("changes", "said"), DATA["warned"])
def test_warned(asked: Any, changes: dict[str, Any], said: str) -> None:
    code, out = asked(changes)
    warned = [line for line in out.splitlines() if line.startswith(("warn", "       fix"))]
    assert code == cli.OK and said in "\n".join(warned), out


def test_a_window_that_is_there_or_too_wide_to_matter(asked: Any) -> None:
    for changes in (
        {"attention_config": [[["flash"], 24]]},
        {"pipe_parallel_size": 1, "eval_iters": 0},
        {"seq_length": 101},
    ):
        plain = {"attention_config": None, "scaled_upper_triang_masked_softmax_fusion": False}
        code, out = asked({"sliding_window_width": 100, **plain, **changes})
        assert code == cli.OK and "window" not in out, out


def test_a_run_measured_on_what_it_was_trained_on(asked: Any, shared_world: World) -> None:
    same = {"valid_data_paths": [str(shared_world.prefix("news"))], "valid_data_weights": [1.0]}
    code, out = asked(same)
    assert code == cli.OK and "which is trained on" in out


def test_checkpoints_of_another_run_in_the_save_folder(asked: Any, tmp_path: Path) -> None:
    save = tmp_path / "save"
    write_weights(save / "global_step10")
    (save / "latest").write_text("global_step10")
    code, out = asked({"save": str(save), "load": None})
    assert code == cli.OK and "warn resume: " in out and "start again and write over them" in out
    code, out = asked({"save": str(save), "load": f"{save}/"})
    assert code == cli.OK and "goes on from global_step10" in out and "warn resume" not in out
    # not there yet: the first start of a run that goes on by itself
    code, out = asked({"save": str(tmp_path / "new"), "load": f"{tmp_path}/./new"})
    assert code == cli.OK and "warn resume" not in out


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "holds no weights"), (b"", "which is empty"), (b"PK\x03\x04" + b"x" * 90, "is cut short")],
)
def test_a_torn_checkpoint_to_load(asked: Any, tmp_path: Path, content: bytes | None, said: str) -> None:
    step = tmp_path / "base" / "global_step7"
    step.mkdir(parents=True)
    (tmp_path / "base" / "latest").write_text("global_step7")
    if content is not None:
        (step / "mp_rank_00_model_states.pt").write_bytes(content)
    for changes in ({"finetune": True}, {}, {"iteration": 7}):
        code, out = asked({"load": str(tmp_path / "base"), **changes})
        assert code == cli.REFUSED and said in out and "GPT-NeoX ends when it loads that" in out, out
    # of its own checkpoints launch.deepy takes the last whole one
    code, out = asked({"load": str(tmp_path / "base"), "save": str(tmp_path / "base")})
    assert code == cli.OK and said in out, out
