"""What the embedded engine makes of GPT-NeoX's keys: honoured, without effect on the numbers, or held to the values for which
it computes what GPT-NeoX computes (`neox_configs/keys.csv`). Nothing is ignored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from haigo.cli import HaigoError
from launch.plan.checks import rules, values
from neox_configs import huggingface, neox_args, reader
from neox_configs.keys import KEYS


def check(config: Mapping[str, Any]) -> None:
    """Refuse every key, and every value of a key, that this engine cannot honour, and what `launch.preflight` says no to in
    those that it does.

    Raises:
        HaigoError: an unknown key (with the nearest real one), a value of a type that GPT-NeoX would not take, one that cannot
            be honoured, or values that make no sense.
    """
    reader.check_keys(config)
    reader.check_types(config)
    if config.get("train_impl") in (
        "dpo",
        "kto",
        "rm",
        "reinforce",
    ):  # before its data paths, which are of other datasets
        raise HaigoError(
            f"train_impl: {config['train_impl']} is training on preferences, which the embedded engine does not do.",
            "train it with GPT-NeoX (launch.deepy)",
        )
    for name, key in KEYS.items():
        if key.engine == "held":
            _held(name, config.get(name))
    huggingface.family(config)
    if config.get("load") not in (None, config.get("save")):
        raise HaigoError(
            f"load: '{config['load']}' names other weights to start from, which this engine cannot read.",
            "remove load: this engine goes on from its own checkpoints in --output-dir; a decay from the run that "
            "--continue-from names",
        )
    # the seed 0, which GPT-NeoX refuses, is one here
    given = {name: value for name, value in config.items() if (name, value) != ("seed", 0)}
    honoured = {name: value for name, value in given.items() if KEYS[name].engine != "no effect"}
    wrong = [*values.numbers(honoured), *values.words(honoured), *values.blocks(honoured)]
    for one in [one for one in wrong if one.status == "fail"] or rules.everywhere(honoured):
        raise HaigoError(one.found, one.fix)
    attention(config)


def _held(name: str, value: Any) -> None:
    key = KEYS[name]
    if value is None and key.default not in key.held:
        raise HaigoError(
            f"{name} is not given, and GPT-NeoX's default {key.default!r} cannot be honoured: {key.engine_why}.",
            f'write "{name}": "{key.held[0]}"',
        )
    # DeepSpeed's blocks have an `enabled`; one that lacks it may be on (scheduler), so it is not taken for off
    off = isinstance(value, Mapping) and None in key.held and (not value or value.get("enabled") is False)
    if value is not None and value not in key.held and not off:
        fix = f"set {name} to {key.held[0]!r}" if key.held[0] is not None else f"remove {name}"
        raise HaigoError(f"{name}: {value!r} cannot be honoured by the embedded engine: {key.engine_why}.", fix)


def attention(config: Mapping[str, Any]) -> None:
    """Refuse an attention_config that is not full attention in every layer."""
    try:
        kinds = neox_args.attention_layers(config.get("attention_config"), config["num_layers"])
    except HaigoError as error:
        raise HaigoError(error.problem, error.fix) from None  # no check has refused: the value makes no sense
    if wrong := sorted({*kinds} - {"global", "flash"}):
        raise HaigoError(
            f"attention_config: '{wrong[0]}' cannot be honoured by the embedded engine: it has full attention only.",
            f'write "attention_config": [[["global"], {config["num_layers"]}]]',
        )
