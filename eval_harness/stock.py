"""lm-eval's own tasks, by their own names, as lm-eval runs them: its model class, its prompts, its metrics, nothing of ours.

So a `japanese_leaderboard` score can stand beside the leaderboard's own, and so can any of the thousands of other tasks. They
fetch their data themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval_harness import tasks
from haigo.cli import HaigoError


def split(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names of the leaderboard's tasks and names that only lm-eval can know, each in their order."""
    ours = {name.split("-")[0] for name in tasks.names()}
    theirs = [n for n in names if n.split("-")[0] not in ours and not any(c in n for c in "*?[")]
    return [n for n in names if n not in theirs], theirs


def check_folder(path: str | Path) -> None:
    """Raise where `--include_path` is no folder."""
    if not Path(path).is_dir():
        raise HaigoError(f"--include_path {path} is not a folder.", "name the folder with lm-eval's YAML files")


def check(names: Sequence[str], include_path: str | Path | None) -> Any:
    """lm-eval's task manager, once it knows all names.

    Raises:
        HaigoError: a name that neither has.
    """
    if include_path is not None:
        check_folder(include_path)
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(include_path) if include_path else None)
    for name in names:
        if not manager.match_tasks([name]):
            raise tasks.unknown(name)
    return manager


def run(
    names: Sequence[str],
    shots: Sequence[int | None],
    limits: Sequence[int | float | None],
    options: dict[str, Any],
    manager: Any,
    batch_size: int | None,
    device: str | None,
) -> dict[str, Any]:
    """Score a model on lm-eval's tasks.

    Args:
        options: lm-eval's `--model_args` as a mapping; `trust_remote_code` among them only where it was asked for.

    Returns:
        `results`, `versions` and `n-shot` as lm-eval gives them.
    """
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    from eval_harness.model import quiet

    found: dict[str, Any] = {"results": {}, "versions": {}, "n-shot": {}}
    with quiet():
        more = {"device": device} if device else {}
        model = HFLM(**options, batch_size=batch_size or 1, **more)
        for name, number, limit in zip(names, shots, limits, strict=True):
            try:
                outcome = simple_evaluate(
                    model=model, tasks=[name], num_fewshot=number, limit=limit, task_manager=manager, log_samples=False
                )
            except Exception as error:  # data sets fail in as many ways as there are
                first = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise HaigoError(
                    f"lm-eval's task {name} did not run: {first}",
                    "see whether `lm_eval --tasks` runs it (it may need the network)",
                ) from None
            for part in found:
                found[part] |= outcome.get(part, {})
    return found
