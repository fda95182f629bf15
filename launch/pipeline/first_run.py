"""A run file for the user's own files: `launch.pipeline --init` looks into them, so that a first run comes to an end.

What is looked for is what a first run would stumble over: a text file that is one document as it stands, and less text
than the defaults ask for. Both go into the run file as keys that say so.
"""

from __future__ import annotations

import glob
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from haigo import cli, files, naming
from haigo.cli import HaigoError
from launch.pipeline import keys, reference, runfile

FEW_BYTES = 100_000_000
"""Files that hold less, as they lie on the disk, are little text: 50,000 pieces would be learnt from nothing."""
FEW_DOCUMENTS, SPLIT = 1000, [0.8, 0.1, 0.1]
"""With fewer documents in a corpus 3 % of them are too few to measure a loss on, and larger shares are held out."""
FEWEST = 50
"""With fewer a tenth of them may well be none."""
_CONFIG_BYTES = 1_000_000
"""Of the largest corpus: from this on a tenth of it surely holds two samples of the 2,048 tokens of a real training."""
_MOST_CHARS = 30_000_000
"""Of a corpus are read: by then it has enough of everything."""
_LEAST_CHARS, _KEPT = 40, 0.98
"""A way to part a text is taken where so much of it is in documents that the rules of cleaning let stand."""
_PROSE = {".txt", ".md", ".rst"}
_WAYS = {
    "paragraphs": "every blank line parts documents",
    "lines": "every line is one",
    "pieces": "cut into pieces of some 500 characters",
}
"""In the order in which they are tried."""
_SMALL = (
    "There is little text: vocabulary, proxies and models are sized for a first answer in some ten minutes on two cores.",
    "The defaults, which stand behind them, are for more.",
)


@dataclass
class Found:
    """What the files of one corpus hold, as far as they were read.

    Attributes:
        size: bytes of the text. kept: characters in documents that the rules of cleaning let stand. sentences: documents
            that end as a sentence does.
        keys: of the corpus in the run file, that part its text; why: in words. problem: what will not do, and the fix.
    """

    documents: int = 0
    characters: int = 0
    size: int = 0
    kept: int = 0
    sentences: int = 0
    keys: dict[str, Any] = field(default_factory=dict)
    why: str = ""
    problem: str = ""


def init(path: Path, given: Sequence[str]) -> int:
    """Write a run file for the corpora given as NAME=FILE or as files, whose names then name the corpora."""
    if path.exists():
        raise HaigoError(f"{path} exists already.", "choose another name, or delete it first")
    corpora: dict[str, list[str]] = {}
    for word in given or ["news=corpora/news/*.jsonl.gz", "wiki=corpora/jawiki-pages-articles.xml.bz2"]:
        name, equals, file = word.partition("=")
        if not equals:
            file = word
            name = re.sub(r"[^A-Za-z0-9_-]+", "_", Path(word).name.split(".")[0]).strip("_-")
            name = name if re.match("[A-Za-z]", name) else f"corpus{len(corpora) + 1}"
        if given and not any(mark in file for mark in "*?[$") and not os.path.exists(file):
            raise HaigoError(f"{file} does not exist.", "check the path")
        runfile.check_corpus(name, word)
        corpora.setdefault(name, []).append(file)
    naming.check_all(corpora, "corpus", "--init")
    found, little = {}, False
    if given:
        there = {name: _there(listed) for name, listed in corpora.items()}
        little = sum(path.stat().st_size for each in there.values() for path, _ in each) < FEW_BYTES
        found = {name: look(name, corpora[name]) for name, each in there.items() if each} if little else {}
    said = {name: {"files": listed, **(found[name].keys if name in found else {})} for name, listed in corpora.items()}
    text = reference.template(said, _SMALL, sizes(found)) if little else reference.template(said)
    files.write_text(path, text)
    for name, each in found.items():
        named = "" if name in " ".join(corpora[name]) else f" ({', '.join(corpora[name])})"
        if each.documents:
            print(
                f"  {name}{named}: {each.documents:,} documents, {each.characters:,} characters{each.why}", flush=True
            )
        if each.problem:
            print(f"haigo: {each.problem}", file=sys.stderr)
    amiss = any(each.problem for each in found.values())
    print(f"wrote {path}: {'mend what is said above' if amiss else 'look through it'}, then run")
    print(f"  python -m launch.pipeline {shlex.quote(str(path))}")
    return cli.OK


