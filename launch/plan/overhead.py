"""What a run spends beside its steps, as shares of their time: validation, checkpoints, restarts.

* Validation: ten batches every thousand steps (a tenth of a short run), as `launch.configs` writes them, a forward pass each:
  a third of a step, a quarter of one that recomputes. None with a pipeline, where GPT-NeoX cannot.
* Checkpoints: all weights and Adam's state, every half hour, at 1 GB/s unless another speed of the disk is given; not more than
  2 % of the time, because they come less often then.
* Restarts: one in 1,000 GPU-days, between OPT-175B's logbook (105 in 59,500, Zhang et al. 2022) and Llama 3's 54 days (419 in
  885,000, Grattafiori et al. 2024); each costs half the time between two checkpoints and ten minutes to start.
"""

from __future__ import annotations

from launch.plan.layouts import Layout

MINUTES = 30.0
MOST_WRITING = 0.02
"""Largest share of the time that goes into writing checkpoints, where the speed of the disk is known."""
_EVERY, _BATCHES, _GBPS = 1000, 10, 1.0
_GPU_DAYS, _START_MINUTES = 1000.0, 10.0


def shares(
    one: Layout, parameters: int, tokens: float, seq_length: int, gpus: int, disk_gbps: float | None
) -> dict[str, float]:
    """Extra time by part, as a share of the time of the steps.

    Args:
        parameters: of the whole model.
        tokens: of the run.
        disk_gbps: GB a second that checkpoints are written with.
    """
    from launch.plan.checks.machine import checkpoint_bytes  # late: the plan's help does not need it

    steps = max(1, round(tokens / (one.train_batch_size * seq_length)))
    every = max(1, min(_EVERY, steps // 10))
    forward = 0.25 if one.recompute else 1 / 3
    validation = 0.0 if one.pipe else _BATCHES * forward * (steps // every) / steps
    writing = checkpoint_bytes({"precision": "bfloat16"}, parameters) / 1e9 / (disk_gbps or _GBPS)
    seconds = tokens / (one.tokens_per_s[0] * one.tokens_per_s[1]) ** 0.5
    often = int(seconds // max(MINUTES * 60, writing / MOST_WRITING)) + 1
    restarts = gpus / _GPU_DAYS * (MINUTES / 2 + _START_MINUTES) / 1440
    return {"validation": validation, "checkpoints": often * writing / seconds, "restarts": restarts}
