"""What a run came to, in numbers: read from the files that its stages left, written as `summary.json`, shown by the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from haigo import files, shapes
from haigo.cli import HaigoError, Refused
from haigo.formats import mixture as mixtures
from launch.engine import checkpoint
from launch.pipeline import stage
from launch.pipeline.runfile import RunFile

CHOSEN = "chosen"
# the last is there only where the text was searched for evaluation items
_ABOUT = ("n", "num_fewshot", "data", "baseline", "not_comparable", "without_excluded")


_TASK = {"n": int, "num_fewshot": int, "data": str, "baseline": {str: (float, None)}, "not_comparable": [str]}
_SCORES = {"results": {str: {str: (float, None)}}, "haigo": {"tasks": {str: _TASK}}}
_MODEL = {
    "objective": float,
    "metrics": {str: float},
    "tokens": int,
    "weights": {str: float},
    "scores": {str: {"about": {**_TASK, "without_excluded?": ({"excluded": int, "results?": {str: float}}, None)}}},
}
_LIKE = {
    "headline": str,
    "weights": {str: float},
    "models": {CHOSEN: _MODEL, "token_share?": _MODEL},
    "ceilings": {str: float},
    "seconds": {str: float},
    "cpu_seconds?": {str: float},
    "training_cpu_seconds?": {str: float},
    "memory_bytes?": {str: int},
    "proxies?": {"rounds": int, "first": int, "second": int, "held_out": int},
}


def read(root: Path) -> dict[str, Any]:
    """`summary.json` of a finished run.

    Raises:
        HaigoError: there is none, or it is damaged.
    """
    path = root / "summary.json"
    found = files.read_record(path, _LIKE)
    if wrong := shapes.unlike(found["models"], {str: _MODEL}):
        raise HaigoError(f"{path} is damaged: {wrong}.", "run the pipeline again")
    return dict(found)


def collect(root: Path, run: RunFile, rounds: int = 1) -> dict[str, Any]:
    """The run's result.

    Args:
        rounds: in which its proxies were trained.

    Returns:
        headline: one sentence; weights: of the chosen mixture; models: name -> objective, held-out metrics (bits per byte),
        tokens, scores; ceilings: metric -> measured share of the token-share model's loss, where one is trained; seconds: of
        every stage, cpu_seconds: of those that were measured, training_cpu_seconds: of those that trained,
        memory_bytes: that each took at most; proxies: how many in which round.

    Raises:
        Refused: the mixture is not the one that the model was trained on.
    """
    mixture = mixtures.read(root / "mixture.yml")
    require_trained(root, mixture["weights"])
    models: dict[str, Any] = {}
    for name in [CHOSEN, *run.train.compare]:
        result = checkpoint.read(root / "models" / name / checkpoint.RESULT)
        # the pairs that trained models are asked are held out already: they stand under "metrics"
        asked = {metric: result["metrics"][metric] for metric in (f"{each}_bpb" for each in run.pairs)}
        held_out = {**result["metrics_test"], **asked}
        models[name] = {
            "objective": objective(held_out, run),
            "metrics": held_out,
            "tokens": result["tokens"],
            "weights": mixtures.read(root / "models" / name / "mixture.yml")["weights"],
            "scores": _scores(root / "scores" / name / "result.json"),
        }
    spent = stage.spent_on(root)
    second = run.proxies.runs // 2 if rounds == 2 else 0
    trained = {"rounds": rounds, "first": run.proxies.runs - second, "second": second}
    return {
        "headline": _headline(models),
        "weights": mixture["weights"],
        "models": models,
        "ceilings": _ceilings(models, run),
        "seconds": {name: each.seconds for name, each in spent.items()},
        "cpu_seconds": {name: each.cpu for name, each in spent.items() if each.cpu is not None},
        "training_cpu_seconds": {name: each.training for name, each in spent.items() if each.training},
        "memory_bytes": {name: each.memory for name, each in spent.items() if each.memory is not None},
        "proxies": trained | {"held_out": run.proxies.held_out},
    }


def require_trained(root: Path, weights: dict[str, float]) -> None:
    """See that the mixture which is shown is the one that a model was trained on.

    Raises:
        Refused: it is not.
    """
    path = root / "models" / CHOSEN / "mixture.yml"
    trained = mixtures.read(path)["weights"]
    if {name: weight for name, weight in trained.items() if weight} != {n: w for n, w in weights.items() if w}:
        raise Refused(
            f"{root / 'mixture.yml'} is not the mixture that models/{CHOSEN} was trained on ({path}).",
            "run `python -m launch.pipeline` with the run file again",
        )


def objective(metrics: dict[str, float], run: RunFile) -> float:
    """The weighted mean of the objective's metrics, bits per byte."""
    weights = run.objective.metrics
    return sum(weight * metrics[name] for name, weight in weights.items()) / sum(weights.values())


def _headline(models: dict[str, Any]) -> str:
    ours = models[CHOSEN]["objective"]
    parts = [f"held-out objective: {ours:.4f} bits per byte at the chosen mixture"]
    for name, model in models.items():
        if name != CHOSEN:
            gain = model["objective"] / ours - 1
            word = "more" if gain >= 0 else "LESS"
            parts.append(f"{model['objective']:.4f} at {name.replace('_', ' ')} ({abs(gain):.1%} {word})")
    return ", ".join(parts)


def _ceilings(models: dict[str, Any], run: RunFile) -> dict[str, Any]:
    """How much worse (+) or better (-) than the token-share model the chosen one came out, on every metric, as measured."""
    if "token_share" not in models:
        return {}
    base = models["token_share"]["metrics"]
    return {name: value / base[name] - 1 for name, value in models[CHOSEN]["metrics"].items() if base.get(name)}


def _scores(path: Path) -> dict[str, Any]:
    """Task -> its figures, and under "about" how many documents, the chance level and why it is no leaderboard number."""
    if not path.exists():
        return {}
    found = files.read_record(path, _SCORES)
    about = {task: {key: told[key] for key in _ABOUT if key in told} for task, told in found["haigo"]["tasks"].items()}
    return {task: {**figures, "about": about[task]} for task, figures in found["results"].items()}
