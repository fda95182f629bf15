"""What the report says of the trained models: curves, changes against token share, scores beside published rows, answers."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from eval_harness import leaderboard
from eval_harness.table import Table
from haigo import files, page
from launch.engine import checkpoint, log
from launch.pipeline import runfile
from launch.pipeline.page.html import label
from launch.pipeline.summary import CHOSEN
from mixer import objective

_SHOWN = 3  # documents of each task whose answers are shown
_Z90 = 1.6448536
Curves = dict[str, dict[str, list[tuple[float, float]]]]


def curves(root: Path, run: runfile.RunFile, models: Mapping[str, Any]) -> Curves:
    """Metric -> model -> [(tokens, bits per byte)]; what the mixture is chosen for comes first."""
    panels: Curves = {metric: {} for metric in run.objective.metrics}
    for name in models:
        for point in log.read(root / "models" / name / "log.jsonl"):
            for metric in (each for each in point if each.endswith("_bpb")):
                panels.setdefault(metric, {}).setdefault(label(name), []).append((point["tokens"], point[metric]))
    return {metric: lines for metric, lines in panels.items() if lines}


def series(lines: Mapping[str, Sequence[tuple[float, float]]], say: Callable[[str], str]) -> list[dict[str, Any]]:
    """A panel of learning curves, for `haigo.page.charts`, with the models' names as `say` gives them."""
    return [
        {"points": [(tokens / 1e6, value, say(name)) for tokens, value in points], "kind": number, "line": True}
        for number, (name, points) in enumerate(lines.items())
    ]


def errors(root: Path, models: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Model -> metric -> standard error of its bits per byte over windows of held-out text, where the run measured it."""
    found = {}
    for name in models:
        known = checkpoint.read(root / "models" / name / checkpoint.RESULT).get("metrics_stderr")
        if known:
            found[name] = dict(known)
    return found


def changes(models: Mapping[str, Any], known: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """How every metric of the chosen mixture differs from token share's, the best first; empty where that is not trained."""
    if "token_share" not in models:
        return []
    ours, theirs = models[CHOSEN]["metrics"], models["token_share"]["metrics"]
    rows = []
    for metric, value in ours.items():
        if base := theirs.get(metric):
            one, two = (known.get(name, {}).get(metric) for name in (CHOSEN, "token_share"))
            half = None if one is None or two is None else _Z90 * math.hypot(one / value, two / base) * value / base
            rows.append({"metric": metric, "change": value / base - 1, "ours": value, "theirs": base, "half": half})
    most = max((abs(row["change"]) + (row["half"] or 0.0) for row in rows), default=0.0) or 1.0
    for row in rows:
        change, half = 50 * row["change"] / most, row["half"]
        row |= {"left": round(50 + min(change, 0.0), 2), "width": round(abs(change), 2), "range": None}
        if half is not None:
            row["range"] = (round(50 + change - 50 * half / most, 2), round(100 * half / most, 2))
    return sorted(rows, key=lambda row: row["change"])


def over(changes: Sequence[Mapping[str, Any]], ceilings: Mapping[str, Any]) -> list[str]:
    """Metrics that the trained model has further above token share than their ceiling lets them, in a few words each.

    Args:
        ceilings: metric -> `+10%` as it was asked for; others, in numbers, are of the proxies' size and say nothing here.
    """
    return [
        f"{row['metric']} {row['change']:+.1%} ({ceilings[row['metric']]})"
        for row in changes
        if isinstance(ceilings.get(row["metric"]), str)
        and row["ours"] > objective.limit_value(ceilings[row["metric"]], row["theirs"], 1.0, row["metric"])
    ]


def board(root: Path, models: Mapping[str, Any], language: str) -> Table | None:
    """The scores beside the published rows, lm-eval's own tasks included; None where nothing was scored."""
    say, rows = page.speaker(language), []
    for name in models:
        path = root / "scores" / name / "result.json"
        if path.is_file():
            rows.append(dataclasses.replace(leaderboard.ours(path), name=say(label(name))))
    return leaderboard.compare(rows, leaderboard.published()) if any(row.cells for row in rows) else None


def scores(models: Mapping[str, Any]) -> list[tuple[str, str, str, float, Any]]:
    """(task, metric, model, value, standard error) of every figure."""
    rows = [
        (task, metric, name, value, result.get(f"{metric}_stderr"))
        for name, model in models.items()
        for task, result in model["scores"].items()
        for metric, value in result.items()
        if isinstance(value, int | float) and not metric.endswith("_stderr")
    ]
    return sorted(rows, key=lambda row: row[:2])


def answers(root: Path, models: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Task -> the first documents: the end of the question as it was asked, the right answer, and what each model said."""
    made: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((root / "scores" / CHOSEN).glob("samples_*.jsonl")):
        read = {name: _first(root / "scores" / name / path.name) for name in models}
        items = []
        for number, row in enumerate(read[CHOSEN]):
            said = {name: _said(rows[number], "prediction") for name, rows in read.items() if number < len(rows)}
            items.append({"asked": _question(row), "target": _said(row, "target"), "said": said})
        made[path.stem.removeprefix("samples_")] = items
    return made


def _first(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    lines = files.read_text(path).splitlines()[:_SHOWN]
    return [row for line in lines if isinstance(row := json.loads(line), dict)]


def _question(row: Mapping[str, Any]) -> str:
    """The last part of a prompt: without its examples, and no more than can be read at a glance."""
    text = str(row.get("context", "")).strip()
    return text.rpartition("\n\n### 指示:")[2].strip()[-600:]


def _said(row: Mapping[str, Any], key: str) -> str:
    """An answer as text: of a choice its words."""
    value, choices = row.get(key), row.get("choices")
    if (
        isinstance(value, int)
        and not isinstance(value, bool)
        and isinstance(choices, list)
        and 0 <= value < len(choices)
    ):
        return str(choices[value].get("text", value) if isinstance(choices[value], dict) else choices[value])
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
