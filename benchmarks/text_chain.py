"""MB of raw UTF-8 jsonl a CPU second through the whole text chain: clean, dedup, index to .bin and .idx.

    OMP_NUM_THREADS=1 HAIGO_CORPORA=DIR python benchmarks/text_chain.py [--sizes 10 100] [--large] [--repeats 3]
           [--profile auto] [--model SPM_MODEL] [--workers 1] [--seed 1] [--json]

Raw text is the Japanese of HAIGO_CORPORA (Wikipedia, news, minutes, literature) as jsonl, or the sample world's where there
is none. Where more is asked for than there is, the sentences of each source are dealt out anew, by the seed, to documents
of the same lengths: the text reads like before, and no two documents are alike, so dedup has to keep them. The steps are
the commands as users call them; every rate is the raw jsonl's size by the step's CPU seconds, children counted, medians of
the repeats. --large adds 1000 MB, once. Growth is how much more time a size takes than the first, by how much larger it is:
1.00 is linear, and start-up makes it less.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

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
with open("/proc/self/status") as told, open(os.environ["TEXT_CHAIN_PEAK"], "w") as handle:
    handle.write(next(line.split()[1] for line in told if line.startswith("VmHWM")))
raise SystemExit(code)
"""


def sources(corpora: Path, scratch: Path) -> tuple[str, list[list[str]]]:
    """What the text is, and the texts of each source."""
    from preprocess import sources as raw

    if all((corpora / each).exists() for each in REAL):
        kind, places = "real", [corpora / each for each in REAL]
    else:
        world = scratch / "world"
        words = [sys.executable, "-m", "examples.world", "--output-dir", str(world), "--seed", "7"]
        subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
        kind, places = "the sample world's", [world / each for each in WORLD]
    return kind, [[document.text for document in raw.read([place])] for place in places]


def dealt(texts: list[str], rng: random.Random) -> list[str]:
    """Documents with as many sentences as before, of sentences drawn without replacement from all of the source."""
    parts = [[part for part in _SENTENCE.findall(text) if part] for text in texts]
    pile = [part for own in parts for part in own]
    rng.shuffle(pile)
    made, at = [], 0
    for own in parts:
        made.append("".join(pile[at : at + len(own)]))
        at += len(own)
    return made


def stream(found: list[list[str]], seed: int) -> Iterator[str]:
    """Documents without end: the sources in turn, first as they are, then dealt out anew in every round."""
    number = 0
    while True:
        rng = random.Random(f"{seed} {number}")
        lots = found if number == 0 else [dealt(texts, rng) for texts in found]
        order = [(lot, place) for lot, texts in enumerate(lots) for place in range(len(texts))]
        rng.shuffle(order)
        yield from (lots[lot][place] for lot, place in order)
        number += 1


def write_raw(path: Path, megabytes: float, found: list[list[str]], seed: int) -> float:
    """A jsonl file of about this size; its true size in MB."""
    written = 0
    with open(path, "wb") as handle:
        for number, text in enumerate(stream(found, seed)):
            written += handle.write(json.dumps({"id": f"{number}", "text": text}, ensure_ascii=False).encode() + b"\n")
            if written >= megabytes * 1e6:
                return written / 1e6
    return written / 1e6


