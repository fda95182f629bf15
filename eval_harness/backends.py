"""What runs a model (`--model`): transformers, on one device or spread by accelerate, or vLLM."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from haigo.cli import HaigoError

if TYPE_CHECKING:
    from eval_harness.options import Limit, RunOptions


def check(options: RunOptions, theirs: Sequence[str]) -> None:
    """Raise where what runs the model can not do what is asked, or is not installed.

    Args:
        theirs: lm-eval's own tasks of the run.
    """
    if options.model != "vllm":
        return
    if importlib.util.find_spec("vllm") is None:
        raise HaigoError(
            "--model vllm needs the package vllm, which is not installed.",
            "pip install vllm where there is a GPU, or spread the model by --model hf and "
            "--model_args pretrained=MODEL,parallelize=True",
            option="model",
        )
    if theirs:
        raise HaigoError(
            f"--model vllm scores the leaderboard's tasks; {theirs[0]} is lm-eval's own.",
            "score it by --model hf, or by lm-eval itself",
            option="model",
        )
    if options.device is not None:
        raise HaigoError(
            f"--device {options.device} is nothing to vLLM, which takes all GPUs it sees.",
            "leave it out, and set CUDA_VISIBLE_DEVICES",
            option="device",
        )


def load(chosen: Mapping[str, Any], options: RunOptions, ours: bool) -> Any:
    """The model behind the leaderboard's tasks, or behind lm-eval's own.

    Args:
        chosen: lm-eval's `--model_args` as a mapping.
    """
    if options.model == "vllm":
        from eval_harness import vllm_model

        return vllm_model.load(chosen, options.batch_size, options.trust_remote_code)
    from eval_harness import loading, model

    trusted = {"trust_remote_code": options.trust_remote_code}
    if ours:
        return model.load(chosen, options.batch_size, options.device, **trusted)
    return loading.load(loading.CheckedLM, chosen, options.batch_size or 1, options.device, **trusted)


def config(lm: Any, options: RunOptions, words: str, asked: Sequence[tuple[int, Limit]]) -> dict[str, Any]:
    """The block `config` of result.json, as the leaderboard has it.

    Args:
        words: lm-eval's `--model_args`.
        asked: shots and limit of each task.
    """
    limits = [limit for _, limit in asked]
    return {
        "model": "vllm" if options.model == "vllm" else "hf-causal",
        "model_args": words,
        "num_fewshot": [shots for shots, _ in asked],
        "batch_size": options.batch_size,
        "device": str(lm.device),
        "no_cache": True,
        "limit": limits if any(limit is not None for limit in limits) else None,
        "bootstrap_iters": options.bootstrap_iters,
        "description_dict": {},
    }
