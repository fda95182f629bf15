"""A random sample of cleaned corpora with a budget for each, as the text that a tokenizer is trained on.

    python -m preprocess.sample CLEANED_DIR... --characters 3e8 --output-dir SAMPLE
           [--mixture mixture.yml | --budget NAME=CHARACTERS ... | --temperature 1] [--fill]
           [--repeats 1] [--seed 1234] [--workers N]

Documents are drawn without replacement in the order of a keyed hash of their id and text, so the same seed gives the same
sample for any number of workers. Very long documents give an excerpt, lines above 2,000 characters are cut, a line of 20
characters or more is kept --repeats times in a corpus. Budgets are met to the character where the corpus has the text; one
that is short gives all it has and is named (--fill hands what it lacks on to the others). Characters are those of the lines;
line ends are not counted. Writes SAMPLE/NAME/train/00000.jsonl.zst, which `preprocess.tokenizer --sample` reads, and
SAMPLE/sample.json last. A killed run goes on where it was.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from haigo import __version__, cli, digests, files, flags, sealed
from haigo.cli import HaigoError
from haigo.formats import documents
from haigo.formats import mixture as mixture_file
from haigo.formats.documents.broken import broken_lines

from . import rewrite, sample_choose
from .options import SampleCommand, SampleOptions
from .sample_draw import Draw, choose_all
from .sample_shards import SampleShard

NAME = "sample.json"
_ROW = dict.fromkeys(
    ("budget", "granted", "documents", "characters", "bytes", "characters_there", "documents_there", "longest_excerpt",
     "repeated_characters_left_out"), int)  # fmt: skip
_LIKE = {"characters": int, "corpora": {str: _ROW}, "shards": {str: [str]}, "recipe": str}


def sample(
    corpora: Mapping[str, str | os.PathLike[str]],
    output_dir: str | os.PathLike[str],
    options: SampleOptions | None = None,
    *,
    mixture: str | os.PathLike[str] | None = None,
    **given: Any,
) -> dict[str, Any]:
    """Draw a sample.

    Args:
        corpora: corpus name -> folder written by preprocess.clean; the train splits are read.
        output_dir: where the sample goes.
        options: or its fields by name.
        mixture: a mixture.yml whose weights are the shares of `options.characters`, instead of a temperature.

    Returns:
        What `sample.json` holds: for every corpus budget, characters, documents, bytes and what was there.

    Raises:
        HaigoError: no text, impossible budgets, damaged shards.
    """
    options = options or SampleOptions(**given)
    weights = dict(mixture_file.read(mixture)["weights"]) if mixture else None
    _check(corpora, options)
    place = Path(output_dir)
    files.check_output(place, map(Path, corpora.values()))
    documents.take_over(place / NAME, {"corpora": {str: {"budget": int}}, "recipe": str, "shards": {str: [str]}})
    files.check_output(place, names=(NAME,))
    for name in corpora:
        documents.claim(place / name, [], map(Path, corpora.values()))
    paths = {name: documents.shards(folder) for name, folder in corpora.items()}
    read_from = {name: [digests.sha256(path) for path in shards_of] for name, shards_of in paths.items()}
    asked = [options.characters, weights, options.budgets or None, options.temperature, options.fill]
    drawn_from = {"format": 1, "corpora": read_from, "asked": asked, "repeats": options.repeats, "seed": options.seed}
    recipe = files.digest(drawn_from | ({"skip_broken": options.skip_broken} if options.skip_broken else {}))
    done = _finished(place, recipe)
    notes = place / ".notes"
    if done is not None:
        if notes.is_dir():  # killed after the sample was whole
            with files.owner(notes):
                files.remove_tree(notes)
        return done
    broken = documents.broken_rows((path for shards_of in paths.values() for path in shards_of), options.skip_broken)
    with files.owner(notes):
        files.remove_leftovers(place)
        shards = {
            name: [
                SampleShard(str(path), sha256, options.seed, str(notes / name / f"{number:05d}"), options.skip_broken)
                for number, (path, sha256) in enumerate(zip(shards_of, read_from[name], strict=True))
            ]
            for name, shards_of in paths.items()
        }
        draw = Draw(shards, options.repeats, options.workers)
        rows = _drawn(draw, options, weights, str(mixture), place)
        for name, folder in corpora.items():
            documents.tell_changed(folder, {"train": draw.documents[name]})
        content = {
            "characters": sum(row["characters"] for row in rows.values()),
            "corpora": rows,
            **broken.report(),
            "seed": options.seed,
            "repeats": options.repeats,
            "recipe": recipe,
            "shards": {name: [row["sha256"] for row in draw.shard_rows[name]] for name in corpora},
            "tool": f"haigo {__version__}",
        }
        for name in corpora:  # the folder of each corpus is a cleaned corpus too, for every step that reads one
            files.write_json(place / name / documents.REPORT, {"corpus": name, "sample": rows[name]})
        content = sealed.write(place / NAME, content)
        files.remove_tree(notes)
    return content


def _check(corpora: Mapping[str, Any], options: SampleOptions) -> None:
    """Every corpus has a budget and every budget a corpus, where there are any."""
    if not corpora:
        raise HaigoError("there is no corpus to draw from.", "name at least one cleaned corpus")
    for name in options.budgets:
        if name not in corpora:
            raise HaigoError(
                f"there is a budget for '{name}', and no such corpus is given.{cli.nearest(name, corpora)}",
                "name the folder of every corpus that has a budget",
            )
    missing = [name for name in corpora if options.budgets and name not in options.budgets]
    if missing:
        raise HaigoError(f"the corpus '{missing[0]}' has no budget.", "give each corpus one, or leave its folder out")


def _drawn(
    draw: Draw, options: SampleOptions, weights: Mapping[str, float] | None, source: str, place: Path
) -> dict[str, dict[str, int]]:
    """Choose and write the sample of every corpus; the rows of `sample.json`."""
    available = draw.survey()
    if options.budgets:
        budgets = {name: options.budgets[name] for name in available}
        part, total = {name: float(budget) for name, budget in budgets.items()}, sum(budgets.values())
    else:
        total = int(options.characters or 0)
        part = sample_choose.shares(available, weights, options.temperature, source)
        budgets = sample_choose.budgets(total, part)
    chosen, granted = choose_all(draw, budgets, part, total, options.fill)
    files.remove(place / NAME)
    written = draw.write(chosen, place)
    return {
        name: {
            "budget": budgets[name],
            "granted": granted[name],
            **written[name],
            "characters_there": available[name],
            "documents_there": draw.documents[name],
            "longest_excerpt": chosen[name].cap,
            "repeated_characters_left_out": chosen[name].repeated,
        }
        for name in available
    }


def read(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """`sample.json` of a finished sample.

    Raises:
        HaigoError: there is none.
    """
    sealed.read(Path(folder) / NAME, _LIKE)
    return dict(files.read_json(Path(folder) / NAME))


def _finished(place: Path, recipe: str) -> dict[str, Any] | None:
    if not (place / NAME).is_file():
        return None
    try:
        drawn = read(place)
    except HaigoError as error:
        print(f"haigo: {error.problem.removesuffix('.')}: the sample is drawn again.", file=sys.stderr)
        return None
    if drawn.get("recipe") != recipe:
        return None
    for name, rows in drawn["shards"].items():
        there = sorted((place / name / "train").glob("*.jsonl.zst"))
        about = {"corpus": name, "sample": drawn["corpora"].get(name)}
        noted = place / name / documents.REPORT
        if [digests.sha256(path) for path in there] != rows or not rewrite.says(noted, about):
            print(f"haigo: {place / name} was changed since it was drawn: the sample is drawn again.", file=sys.stderr)
            return None
    return drawn


def table(drawn: Mapping[str, Any]) -> str:
    """`sample.json` as a few lines to read."""
    lines = [f"{drawn['characters']:,} characters"]
    for name, row in drawn["corpora"].items():
        lacks = row["granted"] - row["characters"]
        lines.append(
            f"  {name}: {row['characters']:,} of {row['characters_there']:,} characters in {row['documents']:,} documents"
            + (f", {lacks:,} short of its budget: it has no more" if lacks else "")
        )
    return "\n".join([*lines, *broken_lines(drawn)])


def main(argv: Sequence[str] | None = None) -> int:
    options = flags.parse("preprocess.sample", __doc__, SampleCommand, argv)
    drawn = sample(documents.corpora(options.corpora), options.output_dir, options, mixture=options.mixture)
    cli.show(drawn, lambda content: f"{options.output_dir}: {table(content)}", options.json)
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
