"""The configs and datasets of a run that changes its mixture on the way: one after the other, in one save folder.

Every phase is an ordinary GPT-NeoX config: it goes on from the last checkpoint of the phase before, steps counted on, and
reads datasets of its own, made of the corpora's own tokens (`launch.neox.phase_order`). No sample is read twice or left out
while a corpus lasts, and each phase keeps its shares to within one sample.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import haigo
from haigo import files
from haigo.cli import HaigoError
from haigo.formats import mixture as mixtures
from haigo.formats.dataset import manifest
from haigo.formats.dataset.indexed import MMapReader, put_sample_orders_aside, write_view
from haigo.progress import Progress
from launch.neox import data_order, phase_order
from launch.plan import config as configs
from launch.plan import data
from launch.plan.options import ConfigOptions
from neox_configs import catalogue, phases

_NAME = "train_text_document"
_BYTES = 12  # of a sequence in an index


@dataclass(frozen=True)
class Phase:
    """One phase, with what it reads."""

    number: int
    first: int
    """Step that it goes on from."""
    last: int
    weights: dict[str, float]
    """Of the corpora that it reads, in the catalogue's order."""
    blend: phase_order.Blend
    read_before: dict[str, int]
    """corpus -> samples that earlier phases read."""
    schedule: str | None
    chain: list[str]
    """A digest of what decides its samples, after those of the phases before."""

    @property
    def samples(self) -> dict[str, int]:
        return dict(zip(self.weights, self.blend.samples, strict=True))


@dataclass(frozen=True)
class Planned:
    """A run in phases, before anything is written."""

    whole: configs.Written
    """The run's config with the mean of the mixtures."""
    phases: list[Phase]
    sources: dict[str, Path]
    """corpus -> prefix of its training set."""
    configs: list[configs.Written]

    @property
    def batch(self) -> int:
        return int(self.whole.config["train_batch_size"])


def plan(options: ConfigOptions) -> Planned:
    """Work out every phase.

    Raises:
        HaigoError, Refused: as `config.make_config`; a phase of less than a step, other tokens than the phases'.
    """
    if options.recipe != "pretrain":
        raise HaigoError(
            f"{options.mixture} has phases, and the recipe {options.recipe} starts from a checkpoint of another run.",
            "give a mixture without phases",
            option="mixture",
        )
    if options.format != "neox":
        raise HaigoError(f"the phases of a run are written for GPT-NeoX, not as --format {options.format}.", "leave it out",
                         option="format")  # fmt: skip
    assert options.mixture is not None and not isinstance(options.mixture, Mapping)
    rows: list[dict[str, Any]] = mixtures.read(options.mixture)["phases"]
    if options.schedule is not None and any(row["schedule"] for row in rows):
        raise HaigoError(f"the phases of {options.mixture} say how the learning rate changes.", "leave --schedule out",
                         option="schedule")  # fmt: skip
    total = sum(row["tokens"] for row in rows)
    if options.given("tokens") and abs(options.tokens - total) > total * 1e-6:
        raise HaigoError(
            f"--tokens is {options.tokens:g}, and the phases of {options.mixture} come to {total:g}.",
            "leave --tokens out",
            option="tokens",
        )
    whole = configs.make_config(options.replaced(tokens=total))
    assert options.catalogue is not None
    known = catalogue.read(options.catalogue)
    sources = {corpus: known.prefix(corpus, "train") for corpus in known.corpora}
    ordered = [data.in_order(row["weights"], known, str(options.mixture)) for row in rows]
    bounds = _bounds([row["tokens"] for row in rows], whole, str(options.mixture))
    read = dict.fromkeys(sources, 0)
    made: list[Phase] = []
    chain: list[str] = []
    for number, (row, weights) in enumerate(zip(rows, ordered, strict=True), 1):
        first, last = bounds[number - 1 : number + 1]
        batch = int(whole.config["train_batch_size"])
        exact = phase_order.shares(list(weights.values()), (last - first) * batch)
        kept = {name: weight for (name, weight), count in zip(weights.items(), exact, strict=True) if count}
        blend = phase_order.blend(list(kept.values()), first * batch, last * batch)
        of_it = [whole.config["seed"], whole.config["seq_length"], batch, first, last, blend.weights, list(kept), chain]
        chain = [*chain, files.digest([*of_it, [manifest.fingerprint(sources[name]) for name in kept]])]
        phase = Phase(number, first, last, kept, blend, dict(read), row["schedule"], chain)
        for name, count in phase.samples.items():
            read[name] += count
        made.append(phase)
    planned = Planned(replace(whole, header=_rate_said(whole.header, made)), made, sources, [])
    folder = folder_of(options.output)
    return replace(planned, configs=[_config(planned, phase, folder, options) for phase in made])


