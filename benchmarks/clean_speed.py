"""Megabytes a CPU-second of cleaning: Haigo's Japanese profiles and a HojiChar chain, on the same jsonl in one run.

    python benchmarks/clean_speed.py [--corpora FOLDER] [--megabytes 8] [--repeats 3]

Input is raw jsonl of real Japanese (HAIGO_CORPORA, or `../shared/corpora` beside the clone; made-up text where there is
none), read and parsed by each side and written as jsonl lines into memory. Haigo: `auto`, what cleaning does by default;
`web`, every rule for pages; and `web` with mail and phone masked. HojiChar: the chain of six that is usual for Japanese
pages (JSON loader, Japanese test, kuten test, adult words, ads, header and footer, repetition, personal information),
and the same without the list of adult words. What each keeps is printed: the rules are not the same, and need not be.
"""

from __future__ import annotations

import contextlib
import io
import os
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import orjson
from _measure import in_turn, load, parser
from _texts import JAPANESE, add_corpora, texts, write_jsonl

os.environ["HAIGO_QUIET"] = "1"
Result = tuple[int, int]  # documents and bytes of text kept


def haigo(profile: str, pii: tuple[str, ...] = ()) -> Callable[[Path], Result]:
    """One process of `preprocess.clean`, without its files."""
    from preprocess import cleaner, sources
    from preprocess.options import CleanOptions

    options = CleanOptions(profile=profile, pii=list(pii))

    def work(file: Path) -> Result:
        documents = size = 0
        seen = set()
        for lot in cleaner.lots(sources.read([file])):
            for kept in cleaner.clean_lot(options, lot).kept:
                if kept.key not in seen:
                    seen.add(kept.key)
                    documents, size = documents + 1, size + kept.line.bytes
        return documents, size

    return work


def hojichar(adult_words: bool) -> Callable[[Path], Result]:
    """HojiChar's own composition of filters."""
    from hojichar import Compose

    chain = hojichar_chain(adult_words)

    def work(file: Path) -> Result:
        composed = Compose(chain)
        documents = size = 0
        with open(file, encoding="utf-8") as handle:
            for line in handle:
                made = composed(line)
                if made:
                    documents, size = documents + 1, size + len(orjson.loads(made)["text"].encode())
        return documents, size

    return work


def hojichar_chain(adult_words: bool) -> list[Any]:
    """The filters, from the reader of JSON lines to the writer."""
    from hojichar.filters import document_filters as filters

    return [
        filters.JSONLoader(),
        filters.AcceptJapanese(),
        filters.DiscardRareKuten(),
        *([filters.DiscardAdultContentJa()] if adult_words else []),
        filters.DiscardAds(),
        filters.HeaderFooterTagsRemover(),
        filters.CharRepetitionRatioFilter(),
        filters.MaskPersonalInformation(),
        filters.JSONDumper(),
    ]


def main() -> int:
    """Print a line for each contender, and the ratios."""
    words = parser(__doc__)
    add_corpora(words)
    words.add_argument("--megabytes", type=float, default=8)
    words.add_argument("--repeats", type=int, default=3)
    given = words.parse_args()
    contenders = {
        "haigo auto": haigo("auto"),
        "haigo web": haigo("web"),
        "haigo web + pii": haigo("web", ("mail", "phone")),
    }
    try:
        contenders |= {"hojichar": hojichar(True), "hojichar, no adult words": hojichar(False)}
    except ImportError:
        print("HojiChar is not installed (pip install -c constraints.txt hojichar): Haigo's figures alone")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "raw.jsonl"
        kind, documents = texts(given.corpora, JAPANESE, given.megabytes, Random(1))
        count = write_jsonl(file, documents)
        size = file.stat().st_size / 1e6
        print(f"{count:,} {kind} documents, {size:.1f} MB; median of {given.repeats}; {load()}")
        with contextlib.redirect_stderr(io.StringIO()):
            spent, kept = in_turn({name: partial(work, file) for name, work in contenders.items()}, given.repeats)
    speed = {name: size / statistics.median(times) for name, times in spent.items()}
    for name, rate in speed.items():
        number, text = kept[name]
        print(f"{name:26} {rate:7.1f} MB/CPU-s   {number:,} documents, {text / 1e6:.1f} MB of text kept")
    for peer in ("hojichar", "hojichar, no adult words"):
        if peer in speed:
            ratios = (f"{name} {speed[name] / speed[peer]:.1f}x" for name in list(contenders)[:3])
            print(f"against {peer}: {', '.join(ratios)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
