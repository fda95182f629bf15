"""Seconds of CPU for the same model and documents: Haigo's scorer, stock lm-eval, and jp-stable when its environment is given.

    python benchmarks/eval_speed.py --model MODEL_FOLDER --data_dir JGLUE [--documents 100] [--jp_python PY --jp_source CLONE]

JCommonsenseQA 1.1, prompt 0.3, 3 shots. Every contender scores the very same contexts and choices: lm-eval's HFLM gets them as
requests, jp-stable's HFLM runs in its own interpreter (transformers 4.46) with the same requests. One thread, CPU seconds
of the scoring alone, best of --repeats. Loading is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

_JP = """
import json, sys, time, types
source, model, requests, repeats = sys.argv[1:]
sys.path.insert(0, source)
sys.modules["omegaconf"] = types.ModuleType("omegaconf")
sys.modules["omegaconf"].OmegaConf = object
for name in ("models", "tasks"):
    package = types.ModuleType("lm_eval." + name)
    package.__path__ = [source + "/lm_eval/" + name]
    sys.modules["lm_eval." + name] = package
import torch
torch.set_num_threads(1)
from lm_eval.models.gpt2 import HFLM
lm = HFLM(pretrained=model, device="cpu", batch_size=1)
asked = [tuple(pair) for pair in json.load(open(requests))]
best = None
for _ in range(int(repeats)):
    start = time.process_time()
    answers = lm.loglikelihood(asked)
    seconds = time.process_time() - start
    best = seconds if best is None else min(best, seconds)
print("RESULT" + json.dumps([best, [float(answer[0]) for answer in answers]]))
"""


def _timed(model: Any, pairs: list[list[str]], repeats: int) -> tuple[float, list[float]]:
    from lm_eval.api.instance import Instance

    best, answers = float("inf"), []
    for _ in range(repeats):
        asked = [
            Instance(request_type="loglikelihood", doc={}, arguments=(context, choice), idx=number)
            for number, (context, choice) in enumerate(pairs)
        ]
        start = time.process_time()
        answers = [float(score) for score, _ in model.loglikelihood(asked, disable_tqdm=True)]
        best = min(best, time.process_time() - start)
    return best, answers


def main() -> int:
    """Print one line a contender."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data_dir", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--fewshot_pool", default="train")
    parser.add_argument("--jp_python", help="interpreter with transformers 4.46 and jp-stable's packages")
    parser.add_argument("--jp_source", help="clone of lm-evaluation-harness, branch jp-stable")
    given = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import torch

    torch.set_num_threads(1)
    from lm_eval.models.huggingface import HFLM

    from eval_harness import engine
    from eval_harness.model import load, quiet
    from eval_harness.run import read_sources

    name = "jcommonsenseqa-1.1-0.3"
    (source,) = read_sources([name], [3], [given.documents], given.data_dir, given.fewshot_pool, "v1.1")
    prepared = engine.prepare(source.rules, source.docs, source.pool_docs, 3, given.documents)
    pairs = [
        [context, choice]
        for context, doc in zip(prepared.contexts, prepared.docs, strict=True)
        for choice in doc["choices"]
    ]
    ours = load(f"pretrained={given.model}", device="cpu", show_progress=False)
    ours.loglikelihood([])
    found = {"haigo": _timed(ours, pairs, given.repeats)}
    with quiet():
        stock = HFLM(pretrained=given.model, device="cpu", dtype="float32", batch_size=1)
        found["lm-eval"] = _timed(stock, pairs, given.repeats)
    if given.jp_python and given.jp_source:
        with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as handle:
            json.dump(pairs, handle)
            handle.flush()
            words = [given.jp_python, "-c", _JP, given.jp_source, given.model, handle.name, str(given.repeats)]
            said = subprocess.run(words, capture_output=True, text=True, check=False)
        line = next((x for x in said.stdout.splitlines() if x.startswith("RESULT")), None)
        if line is None:
            print(f"jp-stable did not run: {said.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        else:
            found["jp-stable"] = tuple(json.loads(line.removeprefix("RESULT")))
    base = found["haigo"]
    for contender, (seconds, answers) in found.items():
        gap = max(abs(a - b) for a, b in zip(answers, base[1], strict=True))
        print(
            f"{contender:10} {seconds:8.2f} s CPU  {seconds / base[0]:5.2f} x Haigo's  largest difference of a "
            f"log-likelihood {gap:.1e}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
