"""preprocess.scale --estimate against the run itself, over text generated with realistic duplicates.

    OMP_NUM_THREADS=1 HAIGO_CORPORA=DIR python benchmarks/scale_estimate.py [--sizes 100] [--equal 0.15] [--near 0.1]
           [--model SPM_MODEL] [--seed 1] [--json]

Text is as in text_chain.py; --equal of the documents are copies of earlier ones as they stand, and --near copies of which a
tenth of the sentences are gone: copies have copies, so that clusters are of all sizes. The estimate is made from one percent
(8 MB at least), then the whole goes through clean, dedup and index, each a process of its own; printed are both and their
ratio. The goal is 0.8 to 1.2 in CPU, disk and memory of deduplication.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _measure import load, parser, show
from _texts import add_corpora, tokenizer, up_to, write_jsonl
from text_chain import _SENTENCE, sources_of, stream

_RECENT = 200_000


def with_copies(texts: Iterator[str], equal: float, near: float, seed: int) -> Iterator[str]:
    """The texts, and copies of earlier ones among them, at these shares of what comes out."""
    rng, seen = random.Random(seed), list[str]()
    for text in texts:
        while seen and (drawn := rng.random()) < equal + near:
            copy = rng.choice(seen)
            if drawn >= equal:
                copy = "".join(part for part in _SENTENCE.findall(copy) if rng.random() > 0.02)
            seen.append(copy)
            yield copy
        seen.append(text)
        if len(seen) > _RECENT:
            seen[rng.randrange(len(seen))] = seen.pop()
        yield text


def measure(
    size: float, given: argparse.Namespace, found: list[list[str]], model: Path, scratch: Path
) -> dict[str, Any]:
    """The estimate and the truth of one size."""
    from preprocess import scale_estimate
    from preprocess.options import ScaleRun

    raw = scratch / f"{size:g}.jsonl"
    write_jsonl(raw, up_to(with_copies(stream(found, given.seed), given.equal, given.near, given.seed), size))
    run = ScaleRun(corpus="c", inputs=[str(raw)], output=str(scratch / "out"), tokenizer=str(model))
    guess = scale_estimate.of(run)["run"]
    whole = scale_estimate._chain(run, raw, scratch / f"whole-{size:g}")
    true = {
        "cpu_s": sum(whole["cpu_s"].values()),
        "disk_mb": (whole["clean_bytes"] + whole["dedup_bytes"] + 2 * whole["index_bytes"]) / 1e6,
        "dedup_memory_mb": whole["peak"]["dedup"] / 1e6,
        "tokens": whole["tokens"],
        "repeated_share": 1 - whole["kept"] / whole["cleaned"],
    }
    said = {
        "cpu_s": guess["cpu_hours"]["all"] * 3600,
        "disk_mb": guess["disk_gb"]["all"] * 1000,
        "dedup_memory_mb": guess["memory_gb"]["dedup"] * 1000,
        "tokens": guess["tokens"],
        "repeated_share": guess["repeated_share"],
    }
    steps = {step: [round(guess["cpu_hours"][step] * 3600, 1), round(cpu, 1)] for step, cpu in whole["cpu_s"].items()}
    rows = {
        key: {"said": round(said[key], 3), "true": round(true[key], 3), "ratio": round(said[key] / true[key], 3)}
        for key in true
    }
    return {**rows, "cpu_s_of_steps_said_and_true": steps}


def main() -> int:
    words = parser(__doc__)
    add_corpora(words)
    words.add_argument("--sizes", type=float, nargs="+", default=[100], metavar="MB")
    words.add_argument("--equal", type=float, default=0.15)
    words.add_argument("--near", type=float, default=0.1)
    words.add_argument("--model", type=Path, help="SentencePiece model (default: 8,000 pieces, trained here)")
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--json", action="store_true")
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        kind, found = sources_of(given.corpora, scratch)
        some = [text for texts in found for text in texts[::10]]
        random.Random(given.seed).shuffle(some)
        model = tokenizer(given.model, scratch / "spm.model", some, 8000)
        rows = {f"{size:g} MB": measure(size, given, found, model, scratch) for size in given.sizes}
    show({"text": kind, "machine": load(), **rows}, given.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
