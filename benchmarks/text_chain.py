"""MB of raw UTF-8 jsonl a CPU second through the whole text chain: clean, dedup, index to .bin and .idx.

    OMP_NUM_THREADS=1 HAIGO_CORPORA=DIR python benchmarks/text_chain.py [--sizes 10 100] [--large] [--repeats 3]
           [--profile auto] [--model SPM_MODEL] [--workers 1] [--seed 1] [--peers] [--json]

Raw text is the Japanese of HAIGO_CORPORA (Wikipedia, news, minutes, literature) as jsonl, or the sample world's where there
is none. Where more is asked for than there is, the sentences of each source are dealt out anew, by the seed, to documents
of the same lengths: the text reads like before, and no two documents are alike, so dedup has to keep them. The steps are
the commands as users call them; every rate is the raw jsonl's size by the step's CPU seconds, children counted, medians of
the repeats. --large adds 1000 MB, once. Growth is how much more time a size takes than the first, by how much larger it is:
1.00 is linear, and start-up makes it less. --peers adds, in the same turns, the floors (tokenise and index the raw jsonl,
and nothing else; ids as lists, as arrays) and HojiChar, datasketch and GPT-NeoX in series (`_chain_peers.py`).
"""

from __future__ import annotations

import argparse
import random
import re
import statistics
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import _chain_peers
from _measure import command, load, parser, show
from _texts import add_corpora, tokenizer, up_to, write_jsonl
from index_speed import FLOORS

GOAL = 3.0
REAL = (
    "wiki_ja/kyoto.jsonl.zst",
    "news/wikinews-ja.jsonl.gz",
    "diet/minutes-2025.jsonl.gz",
    "literature/aozora-sjis.tar.xz",
)
WORLD = ("encyclopedia/pages-articles.xml.bz2", "news/news.jsonl.gz", "minutes", "stories/aozora-sjis.tar.xz")
_SENTENCE = re.compile(r"[^。\n]*[。\n]?")
_RUN = r"""
import os, sys
from importlib import import_module
from haigo import cli
code = cli.run(import_module(sys.argv[1]).main, sys.argv[2:])
with open("/proc/self/status") as status, open(os.environ["TEXT_CHAIN_PEAK"], "w") as handle:
    handle.write(next(line.split()[1] for line in status if line.startswith("VmHWM")))
raise SystemExit(code)
"""


def sources_of(corpora: Path, scratch: Path) -> tuple[str, list[list[str]]]:
    """What the text is, and the texts of each source."""
    from preprocess import sources as raw

    if all((corpora / each).exists() for each in REAL):
        kind, paths = "real", [corpora / each for each in REAL]
    else:
        world = scratch / "world"
        command([sys.executable, "-m", "examples.world", "--output-dir", world, "--seed", "7"])
        kind, paths = "the sample world's", [world / each for each in WORLD]
    return kind, [[document.text for document in raw.read([path])] for path in paths]


def dealt(texts: list[str], rng: random.Random) -> list[str]:
    """Documents with as many sentences as before, of sentences drawn without replacement from all of the source."""
    parts = [[part for part in _SENTENCE.findall(text) if part] for text in texts]
    pile = [part for own in parts for part in own]
    rng.shuffle(pile)
    rest = iter(pile)
    return ["".join(islice(rest, len(own))) for own in parts]


def stream(found: list[list[str]], seed: int) -> Iterator[str]:
    """Documents without end: the sources in turn, first as they are, then dealt out anew in every round."""
    number = 0
    while True:
        rng = random.Random(f"{seed} {number}")
        lots = found if number == 0 else [dealt(texts, rng) for texts in found]
        order = [(lot, at) for lot, texts in enumerate(lots) for at in range(len(texts))]
        rng.shuffle(order)
        yield from (lots[lot][at] for lot, at in order)
        number += 1


def timed(module: str, words: list[object], scratch: Path) -> tuple[float, float, float]:
    """CPU seconds of a command and all its children, wall seconds, and the most memory of its first process in MB."""
    peak = scratch / "peak"
    spent, wall, _ = command([sys.executable, "-c", _RUN, module, *words], environment={"TEXT_CHAIN_PEAK": str(peak)})
    return spent, wall, int(peak.read_text()) / 1024


