"""The same loss curve as GPT-NeoX's, from the same weights, YAML and datasets: against its numbers kept in
golden_curves.json, and against the program itself where it is at hand."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from haigo import yamlfile
from haigo.formats.dataset.indexed import MMapWriter
from launch.engine import log
from launch.local.train import train

HERE = Path(__file__).parent
GOLDEN = HERE / "golden_curves.json"
STEPS, SEQ, HIDDEN, LAYERS, HEADS, INNER = 50, 32, 32, 2, 4, 88
LLAMA: dict[str, object] = {
    "norm": "rmsnorm",
    "rms_norm_epsilon": 1e-5,
    "activation": "swiglu",
    "use_bias_in_norms": False,
    "use_bias_in_attn_linear": False,
    "use_bias_in_mlp": False,
    "intermediate_size": 3 * INNER,
    "num_attention_heads": HEADS,
}
CASES: dict[str, dict[str, object]] = {
    "as shipped": {},
    "parallel residual, quarter rotary, accumulation": {
        "gpt_j_residual": True,
        "rotary_pct": 0.25,
        "train_micro_batch_size_per_gpu": 2,
        "gradient_accumulation_steps": 2,
        "lr_decay_style": "linear",
        "warmup": 0.1,
    },
    "really clipped, no decay, constant rate, masked": {
        "deepspeed_extra_args": {"gradient_clipping": 0.3},
        "weight_decay": 0.0,
        "lr_decay_style": "constant",
        "eod_mask_loss": True,
        "layernorm_epsilon": 0.001,
    },
    "clipped by the usual key": {"gradient_clipping": 0.3, "bias_gelu_fusion": True},
    "llama, grouped heads": {**LLAMA, "num_kv_heads": 2, "rotary_emb_base": 500000},
    "llama, one key head, rounded MLP, clipped, accumulation": {
        **LLAMA,
        "num_kv_heads": 1,
        "intermediate_size": 3 * 80 - 5,
        "mlp_multiple_of": INNER // 2,
        "rms_norm_epsilon": 0.001,
        "deepspeed_extra_args": {"gradient_clipping": 0.3},
        "train_micro_batch_size_per_gpu": 2,
        "gradient_accumulation_steps": 2,
    },
    "llama, all heads, tied, no decay": {**LLAMA, "no_weight_tying": False, "weight_decay": 0.0},
}


@pytest.fixture(scope="module")
def corpora(world, tmp_path_factory) -> list[str]:
    """Two datasets that depend on numpy's frozen generator alone, so that the golden numbers hold everywhere."""
    root = tmp_path_factory.mktemp("curve")
    made = []
    for number, (documents, longest) in enumerate(((60, 90), (20, 70))):
        random = np.random.RandomState(number)
        prefix = root / f"c{number}" / "train_text_document"
        with MMapWriter(prefix, np.uint16) as writer:
            for _ in range(documents):
                walk = np.cumsum(random.randint(0, 3, size=random.randint(2, longest))) * (number + 2) % 300 + 3
                writer.add([*walk, world.words.eod_id])
                writer.end_document()
        made.append(str(prefix))
    return made


def config_of(world, corpora, case: str) -> dict[str, object]:
    changes = {
        "train_iters": STEPS,
        "train_data_paths": corpora,
        "valid_data_paths": corpora,
        "test_data_paths": corpora,
        "make_vocab_size_divisible_by": 128,
        "warmup": 0.05,
        "min_lr": 0.0005,
        **CASES[case],
    }
    return world.config(**changes)


def weights(case: str) -> dict[str, np.ndarray]:
    """Start weights from numpy's frozen generator, norms and biases shaken too, by transformers' names."""
    random = np.random.RandomState(42)
    made = {}
    for name, shape in sorted((llama_shapes if case.startswith("llama") else gpt_shapes)(CASES[case]).items()):
        values = random.standard_normal(shape) * (0.11 if len(shape) == 2 else 0.02)
        made[name] = (values + (1.0 if "norm.weight" in name else 0.0)).astype(np.float32)
    return made


def gpt_shapes(case: dict[str, object]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"gpt_neox.embed_in.weight": (384, HIDDEN), "lm_head.weight": (384, HIDDEN)}
    for name in ("weight", "bias"):
        shapes[f"gpt_neox.final_layer_norm.{name}"] = (HIDDEN,)
    for layer in range(LAYERS):
        start = f"gpt_neox.layers.{layer}."
        for block, rows, columns in (
            ("attention.query_key_value", 3 * HIDDEN, HIDDEN),
            ("attention.dense", HIDDEN, HIDDEN),
            ("mlp.dense_h_to_4h", 4 * HIDDEN, HIDDEN),
            ("mlp.dense_4h_to_h", HIDDEN, 4 * HIDDEN),
        ):
            shapes |= {f"{start}{block}.weight": (rows, columns), f"{start}{block}.bias": (rows,)}
        for norm in ("input_layernorm", "post_attention_layernorm"):
            shapes |= {f"{start}{norm}.weight": (HIDDEN,), f"{start}{norm}.bias": (HIDDEN,)}
    return shapes


