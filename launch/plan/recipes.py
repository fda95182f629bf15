"""The recipes of `launch.configs`: what makes a config continue, finetune or stretch a finished model.

* `pretrain`: from scratch, on a mixture.
* `continued`: from a checkpoint, on a mixture, with a new optimizer and schedule.
* `finetune`: from a checkpoint, on label datasets of `preprocess.pairs`.
* `long-context`: from a checkpoint, on a mixture, with longer samples and stretched rotary frequencies.
* `decay` (`launch.plan.decay`): from a checkpoint of a constant rate, the rate's fall to 0 and nothing else.

A recipe that starts from a checkpoint needs two files, because of one rule of GPT-NeoX: with `finetune: true` every start takes
the weights of `load` and counts from 0, so that the same file, started again after a crash, would throw its own checkpoints
away. The first file starts the run; NAME-resume.yml differs from it in `finetune` and `load` only and goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haigo.cli import HaigoError, Refused
from launch.neox import checkpoints
from launch.plan.layouts import Layout
from launch.plan.options import ConfigOptions, File
from launch.plan.planner import Plan
from neox_configs import derive, reader, shipped

_SHAPE = [
    "num_layers",
    "hidden_size",
    "num_attention_heads",
    "norm",
    "pos_emb",
    "rotary_pct",
    "activation",
    "gpt_j_residual",
    "no_weight_tying",
    "use_bias_in_attn_linear",
    "use_bias_in_mlp",
    "sliding_window_width",
]
"""Keys that must be as in the checkpoint, or its weights mean something else."""
_KEPT = ("max_position_embeddings", "make_vocab_size_divisible_by")
"""Keys that are the checkpoint's, whatever model and layout say: GPT-NeoX compares them when it loads."""


@dataclass(frozen=True)
class Base:
    """The checkpoint that a recipe starts from."""

    folder: Path
    """The save folder (`load`)."""
    step: int
    latest: bool
    """Whether `latest` names this step; otherwise the config says `iteration`."""
    config: dict[str, Any]
    """What the checkpoint was trained with."""

    @property
    def tensor(self) -> int:
        return max(1, int(reader.value(self.config, "model_parallel_size")))

    @property
    def piped(self) -> bool:
        """Its files are those of the pipeline engine (pipe_parallel_size 1 or more)."""
        return int(reader.value(self.config, "pipe_parallel_size")) >= 1


def base(place: str | Path) -> Base:
    """Read which checkpoint is meant, and what it was trained with.

    Args:
        place: a save folder, whose `latest` counts, or one of its `global_stepN` folders.

    Raises:
        HaigoError: no checkpoint there, or one without its config.
    """
    chosen = checkpoints.find(Path(place).expanduser().resolve())
    kept = checkpoints.kept_configs(chosen)
    if not kept:
        raise HaigoError(f"{chosen}/configs holds no config.", "copy the config that trained it there")
    step, latest = checkpoints.step_of(chosen.name), checkpoints.latest(chosen.parent)
    return Base(chosen.parent, step or 0, latest == chosen.name, reader.load(kept))


def begin(recipe: str, start: File | None) -> Base | None:
    """The checkpoint that a recipe starts from; None for `pretrain`.

    Raises:
        HaigoError: one is given to `pretrain`, none to another recipe, or it cannot be used.
    """
    if recipe == "pretrain":
        if start is not None:
            raise HaigoError(
                "pretraining starts from nothing.", "give --recipe continued, or leave --from out", option="recipe"
            )
        return None
    if start is None:
        raise HaigoError(
            f"the recipe {recipe} needs a checkpoint to start from.", "give --from SAVE_FOLDER", option="start"
        )
    return base(Path(start))


def layout(plan: Plan, start: Base | None) -> Layout:
    """The layout that was asked for, else the best; of those that can load the checkpoint: its tensor split, and a pipeline
    engine where it had one.

    Raises:
        Refused: nothing fits, or nothing that could load it.
    """
    if plan.asked is not None and not plan.asked.fits:
        nearest = f"; the nearest that fits: {plan.nearest.name}" if plan.nearest is not None else ""
        sentence = f"{plan.asked.name} needs {plan.asked.memory_bytes / 1e9:.1f} GB a GPU, and there are "
        raise Refused(f"{sentence}{plan.memory_bytes / 1e9:.1f}{nearest}.", "give another --layout", option="layout")
    if plan.asked is None:
        _ = plan.best
    if start is None:
        return plan.asked or plan.best
    for one in [plan.asked] if plan.asked is not None else plan.layouts:
        if one.tensor == start.tensor and (one.pipe > 0) == start.piped:
            return one
    kind = "a pipeline" if start.piped else "no pipeline"
    raise Refused(
        f"the checkpoint {start.folder} is split over {start.tensor} GPUs with {kind}, and no such layout fits here.",
        "take other nodes, or split it anew: launch.convert to a Hugging Face folder, then launch.convert --to-neox "
        "of that with --tensor-parallel",
    )


def save_folder(options: ConfigOptions, start: Base | None) -> Path:
    """Where the run's checkpoints go: as asked, else `checkpoints/NAME` beside the config.

    Raises:
        Refused: that is where it starts from.
    """
    output = Path(options.output)
    given = Path(options.save) if options.save is not None else output.resolve().parent / "checkpoints" / output.stem
    folder = given.resolve()
    if start is not None and folder in (start.folder, start.folder.parent):
        sentence = f"the run would write its checkpoints into {folder}, where it starts from."
        raise Refused(sentence, "give another --save", option="save")
    return folder


