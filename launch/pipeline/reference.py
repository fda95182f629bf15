"""The run file's reference page and template, made from the fields of `launch.pipeline.runfile`.

python -m launch.pipeline.reference > docs/runfile.md
python -m launch.pipeline.reference --lang ja > docs/runfile.ja.md
"""

from __future__ import annotations

import dataclasses
import glob
import os
import re
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from haigo import cli, files, naming, options, reference, yamlfile
from haigo.cli import HaigoError
from launch.pipeline import runfile
from launch.pipeline.corpus import Partition

_SMALL = (
    "# There is little text: vocabulary, proxies and models are sized for a first answer in some ten minutes on two cores.\n"
    "# The defaults, which stand behind them, are for more."
)
_HEAD = """\
One YAML file describes one run of the whole chain: `python -m launch.pipeline RUN.yml`.
`python -m launch.pipeline --init RUN.yml FILE...` writes one for your corpora, and any key can be changed
for a single run with `--set section.key=value`. In paths, `${NAME}` is an environment variable and
`{prepared}` the folder that the `prepare` command fills; relative paths are looked for in the working folder,
then beside the run file. An unknown key is an error. (This page: `python -m launch.pipeline.reference`, in
Japanese with `--lang ja`.)"""
_NAMES = """\
Names of corpora, pairs files and groups have letters, digits, `_`, `-` and `.` and begin with a letter or digit
(corpora: ASCII, without `.`); no two may differ in upper and lower case alone, and names of Haigo's own columns
(`run`, `size`, `tokens` ...) are taken. What YAML reads as something else than it looks like is refused with its
line: the key `no:`, `0777`, `1:30`, dates; put it in quotes."""
_HINTS = typing.get_type_hints(runfile.RunFile)
_SECTIONS: dict[str, Any] = {name: hint for name, hint in _HINTS.items() if dataclasses.is_dataclass(hint)} | {
    "corpora": runfile.Corpus
}


FEW_BYTES = 100_000_000
"""Files that hold less, as they lie on the disk, are little text: 50,000 pieces would be learnt from nothing."""
FIRST_RUN: dict[str, dict[str, int]] = {
    "tokenizer": {"vocab_size": 8000, "chars_per_corpus": 1_000_000},
    "proxies": {"runs": 24, "held_out": 4, "tokens": 120_000, "eval_tokens": 6_000},
    "train": {"tokens": 800_000, "seq_length": 512, "evaluations": 5},
}
"""What `--init` writes for little text: a first answer in some ten minutes on two cores, as `examples/mini.yml` has it."""


def main(argv: Sequence[str] | None = None) -> int:
    return reference.printed("launch.pipeline.reference", __doc__, page, argv)


def page(say: reference.Say = str) -> str:
    """docs/runfile.md, or what it is in another language."""
    lines = [f"# {say('The run file')}", "", say("日本語: [runfile.ja.md](runfile.ja.md)"), "", say(_HEAD), ""]
    lines += [say(_NAMES), "", *options.table(runfile.RunFile, "", say)]
    for name in (each.name for each in _fields(runfile.RunFile) if each.name in _SECTIONS):
        cls, prefix = _SECTIONS[name], "corpora.NAME" if name == "corpora" else name
        lines += ["", f"## `{prefix}`", "", _about(cls, say), "", *options.table(cls, f"{prefix}.", say)]
        if name == "corpora":
            below = f"{prefix}.partition"
            lines += ["", f"### `{below}`", "", _about(Partition, say), "", *options.table(Partition, f"{below}.", say)]
    return "\n".join(lines) + "\n"


def _about(cls: type, say: reference.Say) -> str:
    return say(" ".join((cls.__doc__ or "").split()))


