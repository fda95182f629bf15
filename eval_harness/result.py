"""What a score is worth: `result.json` in the leaderboard's layout, with a block that says how it was made.

`results`, `versions` and `config` are what the leaderboard's own scripts read. The `haigo` block holds what those leave
open and what made scores differ by points: the data's bytes, the few-shot pool, the precision, the tokenizer, the versions of
the software, the baselines, and in one sentence each why a score may not be compared with published rows.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval_harness import datasets, likelihoods, metrics
from eval_harness.fewshot import LEADERBOARD_SEED
from eval_harness.tasks.base import Rules
from haigo import __version__, files

if TYPE_CHECKING:
    from eval_harness.engine import Prepared
    from eval_harness.options import RunOptions
    from eval_harness.sources import Source

_SOFTWARE = (
    "lm_eval",
    "transformers",
    "torch",
    "accelerate",
    "sentencepiece",
    "emoji",
    "neologdn",
    "fugashi",
    "unidic-lite",
)


def software() -> dict[str, str]:
    """Versions of what takes part in a score."""
    versions = {"haigo": __version__, "python": platform.python_version()}
    for name in _SOFTWARE:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


CHAT = "asked through the model's chat template, as no published row and no row of a base model is"
VLLM = "computed by vLLM, which rounds otherwise than transformers and cuts long contexts two tokens earlier"


def reservations(
    rules: Rules,
    *,
    data: str,
    pool: str,
    shots: int,
    limit: float | None,
    seed: int,
    dtype: str,
    chat: bool = False,
) -> list[str]:
    """Why the score may not stand beside published rows; empty when it may."""
    reasons = [CHAT] if chat else []
    if not rules.on_leaderboard:
        return [*rules.reservations(limit), *reasons]
    if data == "custom":
        known = rules.origin()
        title = None if known.released else known.title
        reasons.append("the data are not JGLUE's" if title is None else f"the data are not known to be {title}")
    elif data.startswith("unverified"):
        reasons.append(f"the data's bytes could not be checked against the published ones ({data})")
    elif (reservation := rules.data_reservation(data, pool)) is not None:
        reasons.append(reservation)
    if rules.version != rules.versions[0]:
        reasons.append(f"{rules.dataset} {rules.version}; published rows used {rules.versions[0]}")
    if pool != "train" and shots:
        reasons.append(f"the shots come from the {pool} file, not from train")
    if shots != rules.leaderboard_shots:
        reasons.append(f"{shots} shots; published rows had {rules.leaderboard_shots}")
    if limit is not None:
        reasons.append("only a part of the documents was scored (--limit)")
    if seed != LEADERBOARD_SEED:
        reasons.append(f"drawn with seed {seed}; the leaderboard's is {LEADERBOARD_SEED}")
    if dtype != "float32":
        reasons.append(f"weights ran in {dtype}; most published rows ran in float32")
    return reasons


def histogram(rows: Sequence[Mapping[str, Any]]) -> dict[str, int] | None:
    """How often each choice was the answer, for tasks whose choices are always the same; None for others."""
    words = {tuple(choice["text"] for choice in row["choices"]) if "choices" in row else None for row in rows}
    (same,) = words if len(words) == 1 else (None,)
    if same is None:
        return None
    counts = Counter(row["prediction"] for row in rows)
    return {word: counts[number] for number, word in enumerate(same)}


MANY = 8
"""So many documents with one answer are no chance: of five choices once in 80,000 times, of two once in 128."""


def same_answer(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """The answer that a model gave to every document, where there are several: such a score says nothing of the model.

    Choices whose log-likelihoods are all equal are an answer too: the first one is taken everywhere.
    """
    if len(rows) < MANY:
        return None
    first = rows[0]
    if "choices" not in first:
        return same_text([str(row["prediction"]) for row in rows])
    if len({row["prediction"] for row in rows}) > 1:
        return None
    words = {tuple(choice["text"] for choice in row["choices"]) for row in rows}
    if all(len({choice["loglikelihood"] for choice in row["choices"]}) == 1 for row in rows):
        return "the first choice, all being equally likely"
    number = int(first["prediction"])
    return str(first["choices"][number]["text"]) if len(words) == 1 else f"choice number {number + 1}"


def same_text(answers: Sequence[str]) -> str | None:
    """The one text that all answers are, or begin: each is cut at its own length."""
    longest = max(answers, key=len)
    return repr(longest)[:80] if all(longest.startswith(each) for each in answers) else None


def about(
    source: Source, each: Prepared, rows: list[dict[str, Any]], options: RunOptions, dtype: str
) -> dict[str, Any]:
    """What result.json's haigo block says about one task."""
    rules, version = source.rules, options.data_version
    used = [source.scored] + ([source.pool] if source.pool else [])
    kind = datasets.label(used, version, source.rules.dataset, len(source.docs))
    pool = source.pool.split if source.pool else "none"
    limit = source.limit if len(rows) < each.available else None  # --limit of everything is no limit
    how: dict[str, Any] = {"shots": source.shots, "limit": limit, "seed": options.seed, "dtype": dtype}
    against = reservations(rules, data=kind, pool=pool, chat=options.apply_chat_template is not None, **how)
    if options.model == "vllm":
        against.append(VLLM)
    if each.too_long:
        against.append(f"{each.too_long} contexts {rules.too_long}")
    return {
        "n": len(rows),
        "n_available": each.available,
        "num_fewshot": source.shots,
        "fewer_shots": each.fewer_shots,
        "limit": source.limit,
        "data": kind,
        "data_version": version,
        "files": [file.record() for file in used],
        "fewshot_pool": pool,
        "main_metric": rules.main_metric,
        "main_scale": rules.main_scale,
        "main_stderr": metrics.mean_stderr([row[rules.main_metric] for row in rows if rules.main_metric in row]),
        "baseline": rules.baseline(each.docs),
        "likelihoods": likelihoods.of_rows(rows),
        "predictions": histogram(rows),
        "same_answer": same_answer(rows),
        "not_comparable": against,
        **({"rules": rules.program} if rules.program else {}),
    }


