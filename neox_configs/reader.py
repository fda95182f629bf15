"""Reads a GPT-NeoX config as GPT-NeoX means it: several files, hyphens or underscores, YAML or JSON.

`load([a.yml, b.yml])` gives one dict with underscored keys. As in GPT-NeoX a key may stand in one file only (there is
no layering), and two files may not share a base name. Unlike GPT-NeoX, `1e-4` is a number here, a key given
twice in one file is an error, and `check_keys` answers a mistyped key with the nearest real one.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from haigo import yamlfile
from haigo.cli import HaigoError
from neox_configs import keys, spellings
from neox_configs.checkout_keys import UNCHECKED
from neox_configs.keys import KEYS

_PYTHON = {"int": int, "float": float, "bool": bool, "str": str, "list": list, "dict": dict}


def load(paths: Sequence[str | os.PathLike[str]] | str | os.PathLike[str]) -> dict[str, Any]:
    """Read and join GPT-NeoX config files.

    Args:
        paths: the files, in the order in which deepy.py gets them; one path alone is taken too.

    Returns:
        One flat dict; top-level keys have underscores. Values below the top level keep their keys as written.

    Raises:
        HaigoError: a file is missing or not a mapping, two files share a base name, or a key is given twice.
    """
    files = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not files:
        raise HaigoError("no config file was given.", "name at least one GPT-NeoX YAML file")
    config: dict[str, Any] = {}
    origin: dict[str, str] = {}
    names: dict[str, str] = {}
    for file in files:
        path = str(file)
        base = os.path.basename(path)
        if base in names:
            raise HaigoError(
                f"{path} and {names[base]} have the same file name, which GPT-NeoX refuses.",
                "rename one of them: both are saved side by side with every checkpoint",
            )
        names[base] = path
        for key, value in _mapping(path).items():
            name = key.replace("-", "_")
            if name in config:
                where = f"twice in {path}" if origin[name] == path else f"in {origin[name]} and in {path}"
                raise HaigoError(
                    f"the key '{name}' is given {where}.", "keep it in one place: GPT-NeoX has no layering of configs"
                )
            config[name], origin[name] = value, path
    return config


def check_keys(config: Mapping[str, Any], known: Iterable[str] | None = None, name: str = "the config") -> None:
    """Refuse keys that GPT-NeoX does not know (it would end with a TypeError).

    Args:
        config: what `load` gave.
        known: the keys allowed; those of the edition of GPT-NeoX at hand.
        name: what to call the config in the message.

    Raises:
        HaigoError: names every unknown key, with the nearest real one.
    """
    edition = keys.edition()
    allowed = set(edition.known if known is None else known)
    unknown = [key for key in config if key not in allowed]
    if "phases" in unknown:
        raise HaigoError(f"{name} lists the phases of a run and is no config.", "name a config that it lists")
    if unknown:
        told = " ".join(f"'{key}'.{did_you_mean(key, allowed)}" for key in unknown)
        which = f" of {edition.source}" if edition.source and known is None else ""
        raise HaigoError(f"{name} has a key that GPT-NeoX{which} does not know: {told}", "mend or remove it")


def check_types(config: Mapping[str, Any], name: str = "the config's") -> None:
    """Refuse values of types that GPT-NeoX would not take.

    Args:
        config: what `load` gave.
        name: whose value it is.

    Raises:
        HaigoError: names the first.
    """
    for problem in type_problems(config):
        raise HaigoError(f"{name} {problem}", "mend it: GPT-NeoX would not take it either")


def did_you_mean(name: str, known: Iterable[str] | None = None) -> str:
    """` Did you mean 'x'?` for a key that GPT-NeoX does not know, and until when it did; empty when no key means the same."""
    allowed = set(keys.edition().known if known is None else known)
    found, gone = spellings.meant(name, allowed), keys.GONE.get(name)
    meant = f" Did you mean '{found}'?" if found else ""
    if gone is None or not (found or not gone.successor):
        return meant
    since = f"was taken out on {gone.until}" if gone.until else f"belongs to its {gone.commit}"
    return f" It {since}{': ' + gone.why if gone.why else ''}.{meant}"


def type_problems(config: Mapping[str, Any]) -> list[str]:
    """What GPT-NeoX's strict type check would say no to, one sentence a key: an int may stand for a float, not the
    other way round, and a bool is not an int. Unknown keys and null values are passed over."""
    problems = [
        f"{name} is {value}, which is no number that can be computed with." for name, value in _infinite(config, "")
    ]
    for name, value in config.items():
        key = KEYS.get(name)
        if key is None or value is None:
            continue
        if key.choices:
            if str(value).lower() not in [choice.lower() for choice in key.choices]:
                problems.append(f"{name}: {value!r} is not {', '.join(key.choices[:-1])} or {key.choices[-1]}.")
            continue
        kinds = key.kind.split("|")
        if kinds == ["any"]:
            problems.append(f"{name}: GPT-NeoX fills it itself and ends when it is given.")
            continue
        if len(kinds) > 1 and "list" in kinds:
            kinds.remove("list")  # it compares with List[int], which no list is
        right = any(kind == UNCHECKED or type(value) is _PYTHON[kind] for kind in kinds)
        if not right and not ("float" in kinds and type(value) is int):
            problems.append(f"{name}: {value!r} is of type {type(value).__name__}, and must be {' or '.join(kinds)}.")
    return problems


def _infinite(value: Any, name: str) -> Iterator[tuple[str, float]]:
    """The numbers that are none (`.nan`, `.inf`), with their dotted keys."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _infinite(each, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for each in value:
            yield from _infinite(each, name)
    elif isinstance(value, float) and not math.isfinite(value):
        yield name, value


def float_traps(path: str | os.PathLike[str]) -> list[str]:
    """The keys (dotted) whose number GPT-NeoX would read as text: PyYAML takes `1e-4`, without a dot, for a string."""
    text = Path(path).read_text(encoding="utf-8")
    ours, theirs = yamlfile.loads(text, str(path)), yaml.safe_load(text)
    found: list[str] = []

    def walk(mine: Any, other: Any, trail: str) -> None:
        if isinstance(mine, dict) and isinstance(other, dict):
            for key in mine:
                walk(mine[key], other.get(key), f"{trail}.{key}" if trail else str(key))
        elif isinstance(mine, list) and isinstance(other, list):
            for index, (left, right) in enumerate(zip(mine, other, strict=True)):
                walk(left, right, f"{trail}[{index}]")
        elif isinstance(mine, float) and isinstance(other, str):
            found.append(trail)

    walk(ours, theirs, "")
    return found


def value(config: Mapping[str, Any], name: str) -> Any:
    """What GPT-NeoX takes for `name`: the config's value, or the default when it is not given or null."""
    given = config.get(name)
    return KEYS[name].default if given is None else given


def _mapping(path: str) -> dict[str, Any]:
    content = yamlfile.read(path)
    if not isinstance(content, dict):
        raise HaigoError(f"{path} holds no `key: value` lines.", "name a GPT-NeoX YAML or JSON file")
    return content
