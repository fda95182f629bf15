"""A classifier of good and ordinary text, and an n-gram model of the good, for preprocess.score.

    python -m preprocess.quality --good FILE... --ordinary FILE... --output-dir MODEL [--characters 5e6] [--excerpt 1000]
           [--seed 1234] [--format auto] [--text-key text] [--skip-broken N] [--json]

FILE is whatever preprocess.clean reads, or a cleaned corpus, of which the train split is read. Good text is what the model
is to be good at (news that was edited, books, minutes); ordinary text is a sample of what is to be scored. Both are read as
hashed character n-grams, so Japanese needs no segmenter, and the same words train the same bytes. Four fifths are trained on
first and the rest is told apart; then all is trained on. MODEL/quality.json tells what was read and how well it was told
apart. About 200 bytes of memory for every one of --characters.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from haigo import __version__, cli, digests, files, flags, memory
from haigo.cli import HaigoError
from haigo.formats import documents
from haigo.formats.documents import Broken, Document
from haigo.progress import Progress

from . import hashed, quality_model, sources
from .options import ReadOptions
from .score_options import QualityCommand, QualityOptions

_LEAST = 20
_NAMED = 100
_BYTES = 200
_DISK = 4 * quality_model.CLASSIFIER.size + quality_model.GRAMS.size
_READ = tuple(each.name for each in dataclasses.fields(ReadOptions))
Paths = Sequence[str | os.PathLike[str]]


def train(
    good: Paths,
    ordinary: Paths,
    output_dir: str | os.PathLike[str],
    options: QualityOptions | None = None,
    **given: Any,
) -> dict[str, Any]:
    """Train a model of quality.

    Args:
        good, ordinary: what `sources.read` reads, and folders of cleaned corpora.
        output_dir: where the model goes.
        options: or its fields by name.

    Returns:
        What quality.json holds.

    Raises:
        HaigoError: unreadable input, too few documents, too little memory or disk.
    """
    options = options or QualityOptions(**given)
    folder = Path(output_dir)
    sides = {"good": list(good), "ordinary": list(ordinary)}
    paths = {side: [path for each in given_of for path in _files(each, options)] for side, given_of in sides.items()}
    everything = [Path(each) for each in [*good, *ordinary]]
    files.check_output(
        folder, [path for each in paths.values() for path in each], [each for each in everything if each.is_dir()],
        (quality_model.NAME, quality_model.WEIGHTS, quality_model.COUNTS),
    )  # fmt: skip
    _require_room(folder, options)
    read_from = {side: [digests.sha256(path) for path in found] for side, found in paths.items()}
    lists = [Path(each) for each in (*options.keep_urls, *options.drop_urls)]
    read_from["lists"] = [digests.sha256(each) for each in lists if each.is_file()]
    asked = {name: getattr(options, name) for name in ("characters", "excerpt", "seed", *_READ)}
    recipe = files.digest({"format": 1, "read": read_from, "asked": asked})
    with files.owner(folder):
        files.remove_leftovers(folder)
        done = _finished(folder, recipe)
        if done is not None:
            return done
        broken = Broken(options.skip_broken)
        drawn = {side: _drawn(side, found, options, broken) for side, found in paths.items()}
        bias, weights, apart = _fitted(drawn)
        levels, counted = quality_model.counts(drawn["good"])
        rows = {
            side: {
                "documents": len(texts),
                "characters": sum(map(len, texts)),
                "files": [str(path) for path in paths[side][:_NAMED]],
            }
            for side, texts in drawn.items()
        }
        files.remove(folder / quality_model.NAME)
        about = {
            "excerpt": options.excerpt, "counted": counted, **rows, "told_apart": apart, **broken.report(), "options": asked,
            "recipe": recipe, "tool": f"haigo {__version__}",
        }  # fmt: skip
        return quality_model.write(folder, bias, (weights, levels), about)


def _files(path: str | os.PathLike[str], options: QualityOptions) -> list[Path]:
    if (Path(path) / documents.REPORT).is_file():
        return documents.shards(path)
    return [found for found, _ in sources.input_files([path], options.patterns, options.exclude)]


def _require_room(folder: Path, options: QualityOptions) -> None:
    need, free = 2 * options.characters * _BYTES, memory.available()
    if need > free:
        raise HaigoError(
            f"training on {options.characters:,} characters of each needs about {need / 1e9:,.1f} GB of memory, and"
            f" {free / 1e9:,.1f} GB are free.",
            "give fewer --characters",
            option="characters",
        )
    files.require_space(folder, _DISK, "the model")
    print(
        f"haigo: quality: at most {options.characters:,} characters of each side, {need / 1e9:,.1f} GB of memory;"
        f" the model has {_DISK / 1e6:,.0f} MB",
        file=sys.stderr,
    )


def _drawn(side: str, paths: Sequence[Path], options: QualityOptions, broken: Broken) -> list[str]:
    """Excerpts of documents that were drawn, in an order that says nothing of where they came from."""

    def stream() -> Iterator[Document]:
        with Progress(f"quality: {side}", None, "documents") as progress:
            for document in sources.read(paths, options, broken=broken):
                progress.update()
                text = hashed.shortened(document.text, options.excerpt)
                if text.strip():
                    yield Document(document.id, text)

    texts = [document.text for document in documents.draw(stream(), options.characters, options.seed)]
    if len(texts) < _LEAST:
        raise HaigoError(
            f"there are only {len(texts)} documents of {side} text.",
            f"give at least {_LEAST}, better thousands, and --characters enough for them",
            option=side,
        )
    return texts


def _fitted(drawn: dict[str, list[str]]) -> tuple[float, quality_model.Floats, dict[str, float]]:
    """Bias, weights, and how well a fifth was told apart by the other four."""
    from sklearn.metrics import roc_auc_score

    with Progress("quality: training", 4, "steps") as progress, progress.beating():
        texts = [*drawn["good"], *drawn["ordinary"]]
        good = np.arange(len(texts)) < len(drawn["good"])
        place = np.concatenate([np.arange(len(each)) for each in drawn.values()])
        held_out = place % 5 == 0
        rows = quality_model.features(texts)
        progress.update()
        bias, weights = quality_model.fit(rows[~held_out], good[~held_out])
        progress.update()
        odds = rows[held_out] @ weights + bias
        apart = {
            "documents": int(held_out.sum()),
            "auc": round(float(roc_auc_score(good[held_out], odds)), 4),
            "accuracy": round(float(((odds > 0) == good[held_out]).mean()), 4),
        }
        bias, weights = quality_model.fit(rows, good)
        progress.update(2)
    return bias, weights, apart


def _finished(folder: Path, recipe: str) -> dict[str, Any] | None:
    """quality.json, where the model is there as it was made of just this."""
    if not (folder / quality_model.NAME).is_file():
        return None
    try:
        quality_model.read(folder)
        done = dict(files.read_json(folder / quality_model.NAME))
    except HaigoError as error:
        print(f"haigo: {error.problem.removesuffix('.')}: the model is trained again.", file=sys.stderr)
        return None
    return done if done.get("recipe") == recipe else None


def table(report: dict[str, Any]) -> str:
    """quality.json as a few lines to read."""
    apart = report["told_apart"]
    lines = [
        f"{side}: {report[side]['documents']:,} documents, {report[side]['characters']:,} characters"
        for side in ("good", "ordinary")
    ]
    told = f"of {apart['documents']:,} documents that were held out {apart['accuracy']:.1%} told right, AUC {apart['auc']:.4f}"
    return "\n".join([*lines, told])


def main(argv: Sequence[str] | None = None) -> int:
    cli.keeps_nothing()
    options = flags.parse("preprocess.quality", __doc__, QualityCommand, argv)
    cli.show(train(options.good, options.ordinary, options.output_dir, options), table, options.json)
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
