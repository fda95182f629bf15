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

from haigo import __version__, cli, digests, files, sealed
from haigo.cli import HaigoError
from haigo.formats import documents
from haigo.formats import mixture as mixture_file
from haigo.formats.documents.broken import add_skip_broken, broken_lines

from . import sample_choose
from .sample_draw import Draw, choose_all
from .sample_shards import Shard

NAME = "sample.json"
_ROW = dict.fromkeys(
    ("budget", "granted", "documents", "characters", "bytes", "characters_there", "documents_there", "longest_excerpt",
     "repeated_characters_left_out"), int)  # fmt: skip
_LIKE = {"characters": int, "corpora": {str: _ROW}, "shards": {str: [str]}, "recipe": str}
SEED = 1234


def sample(
    corpora: Mapping[str, str | os.PathLike[str]],
    output_dir: str | os.PathLike[str],
    *,
    characters: int | None = None,
    weights: Mapping[str, float] | None = None,
    budgets: Mapping[str, int] | None = None,
    temperature: float = 1.0,
    fill: bool = False,
    repeats: int = 1,
    seed: int = SEED,
    workers: int = 1,
    weights_source: str = "the weights",
    skip_broken: int = 0,
) -> dict[str, Any]:
    """Draw a sample.

    Args:
        corpora: corpus name -> folder written by preprocess.clean; the train splits are read.
        output_dir: where the sample goes.
        characters: the sum of all budgets; not with `budgets`.
        weights: corpus -> share of `characters`, as in a mixture.yml.
        budgets: corpus -> characters.
        temperature: without weights and budgets: shares are characters there to the power of 1 / temperature.
        fill: what a corpus is short of goes to the others, in proportion to their shares.
        repeats: how often a line of 20 characters or more may stand in the sample of a corpus.
        seed: key of the draw.
        workers: processes; the result does not depend on it.
        weights_source: the file of the weights, for messages.
        skip_broken: so many rows that cannot be read may be passed over; sample.json names them.

    Returns:
        What `sample.json` holds: for every corpus budget, characters, documents, bytes and what was there.

    Raises:
        HaigoError: no text, impossible budgets, damaged shards.
    """
    if not corpora:
        raise HaigoError("there is no corpus to draw from.", "name at least one cleaned corpus")
    if (characters is None) == (budgets is None):
        raise HaigoError("give either a number of characters or a budget for every corpus.", "give one of the two")
    for name in budgets or {}:
        if name not in corpora:
            raise HaigoError(
                f"there is a budget for '{name}', and no such corpus is given.{cli.nearest(name, corpora)}",
                "name the folder of every corpus that has a budget",
            )
    missing = [name for name in corpora if budgets is not None and name not in budgets]
    if missing:
        raise HaigoError(f"the corpus '{missing[0]}' has no budget.", "give each corpus one, or leave its folder out")
    place = Path(output_dir)
    files.check_output(place, map(Path, corpora.values()))
    documents.take_over(place / NAME, {"corpora": {str: {"budget": int}}, "recipe": str, "shards": {str: [str]}})
    files.check_output(place, names=(NAME,))
    for name in corpora:
        documents.claim(place / name, [], map(Path, corpora.values()))
    paths = {name: documents.shards(folder) for name, folder in corpora.items()}
    read_from = {name: [digests.sha256(path) for path in found] for name, found in paths.items()}
    recipe = files.digest(
        {
            "format": 1,
            "corpora": read_from,
            "asked": [characters, weights, budgets, temperature, fill],
            "repeats": repeats,
            "seed": seed,
            **({"skip_broken": skip_broken} if skip_broken else {}),
        }
    )
    done = _finished(place, recipe)
    notes = place / ".notes"
    if done is not None:
        if notes.is_dir():  # killed after the sample was whole
            with files.owner(notes):
                files.remove_tree(notes)
        return done
    broken = documents.broken_rows((path for found in paths.values() for path in found), skip_broken)
    with files.owner(notes):
        files.remove_leftovers(place)
        shards = {
            name: [
                Shard(str(path), sha256, seed, str(notes / name / f"{number:05d}"), skip_broken)
                for number, (path, sha256) in enumerate(zip(found, read_from[name], strict=True))
            ]
            for name, found in paths.items()
        }
        draw = Draw(shards, repeats, workers)
        available = draw.survey()
        part = (
            {name: float(budget) for name, budget in budgets.items()}
            if budgets is not None
            else sample_choose.shares(available, weights, temperature, weights_source)
        )
        total = sum(budgets.values()) if budgets is not None else int(characters or 0)
        asked = {name: int(budgets[name]) for name in corpora} if budgets else sample_choose.budgets(total, part)
        chosen, granted = choose_all(draw, asked, part, total, fill)
        files.remove(place / NAME)
        written = draw.write(chosen, place)
        rows = {
            name: {
                "budget": asked[name],
                "granted": granted[name],
                **written[name],
                "characters_there": available[name],
                "documents_there": draw.documents[name],
                "longest_excerpt": chosen[name].cap,
                "repeated_characters_left_out": chosen[name].repeated,
            }
            for name in corpora
        }
        made = {
            "characters": sum(row["characters"] for row in rows.values()),
            "corpora": rows,
            **broken.report(),
            "seed": seed,
            "repeats": repeats,
            "recipe": recipe,
            "shards": {name: [row["sha256"] for row in draw.shard_rows[name]] for name in corpora},
            "tool": f"haigo {__version__}",
        }
        for name in corpora:  # the folder of each corpus is a cleaned corpus too, for every step that reads one
            files.write_json(place / name / documents.REPORT, {"corpus": name, "sample": rows[name]})
        made = sealed.write(place / NAME, made)
        files.remove_tree(notes)
    return made


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
        made = read(place)
    except HaigoError as error:
        print(f"haigo: {error.problem.removesuffix('.')}: the sample is drawn again.", file=sys.stderr)
        return None
    if made.get("recipe") != recipe:
        return None
    for name, rows in made["shards"].items():
        there = sorted((place / name / "train").glob("*.jsonl.zst"))
        about = {"corpus": name, "sample": made["corpora"].get(name)}
        noted = place / name / documents.REPORT
        if [digests.sha256(path) for path in there] != rows or not noted.is_file() or files.read_json(noted) != about:
            print(f"haigo: {place / name} was changed since it was drawn: the sample is drawn again.", file=sys.stderr)
            return None
    return made


