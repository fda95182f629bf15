"""The comments at the head of a config: what it was made from, and why it is laid out, scheduled and saved as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import haigo
from haigo import files
from launch.plan.layouts import Layout
from launch.plan.planner import Plan
from launch.plan.schedule import Schedule
from launch.plan.show import span
from neox_configs import reader

_WORTH_SAYING = 1.15
_DECAYS = {"cosine": "along a cosine", "linear": "linearly", "exponential": "exponentially"}


def text(made: Plan, best: Layout, shares: str, about: Sequence[str], command: str) -> str:
    """The header.

    Args:
        shares: what `shares` gave.
        about: more lines, from the layout's reason to the remarks.
        command: the command line that writes the config.
    """
    head = [
        f"{Path(made.model).stem} on {made.nodes} x {made.cluster} ({made.gpus} GPUs), {made.tokens:.4g} tokens",
        f"mixture: {shares}",
        f"plan: {best.name}, {best.memory_bytes / 1e9:.1f} GB of {made.memory_bytes / 1e9:.1f} GB a GPU, "
        f"{span(made.days(best))}",
    ]
    return lines([*head, *about], command)


def lines(about: Sequence[str], command: str) -> str:
    """A header of these lines, and of who wrote it."""
    each = [*about, f"written by haigo {haigo.__version__}: {command}"]
    return "\n".join(" ".join(line.split()) for line in each)


def shares(source: str, weights: Mapping[str, float], epochs: Mapping[str, float]) -> str:
    """The mixture with its digest, and how often each corpus is read."""
    digest = f" (sha256 {files.sha256_file(source)[:12]})" if Path(source).is_file() else ""
    share = ", ".join(f"{corpus} {weight:.4g} ({epochs[corpus]:.2g} epochs)" for corpus, weight in weights.items())
    return f"{source}{digest}: {share}"


def reason(made: Plan, best: Layout, start: str | None = None) -> list[str]:
    """Why this layout: what stands against the others that fit, on this cluster's cards and network.

    Args:
        start: the checkpoint whose split decides; None where the plan does.
    """
    if best.data * best.tensor * max(1, best.pipe) == 1:
        return []
    if made.asked is not None:
        return ["layout: asked for with --layout"]
    if start is not None:
        return [f"layout: split as the checkpoint {start} is"]
    parts = [*_split(made, best), *_sharing(best), _filling(made, best)]
    return [f"layout: {'; '.join(parts)}"]


def _speed(one: Layout) -> float:
    return (one.tokens_per_s[0] * one.tokens_per_s[1]) ** 0.5


def _against(best: Layout, other: Layout) -> str:
    ratio = _speed(other) / _speed(best)
    tight = ", and hardly any memory left" if other.tight else ""
    return f"{other.name} would reach {ratio:.0%} of its speed{tight}"


def _split(made: Plan, best: Layout) -> list[str]:
    whole = next((one for one in made.layouts if one.tensor == 1 and not one.pipe), None)
    flat = next((one for one in made.layouts if not one.pipe), None)
    parts = []
    if best.pipe:
        why = _against(best, flat) if flat is not None else "without one nothing fits"
        parts.append(
            f"a pipeline of {best.pipe} stages ({why}); GPT-NeoX cannot evaluate with one: score converted checkpoints"
        )
    if best.tensor > 1:
        if whole is None:
            alone = "" if best.pipe else "without a pipeline "
            why = f"with whole layers nothing {alone}fits into {made.memory_bytes / 1e9:.1f} GB"
        else:
            why = _against(best, whole)
        parts.append(f"layers split over {best.tensor} GPUs of a node ({why})")
    elif not best.pipe:
        other = next((one for one in made.layouts if one.tensor > 1 or one.pipe), None)
        parts.append(f"whole layers on each GPU{f' ({_against(best, other)})' if other is not None else ''}")
    piped = next((one for one in made.layouts if one.pipe), None)
    if not best.pipe and piped is not None and _speed(piped) > _WORTH_SAYING * _speed(best):
        times = _speed(piped) / _speed(best)
        parts.append(
            f"a pipeline, with which GPT-NeoX cannot evaluate, would be {times:.2g} times as fast (--layout '{piped.name}')"
        )
    return parts


def _sharing(best: Layout) -> list[str]:
    if best.data == 1 or not best.zero:
        return []
    state = {1: "Adam's state", 2: "gradients and Adam's state"}.get(best.zero, "all")
    return [f"ZeRO {best.zero} shares {state} over {best.data} copies"]


def _filling(made: Plan, best: Layout) -> str:
    fuller = next((one for one in made.layouts if one.recompute != best.recompute), None)
    if best.recompute:
        why = "without it nothing of this split fits" if fuller is None else _against(best, fuller)
        return f"activations are computed twice ({why}), with micro batches of {best.micro}"
    return f"the largest comfortable micro batch, {best.micro}"


def schedule(config: Mapping[str, Any], made: Schedule) -> list[str]:
    """How the rate runs, how often the run saves, what is kept, and how the last weights are proved."""
    steps, decay = int(config["train_iters"]), int(config.get("lr_decay_iters") or config["train_iters"])
    warm, style = round(reader.value(config, "warmup") * decay), reader.value(config, "lr_decay_style")
    peak, least = (config.get("optimizer") or {}).get("params", {}).get("lr"), reader.value(config, "min_lr")
    then = (
        f"{_DECAYS[style]} down to {least:g}"
        if style in _DECAYS
        else "no change: `launch.configs --recipe decay --from CHECKPOINT` lets it fall from any of them"
    )
    said = []
    if peak is not None:
        batch = "one batch from the first step to the last, no ramp"
        said.append(f"rate: up to {peak:g} over {warm:,} of {steps:,} steps, then {then}; {batch}")
    if made.saved_bytes is not None:
        said.append(_saves(config, made))
    if not config.get("eval_iters") and steps > 1:
        said.append(
            f"proof: no validation tells of the last weights; those of step {steps - 1} meet one more batch, and "
            f"`launch.convert --iteration {steps - 1} --log` holds them to its loss"
        )
    return said


def _saves(config: Mapping[str, Any], made: Schedule) -> str:
    assert made.saved_bytes is not None
    steps, factor, each = int(config["train_iters"]), int(config["checkpoint_factor"]), made.saved_bytes / 1e9
    every = (
        "at the end only"
        if factor > steps
        else f"every {factor:,} steps, about {factor * made.step_s / 60:.3g} minutes"
    )
    text = f"checkpoints: {every}, {each:,.0f} GB each"
    if made.write_s is not None and factor <= steps:
        text += f", {made.write_s:.3g} s of writing ({made.write_s / (factor * made.step_s):.1%} of the time)"
    kept = int(config.get("keep_last_n_checkpoints") or 0)
    text += f"; the newest {kept} stay" if kept else ""
    if made.milestones:
        several = len(made.milestones)
        named = ", ".join(map(str, made.milestones[:3])) + (f" ... {made.milestones[-1]}" if several > 3 else "")
        text += (
            f"; step{'s' * (several > 1)} {named} kept for good by launch.deepy (milestones/, {several * each:,.0f} GB)"
        )
    return text
