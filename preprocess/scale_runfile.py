"""The run file of `preprocess.scale`: read, checked in its own words, and made into what the steps are told."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from haigo import naming, yamlfile
from haigo.cli import HaigoError
from haigo.formats import documents
from haigo.options import build

from . import cleaner, evaluation_items, rewrite, scale_keys, split
from .dedup_plan import Job
from .options import CleanOptions, ScaleDecontaminate, ScaleDedup, ScaleResplit, ScaleRun
from .score_options import ScoreOptions
from .scores import Scorer

_GUIDE = "see docs/guide-scale.md"


def read(path: str | os.PathLike[str]) -> ScaleRun:
    """A run file.

    Raises:
        HaigoError: a missing or unknown key, or a wrong kind of value; names the file and the key.
    """
    content, name = yamlfile.read(path), str(path)
    if not isinstance(content, dict):
        raise HaigoError(f"{name} is not a run file: it holds no keys.", "docs/guide-scale.md shows one")
    run: ScaleRun = build(ScaleRun, content, name, "", _GUIDE)
    with _spelled("clean"):
        cleaner.check(build(CleanOptions, run.clean, name, "clean", _GUIDE))
    naming.check(run.corpus, "corpus", name)
    if run.dedup is not None:
        dedup_job(run, name)
    if run.decontaminate is not None:
        with _spelled("decontaminate"):
            evaluation_items.find(decontamination(run, name).against)
    if run.score is not None:
        with _spelled("score"):
            Scorer(scoring(run, name))  # what is missing is named before the work
    if run.resplit is not None:
        with _spelled("resplit"):
            dealing(run, name)
    return run


@contextlib.contextmanager
def _spelled(part: str) -> Iterator[None]:
    """What is refused within it is said in the words of the run file."""
    try:
        yield
    except HaigoError as error:
        raise error.spelled(partial(scale_keys.key_of, part)) from error


def dealing(run: ScaleRun, name: str = "the run file") -> tuple[tuple[float, float, float], int]:
    """Shares and seed of the splits that are dealt out anew.

    Args:
        name: of the run file, for messages.

    Raises:
        HaigoError: shares that are none, or texts of evaluation sets that would change their split.
    """
    asked: ScaleResplit = build(ScaleResplit, run.resplit, name, "resplit", _GUIDE)
    cleaned = CleanOptions(**run.clean)
    if (run.decontaminate or {}).get("remove") == "none":
        raise HaigoError(
            f"{name}: 'decontaminate.remove' leaves evaluation texts in, and 'resplit' may put them into training documents"
            " that contaminated.jsonl does not speak of.",
            "leave one of the two out",
        )
    shares = cleaned.split_shares if asked.split_shares is None else asked.split_shares
    return split.fractions(shares), cleaned.seed if asked.seed is None else asked.seed


def dedup_job(run: ScaleRun, name: str = "the run file") -> Job:
    """The deduplication of a run.

    Args:
        name: of the run file, for messages.

    Raises:
        HaigoError: a key of `dedup` that is none, or corpora of which it is not said which is wanted most.
    """
    asked = build(ScaleDedup, run.dedup, name, "dedup", _GUIDE)
    output = Path(run.output)
    places = {run.corpus: output / "clean"}
    for corpus, folder in asked.beside.items():
        naming.check(corpus, "dedup.beside", name)
        if corpus == run.corpus:
            raise HaigoError(f"{name}: 'dedup.beside' names '{corpus}', which is the corpus itself.", "leave it out")
        whole = (Path(folder) / documents.REPORT).is_file()
        places[corpus] = Path(folder) if whole else Path(folder) / "clean"
    if asked.beside and set(asked.priority) != set(places):
        raise HaigoError(
            f"{name}: 'dedup.priority' does not name every corpus.",
            f"order {', '.join(places)}, the most wanted first, and alike in the run files of all",
            option="priority",
        )
    rows = [
        (corpus, str(place), str(output / "dedup") if corpus == run.corpus else None)
        for corpus, place in rewrite.ordered(places, asked.priority).items()
    ]
    return Job(tuple(rows), run.output, str(output / "dedup-work"), asked, run.tasks, str(output / "dedup.json"))


def require_beside(run: ScaleRun) -> None:
    """Ask, before the work, whether the corpora beside are there.

    Raises:
        HaigoError: one is not cleaned.
    """
    job = dedup_job(run)
    for row in job.corpora:
        if row[0] != run.corpus:
            try:
                dataclasses.replace(job, corpora=(row,)).parts()
            except HaigoError as error:
                raise HaigoError(
                    f"'dedup.beside' names the corpus '{row[0]}': {error.problem}",
                    "clean it first (`--only clean` with the run file of its own), or correct the folder",
                ) from None


def decontamination(run: ScaleRun, name: str = "the run file") -> ScaleDecontaminate:
    """The options of a run's decontamination."""
    asked: ScaleDecontaminate = build(ScaleDecontaminate, run.decontaminate, name, "decontaminate", _GUIDE)
    return asked


def scoring(run: ScaleRun, name: str = "the run file") -> ScoreOptions:
    """The options of a run's scores."""
    asked: ScoreOptions = build(ScoreOptions, run.score, name, "score", _GUIDE)
    return asked


def evaluation_files(run: ScaleRun) -> list[Path]:
    """The evaluation files that are looked for; none where nobody asks."""
    return evaluation_items.find(run.decontaminate["against"]) if run.decontaminate is not None else []


def others(run: ScaleRun) -> list[Path]:
    """What steps read beside documents: evaluation files, and folders of models."""
    models = [(run.score or {}).get(each) for each in ("quality", "perplexity")]
    return [*evaluation_files(run), *(Path(each) for each in models if each)]
