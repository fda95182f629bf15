"""Megabytes a CPU-second of cleaning: Haigo's Japanese profiles and a HojiChar chain, on the same jsonl in one run.

    python benchmarks/clean_speed.py [--corpora FOLDER] [--megabytes 8] [--repeats 3]

Input is raw jsonl of real Japanese (HAIGO_CORPORA, or `../shared/corpora` beside the clone; made-up text where there is
none), read and parsed by each side and written as jsonl lines into memory. Haigo: `auto`, what cleaning does by default;
`web`, every rule for pages; and `web` with mail and phone masked. HojiChar: the chain of six that is usual for Japanese
pages (JSON loader, Japanese test, kuten test, adult words, ads, header and footer, repetition, personal information),
and the same without the list of adult words. What each keeps is printed: the rules are not the same, and need not be.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import orjson

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HAIGO_QUIET"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

SOURCES = ("news/wikinews-ja.jsonl.gz", "wiki_ja/kyoto.jsonl.zst", "diet/speech_pages")
Result = tuple[int, int]  # documents and bytes of text kept


def write_input(file: Path, corpora: Path, megabytes: float) -> int:
    """The raw jsonl; returns its documents."""
    from preprocess import sources

    count = 0
    with open(file, "wb") as handle:
        for source in SOURCES if corpora.is_dir() else ():
            until = handle.tell() + megabytes * 1e6 / len(SOURCES)
            for document in sources.read([corpora / source]):
                handle.write(orjson.dumps({"id": document.id, "text": document.text}) + b"\n")
                count += 1
                if handle.tell() > until:
                    break
        rng = random.Random(1)
        letters = [chr(code) for code in (*range(0x3042, 0x3093), *range(0x4E00, 0x5000))] + [
            "。",
            "、",
            "の",
            "は",
        ] * 20
        while not corpora.is_dir() and handle.tell() < megabytes * 1e6:
            text = "\n".join("".join(rng.choices(letters, k=rng.randint(20, 200))) for _ in range(8))
            handle.write(orjson.dumps({"id": str(count), "text": text}) + b"\n")
            count += 1
    return count


def haigo(profile: str, pii: tuple[str, ...] = ()) -> Callable[[Path], Result]:
    """One process of `preprocess.clean`, without its files."""
    from preprocess import cleaner, sources

    recipe = cleaner.Recipe(profile, pii=pii)

    def work(file: Path) -> Result:
        documents = size = 0
        seen = set()
        for lot in cleaner.lots(sources.read([file])):
            for kept in cleaner.clean_lot(recipe, lot).kept:
                if kept.key not in seen:
                    seen.add(kept.key)
                    documents, size = documents + 1, size + kept.line.bytes
        return documents, size

    return work


def hojichar(adult_words: bool) -> Callable[[Path], Result]:
    """HojiChar's own composition of filters."""
    from hojichar import Compose
    from hojichar.filters import document_filters as filters

    chain = [
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


def main() -> int:
    """Print a line for each contender, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    beside = Path(__file__).resolve().parents[2] / "shared" / "corpora"
    parser.add_argument("--corpora", type=Path, default=Path(os.environ.get("HAIGO_CORPORA") or beside))
    parser.add_argument("--megabytes", type=float, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
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
        count = write_input(file, given.corpora, given.megabytes)
        size = file.stat().st_size / 1e6
        real = "real" if given.corpora.is_dir() else "made-up"
        print(f"{count:,} {real} documents, {size:.1f} MB; median of {given.repeats}; load {os.getloadavg()[0]:.1f}")
        spent: dict[str, list[float]] = {name: [] for name in contenders}
        kept: dict[str, Result] = {}
        for _ in range(given.repeats):  # in turn, so that a busy machine is busy for all
            for name, work in contenders.items():
                with contextlib.redirect_stderr(io.StringIO()):
                    start = time.process_time()
                    kept[name] = work(file)
                    spent[name].append(time.process_time() - start)
    speed = {name: size / statistics.median(times) for name, times in spent.items()}
    for name, rate in speed.items():
        documents, text = kept[name]
        print(f"{name:26} {rate:7.1f} MB/CPU-s   {documents:,} documents, {text / 1e6:.1f} MB of text kept")
    for peer in ("hojichar", "hojichar, no adult words"):
        if peer in speed:
            print(
                f"against {peer}: "
                + ", ".join(f"{name} {speed[name] / speed[peer]:.1f}x" for name in list(contenders)[:3])
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
