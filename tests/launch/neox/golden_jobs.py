"""Small configs and ways to start them: golden_commands.json holds what the real deepy.py and launcher made of them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

_MODEL = """num_layers: 2
hidden_size: 64
num_attention_heads: 4
seq_length: 128
"max-position-embeddings": 128
train_iters: 10
"""
CONFIGS = {
    "fp16.yml": f"# 日本語\n{_MODEL}fp16: {{enabled: true, loss_scale: 0}}\ntrain_micro_batch_size_per_gpu: 2\n",
    "bf16.yml": _MODEL
    + "precision: bfloat16\nzero_optimization: {stage: 1}\ndata_types: {grad_accum_dtype: fp32}\n"
    + "deepspeed_extra_args: {gradient_clipping: 1.0}\ntrain_micro_batch_size_per_gpu: 1\n"
    + "gradient_accumulation_steps: 8\nattention_config: [[[global], all]]\n"
    + "train_data_paths: [a, b]\nvalid_data_paths: [a]\ntest_data_paths: [b]\n",
    "onebit.yml": _MODEL
    + "optimizer: {type: OneBitAdam, params: {lr: 1.0e-4, freeze_step: 5}}\ntrain_batch_size: 16\n"
    + "model_parallel_size: 2\npipe_parallel_size: 1\nsample_input_file: x.txt\n",
    "slurm.yml": 'launcher: slurm\ndeepspeed_slurm: true\ncomment: it\'s a "run"\n',
    "openmpi.yml": "launcher: openmpi\nforce_multi: true\n",
}
HOSTS = {"one": "a slots=4\n", "two": "a slots=4\nb slots=4\n"}
_OMPI = {f"OMPI_COMM_WORLD_{name}": value for name, value in (("LOCAL_RANK", "0"), ("RANK", "0"), ("SIZE", "1"))}
_SLURM = {"SLURM_LOCALID": "0", "SLURM_PROCID": "0", "SLURM_NTASKS": "8"}
_ODD = {"MASTER_ADDR": "10.0.0.1", "NCCL_SOCKET_IFNAME": "^lo,docker0", "PYTHON_X": 'a $b "c"', "SOME": "thing"}


def write(folder: Path) -> None:
    """The configs, hostfiles and a train.py, by their plain names in one folder."""
    for name, text in {**CONFIGS, **HOSTS, "train.py": ""}.items():
        (folder / name).write_text(text, encoding="utf-8")


def jobs() -> list[dict[str, Any]]:
    """What deepy.py is called with, in that folder."""
    made = []
    for config in ("fp16.yml", "bf16.yml", "onebit.yml"):
        for more, hosts, environ in (
            ([], None, {}),
            ([], "one", _ODD),
            ([], "two", _ODD),
            (["slurm.yml"], "two", {**_ODD, **_SLURM}),
            (["openmpi.yml"], "two", {**_ODD, **_OMPI}),
        ):
            overwrite = {"user_script": "train.py", **({"hostfile": hosts} if hosts else {})}
            argv = ["train.py", config, *more, *(["--hostfile", hosts] if hosts else [])]
            base = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
            made.append(
                {
                    "argv": argv,
                    "paths": [config, *more],
                    "overwrite": overwrite,
                    "environ": {**base, **environ},
                    "devices": 4,
                }
            )
    return made


def shortened(told: Any) -> Any:
    """The same with every long word (base64) replaced by its digest."""
    if isinstance(told, str):
        return told if len(told) < 300 else f"sha256 {hashlib.sha256(told.encode()).hexdigest()}"
    if isinstance(told, list):
        return [shortened(one) for one in told]
    if isinstance(told, dict):
        return {name: shortened(one) for name, one in told.items()}
    return told
