"""The fitted law as a file beside mixture.yml (`NAME.law.json`): with it a page predicts any mixture as `mixer.promise` does.

What is predicted of a mixture w, metric by metric (`mixer/page/law.js`, for `mixer.report --html` and the run report):

    centre   the law near the best proxies at the chosen mixture, that of all proxies alike from a total variation of 0.1 on
    mean     centre + shift * times, which fades from the chosen mixture to 0.1 away (`Promise.shift`)
    half     half the 90 % interval: spread of the draws, and the error of left-out runs * times, at least `floor`
    times    how much farther w is from its four nearest proxies than these from theirs: above 1 it is outside what was tried

A law's numbers stand under the names of its formula (`CurveLaw.named`), as lists over metrics, draws and corpora.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from haigo import files
from mixer import promise
from mixer.arrays import Array
from mixer.curve_law import CurveLaw, left_out_of
from mixer.laws_nested import NestedShareLaw
from mixer.laws_repeat import RepeatedShareLaw
from mixer.limits import Limits
from mixer.outliers import Examined
from mixer.problem import Problem
from mixer.supply import SoftRepetition

_MOST = 150_000
"""Numbers of all draws together: some 1.5 MB in a page. More metrics or corpora get fewer draws, which blurs the intervals."""
_LEAST = 16
_DIGITS, _DRAWN = 12, 6  # significant ones of the law as fitted, and of a draw

_NUMBERS = [float]
_LAW = {"c": [[float]], "b": [[float]]}
_LIKE = {
    "weights": {str: float},
    "corpora": [str],
    "metrics": [str],
    "chosen": _NUMBERS,
    "reference": {"name": str, "weights": _NUMBERS},
    "limits": {"lower": _NUMBERS, "upper": _NUMBERS, "groups": [{"name": str, "row": _NUMBERS, "bound": float}]},
    "supply": (_NUMBERS, None),
    "target_tokens": (float, None),
    "r_star": (float, None),
    "sign": _NUMBERS,
    "objective": {"coefficients": _NUMBERS, "unit": float, "name": str},
    "ceilings": {str: float},
    "bounds": [[(float, None), (float, None)]],
    "law": {"near": _LAW, "all": _LAW, "draws": _LAW},
    "error": {**dict.fromkeys(("noise", "left_out", "shift", "floor"), _NUMBERS), "apart": float},
    "rule": dict.fromkeys(("neighbours", "apart", "drawn", "z", "t"), float),
    "proxies": {"runs": [str], "weights": [_NUMBERS], "measured": [_NUMBERS], "predicted": [_NUMBERS]},
    "doubts": [{"run": str, "metric": str, "measured": float, "expected": float}],
    "held_out": ({"metrics": {str: {"measured": _NUMBERS, "predicted": _NUMBERS}}}, None),
}


def path(mixture: str | os.PathLike[str]) -> Path:
    """Where the law of a mixture.yml stands."""
    return Path(mixture).with_suffix(".law.json")


def write(mixture: str | os.PathLike[str], law: Mapping[str, Any]) -> None:
    """Write the law beside a mixture.yml; `law` is `weights`, as that has them, and what `content` gives."""
    files.write_text(path(mixture), json.dumps(law, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n")


def read(mixture: str | os.PathLike[str], weights: Mapping[str, float]) -> dict[str, Any] | None:
    """The law beside a mixture.yml with these weights; None where there is none, or that of another mixture.

    Raises:
        HaigoError: it is damaged.
    """
    beside = path(mixture)
    found = files.read_record(beside, _LIKE) if beside.is_file() else None
    return dict(found) if found and found["weights"] == dict(weights) else None


def content(task: Problem, best: Array, kept: promise.LeftOut, law: CurveLaw, names: list[str], examined: Examined,
            held_out: Mapping[str, Any] | None, ceilings: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:  # fmt: skip
    """Everything that the file holds but the mixture's weights.

    Args:
        law: fitted to all runs alike.
        names: of the runs; what is fitted beyond them is of other scales.
        examined: which of their losses are not believed.
    """
    constraints, sign, runs = task.constraints, task.sign, len(names)
    doubts = {(each.run, each.metric): each for each in examined.doubts}
    seen = task.y[:runs] * sign
    for (run, metric), each in doubts.items():
        seen[run, metric] = each.measured * sign[metric]
    soft = constraints.repetition if constraints.caps() is not None else None
    return {
        "corpora": list(constraints.corpora),
        "metrics": task.names,
        "chosen": best.tolist(),
        "reference": {"name": constraints.reference_name, "weights": _short(task.reference)},
        "limits": _limits(task.limits),
        "supply": None if constraints.supply is None else constraints.supply.tolist(),
        "target_tokens": constraints.target_tokens,
        "r_star": soft.r_star if isinstance(soft, SoftRepetition) else None,
        "sign": sign.tolist(),
        "objective": {"coefficients": _short(task.coefficients), "unit": task.unit, "name": task.unit_name},
        "ceilings": {name: each["limit"] for name, each in ceilings.items()},
        "bounds": [
            [end if np.isfinite(end) else None for end in row]
            for row in task.objective.bounds(task.names, task.y * sign).tolist()
        ],
        "law": _laws(task, law),
        "error": {"noise": _short(task.noise), **{key: _short(each) for key, each in kept.at_one().items()}}
        | {"apart": float(kept.apart)},
        "rule": promise.constants(),
        "proxies": {
            "runs": names,
            "weights": [_short(row, 6) for row in task.w],
            "measured": [_short(row, 6) for row in seen],
            "predicted": [_short(row, 6) for row in left_out_of(law, task.seed)[0][:runs] * sign],
        },
        "doubts": [
            {
                "run": names[each.run],
                "metric": task.names[each.metric],
                "measured": float(each.measured * sign[each.metric]),
                "expected": float(each.expected * sign[each.metric]),
            }
            for each in doubts.values()
        ],
        "held_out": None if held_out is None else dict(held_out),
    }


def _laws(task: Problem, wide: CurveLaw) -> dict[str, Any]:
    law, draws = task.law, task.surface.draws
    size = draws.shape[1] * draws.shape[2]
    draws = draws[: max(_LEAST, _MOST // size)]
    made: dict[str, Any] = {
        "near": _named(law, law.theta_[None], _DIGITS),
        "all": _named(wide, wide.theta_[None], _DIGITS),
    }
    made["draws"] = _named(law, draws, _DRAWN)
    if isinstance(law, NestedShareLaw):
        made["groups"] = {"place": law.place.tolist(), "share": law.share.tolist()}
    if isinstance(law, RepeatedShareLaw):
        made["passes"] = law.passes.tolist()
    return made


def _named(law: CurveLaw, theta: Array, digits: int) -> dict[str, Any]:
    """The law's numbers for several parameter vectors (draws, metrics, p), as lists over metrics and draws."""
    draws, metrics, p = theta.shape
    named = law.named(theta.reshape(-1, p), np.tile(law.scale_, (draws, 1)))
    return {
        name: [
            [_short(one, digits) if one.ndim else float(f"{one:.{digits}g}") for one in values[metric::metrics]]
            for metric in range(metrics)
        ]
        for name, values in named.items()
    }


def _limits(limits: Limits) -> dict[str, Any]:
    groups = [{"name": each.name, "row": each.row.tolist(), "bound": each.bound} for each in limits.groups]
    return {"lower": _short(limits.lower), "upper": _short(limits.upper), "groups": groups}


def _short(values: Array, digits: int = _DIGITS) -> list[float]:
    return [float(f"{value:.{digits}g}") for value in values.tolist()]
