"""launch.preflight repeats GPT-NeoX's own validation, and refuses what that would silently train wrongly."""

from __future__ import annotations

import copy
import json
import math
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from neox_world import World

from haigo import cli
from launch.plan import preflight
from launch.plan.config import make_config
from launch.plan.options import ConfigOptions
from launch.preflight import main as preflight_main
from neox_configs import spellings
from neox_configs.keys import KEYS
from tests.conftest import shared

ADAM = {"lr": 0.004, "betas": [0.9, 0.95], "eps": 1e-8}


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


def adam(**changes: Any) -> dict[str, Any]:
    params = {key: value for key, value in {**ADAM, **changes}.items() if value is not None}
    return {"optimizer": {"type": "Adam", "params": params}}


def zero(**block: Any) -> dict[str, Any]:
    return {"zero_optimization": {"stage": 1, **block}}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"optimizer": None}, "there is no optimizer"),
    ({"optimizer": {"type": "AdamW", "params": ADAM}}, "optimizer type 'AdamW' is not one of GPT-NeoX's"),
    ({"optimizer": {"type": "Adam", "lr": 0.1, "params": {}}}, "optimizer.lr is read by nobody"),
    ({"optimizer": {"params": ADAM}}, "no type"),
    ({"optimizer": {"type": "Adam"}}, "no params"),
    (adam(weight_decay=0.1), "weight_decay is given twice"),
    (adam(max_grad_norm=1.0), "max_grad_norm is not a param of adam"),
    (adam(beta=0.9), "optimizer.params.beta is not a param"),
    (adam(amsgrad=True), "amsgrad"),
    (adam(betas=[0.9]), "betas is [0.9]"),
    (adam(betas=[0.9, 1.0]), "betas is [0.9, 1.0]"),
    (adam(betas=0.9), "betas is 0.9"),
    (adam(lr=0), "lr is 0"),
    (adam(lr=-1.0), "lr is -1.0"),
    (adam(eps=0.0), "eps is 0.0"),
    (adam(lr={}), "lr is {}"),
    ({"optimizer": {"type": "Adam", "params": {"lr": None}}}, "lr is None"),
    ({"optimizer": {"type": "Adam", "params": [1]}}, "no params"),
    ({"no_load_optim": True}, "dummy optimizer"),
    ({"lr": 0.5}, "lr: 0.5 does nothing"),
    ({"zero_stage": 1}, "zero_stage: 1 does nothing"),
    ({"fp16": {"enabled": True, "type": "bfloat16"}, "precision": None}, "fp16.type is 'bfloat16'"),
    ({"fp16": {"enabled": True}, "precision": "bfloat16", **zero()}, "asks for two precisions"),
    ({"fp16": {"enabled": True}, "bf16": {"enabled": True}, "precision": None, **zero()}, "asks for two precisions"),
    ({"fp16": {"loss_scale": 0}}, "fp16 has no `enabled`"),
    ({"fp16": {"enabled": "yes"}}, "fp16.enabled is 'yes'"),
    ({"fp16": {"enabled": True, "loss_scale_window": 0}, "precision": None}, "loss_scale_window is 0"),
    ({"fp16": {"enabled": True, "loss_scale": -1}, "precision": None}, "fp16.loss_scale is -1"),
    ({"bf16": {"enabled": False}, "precision": "bfloat16", **zero()}, "would take the run for fp32"),
    ({"deepspeed_extra_args": {"bf16": {"enabled": True}, "gradient_clipping": 1.0}}, "turns bf16 on"),
    ({"data_types": {"grad_accum_dtype": "fp8"}}, "grad_accum_dtype is 'fp8'"),
    ({"data_types": {"grad_accum_dtyp": "fp32"}}, "read by nobody"),
    ({"data_types": {"grad_accum_dtype": "fp16"}}, "DeepSpeed refuses to train in fp32 with gradients summed in fp16"),
    ({"precision": "FP32"}, "is then no word that it knows"),
    ({"lr_decay_style": "Cosine"}, "write lr_decay_style: cosine"),
    ({"activation": "GELU"}, "write activation: gelu"),
    ({"pos_emb": "Rotary"}, "write pos_emb: rotary"),
    ({"activation": "gelu_new"}, "'gelu_new' is not"),
    ({"norm": "layer_norm"}, "'layer_norm' is not"),
    ({"init_method": "xavier"}, "'xavier' is not"),
    ({"distributed_backend": "ncl"}, "none of torch's"),
    ({"warmup": 2000}, "it is a share of lr_decay_iters"),
    ({"warmup": 10}, "write warmup: 0.5 for 10 of 20 steps"),
    ({"warmup": -0.1}, "warmup is -0.1"),
    ({"log_interval": 0}, "log_interval is 0"),
    ({"steps_per_print": 0}, "steps_per_print is 0"),
    ({"eval_interval": 0}, "eval_interval is 0"),
    ({"eval_iters": -1}, "eval_iters is -1"),
    ({"train_iters": 0}, "train_iters is 0"),
    ({"lr_decay_iters": 0}, "lr_decay_iters is 0"),
    ({"lr_decay_iters": 10}, "GPT-NeoX's cosine goes on"),
    ({"seed": 0}, "seed is 0"),
    ({"keep_last_n_checkpoints": 0}, "delete every checkpoint"),
    ({"checkpoint_factor": 0}, "checkpoint_factor is 0"),
    ({"checkpoint_factor": 2.5}, "checkpoint_factor 2.5 is not a whole number"),
    ({"checkpoint_factor": 1, "checkpoint_scale": "log"}, "with checkpoint_scale log"),
    ({"extra_save_iters": ["5"]}, "extra_save_iters: '5' is no step"),
    ({"hidden_dropout": 1.0}, "hidden_dropout is 1.0"),
    ({"attention_dropout": 1.5}, "attention_dropout is 1.5"),
    ({"weight_decay": -0.1}, "weight_decay is -0.1"),
    ({"gradient_clipping": -1.0}, "gradient_clipping is -1.0"),
    ({"min_lr": -0.1}, "min_lr is -0.1"),
    ({"min_lr": math.nan}, "min_lr is nan"),
    ({"weight_decay": math.inf}, "weight_decay is inf"),
    (adam(lr=math.nan), "optimizer.params.lr is nan"),
    ({"num_layers": 0}, "num_layers is 0"),
    ({"hidden_size": -64}, "hidden_size is -64"),
    ({"num_attention_heads": 0}, "num_attention_heads is 0"),
    ({"seq_length": 0}, "seq_length is 0"),
    ({"train_micro_batch_size_per_gpu": 0}, "train_micro_batch_size_per_gpu is 0"),
    ({"gradient_accumulation_steps": 0}, "gradient_accumulation_steps is 0"),
    ({"make_vocab_size_divisible_by": 0}, "make_vocab_size_divisible_by is 0"),
    ({"rotary_pct": 1.5}, "rotary_pct is 1.5"),
    ({"rotary_pct": 0.2}, "is 3 dimensions"),
    ({"rotary_emb_base": 0}, "rotary_emb_base is 0"),
    ({"num_kv_heads": 3}, "4 heads cannot share num_kv_heads 3"),
    ({"num_kv_heads": 2, "model_parallel_size": 4, "num_gpus": 4}, "num_kv_heads 2 cannot be split"),
    ({"hidden_size": 66, "num_attention_heads": 3, "model_parallel_size": 4, "num_gpus": 4}, "cannot be split"),
    ({"intermediate_size": 255}, "an MLP of 255"),
    ({"activation": "swiglu", "intermediate_size": 86}, "an MLP of 86"),
    ({"intermediate_size": 256, "expansion_factor": 4.0}, "both given"),
    ({"num_unique_layers": 2}, "not a multiple of num_unique_layers"),
    ({"attention_config": [[["global"], 12]]}, "12 is no number of times for 3 layers"),
    ({"attention_config": [[["global"], 10**12]]}, "is no number of times"),
    ({"num_layers": 10**12}, "num_layers is 1000000000000"),
    ({"attention_config": [[["global", "flash"], "all"]]}, "are not a multiple of"),
    ({"attention_config": [["global"], 3]}, "is not [[KIND, ...], TIMES]"),
    ({"attention_config": [[["globall"], 3]]}, "'globall' is not a kind of attention"),
    ({"attention_config": ["global", "global"]}, "gives 2 layers of 3"),
    ({"attention_config": [[["gmlp"], 3]], "partition_activations": True}, "gmlp with partition_activations"),
    ({"num_kv_heads": 2, "attention_config": [[["local"], 3]]}, "grouped query heads with other attention"),
    ({"deepspeed": False}, "GPT-NeoX runs with DeepSpeed only"),
    ({"fp16_lm_cross_entropy": True}, "fp16_lm_cross_entropy without fp16"),
    ({"override_lr_scheduler": True, "use_checkpoint_lr_scheduler": True}, "are both true"),
    ({"norm": "non_parametric_layernorm", "layernorm_fusion": True}, "layernorm_fusion with"),
    ({"onnx_safe": True, "bias_gelu_fusion": True}, "onnx_safe with bias_gelu_fusion"),
    ({"log_gradient_noise_scale": True, **zero()}, "log_gradient_noise_scale with ZeRO"),
    ({"moe_num_experts": 2, "zero_optimization": {"stage": 2}}, "experts (MoE) with ZeRO 2"),
    ({"train_impl": "dpo", "pipe_parallel_size": 1}, "this train_impl with a pipeline"),
    ({"scheduler": {"type": "WarmupLR", "params": {}}}, "the scheduler block does nothing"),
    ({"scheduler": {"type": "WarmupLR"}}, "scheduler has no type"),
    ({"communication_data_type": True}, "communication_data_type"),
    ({"zero_optimization": {"stage": 4}}, "the stage 4"),
    ({"zero_optimization": {"stage": "1"}}, "the stage '1'"),
    ({"zero_optimization": {"reduce_scatter": True}}, "has no stage"),
    (zero(overlap_com=True), "knows no zero_optimization.overlap_com"),
    (zero(overlap_comm="yes"), "must be true or false"),
    (zero(reduce_bucket_size=5.0e8), "reduce_bucket_size is 500000000.0"),
    (zero(cpu_offload=True), "goes to the CPU"),
    (zero(offload_optimizer={"device": "cpu"}), "goes to the CPU"),
    ({"optimizer": {"type": "sm3", "params": {"lr": 0.1}}, **zero()}, "DeepSpeed does not shard"),
    ({"amp": {"enabled": True}, **zero()}, "amp with ZeRO"),
    ({"flops_profiler": {"profile_step": 1}}, "flops_profiler has no `enabled`"),
    ({"tensorboard": {"enable": True}}, "knows no tensorboard.enable"),
    ({"wandb": {"enabled": "yes"}}, "wandb.enabled is 'yes'"),
    ({"comms_logger": {"prof_ops": "all"}}, "must be a list"),
    ({"checkpoint": {"tag_validation": "maybe"}}, "tag_validation is 'maybe'"),
    ({"data_types": {"grad_accum_dtype": {}}}, "grad_accum_dtype is {}"),
    ({"deepspeed_extra_args": {"bf16": True}}, "bf16 is True, and must be a block"),
    (zero(offload_optimizer={"device": "gpu"}), "device is 'gpu'"),
    (zero(offload_param="cpu"), "must be a block"),
    (zero(reduce_scatter=None), "reduce_scatter is None"),
    ({"fp16": {"enabled": True, "fp16_master_weights_and_grads": True}, "precision": None}, "for ZeRO 2 only"),
    ({"train_data_weights": [1.5, -0.5]}, "is negative"),
    ({"train_data_weights": [1.0, 0.0]}, "a weight is 0"),
    ({"train_data_weights": [0.0, 0.0]}, "a weight is 0"),
    ({"valid_data_weights": [0.5, "0.5"]}, "'0.5'"),
    ({"train_data_weights": [0.5, True]}, "True"),
    ({"train_data_paths": []}, "no training data is named"),
    ({"train_data_paths": [1, 2]}, "1 is not the path of a dataset"),
    ({"finetune": True, "load": "/nowhere/at/all"}, "start from random weights"),
    ({"iteration": 5, "load": "/nowhere/at/all"}, "iteration 5"),
    ({"tokenizer_type": "HFTokenizer", "vocab_file": None}, "HFTokenizer without vocab_file"),
    ({"tokenizer_type": "GPT2BPETokenizer"}, "without merge_file"),
    ({"master_port": 70000}, "master_port is 70000"),
    ({"num_workers": -1}, "num_workers is -1"),
    ({"num_gpus": 0}, "num_gpus is 0"),
    ({"online_dataserver_ports": [1]}, "must be int"),
]


