"""YAML as people mean it: `1e-4` is a number, a key is text and given once, and a mistake is told with its line.

PyYAML follows YAML 1.1, where `1e-4` (no dot) is a string: the best-known trap of GPT-NeoX configs. Others are as quiet: the
key `no` is False, `0777` is 511 and `1:30` is 90. Whoever writes these means something else, so they are refused with
their line. So are aliases that unfold without end, and nesting that nothing can walk through.
"""

from __future__ import annotations

import os
import re
from typing import Any

import yaml

from haigo import files, shapes
from haigo.cli import HaigoError

DEEPEST = shapes.DEEPEST
_UNFOLDED = 100_000
"""Values that aliases may stand for beside those that are written out."""
_READ_AS = {"bool": "true or false", "null": "nothing", "int": "a number", "float": "a number", "timestamp": "a date"}
_TAG = "tag:yaml.org,2002:"
_EXPONENT = re.compile(r"^[-+]?(?:[0-9][0-9_]*)(?:\.[0-9_]*)?[eE][-+]?[0-9]+$")


class _Wrong(yaml.MarkedYAMLError):
    """Valid YAML that does not mean what it looks like."""

    def __init__(self, node: Any, problem: str, fix: str) -> None:
        super().__init__(None, None, problem, node.start_mark)
        self.fix = fix


class _Loader(yaml.SafeLoader):
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        if self.depth > DEEPEST:
            raise _Wrong(self.peek_event(), f"it is nested more than {DEEPEST} levels deep", "write it flatter")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def compose_document(self) -> Any:
        root = super().compose_document()
        sizes: dict[int, tuple[int, int]] = {}
        if _weigh(root, sizes, set()) - len(sizes) > _UNFOLDED:
            raise _Wrong(root, f"its aliases (&, *) stand for more than {_UNFOLDED:,} values", "write them out")
        return root

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except (
            ValueError,
            LookupError,
            AttributeError,
            ArithmeticError,
        ):  # `!!int x`, or more digits than Python reads
            kind = _READ_AS.get(node.tag.removeprefix(_TAG), node.tag)
            raise _Wrong(node, f"`{str(node.value)[:40]}` cannot be read as {kind}", "mend that line") from None


