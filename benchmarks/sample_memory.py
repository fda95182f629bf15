"""Memory and CPU seconds of preprocess.sample, by the size of the sample, on synthetic cleaned corpora.

    python benchmarks/sample_memory.py [--characters 30e6] [--population 1.3] [--workers 1] [--keep FOLDER] [--json]

Three corpora (short news-like, medium, long documents) of random Japanese-looking lines with a tenth of repeated lines, with
`population` times as much text as is drawn. The command runs as a user would start it; memory is the largest resident set
of the command or of any of its workers. The budgets are compared with what was written, character by character.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

_RUN = """
import resource, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_module("preprocess.sample", run_name="__main__")
except SystemExit as done:
    sizes = [resource.getrusage(who).ru_maxrss // 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    spent = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print("MEASURED", *sizes, round(spent, 2))
    sys.exit(done.code)
"""


def write_corpus(folder: Path, name: str, characters: int, lines_each: int, seed: int) -> None:
    """A cleaned corpus of about `characters` characters."""
    from preprocess import documents
    from preprocess.sources import Document

    rng = random.Random(seed)
    words = ["".join(chr(rng.randrange(0x4E00, 0x5200)) for _ in range(rng.randrange(1, 4))) for _ in range(3000)]
    words += ["は", "が", "を", "に", "の", "した。", "である。", "、"] * 200
    common = ["".join(rng.choices(words, k=18)) for _ in range(50)]
    writer = documents.ShardWriter(folder / "train")
    number = 0
    while writer.characters < characters:
        count = max(1, int(rng.expovariate(1 / lines_each)))
        lines = [
            rng.choice(common) if rng.random() < 0.1 else "".join(rng.choices(words, k=rng.randrange(5, 40)))
            for _ in range(count)
        ]
        writer.add(Document(f"{name}{number}", "\n".join(lines)))
        number += 1
    writer.flush()
    (folder / "clean.json").write_text(json.dumps({"corpus": name}), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--characters", type=float, default=30e6)
    parser.add_argument("--population", type=float, default=1.3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--keep", help="folder for the corpora, used again when they are there")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(args.keep or scratch)
        folders = []
        for seed, (name, lines_each) in enumerate((("news", 12), ("wiki", 40), ("novels", 1500))):
            folders.append(place / name)
            if not (folders[-1] / "clean.json").is_file():
                write_corpus(folders[-1], name, int(args.characters * args.population / 3), lines_each, seed)
        begin = time.monotonic()
        words = [sys.executable, "-c", _RUN, "preprocess.sample", *map(str, folders)]
        words += ["--characters", str(int(args.characters)), "--workers", str(args.workers)]
        words += ["--output-dir", str(Path(scratch) / "sample")]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
        wall = time.monotonic() - begin
        own, child, spent = done.stdout.split("MEASURED", 1)[1].split()
        made = json.loads((Path(scratch) / "sample" / "sample.json").read_text(encoding="utf-8"))
    rows = made["corpora"].values()
    result = {
        "characters": made["characters"],
        "there": sum(row["characters_there"] for row in rows),
        "documents": sum(row["documents"] for row in rows),
        "largest_budget_error_percent": max(100 * abs(row["characters"] / row["budget"] - 1) for row in rows),
        "repeated_characters_left_out": sum(row["repeated_characters_left_out"] for row in rows),
        "peak_mb_of_the_command": int(own),
        "peak_mb_of_a_worker": int(child),
        "cpu_s": float(spent),
        "wall_s": round(wall, 1),
        "load": os.getloadavg()[0],
    }
    if args.json:
        print(json.dumps(result, indent=2))
    else:
        for name, value in result.items():
            print(f"{name:32s} {value:,}" if isinstance(value, int) else f"{name:32s} {value}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
