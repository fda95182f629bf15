"""A plan for people and as JSON."""

from __future__ import annotations

import dataclasses
from typing import Any

from launch.plan.layouts import Layout
from launch.plan.planner import Plan


def as_json(made: Plan) -> dict[str, Any]:
    """The plan as JSON values, with the days beside each layout."""
    content = dataclasses.asdict(made)
    for entry, one in zip(content["layouts"], made.layouts, strict=True):
        entry.update(name=one.name, days=made.days(one), gpu_days=made.gpu_days(one), overhead=made.overhead(one))
    for key, each in (("asked", made.asked), ("nearest", made.nearest)):
        if each is not None:
            content[key].update(name=each.name, days=made.days(each), gpu_days=made.gpu_days(each))
    content["refusal"] = None if made.layouts else f"{made.refusal()} {made.remedy()}"
    return content


def text(made: Plan, rows: int = 6, price: float | None = None) -> str:
    """The plan as a table for people.

    Args:
        rows: layouts shown.
        price: of a GPU-hour, in whatever currency.
    """
    head = (
        f"{made.model} ({_count(made.parameters)} parameters, vocabulary padded to {made.padded_vocab:,}) on "
        f"{made.nodes} x {made.cluster} = {made.gpus} GPUs of {made.memory_bytes / 1e9:.1f} GB; "
        f"{made.tokens:.3g} tokens, sequences of {made.seq_length}, "
        + (f"attention {made.attention}" if made.stack.startswith("gpt-neox") else f"stack {made.stack}")
    )
    lines = [head, ""]
    form = "{:<3}{:<44}{:>6}{:>7}{:>7} {:>19}{:>20}"
    lines.append(form.format("", "layout", "accum", "batch", "GB", "tokens/s", "time"))
    for rank, one in enumerate(made.layouts[:rows], start=1):
        name, size = one.name + (" (tight)" if one.tight else ""), f"{one.memory_bytes / 1e9:.1f}"
        speed = f"{one.tokens_per_s[0]:,.0f} - {one.tokens_per_s[1]:,.0f}"
        batch = one.train_batch_size
        lines.append(form.format(rank, name, one.accumulation, batch, size, speed, span(made.days(one))))
    if made.layouts:
        best = made.layouts[0]
        lines += ["", f"GB on the fullest GPU of layout 1: {_parts(best)}"]
        few, many = made.gpu_days(best)
        cost = f", {few * 24 * price:,.0f} - {many * 24 * price:,.0f} at {price:g} a GPU-hour" if price else ""
        lines.append(f"GPU-days of layout 1: {few:,.3g} - {many:,.3g}{cost}")
        spent = made.overhead(best)
        if spent:
            lines.append(
                f"Of layout 1's time besides the steps: {', '.join(f'{name} {part:.1%}' for name, part in spent.items())}"
            )
        if made.measured:
            shown = ", ".join(f"{ratio:.2f}" for ratio in made.measured[:6])
            runs = "1 measured run" if len(made.measured) == 1 else f"{len(made.measured)} measured runs"
            lines.append(f"Calibrated by {runs}: {shown} times the plan's middle.")
        if best.pipe:
            sentence = "A pipeline: GPT-NeoX cannot evaluate while training with it, so the config says eval_iters 0."
            lines.append(sentence)
    if made.faster is not None:
        quick = f"{made.faster.name}, {span(made.days(made.faster))}"
        lines.append(f"With --attention flash (flash-attn in GPT-NeoX's environment): {quick}.")
    return "\n".join(lines)


def judged(made: Plan) -> str:
    """What is to be said of the layout that was asked about."""
    assert made.asked is not None
    one, have = made.asked, made.memory_bytes / 1e9
    low, high = one.tokens_per_s
    word = "fits" if one.fits else "does not fit"
    lines = [
        f"{one.name} {word}: {one.memory_bytes / 1e9:.1f} GB of {have:.1f} on the fullest GPU ({_parts(one)})",
        f"{low:,.0f} - {high:,.0f} tokens/s, {span(made.days(one))}",
    ]
    if not one.fits:
        near = made.nearest
        lines.append(
            f"The nearest that fits: {near.name}, {near.memory_bytes / 1e9:.1f} GB, {span(made.days(near))}"
            if near
            else "No layout fits on these GPUs."
        )
    return "\n".join(lines)


def span(days: tuple[float, float]) -> str:
    """An interval of days in the unit that suits it."""
    unit, factor = next(
        (pair for pair in (("days", 1.0), ("hours", 24.0), ("minutes", 1440.0)) if days[1] * pair[1] >= 2),
        ("seconds", 86400.0),
    )
    low, high = (f"{one:.2g}" if (one := day * factor) < 99.5 else f"{one:,.0f}" for day in days)
    return f"{low} - {high} {unit}"


def _count(number: int) -> str:
    return f"{number / 1e9:.2f}B" if number >= 1e9 else f"{number / 1e6:.2f}M"


def _parts(one: Layout) -> str:
    return ", ".join(f"{name} {size / 1e9:.1f}" for name, size in one.memory.items() if size >= 5e7)
