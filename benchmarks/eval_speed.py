"""CPU seconds of scoring the same questions by the same model: Haigo's scorer and stock lm-eval, in turn in one run.

    OMP_NUM_THREADS=1 python benchmarks/eval_speed.py --model MODEL_FOLDER [--questions 24] [--context 300] [--repeats 2]

Made-up questions with five choices of 1 to 6 tokens, as token ids, so that tokenizers play no part. Contexts are all different
(shots drawn for each question), or begin alike for four fifths (the same shots before every question). lm-eval's HFLM takes one
request a pass, as its default is. Loading is not counted.
"""

from __future__ import annotations

import os
import random
import statistics
from collections.abc import Callable

from _measure import in_turn, load, parser

os.environ["HAIGO_QUIET"] = "1"
Request = tuple[tuple[str, str], list[int], list[int]]


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


def main() -> int:
    """Print a line for each contender and kind of context."""
    words = parser(__doc__)
    words.add_argument("--model", required=True)
    words.add_argument("--questions", type=int, default=24)
    words.add_argument("--context", type=int, default=300)
    words.add_argument("--repeats", type=int, default=2)
    given = words.parse_args()
    from lm_eval.models.huggingface import HFLM

    from eval_harness.loading import quiet
    from eval_harness.model import load as load_model

    ours = load_model(f"pretrained={given.model}", device="cpu", show_progress=False)
    with quiet():
        stock = HFLM(pretrained=given.model, device="cpu", dtype="float32", batch_size=1)
    for kind, alike in (("different contexts", 0.0), ("the same shots before every question", 0.8)):
        asked = requests(given.questions, given.context, alike, ours.rows)
        contenders: dict[str, Callable[[], list[float]]] = {
            "haigo": lambda asked=asked: [score for score, _ in ours._loglikelihood_tokens(asked)],  # type: ignore[misc]
            "lm-eval": lambda asked=asked: [
                score for score, _ in stock._loglikelihood_tokens(asked, disable_tqdm=True)
            ],  # type: ignore[misc]
        }
        with quiet():
            spent, scores = in_turn(contenders, given.repeats)
        gap = max(abs(a - b) for a, b in zip(*scores.values(), strict=True))
        took = {name: statistics.median(times) for name, times in spent.items()}
        ratio = f"{took['lm-eval'] / took['haigo']:.2f} times as fast"
        print(
            f"{kind}: haigo {took['haigo']:.2f} s CPU, lm-eval {took['lm-eval']:.2f} s: {ratio}; largest difference {gap:.1e}"
        )
    print(f"{given.questions} questions, contexts of {given.context} tokens, median of {given.repeats}; {load()}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
