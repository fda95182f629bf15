"""Parameters to the last one: against what GPT-NeoX's own models had (golden_parameters.json), and against the program itself
where it is at hand."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from haigo import yamlfile
from neox_configs import derive, huggingface

HERE = Path(__file__).parent
GOLDEN = HERE / "golden_parameters.json"
GPT: dict[str, Any] = {
    "num_layers": 2, "hidden_size": 48, "num_attention_heads": 6, "seq_length": 32, "max_position_embeddings": 32,
    "pos_emb": "rotary", "no_weight_tying": True,
}  # fmt: skip
LLAMA = {**GPT, "norm": "rmsnorm", "activation": "swiglu", "intermediate_size": 3 * 128, "num_kv_heads": 2}
LLAMA |= {"use_bias_in_norms": False, "use_bias_in_attn_linear": False, "use_bias_in_mlp": False}
CASES: dict[str, dict[str, Any]] = {
    "gpt": GPT,
    "gpt-learned-tied": {**GPT, "pos_emb": "learned", "no_weight_tying": False},
    "gpt-wide": {**GPT, "intermediate_size": 100, "mlp_multiple_of": 8, "use_bias_in_norms": False},
    "gpt-grouped": {**GPT, "num_kv_heads": 3, "use_bias_in_attn_linear": False, "gpt_j_residual": True},
    "gpt-qk-norm": {**GPT, "use_qk_layernorm": True},
    "gpt-bare-norms": {**GPT, "norm": "non_parametric_layernorm"},
    "gpt-scale-norms": {**GPT, "norm": "scalenorm", "activation": "geglu", "intermediate_size": 96},
    "llama": LLAMA,
    "llama-single-head": {**LLAMA, "num_kv_heads": 1, "no_weight_tying": False},
    "llama-all-heads": {**LLAMA, "num_kv_heads": 6, "intermediate_size": 388, "mlp_multiple_of": 32},
    "llama-biased": {**LLAMA, "use_bias_in_attn_linear": True, "use_bias_in_mlp": True},
    "llama-default-mlp": {**LLAMA, "intermediate_size": None},
}


@pytest.mark.parametrize("name", CASES)
def test_golden_counts(name: str) -> None:
    config = {key: value for key, value in CASES[name].items() if value is not None}
    assert derive.parameters(config, 512) == tuple(json.loads(GOLDEN.read_text())[name])


@pytest.mark.parametrize("name", ["gpt", *(name for name in CASES if name.startswith("llama"))])
def test_the_model_of_transformers_has_as_many(name: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from launch.engine.model import hf_config

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(hf_config(huggingface.fields(CASES[name]), vocab_size=512))
    assert sum(weight.numel() for weight in model.parameters()) == derive.parameters(CASES[name], 512)[1]


@pytest.mark.neox
@pytest.mark.slow
def test_equals_neox(neox: Any, tmp_path: Path) -> None:
    common = {
        "train_iters": 1, "train_micro_batch_size_per_gpu": 1, "optimizer": {"type": "Adam", "params": {"lr": 0.001}},
        "precision": "fp32", "distributed_backend": "gloo", "num_gpus": 1, "pipe_parallel_size": 0,
        "model_parallel_size": 1, "tokenizer_type": "CharLevelTokenizer", "zero_optimization": {"stage": 0},
        "vocab_file": "none", "data_impl": "mmap",
    }  # fmt: skip
    files = []
    for name, config in CASES.items():
        files.append(tmp_path / f"{name}.yml")
        yamlfile.write(files[-1], {key: value for key, value in (common | config).items() if value is not None})
    done = subprocess.run(
        [str(neox.python), str(HERE / "neox_parameters.py"), *map(str, files)],
        cwd=neox.root, env=neox.environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    counts = json.loads(done.stdout)
    if os.environ.get("HAIGO_WRITE_GOLDEN"):
        GOLDEN.write_text(json.dumps(counts, indent=1) + "\n")
    assert counts == {
        name: list(derive.parameters({key: value for key, value in config.items() if value is not None}, 512))
        for name, config in CASES.items()
    }
