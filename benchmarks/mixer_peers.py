"""Predictions of unseen mixtures: Olmix's real fit, LightGBM as RegMix sets it, and ours, on the same runs in one run.

    OLMIX_DIR=/src/olmix OLMIX_PYTHON=/src/olmix/.venv/bin/python python benchmarks/mixer_peers.py
    ... --runs 64 --seeds 1 --starts 300        (Olmix's own 300 starting points: about an hour a subset)
    ... --kinds log_linear,gp --keep FOLDER     (more of Olmix's regressors; answers already in FOLDER are not made again)

Every method is fitted to the same random subsets of RegMix's training runs at 1M parameters and judged on the 256 test
mixtures: mean Spearman of the 13 losses, mean and median R2, processor seconds of one fit of all 13. Nothing is tuned on
the test mixtures. Olmix (github.com/allenai/olmix) is imported by its own interpreter from its own checkout
(`_olmix_driver.py`); its log-linear fit is its own code with its own loss (Huber, delta 0.02), optimiser (100 rounds of
L-BFGS) and starting points, of which --starts says how many of the 300 are used, evenly spaced. Where OLMIX_DIR is not
set the table has the others only and says so.

RegMix's own regression is LightGBM with the settings of `mixer.laws_trees` and one thing more, stopping early on the
*test* runs, which is left out here.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _measure import parser, seconds
from _public_runs import chosen, table

from mixer import laws
from mixer.arrays import Array, Numbers
from mixer.supply import Constraints

OURS = {"auto": "haigo", "law": "haigo, law alone", "regmix": "LightGBM (RegMix)", "explaw": "exponential law, ours"}
STARTS, PULL = 300, 0.05  # what Olmix's log-linear fit and its exact proposer have
Cell = tuple[str, int]
"""An objective and a subset."""


@dataclass(frozen=True, kw_only=True)
class Proposed:
    """What Olmix answers for one objective."""

    weights: Array
    predicted: Array
    """(unseen mixtures, losses of the objective)."""
    seconds: float


class Olmix:
    """Olmix's regressors and its proposer, run by its own interpreter.

    Args:
        fits: how many starting points it may use in all, where answers are asked for.
        pull: to the prior, of its exact proposer.
    """

    def __init__(self, folder: Path, python: str, starts: int, keep: Path, fits: int = 0, pull: float = PULL) -> None:
        self.pull = pull
        self.folder, self.python, self.every, self.keep, self.fits = (
            folder,
            python,
            max(1, STARTS // starts),
            keep,
            fits,
        )

    @property
    def starts(self) -> int:
        return len(range(self.every // 2, STARTS, self.every))

    def affordable(self, asked: Sequence[tuple[Cell, Numbers]]) -> list[Cell]:
        """As many of the objectives on subsets (subset last) as the fits are enough for, those of few losses first."""
        done: set[tuple[Any, int]] = set()
        some: list[Cell] = []
        for cell, losses in sorted(asked, key=lambda each: (len(each[1]), each[0][1])):
            new = {(cell[1], int(j)) for j in losses} - done
            if (len(done) + len(new)) * self.starts <= self.fits:
                done |= new
                some.append(cell)
        return [cell for cell, _ in asked if cell in some]

    def __call__(self, kind: str, w: Array, y: Array, unseen: Array) -> tuple[Array, float]:
        """Predictions (unseen mixtures, targets) and processor seconds."""
        digest = hashlib.sha256(b"".join(part.tobytes() for part in (w, y, unseen))).hexdigest()[:16]
        answer = self.keep / f"{kind}-{self.every}-{digest}.npz"
        if not answer.is_file():
            self._run(answer, kind, {"train_w": w, "train_y": y, "test_w": unseen, "columns": np.arange(y.shape[1])})
        with np.load(answer) as found:
            return found["predicted"], float(found["seconds"].sum())

    def mixture(self, w: Array, y: Array, unseen: Array, goal: Array, constraints: Constraints) -> Proposed:
        """The mixture of its exact proposer for the sum `goal` (losses,), and predictions of the losses in it."""
        answer = self.keep / f"proposed-{self.every}.npz"
        given: dict[str, Any] = {
            "train_w": w,
            "train_y": y,
            "test_w": unseen,
            "columns": np.flatnonzero(goal),
            "goals": goal[None],
        }
        self._run(
            answer,
            "log_linear",
            given | {"prior": constraints.reference, "caps": constraints.limits().upper, "pull": self.pull},
        )
        with np.load(answer) as found:
            return Proposed(
                weights=found["weights"][0], predicted=found["predicted"], seconds=float(found["seconds"].sum())
            )

    def _run(self, answer: Path, kind: str, given: dict[str, Any]) -> None:
        """Have the driver answer; a loss that it has fitted to these runs before is not fitted again."""
        digest = hashlib.sha256(given["train_w"].tobytes() + given["train_y"].tobytes()).hexdigest()[:16]
        jobs, made = answer.with_suffix(".jobs.npz"), answer.with_suffix(".part.npz")
        np.savez(jobs, **given)
        driver = Path(__file__).with_name("_olmix_driver.py")
        words = [
            self.python,
            driver,
            self.folder,
            jobs,
            made,
            kind,
            self.every,
            self.keep / f"olmix-{self.every}-{digest}",
        ]
        done = subprocess.run(list(map(str, words)), capture_output=True, text=True, env=self._environment())
        jobs.unlink()
        if done.returncode:
            raise RuntimeError(f"Olmix ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
        made.replace(answer)

    @staticmethod
    def _environment() -> dict[str, str]:
        return {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def ours(name: str, w: Array, y: Array, unseen: Array) -> tuple[Array, float]:
    """The same by one of our laws, without its uncertainty."""
    spent, predicted = seconds(lambda: laws.make(name).fit(w, y).predict(unseen))
    return predicted, spent


def peer(starts: int, keep: Path, fits: int = 0, pull: float = PULL) -> Olmix | None:
    """Olmix when the environment names a checkout and an interpreter that can import it."""
    folder, python = os.environ.get("OLMIX_DIR"), os.environ.get("OLMIX_PYTHON")
    if not folder or not python:
        print("Olmix left out: OLMIX_DIR and OLMIX_PYTHON are not set (its checkout and its interpreter)")
        return None
    tried = subprocess.run([python, "-c", "import olmix.fit.utils"], cwd=folder, capture_output=True, text=True)
    if tried.returncode:
        print(f"Olmix left out: {python} cannot import it: {(tried.stderr.strip() or '?').splitlines()[-1]}")
        return None
    return Olmix(Path(folder).resolve(), python, starts, keep, fits, pull)


def compared(n: int, seeds: int, kinds: dict[str, str], olmix: Olmix | None) -> list[str]:
    """A row a method, over the same random subsets of n runs; `kinds`: Olmix's, by title."""
    train, test = table("train"), table("test")
    # seeds outside, methods inside: a table that is cut short still compares like with like
    rows: dict[str, list[tuple[float, float, float, float]]] = {}
    for seed in range(seeds if n < len(train.runs) else 1):
        which = chosen(train, n, seed)
        data = train.weights[which], train.losses[which], test.weights
        answers = {title: ours(name, *data) for name, title in OURS.items()}
        answers |= {title: olmix(kind, *data) for title, kind in kinds.items()} if olmix else {}
        for title, (predicted, spent) in answers.items():
            card = laws.report_card(test.losses, predicted, test.metrics, "test runs")
            figures = float(np.mean(card.spearman)), float(np.mean(card.r2)), float(np.median(card.r2)), spent
            rows.setdefault(title, []).append(figures)
    lines = []
    for title, every in rows.items():
        means, rho = np.mean(every, axis=0), [row[0] for row in every]
        ends = f"({min(rho):.4f}..{max(rho):.4f})"
        lines.append(
            f"  {n:4d}  {title:<27}  {means[0]:.4f} {ends}        {means[1]:9.3f}  {means[2]:9.3f}  {means[3]:7.2f}"
        )
    return lines


