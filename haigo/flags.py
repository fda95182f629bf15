"""The command line of a verb, made from its options (`haigo.options`).

argparse does the parsing: tyro took 0.19 s more of every `--help` and says errors in boxes, which no caller can turn into one
sentence that names the option.
"""

from __future__ import annotations

import argparse
import dataclasses
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from haigo import cli
from haigo.cli import HaigoError
from haigo.options import REQUIRED, Options, flag, inner, usual

T = TypeVar("T", bound=Options)


def parse(module: str, doc: str | None, cls: type[T], argv: Sequence[str] | None) -> T:
    """The options of a verb's command line.

    Args:
        module: what stands after `python -m`; doc: the module's docstring, shown by `--help`.

    Raises:
        HaigoError: an unknown option (with the nearest), a missing one, a value of another type or out of its limits.
    """
    parser = cli.parser(module, doc)
    _add(parser, cls)
    return _taken(cls, parser.parse_args(argv))


def parse_one_of(module: str, doc: str | None, kinds: Mapping[str, type[T]], argv: Sequence[str] | None) -> T:
    """The options of a verb that has several kinds below it, of which the command line's first word names one.

    Args:
        module, doc: as of `parse`.
        kinds: word -> its options; the first line of their docstring is shown by `--help`.

    Raises:
        HaigoError: as of `parse`.
    """
    parser = cli.parser(module, doc)
    below = parser.add_subparsers(dest="_kind", metavar="SOURCE", required=True, parser_class=type(parser))
    for word, cls in kinds.items():
        about = (cls.__doc__ or "").partition("\n")[0]
        kind = below.add_parser(word, help=about, description=about)
        kind.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
        _add(kind, cls)
    args, unknown = parser.parse_known_args(argv)
    if unknown:  # raised by the kind's own parser, which knows the options that may have been meant
        below.choices[args._kind].error(f"unrecognized arguments: {' '.join(unknown)}")
    return _taken(kinds[args._kind], args)


def _add(parser: argparse.ArgumentParser, cls: type[Options]) -> None:
    """Add every option of `cls` to a parser."""
    hints = typing.get_type_hints(cls)
    groups: dict[str, Any] = {}
    for each in dataclasses.fields(typing.cast(Any, cls)):
        if each.metadata.get("doc") is None or each.metadata.get("hidden"):
            continue
        title = each.metadata.get("group", "")
        if title and title not in groups:
            groups[title] = parser.add_argument_group(title)
        names, how = _argument(each, hints[each.name], cls.underscored)
        (groups[title] if title else parser).add_argument(*names, **how)


def _taken(cls: type[T], args: argparse.Namespace) -> T:
    """The options of `cls` from what a parser read."""
    hints = typing.get_type_hints(cls)
    values = {}
    for each in dataclasses.fields(typing.cast(Any, cls)):
        if hasattr(args, each.name) and each.metadata.get("doc") is not None and not each.metadata.get("hidden"):
            values[each.name] = _typed(getattr(args, each.name), hints[each.name], each.name)
    return cls(**values)


def spellings(each: dataclasses.Field[Any], underscored: bool = False) -> list[str]:
    """Every spelling of a field's flag, with `-` and with `_`, the one that is shown first."""
    ways: list[str] = []
    for name in each.metadata.get("flags") or (flag(each.name),):
        both = ["--" + name[2:].replace("_", "-"), "--" + name[2:].replace("-", "_")]
        ways += (both[::-1] if underscored else both) if name.startswith("--") else [name]
    return list(dict.fromkeys(ways))


