"""Score a model on JCommonsenseQA, JNLI and JSQuAD by the Japanese leaderboard's rules, with lm-eval as the engine.

    python -m eval_harness.run --model_args pretrained=runs/x/model --data_dir jglue --output_path scores \\
        --tasks jcommonsenseqa-1.1-0.3,jnli-1.1-0.3,jsquad-1.1-0.3 --num_fewshot 3,3,2

Options are lm-eval's, written as lm-eval writes them. A task is `task-version-prompt`; `--list` shows all. The data folder
holds JGLUE's files, in the official layout (jnli-v1.1/valid-v1.1.json) or flat (jnli-valid-v1.1.json); shots come from
the train files. Other data in JCommonsenseQA's format can lie in the same places: the result then says "custom".
Writes result.json (the leaderboard's layout) and, with --log_samples, samples_TASK.jsonl.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval_harness import data, metrics, result, tasks
from eval_harness.fewshot import LEADERBOARD_SEED
from eval_harness.tasks.base import Rules
from haigo import cli, files
from haigo.cli import HaigoError

if TYPE_CHECKING:
    from eval_harness.model import LeaderboardLM

POOLS = ("train", "test")
Limit = int | float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """The files of one task, read."""

    rules: Rules
    scored: data.DataFile
    pool: data.DataFile | None
    docs: list[dict[str, Any]]
    pool_docs: list[dict[str, Any]]
    shots: int
    limit: Limit


def evaluate(
    model_dir: str | Path,
    tasks: str | Sequence[str],
    num_fewshot: int | Sequence[int] | None = None,
    limit: Limit | Sequence[Limit] = None,
    data_dir: str | Path = ".",
    output_path: str | Path | None = None,
    *,
    log_samples: bool = True,
    fewshot_pool: str = "train",
    data_version: str = "v1.1",
    batch_size: int | None = None,
    device: str | None = None,
    seed: int = LEADERBOARD_SEED,
    dtype: str = "float32",
    bootstrap_iters: int = metrics.BOOTSTRAP_ITERS,
    model_args: str | None = None,
    model: LeaderboardLM | None = None,
) -> dict[str, Any]:
    """Score one model; what `python -m eval_harness.run` does.

    Args:
        model_dir: a Hugging Face model folder with its tokenizer.
        tasks: task ids, as a list or with commas between them.
        num_fewshot: shots of each task, or one number for all; None for the leaderboard's own (3, 3, 2).
        limit: how many documents of each task (a float is a share), or one for all; None for all documents.
        data_dir: the folder with JGLUE's files.
        output_path: where result.json and the samples go; None writes nothing.
        fewshot_pool: "train", or "test" where the train file can not be had; the result records it.
        data_version: the JGLUE release that file names carry.
        batch_size: contexts a forward pass; None lets their lengths decide. It does not change scores.
        seed: of the document order and the draws; any but 42 makes the result not comparable.
        model_args: lm-eval's words for the model; `model_dir` and `dtype` are not used then.
        model: an already loaded model, to score several task lists with one.

    Returns:
        What result.json holds.

    Raises:
        HaigoError: unknown task, missing or broken file, more shots than examples, a model that does not load, ...
    """
    wanted = _tasks(tasks)
    sources = read_sources(
        wanted,
        _spread(num_fewshot, wanted, "num_fewshot"),
        _spread(limit, wanted, "limit"),
        Path(data_dir),
        fewshot_pool,
        data_version,
    )
    if any(source.rules.dataset == "jsquad" for source in sources):
        metrics.need_japanese()
    for source in sources:
        for warning in source.rules.warnings(source.shots):
            print(f"haigo: {warning}", file=sys.stderr)
    from eval_harness import engine  # brings in torch and lm-eval: only now that the input is known to be good
    from eval_harness.model import load

    prepared = [engine.prepare(s.rules, s.docs, s.pool_docs, s.shots, s.limit, seed) for s in sources]
    words = model_args or f"pretrained={model_dir},dtype={dtype}"
    lm = model or load(words, batch_size, device)
    start, cut_before = time.monotonic(), lm.truncated
    scored = engine.score(lm, prepared, bootstrap_iters)
    seconds = time.monotonic() - start
    precision = str(lm.model.dtype).removeprefix("torch.")
    about = {}
    for source, each in zip(sources, prepared, strict=True):
        used = [source.scored] + ([source.pool] if source.pool else [])
        kind = data.label(used, data_version)
        pool = source.pool.split if source.pool else "none"
        rows = scored[source.rules.name][1]
        about[source.rules.name] = {
            "n": len(rows),
            "n_available": each.available,
            "num_fewshot": source.shots,
            "limit": source.limit,
            "data": kind,
            "data_version": data_version,
            "files": [file.record() for file in used],
            "fewshot_pool": pool,
            "main_metric": source.rules.main_metric,
            "main_scale": source.rules.main_scale,
            "baseline": source.rules.baseline(each.docs),
            "predictions": result.histogram(rows),
            "not_comparable": result.reservations(
                source.rules,
                data=kind,
                pool=pool,
                shots=source.shots,
                limit=source.limit,
                seed=seed,
                dtype=precision,
            ),
        }
    found = result.assemble(
        {name: figures for name, (figures, _) in scored.items()},
        {source.rules.name: float(source.rules.version) for source in sources},
        {
            "model": "hf-causal",
            "model_args": words,
            "num_fewshot": [source.shots for source in sources],
            "batch_size": batch_size,
            "device": str(lm.device),
            "no_cache": True,
            "limit": [source.limit for source in sources] if any(s.limit is not None for s in sources) else None,
            "bootstrap_iters": bootstrap_iters,
            "description_dict": {},
        },
        {
            "tasks": about,
            "model": {
                "parameters": lm.parameters,
                "dtype": precision,
                "max_length": lm.max_length,
                "tokenizer": lm.tokenizer_kind,
                "vocabulary": len(lm.tokenizer),
            },
            "seed": seed,
            "contexts_shared": bool(lm.share_context),
            "contexts_truncated": lm.truncated - cut_before,
            "seconds": round(seconds, 3),
            "software": result.software(),
        },
    )
    if output_path is not None:
        folder = Path(output_path)
        if log_samples:
            for name, (_, rows) in scored.items():
                result.write_samples(folder, name, rows)
        files.write_json(folder / "result.json", found)  # last: its presence says that the samples are whole
    return found


def read_sources(
    names: Sequence[str],
    shots: Sequence[int | None],
    limits: Sequence[Limit],
    folder: Path,
    fewshot_pool: str,
    data_version: str,
) -> list[Source]:
    """Find and read the data files of the tasks, without torch."""
    if fewshot_pool not in POOLS:
        raise HaigoError(f"--fewshot_pool {fewshot_pool} is unknown.", f"use one of {', '.join(POOLS)}")
    if data_version not in data.VERSIONS:
        raise HaigoError(f"--data_version {data_version} is unknown.", f"use one of {', '.join(data.VERSIONS)}")
    found = []
    for name, number, limit in zip(names, shots, limits, strict=True):
        rules = tasks.make(name)
        wanted = rules.leaderboard_shots if number is None else number
        scored, pool = data.find(folder, rules.dataset, "valid", data_version), None
        if wanted and fewshot_pool == "test":
            pool = data.find_test_pool(folder, rules.dataset)
        elif wanted:
            try:
                pool = data.find(folder, rules.dataset, "train", data_version)
            except HaigoError as error:
                raise HaigoError(
                    f"{error.problem} The shots of {name} come from it.",
                    f"{error.fix}; --fewshot_pool test draws from the test file instead and says so in the result",
                ) from None
        docs = rules.read(scored.path)
        pool_docs = rules.read(pool.path) if pool else []
        if wanted > len(pool_docs):
            raise HaigoError(
                f"{name}: {wanted} shots are asked for, and {pool.path if pool else folder} has {len(pool_docs)} examples.",
                "lower --num_fewshot or use the whole file",
            )
        found.append(
            Source(rules=rules, scored=scored, pool=pool, docs=docs, pool_docs=pool_docs, shots=wanted, limit=limit)
        )
    return found


def _tasks(given: str | Sequence[str]) -> list[str]:
    return tasks.select(
        [name.strip() for name in (given.split(",") if isinstance(given, str) else given) if name.strip()]
    )


def _spread(value: Any, names: Sequence[str], option: str) -> list[Any]:
    """One value for all tasks, or one for each."""
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    if len(values) == 1:
        return values * len(names)
    if len(values) != len(names):
        raise HaigoError(
            f"--{option} has {len(values)} values for {len(names)} tasks ({', '.join(names)}).",
            "give one value, or one for each task in the order of --tasks",
        )
    return values


def _numbers(text: str | None, option: str, shares: bool) -> list[Any] | None:
    if text is None:
        return None
    found: list[Any] = []
    for word in text.split(","):
        try:
            found.append(float(word) if shares and "." in word else int(word))
        except ValueError:
            kind = "a number" if shares else "a whole number"
            raise HaigoError(f"--{option} {text}: '{word}' is not {kind}.", "write for example 3,3,2") from None
    return found


def arguments() -> argparse.ArgumentParser:
    """The options of this command."""
    made = cli.parser("eval_harness.run", __doc__)
    add = made.add_argument
    add("--model", default="hf", choices=("hf", "hf-causal", "hf-auto"), help="lm-eval's word for the kind of model")
    add("--model_args", "--model-args", help="pretrained=FOLDER[,dtype=float32][,tokenizer=FOLDER][,max_length=N]")
    add("--tasks", help="task ids with commas between them; jnli-1.1-* names all prompts")
    add("--num_fewshot", "--num-fewshot", help="shots, one number or one a task (default: the leaderboard's)")
    add("--limit", help="documents, one number or one a task; 0.1 is a tenth (default: all)")
    add("--data_dir", "--data-dir", help="the folder with JGLUE's files")
    add("--data_version", "--data-version", default="v1.1", help="v1.1 (as published rows), v1.2 or v1.3")
    add("--fewshot_pool", "--fewshot-pool", default="train", help="train, or test where train can not be had")
    add("--output_path", "--output-path", help="folder for result.json and the samples")
    add("--log_samples", "--log-samples", action="store_true", help="write samples_TASK.jsonl too")
    add("--batch_size", "--batch-size", type=int, help="contexts a forward pass (default: by their length)")
    add("--device", help="cpu, cuda, cuda:0 ... (default: cuda if there is one)")
    add("--seed", type=int, default=LEADERBOARD_SEED, help="of the draws; any but 42 is not the leaderboard's")
    add("--bootstrap_iters", "--bootstrap-iters", type=int, default=metrics.BOOTSTRAP_ITERS, help="for mcc's error")
    add("--json", action="store_true", help="print result.json's content instead of the summary")
    add("--list", action="store_true", help="print every task id and end")
    return made


def main(argv: Sequence[str] | None = None) -> int | None:
    """The command."""
    given = arguments().parse_args(argv)
    if given.list:
        print("\n".join(tasks.names()))
        return None
    for option in ("model_args", "tasks", "data_dir"):
        if not getattr(given, option):
            raise HaigoError(f"--{option} is missing.", "see `python -m eval_harness.run --help`")
    found = evaluate(
        "",
        given.tasks,
        _numbers(given.num_fewshot, "num_fewshot", shares=False),
        _numbers(given.limit, "limit", shares=True),
        given.data_dir,
        given.output_path,
        log_samples=given.log_samples,
        fewshot_pool=given.fewshot_pool,
        data_version=given.data_version,
        batch_size=given.batch_size,
        device=given.device,
        seed=given.seed,
        bootstrap_iters=given.bootstrap_iters,
        model_args=given.model_args,
    )
    print(json.dumps(found, ensure_ascii=False, indent=2) if given.json else result.summary(found))
    return None


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