def main() -> int:
    words = parser(__doc__)
    words.add_argument("--runs", default="16,32,64,128,512", help="numbers of training runs, separated by commas")
    words.add_argument("--seeds", type=int, default=3, help="random subsets for each (3; one for all 512)")
    words.add_argument("--starts", type=int, default=3, help="how many of Olmix's 300 starting points (3)")
    words.add_argument("--kinds", default="log_linear", help="Olmix's regressors, e.g. log_linear,gp,lightgbm")
    words.add_argument("--keep", type=Path, help="folder where Olmix's answers are kept and looked for")
    args = words.parse_args()
    table("train")  # says at once where there is none
    if not 1 <= args.starts <= STARTS:
        words.error(f"--starts {args.starts}: Olmix has {STARTS}")
    kinds = {
        f"Olmix {kind}{f', {args.starts} starts' * (kind == 'log_linear')}": kind for kind in args.kinds.split(",")
    }
    with tempfile.TemporaryDirectory() as passing:
        keep = args.keep or Path(passing)
        keep.mkdir(parents=True, exist_ok=True)
        olmix = peer(args.starts, keep)
        print("  runs  method                       Spearman (min..max of subsets)  mean R2  median R2   CPU s")
        for n in map(int, args.runs.split(",")):
            print("\n".join(compared(n, args.seeds, kinds, olmix)), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
