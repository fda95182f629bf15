"""The run file's reference page and template, made from the fields of `launch.chain.runfile`.

python -m launch.chain.docs > docs/runfile.md
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import launch.chain.runfile as runfile
from haigo import cli, options, yamlfile

_SECTIONS: dict[str, type] = {
    "corpora": runfile.Corpus,
    "dedup": runfile.Dedup,
    "decontaminate": runfile.Decontaminate,
    "tokenizer": runfile.Tokenizer,
    "objective": runfile.Objective,
    "proxies": runfile.Proxies,
    "search": runfile.Search,
    "train": runfile.Train,
    "scores": runfile.Scores,
    "configs": runfile.Configs,
}


def main(argv: Sequence[str] | None = None) -> int:
    cli.parser("launch.chain.docs", __doc__).parse_args(argv)
    print(page(), end="")
    return cli.OK


def page() -> str:
    """docs/runfile.md."""
    lines = [
        "# The run file",
        "",
        "One YAML file describes one run of the whole chain: `python -m launch.pipeline RUN.yml`.",
        "`python -m launch.pipeline --init RUN.yml FILE...` writes one for your corpora, and any key can be changed",
        "for a single run with `--set section.key=value`. In paths, `${NAME}` is an environment variable and",
        "`{prepared}` the folder that the `prepare` command fills; relative paths are looked for in the working folder,",
        "then beside the run file. An unknown key is an error. (This page: `python -m launch.chain.docs`.)",
        "",
        "Names of corpora, pairs files and groups have letters, digits, `_`, `-` and `.` and begin with a letter or digit",
        "(corpora: ASCII, without `.`); no two may differ in upper and lower case alone, and names of Haigo's own columns",
        "(`run`, `size`, `tokens` ...) are taken. What YAML reads as something else than it looks like is refused with its",
        "line: the key `no:`, `0777`, `1:30`, dates; put it in quotes.",
        "",
        *options.table(runfile.RunFile, ""),
    ]
    for name, cls in _SECTIONS.items():
        prefix = "corpora.NAME" if name == "corpora" else name
        lines += [
            "",
            f"## `{prefix}`",
            "",
            " ".join((cls.__doc__ or "").split()),
            "",
            *options.table(cls, prefix + "."),
        ]
    return "\n".join(lines) + "\n"


def template(corpora: dict[str, list[str]]) -> str:
    """A commented run file for the given corpora (name -> files)."""
    lines = [
        "# A run of the whole chain: python -m launch.pipeline THIS_FILE",
        "# Every key is explained in docs/runfile.md; the ones commented out show their default.",
        "",
    ]
    first = next(iter(corpora))
    given: dict[str, Any] = {"output": "runs/mine", "title": "My mixture"}
    for each in dataclasses.fields(runfile.RunFile):
        if each.name == "corpora":
            lines += ["corpora:"]
            for number, (name, files) in enumerate(corpora.items()):
                lines += [f"  {name}:", f"    files: {yamlfile.inline(files)}"]
                if number == 0:
                    lines += _commented(runfile.Corpus, "    ", skip={"files"})
        elif each.name == "objective":
            lines += ["objective:", f"  metrics: {{{first}_bpb: 1.0}}   # {_doc(runfile.Objective, 'metrics')}"]
            lines += ['  ceilings: {"*_bpb": "+5%"}   # ' + _doc(runfile.Objective, "ceilings")]
        elif each.name in _SECTIONS:
            lines += [f"{each.name}:   # {each.metadata['doc']}", *_active(_SECTIONS[each.name], "  ")]
        elif each.name in given:
            lines += [f"{each.name}: {yamlfile.inline(given[each.name])}   # {each.metadata['doc']}"]
        else:
            lines += [f"# {each.name}: {options.shown_default(each).strip('`')}   # {each.metadata['doc']}"]
    return "\n".join(lines) + "\n"


def _doc(cls: type, name: str) -> str:
    return next(each.metadata["doc"] for each in dataclasses.fields(cls) if each.name == name)


def _commented(cls: type, indent: str, skip: set[str]) -> list[str]:
    return [
        f"{indent}# {each.name}: {options.shown_default(each).strip('`')}   # {each.metadata['doc']}"
        for each in dataclasses.fields(cls)
        if each.name not in skip
    ]


def _active(cls: type, indent: str) -> list[str]:
    """A section's keys with their defaults; the empty ones commented out."""
    lines = []
    for each in dataclasses.fields(cls):
        value = options.shown_default(each).strip("`")
        lines.append(f"{indent}{'' if value else '# '}{each.name}: {value}   # {each.metadata['doc']}")
    return lines


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
