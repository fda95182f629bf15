"""The page of all commands and their options, docs/commands.md, made from the classes that declare them.

python -m haigo.reference > docs/commands.md
python -m haigo.reference --lang ja > docs/commands.ja.md

Japanese pages say every sentence as `docs/japanese.yml` has it, which is no part of an installed Haigo.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import typing
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

from haigo import cli, flags, options, yamlfile
from haigo.cli import HaigoError
from haigo.options import Options, option

ROOT = Path(__file__).parent.parent
JAPANESE = ROOT / "docs" / "japanese.yml"
ROOMS = ("neox_configs", "preprocess", "mixer", "launch", "eval_harness")
Say = Callable[[str], str]
"""A sentence, or a name of something, in the language of a page."""
_HEAD = """\
Every command is `python -m NAME`. `--help` says the same; every flag may be written with `-` or `_`. `--debug`, which every
command has, shows the traceback when something goes wrong. Exit codes: 0 done, 2 bad usage or input, 3 refused, 4 what
was started failed, 70 an internal error, 130 and 143 stopped. (This page: `python -m haigo.reference`, in Japanese with
`--lang ja`.)"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReferenceOptions(Options):
    """Of a page that is made from the options."""

    lang: str = option("language of the page", "en", among=("en", "ja"))


class Japanese:
    """Says sentences in Japanese; `asked` are those that it was given, with their blanks and line breaks as single blanks."""

    def __init__(self) -> None:
        self.known: dict[str, str] = yamlfile.read(JAPANESE)
        self.asked: dict[str, None] = {}

    def __call__(self, sentence: str) -> str:
        key = " ".join(sentence.split())
        self.asked[key] = None
        return self.known.get(key, sentence)

    def missing(self) -> list[str]:
        """What was asked for and has no Japanese."""
        return [each for each in self.asked if each not in self.known]


def main(argv: Sequence[str] | None = None) -> int:
    return printed("haigo.reference", __doc__, page, argv)


def printed(module: str, doc: str | None, page: Callable[[Say], str], argv: Sequence[str] | None) -> int:
    """The command of a page: print it in the language that `--lang` says.

    Raises:
        HaigoError: a sentence has no Japanese.
    """
    say: Say | Japanese = str
    if flags.parse(module, doc, ReferenceOptions, argv).lang == "ja":
        say = Japanese()
    text = page(say)
    if isinstance(say, Japanese) and say.missing():
        sentences = "; ".join(f'"{each}"' for each in say.missing())
        raise HaigoError(f"{JAPANESE} has no Japanese of {sentences}.", "write it there, as the lines around it are")
    print(text, end="")
    return cli.OK


def page(say: Say = str) -> str:
    """docs/commands.md, or what it is in another language."""
    lines = [f"# {say('Commands')}", "", say("日本語: [commands.ja.md](commands.ja.md)"), "", say(_HEAD), ""]
    head = f"| {say('option')} | {say('default')} | {say('meaning')} |"
    for name, what, declared in verbs():
        lines += [f"## `{name}`", "", say(what), "", head, "|---|---|---|", *_rows(declared, say), ""]
    return "\n".join(lines).rstrip() + "\n"


@cache
def verbs() -> tuple[tuple[str, str, type[Options]], ...]:
    """(name, its first sentence, options) of every command that parses an options class, by name."""
    return tuple(_verbs())


def _verbs() -> Iterator[tuple[str, str, type[Options]]]:
    for path in sorted(each for room in ROOMS for each in (ROOT / room).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("flags.parse", "flags.parse_one_of"):
                parts = path.relative_to(ROOT).with_suffix("").parts
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


def _rows(declared: type[Options], say: Say) -> list[str]:
    """Rows of a command's table: options of no group, then each group below its name."""
    fields = dataclasses.fields(typing.cast(typing.Any, declared))
    shown = [each for each in fields if each.metadata.get("doc") is not None and not each.metadata.get("hidden")]
    hints = typing.get_type_hints(declared)
    rows = []
    for group in dict.fromkeys(["", *(each.metadata.get("group", "") for each in shown)]):
        rows += [f"| **{say(group)}** | | |"] if group else []
        for each in shown:
            if each.metadata.get("group", "") == group:
                kind, _ = options.inner(hints[each.name])
                default = "" if kind is bool else options.shown_default(each, say)
                cells = [f"`{_spelled(each, kind, declared.underscored)}`", default, say(each.metadata["doc"])]
                rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return rows


def _spelled(each: dataclasses.Field[typing.Any], kind: typing.Any, underscored: bool) -> str:
    """`--text-key TEXT_KEY`, or the name of what stands without a flag."""
    rule = each.metadata
    metavar = rule.get("metavar") or ("" if kind is bool else "|".join(rule["among"]) or each.name.upper())
    value = " ".join(metavar) if isinstance(metavar, tuple) else metavar
    return value if rule.get("positional") else f"{flags.spellings(each, underscored)[0]} {value}".rstrip()


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
