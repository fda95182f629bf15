"""What a recommendation says that is better said than tabulated: gain, what binds, notes; `mixer.japanese` knows it all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from haigo import page
from mixer.answer import sure


def number(value: Any) -> str:
    """Four significant digits."""
    return f"{float(value):.4g}"


def spread(pair: Sequence[float], percent: bool = False) -> str:
    """Two ends of an interval."""
    low, high = pair
    return f"{low:.1%} to {high:.1%}" if percent else f"{number(low)} to {number(high)}"


def unit_of_objective(document: Mapping[str, Any]) -> str:
    """What the objective is counted in; its weights are scaled to sum to 1, so that it is a mean of its metrics."""
    objective = document.get("objective", {})
    if objective.get("standardise"):
        return "standard deviations over the proxies"
    units = {page.unit(metric) for metric, weight in objective.get("weights", {}).items() if weight}
    return units.pop() if len(units) == 1 else "weighted mean"


def _in(unit: str, document: Mapping[str, Any]) -> str:
    if unit == "sum":
        return f"the objective ({unit_of_objective(document)})"
    return unit


_STEPS = {"1 % of the ceiling": "1 % more room", "0.01 of weight": "loosened by 0.01 of weight"}


def _costs(item: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """What a limit that binds costs: what a step beyond it would gain."""
    own = item["unit"] not in ("sum", "standard deviations over the proxies")
    what, unit = (
        item["unit"] if own else "the objective",
        page.unit(item["unit"]) if own else unit_of_objective(document),
    )
    step = _STEPS.get(item["per"], item["per"])
    return f"{item['constraint']}: {step} would improve {what} by {number(item['price'])} ({unit})."


def sentences(document: Mapping[str, Any]) -> dict[str, list[str]]:
    """What is better said than tabulated: gain, what binds, notes."""
    made: dict[str, list[str]] = {}
    if "gain" in document:
        gain = document["gain"]
        name = document.get("reference", {}).get("name", "token share")
        made["Mixture"] = [
            f"Predicted gain over {name}{', ' + gain['scale'] if 'scale' in gain else ''}: {number(gain['mean'])} "
            f"({spread(gain['interval'])}) in {_in(gain['unit'], document)}; "
            f"better with probability {sure(gain['probability'])}. "
            f"Expected loss from what the proxies do not tell: {number(document.get('expected_regret', 0.0))}."
        ]
        if "proxies_to_halve_regret" in document and document.get("expected_regret", 0.0) > 0:
            more = document["proxies_to_halve_regret"]
            made["Mixture"].append(
                f"About {more} more proxies of the same kind would halve it."
                if more is not None
                else "More proxies of the same kind would hardly lower it: try larger ones, or mixtures nearer to this one."
            )
    if "binding" in document:
        made["What binds"] = [_costs(item, document) for item in document["binding"]] or ["Nothing binds."]
        made["What binds"] += [
            f"The ceiling of {metric} ({number(item['limit'])}) holds with probability {sure(item['probability'])}."
            for metric, item in document.get("ceilings", {}).items()
        ]
    if document.get("notes"):
        made["Notes"] = list(document["notes"])
    return made
