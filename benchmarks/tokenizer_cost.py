"""CPU seconds and peak memory of training a tokenizer, by characters of text, against what preprocess.tokenizer says before.

    OMP_NUM_THREADS=1 python benchmarks/tokenizer_cost.py CLEANED_DIR... [--characters 1e6 3e6] [--types unigram bpe]
           [--vocab-size 50000] [--threads 1] [--json]

Every row is a process of its own that trains on a sample drawn in equal parts from the corpora (preprocess.sample).
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from _measure import command, load, parser, show

_RUN = """
import json, resource, sys
from haigo.formats import documents
from preprocess import tokenizer_train, training_text
folder, kind, size, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
options = tokenizer_train.trainer_options(size, kind, threads)
model = tokenizer_train.train_model(training_text.sampled(folder), options, 1234)
rows = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps({"cpu_s": sum(r.ru_utime + r.ru_stime for r in rows), "mb": max(r.ru_maxrss for r in rows) / 1024}))
"""


def main() -> int:
    words = parser(__doc__)
    words.add_argument("corpora", type=Path, nargs="*")
    words.add_argument("--characters", type=float, nargs="+", default=[1e6, 3e6])
    words.add_argument("--types", nargs="+", default=["unigram", "bpe"])
    words.add_argument("--vocab-size", type=int, default=50000)
    words.add_argument("--threads", type=int, default=1)
    words.add_argument("--json", action="store_true")
    args = words.parse_args()
    if not args.corpora:
        print("skipped: name cleaned corpora (folders written by preprocess.clean)")
        return 0
    from haigo.formats import documents
    from preprocess import tokenizer_cost
    from preprocess.sample import sample

    rows = {}
    with tempfile.TemporaryDirectory() as scratch:
        for size in args.characters:
            folder = f"{scratch}/{int(size)}"
            drawn = sample(documents.corpora(args.corpora), folder, characters=int(size), temperature=1e9, fill=True)
            for kind in args.types:
                _, _, said = command([sys.executable, "-c", _RUN, folder, kind, args.vocab_size, args.threads])
                measured = json.loads(said.splitlines()[-1])
                estimate = tokenizer_cost.estimate(drawn["characters"], kind)
                rows[f"{kind}, {drawn['characters']:,} characters"] = {
                    "cpu_s": round(measured["cpu_s"], 1),
                    "said_cpu_s": [round(value, 1) for value in estimate.seconds],
                    "peak_mb": round(measured["mb"]),
                    "said_mb": round(estimate.memory / 1e6),
                }
    show({**rows, "machine": load()}, args.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
