"""CPU seconds of scoring the same questions by the same model: Haigo's scorer, stock lm-eval and jp-stable, in turn in one run.

    OMP_NUM_THREADS=1 python benchmarks/eval_speed.py --model MODEL_FOLDER [--questions 24] [--context 300] [--repeats 3]

Made-up questions with five choices of 1 to 6 tokens, as token ids, so that tokenizers play no part. Contexts are all different
(shots drawn for each question), or begin alike for four fifths (the same shots before every question). lm-eval's HFLM and
jp-stable's hf-causal take one request a pass, as their default is. jp-stable runs where JP_STABLE_DIR (a checkout) and
JP_STABLE_PYTHON (an interpreter with transformers 4.46) are set. Loading is not counted. Goals: 6.5 times, and 8 times where
contexts begin alike. Ratios are medians over the repeats, each of its own repeat.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
from collections.abc import Callable

from _measure import ROOT, load, parser, seconds

os.environ["HAIGO_QUIET"] = "1"
Request = tuple[tuple[str, str], list[int], list[int]]
Contender = Callable[[list[Request]], tuple[float, list[float]]]
"""CPU seconds for requests, and their log-likelihoods."""


def requests(number: int, length: int, alike: float, most: int) -> list[Request]:
    """Contexts, each with five choices, of ids below `most`; the part `alike` of a context is every context's."""
    rng = random.Random(1)

    def some(count: int) -> list[int]:
        return [rng.randrange(10, most) for _ in range(count)]

    head, made = some(int(length * alike)), []
    for _ in range(number):
        context = head + some(length - len(head) + rng.randrange(-length // 20, length // 20 + 1))
        made += [(("", ""), context, some(rng.randrange(1, 7))) for _ in range(5)]
    return made


def jp_stable(model: str, python: str) -> Contender:
    """jp-stable's scorer, in a process of its own."""
    words = [python, str(ROOT / "benchmarks" / "_jp_stable_scorer.py"), model]
    # numpy 1 and 2 do not mix: nothing of this interpreter's is to be found by the other
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    running = subprocess.Popen(
        words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )

    def ask(asked: list[Request]) -> tuple[float, list[float]]:
        assert running.stdin is not None and running.stdout is not None
        print(json.dumps([each[1:] for each in asked]), file=running.stdin, flush=True)
        line = running.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(words)} ended with {running.wait()}: run it by hand")
        took, scores = json.loads(line)
        return took, scores

    return ask


def contenders(folder: str) -> tuple[dict[str, Contender], int]:
    """Haigo's scorer and the others, by name, and the rows of the model's vocabulary."""
    from lm_eval.models.huggingface import HFLM

    from eval_harness.loading import quiet
    from eval_harness.model import load as load_model

    ours = load_model(f"pretrained={folder}", device="cpu", show_progress=False)

    def haigo(asked: list[Request]) -> tuple[float, list[float]]:
        ours.share_context = None  # every run begins with the trial of a new process
        took, answers = seconds(lambda: ours._loglikelihood_tokens(asked))
        return took, [score for score, _ in answers]

    with quiet():
        stock = HFLM(pretrained=folder, device="cpu", dtype="float32", batch_size=1)

    def lm_eval(asked: list[Request]) -> tuple[float, list[float]]:
        with quiet():
            took, answers = seconds(lambda: stock._loglikelihood_tokens(asked, disable_tqdm=True))
        return took, [score for score, _ in answers]

    found: dict[str, Contender] = {"haigo": haigo, "lm-eval": lm_eval}
    if os.environ.get("JP_STABLE_DIR") and (python := os.environ.get("JP_STABLE_PYTHON")):
        found["jp-stable"] = jp_stable(folder, python)
    return found, ours.rows


def main() -> int:
    """Print a line for each contender and kind of context."""
    words = parser(__doc__)
    words.add_argument("--model", required=True)
    words.add_argument("--questions", type=int, default=24)
    words.add_argument("--context", type=int, default=300)
    words.add_argument("--repeats", type=int, default=3)
    given = words.parse_args()
    who, rows = contenders(given.model)
    for kind, alike, goal in (("different contexts", 0.0, 6.5), ("the same shots before every question", 0.8, 8.0)):
        asked = requests(given.questions, given.context, alike, rows)
        spent: dict[str, list[float]] = {name: [] for name in who}
        scores: dict[str, list[float]] = {}
        for _ in range(given.repeats):
            for name, score in who.items():
                took, scores[name] = score(asked)
                spent[name].append(took)
        print(f"{kind}: haigo {statistics.median(spent['haigo']):.2f} s CPU")
        for name in list(who)[1:]:
            ratio = statistics.median(theirs / ours for ours, theirs in zip(spent["haigo"], spent[name], strict=True))
            gap = max(abs(a - b) for a, b in zip(scores["haigo"], scores[name], strict=True))
            print(
                f"  {name} {statistics.median(spent[name]):.2f} s: {ratio:.2f} times as fast (goal {goal}: "
                f"{'reached' if ratio >= goal else 'NOT reached'}); largest difference {gap:.1e}"
            )
    print(f"{given.questions} questions, contexts of {given.context} tokens, median of {given.repeats}; {load()}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
