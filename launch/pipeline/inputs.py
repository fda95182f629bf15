"""What a run file points at: variables in its paths, and the raw files behind its patterns."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from haigo import files, options
from haigo.cli import HaigoError
from launch.pipeline.corpus import Corpus
from launch.pipeline.runfile import RunFile

_NOTHING = hashlib.sha256(b"").hexdigest()


def expand(text: str, places: Mapping[str, str], name: str) -> str:
    """Replace `{place}` by `places` and `${NAME}` by the environment.

    Raises:
        HaigoError: the environment variable is not set.
    """
    for place, value in places.items():
        text = text.replace("{" + place + "}", value)

    def variable(match: re.Match[str]) -> str:
        value = os.environ.get(match.group(1))
        if value is None:
            raise HaigoError(
                f"{name} uses ${{{match.group(1)}}}, which is not set.",
                f"run it as {match.group(1)}=FOLDER python -m launch.pipeline {name}",
            )
        return value

    return re.sub(r"\$\{(\w+)\}", variable, text)


def filled(run: RunFile, places: Mapping[str, str], name: str) -> RunFile:
    """The run file with its variables filled in, wherever it names a path or a command that the run uses.

    Raises:
        HaigoError: as `expand`.
    """

    def at(text: str) -> str:
        return expand(text, places, name)

    scores, given = run.scores, run.tokenizer.path
    folder = at(scores.data_dir) if scores.data_dir and scores.tasks else None
    return run.replaced(
        prepare=list(map(at, run.prepare)),
        corpora={
            each: corpus.replaced(
                files=list(map(at, corpus.files)),
                partition=corpus.partition.replaced(good=list(map(at, corpus.partition.good))),
            )
            for each, corpus in run.corpora.items()
        },
        pairs={each: at(path) for each, path in run.pairs.items()},
        test_pairs={each: at(path) for each, path in run.test_pairs.items()},
        decontaminate=run.decontaminate.replaced(against=list(map(at, run.decontaminate.against))),
        tokenizer=run.tokenizer.replaced(
            path=at(given) if given else None, compare=list(map(at, run.tokenizer.compare))
        ),
        scores=scores.replaced(data_dir=folder),
    )


def find_files(patterns: Sequence[str], corpus: str, base: Path, key: str = "") -> list[Path]:
    """The files that a corpus (or another `key` of the run file) names, in a stable order; relative ones: from the working
    folder, then `base`.

    Raises:
        HaigoError: a pattern that matches nothing.
    """
    paths: list[Path] = []
    for pattern in patterns:
        roots = [Path()] if Path(pattern).is_absolute() else [Path.cwd(), base]
        matches: list[Path] = []
        for root in roots:
            whole = root / pattern
            anchor = Path(whole.anchor or ".")
            matches = sorted(anchor.glob(str(whole.relative_to(anchor)))) if _is_pattern(pattern) else [whole]
            matches = [each for each in matches if each.exists()]
            if matches:
                break
        if not matches:
            named = f"'{key}'" if key else f"corpus '{corpus}'"
            raise HaigoError(f"{named}: {pattern} does not exist.", f"check the path under `{key or 'files'}:`")
        paths += matches
    return paths


def read_twice(paths: Mapping[str, Sequence[Path]], digests: Mapping[str, Sequence[Sequence[str]]]) -> list[str]:
    """Sentences on raw files that are read more than once: by patterns that overlap, through links, or as copies.

    Args:
        paths: corpus -> its files, as `find_files` gave them.
        digests: corpus -> what `Digests.of` gave for them.
    """
    sentences = []
    for corpus, listed in paths.items():
        real = [each.resolve() for each in listed]
        twice = [each.name for number, each in enumerate(real) if each in real[:number]]
        if twice:
            sentences.append(f"the corpus '{corpus}' reads {_few(twice)} twice")
    holders: dict[str, list[str]] = {}
    shared: dict[tuple[str, str], list[str]] = {}
    for corpus, listed_digests in digests.items():
        for name, digest in listed_digests:
            before = holders.setdefault(digest, [])
            if digest != _NOTHING:
                for other in dict.fromkeys(before):
                    if other != corpus:
                        shared.setdefault((other, corpus), []).append(name)
            before.append(corpus)
    for (one, other), names in shared.items():
        sentences.append(f"the corpora '{one}' and '{other}' both read {_few(names)}: the same bytes")
    return sentences


def _few(names: Sequence[str]) -> str:
    unique = list(dict.fromkeys(names))
    return ", ".join(unique[:3]) + (f" and {len(unique) - 3} more" if len(unique) > 3 else "")


def _is_pattern(text: str) -> bool:
    return any(mark in text for mark in "*?[")


_FIRST_EDITION = {
    "Dedup": "method priority threshold shingle bands rows",
    "Decontaminate": "against remove long short keys",
    "Tokenizer": "path vocab_size chars_per_corpus model_type",
    "Objective": "metrics ceilings",
    "Search": "method bootstrap max_epochs target_tokens groups kl force",
    "Train": "model tokens seq_length compare evaluations eval_tokens test_tokens",
    "Scores": "tasks num_fewshot limit data_dir fewshot_pool data_version",
    "Configs": "models cluster nodes tokens",
    "Partition": "",
}


def stated(section: Any) -> dict[str, Any]:
    """A section of the run file as an input of a stage: what the first edition knew, and later keys where they are set. A new
    key that a run file does not use must not make a finished stage another one."""
    known = _FIRST_EDITION[type(section).__name__].split()
    fields = dataclasses.fields(section)
    return {
        each.name: value
        for each, value in zip(fields, dataclasses.astuple(section), strict=True)
        if each.name in known or value != options.usual(each)
    }


def cleaning(run: RunFile, corpus: Corpus) -> dict[str, Any]:
    """What a corpus is cleaned with, as an input of its stage; later keys only where they are set, as in `stated`."""
    first = ("format", "profile", "text_key", "min_chars", "max_chars")
    always = {key: getattr(corpus, key) for key in first} | {"split": run.split, "seed": run.data_seed}
    later: dict[str, Any] = {"markup": corpus.markup, "txt_documents": corpus.txt_documents}
    later |= {"skip_broken": corpus.skip_broken, "unfinished": corpus.unfinished}
    later["normalise"] = None if corpus.normalise is None else ",".join(corpus.normalise)
    return always | {key: value for key, value in later.items() if value not in (None, "auto", 0, False)}


# -- models, as far as a stage depends on them before it is run ---------------------------------------------------------


def _model(name: str) -> dict[str, Any]:
    from neox_configs import reader, shipped

    return reader.load(shipped.find_model(name))


def model(name: str) -> list[str]:
    """What a model's YAML says: a stage depends on that, not on the file's name."""
    return [name, files.digest(_model(name))]


def seq_length(name: str, given: int | None = None) -> int:
    """Tokens of a sample: `given`, or the model's own."""
    return given or int(_model(name).get("seq_length", 2048))


def step(name: str, length: int | None) -> int:
    """Tokens of one step on this machine; where another length is asked for, the batch stays as large as it can."""
    own, batch = seq_length(name), int(_model(name).get("train_batch_size") or 1)
    wanted = length or own
    return max(1, round(batch * own / wanted)) * wanted
