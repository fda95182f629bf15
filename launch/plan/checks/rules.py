"""The rules of `rules.yml` held against a config, and the facts that they speak of."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

from haigo import yamlfile
from haigo.cli import HaigoError, nearest
from launch.plan.checks.check import Check
from neox_configs import derive, neox_args, reader
from neox_configs.keys import KEYS

SPLITS = ("train", "valid", "test")
_HERE = Path(__file__).parent


@cache
def table(name: str) -> Any:
    """A data file of this folder."""
    return yamlfile.read(_HERE / f"{name}.yml")


@cache
def _compiled(text: str) -> Any:
    return compile(text, "rules", "eval")


def checks(config: Mapping[str, Any], group: str, **more: Any) -> list[Check]:
    """What the rules of a group say of a config; only those that say no, or beware. The types must have been checked before.

    Args:
        config: what `reader.load` gave.
        more: further facts.
    """
    return [*_said(config, group, more)]


def first(config: Mapping[str, Any], group: str, **more: Any) -> list[Check]:
    """As `checks`, the first answer alone; the rules after it are not looked at."""
    return [*islice(_said(config, group, more), 1)]


def _said(config: Mapping[str, Any], group: str, more: dict[str, Any]) -> Iterator[Check]:
    known = facts(config) | more
    for rule in table("rules")[group]:
        yield from _answers(rule, known)


def everywhere(config: Mapping[str, Any]) -> list[Check]:
    """What says no to a config whoever trains it, GPT-NeoX or the embedded engine. Types and numbers must be right.

    Args:
        config: its keys that decide the numbers.
    """
    for group in ("blocks", "model", "schedule", "agree"):
        known = facts(config) | (shape(config) if group == "agree" else {})  # which reckons with the model's sizes
        marked = [rule for rule in table("rules")[group] if rule.get("engine")]
        if wrong := [answer for rule in marked for answer in _answers(rule, known)]:
            return wrong
    return []


def _answers(rule: Mapping[str, str], known: dict[str, Any]) -> Iterator[Check]:
    wrong = eval(_compiled(rule["each" if "each" in rule else "when"]), known)
    for each in wrong if "each" in rule else [None] if wrong else []:
        texts = (rule.get("status", "fail"), rule["says"], rule.get("fix", ""))
        yield Check(rule["check"], *(eval(_compiled(f"f{text!r}"), known | {"each": each}) for text in texts))


def number(value: Any) -> bool:
    """A finite number, and no bool."""
    return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)


def computed_in(config: Mapping[str, Any]) -> str:
    """fp16, bfloat16 or fp32, as GPT-NeoX derives it."""
    for block, name in (("fp16", "fp16"), ("bf16", "bfloat16")):
        if _enabled(config.get(block)):
            return name
    return str(config.get("precision") or "fp32")


def facts(config: Mapping[str, Any]) -> dict[str, Any]:
    """What rules may speak of: every key with the value that GPT-NeoX takes, and what follows from them."""
    known = {name: reader.value(config, name) for name in KEYS}

    def block(name: str) -> Mapping[str, Any]:
        value = config.get(name)
        return value if isinstance(value, Mapping) else {}

    need = ("num_layers", "hidden_size", "num_attention_heads", "max_position_embeddings", "seq_length")
    tools = {"given": config, "block": block, "enabled": _enabled, "number": number, "nearest": nearest}
    more = {"shaped": all(config.get(key) is not None and config[key] >= 1 for key in need), "Mapping": Mapping}
    more["tensor"] = max(1, known["model_parallel_size"])
    return known | tools | more | _computing(config, block) | _optimizer(config) | _data(config)


def _enabled(block: Any) -> Any:
    return block.get("enabled") if isinstance(block, Mapping) else None


def _computing(config: Mapping[str, Any], block: Any) -> dict[str, Any]:
    """Precision and ZeRO."""
    used, stage = computed_in(config), block("zero_optimization").get("stage")
    asked = {
        name: f"{key}.enabled" for key, name in (("fp16", "fp16"), ("bf16", "bfloat16")) if _enabled(config.get(key))
    }
    if config.get("precision"):
        asked.setdefault(str(config["precision"]), f"precision: {config['precision']}")
    deepspeed, away = table("deepspeed"), block("zero_optimization").get("offload_optimizer")
    return {
        "computed_in": used,
        "precisions_asked": asked,
        "fp16_on": isinstance(config.get("fp16"), Mapping) and bool(_enabled(config["fp16"]) or used == "fp16"),
        "fp16_keys": deepspeed["fp16"].split(),
        "scale": deepspeed["scale"],
        "stage": stage if isinstance(stage, int) else 0,
        "stage_known": not isinstance(stage, bool) and stage in (0, 1, 2, 3),
        "offloads": block("zero_optimization").get("cpu_offload")
        or (isinstance(away, Mapping) and away.get("device") in ("cpu", "nvme")),
        "summed_in": block("data_types").get("grad_accum_dtype"),
        "sums": {word: name for name, words in deepspeed["sums"].items() for word in words.split()},
    }


def _optimizer(config: Mapping[str, Any]) -> dict[str, Any]:
    optimizers, given = table("deepspeed")["optimizers"], config.get("optimizer") or {}
    kind = str(given.get("type", "adam")).lower()
    formed = isinstance(given.get("type"), str) and isinstance(given.get("params"), Mapping)
    known = formed and kind in optimizers
    allowed = set(optimizers.get(kind, "").split())
    if reader.value(config, "use_bnb_optimizer"):
        allowed |= set(table("deepspeed")["bitsandbytes"].split())
    params = given.get("params")
    rate = params.get("lr", 0.001) if isinstance(params, Mapping) else None
    return {
        "optimizer_kind": kind,
        "optimizers": optimizers,
        "well_formed": formed,
        "known_optimizer": known,
        "params": params if known else {},
        "allowed": allowed,
        "clips": ("max_grad_norm", "clip_grad", "gradient_clipping"),
        "lr": rate if number(rate) else math.inf,  # told by the checks of the optimizer
    }


def shape(config: Mapping[str, Any]) -> dict[str, Any]:
    """Further facts, of a model that says its layers, hidden size and heads: attention, heads, MLP and learning rate."""
    known = {name: reader.value(config, name) for name in KEYS}
    more: dict[str, Any] = {"kinds": set(), "attention_wrong": None}
    hidden, heads = known["hidden_size"], known["num_attention_heads"]
    try:
        more["kinds"] = {*neox_args.attention_layers(config.get("attention_config"), known["num_layers"])}
    except HaigoError as error:
        more["attention_wrong"] = error
    share, turned = known["rotary_pct"], None
    if known["pos_emb"] == "rotary" and not hidden % heads:
        turned = hidden // heads if share == 1 else int(hidden // heads * share)
    mlp = None if known["moe_num_experts"] > 1 else derive.mlp(config)
    return more | {"turned": turned, "mlp": mlp} | _decay(known, config.get("lr_decay_fraction"))


def _decay(known: Mapping[str, Any], share: float | None) -> dict[str, Any]:
    """Where the learning rate ends its fall, and how much of it comes back by the end of the run."""
    steps, decay = known["train_iters"], known["lr_decay_iters"]
    if steps is not None and decay is None and share is not None:
        decay = math.floor(steps * share)
    back = None
    if steps is not None and decay is not None and 1 <= decay < steps and known["lr_decay_style"] == "cosine":
        back = (1 - math.cos(math.pi * (steps - decay) / (decay - known["warmup"] * decay))) / 2
    return {"decay": decay, "back": back}


def _data(config: Mapping[str, Any]) -> dict[str, Any]:
    paths = {split: config.get(f"{split}_data_paths") for split in SPLITS}
    weights = {split: given for split in SPLITS if (given := config.get(f"{split}_data_weights")) is not None}
    weighed: dict[str, Any] = {
        split: given if given is not None else config.get(f"pos_{split}_data_paths") for split, given in paths.items()
    }
    # split, weight, and of what
    every = [
        (split, weight, f" ({path})" if path is not None else "")
        for split, given in weights.items()
        if weighed[split] is not None
        for weight, path in list(zip_longest(given, weighed[split][: len(given)]))
    ]
    text = reader.value(config, "split")
    try:
        parts = [float(word) for word in text.split("," if "," in text else "/")]
    except ValueError:
        parts = None
    return {
        "splits_named": [split for split, given in paths.items() if given is not None],
        "paths_of": {split: given or [] for split, given in paths.items()},
        "labels_of": {split: config.get(f"{split}_label_data_paths") or [] for split in SPLITS},
        "weights_of": weights,
        "weighed": weighed,
        "every_weight": every,
        "parts": parts,
    }