def _there(listed: Sequence[str]) -> list[tuple[Path, str]]:
    """The files that are there now, none where some are still to come."""
    from preprocess import sources

    there = all(os.path.exists(each) or glob.glob(each, recursive=True) for each in listed)
    return sources.input_files(listed) if there else []


def look(name: str, listed: Sequence[str]) -> Found:
    """Read a corpus, and where that gives few documents find what parts its text into more."""
    try:
        found = _parted(listed)
    except HaigoError as error:
        return Found(problem=str(error.spelled(partial(keys.key_of, f"corpora/{name}"))))
    if found.documents < FEWEST:
        from preprocess.sources import txt

        found.problem = (
            f"corpus '{name}' has too little text to hold some out and measure on it (documents: {found.documents:,})."
            f"\n  fix: add text, {FEWEST} documents or {FEWEST * txt.PIECE:,} characters that line ends part"
        )
    return found


def _parted(listed: Sequence[str]) -> Found:
    whole = _read(listed, {})
    texts = [path for path, _ in _there(listed)]
    if whole.documents >= FEWEST or not whole.documents or {path.suffix.lower() for path in texts} - _PROSE:
        return whole
    said: dict[str, Any] = {} if all(path.suffix.lower() == ".txt" for path in texts) else {"format": "txt"}
    ways = _WAYS
    if _is_aozora(texts):
        said["markup"], ways = "aozora", {"pieces": _WAYS["pieces"]}
    for way, why in ways.items():
        found = _read(listed, {**said, "txt_documents": way})
        enough = found.documents >= FEWEST and found.kept >= _KEPT * found.characters
        if enough and (way != "lines" or found.sentences >= 0.8 * found.documents):
            found.why = f" ({whole.documents:,} as it stands; {why}, as txt_documents says)"
            return found
    return whole


def _read(listed: Sequence[str], said: dict[str, Any]) -> Found:
    from preprocess import sources
    from preprocess.sources import txt

    found = Found(keys=said)
    how = {key: value for key, value in said.items() if key != "markup"}
    for document in sources.read(listed, **how):
        length = len(document.text)
        found.documents += 1
        found.characters += length
        found.size += len(document.text.encode(errors="replace"))
        found.kept += length if length >= _LEAST_CHARS else 0
        found.sentences += txt.ends_sentence(document.text)
        if found.characters >= _MOST_CHARS:
            break
    return found


def _is_aozora(paths: Sequence[Path]) -> bool:
    from haigo.formats.documents.containers import entries
    from preprocess.rules import aozora
    from preprocess.sources.encodings import glimpse

    return any(aozora.looks_like(glimpse(entry.head)) for path in paths for entry in entries(path))


def sizes(found: Mapping[str, Found]) -> dict[str, dict[str, Any]]:
    """Section -> key -> value for little text: a first answer in some ten minutes on two cores, as examples/mini.yml has it,
    and for very little what its tokens allow.

    Args:
        found: what was read; where a corpus has nothing yet, there is nothing to measure by.
    """
    first: dict[str, dict[str, Any]] = {
        "tokenizer": {"vocab_size": 8000, "chars_per_corpus": 1_000_000},
        "proxies": {"runs": 24, "held_out": 4, "tokens": 120_000, "eval_tokens": 6_000},
        "train": {"tokens": 800_000, "seq_length": 512, "evaluations": 5},
    }
    if not found or not all(each.documents for each in found.values()):
        return first
    if min(each.documents for each in found.values()) < FEW_DOCUMENTS:
        first[""] = {"split": SPLIT}
    # a token of such a vocabulary is 4 to 9 bytes: some two epochs, so that weights can differ under the limit of four
    room = max(20_000, sum(each.size for each in found.values()) // 4 // 10_000 * 10_000)
    first["train"]["tokens"] = min(first["train"]["tokens"], room)
    first["proxies"]["tokens"] = min(first["proxies"]["tokens"], room)
    if max(each.size for each in found.values()) < _CONFIG_BYTES:
        first["configs"] = {"models": []}
    return first
