"""Whether a run has any chance to fit into memory, before anything is built for it: estimated from below, so that whatever
could run is let through."""

from __future__ import annotations

from haigo import memory
from haigo.cli import HaigoError
from launch.engine.settings import Settings

_STATE = 4 * 4  # bytes a weight: weight, gradient and two moments in float32
_SAMPLE = 8  # bytes of the order of samples


def least(plan: Settings, rows: int) -> int:
    """Bytes that the run takes at least: its weights with their moments, the ids of a batch, and the order of samples.

    Args:
        rows: of the embedding.
    """
    return (
        plan.weights(rows) * _STATE
        + plan.micro_batch * plan.seq_length * _SAMPLE
        + plan.train_iters * plan.batch * _SAMPLE
    )


def require(plan: Settings, rows: int) -> None:
    """See that there is memory for it.

    Raises:
        HaigoError: there is not.
    """
    need, there = least(plan, rows), memory.available()
    if need > there:
        raise HaigoError(
            f"the config asks for at least {need / 1e9:,.0f} GB of memory, and {there / 1e9:,.1f} GB can be had: "
            f"{plan.num_layers:,} layers of {plan.hidden_size:,}, {rows:,} rows, {plan.train_iters:,} steps of {plan.batch:,} "
            f"samples of {plan.seq_length:,} tokens.",
            "train a smaller model, or fewer and shorter samples, here; large ones with GPT-NeoX",
        )