def chain(raw: Path, model: Path, given: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """One way through the chain: step -> CPU seconds, wall seconds, peak MB; and what became of the documents."""
    from haigo import files

    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        out = Path(folder)
        calls: dict[str, list[object]] = {
            "clean": [raw, "--corpus", "c", "--profile", given.profile, "--output-dir", out / "clean"],
            "dedup": [out / "clean", "--output-dir", out / "dedup"],
            "index": [out / "dedup" / "c" / "train", "--tokenizer", model, "--output-prefix", out / "data"],
        }
        steps = {
            step: timed(f"preprocess.{step}", [*words, "--workers", given.workers], scratch)
            for step, words in calls.items()
        }
        peers = _chain_peers.seconds(raw, model, out) if given.peers else {}
        names = ("clean/clean.json", "dedup/dedup.json", "data_text_document.json")
        cleaned, report, manifest = (files.read_json(out / name) for name in names)
    about = {
        "documents": cleaned["documents_in"],
        "cleaned": cleaned["documents_out"],
        "deduplicated": report["documents_out"],
        "tokens": manifest["tokens"],
        "bin_sha256": manifest["bin_sha256"],
    }
    return {"steps": steps, "about": about, "peers": peers}


def measure(given: argparse.Namespace) -> tuple[str, dict[float, dict[str, Any]]]:
    """What the text is, and a row a size; the sizes take turns within every repeat, 1000 MB once."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        kind, found = sources_of(given.corpora, scratch)
        some = [text for texts in found for text in texts[::10]]
        random.Random(given.seed).shuffle(some)
        model = tokenizer(given.model, scratch / "spm.model", some, 8000)
        true: dict[float, float] = {}
        runs: dict[float, list[dict[str, Any]]] = {}
        for repeat in range(given.repeats):
            for size in [*given.sizes, *([1000.0] if given.large else [])]:
                if size >= 1000 and repeat:
                    continue
                raw = scratch / f"{size:g}.jsonl"
                if not raw.exists():
                    write_jsonl(raw, up_to(stream(found, given.seed), size))
                    true[size] = raw.stat().st_size / 1e6
                runs.setdefault(size, []).append(chain(raw, model, given, scratch))
                if size >= 1000:
                    raw.unlink()
    rows = {size: row(done, true[size]) for size, done in runs.items()}
    first = rows[given.sizes[0]]
    for one in rows.values():
        larger = one["megabytes"] / first["megabytes"]
        one["growth"] = {step: round(cpu / first["cpu_s"][step] / larger, 2) for step, cpu in one["cpu_s"].items()}
    return kind, rows


def row(runs: list[dict[str, Any]], megabytes: float) -> dict[str, Any]:
    """The medians of the runs over one text."""
    about, steps = runs[0]["about"], list(runs[0]["steps"])
    if any(one["about"] != about for one in runs):
        raise SystemExit("two runs over the same text gave other bytes")
    cpu = {step: statistics.median(one["steps"][step][0] for one in runs) for step in steps}
    cpu["whole"], wall = (
        statistics.median(sum(step[which] for step in one["steps"].values()) for one in runs) for which in (0, 1)
    )
    peers = {name: statistics.median(one["peers"][name] for one in runs) for name in runs[0]["peers"]}
    series = [name for name in peers if name not in FLOORS]
    if series:
        peers["in series"] = statistics.median(sum(one["peers"][name] for name in series) for one in runs)
    return {
        "megabytes": round(megabytes, 2),
        "runs": len(runs),
        "cpu_s": {step: round(spent, 2) for step, spent in cpu.items()},
        "mb_per_cpu_s": {step: round(megabytes / spent, 2) for step, spent in cpu.items()},
        "wall_s": round(wall, 1),
        "peers_cpu_s": {name: round(spent, 2) for name, spent in peers.items()},
        "times_as_fast_as": {name: round(spent / cpu["whole"], 2) for name, spent in peers.items()},
        "peak_mb": {step: round(max(one["steps"][step][2] for one in runs)) for step in steps},
        **about,
    }


def main() -> int:
    words = parser(__doc__)
    add_corpora(words)
    words.add_argument("--sizes", type=float, nargs="+", default=[10, 100], metavar="MB")
    words.add_argument("--large", action="store_true", help="1000 MB too, once (about 6 minutes and 3 GB of disk)")
    words.add_argument("--repeats", type=int, default=3)
    words.add_argument("--profile", default="auto", help="of preprocess.clean")
    words.add_argument("--model", type=Path, help="SentencePiece model (default: 8,000 pieces, trained here)")
    words.add_argument("--workers", type=int, default=1)
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--peers", action="store_true", help="the floor, and three tools in series, beside it")
    words.add_argument("--json", action="store_true")
    given = words.parse_args()
    kind, rows = measure(given)
    if given.json:
        about = {"text": kind, "profile": given.profile, "workers": given.workers, "machine": load()}
        show({**about, "sizes": {f"{size:g}": one for size, one in rows.items()}}, True)
        return 0
    for one in rows.values():
        print(
            f"{one['megabytes']:.1f} MB, {one['documents']:,} documents -> {one['cleaned']:,} cleaned ->"
            f" {one['deduplicated']:,} deduplicated; {one['tokens']:,} training tokens; runs: {one['runs']}"
        )
        for step in one["cpu_s"]:
            peak = f"  peak {one['peak_mb'][step]:,} MB" if step in one["peak_mb"] else ""
            print(
                f"  {step:6} {one['cpu_s'][step]:8.2f} CPU-s {one['mb_per_cpu_s'][step]:7.2f} MB/CPU-s"
                f"  growth {one['growth'][step]:.2f}{peak}"
            )
        for name, spent in one["peers_cpu_s"].items():
            print(
                f"  {name:10} {spent:8.2f} CPU-s; the whole chain is {one['times_as_fast_as'][name]:.2f} times as fast"
            )
    reached = list(rows.values())[-1]["mb_per_cpu_s"]["whole"] >= GOAL
    print(
        f"{kind} text, profile {given.profile}, {given.workers} worker(s); goal {GOAL:g} MB/CPU-s for the whole at the"
        f" last size: {'reached' if reached else 'NOT reached'}; {load()}"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
