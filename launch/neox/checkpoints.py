"""GPT-NeoX's save folder: `global_stepN` with `configs/` in it, `latest`, which names one of them; and which are whole."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from haigo import files
from haigo.cli import HaigoError, Refused
from haigo.formats.exported import CONVERSION
from launch.neox.saved_files import damaged, torn
from neox_configs import derive, reader

_TAG = re.compile(r"global_step(0|[1-9]\d*)")
_SHARD = re.compile(r"^(?:bf16_)?zero_pp_rank_(\d+)_mp_rank_(\d+)_optim_states\.pt$")
LAYER = re.compile(r"layer_(\d+)-model_(\d+)-model_states\.pt$")
RANK = re.compile(r"mp_rank_(\d+)_model_states\.pt$")


def require_apart(runs: Sequence[tuple[str, Mapping[str, Any]]], source: str) -> None:
    """See that no two runs train into one save folder, however it is written.

    Args:
        runs: what to call each, and its config.
        source: the file or option that names them.

    Raises:
        HaigoError: two do.
    """
    known: dict[str, str] = {}
    for name, config in runs:
        save = config.get("save")
        if save and known.setdefault(os.path.realpath(str(save)), name) != name:
            other = known[os.path.realpath(str(save))]
            raise HaigoError(
                f"{source}: {other} and {name} save to the same folder {save}.",
                "give each run a save folder of its own",
            )


def step_of(name: str) -> int | None:
    """The step of a checkpoint's folder name; None for any other name."""
    match = _TAG.fullmatch(name)
    return int(match[1]) if match else None


def steps(folder: str | os.PathLike[str]) -> list[int]:
    """The steps whose folders lie there, in order; none where there is no such folder."""
    place = Path(folder)
    if not place.is_dir():
        return []
    numbers = (step_of(path.name) for path in place.iterdir() if path.is_dir())
    return sorted(step for step in numbers if step is not None)


def last_step(config: Mapping[str, Any]) -> int | None:
    """The step at which a run is done: train_iters, or an earlier `exit_interval` that `extra_save_iters` saves at (GPT-NeoX
    ends there with its checkpoint written); None where nothing tells."""
    steps, out = config.get("train_iters"), config.get("exit_interval")
    if not isinstance(steps, int):
        return None
    return out if out and out < steps and out in (config.get("extra_save_iters") or []) else steps


def milestones(config: Mapping[str, Any]) -> list[int]:
    """The steps whose checkpoints are kept for good: `extra_save_iters`, but for those at the end and just before it, which
    prove the last weights."""
    last = last_step(config)
    return sorted({step for step in config.get("extra_save_iters") or [] if last is None or step < last - 1})


def weights_name(rank: int, layer: int | None = None) -> str:
    """The file with the weights of a tensor rank: all of them, or with a pipeline those of one layer."""
    part = f"mp_rank_{rank:02d}_" if layer is None else f"layer_{layer:02d}-model_{rank:02d}-"
    return f"{part}model_states.pt"


def layer_numbers(layers: int, tied: bool) -> list[int]:
    """GPT-NeoX's numbers of the layers that have weights: the embedding 0, a function without any, the blocks, another
    function, the last norm, and the output layer where it is not tied to the embedding."""
    return [0, *range(2, layers + 2), layers + 3, *([] if tied else [layers + 4])]


def latest(folder: str | os.PathLike[str]) -> str | None:
    """What `latest` names, which need not be there; None when that file is missing or empty."""
    mark = Path(folder) / "latest"
    return (mark.read_text(encoding="utf-8", errors="replace").strip() or None) if mark.is_file() else None


def find(place: str | Path, iteration: int | None = None) -> Path:
    """The `global_stepN` folder that is meant: `place` itself, or what `latest` in it names.

    Args:
        iteration: take this step of a save folder, whatever `latest` says.

    Raises:
        HaigoError: there is none; the sentence names what is there instead.
    """
    folder = Path(place)
    if not folder.is_dir():
        raise HaigoError(f"{place} is no folder.", "name the save folder of a GPT-NeoX run, or a global_stepN in it")
    if step_of(folder.resolve().name) is not None:
        return folder
    there = steps(folder)
    listed = ", ".join(f"global_step{step}" for step in there[-4:])
    if not there:
        raise HaigoError(
            f"{place} holds no global_stepN folder.", "name the save folder of a GPT-NeoX run, or a global_stepN in it"
        )
    if iteration is not None:
        if iteration not in there:
            raise HaigoError(f"{place} has no global_step{iteration}.", f"there are {listed}")
        return folder / f"global_step{iteration}"
    name = latest(folder)
    if name is None or step_of(name) not in there:
        why = "has no file `latest`" if name is None else f"has a file `latest` that names '{name}', which is not there"
        raise HaigoError(f"{place} {why}.", f"name one of its folders: {listed}")
    return folder / name


