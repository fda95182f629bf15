"""Peak memory of preprocess.index: of a worker while it encodes, and bytes a document while shards are joined.

    python benchmarks/index_memory.py [--megabytes 60] [--documents 200000 2000000] [--workers 2] [--model SPM_MODEL] [--json]

Encoding: jsonl of `megabytes` in documents of a few kB, read as a user's command would. Joining: datasets of many tiny
documents, written and merged by the same code; the slope between the two sizes is the bytes a document.
Without --model a small model is trained on the synthetic text.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

_INDEX = """
import json, resource, sys
from preprocess import index
source, model, prefix, workers = sys.argv[1:]
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
made = index.index([source], model, prefix, workers=int(workers), split_bytes=8 << 20)
sizes = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps({"command_mb": sizes[0], "worker_mb": sizes[1], "tokens": made["tokens"]}))
"""
_MERGE = """
import json, resource, sys
import numpy as np
from haigo.formats.dataset.indexed import MMapWriter, merge
folder, count = sys.argv[1], int(sys.argv[2])
raw = np.array([5, 6, 1], np.uint16).tobytes()
if sys.argv[3] == "write":
    for part in range(4):
        with MMapWriter(f"{folder}/{part}", np.uint16) as writer:
            for _ in range(count // 4):
                writer.add_bytes(raw)
                writer.end_document()
else:
    merge([f"{folder}/{part}" for part in range(4)], f"{folder}/all")
status = open("/proc/self/status").read()
anonymous = int(status.split("VmHWM:")[1].split()[0]) * 1024
print(json.dumps({"bytes": anonymous}))
"""


def call(code: str, *words: object) -> dict[str, float]:
    """Run code in a process of its own; the JSON of its last line."""
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=60)
    parser.add_argument("--documents", type=int, nargs=2, default=[200_000, 2_000_000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--model")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    from preprocess import tokenizer_train

    rng = random.Random(1)
    words = ["".join(chr(rng.randrange(0x4E00, 0x5200)) for _ in range(rng.randrange(1, 4))) for _ in range(3000)]
    words += ["は", "が", "を", "に", "の", "した。", "である。", "、"] * 200
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        source, size = place / "x.jsonl", 0
        with open(source, "wb") as handle:
            while size < args.megabytes * 1e6:
                text = "\n".join("".join(rng.choices(words, k=30)) for _ in range(rng.randrange(1, 40)))
                size += handle.write(json.dumps({"text": text}, ensure_ascii=False).encode() + b"\n")
        model = Path(args.model) if args.model else place / "spm.model"
        if not args.model:
            lines = ["".join(rng.choices(words, k=20)) for _ in range(4000)]
            model.write_bytes(tokenizer_train.train_model(lines, tokenizer_train.trainer_options(4000), 1))
        one = call(_INDEX, source, model, place / "one", 1)
        many = call(_INDEX, source, model, place / "many", args.workers)
        grown = []
        for count in args.documents:
            folder = place / str(count)
            folder.mkdir()
            grown.append([call(_MERGE, folder, count, step)["bytes"] for step in ("write", "merge")])
    gap = args.documents[1] - args.documents[0]
    result = {
        "megabytes": round(size / 1e6, 1),
        "one_process_mb": round(one["command_mb"]),
        "parent_mb": round(many["command_mb"]),
        "worker_mb": round(many["worker_mb"]),
        "bytes_a_document_writing": round(4 * (grown[1][0] - grown[0][0]) / gap, 1),
        "bytes_a_document_joining": round((grown[1][1] - grown[0][1]) / gap, 1),
        "load": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(result, indent=2) if args.json else "\n".join(f"{k:28s} {v}" for k, v in result.items()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
