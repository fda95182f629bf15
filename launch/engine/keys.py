"""Every key of GPT-NeoX in one of three classes: honoured, without effect on the numbers, or held to certain values; `keys.yml`
lists them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from haigo import yamlfile
from haigo.cli import HaigoError
from neox_configs import reader
from neox_configs.keys import KEYS


class Classes(NamedTuple):
    """The keys of each class."""

    honoured: frozenset[str]
    no_effect: frozenset[str]
    held: dict[str, tuple[tuple[Any, ...], str]]
    """key -> (values, why no others)."""


@cache
def classes() -> Classes:
    """What `keys.yml` says."""
    content = yamlfile.read(Path(__file__).with_suffix(".yml"))
    held = {key: (tuple(rule["values"]), rule["why"]) for key, rule in content["held"].items()}
    held |= {key: (tuple(rule["values"]), rule["why"]) for rule in content["held_alike"] for key in rule["keys"]}
    return Classes(frozenset(content["honoured"]), frozenset(content["no_effect"]), held)


def check(config: Mapping[str, Any]) -> None:
    """Refuse every key, and every value of a key, that this engine cannot honour.

    Raises:
        HaigoError: an unknown key (with the nearest real one), a value of a type that GPT-NeoX would not take, or one that
            cannot be honoured.
    """
    honoured, no_effect, held = classes()
    for name in config:
        if name not in KEYS:
            raise HaigoError(
                f"unknown key '{name}': GPT-NeoX has no such key.{reader.did_you_mean(name)}", "mend or remove it"
            )
    for problem in reader.type_problems(config):
        raise HaigoError(f"the config's {problem}", "mend it: GPT-NeoX would not take it either")
    for name, value in config.items():
        if value is None or name in honoured or name in no_effect:
            continue
        if name == "attention_config":
            attention(value, int(config.get("num_layers") or 0))
        elif name == "load":
            if value != config.get("save"):
                raise HaigoError(
                    f"load: '{value}' names other weights to start from, which this engine cannot read.",
                    "remove load: this engine goes on from its own checkpoints in --output-dir",
                )
        else:
            allowed, why = held[name]
            # DeepSpeed's blocks have an `enabled`; one that lacks it may be on (scheduler), so it is not taken for off
            off = isinstance(value, Mapping) and None in allowed and (not value or value.get("enabled") is False)
            if value not in allowed and not off:
                fix = f"set {name} to {allowed[0]!r}" if allowed[0] is not None else f"remove {name}"
                raise HaigoError(f"{name}: {value!r} cannot be honoured by the embedded engine: {why}.", fix)
    for name in ("norm", "pos_emb", "data_impl"):  # GPT-NeoX's defaults, where the engine cannot honour them
        if config.get(name) is None and KEYS[name].default not in held[name][0]:
            raise HaigoError(
                f"{name} is not given, and GPT-NeoX's default {KEYS[name].default!r} cannot be honoured: "
                f"{held[name][1]}.",
                f'write "{name}": "{held[name][0][0]}"',
            )


def attention(value: Any, layers: int) -> None:
    """Refuse an attention_config that is not full attention in each of `layers` layers (0: any number)."""
    fix = f'write "attention_config": [[["global"], {layers or "LAYERS"}]]'
    kinds: list[str] = []
    try:
        if isinstance(value, str) or not all(isinstance(kind, str) for item in value for kind in _kinds(item)):
            raise TypeError
        for item in value:
            times = 1 if isinstance(item, str) else item[1]
            kinds += _kinds(item) * (max(1, layers // len(_kinds(item))) if times == "all" else times)
    except (TypeError, LookupError, ZeroDivisionError):
        raise HaigoError(f"attention_config: {value!r} is not a list of [[KIND, ...], LAYERS].", fix) from None
    wrong = sorted({kind for kind in kinds if kind not in ("global", "flash")})
    if wrong:
        raise HaigoError(
            f"attention_config: '{wrong[0]}' cannot be honoured by the embedded engine: it has full attention only.",
            fix,
        )
    if value and layers and len(kinds) != layers:
        raise HaigoError(f"attention_config is for {len(kinds)} layers, and the model has {layers}.", fix)


def _kinds(item: Any) -> list[str]:
    return [item] if isinstance(item, str) else list(item[0])