def llama_shapes(case: dict[str, object]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (384, HIDDEN), "model.norm.weight": (HIDDEN,)}
    if case.get("no_weight_tying", True):
        shapes["lm_head.weight"] = (384, HIDDEN)
    few = HIDDEN // HEADS * int(str(case.get("num_kv_heads", HEADS)))
    for layer in range(LAYERS):
        start = f"model.layers.{layer}."
        for name, rows in (("q", HIDDEN), ("k", few), ("v", few), ("o", HIDDEN)):
            shapes[f"{start}self_attn.{name}_proj.weight"] = (rows, HIDDEN)
        for name in ("gate", "up"):
            shapes[f"{start}mlp.{name}_proj.weight"] = (INNER, HIDDEN)
        shapes[f"{start}mlp.down_proj.weight"] = (HIDDEN, INNER)
        shapes |= {f"{start}{norm}.weight": (HIDDEN,) for norm in ("input_layernorm", "post_attention_layernorm")}
    return shapes


def as_neox_has_them(case: str) -> dict[str, np.ndarray]:
    """The same weights with a Llama's matrices laid together as GPT-NeoX multiplies with them; by names of neox_curve.py."""
    given = weights(case)
    if not case.startswith("llama"):
        return given
    made = {"gpt_neox.embed_in.weight": given["model.embed_tokens.weight"]}
    if "lm_head.weight" in given:
        made["lm_head.weight"] = given["lm_head.weight"]
    made["gpt_neox.final_layer_norm.scale"] = given["model.norm.weight"]
    for layer in range(LAYERS):
        from_here, there = f"model.layers.{layer}.", f"gpt_neox.layers.{layer}."
        q, k, v, o = (given[f"{from_here}self_attn.{name}_proj.weight"] for name in "qkvo")
        if len(k) == len(q):  # head by head
            parts = [part.reshape(HEADS, -1, HIDDEN) for part in (q, k, v)]
            made[f"{there}attention.query_key_value.weight"] = np.concatenate(parts, 1).reshape(-1, HIDDEN)
        else:
            made[f"{there}attention.query_key_value.weight"] = np.concatenate([q, k, v])
        made[f"{there}attention.dense.weight"] = o
        up, gate, down = (given[f"{from_here}mlp.{name}_proj.weight"] for name in ("up", "gate", "down"))
        made[f"{there}mlp.dense_h_to_4h.weight"] = np.concatenate([up, gate])
        made[f"{there}mlp.dense_4h_to_h.weight"] = down
        for norm in ("input_layernorm", "post_attention_layernorm"):
            made[f"{there}{norm}.scale"] = given[f"{from_here}{norm}.weight"]
    return made


def ours(world, corpora, case: str, folder: Path) -> list[float]:
    import torch
    from safetensors.torch import save_file

    (folder / "start").mkdir(parents=True)
    save_file(
        {name: torch.from_numpy(value) for name, value in weights(case).items()}, folder / "start/model.safetensors"
    )
    train(
        config_of(world, corpora, case),
        folder / "run",
        tokenizer=world.tokenizer,
        init_from=folder / "start",
        valid={},
        export=False,
        checkpoints=False,
        progress=lambda tick: None,
    )
    return [entry["loss"] for entry in log.read(folder / "run" / "log.jsonl") if "loss" in entry]


@pytest.mark.parametrize("case", CASES)
def test_golden_curve(world, corpora, case, tmp_path):
    golden = json.loads(GOLDEN.read_text())[case]
    found = ours(world, corpora, case, tmp_path)
    assert len(found) == STEPS
    assert max(abs(a - b) for a, b in zip(found, golden, strict=True)) < 1e-4


@pytest.mark.neox
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_equals_neox(world, corpora, case, tmp_path, neox):
    theirs = {
        **config_of(world, corpora, case),
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
    }
    yamlfile.write(tmp_path / "neox.yml", theirs)
    np.savez(tmp_path / "start.npz", **as_neox_has_them(case))
    done = subprocess.run(
        [
            str(neox.python),
            str(HERE / "neox_curve.py"),
            str(tmp_path / "neox.yml"),
            str(tmp_path / "start.npz"),
        ],
        cwd=neox.root,
        env=neox.environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    losses = json.loads(done.stdout)["losses"]
    if os.environ.get("HAIGO_WRITE_GOLDEN"):
        known = json.loads(GOLDEN.read_text()) if GOLDEN.is_file() else {}
        GOLDEN.write_text(json.dumps({**known, case: [round(loss, 6) for loss in losses]}, indent=1) + "\n")
    found = ours(world, corpora, case, tmp_path)
    worst = max(abs(a - b) for a, b in zip(found, losses, strict=True))
    print(f"{case}: largest difference over {STEPS} steps {worst:.2e}")
    assert worst < 1e-3