def kept_configs(checkpoint: str | os.PathLike[str]) -> list[Path]:
    """The config files that GPT-NeoX kept with a checkpoint; together they are the run's config."""
    return sorted(
        path for path in (Path(checkpoint) / "configs").glob("*") if path.suffix in (".yml", ".yaml", ".json")
    )


def published(checkpoint: str | os.PathLike[str]) -> dict[str, Any] | None:
    """What `launch.convert --to-neox` noted of the model that a checkpoint was made of: `vocab_size`, its rows as they were
    published, and `rows`, with those that were added; None for a checkpoint that GPT-NeoX trained."""
    path = Path(checkpoint) / CONVERSION
    return dict(files.read_record(path, {"vocab_size": int, "rows": int})) if path.is_file() else None


@dataclass(frozen=True)
class Layout:
    """What decides which files a checkpoint has."""

    tensor: int = 1
    pipe: int = 0
    layers: int = 0
    tied: bool = False
    zero: int = 0
    data: int | None = None
    """Copies of the model; None when the number of GPUs is not known."""


@dataclass(frozen=True)
class Checkpoint:
    """One `global_stepN` folder."""

    tag: str
    step: int
    problem: str | None
    """Why it cannot be loaded; None when it is whole."""


def layout(config: Mapping[str, Any], gpus: int | None = None) -> Layout:
    """The layout of a config's checkpoints.

    Args:
        config: what `reader.load` gave.
        gpus: all GPUs of the run, where it is known.
    """
    tensor = max(1, int(reader.value(config, "model_parallel_size")))
    pipe = int(reader.value(config, "pipe_parallel_size"))
    zero = config.get("zero_optimization")
    stage = zero.get("stage", 0) if isinstance(zero, dict) else 0
    return Layout(
        tensor=tensor,
        pipe=pipe,
        layers=int(config.get("num_layers") or 0),
        tied=not reader.value(config, "no_weight_tying"),
        zero=stage if isinstance(stage, int) else 0,
        data=max(1, gpus // derive.gpus_of_a_copy(config)) if gpus else None,
    )


def survey(folder: str | os.PathLike[str], form: Layout, deep: bool = False) -> list[Checkpoint]:
    """Look at every checkpoint of a save folder.

    Args:
        folder: where `latest` and the `global_stepN` folders are; need not exist.
        form: what `layout` gave.
        deep: read every byte (minutes for a large model) instead of the ends of the files.

    Returns:
        All of them, oldest first.
    """
    place = Path(folder)
    shards = _most_shards(place)
    tags = {f"global_step{step}": step for step in steps(place)}
    return [Checkpoint(tag, step, _problem(place / tag, form, shards, deep)) for tag, step in tags.items()]


def _most_shards(place: Path) -> int:
    """Of any checkpoint: the number of GPUs is not always known, and what the others have is the next best thing."""
    return max((_shards(place / f"global_step{step}") for step in steps(place)), default=0)


def _shards(path: Path) -> int:
    ranks = [int(match[1]) for file in path.iterdir() if (match := _SHARD.match(file.name))]
    return max(ranks) + 1 if ranks else 0


def expected(form: Layout, shards: int, bf16_names: bool = False) -> list[str]:
    """Names of the files that a checkpoint of this layout must have (those that always exist).

    Args:
        form: what `layout` gave.
        shards: data-parallel optimizer shards; 0 for none.
        bf16_names: DeepSpeed puts `bf16_` before the shards of its bf16 optimizer.
    """
    slices = range(form.tensor * max(1, form.pipe))
    prefix = "bf16_" if bf16_names else ""
    names = [
        f"{prefix}zero_pp_rank_{rank}_mp_rank_{part:02d}_optim_states.pt" for part in slices for rank in range(shards)
    ]
    if form.zero >= 3:
        names += [
            f"zero_pp_rank_{rank}_mp_rank_{part:02d}_model_states.pt" for part in slices for rank in range(shards)
        ]
    else:
        names += [weights_name(part) for part in slices]
    if form.pipe >= 1 and form.layers:
        numbers = layer_numbers(form.layers, form.tied)
        names += [weights_name(part, number) for number in numbers for part in range(form.tensor)]
    return names


def _problem(path: Path, form: Layout, shards: int, deep: bool) -> str | None:
    there = {file.name: file for file in path.iterdir() if file.is_file()}
    own = _shards(path)
    if form.data and own > form.data and form.zero:
        return f"was made with {own} copies of the model, not {form.data}"
    need = (form.data or max(1, shards)) if form.zero else shards
    wanted = expected(form, need, any(name.startswith("bf16_zero") for name in there))
    missing = [name for name in wanted if name not in there]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        return f"lacks {missing[0]}{more}"
    for name in sorted(there):
        if name.endswith(".pt"):
            trouble = torn(there[name], deep)
            if trouble:
                return f"{name} {trouble}"
    return None


def problem(config: Mapping[str, Any], gpus: int | None, folder: str | os.PathLike[str], tag: str) -> str | None:
    """Why one checkpoint of a save folder cannot be loaded, as `survey` says it; None when it is whole."""
    place = Path(folder)
    if not (place / tag).is_dir():
        return "is not there"
    return _problem(place / tag, layout(config, gpus), _most_shards(place), deep=False)  # the others' files stay closed


@dataclass(frozen=True)
class Choice:
    """Which checkpoint a run goes on from."""

    tag: str | None
    """None: there is no checkpoint at all."""
    named: str | None
    """What `latest` says now; None when it is missing or empty."""
    why: str = ""
    """Why `latest` has to be changed; empty when it has not."""
    there: Sequence[Checkpoint] = ()
    """All of them, oldest first."""

    @property
    def step(self) -> int:
        return int(self.tag.removeprefix("global_step")) if self.tag else 0


def decide(
    folder: str | os.PathLike[str],
    config: Mapping[str, Any],
    gpus: int | None,
    poisoned_from: int | None = None,
    deep: bool = False,
) -> Choice:
    """The checkpoint that a run goes on from: `choose` among all that `survey` sees.

    Args:
        folder: the save folder.
        config: what `reader.load` gave.
        gpus: all GPUs of the run, where it is known.
        poisoned_from: as of `choose`.
        deep: read every byte of the one that is chosen, or of the next, until one is sound; of a finished run none is read.

    Raises:
        Refused: there are checkpoints, and none is good.
    """
    surveyed = survey(folder, layout(config, gpus))
    while True:
        choice = choose(folder, surveyed, poisoned_from)
        if not deep or choice.tag is None or choice.step == last_step(config):
            return choice
        damage = damaged(Path(folder) / choice.tag)
        if damage is None:
            return choice
        surveyed = [replace(one, problem=damage) if one.tag == choice.tag else one for one in surveyed]


def choose(folder: str | os.PathLike[str], surveyed: Sequence[Checkpoint], poisoned_from: int | None = None) -> Choice:
    """The checkpoint to go on from: the one that `latest` names when it is good, else the newest good one before it,
    else the newest good one.

    Args:
        folder: the save folder.
        surveyed: what `survey` gave.
        poisoned_from: checkpoints of this step and later hold weights that are not numbers.

    Raises:
        Refused: there are checkpoints, and none is good.
    """
    named = latest(folder)
    if not surveyed and named is None:
        return Choice(None, None)
    bad = {one.tag: one.problem for one in surveyed if one.problem}
    for one in surveyed:
        if poisoned_from is not None and one.step >= poisoned_from:
            bad[one.tag] = f"was saved after the loss was no number (step {poisoned_from})"
    good = [one for one in surveyed if one.tag not in bad]
    if named and any(one.tag == named for one in good):
        return Choice(named, named, there=surveyed)
    if not good:
        first = next(iter(bad.items()), (named, "is not there"))
        raise Refused(
            f"{folder} has no whole checkpoint: {first[0]} {first[1]}"
            + (f", and {len(bad) - 1} more are torn." if len(bad) > 1 else "."),
            f"restore one from a copy, or name another save folder to start from step 0 (nothing in {folder} was changed)",
        )
    before = step_of(named or "")
    earlier = [one for one in good if before is not None and one.step < before]
    best = (earlier or good)[-1]
    if named is None:
        why = "latest is empty" if (Path(folder) / "latest").is_file() else "latest is missing"
    else:
        why = f"{named} {bad.get(named, 'is not there')}"
    return Choice(best.tag, named, why, surveyed)


def repair(folder: str | os.PathLike[str], choice: Choice) -> bool:
    """Write the choice into `latest`, atomically; True when that changed anything."""
    if choice.tag is None or choice.tag == choice.named:
        return False
    path = Path(folder) / "latest"
    if path.is_file():
        files.adopt([path])  # GPT-NeoX's, one line; what it named is told
    files.write_text(path, choice.tag)
    return True


def read_config(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The config that GPT-NeoX kept beside the newest checkpoint that has one.

    Raises:
        HaigoError: there is none.
    """
    for step in reversed(steps(folder)):
        kept = kept_configs(Path(folder) / f"global_step{step}")
        if kept:
            return reader.load(kept)
    raise HaigoError(f"{folder} has no checkpoint with a config beside it.", "name the config of the run as well")
