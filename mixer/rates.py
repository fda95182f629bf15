"""How fast models train: rates.csv, and what `launch.proxies` measured or `launch.plan` estimates.

rates.csv has the columns `model` (a shipped size, or a YAML), `parameters`, `tokens_per_s` of one device and, where it is
known, `device`.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from haigo import files
from haigo.cli import HaigoError
from haigo.formats import csvfile

COLUMNS = ("model", "parameters", "tokens_per_s", "device")
_PLAN = {"model": str, "parameters": int, "gpus": int, "cluster": str, "layouts": [{"tokens_per_s": [float]}]}


@dataclass(frozen=True, kw_only=True)
class Rate:
    """The speed of one size on one device."""

    model: str
    parameters: float
    tokens_per_s: float
    """Of one device: a core or a GPU."""
    device: str = ""


def read(word: str) -> list[Rate]:
    """The rates of one file, which may be named as MODEL=FILE where it holds one size.

    rates.csv; metrics.csv of `launch.proxies` (tokens over seconds of its finished runs, evaluation included, the median of
    each size); or what `launch.plan --json` printed (the lower end of its best layout, of one GPU).

    Raises:
        HaigoError: none of them, or a number that makes no sense; the file and the line or column are named.
    """
    model, named, path = word.partition("=") if "=" in word else ("", "", word)
    rates = [_planned(path)] if path.endswith(".json") else _tabled(path)
    if named and len(rates) > 1:
        raise HaigoError(f"{path} has {len(rates)} sizes, and one name for them ({model}).", "name the file alone")
    return [replace(each, model=model) for each in rates] if named else rates


def _tabled(path: str) -> list[Rate]:
    table = csvfile.read(path)
    if {"size", "tokens", "seconds"} <= set(table.columns):
        return _measured(path, table)
    missing = [name for name in COLUMNS[1:3] if name not in table.columns]
    if missing:
        raise HaigoError(
            f"{path} has no column `{missing[0]}`.",
            "give rates.csv (model, parameters, tokens_per_s), metrics.csv of launch.proxies, or launch.plan's JSON",
        )
    rates = []
    for row, line in zip(table.to_dict("records"), table.attrs["lines"], strict=True):
        parameters, speed = (_positive(row[name], name, f"{path}, line {line}") for name in COLUMNS[1:3])
        model = row.get("model") or _size(parameters)
        rates.append(Rate(model=model, parameters=parameters, tokens_per_s=speed, device=row.get("device") or ""))
    return rates


def _size(parameters: float) -> str:
    return f"{parameters / 1e6:.3g}M"


def _measured(path: str, table: Any) -> list[Rate]:
    speeds: dict[float, list[float]] = {}
    for row, line in zip(table.to_dict("records"), table.attrs["lines"], strict=True):
        size, tokens, seconds = (
            _positive(row[name], name, f"{path}, line {line}") for name in ("size", "tokens", "seconds")
        )
        speeds.setdefault(size, []).append(tokens / seconds)
    return [
        Rate(model=_size(size), parameters=size, tokens_per_s=statistics.median(each)) for size, each in speeds.items()
    ]


def _planned(path: str) -> Rate:
    try:
        made = files.read_record(Path(path), _PLAN)
        slow = min(made["layouts"][0]["tokens_per_s"])
    except (IndexError, json.JSONDecodeError):
        raise HaigoError(f"{path} has no layout that fits.", "plan for more nodes") from None
    return Rate(
        model=made["model"], parameters=made["parameters"], tokens_per_s=slow / made["gpus"], device=made["cluster"]
    )


def _positive(cell: str, column: str, where: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        raise HaigoError(f"{where}: '{cell[:40]}' is no number for {column}.", csvfile.why_no_number(cell)) from None
    if not 0 < value < 1e18:
        raise HaigoError(f"{where}: {column} is {cell}.", "give a number above 0")
    return value


def write(path: str, rates: Sequence[Rate]) -> None:
    """Write rates.csv."""
    rows = {
        each.model: {
            "parameters": f"{each.parameters:.0f}",
            "tokens_per_s": f"{each.tokens_per_s:.6g}",
            "device": each.device,
        }
        for each in rates
    }
    csvfile.write_rows(Path(path), COLUMNS, rows)