def folder_of(output: str | os.PathLike[str]) -> Path:
    """Where the configs and the datasets of the phases stand: beside the list of phases, under its name."""
    path = Path(output).resolve()
    return path.with_suffix("") if path.suffix else path.with_name(f"{path.name}-phases")


def write(planned: Planned, output: str | os.PathLike[str]) -> list[Path]:
    """Write datasets, configs and, last, the list of phases. What is there already and whole is kept.

    Returns:
        The configs.
    """
    folder = folder_of(output)
    pieces = sum(len(MMapReader(planned.sources[name]).sizes) for phase in planned.phases for name in phase.weights)
    samples = sum(sum(phase.blend.after) for phase in planned.phases)
    files.require_space(folder.parent, (pieces + 4 * samples) * _BYTES, "the indices of the phases' datasets")
    with (
        Progress("datasets of the phases", sum(len(phase.weights) for phase in planned.phases)) as progress,
        progress.beating(),
    ):
        for phase in planned.phases:
            for at, name in enumerate(phase.weights):
                _dataset(planned, phase, at, name, _prefix(folder, phase, name))
                progress.update()
    written = []
    for phase, made in zip(planned.phases, planned.configs, strict=True):
        path = folder / f"phase-{phase.number}.yml"
        configs.write(made, path)
        written.append(path)
    phases.write(output, written, planned.whole.header)
    return written


def _bounds(tokens: Sequence[float], whole: configs.Written, name: str) -> list[int]:
    """The steps at which phases begin and end."""
    steps, done, bounds = int(whole.config["train_iters"]), 0.0, [0]
    for value in tokens[:-1]:
        done += value
        bounds.append(round(steps * done / sum(tokens)))
    bounds.append(steps)
    for number, (first, last) in enumerate(pairwise(bounds), 1):
        if last <= first:
            batch = whole.config["train_batch_size"] * whole.config["seq_length"]
            raise HaigoError(
                f"{name}: phase {number} is less than one step of {batch:,} tokens.",
                "give it more tokens, or a smaller batch",
            )
    return bounds


def _prefix(folder: Path, phase: Phase, corpus: str) -> Path:
    return folder / f"phase-{phase.number}" / corpus / _NAME


def _config(planned: Planned, phase: Phase, folder: Path, options: ConfigOptions) -> configs.Written:
    """The config of a phase: the run's, with its own data, length and learning rate."""
    whole, length = planned.whole, planned.whole.config["seq_length"]
    keys: dict[str, Any] = {
        "train_iters": phase.last,
        "train_data_paths": [str(_prefix(folder, phase, name)) for name in phase.weights],
        "train_data_weights": phase.blend.weights,
        **_saves(whole.config, phase),
        **_rate(phase),
    }
    epochs = {
        name: (phase.read_before[name] + count) * length / len(MMapReader(planned.sources[name]).tokens)
        for name, count in phase.samples.items()
    }
    shares = ", ".join(
        f"{name} {weight:.4g} ({phase.samples[name]:,} samples, {epochs[name]:.2g} epochs by its end)"
        for name, weight in phase.weights.items()
    )
    head = f"phase {phase.number} of a run in phases, steps {phase.first + 1:,} to {phase.last:,}: {shares}"
    return replace(whole, config={**whole.config, **keys}, header=f"{head}\n{whole.header}", epochs=epochs)