def samples_name(task: str) -> str:
    """The file of a task's samples, in the folder of its result."""
    return f"samples_{task}.jsonl"


def write_samples(folder: Path, name: str, rows: Sequence[Mapping[str, Any]]) -> Path:
    """`samples_TASK.jsonl`, one document a line in scoring order."""
    import orjson

    path = folder / samples_name(name)
    with files.create(path) as handle:
        for row in rows:
            try:
                line = orjson.dumps(row)
            except TypeError:  # MGSM: a model that repeats a digit writes numbers beyond 64 bits
                line = json.dumps(row).encode()
            handle.write(line + b"\n")
    return path


def organisation_and_model(pretrained: str) -> str:
    """`ORG/MODEL`, the leaderboard's folder of a model: a hub name as it is, a local folder's last two parts (a last part
    `model` says nothing and is left out)."""
    parts = [part for part in Path(pretrained).parts if part not in ("/", "..", ".")]
    if len(parts) > 2 and parts[-1] == "model":
        parts.pop()
    if not parts:
        parts = list(Path(pretrained).resolve().parts[-1:])
    return "/".join(parts[-2:] if len(parts) > 1 else ["local", parts[0]])


def summary(result: Mapping[str, Any]) -> str:
    """The result as lines for people: score, standard error, baselines, and what stands against a comparison."""
    lines = []
    for name, figures in result["results"].items():
        about = result["haigo"]["tasks"][name]
        parts = []
        for metric, value in figures.items():
            if not metric.endswith("_stderr"):
                error = figures.get(f"{metric}_stderr")
                parts.append(f"{metric} {value:.4f}" + (f" ±{error:.4f}" if error is not None else ""))
        lines.append(f"{name}  n={about['n']:,}  {'  '.join(parts)}")
        base = {word: value for word, value in about["baseline"].items() if value is not None}
        if base:
            lines.append("  " + "  ".join(f"{word} {value:.4f}" for word, value in base.items()))
        if about["predictions"]:
            lines.append("  answers: " + "  ".join(f"{word} {n:,}" for word, n in about["predictions"].items()))
        if about.get("same_answer"):
            lines.append(f"  the answers never differ: {about['same_answer']}")
        rest = about.get("without_excluded")
        if rest:
            figure = rest.get("results", {}).get(about["main_metric"])
            lines.append(
                f"  without {rest['excluded']:,} contaminated documents: "
                + (
                    f"{about['main_metric']} {figure:.4f}"
                    if figure is not None
                    else "the same"
                    if not rest["excluded"]
                    else "none is left"
                )
                + (f"; {unknown:,} ids are of no document" if (unknown := rest.get("unknown_ids")) else "")
            )
        against = about["not_comparable"]
        lines.append(
            "  not comparable with published rows: " + "; ".join(against)
            if against
            else "  comparable with published rows of this task id"
        )
    for name, figures in result.get("lm_eval", {}).get("results", {}).items():
        shown = "  ".join(f"{m} {v:.4f}" for m, v in figures.items() if isinstance(v, float))
        lines.append(f"{name} (lm-eval's own)  {shown}")
    return "\n".join(lines)
