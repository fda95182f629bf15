"""The run file's reference page and template, made from the fields of `launch.pipeline.runfile`.

python -m launch.pipeline.reference > docs/runfile.md
python -m launch.pipeline.reference --lang ja > docs/runfile.ja.md
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from haigo import cli, options, reference, yamlfile
from launch.pipeline import runfile
from launch.pipeline.corpus import Partition

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


def template(
    corpora: Mapping[str, Mapping[str, Any]],
    remark: Sequence[str] = (),
    sizes: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """A commented run file.

    Args:
        corpora: name -> what it says of the corpus, `files` first.
        remark: sentences at its head.
        sizes: section ("" for what is in none) -> key -> value, for what is not to have its default.
    """
    sizes = sizes or {}
    lines = [
        "# A run of the whole chain: python -m launch.pipeline THIS_FILE",
        "# Every key is explained in docs/runfile.md; the ones commented out show their default.",
        *(f"# {line}" for line in remark),
        "",
    ]
    first = next(iter(corpora))
    given: dict[str, Any] = {"output": "runs/mine", "title": "My mixture"}
    for each in _fields(runfile.RunFile):
        if each.name == "corpora":
            lines += ["corpora:"]
            for name, said in corpora.items():
                lines += [f"  {name}:", f"    files: {yamlfile.inline(said['files'])}"]
                rest = [key for key in _fields(runfile.Corpus) if key.name != "files"]
                lines += [
                    _line(key, "    ", instead=said.get(key.name)) for key in rest if name == first or key.name in said
                ]
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
            lines += [_line(each, instead=sizes.get("", {}).get(each.name))]
    return "\n".join(lines) + "\n"


def _fields(cls: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(cls)


def _line(each: dataclasses.Field[Any], indent: str = "", active: bool = False, instead: Any = None) -> str:
    """A key with its default, or with another value and the default behind; commented out if it is empty or not `active`."""
    value = options.shown_default(each).strip("`")
    value = "{}" if value == "see below" else value
    if instead is not None:
        return (
            f"{indent}{each.name}: {yamlfile.inline(instead)}   # {each.metadata['doc']} (default: {value or 'empty'})"
        )
    return f"{indent}{'' if active and value else '# '}{each.name}: {value}   # {each.metadata['doc']}"


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