def _weigh(node: Any, sizes: dict[int, tuple[int, int]], above: set[int]) -> int:
    """How many values a node stands for when all aliases are written out; checks its keys on the way.

    Args:
        sizes: (values, levels) of what was weighed already, by identity.
        above: the nodes that hold this one.
    """
    own = id(node)
    if own in above:
        raise _Wrong(node, "an alias (*) stands inside what it names (&)", "write it out")
    if own in sizes:
        size, levels = sizes[own]
    else:
        below: list[Any] = []
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
            below = [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            below = node.value
        above.add(own)
        size = 1 + sum(_weigh(each, sizes, above) for each in below)
        above.discard(own)
        levels = 1 + max((sizes[id(each)][1] for each in below), default=0)
        sizes[own] = size, levels
    if len(above) + levels > DEEPEST:
        raise _Wrong(node, f"its aliases (&, *) nest more than {DEEPEST} levels deep", "write it flatter")
    return size


def _check_keys(node: yaml.MappingNode) -> None:
    seen = set()
    for key, _ in node.value:
        kind = key.tag.removeprefix(_TAG)
        if kind == "merge":
            continue
        if not isinstance(key, yaml.ScalarNode):
            raise _Wrong(key, "a list or a map stands where a key should", "write `key: value`")
        if kind not in ("str", "value"):
            shown = f"the key `{key.value[:40]}`" if key.value else "an empty key"
            raise _Wrong(key, f"{shown} is not a word: YAML reads it as {_READ_AS.get(kind, kind)}",
                         f'put it in quotes: "{key.value[:40]}"')  # fmt: skip
        if key.value in seen:
            raise yaml.MarkedYAMLError(None, None, f"the key '{key.value[:80]}' is given twice", key.start_mark)
        seen.add(key.value)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    loader.flatten_mapping(node)  # `<<: *base`; what the map says itself stands after it and wins
    return {_text(loader, key): loader.construct_object(value, deep=True) for key, value in node.value}


def _sequence(loader: _Loader, node: yaml.SequenceNode) -> list[Any]:
    return [loader.construct_object(value, deep=True) for value in node.value]


def _text(loader: _Loader, node: yaml.ScalarNode) -> str:
    text = str(loader.construct_scalar(node))
    if re.search("[\ud800-\udfff]", text):  # JSON writes what lies above U+FFFF as two of these
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if "\0" in text or ("\ufffd" in text and "\ufffd" not in str(node.value)):
        raise _Wrong(node, f"{text[:40]!r} holds a character that is none", "take it out")
    return text


def _number(loader: _Loader, node: yaml.ScalarNode) -> int | float:
    text = str(loader.construct_scalar(node))
    whole = node.tag == f"{_TAG}int"
    made = loader.construct_yaml_int(node) if whole else loader.construct_yaml_float(node)
    quoted = f'put it in quotes if it is text: "{text[:40]}"'
    if ":" in text:
        raise _Wrong(node, f"`{text[:40]}` is read as {made:g}: base 60", quoted)
    if whole and re.fullmatch(r"[-+]?0[0-7_]+", text):
        raise _Wrong(node, f"`{text[:40]}` is read as {made}: base 8", f"write it without the 0, or {quoted}")
    if isinstance(made, float) and abs(made) == float("inf") and not re.search("inf", text, re.I):
        raise _Wrong(node, f"`{text[:40]}` is larger than any number", "mend that line")
    return int(made) if whole else float(made)


def _refused(loader: _Loader, node: yaml.Node) -> Any:
    kind = node.tag.removeprefix(_TAG)
    if kind == "timestamp" and isinstance(node, yaml.ScalarNode):
        raise _Wrong(node, f"`{node.value[:40]}` is read as a date", f'put it in quotes: "{node.value[:40]}"')
    raise _Wrong(node, f"the tag {node.tag[:60]} has no place here", "take it out")


_Loader.add_implicit_resolver(f"{_TAG}float", _EXPONENT, list("-+0123456789"))
_Loader.add_constructor(f"{_TAG}map", _mapping)
_Loader.add_constructor(f"{_TAG}seq", _sequence)
for _kind in ("str", "value"):
    _Loader.add_constructor(_TAG + _kind, _text)
for _kind in ("int", "float"):
    _Loader.add_constructor(_TAG + _kind, _number)
for _kind in ("timestamp", "binary", "omap", "pairs", "set"):
    _Loader.add_constructor(_TAG + _kind, _refused)
_Loader.add_constructor(None, _refused)


def loads(text: str, name: str) -> Any:
    """Parse YAML (or JSON) text; `name` is used in messages.

    Raises:
        HaigoError: not YAML, a key given twice or that is not text, a number in base 8 or 60, a date, a tag, aliases without
            end; names `name` and the line.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" (line {mark.line + 1})" if mark else ""
        if isinstance(error, _Wrong):
            raise HaigoError(f"{name}{where}: {error.problem}.", error.fix) from None
        fix = "mend that line"
        if "another document" in str(error.problem):
            fix = "keep one document in a file: no second `---`"
        elif "'\\t'" in str(error.problem):
            fix = "use blanks, not tabs"
        raise HaigoError(f"{name} is not valid YAML{where}: {error.problem}.", fix) from None
    except yaml.YAMLError as error:
        raise HaigoError(
            f"{name} is not valid YAML: {' '.join(str(error).split())}.", "take that character out"
        ) from None


def read(path: str | os.PathLike[str]) -> Any:
    """Read a YAML (or JSON) file.

    Raises:
        HaigoError: missing file, wrong encoding, or as `loads`.
    """
    return loads(files.read_text(path), str(path))


def dumps(value: Any) -> str:
    """Block-style YAML that PyYAML's own loader reads back as the same values (`1.0e-08`, never `1e-08`)."""
    return yaml.dump(value, Dumper=_Dumper, allow_unicode=True, sort_keys=False, default_flow_style=False, width=110)


def write(path: str | os.PathLike[str], value: Any, header: str = "") -> None:
    """Write `value` atomically; every line of `header` becomes a comment on top."""
    comment = "".join(f"# {line}".rstrip() + "\n" for line in header.splitlines())
    files.write_text(path, comment + dumps(value))


class _Dumper(yaml.SafeDumper):
    pass


# text that `loads` would take for a number gets quotes
_Dumper.add_implicit_resolver(f"{_TAG}float", _EXPONENT, list("-+0123456789"))


def _float(dumper: _Dumper, value: float) -> yaml.ScalarNode:
    text = repr(float(value)).lower()
    if "e" in text and "." not in text:  # repr gives '1e-08', which YAML 1.1 reads as a string
        text = text.replace("e", ".0e", 1)
    if text in ("inf", "-inf", "nan"):
        text = {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}[text]
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


_Dumper.add_representer(float, _float)


def inline(value: Any) -> str:
    """One-line YAML, for tables and templates: `[a, b]`, `{x: 1.0}`, `text`."""
    text = yaml.dump(value, Dumper=_Dumper, allow_unicode=True, sort_keys=False, default_flow_style=True, width=10**6)
    return text.removesuffix("\n").removesuffix("\n...")
