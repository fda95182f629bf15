"""The run's page, made of the files that its stages left; nothing is computed anew but the figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import haigo
from haigo import files, shapes
from haigo.cli import HaigoError
from haigo.formats import mixture as mixtures
from haigo.progress import clock
from haigo.shown import html
from launch.engine import log
from launch.pipeline import runfile
from launch.pipeline import summary as summaries
from launch.pipeline.page import figures as report_figures
from launch.pipeline.page import text as report_text
from launch.pipeline.page.html import page, table
from launch.pipeline.summary import CHOSEN, require_trained

_CARD = {"spearman": float, "r2": float, "rmse": float}
_MIXTURE = {
    "token_share": {str: float},
    "interval?": {str: [float, float]},
    "epochs?": {str: float},
    "binding?": [{"constraint": str, "price": float}],
    "fit": {"cross_validation": {"metrics": {str: _CARD}}},
    "provenance?": {},
}
_HELD_OUT = {"metrics": {str: {"measured": [float], "predicted": [float]}}}
_PLAN = {
    "model": str,
    "layout": str,
    "nodes": int,
    "memory_gb": float,
    "epochs": float,
    "file": str,
    "tokens_per_s": [float, float],
    "days": [float, float],
}
_PLANS = {"configs": [_PLAN], "tokens": float, "cluster": str, "notes?": [str]}
_ENVIRONMENT = {"platform": str, "cores": int, "packages": {str: (str, None)}}


def write(root: Path, run: runfile.RunFile) -> Path:
    """Write `report.html`; its path."""
    summary = summaries.read(root)
    mixture = mixtures.read(root / "mixture.yml")
    if (wrong := shapes.unlike(mixture, _MIXTURE)) is not None:
        raise HaigoError(f"{root / 'mixture.yml'} is damaged: {wrong}.", "run the pipeline again")
    require_trained(root, mixture["weights"])
    parts = [
        _head(run, summary),
        _answer(summary, mixture),
        report_text.text(root, run),
        _proxies(root, mixture),
        _models(root, run, summary),
        _scores(summary),
        _plan(root),
        _provenance(root, mixture, summary),
    ]
    files.write_text(root / "report.html", page(run.title, "\n".join(parts)))
    return root / "report.html"


def _head(run: runfile.RunFile, summary: Mapping[str, Any]) -> str:
    note = f'<p class="note">{html(run.note)}</p>' if run.note else ""
    models = summary["models"]
    tiles = []
    for name, model in models.items():
        gain = model["objective"] / models[CHOSEN]["objective"] - 1
        less = f"{gain:+.1%} against the chosen mixture" if name != CHOSEN else "bits per byte, held out"
        tiles.append(
            f'<div class="tile{" ours" if name == CHOSEN else ""}"><span>{html(_name(name))}</span>'
            f"<b>{model['objective']:.4f}</b><small>{less}</small></div>"
        )
    names = [f"{weight:g} × {metric}" if weight != 1 else metric for metric, weight in run.objective.metrics.items()]
    goal = names[0] if len(names) == 1 else f"the mean of {', '.join(names[:-1])} and {names[-1]}"
    return (
        f"<header><h1>{html(run.title)}</h1>{note}<p>Objective: {html(goal)} (lower is better), measured on"
        f" held-out documents that no model and no proxy was trained on. Every model had the same budget.</p>"
        f'<div class="tiles">{"".join(tiles)}</div></header>'
    )


def _answer(summary: Mapping[str, Any], mixture: Mapping[str, Any]) -> str:
    weights = mixture["weights"]
    share = summary["models"].get("token_share", {}).get("weights") or mixture["token_share"]
    interval = mixture.get("interval", {})
    figure = report_figures.weights(weights, interval, share)
    rows = [
        [
            name,
            f"{weight:.1%}",
            "–".join(f"{each:.1%}" for each in interval[name]) if name in interval else "",
            f"{share[name]:.1%}",
            f"{mixture['epochs'][name]:.2f}" if name in mixture.get("epochs", {}) else "",
        ]
        for name, weight in weights.items()
    ]
    weighed = table(["corpus", "weight", "90 % interval", "token share", "epochs"], rows)
    binding = [f"{each['constraint']} (price {each['price']:.4f})" for each in mixture.get("binding", [])]
    bound = f"<p>What holds the answer back: {html('; '.join(binding))}.</p>" if binding else ""
    measured = [
        [metric, f"{change:+.1%}"] for metric, change in sorted(summary["ceilings"].items(), key=lambda item: item[1])
    ]
    changes = (
        "<h3>Measured against token share</h3>"
        "<p>Held-out loss of the model trained on the chosen mixture, relative to the one trained on token share"
        " (negative is better).</p>" + table(["metric", "change"], measured)
        if measured
        else ""
    )
    return f"<section><h2>The mixture</h2><figure>{figure}</figure>{weighed}{bound}{changes}</section>"


def _proxies(root: Path, mixture: Mapping[str, Any]) -> str:
    held_out = files.read_record(root / "search" / "held_out.json", (_HELD_OUT, None)) or {"metrics": {}}
    figure = f"<figure>{report_figures.fit(held_out['metrics'])}</figure>" if held_out["metrics"] else ""
    judged = mixture["fit"]["cross_validation"]["metrics"]
    rows = [[metric, *(f"{card[key]:.3f}" for key in ("spearman", "r2", "rmse"))] for metric, card in judged.items()]
    card = table(["metric", "Spearman", "R²", "RMSE"], rows)
    import pandas as pd

    try:
        metrics = pd.read_csv(root / "proxies" / "metrics.csv")
        ratios = pd.read_csv(root / "design" / "ratios.csv")
        both = ratios.merge(metrics, on="run", how="left")
    except (ValueError, KeyError) as error:
        told = f"{root / 'proxies' / 'metrics.csv'} and {root / 'design' / 'ratios.csv'} do not belong together"
        raise HaigoError(f"{told}: {error}", "run the pipeline again") from None
    shown = [str(column) for column in both if column != "seed"]
    runs = table(shown, [[_cell(value) for value in row] for row in both[shown].itertuples(index=False, name=None)])
    return (
        f"<section><h2>The proxy runs</h2><p>{len(metrics)} small models, each on another mixture. Cross-validated fit of"
        f" the mixing law:</p>{card}<p>Predicted against measured, on proxies that the fit never saw:</p>{figure}"
        f"<details><summary>All proxy runs</summary>{runs}</details></section>"
    )


def _models(root: Path, run: runfile.RunFile, summary: Mapping[str, Any]) -> str:
    panels: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for name in summary["models"]:
        for point in log.read(root / "models" / name / "log.jsonl"):
            for metric in (each for each in point if each.endswith("_bpb")):
                value = point[metric]
                panels.setdefault(metric, {}).setdefault(_name(name), []).append((point["tokens"], value))
    first = [metric for metric in run.objective.metrics if metric in panels]
    order = first + [metric for metric in panels if metric not in first]
    figure = report_figures.curves({metric: panels[metric] for metric in order}) if panels else ""
    metrics = list(summary["models"][CHOSEN]["metrics"])
    rows = [
        [_name(name), *(f"{model['metrics'][each]:.4f}" for each in metrics)]
        for name, model in summary["models"].items()
    ]
    return (
        f"<section><h2>The trained models</h2><figure>{figure}</figure><p>Bits per byte on the test documents at the end:"
        f"</p>{table(['model', *metrics], rows)}</section>"
    )


def _scores(summary: Mapping[str, Any]) -> str:
    rows = []
    for name, model in summary["models"].items():
        for task, result in model["scores"].items():
            for metric, value in result.items():
                if isinstance(value, int | float) and not metric.endswith("_stderr"):
                    error = result.get(f"{metric}_stderr")
                    spread = f"± {error:.4f}" if isinstance(error, int | float) else ""
                    rows.append([task, metric, _name(name), f"{value:.4f}", spread])
    if not rows:
        return ""
    rows.sort(key=lambda row: (row[0], row[1]))
    scored = table(["task", "metric", "model", "value", "standard error"], rows, text_columns=(0, 1, 2))
    notes = []
    for task, result in summary["models"][CHOSEN]["scores"].items():
        about = result["about"]
        base = ", ".join(f"{name} {value:.2f}" for name, value in about["baseline"].items() if value is not None)
        why = (
            f" Not comparable with leaderboard rows: {'; '.join(about['not_comparable'])}."
            if about["not_comparable"]
            else ""
        )
        why += _without(about.get("without_excluded"))
        told = f"{task}: {about['n']} documents, {about['num_fewshot']} examples in the prompt, data {about['data']}; {base}."
        notes.append(f"<p>{html(told + why)}</p>")
    return f"<section><h2>Scores</h2>{scored}{''.join(notes)}</section>"


def _without(rest: Mapping[str, Any] | None) -> str:
    """What the chosen model's score is without the items that stood in training text."""
    if rest is None:
        return ""
    if not rest["excluded"]:
        return " None of the documents was found in training text."
    figures = rest.get("results", {}).items()
    shown = ", ".join(f"{metric} {value:.4f}" for metric, value in figures if not metric.endswith("_stderr"))
    return f" Without {rest['excluded']:,} that were found in training text: {shown or 'none is left'}."


