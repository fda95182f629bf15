"""CPU seconds and peak memory of training a tokenizer, by characters of text, against what preprocess.tokenizer says before.

    OMP_NUM_THREADS=1 python benchmarks/tokenizer_cost.py CLEANED_DIR... [--characters 1e6 3e6] [--types unigram bpe]
           [--vocab-size 50000] [--threads 1] [--json]

Every row is a process of its own that trains on a sample drawn in equal parts from the corpora (preprocess.sample).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

_RUN = """
import json, resource, sys
from preprocess import documents, tokenizer_train
folder, kind, size, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
options = tokenizer_train.trainer_options(size, kind, threads)
model = tokenizer_train.train_model(tokenizer_train._sampled(folder), options, 1234)
rows = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps({"cpu_s": sum(r.ru_utime + r.ru_stime for r in rows), "mb": max(r.ru_maxrss for r in rows) / 1024}))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", nargs="*")
    parser.add_argument("--characters", type=float, nargs="+", default=[1e6, 3e6])
    parser.add_argument("--types", nargs="+", default=["unigram", "bpe"])
    parser.add_argument("--vocab-size", type=int, default=50000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if not args.corpora:
        print("tokenizer_cost: name cleaned corpora (folders written by preprocess.clean)")
        return 0

    from preprocess import documents, tokenizer_cost
    from preprocess.sample import sample

    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for size in args.characters:
            folder = f"{scratch}/{int(size)}"
            made = sample(documents.corpora(args.corpora), folder, characters=int(size), temperature=1e9, fill=True)
            for kind in args.types:
                words = [sys.executable, "-c", _RUN, folder, kind, str(args.vocab_size), str(args.threads)]
                done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
                found = json.loads(done.stdout.splitlines()[-1])
                said = tokenizer_cost.estimate(made["characters"], kind)
                rows.append(
                    {
                        "type": kind,
                        "characters": made["characters"],
                        "cpu_s": round(found["cpu_s"], 1),
                        "said_cpu_s": [round(value, 1) for value in said.seconds],
                        "peak_mb": round(found["mb"]),
                        "said_mb": round(said.memory / 1e6),
                        "load": round(os.getloadavg()[0], 1),
                    }
                )
                if not args.json:
                    print(rows[-1], flush=True)
    if args.json:
        print(json.dumps(rows, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
