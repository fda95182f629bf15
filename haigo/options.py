"""Options, each declared once: a frozen dataclass gives a verb its command line (`haigo.flags`), its keys in a run file, its
page in the reference and what is noted of a call.

    @dataclass(frozen=True, kw_only=True)
    class CleanOptions(Options):
        inputs: list[str] = option("files, folders or patterns", positional=True, metavar="INPUT")
        text_key: str = option("the field that holds the text", "text")
        workers: int | None = few("processes side by side", None)

    options = flags.parse("preprocess.clean", __doc__, CleanOptions, argv)     # --text-key, --text_key, --debug, --help
    options = build(CleanOptions, yaml["corpora"]["news"], "run.yml", "corpora.news")

A field's type says how it is read (str, int, float, bool, Path, list, dict, tuple, any of them or None); what its values may
be is held whoever makes the object.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any, ClassVar, Self, TypeVar

from haigo import cli, yamlfile
from haigo.cli import HaigoError

REQUIRED = dataclasses.MISSING
FEW = 10**6
SEEDS = 2**31 - 1
_SEE = "see docs/runfile.md"
T = TypeVar("T", bound="Options")


class Options:
    """What every dataclass of options is made from: its values are held against what its fields allow.

    Raises:
        HaigoError: a value is out of its limits; `option` names the field.
    """

    underscored: ClassVar[bool] = False
    """Whether `--help` shows flags with `_`, as lm-eval and deepy.py write theirs."""

    def __post_init__(self) -> None:
        for each in dataclasses.fields(typing.cast(Any, self)):
            if each.metadata.get("doc") is not None:
                _allowed(getattr(self, each.name), each.metadata, each.name, self.underscored)

    def given(self, *names: str) -> list[str]:
        """Those of the fields that have other values than their defaults."""
        fields = {each.name: each for each in dataclasses.fields(typing.cast(Any, self))}
        return [name for name in names if getattr(self, name) != usual(fields[name])]

    def refuse_idle(self, beside: str, *names: str) -> None:
        """Refuse options that have no effect beside another one.

        Raises:
            HaigoError: one of them has another value than its default.
        """
        for name in self.given(*names):
            flag = f"--{name.replace('_', '-')}"
            raise HaigoError(f"{flag} has no effect with {beside}.", "leave one of the two out", option=name)

    def replaced(self, **values: Any) -> Self:
        """A copy with other values of some fields."""
        return dataclasses.replace(typing.cast(Any, self), **values)

    def shared(self, cls: type[T], **values: Any) -> T:
        """The options of another class: `values`, and what both classes have under the same name."""
        names = {each.name for each in dataclasses.fields(typing.cast(Any, self))}
        both = [each.name for each in dataclasses.fields(typing.cast(Any, cls)) if each.init and each.name in names]
        return cls(**{name: getattr(self, name) for name in both} | values)


def option(
    doc: str,
    default: Any = REQUIRED,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    among: Sequence[str] = (),
    **spelling: Any,
) -> Any:
    """A field with its documentation and what its values may be; mutable defaults are copied for every instance.

    Args:
        least, above, most: limits of a number, or of every number in a list or map.
        among: what a text may be.
        **spelling: of the command line, where it does not follow from name and type:
            flags (all spellings, `-` and `_` apart; of a bool that is True by default, the flag that makes it False),
            both (of a bool: --no-NAME beside --NAME),
            metavar, positional, nargs (several words after one flag; otherwise the flag is repeated), const (what a flag
            without a value gives), parse (text -> value, raising HaigoError), listed (text -> the whole list, where all
            values stand in one word), group (a heading in `--help`), hidden (not on the command line).
    """
    metadata = {"doc": doc, "least": least, "above": above, "most": most, "among": tuple(among), **spelling}
    if default is REQUIRED:
        return field(metadata=metadata)
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def count(doc: str, default: Any = REQUIRED, **more: Any) -> Any:
    """An option that counts something: a whole number of at least 1, written as `50000`, `50_000` or `5e4`."""
    return option(doc, default, **{"least": 1, "most": cli.MOST, **more})


def few(doc: str, default: Any = REQUIRED, **more: Any) -> Any:
    """A `count` of what each costs something of its own: processes, threads, tasks, pieces; up to a million."""
    return count(doc, default, **{"most": FEW, **more})


def amount(doc: str, default: Any = REQUIRED, **more: Any) -> Any:
    """An option that measures something: a number above 0, up to 10^15."""
    return option(doc, default, **{"above": 0, "most": cli.MOST, **more})


def seed(doc: str = "seed of all that is drawn", default: int = 0, **more: Any) -> Any:
    """An option that is a seed: a whole number from 0 to 2,147,483,647, which every generator takes."""
    return option(doc, default, **{"least": 0, "most": SEEDS, **more})


def again(cls: type[Options], name: str, **changed: Any) -> Any:
    """The option `name` of another class, declared there, with another default or limit here."""
    declared = next(each for each in dataclasses.fields(typing.cast(Any, cls)) if each.name == name)
    given = {"default": usual(declared), **declared.metadata, **changed}
    return option(given.pop("doc"), given.pop("default"), **given)


def usual(each: dataclasses.Field[Any]) -> Any:
    """A field's default; MISSING where it has none."""
    return each.default if each.default_factory is dataclasses.MISSING else each.default_factory()


