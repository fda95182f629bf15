"""MB of UTF-8 jsonl a CPU second, from text to .bin and .idx: ours, the bare floor, and GPT-NeoX's preprocess_data.

    OMP_NUM_THREADS=1 python benchmarks/index_speed.py --model SPM_MODEL [--corpora CLEANED_DIR...] [--sizes 12 50]
           [--repeats 3] [--neox-repeats 1] [--json]

Floor: orjson line by line, sentencepiece's batch encode in one thread, uint16, one index; nothing else. Floor of arrays: the
same, with ids as sentencepiece's arrays and not as Python's lists (where this sentencepiece has them). Ours: the command
preprocess.index with 1 and with 2 workers, digests and manifest included. GPT-NeoX: tools/datasets/preprocess_data.py with 1
worker, where GPT_NEOX_DIR and GPT_NEOX_PYTHON are set (HAIGO_NEOX_CPU: its stand-in for torch.cuda). Contenders take turns
within every repeat; CPU seconds are those of the process and its children, medians of the repeats. The slope is what the
larger size costs more than the smaller, start-up taken out: start-up alone proves nothing. All .bin and .idx are compared.
Without --corpora the text is synthetic; without --model a small model is trained on it.
"""

from __future__ import annotations

import hashlib
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _measure import ROOT, command, load, parser, show
from _texts import invented, tokenizer, up_to, write_jsonl

_FLOOR = """
import struct, sys
import numpy as np, orjson
from sentencepiece import SentencePieceProcessor
source, model, kind, prefix = sys.argv[1:]
sp = SentencePieceProcessor(model_file=model)
eod = sp.piece_to_id("<|endoftext|>")
end = np.uint16(eod).tobytes()
sizes = []
def flush(texts, out):
    if kind == "arrays":
        for ids in sp.encode(texts, num_threads=1, return_type="numpy"):
            out.write(ids.astype(np.uint16).tobytes() + end)
            sizes.append(len(ids) + 1)
        return
    for ids in sp.encode(texts, num_threads=1):
        ids.append(eod)
        out.write(np.array(ids, dtype=np.uint16).tobytes())
        sizes.append(len(ids))
with open(source, "rb") as lines, open(prefix + "_text_document.bin", "wb", buffering=1 << 20) as out:
    texts, held = [], 0
    for line in lines:
        texts.append(orjson.loads(line)["text"])
        held += len(texts[-1])
        if held > 1_000_000:
            flush(texts, out)
            texts, held = [], 0
    flush(texts, out)
lengths = np.array(sizes, np.int32)
offsets = np.zeros(len(lengths), np.int64)
np.cumsum(lengths[:-1], dtype=np.int64, out=offsets[1:])
with open(prefix + "_text_document.idx", "wb") as index:
    index.write(b"MMIDIDX\\0\\0" + struct.pack("<QBQQ", 1, 8, len(lengths), len(lengths) + 1))
    index.write(lengths.tobytes() + (offsets * 2).tobytes() + np.arange(len(lengths) + 1).tobytes())
"""


def documents(corpora: list[Path]) -> Iterator[str]:
    """Documents without end: of cleaned corpora, in turn and again from the start, or invented ones."""
    from haigo.formats import documents as cleaned

    if not corpora:
        yield from invented(random.Random(1))
    while True:
        streams = [cleaned.read(folder) for folder in corpora]
        while streams:
            for stream in list(streams):
                one = next(stream, None)
                if one is None:
                    streams.remove(stream)
                else:
                    yield one.text


FLOORS = ("floor", "floor of arrays")
Call = tuple[list[str], Path, dict[str, str]]  # all but the prefix it writes to, where it runs, its environment


