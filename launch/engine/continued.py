"""The decay of a run (`launch.configs --recipe decay`) on this engine: another run's weights, optimizer and place in the data,
under a schedule of its own.

GPT-NeoX reads them from `load`, whose form this engine does not know: `--continue-from` names a run of its own instead. Both go
on at step S, where the config's schedule has its peak, with the same samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haigo.cli import HaigoError, Refused
from launch.engine import checkpoint
from launch.neox import data_order
from neox_configs import reader

if TYPE_CHECKING:
    import torch

    from launch.engine.job import Job
    from launch.engine.settings import Settings

_OWN = (
    "lr", "min_lr", "lr_decay_style", "lr_decay_iters", "warmup", "train_iters", "tokens", "seconds", "eval_every",
    "eval_tokens", "test_tokens", "export", "init_from", "continue_from", "device", "computed_in",
)  # fmt: skip
"""What a decay may have of its own."""


def of_config(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A decay's config without what names GPT-NeoX's checkpoint.

    Args:
        folder: the run that it goes on from.

    Raises:
        HaigoError: it is no decay's, or that run has no checkpoint.
    """
    if not (folder / checkpoint.NAME).is_file():
        fix = "train it up to there with --no-export, which keeps its checkpoint"
        raise HaigoError(f"{folder} holds no {checkpoint.NAME}.", fix, option="continue_from")
    if not reader.value(config, "override_lr_scheduler"):
        raise HaigoError(
            "--continue-from is for a config with a schedule of its own (override_lr_scheduler: true).",
            "write one with launch.configs --recipe decay",
            option="continue_from",
        )
    return {key: value for key, value in config.items() if key not in ("load", "iteration")}


def load(
    job: Job, plan: Settings, model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[int, dict[str, Any]]:
    """Put the other run's state into model and optimizer.

    Returns:
        (steps done, what it kept with them), as `checkpoint.load`.

    Raises:
        HaigoError: it has no checkpoint, or one of another step than that at which the schedule goes on.
        Refused: it is a run of another model or of other data, or the order of the samples would change.
    """
    folder = Path(job.options.continue_from)
    before, ours = checkpoint.identity_of(folder), job.identity()

    def fixed(identity: Mapping[str, Any]) -> dict[str, Any]:
        scored = ("valid.", "test.", "pairs.")
        return {key: value for key, value in identity.items() if key not in _OWN and not key.startswith(scored)}

    if wrong := checkpoint.differences(fixed(before), fixed(ours), " -> "):
        raise Refused(f"{folder} is another run, which differs in {wrong}.", "name the run that the config decays")
    if (found := _epochs(job, plan, int(before["train_iters"]))) != (now := _epochs(job, plan, plan.train_iters)):
        raise Refused(
            f"the samples would come in another order: corpora were to be read in {found} epochs, and are in {now}.",
            f"train {folder} with the train_iters of this config, or end this one earlier",
        )
    step, extra = checkpoint.load_of(folder, model, optimizer)
    wanted = plan.warmup * plan.lr_decay_iters
    if abs(step - wanted) > 0.5:
        raise HaigoError(
            f"the schedule goes on at step {wanted:,.0f}, and {folder} is at step {step:,}.",
            "train it up to there, with the same batch and order of samples",
            option="continue_from",
        )
    return step, extra


def _epochs(job: Job, plan: Settings, steps: int) -> list[int]:
    opened = job.source(replace(plan, train_iters=steps)).open()
    return [part.epochs for part in (opened.datasets if isinstance(opened, data_order.Blend) else [opened])]
