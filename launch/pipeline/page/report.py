"""What the run's page shows, read from the files that its stages left; nothing is computed anew but the figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import haigo
from haigo import figures, files, shapes
from haigo.cli import HaigoError
from haigo.formats import mixture as mixtures
from haigo.formats.dataset import manifest
from launch.engine import log
from launch.pipeline import domains, runfile
from launch.pipeline import summary as summaries
from launch.pipeline.page.html import label, template
from launch.pipeline.summary import require_trained

_SHOWN = 5  # documents of each domain
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
    **dict.fromkeys(("model", "layout", "file"), str),
    "nodes": int,
    **dict.fromkeys(("memory_gb", "epochs"), float),
    "tokens_per_s": [float, float],
    "days": [float, float],
}
_PLANS = {"configs": [_PLAN], "tokens": float, "cluster": str, "notes?": [str]}
_ENVIRONMENT = {"platform": str, "cores": int, "packages": {str: (str, None)}}
_TOKENIZER = {"corpora": {str: {"characters_per_token": float}}}
_CLEAN = {
    **dict.fromkeys(("documents_in", "documents_out", "characters_in", "characters_out"), int),
    "rules": {str: {"documents": int, "characters": int, "samples?": [object]}},
}
_SIDE = {"corpus": str, "text": str}
_DEDUP = {
    **dict.fromkeys(("documents_in", "documents_out"), int),
    "corpora": {
        str: {**dict.fromkeys(("documents_in", "exact_duplicate", "near_duplicate"), int), "repeats_of": {str: int}}
    },
    "samples": [{"rule": str, "similarity": float, "removed": _SIDE, "kept": _SIDE}],
}
_ITEMS = {
    "tasks": {str: dict.fromkeys(("items", "searched", "found", "found_in_training"), int)},
    "corpora": {
        str: {"documents_in": int, "contaminated": dict.fromkeys(("train", "valid", "test"), int), "tasks": {str: int}},
    },
    "samples": [{"task": str, "item": object, "item_text": str, **_SIDE}],
    "against": [object],
}


def write(root: Path, run: runfile.RunFile) -> Path:
    """Write `report.html`; its path."""
    summary = summaries.read(root)
    mixture = mixtures.read(root / "mixture.yml")
    if (wrong := shapes.unlike(mixture, _MIXTURE)) is not None:
        raise HaigoError(f"{root / 'mixture.yml'} is damaged: {wrong}.", "run the pipeline again")
    require_trained(root, mixture["weights"])
    share = summary["models"].get("token_share", {}).get("weights") or mixture["token_share"]
    names = [f"{weight:g} × {metric}" if weight != 1 else metric for metric, weight in run.objective.metrics.items()]
    columns, proxies = _proxies(root)
    page = template().render(
        run=run,
        goal=names[0] if len(names) == 1 else f"the mean of {', '.join(names[:-1])} and {names[-1]}",
        summary=summary,
        models=summary["models"],
        mixture=mixture,
        share=share,
        domains=parted(root, run),
        text={"corpora": _corpora(root, run), "dedup": dedup(root, run), "contaminated": contaminated(root, run)},
        columns=columns,
        proxies=proxies,
        figures=_figures(root, run, summary["models"], mixture, share),
        scores=_scores(summary["models"]),
        plans=files.read_record(root / "configs" / "plan.json", _PLANS),
        environment=files.read_record(root / "env.json", _ENVIRONMENT),
        command=files.read_text(root / "command.txt").strip(),
        version=haigo.__version__,
    )
    files.write_text(root / "report.html", page)
    return root / "report.html"


def _corpora(root: Path, run: runfile.RunFile) -> dict[str, Any]:
    """Corpus -> what cleaning says of it, and what its tokens are."""
    parts = domains.parts(root, run)
    compression = files.read_record(root / "tokenizer" / "meta.json", _TOKENIZER)["corpora"]
    return {
        name: {
            "clean": files.read_record(root / run.text_folder() / name / "clean.json", _CLEAN),
            "tokens": sum(
                manifest.read(root / "data" / part / "train_text_document")["tokens"]
                for part, corpus in parts.items()
                if corpus == name
            ),
            "characters_per_token": compression[name]["characters_per_token"],
        }
        for name in run.corpora
    }


def parted(root: Path, run: runfile.RunFile) -> dict[str, dict[str, Any]]:
    """Corpus -> part -> what it holds, of those that are parted."""
    from preprocess.domains import describe

    return {name: describe(root / domains.FOLDER / name, _SHOWN)["domains"] for name in domains.parted(run)}


def dedup(root: Path, run: runfile.RunFile) -> Any:
    """What dedup took out; None where it is off."""
    return None if run.dedup.method == "none" else files.read_record(root / "dedup" / "dedup.json", _DEDUP)


def contaminated(root: Path, run: runfile.RunFile) -> Any:
    """What decontamination found; None where it is off."""
    path = root / "decontaminate" / "decontaminate.json"
    return files.read_record(path, _ITEMS) if run.decontaminate.against else None


def _proxies(root: Path) -> tuple[list[str], list[list[str]]]:
    """The table of all proxies: its columns and rows."""
    import pandas as pd

    paths = root / "proxies" / "metrics.csv", root / "design" / "ratios.csv"
    try:
        metrics, ratios = map(pd.read_csv, paths)
        both = ratios.merge(metrics, on="run", how="left").drop(columns="seed", errors="ignore")
    except (ValueError, KeyError) as error:
        told = f"{paths[0]} and {paths[1]} do not belong together: {error}"
        raise HaigoError(told, "run the pipeline again") from None
    rows = both.itertuples(index=False, name=None)
    return list(map(str, both)), [[f"{x:.4g}" if isinstance(x, float) else str(x) for x in row] for row in rows]


def _figures(
    root: Path, run: runfile.RunFile, models: dict[str, Any], mixture: dict[str, Any], share: dict[str, float]
) -> dict[str, Any]:
    """Name -> SVG."""
    from markupsafe import Markup

    held_out = files.read_record(root / "search" / "held_out.json", (_HELD_OUT, None)) or {"metrics": {}}
    panels: dict[str, dict[str, list[tuple[float, float]]]] = {metric: {} for metric in run.objective.metrics}
    for name in models:
        for point in log.read(root / "models" / name / "log.jsonl"):
            for metric in (each for each in point if each.endswith("_bpb")):
                panels.setdefault(metric, {}).setdefault(label(name), []).append((point["tokens"], point[metric]))
    panels = {metric: drawn for metric, drawn in panels.items() if drawn}
    return {
        "weights": Markup(figures.svg(figures.weights(mixture["weights"], mixture.get("interval", {}), share))),
        "fit": Markup(figures.svg(figures.fit(held_out["metrics"]))) if held_out["metrics"] else "",
        "curves": Markup(figures.svg(figures.curves(panels))) if panels else "",
    }


def _scores(models: dict[str, Any]) -> list[tuple[str, str, str, float, Any]]:
    """(task, metric, model, value, standard error) of every figure."""
    rows = [
        (task, metric, name, value, result.get(f"{metric}_stderr"))
        for name, model in models.items()
        for task, result in model["scores"].items()
        for metric, value in result.items()
        if isinstance(value, int | float) and not metric.endswith("_stderr")
    ]
    return sorted(rows, key=lambda row: row[:2])