def argv(options: Options) -> list[str]:
    """The words of a command line that give these options again, without those that are as by default."""
    words: list[str] = []
    first: list[str] = []
    for each in dataclasses.fields(typing.cast(Any, options)):
        value, rule = getattr(options, each.name), each.metadata
        if rule.get("doc") is None or rule.get("hidden") or value is None or value == usual(each):
            continue
        name = spellings(each, options.underscored)[0]
        if isinstance(value, bool):
            words += [name if value or not rule.get("both") else f"--no-{name[2:]}"]
        elif rule.get("positional"):
            first += map(str, value if isinstance(value, list) else [value])
        elif "listed" in rule:
            words += [name, ",".join(map(_plain, value))]
        elif isinstance(value, list | dict):
            several = [f"{key}={_plain(one)}" for key, one in value.items()] if isinstance(value, dict) else value
            listed = [list(map(_plain, one)) if isinstance(one, tuple) else [_plain(one)] for one in several]
            words += [name, *(word for one in listed for word in one)] if "nargs" in rule else []
            words += [] if "nargs" in rule else [word for one in listed for word in (name, *one)]
        else:
            words += [name, _plain(value)]
    return [*first, *words]  # a flag that takes several words would take them too


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ":".join(map(_plain, value))
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _argument(each: dataclasses.Field[Any], hint: Any, underscored: bool) -> tuple[list[str], dict[str, Any]]:
    """What argparse needs to know of a field: (names, keywords of add_argument)."""
    rule, value = each.metadata, usual(each)
    plain = isinstance(value, int | float | str | Path) and not isinstance(value, bool) and value != ""
    text = rule["doc"] + (f" ({_plain(value)})" if plain else "")
    start = None if value is REQUIRED else [] if isinstance(value, dict) else value
    how: dict[str, Any] = {"help": text.replace("%", "%%"), "default": start}
    kind, repeated = inner(hint)
    if kind is bool:
        action: Any = "store_false" if value is True else "store_true"
        how |= {"dest": each.name, "action": argparse.BooleanOptionalAction if rule.get("both") else action}
        return spellings(each, underscored), how
    if rule.get("metavar"):
        how["metavar"] = rule["metavar"]
    if rule["among"] and repeated is not dict and "listed" not in rule:
        how["choices"] = rule["among"]
    how["type"] = _reader(kind, repeated, rule)
    if rule.get("positional"):
        usual_nargs = ("+" if repeated else None) if value is REQUIRED else "*" if repeated else "?"
        return [each.name], {**how, "nargs": rule.get("nargs", usual_nargs)}
    how |= {"dest": each.name, "required": value is REQUIRED}
    if "const" in rule:
        how |= {"nargs": "?", "const": rule["const"]}
    if repeated and "listed" not in rule:
        how |= {"nargs": rule["nargs"]} if "nargs" in rule else {"action": "append"}
    if typing.get_origin(kind) is tuple and "parse" not in rule:
        how |= {"nargs": len(typing.get_args(kind)), "action": "append", "type": str}
    return spellings(each, underscored), how


def _reader(kind: Any, repeated: Any, rule: Mapping[str, Any]) -> Callable[[str], Any]:
    """What makes a value of a word of the command line; argparse names the option that it is for."""
    simple: Any = {int: cli.whole, float: cli.number, Path: Path}.get(kind, str)

    def parsed(text: str) -> Any:
        try:
            return (rule.get("listed") or rule["parse"])(text)
        except HaigoError as error:
            raise argparse.ArgumentTypeError(error.problem.rstrip(".")) from None

    def pair(text: str) -> tuple[str, Any]:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise argparse.ArgumentTypeError(f"{text:.80} is not NAME=VALUE")
        return name, simple(value)

    return parsed if rule.get("parse") or rule.get("listed") else pair if repeated is dict else simple


def _typed(value: Any, hint: Any, name: str) -> Any:
    """What argparse gathered as the field's type: `NAME=VALUE` words become a dict, several words after a flag a tuple."""
    if not isinstance(value, list):
        return value
    if inner(hint)[1] is dict:
        names = [key for key, _ in value]
        twice = next((key for key in names if names.count(key) > 1), None)
        if twice is not None:
            raise HaigoError(f"{flag(name)} names '{twice}' twice.", "give each name once", option=name)
        return dict(value)
    return [tuple(each) if isinstance(each, list) else each for each in value]
