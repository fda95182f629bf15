"""Runs GPT-NeoX's own converter, in its environment, on a config that it cannot misread."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections import deque
from pathlib import Path
from typing import Any

from haigo import files, pool, yamlfile
from haigo.cli import Failed, HaigoError
from haigo.formats.tokenizer import Tokenizer
from haigo.progress import Progress
from launch.neox.conversion.checkpoint import Checkpoint
from neox_configs import derive, reader

SCRIPT = Path("tools") / "ckpts" / "convert_neox_to_hf.py"
_KEYS = [
    "num_layers", "hidden_size", "num_attention_heads", "intermediate_size", "max_position_embeddings",
    "init_method_std", "no_weight_tying", "rotary_pct", "rotary_emb_base", "gpt_j_residual", "layernorm_epsilon",
    "make_vocab_size_divisible_by", "model_parallel_size",
]  # fmt: skip
_LONGEST = 1 << 16
_BAR = re.compile(r"([0-9]{1,9})/([0-9]{1,9}) \[")
_SHOWN = 12


def script(root: Path) -> Path:
    """The converter of a checkout.

    Raises:
        HaigoError: it has none.
    """
    path = root / SCRIPT
    if not path.is_file():
        raise HaigoError(f"{root} has no {SCRIPT}.", "use a GPT-NeoX of 2024 or later")
    return path


def flat(checkpoint: Checkpoint, vocabulary: Tokenizer) -> dict[str, Any]:
    """The converter's config: one file, every key that it looks at, with GPT-NeoX's defaults written out (its own
    differ: it takes an absent pipe_parallel_size for 1). No precision, so that it writes float32, in which nothing is lost.
    """
    made = {name: reader.value(checkpoint.config, name) for name in _KEYS}
    return made | {
        "pipe_parallel_size": 1 if checkpoint.pipeline else 0,
        "model_parallel_size": checkpoint.ranks,
        "tokenizer_type": "SPMTokenizer",
        "vocab_file": str(vocabulary.path),
    }


def command(python: Path, root: Path, checkpoint: Checkpoint, config: Path, output: Path) -> list[str]:
    """The converter's words."""
    return [
        *(
            str(python),
            str(script(root)),
            "--input_dir",
            str(checkpoint.folder.resolve()),
            "--config_file",
            str(config),
        ),
        *("--output_dir", str(output), "--precision", "fp32", "--no_save_tokenizer"),
    ]


def run(python: Path, root: Path, checkpoint: Checkpoint, vocabulary: Tokenizer, folder: Path) -> Path:
    """Convert into `folder`/model.

    Raises:
        Failed: the converter did not end well; its last lines are shown.
    """
    folder = folder.resolve()
    config, output = folder / "neox.yml", folder / "model"
    yamlfile.write(config, flat(checkpoint, vocabulary))
    environment = {
        **os.environ,
        "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}",
        # checkpoints hold more than tensors, which torch >= 2.6 refuses to read unless told so
        "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
        # all tensor ranks at once may not fit one GPU, and the GPUs may be training
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONUNBUFFERED": "1",
    }
    child = subprocess.Popen(
        command(python, root, checkpoint, config, output),
        cwd=root,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=pool.die_with_parent,  # a kill -9 of this process must not leave a writer behind in the folder
    )
    try:
        said = _follow(child, checkpoint.layers)
        code = child.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    if code != 0 or not (output / "config.json").is_file():
        told = "\n".join(said)
        raise Failed(
            f"GPT-NeoX's converter ended with {code}. Its last lines:\n{told}",
            "see the message above; the config can be given whole with --config",
        )
    bare = next(output.glob("pytorch_model*.bin"), None)
    if bare is not None:
        raise Failed(
            f"GPT-NeoX's converter wrote {bare.name} and no safetensors.",
            "install safetensors and transformers 4.35 or later in GPT-NeoX's environment",
        )
    return output


def _follow(child: subprocess.Popen[bytes], layers: int) -> list[str]:
    """Show how far the converter is; its last lines."""
    assert child.stdout is not None
    said: deque[str] = deque(maxlen=_SHOWN)
    line = b""
    with Progress("GPT-NeoX's converter", layers, "layers") as progress:
        while chunk := os.read(child.stdout.fileno(), 1 << 16):
            *whole, line = re.split(rb"[\r\n]", line + chunk)
            line = line[-_LONGEST:]  # one that never ends must not fill the memory
            for one in (*whole, line):
                text = one.decode("utf-8", errors="replace").strip()
                bar = _BAR.search(text)
                if bar and int(bar[2]) == layers:
                    progress.update(max(0, int(bar[1]) - progress.done))
            said += [
                text
                for one in whole
                if (text := one.decode("utf-8", errors="replace").strip()) and not _BAR.search(text)
            ]
    return [*said, *([line.decode("utf-8", errors="replace")] if line.strip() else [])]


def require_space(folder: Path, checkpoint: Checkpoint, padded: int) -> None:
    """Refuse to start when float32 weights and one shard more do not fit on the disk."""
    size = 4 * derive.parameters(checkpoint.config, padded)[1]
    files.require_space(folder, size + min(size, 5 << 30), "the conversion")
