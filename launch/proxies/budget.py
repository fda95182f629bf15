"""How many tokens a proxy gets: measured once for a folder where the budget is in seconds; fewer where it is to stop early."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from haigo import files, jobs, sealed
from haigo.cli import Failed
from launch.engine import job, settings
from launch.engine.options import TrainOptions

DATA_KEYS = tuple(f"{part}_data_{what}" for part in ("train", "valid", "test") for what in ("paths", "weights"))


def tokens_in(folder: Path, seconds: float, config: Mapping[str, Any], options: TrainOptions) -> int:
    """Tokens that fit into `seconds` of one proxy, its evaluation included.

    Args:
        folder: keeps what was measured, so that all its proxies are trained alike, also those of a later call.
        config: of the first proxy.
    """
    path = folder / "budget.json"
    key = files.digest([seconds, {name: value for name, value in config.items() if name not in DATA_KEYS}])
    if path.is_file():
        known, _ = sealed.read(path)
        if known.get("key") == key:
            return int(known["tokens"])
    task = dict(config), options.replaced(seconds=seconds)
    for event in jobs.run(jobs.Processes(_measure, 1), [("measure", task)]):
        if event is not None and event.kind == "done":
            sealed.write(path, {"key": key, "seconds": seconds, "tokens": event.value})
            return int(event.value)
        if event is not None and event.kind == "failed":
            raise Failed(
                f"the speed of a proxy could not be measured: {event.value}.", "give --tokens instead", option="tokens"
            )
    raise Failed("the speed of a proxy could not be measured.", "give --tokens instead", option="tokens")


def stopped(base: Mapping[str, Any], options: TrainOptions, part: float) -> tuple[dict[str, Any], TrainOptions]:
    """Config and options of proxies that do the first `part` of a whole one's steps, at its learning rates."""
    plan = settings.resolve({"train_iters": base.get("lr_decay_iters") or 1, **base})
    whole = options.tokens // plan.tokens_per_step if options.tokens is not None else base.get("train_iters") or 0
    if not whole:
        return dict(base), options  # no step, or no budget at all: the swarm refuses it
    steps = max(1, round(part * whole))
    short = {**base, "train_iters": steps, "lr_decay_iters": plan.with_steps(whole).lr_decay_iters}
    return short, options.replaced(tokens=steps * plan.tokens_per_step)


def _measure(task: tuple[dict[str, Any], TrainOptions], tell: Callable[[Any], None]) -> int:
    """Time a few steps (in a worker)."""
    from launch.engine.train import tokens_in

    return tokens_in(job.prepare(*task))