def _saves(whole: Mapping[str, Any], phase: Phase) -> dict[str, Any]:
    """When a phase saves: as the run does, but its last step once. GPT-NeoX saves at every multiple and again at the end: the
    same step twice, the second over the first, and a kill in between would tear what the next phase goes on from."""
    factor = int(whole["checkpoint_factor"])
    while phase.last % factor == 0:
        factor += 1
    extra = whole.get("extra_save_iters") or []
    # the step before the last is saved where no validation tells of the last weights; the last of the phase before is kept for
    # good as milestones are (`launch.neox.checkpoints`)
    proof = [phase.last - 1] if whole["train_iters"] - 1 in extra and phase.last - 1 > phase.first else []
    kept = [phase.first] if phase.first else []
    steps = sorted({*proof, *kept, *(step for step in extra if step < phase.last and step != whole["train_iters"] - 1)})
    return {"checkpoint_factor": factor, "extra_save_iters": steps} if steps else {"checkpoint_factor": factor}


def _rate(phase: Phase) -> dict[str, Any]:
    """The learning rate of a phase. A decay is GPT-NeoX's linear one after a "warmup" that ends where the phase begins
    (`launch.plan.decay`): there it is at its peak, and at the last step at 0."""
    if phase.schedule is None:
        return {}
    keys: dict[str, Any] = {"lr_decay_style": "constant"}
    if phase.schedule == "decay":
        fall = {"lr_decay_iters": phase.last, "warmup": phase.first / phase.last, "min_lr": 0.0}
        keys = {"lr_decay_style": "linear", **fall}
    # the checkpoint holds the schedule that it was saved with, and GPT-NeoX ends where the two differ
    return {**keys, "override_lr_scheduler": True} if phase.first else keys


def _rate_said(header: str, phases: Sequence[Phase]) -> str:
    """The run's header with the rate as its phases change it, where they say so."""
    last = phases[-1]
    if last.schedule is None:
        return header
    then = "no change"
    if last.schedule == "decay":
        then += f" up to step {last.first:,}, then linearly down to 0 at step {last.last:,}"
    return re.sub(r"(?m)^(rate: .*?, then ).*(; one batch)", rf"\g<1>{then}\g<2>", header)


def _dataset(planned: Planned, phase: Phase, at: int, corpus: str, prefix: Path) -> None:
    """One corpus as one phase reads it; kept where it is there and whole."""
    source, length, seed = planned.sources[corpus], planned.whole.config["seq_length"], planned.whole.config["seed"]
    reader = MMapReader(source)
    first, last = phase.blend.before[at], phase.blend.after[at]
    begin = phase.read_before[corpus]
    facts = {"of": str(source), "phase": phase.number, "steps": [phase.first, phase.last], "samples": [first, last],
             "begins_at": begin, "seq_length": length, "seed": seed, "batch": planned.batch,
             "weight": phase.blend.weights[at], "chain": phase.chain}  # fmt: skip
    if manifest.path_of(prefix).is_file():
        try:
            if (manifest.check(prefix) or {}).get("view") == facts:
                return
        except HaigoError:
            pass  # made again
    counts = data_order.normalised(phase.blend.weights, phase.last * planned.batch)[1]
    size = reader.dtype.itemsize
    wanted = phase_order.stream(
        np.asarray(reader.offsets) // size, np.asarray(reader.sizes, dtype=np.int64), seed,
        begin * length, (begin + last - first) * length + 1,
    )  # fmt: skip
    # so many that GPT-NeoX reads it in one epoch and its blend never wraps around
    windows = max(counts[at], last + 1) + 1
    if windows * length + 1 == len(reader.tokens):
        windows += 1  # a view is told by its sum
    laid = phase_order.view(wanted, first, last, windows, length, seed, len(reader.tokens))
    files.remove(manifest.path_of(prefix))
    put_sample_orders_aside(prefix)  # GPT-NeoX's, of what stood here before
    write_view(prefix, source, laid.starts, laid.sizes.astype(np.int32))
    stated = manifest.find(source) or {}
    kept: dict[str, Any] = {
        key: stated[key] for key in ("tokenizer_sha256", "vocab_size", "eod_id", "dtype") if key in stated
    }
    manifest.write(
        prefix,
        {
            "tokens": len(reader.tokens),
            **kept,
            **manifest.sums(prefix),
            "view": facts,
            "tool": f"haigo {haigo.__version__}",
        },
    )
