"""MB of UTF-8 jsonl a CPU second, from text to .bin and .idx: ours, the bare floor, and GPT-NeoX's preprocess_data.

    OMP_NUM_THREADS=1 python benchmarks/index_speed.py --model SPM_MODEL [--corpora CLEANED_DIR...] [--sizes 12 50]
           [--repeats 3] [--neox-repeats 1] [--json]

Floor: orjson line by line, sentencepiece's batch encode in one thread, uint16, one index; nothing else. Ours: the command
preprocess.index with 1 and with 2 workers, digests and manifest included. GPT-NeoX: tools/datasets/preprocess_data.py with 1
worker, where GPT_NEOX_DIR and GPT_NEOX_PYTHON are set (HAIGO_NEOX_CPU: its stand-in for torch.cuda). Contenders take turns
within every repeat; CPU seconds are those of the process and its children, medians of the repeats. The slope is what the
larger size costs more than the smaller, start-up taken out: start-up alone proves nothing. All .bin and .idx are compared.
Without --corpora the text is synthetic; without --model a small model is trained on it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

_FLOOR = """
import struct, sys
import numpy as np, orjson
from sentencepiece import SentencePieceProcessor
source, model, prefix = sys.argv[1:]
sp = SentencePieceProcessor(model_file=model)
eod = sp.piece_to_id("<|endoftext|>")
sizes = []
def flush(texts, out):
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


def texts(corpora: list[str]) -> Iterator[str]:
    """Documents: of cleaned corpora, in turn, or synthetic ones without end."""
    from preprocess import documents

    streams = [documents.read(folder) for folder in corpora]
    while streams:
        for stream in list(streams):
            one = next(stream, None)
            if one is None:
                streams.remove(stream)
            else:
                yield one.text
    if not corpora:
        rng = random.Random(1)
        words = ["".join(chr(rng.randrange(0x4E00, 0x5200)) for _ in range(rng.randrange(1, 4))) for _ in range(3000)]
        words += ["は", "が", "を", "に", "の", "した。", "である。", "、"] * 200
        while True:
            yield "\n".join("".join(rng.choices(words, k=30)) for _ in range(rng.randrange(1, 40)))


def write_sources(place: Path, sizes: list[float], corpora: list[str]) -> list[Path]:
    """A jsonl file of each size; text begins again when there is too little."""
    made = []
    for size in sizes:
        made.append(place / f"{size:g}.jsonl")
        written, number = 0, 0
        with open(made[-1], "wb") as handle:
            while written < size * 1e6:
                for text in texts(corpora):
                    row = {"text": text, "id": number}
                    written += handle.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
                    number += 1
                    if written >= size * 1e6:
                        break
    return made


def timed(words: list[str], cwd: Path, environment: dict[str, str]) -> tuple[float, float]:
    """CPU and wall seconds of a command and all its children."""
    before, begin = os.times(), time.monotonic()
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{words[1]} failed:\n{done.stderr[-2000:]}")
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return spent, time.monotonic() - begin


def digests(prefix: Path) -> list[str]:
    return [hashlib.sha256(Path(f"{prefix}_text_document.{kind}").read_bytes()).hexdigest() for kind in ("bin", "idx")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--corpora", nargs="*", default=[])
    parser.add_argument("--sizes", type=float, nargs=2, default=[12, 50], metavar="MB")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--neox-repeats", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    from preprocess import tokenizer_train

    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HAIGO_QUIET": "1"}
    checkout, python = os.environ.get("GPT_NEOX_DIR"), os.environ.get("GPT_NEOX_PYTHON")
    times: dict[str, dict[float, list[tuple[float, float]]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        model = place / "spm.model"
        if args.model:
            model = Path(args.model).resolve()
        else:
            lines = [
                line for text, _ in zip(texts(args.corpora), range(300), strict=False) for line in text.split("\n")
            ]
            model.write_bytes(tokenizer_train.train_model(lines, tokenizer_train.trainer_options(4000), 1))
        sources = dict(zip(args.sizes, write_sources(place, args.sizes, args.corpora), strict=True))
        for repeat in range(args.repeats):
            for size, source in sources.items():
                ours = [sys.executable, "-m", "preprocess.index", str(source), "--tokenizer", str(model)]
                contenders = {
                    "floor": ([sys.executable, "-c", _FLOOR, str(source), str(model)], ROOT, environment),
                    "ours, 1 worker": ([*ours, "--output-prefix"], ROOT, environment),
                    "ours, 2 workers": ([*ours, "--workers", "2", "--output-prefix"], ROOT, environment),
                }
                if checkout and python and repeat < args.neox_repeats:
                    theirs = {**environment, "PATH": f"{Path(python).parent}{os.pathsep}{environment['PATH']}"}
                    if os.environ.get("HAIGO_NEOX_CPU"):
                        shim = {"FAKE_CUDA": "1", "DS_ACCELERATOR": "cpu", "PYTHONPATH": os.environ["HAIGO_NEOX_CPU"]}
                        theirs |= shim
                    words = [python, "tools/datasets/preprocess_data.py", "--input", str(source), "--append-eod"]
                    words += ["--tokenizer-type", "SPMTokenizer", "--vocab-file", str(model), "--output-prefix"]
                    contenders["GPT-NeoX, 1 worker"] = (words, Path(checkout), theirs)
                first = None
                for name, (words, cwd, env) in contenders.items():
                    prefix = place / "out" / name.replace(" ", "_").replace(",", "")
                    prefix.parent.mkdir(exist_ok=True)
                    times.setdefault(name, {}).setdefault(size, []).append(timed([*words, str(prefix)], cwd, env))
                    first = first or digests(prefix)
                    if digests(prefix) != first:
                        raise SystemExit(f"{name} wrote other bytes than the floor")
                    for path in prefix.parent.iterdir():
                        path.unlink()
        true = {size: source.stat().st_size / 1e6 for size, source in sources.items()}
    small, large = args.sizes
    rows = {}
    for name, by_size in times.items():
        cpu = {size: statistics.median(spent for spent, _ in runs) for size, runs in by_size.items()}
        wall = {size: statistics.median(took for _, took in runs) for size, runs in by_size.items()}
        rows[name] = {
            **{f"mb_per_cpu_s_at_{size:g}": round(true[size] / cpu[size], 2) for size in args.sizes},
            "mb_per_cpu_s_on_the_slope": round((true[large] - true[small]) / (cpu[large] - cpu[small]), 2),
            **{f"wall_s_at_{size:g}": round(wall[size], 2) for size in args.sizes},
            "wall_s_of_the_slope": round(wall[large] - wall[small], 2),
            "runs": len(by_size[small]),
        }
    floor = rows["floor"]
    for row in rows.values():
        for key in (f"mb_per_cpu_s_at_{large:g}", "mb_per_cpu_s_on_the_slope"):
            row[f"{key}_against_the_floor"] = round(row[key] / floor[key], 3)
    result = {
        "rows": rows,
        "same_bytes": True,
        "load": [round(one, 1) for one in os.getloadavg()],
        "cores": os.cpu_count(),
    }
    if args.json:
        print(json.dumps(result, indent=2))
        return 0
    for name, row in rows.items():
        print(name)
        for key, value in row.items():
            print(f"  {key:48s} {value}")
    print(f"all .bin and .idx are the same bytes; load {result['load']} on {result['cores']} cores")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