def template(corpora: dict[str, list[str]], sizes: Mapping[str, Mapping[str, int]] | None = None) -> str:
    """A commented run file for the given corpora (name -> files).

    Args:
        sizes: section -> key -> value, for what is not to have its default.
    """
    sizes = sizes or {}
    lines = [
        "# A run of the whole chain: python -m launch.pipeline THIS_FILE",
        "# Every key is explained in docs/runfile.md; the ones commented out show their default.",
        *([_SMALL] if sizes else []),
        "",
    ]
    first = next(iter(corpora))
    given: dict[str, Any] = {"output": "runs/mine", "title": "My mixture"}
    for each in _fields(runfile.RunFile):
        if each.name == "corpora":
            lines += ["corpora:"]
            for number, (name, listed) in enumerate(corpora.items()):
                lines += [f"  {name}:", f"    files: {yamlfile.inline(listed)}"]
                rest = [key for key in _fields(runfile.Corpus) if key.name != "files"]
                lines += [_line(key, "    ") for key in rest] if number == 0 else []
        elif each.name == "objective":
            docs = {key.name: key.metadata["doc"] for key in _fields(runfile.Objective)}
            lines += ["objective:", f"  metrics: {{{first}_bpb: 1.0}}   # {docs['metrics']}"]
            lines += [f'  ceilings: {{"*_bpb": "+5%"}}   # {docs["ceilings"]}']
        elif each.name in _SECTIONS:
            lines += [f"{each.name}:   # {each.metadata['doc']}"]
            own = sizes.get(each.name, {})
            lines += [_line(key, "  ", True, own.get(key.name)) for key in _fields(_SECTIONS[each.name])]
        elif each.name in given:
            lines += [f"{each.name}: {yamlfile.inline(given[each.name])}   # {each.metadata['doc']}"]
        else:
            lines += [_line(each)]
    return "\n".join(lines) + "\n"


def _fields(cls: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(cls)


def _line(each: dataclasses.Field[Any], indent: str = "", active: bool = False, instead: int | None = None) -> str:
    """A key with its default, or with another value and the default behind; commented out if it is empty or not `active`."""
    value = options.shown_default(each).strip("`")
    value = "{}" if value == "see below" else value
    if instead is not None:
        return f"{indent}{each.name}: {instead}   # {each.metadata['doc']} (default: {value or 'empty'})"
    return f"{indent}{'' if active and value else '# '}{each.name}: {value}   # {each.metadata['doc']}"


def init(path: Path, given: Sequence[str]) -> int:
    """Write a run file for the corpora given as NAME=FILE or as files, whose names then name the corpora."""
    if path.exists():
        raise HaigoError(f"{path} exists already.", "choose another name, or delete it first")
    corpora: dict[str, list[str]] = {}
    for word in given or ["news=corpora/news/*.jsonl.gz", "wiki=corpora/jawiki-pages-articles.xml.bz2"]:
        name, equals, file = word.partition("=")
        if not equals:
            file, name = name, re.sub(r"[^A-Za-z0-9_-]", "_", Path(name).name.split(".")[0])
        if given and not any(mark in file for mark in "*?[$") and not os.path.exists(file):
            raise HaigoError(f"{file} does not exist.", "check the path")
        runfile.check_corpus(name, word)
        corpora.setdefault(name, []).append(file)
    naming.check_all(corpora, "corpus", "--init")
    little = bool(given) and sum(map(os.path.getsize, _files(corpora))) < FEW_BYTES
    files.write_text(path, template(corpora, FIRST_RUN if little else None))
    print(f"wrote {path}: look through it, then run `python -m launch.pipeline {path}`")
    return cli.OK


def _files(corpora: Mapping[str, Sequence[str]]) -> list[str]:
    """The files that are there now."""
    found = [
        each for listed in corpora.values() for file in listed for each in (glob.glob(file, recursive=True) or [file])
    ]
    below = [str(path) for each in found if os.path.isdir(each) for path in Path(each).rglob("*")]
    return [each for each in {*found, *below} if os.path.isfile(each)]


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