def contenders(source: Path, model: Path, neox: bool) -> dict[str, Call]:
    """Who takes part; GPT-NeoX where it is wanted and set."""
    ours = [sys.executable, "-m", "preprocess.index", str(source), "--tokenizer", str(model)]
    floor = [sys.executable, "-c", _FLOOR, str(source), str(model)]
    made: dict[str, Call] = {
        **{name: ([*floor, kind], ROOT, {}) for name, kind in zip(FLOORS, ("lists", "arrays"), strict=True)},
        "ours, 1 worker": ([*ours, "--output-prefix"], ROOT, {}),
        "ours, 2 workers": ([*ours, "--workers", "2", "--output-prefix"], ROOT, {}),
    }
    checkout, python = os.environ.get("GPT_NEOX_DIR"), os.environ.get("GPT_NEOX_PYTHON")
    if neox and checkout and python:
        theirs = {"PATH": f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}"}
        if os.environ.get("HAIGO_NEOX_CPU"):
            theirs |= {"FAKE_CUDA": "1", "DS_ACCELERATOR": "cpu", "PYTHONPATH": os.environ["HAIGO_NEOX_CPU"]}
        words = [python, "tools/datasets/preprocess_data.py", "--input", str(source), "--append-eod"]
        words += ["--tokenizer-type", "SPMTokenizer", "--vocab-file", str(model), "--output-prefix"]
        made["GPT-NeoX, 1 worker"] = (words, Path(checkout), theirs)
    return made


def digests(prefix: Path) -> list[str]:
    return [hashlib.sha256(Path(f"{prefix}_text_document.{kind}").read_bytes()).hexdigest() for kind in ("bin", "idx")]


def row(by_size: dict[float, list[tuple[float, float]]], true: dict[float, float]) -> dict[str, Any]:
    """What one contender did, from the (CPU, wall) seconds of its runs and the megabytes of each size."""
    small, large = true
    cpu = {size: statistics.median(spent for spent, _ in runs) for size, runs in by_size.items()}
    wall = {size: statistics.median(took for _, took in runs) for size, runs in by_size.items()}
    return {
        **{f"mb_per_cpu_s_at_{size:g}": round(true[size] / cpu[size], 2) for size in true},
        "mb_per_cpu_s_on_the_slope": round((true[large] - true[small]) / (cpu[large] - cpu[small]), 2),
        **{f"wall_s_at_{size:g}": round(wall[size], 2) for size in true},
        "wall_s_of_the_slope": round(wall[large] - wall[small], 2),
        "runs": len(by_size[small]),
    }


def main() -> int:
    words = parser(__doc__)
    words.add_argument("--model", type=Path)
    words.add_argument("--corpora", type=Path, nargs="*", default=[])
    words.add_argument("--sizes", type=float, nargs=2, default=[12, 50], metavar="MB")
    words.add_argument("--repeats", type=int, default=3)
    words.add_argument("--neox-repeats", type=int, default=1)
    words.add_argument("--json", action="store_true")
    args = words.parse_args()
    times: dict[str, dict[float, list[tuple[float, float]]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = tokenizer(args.model, folder / "spm.model", documents(args.corpora), 4000)
        sources = {size: folder / f"{size:g}.jsonl" for size in args.sizes}
        for size, source in sources.items():
            write_jsonl(source, up_to(documents(args.corpora), size))
        for repeat in range(args.repeats):
            for size, source in sources.items():
                first = None
                for name, (call, cwd, env) in contenders(source, model, repeat < args.neox_repeats).items():
                    with tempfile.TemporaryDirectory(dir=folder) as out:
                        prefix = Path(out) / "x"
                        spent, wall, _ = command([*call, prefix], cwd, env)
                        first = first or digests(prefix)
                        if digests(prefix) != first:
                            raise SystemExit(f"{name} wrote other bytes than the floor")
                    times.setdefault(name, {}).setdefault(size, []).append((spent, wall))
        true = {size: source.stat().st_size / 1e6 for size, source in sources.items()}
    rows = {name: row(by_size, true) for name, by_size in times.items()}
    for one in rows.values():
        for key in (f"mb_per_cpu_s_at_{args.sizes[1]:g}", "mb_per_cpu_s_on_the_slope"):
            one[f"{key}_against_the_floor"] = round(one[key] / rows["floor"][key], 3)
    show({"rows": rows, "same_bytes": True, "machine": load()}, args.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
