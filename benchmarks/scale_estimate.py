"""preprocess.scale --estimate against the run itself, over text generated with the repeats that crawls have.

    OMP_NUM_THREADS=1 HAIGO_CORPORA=DIR python benchmarks/scale_estimate.py [--sizes 1000] [--file 100] [--all-steps]
           [--equal 0.08] [--near 0.05] [--template 0.08] [--common 0.02] [--twins 0.04]
           [--least 32] [--model SPM_MODEL] [--seed 1] [--json]

Text is as in text_chain.py, in files of --file MB. --equal of the documents are copies of any earlier one, and --near copies
of which some sentences are gone: copies have copies, so that clusters are of all sizes. --template are near copies of a page
that stands shortly before, --common short texts that every site has, and --twins of the files stand there twice. The estimate
is made from one percent (--least MB at least); then the run is done, each step in a process of its own. With --all-steps files
are cut (above a third of --file), evaluation texts and badly scored documents taken out, and splits dealt out anew. Printed are
both and their ratio; of memory the largest process, without files that it maps. The goal is 0.8 to 1.2. 10 GB take half an hour
of one core, 25 GB of disk and 3 GB of memory.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import _copies
from _copies import Copies
from _measure import load, parser, show
from _texts import add_corpora, tokenizer
from text_chain import sources_of


def all_steps(found: list[list[str]], given: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Keys of a run file: evaluation texts that stand in the text, a score with a limit."""
    rows = [{"id": number, "text": text[:400]} for number, text in enumerate(found[0][:2000])]
    (scratch / "items.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return {
        "split_bytes": int(given.file * 1e6 / 3),
        "decontaminate": {"against": [str(scratch / "items.jsonl")]},
        "score": {"spam": True, "adult": True, "most": {"spam": 5.0}},
        "resplit": {},
    }


def measure(
    size: float, given: argparse.Namespace, found: list[list[str]], model: Path, scratch: Path
) -> dict[str, Any]:
    """The estimate and the truth of one size."""
    from haigo import cli
    from preprocess import scale, scale_estimate, scale_sample
    from preprocess.options import ScaleRun

    scale_sample.LEAST_BYTES = int(given.least * 1e6)
    raw, out = scratch / f"{size:g}", scratch / f"out-{size:g}"
    copies = Copies(given.equal, given.near, given.template, given.common, given.twins)
    _copies.write(raw, found, size, copies, (given.file, given.seed))
    more = all_steps(found, given, scratch) if given.all_steps else {}
    run = ScaleRun(corpus="c", inputs=[str(raw)], output=str(out), tokenizer=str(model), dedup={}, tasks=8, **more)
    with cli.acting("preprocess.scale"):
        guess = scale_estimate.of(run, scale.steps)
        done = scale_estimate.passed([run], scale.steps)
    return compared(guess, done)


def compared(guess: dict[str, Any], done: Any) -> dict[str, Any]:
    """Said, true and said by true."""
    from preprocess import scale_keys

    assert done.seen is not None
    said, held, sizes = guess["run"], 0.0, [0.0]
    true: dict[str, dict[str, float]] = {"cpu_hours": {}, "memory_gb": {}}
    for step, took in done.taken.items():
        part = scale_keys.part_of(step)
        kind = "dedup" if part == "dedup" else "a_worker"
        true["cpu_hours"][part] = true["cpu_hours"].get(part, 0.0) + took.cpu_s / 3600
        true["memory_gb"][kind] = max(true["memory_gb"].get(kind, 0.0), took.peak / 1e9)
        held += done.index_bytes if step == "join" else done.grown[step]
        sizes.append(held)
    true["cpu_hours"]["all"] = sum(true["cpu_hours"].values())
    rows = {"disk_gb": (said["disk_gb"]["all"], max(sizes) / 1e9), "tokens": (said["tokens"], done.tokens)}
    rows |= {"repeated_share": (said["repeated_share"], done.seen.repeated)}
    rows |= {f"{kind} {name}": (said[kind][name], each) for kind in true for name, each in true[kind].items()}
    ratios = {
        name: {"said": round(one, 4), "true": round(other, 4), "ratio": round(one / max(1e-12, other), 3)}
        for name, (one, other) in rows.items()
    }
    return {"sample_mb": guess["sample"]["mb"], "range of repeats": said["repeated_range"], **ratios}


def main() -> int:
    words = parser(__doc__)
    add_corpora(words)
    words.add_argument("--sizes", type=float, nargs="+", default=[1000], metavar="MB")
    words.add_argument("--file", type=float, default=100, metavar="MB")
    words.add_argument("--all-steps", action="store_true")
    words.add_argument("--least", type=float, default=32, metavar="MB", help="of the sample")
    for name, share in zip(Copies.__slots__, (0.08, 0.05, 0.08, 0.02, 0.04), strict=True):
        words.add_argument(f"--{name}", type=float, default=share)
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
