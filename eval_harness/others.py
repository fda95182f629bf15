"""Result files of other programs as rows of the table: jp-stable's, lm-eval's (0.4) and llm-jp-eval's.

What such a file leaves open is said as a note on each figure, so that no figure passes for comparable because its file is
silent. jp-stable's figures are by the leaderboard's own rules; the others' stand in the same columns where the data set is the
same, marked.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eval_harness import rows
from eval_harness.rows import Cell, Row
from eval_harness.tasks import TASKS, canonical, rules_of
from eval_harness.tasks import names as task_names
from haigo import files
from haigo.cli import HaigoError

_JP_STABLE = {
    "results": {str: {str: object}},
    "config": {"model": str, "model_args": str, "num_fewshot": ([int], int), "limit": (float, [(float, None)], None)},
}
_LM_EVAL = {
    "results": {str: {str: object}},
    "versions?": ({str: object}, None),
    "n-shot": {str: object},
    "config": {"model_args?": object, "limit?": (float, None)},
    "group_subtasks?": ({str: [str]}, None),
    "n-samples?": ({str: {"original": int, "effective": int}}, None),
    "model_name?": (str, None),
}
_LLM_JP_EVAL = {"scores": {str: (float, str, None)}, "config?": ({str: object}, None)}
_CATEGORY = re.compile(r"[A-Z]+$")
_COLUMNS = {task.dataset for task in TASKS}
_METRICS = ("exact_match", "char_f1", "set_f1", "pearson", "spearman", "bert_score_ja_f1", "bert_score_en_f1", "bleu_ja",
            "bleu_en", "comet_wmt22")  # fmt: skip


def read(path: Path) -> Row:
    """A result file of `eval_harness.run` or of one of the other programs.

    Raises:
        HaigoError: it is none of them, or damaged.
    """
    content = files.read_json(path)
    if not isinstance(content, dict):
        content = {}
    if {"results", "haigo", "config"} <= set(content):
        return rows.ours(path, content)
    kinds = (
        ({"scores"}, _LLM_JP_EVAL, _llm_jp_eval),
        ({"results", "n-shot"}, _LM_EVAL, _lm_eval),
        ({"results", "config", "versions"}, _JP_STABLE, _jp_stable),
    )
    for keys, shape, reader in kinds:
        if keys <= set(content):
            return rows.shaped(path, content, shape, reader, "get the file again")
    raise HaigoError(
        f"{path} is not a result of eval_harness.run, jp-stable, lm-eval (0.4) or llm-jp-eval.",
        "name a result.json, or lm-eval's results_*.json",
    )


def _pretrained(words: Any) -> str | None:
    if isinstance(words, Mapping):
        return str(words.get("pretrained") or words.get("model") or "") or None
    found = re.search(r"(?:^|,)(?:pretrained|model)=([^,]+)", str(words or ""))
    return found[1] if found else None


def _jp_stable(path: Path, content: Mapping[str, Any]) -> Row:
    config = content["config"]
    shots = _shots(path, content)
    common = precision_notes(config["model"], config["model_args"])
    limit = config.get("limit")
    if limit is not None and not (isinstance(limit, list) and all(each is None for each in limit)):
        common.append("only a part of the documents was scored (--limit)")
    cells: dict[str, Cell] = {}
    hidden = []
    for name, figures in content["results"].items():
        task = canonical(name)
        dataset = task.split("-")[0]
        known = rules_of(dataset) if dataset in _COLUMNS else None
        there = [key for key, each in figures.items() if not key.endswith("_stderr") and rows.is_number(each)]
        metric = known.main_metric if known else next(iter(there), "")
        if metric not in there:
            continue
        if dataset in cells:
            hidden.append(name)
            continue
        scale = known.main_scale if known else 100.0 if metric.startswith(("acc", "mcc", "macro", "balanced")) else 1.0
        error = figures.get(f"{metric}_stderr")
        cells[dataset] = Cell(
            percent=figures[metric] * scale,
            error=error * scale if rows.is_number(error) else None,
            task=task,
            shots=0 if known and not known.has_shots else shots.get(name),
            notes=tuple(common),
        )
    name = _pretrained(config["model_args"]) or path.parent.name
    return Row(name=name, ours=False, program="jp-stable", cells=cells, hidden=tuple(hidden))


def precision_notes(kind: str, model_args: str) -> list[str]:
    """What jp-stable's options say of the precision that a model ran in."""
    if kind == "hf-causal-experimental":
        return ["ran in the checkpoint's precision (hf-causal-experimental)"]
    if "torch_dtype=auto" in model_args:
        return ["ran in the checkpoint's precision (torch_dtype=auto)"]
    return []


