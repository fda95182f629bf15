"""How well `preprocess.partition` tells known sources apart that were thrown together as one corpus, and what it costs.

    python benchmarks/partition.py CLEANED_DIR... [--topics 4,6,8] [--passage 3000] [--seeds 1,2,3]

CLEANED_DIR is a folder of preprocess.clean for each source. Documents are cut to passages of --passage characters (0: not at
all), so that a source of few long documents counts as its text does. Purity is the part of the documents, and of the bytes,
that lie in a domain which is mostly of their source. The command is run as a user would, CPU and memory are its own.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from haigo.formats import documents
from haigo.formats import partition as partitions


def thrown_together(sources: list[Path], passage: int, folder: Path) -> int:
    """All documents of the sources as one corpus, in random order; its bytes."""
    counts = {}
    for split in documents.SPLITS:
        rows = []
        for source in sources:
            for one in documents.read(source, split) if split in documents.splits(source) else ():
                size = passage or len(one.text)
                parts = [one.text[at : at + size] for at in range(0, len(one.text), size)]
                meta = {"source": source.name}
                rows += [documents.Document(f"{source.name}-{one.id}-{n}", text, meta) for n, text in enumerate(parts)]
        random.Random(1).shuffle(rows)
        writer = documents.ShardWriter(folder / split)
        for row in rows:
            writer.add(row)
        writer.flush()
        counts[split] = {"documents": writer.documents, "characters": writer.characters, "bytes": writer.bytes}
    report = {"corpus": "mix", "rules": {}, "splits": counts}
    (folder / documents.REPORT).write_text(json.dumps(report), encoding="utf-8")
    return sum(row["bytes"] for row in counts.values())


def purity(folder: Path) -> tuple[float, float]:
    """Of the documents, and of their bytes."""
    whole, right = [0, 0], [0, 0]
    for name in partitions.read(folder)["domains"]:
        number, size = Counter[str](), Counter[str]()
        for split in documents.splits(folder / name):
            for one in documents.read(folder / name, split):
                number[one.meta["source"]] += 1
                size[one.meta["source"]] += len(one.text.encode())
        for at, count in enumerate((number, size)):
            whole[at] += sum(count.values())
            right[at] += max(count.values())
    return right[0] / whole[0], right[1] / whole[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", type=Path)
    parser.add_argument("--topics", default="4,6,8")
    parser.add_argument("--passage", type=int, default=3000)
    parser.add_argument("--seeds", default="1,2,3")
    asked = parser.parse_args()
    print("| topics | purity of documents | of bytes | CPU-s | MB/CPU-s | peak MB |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        size = thrown_together(asked.sources, asked.passage, Path(place) / "mix") / 1e6
        for topics in asked.topics.split(","):
            found, costs = [], []
            for seed in asked.seeds.split(","):
                out = Path(place) / f"{topics}-{seed}"
                words = ["--topics", topics, "--seed", seed, "--output-dir", str(out)]
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                command = [sys.executable, "-m", "preprocess.partition", str(Path(place) / "mix"), *words]
                subprocess.run(command, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                costs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
                found.append(purity(out))
            by_document, by_bytes = (f"{min(each):.3f}–{max(each):.3f}" for each in zip(*found, strict=True))
            cost, peak = statistics.median(costs), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000
            print(
                f"| {topics} | {by_document} | {by_bytes} | {cost:.1f} | {size / cost:.1f} | {peak:.0f} |", flush=True
            )
    print(
        f"{size:.1f} MB of text, passages of {asked.passage:,} characters, seeds {asked.seeds}: least and greatest purity"
    )


if __name__ == "__main__":
    main()
