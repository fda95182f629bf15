"""The leaderboard's tasks: what a document is, what is asked of the model and how an answer counts.

One file a task, without lm-eval or torch: `eval_harness.engine` puts them into lm-eval's evaluator. A task is named
`task-version-prompt`, as on the leaderboard: `jcommonsenseqa-1.1-0.3`.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from eval_harness.tasks.base import Rules
from eval_harness.tasks.jcommonsenseqa import JCommonsenseQA
from eval_harness.tasks.jnli import JNLI
from eval_harness.tasks.jsquad import JSQuAD
from haigo.cli import HaigoError, nearest

_TASKS: tuple[type[Rules], ...] = (JCommonsenseQA, JNLI, JSQuAD)


def names() -> list[str]:
    """Every task id, in the order of the tables in the documentation."""
    return [
        f"{task.dataset}-{version}-{prompt}"
        for task in _TASKS
        for version in task.versions
        for prompt in sorted(task.prompts(version))
    ]


def select(patterns: Sequence[str]) -> list[str]:
    """The task ids that `patterns` (ids, or shell patterns such as `jnli-1.1-*`) name, in that order.

    Raises:
        HaigoError: unknown task, version or prompt; says which exist.
    """
    known, found = names(), []
    for pattern in patterns:
        matches = fnmatch.filter(known, pattern)
        if not matches:
            raise _unknown(pattern, known)
        found += [name for name in matches if name not in found]
    if not found:
        raise HaigoError("no task is named.", f"give --tasks, for example {known[3]}")
    return found


def make(name: str) -> Rules:
    """The rules of the task `name`."""
    if name not in names():
        raise _unknown(name, names())
    dataset, version, prompt = name.split("-", 2)
    task = next(task for task in _TASKS if task.dataset == dataset)
    return task(version, prompt)


def _unknown(name: str, known: list[str]) -> HaigoError:
    dataset = name.split("-")[0]
    same = [other for other in known if other.split("-")[0] == dataset]
    if same:
        prompts = ", ".join(other.removeprefix(f"{dataset}-") for other in same)
        return HaigoError(
            f"task '{name}' is unknown: {dataset} has the versions and prompts {prompts}.{nearest(name, same)}",
            "name one of them, as task-version-prompt",
        )
    tasks = ", ".join(dict.fromkeys(other.split("-")[0] for other in known))
    return HaigoError(
        f"task '{name}' is unknown.{nearest(name, known) if '-' in name else nearest(name, tasks.split(', '))}",
        f"name one of {tasks} as task-version-prompt, for example {known[3]}; lm-eval's own tasks run with `lm_eval`",
    )
