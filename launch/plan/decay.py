"""The recipe `decay`: a run at a constant rate goes on from a checkpoint, its rate falls to 0, and nothing else changes.

GPT-NeoX keeps the optimizer's state, the step and with it the place in the data when `finetune` is off. What has to be written:

* `override_lr_scheduler`, or it refuses a schedule that is not the checkpoint's. The rate of step n is a function of n, so
  that a linear decay with a "warmup" that ends at the checkpoint's step S is the wanted one: at S the peak, at the last step 0.
* the order of the samples hangs on `train_iters`, by way of the epochs of each corpus. Where another length keeps them all,
  `train_iters` is the last step; else it stays, and `exit_interval` ends the run at a step that `extra_save_iters` saves.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haigo.cli import HaigoError, Refused
from launch.plan import recipes
from launch.plan.options import ConfigOptions
from launch.plan.recipes import Base
from launch.train import record
from neox_configs import derive, neox_args, reader

_IDLE = (
    "model", "cluster", "nodes", "gpus_per_node", "tokens", "seq_length", "global_batch_tokens", "attention", "layout",
    "mixture", "catalogue", "seed", "schedule", "lr", "train_pairs", "valid_pairs", "test_pairs", "epochs", "milestones",
    "disk_gbps", "checkpoint_log", "checkpoint_minutes",
)  # fmt: skip
"""What the checkpoint decides."""


def config(options: ConfigOptions) -> tuple[dict[str, Any], Base, list[str]]:
    """The config of a decay.

    Returns:
        (its keys, the checkpoint, lines for the header).

    Raises:
        HaigoError: no checkpoint, no length of its run, no way to tell its data, or an option that has no effect.
        Refused: the rate falls already or has not come to its peak, or the samples could not go on in their order.
    """
    options.refuse_idle("--recipe decay, which goes on with the checkpoint's own", *_IDLE)
    start = recipes.begin("decay", options.start)
    assert start is not None
    before = {key: value for key, value in start.config.items() if value is not None}
    peak, warm = _stable(start)
    last = _last(start, options.decay)
    changes: dict[str, Any] = {
        "finetune": False,
        "load": str(start.folder),
        "save": str(recipes.save_folder(options, start)),
        "override_lr_scheduler": True,
        "lr_decay_style": "linear",
        "lr_decay_iters": last,
        "min_lr": 0.0,
        "warmup": start.step / last,
    }
    kept = {key: value for key, value in before.items() if key not in _GONE}
    made = {**kept, **changes, **_length(start, kept, last)}
    if not start.latest:
        made["iteration"] = start.step
    share = (last - start.step) / last
    made |= _watched(options, made)
    lines = [
        f"rate: {peak:g} up to step {start.step:,} (its warmup ended at {warm:,.0f}), then linearly to 0 at step {last:,}: "
        f"{last - start.step:,} steps, {share:.3g} of the whole",
        "data: the samples go on where the checkpoint stands, in the same order"
        + (
            f"; train_iters stays {made['train_iters']:,} for that, and exit_interval ends the run"
            if "exit_interval" in made
            else ""
        ),
    ]
    return made, start, lines


def gpus(config: Mapping[str, Any]) -> int:
    """All GPUs of the run, which its three batch numbers tell."""
    batch = derive.batch_of(config)
    return derive.gpus_of_a_copy(config) * (batch.train // (batch.micro * batch.accumulation))


def _watched(options: ConfigOptions, config: dict[str, Any]) -> dict[str, Any]:
    """Its curves under a name of their own, where the first run's go."""
    name, asked = Path(options.output).stem, recipes.watched(options)
    if config.get("tensorboard_dir"):
        asked.setdefault("tensorboard_dir", f"{config['tensorboard_dir']}-{name}")
    return asked if not config.get("use_wandb") else {"wandb_run_name": name, **asked}


_GONE = ("iteration", "lr_decay_fraction", "use_checkpoint_lr_scheduler", "extra_save_iters", "exit_interval")


def _stable(start: Base) -> tuple[float, float]:
    """The peak, and the step at which the warmup was over.

    Raises:
        Refused: the checkpoint is not one of a constant rate.
    """
    style = reader.value(start.config, "lr_decay_style")
    steps = start.config.get("lr_decay_iters") or start.config.get("train_iters") or 0
    warm = float(reader.value(start.config, "warmup")) * steps
    if style != "constant":
        raise Refused(
            f"the rate of {start.folder} falls already (lr_decay_style {style}).",
            "write the first run with --schedule wsd, or give --recipe continued, which warms up anew",
            option="start",
        )
    if start.step <= warm:
        raise Refused(
            f"step {start.step} of {start.folder} is in the warmup, which ends at step {warm:,.0f}.",
            "name a later checkpoint",
            option="start",
        )
    given = (start.config.get("optimizer") or {}).get("params") or {}
    return float(given.get("lr", neox_args.DEFAULT_LR)), warm


def _last(start: Base, share: float) -> int:
    """The last step, such that the decay is a share of the whole; the planned end of the run where that is a step away."""
    last, planned = max(start.step + 1, round(start.step / (1 - share))), start.config.get("train_iters")
    return planned if isinstance(planned, int) and planned > start.step and abs(planned - last) <= 1 else last


def _length(start: Base, config: dict[str, Any], last: int) -> dict[str, Any]:
    """The keys that end the run at `last` with the samples in their order."""
    if not isinstance(planned := config.get("train_iters"), int):
        raise HaigoError(f"the config of {start.folder} gives no train_iters.", "write it there: the steps of that run")
    found = _differences(start, config, last)
    keys: dict[str, Any] = {"train_iters": last}
    if found and last > planned:
        raise Refused(
            f"with {last} steps instead of {planned} the samples would come in another order: {record.summary(found)}.",
            f"decay from an earlier checkpoint, so that it ends by step {planned}, or by a smaller --decay",
            option=("decay", "start"),
        )
    if found:
        keys = {"exit_interval": last, "train_iters": planned}
    factor = int(config.get("checkpoint_factor") or last + 1)
    while last % factor == 0:  # the last step would be saved twice, the second over the first
        factor += 1
    # no validation comes after the last step where `exit_interval` ends the run
    proof = last - 1 if found or not reader.value(config, "eval_iters") else None
    extra = sorted({*([last] if found else []), *([proof] if proof is not None and proof > start.step else [])})
    keys |= {"checkpoint_factor": factor, **({"extra_save_iters": extra} if extra else {})}
    return keys if proof is None else {**keys, "log_interval": 1}


def _differences(start: Base, config: dict[str, Any], last: int) -> list[str]:
    """What of the samples' order a run of `last` steps would change, and whether the data are still those of the checkpoint.

    Raises:
        HaigoError: the datasets cannot be read. Refused: they are not those that it was trained on.
    """
    batch = derive.batch_of(config).train
    here = Path()
    was = record.stream(config, here, batch)
    of_run = next((place for place in (start.folder, start.folder.parent) if record.read(place) is not None), None)
    known = None if of_run is None else record.read(of_run)
    if known is not None and (changed := record.differences(known["stream"], was)):
        raise Refused(
            f"{start.folder} was trained to step {start.step} on another stream of data: {record.summary(changed)}.",
            "put the datasets back as they were",
        )
    return record.differences(was, record.stream({**config, "train_iters": last}, here, batch))