def inner(hint: Any) -> tuple[Any, Any]:
    """(type of one value, list or dict where there may be several else None) of a field's type."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return inner(next(each for each in args if each is not type(None)))
    if origin in (list, dict):
        return args[-1], origin
    return hint, None


def flag(name: str, underscored: bool = False) -> str:
    """`--text-key` of the field `text_key`."""
    return "--" + (name if underscored else name.replace("_", "-"))


# --- a file's keys ----------------------------------------------------------------------------------------------------------


def build(cls: type, raw: Any, name: str, where: str, see: str = _SEE) -> Any:
    """`raw`, as YAML gives it, as the dataclass `cls`.

    Args:
        name: of the file, for messages.
        where: the keys above, with dots.
        see: where the keys are explained.

    Raises:
        HaigoError: a key that is unknown (the nearest is named), missing, of another type or out of its limits.
    """
    if not isinstance(raw, dict):
        raise HaigoError(f"{name}: '{where}' must hold keys, not {raw!r}.", see)
    fields = {each.name: each for each in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    for key in raw:
        if key not in fields:
            raise HaigoError(f"{name}: unknown key '{_join(where, str(key))}'.{cli.nearest(str(key), fields)}", see)
    values = {}
    for key, each in fields.items():
        if key in raw:
            values[key] = _value(hints[key], raw[key], name, _join(where, key), see)
        elif usual(each) is REQUIRED:
            raise HaigoError(f"{name}: the key '{_join(where, key)}' is missing.", each.metadata["doc"])
    try:
        return cls(**values)
    except HaigoError as error:
        spelled = error.spelled(lambda key: _join(where, key))
        raise HaigoError(f"{name}: {spelled.problem}", spelled.fix) from None


def _value(hint: Any, raw: Any, name: str, where: str, see: str) -> Any:
    """`raw` as the type `hint` says: the few that the classes above use."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return raw
    if origin in (types.UnionType, typing.Union):
        if raw is None:
            return None
        return _value(next(each for each in inner if each is not type(None)), raw, name, where, see)
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type, hint), {} if raw is None else raw, name, where, see)
    if origin is list:
        items = [raw] if isinstance(raw, str | int | float) else raw
        if isinstance(items, list):
            return [_value(inner[0], each, name, where, see) for each in items]
    elif origin is dict:
        if isinstance(raw, dict):
            # a ceiling is text or a number: `+5%` or 3.2
            texts = {
                key: str(each) if inner[1] is str and isinstance(each, float) else each for key, each in raw.items()
            }
            return {str(key): _value(inner[1], each, name, _join(where, str(key)), see) for key, each in texts.items()}
    elif hint is bool:
        if isinstance(raw, bool):
            return raw
    elif hint is int:
        if _counts(raw) and raw == int(raw):
            return int(raw)  # 2e6 is a fine way to write tokens
    elif hint is float:
        if _counts(raw):
            return float(raw)
    elif hint is str and isinstance(raw, str | int) and not isinstance(raw, bool):
        return str(raw)
    fix = see
    if hint is str and isinstance(raw, bool | float):  # `no`, `1.10`: what stood there is not known any more
        fix = "put it in quotes, as it is to be read"
    article = "" if hint in (str, bool) else "a "
    raise HaigoError(f"{name}: '{where}' is {raw!r:.80}, which is not {article}{spell(hint)}.", fix)