def timed(module: str, words: list[str], scratch: Path) -> tuple[float, float, float]:
    """CPU seconds of a command and all its children, wall seconds, and the most memory of its first process in MB."""
    peak = scratch / "peak"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HAIGO_QUIET": "1", "TEXT_CHAIN_PEAK": str(peak)}
    before, begin = os.times(), time.monotonic()
    called = [sys.executable, "-c", _RUN, module, *words]
    done = subprocess.run(called, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{module} failed:\n{done.stderr[-2000:]}")
    after, wall = os.times(), time.monotonic() - begin
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return spent, wall, int(peak.read_text()) / 1024


def chain(raw: Path, model: Path, given: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """One way through the chain: step -> CPU seconds, wall seconds, peak MB; and what became of the documents."""
    with tempfile.TemporaryDirectory(dir=scratch) as place:
        out = Path(place)
        workers = ["--workers", str(given.workers)]
        clean = [str(raw), "--corpus", "c", "--profile", given.profile, "--output-dir", str(out / "clean"), *workers]
        steps = {"clean": timed("preprocess.clean", clean, scratch)}
        words = [str(out / "clean"), "--output-dir", str(out / "dedup"), *workers]
        steps["dedup"] = timed("preprocess.dedup", words, scratch)
        index = [str(out / "dedup" / "c" / "train"), "--tokenizer", str(model), "--output-prefix", str(out / "data")]
        steps["index"] = timed("preprocess.index", [*index, *workers], scratch)
        cleaned = json.loads((out / "clean" / "clean.json").read_text(encoding="utf-8"))
        report = json.loads((out / "dedup" / "dedup.json").read_text(encoding="utf-8"))
        manifest = json.loads((out / "data_text_document.json").read_text(encoding="utf-8"))
    about = {
        "documents": cleaned["documents_in"],
        "cleaned": cleaned["documents_out"],
        "deduplicated": report["documents_out"],
        "tokens": manifest["tokens"],
        "bin_sha256": manifest["bin_sha256"],
    }
    return {"steps": steps, "about": about}


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Everything, size by size; the sizes take turns within every repeat."""
    from preprocess import tokenizer_train

    with tempfile.TemporaryDirectory() as place:
        scratch = Path(place)
        kind, found = sources(given.corpora, scratch)
        model = given.model
        if model is None:
            model = scratch / "spm.model"
            lines = [line for texts in found for text in texts[::10] for line in text.split("\n") if line]
            random.Random(given.seed).shuffle(lines)
            kept, size = [], 0
            for line in lines:
                kept.append(line)
                size += len(line)
                if size > 600_000:
                    break
            model.write_bytes(tokenizer_train.train_model(kept, tokenizer_train.trainer_options(8000), given.seed))
        sizes = [*given.sizes, *([1000.0] if given.large else [])]
        true: dict[float, float] = {}
        runs: dict[float, list[dict[str, Any]]] = {size: [] for size in sizes}
        for repeat in range(given.repeats):
            for size in sizes:
                if size >= 1000 and repeat:
                    continue
                raw = scratch / f"{size:g}.jsonl"
                if not raw.exists():
                    true[size] = write_raw(raw, size, found, given.seed)
                runs[size].append(chain(raw, model, given, scratch))
                if size >= 1000:
                    raw.unlink()
    rows: dict[float, dict[str, Any]] = {}
    for amount, made in runs.items():
        if any(one["about"] != made[0]["about"] for one in made):
            raise SystemExit("two runs over the same text gave other bytes")
        cpu: dict[str, float] = {
            step: statistics.median(one["steps"][step][0] for one in made) for step in ("clean", "dedup", "index")
        }
        cpu["whole"] = statistics.median(sum(step[0] for step in one["steps"].values()) for one in made)
        rows[amount] = {
            "megabytes": round(true[amount], 2),
            "runs": len(made),
            "cpu_s": {step: round(spent, 2) for step, spent in cpu.items()},
            "mb_per_cpu_s": {step: round(true[amount] / spent, 2) for step, spent in cpu.items()},
            "wall_s": round(statistics.median(sum(step[1] for step in one["steps"].values()) for one in made), 1),
            "peak_mb": {step: round(max(one["steps"][step][2] for one in made)) for step in made[0]["steps"]},
            **made[0]["about"],
        }
    first = rows[sizes[0]]
    for row in rows.values():
        row["growth"] = {
            step: round(spent / first["cpu_s"][step] / (row["megabytes"] / first["megabytes"]), 2)
            for step, spent in row["cpu_s"].items()
        }
    return {
        "text": kind,
        "profile": given.profile,
        "workers": given.workers,
        "sizes": {f"{size:g}": row for size, row in rows.items()},
        "load": [round(one, 1) for one in os.getloadavg()],
        "cores": os.cpu_count(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    beside = ROOT.parent / "shared" / "corpora"
    parser.add_argument("--corpora", type=Path, default=Path(os.environ.get("HAIGO_CORPORA") or beside))
    parser.add_argument("--sizes", type=float, nargs="+", default=[10, 100], metavar="MB")
    parser.add_argument("--large", action="store_true", help="1000 MB too, once (about 6 minutes and 3 GB of disk)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--profile", default="auto", help="of preprocess.clean")
    parser.add_argument("--model", type=Path, help="SentencePiece model (default: 8,000 pieces, trained here)")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    result = measure(given)
    if given.json:
        print(json.dumps(result, indent=2))
        return 0
    for row in result["sizes"].values():
        print(
            f"{row['megabytes']:.1f} MB, {row['documents']:,} documents -> {row['cleaned']:,} cleaned ->"
            f" {row['deduplicated']:,} deduplicated; {row['tokens']:,} training tokens; runs: {row['runs']}"
        )
        for step in ("clean", "dedup", "index", "whole"):
            peak = f"  peak {row['peak_mb'][step]:,} MB" if step in row["peak_mb"] else ""
            print(
                f"  {step:6} {row['cpu_s'][step]:8.2f} CPU-s {row['mb_per_cpu_s'][step]:7.2f} MB/CPU-s"
                f"  growth {row['growth'][step]:.2f}{peak}"
            )
    whole = list(result["sizes"].values())[-1]["mb_per_cpu_s"]["whole"]
    print(
        f"{result['text']} text, profile {result['profile']}, {result['workers']} worker(s);"
        f" goal {GOAL:g} MB/CPU-s for the whole at the last size: {'reached' if whole >= GOAL else 'NOT reached'};"
        f" load {result['load']} on {result['cores']} cores"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