def _plan(root: Path) -> str:
    plans = files.read_record(root / "configs" / "plan.json", _PLANS)
    rows = [
        [
            each["model"],
            each["layout"],
            f"{each['nodes']}",
            f"{each['memory_gb']:.1f}",
            f"{each['tokens_per_s'][0]:,.0f}–{each['tokens_per_s'][1]:,.0f}",
            f"{each['days'][0]:.1f}–{each['days'][1]:.1f}",
            f"{each['epochs']:,.1f}",
            each["file"],
        ]
        for each in plans["configs"]
    ]
    head = ["model", "layout", "nodes", "GB a GPU", "tokens/s", "days", "most epochs", "config"]
    said = "".join(f"<p>{html(each)}</p>" for each in plans.get("notes", []))
    return (
        f"<section><h2>The real training</h2><p>GPT-NeoX configs for {plans['tokens'] / 1e9:g} billion tokens on"
        f" {html(plans['cluster'])}, from the same mixture, datasets and tokenizer. Start one with"
        f" <code>python -m launch.deepy train.py CONFIG</code>.</p>{table(head, rows, text_columns=(0, 1, 7))}{said}</section>"
    )


def _provenance(root: Path, mixture: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    environment = files.read_record(root / "env.json", _ENVIRONMENT)
    command = files.read_text(root / "command.txt").strip()
    seconds = table(["stage", "time"], [[name, clock(spent)] for name, spent in summary["seconds"].items()])
    facts = [
        ["command", command],
        ["seed", str(mixture.get("provenance", {}).get("seed", ""))],
        ["machine", f"{environment['platform']}, {environment['cores']} cores"],
        ["versions", ", ".join(f"{name} {version}" for name, version in environment["packages"].items())],
    ]
    return (
        f"<section><h2>Where this comes from</h2>{table(['', ''], facts, text_columns=(0, 1))}"
        f"<details><summary>Time of each stage</summary>{seconds}</details></section>"
        f"<footer>Haigo {haigo.__version__}</footer>"
    )


def _name(model: str) -> str:
    return {CHOSEN: "chosen mixture"}.get(model, model.replace("_", " "))


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