def _counts(raw: Any) -> bool:
    """Whether it is a number that something here can have: no NaN, nothing beyond 10^15."""
    return not isinstance(raw, bool) and isinstance(raw, int | float) and abs(raw) <= cli.MOST


def _allowed(value: Any, rule: Mapping[str, Any], name: str, underscored: bool = False) -> None:
    """Hold a value, or every value of a list or map, against what its field allows."""
    if isinstance(value, dict):
        for key, one in value.items():
            _allowed(one, rule, f"{name}.{key}", underscored)
    elif isinstance(value, list | tuple):
        for one in value:
            _allowed(one, rule, name, underscored)
    elif isinstance(value, str):
        if rule["among"] and value not in rule["among"]:
            near, choices = cli.nearest(value, rule["among"]), ", ".join(rule["among"])
            raise HaigoError(f"{flag(name, underscored)} is '{value}'.{near}", f"choose from {choices}", option=name)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        least, above, most = rule["least"], rule["above"], rule["most"]
        low = not value >= least if least is not None else above is not None and not value > above  # NaN too
        if low or (most is not None and not value <= most):
            wanted = f"at least {least:,}" if least is not None else f"above {above:,}" if above is not None else ""
            wanted += f"{' and ' if wanted else ''}at most {most:,}" if most is not None else ""
            raise HaigoError(f"{flag(name, underscored)} is {value:,}.", f"give a number that is {wanted}", option=name)


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def spell(hint: Any) -> str:
    """A type in words."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return spell(next(each for each in inner if each is not type(None)))
    if origin is list:
        return f"list of {spell(inner[0])}"
    if origin is dict:
        return f"map of names to {spell(inner[1])}"
    names = {int: "whole number", float: "number", str: "text", bool: "true or false"}
    return names.get(hint, "section")


# --- the reference ----------------------------------------------------------------------------------------------------------


def table(cls: type, prefix: str = "", say: Callable[[str], str] = str) -> list[str]:
    """The rows of a Markdown table of a class's fields as keys: key, type, default, meaning.

    Args:
        say: a sentence, or a type in words, in the table's language.
    """
    hints = typing.get_type_hints(cls)
    rows = [f"| {say('key')} | {say('type')} | {say('default')} | {say('meaning')} |", "|---|---|---|---|"]
    for each in dataclasses.fields(cls):
        kind, meaning = say(spell(hints[each.name])), say(each.metadata["doc"]).replace("|", "\\|")
        rows.append(f"| `{prefix}{each.name}` | {kind} | {shown_default(each, say)} | {meaning} |")
    return rows


def shown_default(each: dataclasses.Field[Any], say: Callable[[str], str] = str) -> str:
    """A field's default as the reference shows it; empty where there is none to speak of."""
    value = usual(each)
    if value is REQUIRED:
        return f"**{say('required')}**"
    if dataclasses.is_dataclass(value):
        return say("see below")
    return "" if value in (None, "", [], {}) else f"`{yamlfile.inline(value)}`"
