"""The figures of a recommendation as files: what mixture.yml says, and what a search has beside it (`curves.json`).

`haigo.figures` draws them, as it does for the run report.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from haigo import figures, files, page
from mixer.proxies import short_names

CURVES = "curves.json"
"""What was drawn of a search beyond mixture.yml, for `mixer.report --figures` and for one's own figures."""
_WEIGHTS = ("corpus", "weight", "low", "high", "token share")
NAMES = ("weights", "transfer", "skill", "fit", "trade-off", "ceilings")

_NUMBER = (float, None)
_CURVES = {
    "weights": {str: float},
    "fit": {str: {"measured": [float], "predicted": [float]}},
    "trade_off?": {
        "metrics": [str, str],
        "curve": [[float, float]],
        "marks": {str: [float, float]},
        "runs": [[float, float]],
    },
    "ceilings?": {"unit": str, "lines": {str: [[float, _NUMBER]]}, "given": {str: float}},
}


def check(folder: str | os.PathLike[str], inputs: list[str | None]) -> None:
    """Refuse a folder that holds an input, or files of somebody else under the figures' names."""
    names = [f"{name}.{kind}" for name in NAMES for kind in ("svg", "png", "csv")]
    files.check_output(folder, inputs, names=[*names, CURVES])


def read(folder: str | os.PathLike[str], document: Mapping[str, Any]) -> dict[str, Any] | None:
    """The curves of an earlier search of the same mixture; None where there are none."""
    path = Path(folder) / CURVES
    found = files.read_record(path, (_CURVES, None)) if path.is_file() else None
    return found if found and found["weights"] == document["weights"] else None


def write(
    folder: str | os.PathLike[str],
    document: Mapping[str, Any],
    curves: Mapping[str, Any] | None = None,
    keep: bool = True,
    language: str = "en",
) -> list[Path]:
    """Draw what there is: weights, transfer and skill of mixture.yml; fit, trade-off and ceilings of a search's curves.

    Args:
        keep: write `curves.json` too.
        language: of the labels, as in `figures.write`.

    Returns:
        the figures, of each an SVG, a PNG and a CSV with its numbers.
    """
    place = Path(folder)
    files.remove_leftovers(place, below=False)  # of a killed call
    made: list[Path] = []
    if curves and keep:
        files.write_json(place / CURVES, {"weights": dict(document["weights"]), **curves})
    document, curves = _shortened(document, curves)
    weights, share = document["weights"], document.get("token_share", {})
    interval = document.get("interval", {})
    rows = [(name, weight, *interval.get(name, ("", "")), share.get(name, "")) for name, weight in weights.items()]
    made += figures.write(
        place, "weights", partial(figures.weights, weights, interval, share), (_WEIGHTS, rows), language
    )
    if document.get("transfer"):
        corpora = list(next(iter(document["transfer"].values())))
        rows = [(metric, *parts.values()) for metric, parts in document["transfer"].items()]
        head = ("metric", *corpora)
        made += figures.write(
            place, "transfer", lambda _: figures.transfer(document["transfer"]), (head, rows), language
        )
    if "fit" in document:
        cards = {
            document["fit"][key]["how"]: document["fit"][key]["metrics"]
            for key in ("cross_validation", "held_out")
            if key in document["fit"]
        }
        rows = [
            (how, m, each["spearman"], each["r2"], each["rmse"]) for how, c in cards.items() for m, each in c.items()
        ]
        head = ("how", "metric", "spearman", "r2", "rmse (unit of the metric)")
        made += figures.write(place, "skill", partial(figures.skill, cards), (head, rows), language)
    return made + (_of_search(place, curves, language) if curves else [])


def _of_search(place: Path, curves: Mapping[str, Any], language: str) -> list[Path]:
    rows = [
        (metric, how, predicted, measured)
        for metric, each in curves["fit"].items()
        for how, prefix in (("left out", ""), ("held out", "held_"))
        if f"{prefix}measured" in each
        for predicted, measured in zip(each[f"{prefix}predicted"], each[f"{prefix}measured"], strict=True)
    ]
    units = {page.unit(metric) for metric in curves["fit"]}
    unit = units.pop() if len(units) == 1 else "unit of the metric"
    titles = ("metric", "how", f"predicted ({unit})", f"measured ({unit})")
    made = figures.write(place, "fit", partial(figures.fit, curves["fit"]), (titles, rows), language)
    if "trade_off" in curves:
        one = curves["trade_off"]
        rows = [("best mixture, predicted", *pair) for pair in one["curve"]]
        rows += [(name, *pair) for name, pair in one["marks"].items()] + [
            ("proxy, measured", *pair) for pair in one["runs"]
        ]
        figure = partial(figures.trade_off, tuple(one["metrics"]), one["curve"], one["marks"], one["runs"])
        made += figures.write(place, "trade-off", figure, (["what", *one["metrics"]], rows), language)
    if curves.get("ceilings", {}).get("lines"):
        one = curves["ceilings"]
        rows = [(metric, *pair) for metric, pairs in one["lines"].items() for pair in pairs]
        head = ("metric", "% worse than the reference", f"lost in {one['unit']}")
        figure = partial(figures.ceilings, one["unit"], one["lines"], one["given"])
        made += figures.write(place, "ceilings", figure, (head, rows), language)
    return made


def fit_of(law: Mapping[str, Any]) -> dict[str, Any]:
    """Predicted against measured of a law's file (`mixer.law_file`), as `curves.json` has it."""
    runs, held = law["proxies"], (law["held_out"] or {}).get("metrics", {})
    return {
        metric: {
            **{key: [row[j] for row in runs[key]] for key in ("measured", "predicted")},
            **{f"held_{key}": held[metric][key] for key in ("measured", "predicted") if metric in held},
        }
        for j, metric in enumerate(law["metrics"])
    }


def said(drawn: list[Path], folder: str) -> str:
    """What a command says of the figures it drew."""
    return f"Drawn: {', '.join(path.name for path in drawn if path.suffix == '.svg')} (and .png, .csv) in {folder}"


def _shortened(document: Mapping[str, Any], curves: Mapping[str, Any] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    named = shortener(document)
    kept = {key: document[key] for key in ("weights", "interval", "token_share", "transfer", "fit") if key in document}
    return named(kept), named(curves or {})


def units_of(document: Mapping[str, Any]) -> dict[str, str]:
    """What each metric is counted in, by its name as `shortener` gives it: the full name tells the unit."""
    metrics = short_names(list(document.get("prediction", {})), "metric")
    return {short: page.unit(metric) for metric, short in metrics.items()}


def shortener(document: Mapping[str, Any]) -> Callable[[Any], Any]:
    """What puts names that fit into a figure (`train_the_pile_arxiv` is `arxiv`), where they stay apart, in keys and values."""
    corpora = short_names(list(document["weights"]), "corpus")
    metrics = short_names(list(document.get("prediction", {})), "metric")

    def named(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {metrics.get(key, corpora.get(key, key)): named(each) for key, each in value.items()}
        if isinstance(value, list):
            return [named(each) for each in value]
        return metrics.get(value, corpora.get(value, value)) if isinstance(value, str) else value

    return named
