"""What a pilot's tables say to a plan: how noisy a run is, and how hard the objective."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np

from haigo.formats import csvfile
from mixer import expected_regret
from mixer.expected_regret import Swarm
from mixer.options import PlanningOptions, SearchOptions
from mixer.splits import Aim


def learnt(options: PlanningOptions, aim: Aim) -> Aim:
    """`aim` with what the pilot says.

    Noise: of rows trained several times, where they are enough (`mixer.replicates`), over the metrics' spread. Level: the
    regret that the search expects of the pilot itself (what its draws of the law say, and the law's own error) over what is
    expected of such a swarm anywhere.
    """
    from mixer import objective as objectives
    from mixer.proxies import read
    from mixer.search import search

    assert options.ratios and options.metrics
    goal = objectives.parse(options.objective, {}, options.maximise)
    table = read(options.ratios, options.metrics, list(goal.weights))
    size, tokens = _trained(options.metrics)
    scale = aim.scale
    if table.noise is not None and size and tokens:
        seen = float(np.median(table.noise / np.maximum(table.losses.std(axis=0), 1e-12)))
        said = expected_regret.noise(scale, size, tokens)
        scale = dataclasses.replace(scale, noise=scale.noise * max(seen, 1e-4) / said)
        print(f"{options.metrics}: a run's noise is {seen:.3f} of the spread over mixtures.", file=sys.stderr)
    # the target's size is the plan's matter (`expected_regret.disagreement`): here the pilot speaks of its own
    own = {"target_size": None, "held_out": None, "output": None, "json": False}
    asked = options.shared(SearchOptions, bootstrap=40, force=True, **own)
    answer = search(asked)
    gain, left = float(answer.gain["mean"]), float(answer.expected_regret)
    noise = expected_regret.noise(scale, size, tokens) if size and tokens else scale.noise
    level = 1.0
    if gain > 0 and left > 0:
        here = Swarm(runs=len(table.runs), corpora=aim.corpora, noise=noise)
        level = expected_regret.level(left / (gain + left), here)
        print(
            f"{options.metrics}: {len(table.runs)} runs leave a regret of {left / (gain + left):.3f}.", file=sys.stderr
        )
    return dataclasses.replace(aim, scale=scale, level=level, noise_known=table.noise is not None)


def _trained(path: str) -> tuple[float, float]:
    """Size and tokens of most of the runs; 0 where the table does not say."""
    table = csvfile.read(path)
    if not {"size", "tokens"} <= set(table.columns):
        return 0.0, 0.0
    size, tokens = table.value_counts(["size", "tokens"]).index[0]
    try:
        return float(size), float(tokens)
    except ValueError:
        return 0.0, 0.0
