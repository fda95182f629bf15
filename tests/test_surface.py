"""What users have typed, written and imported keeps working: every verb with its flags and their defaults, the keys of run
files, the names of files and public names stand in `surface.txt`, a line each.

A line that is missing from the code fails: somebody relies on it. A line that is new in the code fails too, until it is
written down: `python tests/test_surface.py` writes the file anew, and the difference is what a reviewer reads.
"""

import argparse
import ast
import dataclasses
import importlib
import re
import sys
import typing
from pathlib import Path

ROOT = Path(__file__).parent.parent
SURFACE = Path(__file__).parent / "surface.txt"
ROOMS = ("neox_configs", "preprocess", "mixer", "launch", "eval_harness")
LIBRARY = ("mixer.laws", "mixer.search", "mixer.design", "mixer.supply", "mixer.mixture", "eval_harness.run",
           "eval_harness.model", "preprocess.tokenizer", "preprocess.indexed_dataset", "neox_configs.reader",
           "neox_configs.catalogue", "launch.local.train", "launch.proxies")  # fmt: skip


class Caught(Exception):
    """A verb's parser, as it is when the verb parses its words."""


def parser_of(module: str) -> argparse.ArgumentParser:
    def catch(self, *args, **kwargs):
        raise Caught(self)

    real = argparse.ArgumentParser.parse_args, argparse.ArgumentParser.parse_known_args
    argparse.ArgumentParser.parse_args = argparse.ArgumentParser.parse_known_args = catch  # type: ignore[method-assign]
    try:
        folder = (ROOT / Path(*module.split("."))).is_dir()
        importlib.import_module(f"{module}.__main__" if folder else module).main([])
    except Caught as caught:
        return caught.args[0]
    finally:
        argparse.ArgumentParser.parse_args, argparse.ArgumentParser.parse_known_args = real  # type: ignore[method-assign]
    raise AssertionError(f"{module} parses nothing")


def flags(verb: str, parser: argparse.ArgumentParser) -> list[str]:
    lines = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                lines += flags(f"{verb} {name}", below)
        elif not isinstance(action, argparse._HelpAction):
            for name in action.option_strings or [action.dest.upper()]:
                among = f" of {sorted(map(str, action.choices))}" if action.choices else ""
                lines.append(f"flag {verb} {name} = {action.default!r}{among}")
    return lines


def verbs() -> list[str]:
    found = []
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            if "cli.run(main)" in path.read_text(encoding="utf-8"):
                parts = list(path.relative_to(ROOT).with_suffix("").parts)
                found.append(".".join(parts[:-1] if parts[-1] == "__main__" else parts))
    return found


def keys(kind: type, above: str = "") -> list[str]:
    """`corpora.NAME.files` and so on, with defaults."""
    lines = []
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        name, hint = f"{above}{field.name}", hints[field.name]
        inner = typing.get_args(hint)[-1] if typing.get_origin(hint) is dict else hint
        if dataclasses.is_dataclass(inner):
            lines += keys(typing.cast(type, inner), f"{name}.NAME." if inner is not hint else f"{name}.")
            continue
        default = "required" if field.default is dataclasses.MISSING else repr(field.default)
        if field.default_factory is not dataclasses.MISSING:
            default = repr(field.default_factory())
        lines.append(f"key {name} = {default}")
    return lines


def public(module: str) -> list[str]:
    path = ROOT / Path(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    lines = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            lines.append(f"name {module}:{node.name}")
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            lines += [f"name {module}:{name}" for name in ast.literal_eval(node.value)]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mixer") and path.name == "laws.py":
            lines += [f"name {module}:{each.name}" for each in node.names if each.name[0].isupper()]
    return lines


def written() -> list[str]:
    """File names that one command leaves and another, or a user, reads: the literals of the code."""
    from neox_configs.keys import KEYS

    defaults = (key.default for key in KEYS.values() if isinstance(key.default, str))
    names = {f"file {name}" for name in defaults if _is_file_name(name)}
    for path in (ROOT / "eval_harness" / "tasks").glob("*.yml"):  # where the files of data sets lie
        words = re.findall(r"[\w./-]+", path.read_text(encoding="utf-8"))
        names |= {f"file {word}" for word in words if _is_file_name(word)}
    for room in ("haigo", *ROOMS):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and _is_file_name(node.value):
                    names.add(f"file {node.value}")
    return sorted(names)


def _is_file_name(text: str) -> bool:
    stem, dot, ending = text.rpartition(".")
    plain = stem.replace("_", "").replace("-", "").replace(".", "").replace("/", "")
    return bool(dot) and ending in ("json", "jsonl", "csv", "yml", "html", "txt", "md", "model", "pt", "bin", "idx", "sh",
                                    "sbatch", "log", "npz") and plain.isalnum()  # fmt: skip


def surface() -> list[str]:
    from launch.pipeline import runfile

    lines = []
    for verb in verbs():
        lines.append(f"verb {verb}")
        if verb != "launch.pipeline.reference":
            lines += flags(verb, parser_of(verb))
    lines += keys(runfile.RunFile)
    for module in LIBRARY:
        lines += public(module)
    return sorted({*lines, *written()})


def test_the_surface_is_as_it_was():
    known = set(SURFACE.read_text(encoding="utf-8").splitlines())
    now = set(surface())
    assert not known - now, f"gone, and somebody relies on it: {sorted(known - now)}"
    assert not now - known, f"new; write it down with `python tests/test_surface.py`: {sorted(now - known)}"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    SURFACE.write_text("".join(f"{line}\n" for line in surface()), encoding="utf-8")