def weights_of(path: str | os.PathLike[str]) -> dict[str, float]:
    """The weights of a mixture.yml.

    Raises:
        HaigoError: not a mixture: see `haigo.formats.mixture`.
    """
    return dict(mixture_file.read(path)["weights"])


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser("preprocess.sample", __doc__)
    parser.add_argument("corpora", nargs="+", metavar="CLEANED_DIR", help="folders written by preprocess.clean")
    parser.add_argument("--output-dir", "--output_dir", required=True, help="folder of the sample")
    parser.add_argument("--characters", type=cli.count, help="the whole sample (300 million for 50,000 pieces)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--mixture", help="mixture.yml: budgets in proportion to its weights")
    how.add_argument("--budget", action="append", metavar="NAME=CHARACTERS", help="once for every corpus")
    how.add_argument("--temperature", type=float, default=1.0, help="1: the corpora's own shares; large: equal shares")
    parser.add_argument("--fill", action="store_true", help="what a corpus is short of goes to the others")
    parser.add_argument("--repeats", type=cli.count, default=1, help="times that a line may repeat (default 1)")
    parser.add_argument("--seed", type=cli.seed, default=SEED, help=f"key of the draw (default {SEED})")
    add_skip_broken(parser)
    parser.add_argument("--workers", type=cli.few, default=1, help="processes (default 1)")
    parser.add_argument("--json", action="store_true", help="print sample.json")
    args = parser.parse_args(argv)
    if args.characters is None and not args.budget:
        raise HaigoError("--characters is missing.", "say how large the sample is to be, such as --characters 3e8")
    if args.characters is not None and args.budget:
        raise HaigoError("--characters and --budget exclude each other.", "give one of them")
    made = sample(
        documents.corpora(args.corpora),
        args.output_dir,
        characters=args.characters,
        weights=weights_of(args.mixture) if args.mixture else None,
        budgets=_budgets(args.budget) if args.budget else None,
        temperature=args.temperature,
        fill=args.fill,
        repeats=args.repeats,
        seed=args.seed,
        workers=args.workers,
        weights_source=str(args.mixture or "the weights"),
        skip_broken=args.skip_broken,
    )
    if args.json:
        import json

        print(json.dumps(made, ensure_ascii=False, indent=2))
        return cli.OK
    print(f"{args.output_dir}: {made['characters']:,} characters")
    for name, row in made["corpora"].items():
        lacks = row["granted"] - row["characters"]
        print(
            f"  {name}: {row['characters']:,} of {row['characters_there']:,} characters in {row['documents']:,} documents"
            + (f", {lacks:,} short of its budget: it has no more" if lacks else "")
        )
    for line in broken_lines(made):
        print(line)
    return cli.OK


def _budgets(words: Sequence[str]) -> dict[str, int]:
    import argparse

    found: dict[str, int] = {}
    for word in words:
        name, _, number = word.rpartition("=")
        try:
            if not name or name in found:
                raise argparse.ArgumentTypeError("given twice or without a name")
            found[name] = cli.count(number)
        except argparse.ArgumentTypeError as error:
            raise HaigoError(f"--budget {word}: {error}.", "give NAME=CHARACTERS once for every corpus") from None
    return found


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
