"""The keys that a GPT-NeoX checkout knows, read from the source of its argument classes: nothing of it is imported or run, so
that neither torch nor its environment is needed, and any edition of 2021 or later can be read.

`read(folder)` gives every key with its group, type and default in the order of GPT-NeoX's own command lines.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from haigo.cli import HaigoError

FOLDER = Path("megatron") / "neox_arguments"
_GROUPS = {
    "DeepspeedRunner": "runner",
    "DeepspeedConfig": "deepspeed",
    "Model": "model",
    "MoE": "model",
    "LRScheduler": "schedule",
    "Optimizer": "optimizer",
    "Tokenizer": "data",
    "Training": "training",
    "Parallelism": "parallel",
    "Logging": "logging",
    "Textgen": "generation",
}
_PLAIN = {"int": "int", "float": "float", "bool": "bool", "str": "str", "list": "list", "dict": "dict", "Any": "any"}
_BUILT_IN = {"int": int, "float": float, "str": str, "list": list, "dict": dict}
UNCHECKED = "unchecked"
"""The type of a key whose annotation is none that GPT-NeoX had before: no value of it is refused."""


class Row(NamedTuple):
    """One key of a checkout."""

    name: str
    group: str
    kind: str
    """As in `neox_configs.keys.Key`."""
    default: Any


def read(folder: str | os.PathLike[str]) -> list[Row]:
    """The keys of a checkout.

    Args:
        folder: its root.

    Raises:
        HaigoError: it has no argument classes that can be read.
    """
    place = Path(folder) / FOLDER
    fix = "name the root of a GPT-NeoX checkout"
    try:
        texts = [path.read_text(encoding="utf-8") for path in sorted(place.glob("*.py"))]
        found = parse(texts)
    except (OSError, UnicodeDecodeError, SyntaxError, ValueError) as error:
        raise HaigoError(f"{place} cannot be read ({error}).", fix) from None
    if not found:
        raise HaigoError(f"{place} has no classes of arguments.", fix)
    return found


def parse(texts: list[str]) -> list[Row]:
    """The keys of the classes in these sources, in the order of `BASE_CLASSES` where one of them gives it.

    Raises:
        SyntaxError: a source is not valid Python (that of the tag v2.0 is not).
    """
    classes: dict[str, ast.ClassDef] = {}
    order: list[str] = []
    for text in texts:
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef) and node.name.startswith("NeoXArgs"):
                classes[node.name] = node
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "BASE_CLASSES":
                order = [ast.unparse(name) for name in getattr(node.value, "elts", [])]
    named = [name for name in order if name in classes] or [name for name in classes if name != "NeoXArgs"]
    # a key that a class gives twice stays at its first place and has its last value, as in Python
    return [row for name in named for row in {row.name: row for row in _rows(name, classes[name])}.values()]


def _rows(name: str, node: ast.ClassDef) -> Iterator[Row]:
    group = _GROUPS.get(name.removeprefix("NeoXArgs"), "other")
    for each in node.body:
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            kind = _kind(each.annotation)
            if not ast.unparse(each.annotation).startswith("ClassVar"):
                yield Row(each.target.id, group, kind, _default(each.value))


def _kind(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        node = ast.parse(node.value, mode="eval").body
    if isinstance(node, ast.Subscript):
        outer = ast.unparse(node.value).rpartition(".")[2]
        inside = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if outer == "Literal":
            values = [one.value for one in inside if isinstance(one, ast.Constant)]
            words = [one for one in values if isinstance(one, str) and one and " " not in one]
            return f"one of {' '.join(words)}" if len(words) == len(inside) else UNCHECKED
        if outer in ("Union", "Optional"):
            return _joined(inside)
        return _PLAIN.get(outer.lower(), UNCHECKED)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _joined([node.left, node.right])
    return _PLAIN.get(ast.unparse(node).rpartition(".")[2], UNCHECKED)


def _joined(nodes: list[ast.expr]) -> str:
    """The kind of a union: words among other types stand as `str`."""
    kinds: list[str] = []
    for node in nodes:
        if ast.unparse(node) != "None":
            kinds += _kind(node).split("|")
    if len(kinds) > 1:
        kinds = ["str" if kind.startswith("one of ") else kind for kind in kinds]
    return UNCHECKED if UNCHECKED in kinds else "|".join(dict.fromkeys(kinds))


def _default(node: ast.expr | None) -> Any:
    """A default's value; None where only running the source would tell."""
    if node is None:
        return None
    if isinstance(node, ast.Call):
        called = ast.unparse(node.func)
        factory = next((word.value for word in node.keywords if word.arg == "default_factory"), None)
        if called.endswith("field") and isinstance(factory, ast.Name) and factory.id in ("list", "dict"):
            return _BUILT_IN[factory.id]()
        if called in ("int", "float") and len(node.args) == 1:
            inner = _default(node.args[0])
            return None if inner is None else _BUILT_IN[called](inner)
        return None
    try:
        return ast.literal_eval(node)
    except ValueError:
        return _computed(node)


def _computed(node: ast.expr) -> Any:
    """Numbers that are written as a product, a sum or a power."""
    if all(
        isinstance(one, ast.BinOp | ast.UnaryOp | ast.Constant | ast.operator | ast.unaryop) for one in ast.walk(node)
    ):
        return eval(compile(ast.Expression(node), "default", "eval"), {"__builtins__": {}})
    return None
