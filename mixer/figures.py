"""The figures of a recommendation as files: what mixture.yml says, and what a search has beside it (`curves.json`).

`haigo.figures` draws them, as it does for the run report.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haigo import figures, files
from mixer.proxies import short_names

CURVES = "curves.json"
"""What was drawn of a search beyond mixture.yml, for `mixer.report --figures` and for one's own figures."""
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
    names = [f"{name}.{kind}" for name in NAMES for kind in ("svg", "png")]
    files.check_output(folder, inputs, names=[*names, CURVES])


def read(folder: str | os.PathLike[str], document: Mapping[str, Any]) -> dict[str, Any] | None:
    """The curves of an earlier search of the same mixture; None where there are none."""
    path = Path(folder) / CURVES
    found = files.read_record(path, (_CURVES, None)) if path.is_file() else None
    return found if found and found["weights"] == document["weights"] else None


def write(
    folder: str | os.PathLike[str], document: Mapping[str, Any], curves: Mapping[str, Any] | None = None
) -> list[Path]:
    """Draw what there is: weights, transfer and skill of mixture.yml; fit, trade-off and ceilings of a search's curves.

    Returns:
        the figures, an SVG and a PNG of each.
    """
    place = Path(folder)
    files.remove_leftovers(place, below=False)  # of a killed call
    made: list[Path] = []
    if curves:
        files.write_json(place / CURVES, {"weights": dict(document["weights"]), **curves})
    document, curves = _shortened(document, curves)
    weights = document["weights"]
    drawn = {"weights": figures.weights(weights, document.get("interval", {}), document.get("token_share", {}))}
    if document.get("transfer"):
        drawn["transfer"] = figures.transfer(document["transfer"])
    if "fit" in document:
        cards = {
            document["fit"][key]["how"]: document["fit"][key]["metrics"]
            for key in ("cross_validation", "held_out")
            if key in document["fit"]
        }
        drawn["skill"] = figures.skill(cards)
    if curves:
        drawn["fit"] = figures.fit(curves["fit"])
        if "trade_off" in curves:
            one = curves["trade_off"]
            drawn["trade-off"] = figures.trade_off(tuple(one["metrics"]), one["curve"], one["marks"], one["runs"])
        if curves.get("ceilings", {}).get("lines"):
            one = curves["ceilings"]
            drawn["ceilings"] = figures.ceilings(one["unit"], one["lines"], one["given"])
    for name, figure in drawn.items():
        made += figures.write(place, name, figure)
    return made


def said(drawn: list[Path], folder: str) -> str:
    """What a command says of the figures it drew."""
    return f"Drawn: {', '.join(path.name for path in drawn if path.suffix == '.svg')} (and .png) in {folder}"


def _shortened(document: Mapping[str, Any], curves: Mapping[str, Any] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same under names that fit into a figure (`train_the_pile_arxiv` is `arxiv`), where they stay apart."""
    corpora = short_names(list(document["weights"]), "corpus")
    metrics = short_names(list(document.get("prediction", {})), "metric")

    def named(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {metrics.get(key, corpora.get(key, key)): named(each) for key, each in value.items()}
        if isinstance(value, list):
            return [named(each) for each in value]
        return metrics.get(value, value) if isinstance(value, str) else value

    kept = {key: document[key] for key in ("weights", "interval", "token_share", "transfer", "fit") if key in document}
    return named(kept), named(curves or {})
