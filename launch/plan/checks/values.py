"""The checks of `launch.preflight` on single values: numbers out of range, words that GPT-NeoX takes but does not know, and
what stands in the blocks that it hands on to DeepSpeed unseen (`deepspeed.yml`).

GPT-NeoX checks types, and hardly any value: `log_interval: 0` is found by a division in the first step, `warmup: 2000` by
nobody. Words are compared with their list without regard to case when the config is read and with regard to it when they
are used, so that `lr_decay_style: Cosine` silently trains at a constant rate. Seen at commit ea7aefd.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from haigo.cli import nearest
from launch.plan.checks import rules
from launch.plan.checks.check import Check
from launch.plan.checks.rules import number
from neox_configs.keys import KEYS, Key

_ANY_CASE = ("tokenizer_type", "optimizer_type", "launcher")
_KINDS = {
    "bool": "true or false",
    "count": "a whole number from 0",
    "int": "a whole number",
    "word": "a word",
    "list": "a list",
    "block": "a block",
    "share": "from 0 to 1",
    "from 0": "a number from 0",
}


def checks(config: Mapping[str, Any]) -> list[Check]:
    """All checks of this page; only those that say no, or beware. The types must have been checked before.

    Args:
        config: what `reader.load` gave.
    """
    return [
        *_infinite(config),
        *nulls(config),
        *numbers(config),
        *rules.checks(config, "values"),
        *words(config),
        *rules.checks(config, "blocks"),
        *blocks(config),
    ]


def _infinite(config: Mapping[str, Any]) -> Iterator[Check]:
    for trail, value in walk(config):
        if isinstance(value, float) and not math.isfinite(value):
            yield Check("numbers", "fail", f"{trail} is {value}, which is no number.", f"write a number as {trail}")


def nulls(config: Mapping[str, Any]) -> Iterator[Check]:
    """Keys written as null: GPT-NeoX then computes with none, not with its default, which `false` alone resembles."""
    for name in [name for name, value in config.items() if value is None]:
        key = KEYS[name]
        unread = key.group in ("runner", "generation") or (key.group == "logging" and key.kind == "str")
        if not (key.default is None or key.default is False or unread):
            sentence = (
                f"{name} is null, which GPT-NeoX does not take for its default {key.default!r}: it computes with null."
            )
            yield Check("null", "fail", sentence, f"leave {name} out, or write a value")


def walk(value: Any, trail: str = "") -> Iterator[tuple[str, Any]]:
    """Every value below `value` that is neither mapping nor list, with its dotted name."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from walk(inner, f"{trail}.{key}" if trail else str(key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from walk(inner, f"{trail}[{index}]")
    else:
        yield trail, value


def numbers(config: Mapping[str, Any]) -> Iterator[Check]:
    """Numbers out of the range that means something."""
    for name, key in KEYS.items():
        value: Any = config.get(name)
        if key.range is not None and number(value) and value not in key.range:
            why = f": {key.why}" if key.why else ""
            yield Check("numbers", "fail", f"{name} is {value}{why}.", _fix(config, name, value, key))


def _fix(config: Mapping[str, Any], name: str, value: float, key: Key) -> str:
    steps = config.get("lr_decay_iters") or config.get("train_iters")
    if name == "warmup" and steps and 1 < value < steps:
        return f"write warmup: {value / steps:.4g} for {value:g} of {steps} steps"
    if name == "eval_interval" and value == 0:
        return "write eval_iters: 0 for a run without evaluation, and an eval_interval of at least 1"
    assert key.range is not None
    return f"write {'a share' if key.range.most == 1 else 'a number'} {key.range.spelled(value)}"


def words(config: Mapping[str, Any]) -> Iterator[Check]:
    """Words that GPT-NeoX takes and does not know, because of their case."""
    for name, value in config.items():
        choices = KEYS[name].choices
        if not choices or not isinstance(value, str) or name in _ANY_CASE or value in choices:
            continue
        # the same but for its case: others are no right type
        right = next(word for word in choices if word.lower() == value.lower())
        problem = f"{name}: '{value}' passes GPT-NeoX's check, and is then no word that it knows"
        yield Check("words", "fail", f"{problem} (it compares with '{right}').", f"write {name}: {right}")


def blocks(config: Mapping[str, Any]) -> Iterator[Check]:
    """Keys and types inside DeepSpeed's blocks."""
    known = rules.table("deepspeed")
    for name, kinds in (known["ends"] | known["passes"]).items():
        for key, value in _inside(config, name):
            yield from _key(name, key, value, kinds, config.get("autotuning") is not None)
    for name, words in known["ignores"].items():
        for key, _ in _inside(config, name):
            if key not in words.split():
                sentence = f"{name}.{key} is read by nobody.{nearest(str(key), words.split())}"
                yield Check("blocks", "warn", sentence, "mend it, or leave it out")


def _key(name: str, key: Any, value: Any, kinds: Mapping[str, str], auto: bool) -> Iterator[Check]:
    label = "zero" if name.startswith("zero") else "precision" if name in ("fp16", "bf16") else "blocks"
    kind = next((kind for kind, words in kinds.items() if str(key) in words.split()), None)
    if kind is None and name in rules.table("deepspeed")["ends"]:
        near = nearest(str(key), [word for words in kinds.values() for word in words.split()])
        yield Check(
            label, "fail", f"DeepSpeed knows no {name}.{key}, and ends on it.{near}", "mend it, or leave it out"
        )
    elif kind is not None and not _fits(value, kind) and not (auto and value == "auto"):
        words = _KINDS.get(kind.removesuffix("?"), kind.removesuffix("?"))
        yield Check(label, "fail", f"{name}.{key} is {value!r}, and must be {words}.", f"write {words}")


def _inside(config: Mapping[str, Any], name: str) -> list[tuple[Any, Any]]:
    block: Any = config
    for part in name.split("."):
        block = block.get(part) if isinstance(block, Mapping) else None
    return list(block.items()) if isinstance(block, Mapping) else []


def _fits(value: Any, kind: str) -> bool:
    """Whether a value is of a kind of `deepspeed.yml`."""
    if value is None:
        return kind.endswith("?") or kind == "any"
    kind = kind.removesuffix("?")
    if kind.startswith("one of "):
        return isinstance(value, str) and value.lower() in kind.split()[2:]
    whole = isinstance(value, int) and not isinstance(value, bool)
    return {
        "any": True,
        "bool": isinstance(value, bool),
        "count": whole and value >= 0,
        "int": whole,
        "word": isinstance(value, str),
        "list": isinstance(value, list),
        "block": isinstance(value, Mapping),
        "share": number(value) and 0 <= value <= 1,
        "from 0": number(value) and value >= 0,
    }[kind]