def _shots(path: Path, content: Mapping[str, Any]) -> dict[str, int]:
    """Task -> shots: result.json names them in the order of --tasks, which only harness.sh beside it knows."""
    given, names = content["config"]["num_fewshot"], list(content["results"])
    if isinstance(given, int) or len(set(given)) == 1:
        return dict.fromkeys(names, given if isinstance(given, int) else given[0])
    script = path.with_name("harness.sh")
    text = script.read_text(encoding="utf-8", errors="replace") if script.is_file() else ""
    try:
        words = shlex.split(text.replace("\\\n", " "), comments=True)
    except ValueError:
        return {}
    asked = next((word.removeprefix("TASK=") for word in words if word.startswith("TASK=")), "").split(",")
    # only where the script is of this very result
    return dict(zip(asked, given, strict=True)) if len(asked) == len(given) and set(asked) == set(names) else {}


def _lm_eval(path: Path, content: Mapping[str, Any]) -> Row:
    version = str(content.get("lm_eval_version") or "0.4")
    block = {key: value for key, value in content.items() if value is not None}
    config = content["config"]
    if config.get("limit") is not None and not block.get("n-samples"):
        block["limits"] = dict.fromkeys(block["results"], config["limit"])
    block["dtype"] = str(config.get("model_dtype") or "").removeprefix("torch.")
    cells = rows.lm_eval_cells(block, f"lm-eval {version}")
    name = content.get("model_name") or _pretrained(config.get("model_args")) or path.stem
    return Row(name=str(name), ours=False, program=f"lm-eval {version}", cells=cells)


def _llm_jp_eval(path: Path, content: Mapping[str, Any]) -> Row:
    """llm-jp-eval 1.x: answers are generated and compared; scores lie between 0 and 1."""
    config: Mapping[str, Any] = content.get("config") or {}
    about = config.get("metainfo") or {}
    version = str(about.get("version") or "").strip()
    program = f"llm-jp-eval {version}".strip()
    shots, most = about.get("num_few_shots"), about.get("max_num_samples")
    notes = []
    if type(most) is int and most >= 0:
        notes.append(f"at most {most} documents of a task were scored (max_num_samples)")
    if about.get("data_type"):
        notes.append(f"llm-jp-eval's own split '{about['data_type']}' of the data")
    names = {name: name for name in task_names()} if version == "1.3.0" else {}
    cells: dict[str, Cell] = {}
    for key, score in content["scores"].items():
        metric = next((each for each in _METRICS if key.endswith(f"_{each}")), None)
        if metric is None or score is None or _CATEGORY.match(key):
            continue  # means over a category of tasks
        figure = float(score)  # 1.3.0 writes them as text
        if not rows.is_number(figure):
            raise ValueError(f"{key} is {score}")
        dataset = key.removesuffix(f"_{metric}")
        column = dataset if dataset in _COLUMNS and dataset not in cells else f"{dataset} {metric}"
        cells[column] = Cell(
            percent=figure if metric.startswith("bleu") else 100 * figure,
            error=None,
            task=names.get(f"llmjp_{dataset}-1.3-{about.get('data_type')}", f"{dataset} {version}".strip()),
            shots=shots if type(shots) is int else None,
            notes=tuple(notes),
            rules=rows.generated_rules(program, metric),
        )
    model = config.get("model") or {}
    named = model.get("pretrained_model_name_or_path") if isinstance(model, Mapping) else model
    return Row(name=str(named or about.get("basemodel_name") or path.stem), ours=False, program=program, cells=cells)