@pytest.mark.parametrize(("changes", "said"), REFUSED, ids=[str(one[0])[:60] for one in REFUSED])
def test_refused_with_file_and_fix(
    base: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], said: str
) -> None:
    code, out, err = asked(base, tmp_path, changes, capsys)
    assert code == cli.REFUSED, out
    assert said in out, out
    assert "changed.yml" in err and "fix: " in err and "Traceback" not in err


SOUND: list[dict[str, Any]] = [
    {},
    {"train_iters": 22},  # the cosine has hardly begun to rise
    {"attention_config": [[["global"], "all"]]},
    {"attention_config": ["global", "flash", "global"]},
    {"activation": "swiglu", "intermediate_size": 96},
    {"rotary_pct": 0.25},
    {"num_kv_heads": 2},
    {"num_kv_heads": 4},
    {"exit_interval": 0},
    {"checkpoint_factor": 7.0},
    {"optimizer": {"type": "adam", "params": {**ADAM, "bias_correction": True}}},
    {"optimizer": {"type": "Lion", "params": {"lr": 0.001, "betas": [0.9, 0.99]}}},
    {"lr": 0.004},
    {"precision": None, "fp16": {"enabled": True, "loss_scale": 0, "hysteresis": 2, "min_loss_scale": 1}},
    {"precision": "fp16", "fp16": {"loss_scale": 0}},
    {"precision": "bfloat16", **zero(), "data_types": {"grad_accum_dtype": "fp32"}},
    {"tokenizer_type": "spmtokenizer"},
    zero(reduce_bucket_size=500000000, overlap_comm=True, contiguous_gradients=True, cpu_offload=False),
    {"hidden_dropout": 0, "attention_dropout": 0.1, "min_lr": 0},
    {"train_data_weights": [3, 1]},
    {"seed": 1},
]


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


CASES = (
    ("adamw.yml", "optimizer type 'AdamW'"),
    ("attn_len.yml", "attention_config gives 12 layers of 24"),
    ("fp16_type_bf16.yml", "fp16.type is 'bfloat16'"),
    ("log0.yml", "log_interval is 0"),
    ("no_optimizer.yml", "there is no optimizer"),
    ("old_keys.yml", "Did you mean 'checkpoint_factor'?"),
    ("two_precisions.yml", "asks for two precisions"),
    ("warmup.yml", "warmup is 2000"),
    ("wd_in_params.yml", "weight_decay is given twice"),
    ("wneg.yml", "is negative"),
)


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