def watched(options: ConfigOptions) -> dict[str, Any]:
    """Where the run's curves go beside its log.

    Raises:
        HaigoError: a name for Weights & Biases without a project.
    """
    keys: dict[str, Any] = {}
    if options.tensorboard_dir is not None:
        keys["tensorboard_dir"] = str(Path(options.tensorboard_dir).resolve())
    if options.wandb_project is None:
        options.refuse_idle("no --wandb-project", "wandb_group", "wandb_name", "wandb_team")
        return keys
    name = Path(options.output).stem
    keys |= {"use_wandb": True, "wandb_project": options.wandb_project, "wandb_group": options.wandb_group or name}
    team = {"wandb_team": options.wandb_team} if options.wandb_team is not None else {}
    return {**keys, "wandb_run_name": options.wandb_name or name, **team}


def check_model(config: Mapping[str, Any], start: Base) -> None:
    """See that config and checkpoint are one model.

    Raises:
        Refused: a key that decides the weights differs.
    """
    ours, theirs = _shape(config), _shape(start.config)
    for key, value in ours.items():
        if theirs.get(key) != value:
            raise Refused(
                f"{key} is {value!r}, and the checkpoint {start.folder} was trained with {theirs.get(key)!r}.",
                "name the model (--model) that the checkpoint is of",
                option="model",
            )


def _shape(config: Mapping[str, Any]) -> dict[str, Any]:
    """What must be as in the checkpoint, however it is spelled: heads and MLP as GPT-NeoX builds them, the norm's epsilon."""
    epsilon = {"layernorm": "layernorm_epsilon", "rmsnorm": "rms_norm_epsilon", "scalenorm": "scalenorm_epsilon"}
    names = [*_SHAPE, *[name for kind, name in epsilon.items() if kind in reader.value(config, "norm")]]
    mlp = derive.mlp(config)
    built = {"num_kv_heads": derive.kv_heads(config), "intermediate_size": mlp.inner}
    return {name: reader.value(config, name) for name in names} | built


def check_vocabulary(pieces: int, start: Base) -> None:
    """See that the tokenizer's ids have rows in published weights.

    Args:
        pieces: of the tokenizer.

    Raises:
        Refused: GPT-NeoX would make another number of rows.
    """
    published = checkpoints.published(start.folder / f"global_step{start.step}")
    rows = derive.padded_vocab(start.config, pieces)
    if published is not None and rows != published["rows"]:
        raise Refused(
            f"the tokenizer's {pieces:,} pieces give {rows:,} rows, and the model in {start.folder} has {published['rows']:,}.",
            "name in the catalogue the tokenizer that was published with the model",
            option="catalogue",
        )


def keys(options: ConfigOptions, start: Base, own: Mapping[str, Any], length: int, iterations: int) -> dict[str, Any]:
    """What a recipe changes in the config, besides data and schedule; min_lr becomes a tenth of the peak.

    Args:
        own: the model's keys.
        length: tokens a sample.
        iterations: steps of the run.
    """
    changes = dict(reader.load(shipped.find("recipes", options.recipe)))
    if options.schedule is not None:
        changes.pop("lr_decay_style", None)
    optimizer = changes.get("optimizer") or own.get("optimizer") or {"type": "Adam", "params": {}}
    params = dict(optimizer.get("params") or {})
    if options.lr is not None:
        params["lr"] = options.lr
        changes["min_lr"] = options.lr / 10
    changes["optimizer"] = {**optimizer, "params": params}
    changes |= {name: start.config[name] for name in _KEPT if start.config.get(name) is not None}
    changes |= {"load": str(start.folder), "lr_decay_iters": iterations}
    turned = reader.value(start.config, "rotary_emb_base")
    if turned != reader.value(own, "rotary_emb_base"):  # the checkpoint was stretched before
        changes["rotary_emb_base"] = turned
    if not start.latest:
        changes["iteration"] = start.step
    if options.recipe == "long-context":
        changes |= stretched(start, length)
    room = int(reader.value(start.config, "max_position_embeddings"))
    if room < length:
        raise Refused(
            f"GPT-NeoX loads {start.folder} only with its max_position_embeddings {room}.",
            f"make a copy first: python -m launch.stretch {start.folder} --seq-length {length} --output-dir FOLDER",
            option=("seq_length", "output_dir"),
        )
    return changes


def stretched(start: Base, length: int) -> dict[str, Any]:
    """The rotary base for longer samples.

    The base is multiplied by s^(d / (d - 2)) for samples s times as long, d being the rotary dimensions of a head: the slowest
    frequency then turns as little over the new length as it did over the old one, and the fastest stays ("NTK-aware"
    interpolation; Roziere et al. 2023 raise the base likewise and finetune).

    Raises:
        HaigoError: no longer than it was, or positions of another kind.
    """
    before = int(start.config["seq_length"])
    if reader.value(start.config, "pos_emb") != "rotary":
        raise HaigoError(f"the checkpoint {start.folder} has no rotary positions.", "only those can be stretched")
    if length <= before:
        raise HaigoError(
            f"--seq-length {length} is not longer than the checkpoint's {before}.",
            "give a longer one",
            option="seq_length",
        )
    hidden, heads = start.config["hidden_size"], start.config["num_attention_heads"]
    turned = int(hidden // heads * reader.value(start.config, "rotary_pct"))
    old = float(reader.value(start.config, "rotary_emb_base"))
    # a whole number, because GPT-NeoX wants one
    return {
        "rotary_emb_base": round(old * (length / before) ** (turned / max(1, turned - 2))),
    }


def resumed(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config that goes on with the run after a break."""
    kept = {key: value for key, value in config.items() if key != "iteration"}
    return {**kept, "finetune": False, "load": kept["save"]}


def resume_path(output: File) -> Path:
    """Where the file that goes on stands, beside the one that starts."""
    path = Path(output)
    return path.with_name(f"{path.stem}-resume{path.suffix or '.yml'}")
