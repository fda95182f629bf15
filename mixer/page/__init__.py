"""A recommendation as a web page: what was chosen and why, and the mixer to play with (`law.js` computes, `mixer.js` shows)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from haigo import page
from mixer import figures, japanese
from mixer.report_card import in_words
from mixer.sentences import sentences, unit_of_objective

HERE = Path(__file__).parent
SCRIPTS = ["law.js", "mixer.js"]
_WHOLE = ("law", "proxies", "error")  # of the law's file: numbers, and names of runs


def render(document: Mapping[str, Any], law: Mapping[str, Any] | None, language: str, title: str) -> str:
    """The page.

    Args:
        document: as `mixture.read` gives it.
        law: what `law_file.read` gives.
    """
    given = about(document, law, language)
    template = page.environment(language, HERE, also=japanese.say).get_template("mixture_page.html")
    return template.render(title=title, m=given, scripts=SCRIPTS if given["law"] else [])


def about(
    document: Mapping[str, Any],
    law: Mapping[str, Any] | None,
    language: str,
    curves: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What `mixture.html` shows of a recommendation.

    Args:
        curves: what `figures.read` gives; the mixer then begins with the two metrics of their trade-off.
    """
    say = page.speaker(language, japanese.say)
    told = {heading: [say(each) for each in said] for heading, said in sentences(document).items()}
    named = figures.shortener(document)
    rest = {key: value for key, value in document.items() if key not in ("notes", "provenance")}
    shown = named(rest)
    weights, fit = shown["weights"], shown.get("fit", {})
    reference = shown.get("reference", {"name": "token share"})
    share = shown.get("token_share") or reference.get("weights")
    cards = fit.get("cross_validation", {}).get("metrics", {})
    units = {**figures.units_of(document), "objective": unit_of_objective(document)}
    if law is not None:
        pair = [law["metrics"].index(each) for each in (curves or {}).get("trade_off", {}).get("metrics", [])]
        law = {key: value if key in _WHOLE else named(value) for key, value in law.items()}
        law["pair"] = pair
    return {
        "weights": weights,
        "share": share,
        "share_name": say("token share" if shown.get("token_share") else reference["name"]),
        "reference": say(reference["name"]),
        "bars": _bars(weights, shown.get("interval", {}), share),
        "columns": _columns(shown, share, say),
        "said": told,
        "gain": next(iter(told.get("Mixture", [])), None) if "gain" in shown else None,
        "transfer": shown.get("transfer"),
        "prediction": shown.get("prediction"),
        "law": law,
        "words": None if law is None else _words(law, units, language, say),
        "units": units,
        "cards": {metric: {**card, "said": say(in_words(card["r2"]))} for metric, card in cards.items()},
        "held": fit.get("held_out", {}).get("metrics"),
        "judgement": _judgement(fit, say) if cards else "",
        "fit": None if law is None else _fit(law),
        "doubts": None if law is None else law["doubts"],
        "provenance": document.get("provenance", {}),
    }


def _bars(
    weights: Mapping[str, float], interval: Mapping[str, list[float]], share: Mapping[str, float] | None
) -> dict[str, dict[str, Any]]:
    """Where bars, intervals and marks lie, in per cent of the track."""
    tops = [*weights.values(), *(high for _, high in interval.values()), *(share or {}).values()]
    most = max(tops) or 1.0

    def at(value: float) -> float:
        return round(100.0 * value / most, 2)

    def wide(pair: list[float] | None) -> tuple[float, float] | None:
        return (at(pair[0]), at(pair[1] - pair[0])) if pair else None

    return {
        name: {"weight": at(weight), "range": wide(interval.get(name)), "share": at(share[name]) if share else None}
        for name, weight in weights.items()
    }


def _columns(shown: Mapping[str, Any], share: Mapping[str, float] | None, say: Callable[..., str]) -> list[Any]:
    """Heading and cells of what stands beside the weights."""
    made: list[tuple[str, dict[str, str]]] = []
    for head, key in (("90 % interval", "interval"), ("near-optimal", "near_optimal")):
        if key in shown:
            cells = {name: f"{100 * low:.1f}–{100 * high:.1f}%" for name, (low, high) in shown[key].items()}
            made.append((say(head), cells))
    if share:
        head = "token share" if shown.get("token_share") else shown["reference"]["name"]
        made.append((say(head), {name: f"{value:.1%}" for name, value in share.items()}))
    if "epochs" in shown:
        made.append((say("epochs"), {name: f"{value:.2f}" for name, value in shown["epochs"].items()}))
    return made


def _words(law: Mapping[str, Any], units: Mapping[str, str], language: str, say: Callable[..., str]) -> dict[str, Any]:
    """What `mixer.js` says in the page's language."""
    script = (HERE / "mixer.js").read_text(encoding="utf-8")
    known = page.sentences() if language == "ja" else {}
    return {
        **{english: japanese for english, japanese in known.items() if f'"{english}"' in script},
        "reference": say(law["reference"]["name"]),
        "unit": say(units["objective"] if law["objective"]["name"] == "sum" else law["objective"]["name"]),
        "units": [say(units[metric]) for metric in law["metrics"]],
    }


def _fit(law: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Metric -> the points of predicted against measured."""
    made = {}
    runs, held = law["proxies"], law["held_out"]
    for j, metric in enumerate(law["metrics"]):
        points = [
            (guess[j], seen[j], name)
            for guess, seen, name in zip(runs["predicted"], runs["measured"], runs["runs"], strict=True)
        ]
        made[metric] = [{"points": points, "kind": 0}]
        if held:
            one = held["metrics"][metric]
            pairs = zip(one["predicted"], one["measured"], held["runs"], strict=True)
            made[metric].append({"points": list(pairs), "kind": 1})
    return made


def _judgement(fit: Mapping[str, Any], say: Callable[..., str]) -> str:
    """The report card in a sentence or two."""
    card, held = fit["cross_validation"], fit.get("held_out")
    one = card["metrics"].get("objective") or next(iter(card["metrics"].values()))
    said = [
        say(
            "{n} proxies, each predicted by a law that was fitted without it ({how}): the objective is predicted {word}, with "
            "rank correlation {rho} and {r2} of its variance.",
            n=card["runs"],
            how=say(card["how"]),
            word=say(in_words(one["r2"])),
            rho=f"{one['spearman']:.2f}",
            r2=f"{max(one['r2'], 0.0):.0%}",
        )
    ]
    if held:
        two = held["metrics"].get("objective") or next(iter(held["metrics"].values()))
        said.append(
            say(
                "{n} more runs were held out of everything: {word}, with rank correlation {rho}.",
                n=held["runs"],
                word=say(in_words(two["r2"])),
                rho=f"{two['spearman']:.2f}",
            )
        )
    return (" " if say("seed") == "seed" else "").join(said)
