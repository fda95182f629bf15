"""YAML as people mean it: `1e-4` is a number, a key given twice is an error, and a mistake is told with its line.

PyYAML follows YAML 1.1, where `1e-4` (no dot) is a string: the best-known trap of GPT-NeoX configs.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import yaml

from haigo import files
from haigo.cli import HaigoError


class _Loader(yaml.SafeLoader):
    pass


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*)(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    loader.flatten_mapping(node)
    seen: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key '{key}' is given twice", key_node.start_mark)
        seen[key] = loader.construct_object(value_node, deep=True)
    return seen


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def loads(text: str, name: str) -> Any:
    """Parse YAML (or JSON) text; `name` is used in messages.

    Raises:
        HaigoError: not YAML, or a key given twice; names `name` and the line.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" (line {mark.line + 1})" if mark else ""
        raise HaigoError(f"{name} is not valid YAML{where}: {error.problem}.", "mend that line") from None
    except (yaml.YAMLError, TypeError) as error:
        raise HaigoError(f"{name} is not valid YAML: {error}.", "mend the file") from None


def read(path: str | os.PathLike[str]) -> Any:
    """Read a YAML (or JSON) file.

    Raises:
        HaigoError: missing file, wrong encoding, not YAML, or a key given twice.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise HaigoError(f"{path} does not exist.", "check the path") from None
    except UnicodeDecodeError:
        raise HaigoError(f"{path} is not UTF-8 text.", "save it as UTF-8") from None
    return loads(text, str(path))


def dumps(value: Any) -> str:
    """Block-style YAML that PyYAML's own loader reads back as the same values (`1.0e-08`, never `1e-08`)."""
    return yaml.dump(value, Dumper=_Dumper, allow_unicode=True, sort_keys=False, default_flow_style=False, width=110)


def write(path: str | os.PathLike[str], value: Any, header: str = "") -> None:
    """Write `value` atomically; every line of `header` becomes a comment on top."""
    comment = "".join(f"# {line}".rstrip() + "\n" for line in header.splitlines())
    files.write_text(path, comment + dumps(value))


class _Dumper(yaml.SafeDumper):
    pass


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
