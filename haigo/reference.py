"""The page of all commands and their options, docs/commands.md, made from the classes that declare them.

python -m haigo.reference > docs/commands.md
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path

from haigo import cli, flags, options

ROOMS = ("neox_configs", "preprocess", "mixer", "launch", "eval_harness")
_HEAD = """# Commands

Every command is `python -m NAME`. `--help` says the same; every flag may be written with `-` or `_`. `--debug`, which every
command has, shows the traceback when something goes wrong. Exit codes: 0 done, 2 bad usage or input, 3 refused, 4 what
was started failed, 70 an internal error, 130 and 143 stopped. (This page: `python -m haigo.reference`.)
"""


def main(argv: Sequence[str] | None = None) -> int:
    cli.parser("haigo.reference", __doc__).parse_args(argv)
    print(page(), end="")
    return cli.OK


def page() -> str:
    """docs/commands.md."""
    lines = [_HEAD]
    for name, what, declared in verbs():
        lines += [f"## `{name}`", "", what, "", "| option | default | meaning |", "|---|---|---|"]
        lines += [*_rows(declared), ""]
    return "\n".join(lines).rstrip() + "\n"


def verbs() -> Iterator[tuple[str, str, type[options.Options]]]:
    """(name, its first sentence, options) of every command that parses an options class, by name."""
    root = Path(__file__).parent.parent
    for path in sorted(each for room in ROOMS for each in (root / room).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("flags.parse", "flags.parse_one_of"):
                parts = path.relative_to(root).with_suffix("").parts
                name = ast.literal_eval(node.args[0])
                declared: typing.Any = importlib.import_module(".".join(parts))
                for word in ast.unparse(node.args[2]).split("."):
                    declared = getattr(declared, word)
                if isinstance(declared, dict):
                    yield from ((f"{name} {kind}", _first(each.__doc__), each) for kind, each in declared.items())
                else:
                    yield name, _first(ast.get_docstring(tree)), declared


def _first(docstring: str | None) -> str:
    """A docstring's first sentence or two."""
    return (docstring or "").partition("\n\n")[0].replace("\n", " ")


def _rows(declared: type[options.Options]) -> list[str]:
    rows = []
    hints = typing.get_type_hints(declared)
    for each in dataclasses.fields(typing.cast(typing.Any, declared)):
        rule = each.metadata
        if rule.get("doc") is None or rule.get("hidden"):
            continue
        kind, _ = options.inner(hints[each.name])
        metavar = rule.get("metavar") or ("" if kind is bool else "|".join(rule["among"]) or each.name.upper())
        value = " ".join(metavar) if isinstance(metavar, tuple) else metavar
        shown = (
            value if rule.get("positional") else f"{flags.spellings(each, declared.underscored)[0]} {value}".rstrip()
        )
        default = "" if kind is bool else options.shown_default(each)
        cells = [f"`{shown}`", default, str(rule["doc"])]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return rows


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
