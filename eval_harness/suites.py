"""Sets of tasks that are run together, with shots and limits: what `--suite` names."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from eval_harness import tasks
from eval_harness.options import Limit, RunOptions
from haigo.cli import HaigoError


class Entry(NamedTuple):
    """One task of a suite."""

    task: str
    shots: int
    limit: Limit = None


SUITES: dict[str, tuple[Entry, ...]] = {
    # the eight of the published row of llama2/13b, a base model, with its prompts and shots
    "leaderboard": (
        Entry("jcommonsenseqa-1.1-0.3", 3),
        Entry("jnli-1.1-0.3", 3),
        Entry("marc_ja-1.1-0.3", 3),
        Entry("jsquad-1.1-0.3", 2),
        Entry("jaqket_v2-0.1-0.3", 1),
        Entry("xlsum_ja-1.0-0.3", 1),
        Entry("xwinograd_ja-1.0-0.0", 0),
        Entry("mgsm-1.0-0.3", 5),
    ),
    # for checkpoints of a training run: what can be had and used by everybody, at most 1,119 documents of each
    "base-ja": (
        Entry("jcommonsenseqa-1.1-0.3", 3),
        Entry("jnli-1.1-0.3", 3, 1000),
        Entry("jsquad-1.1-0.3", 2, 1000),
        Entry("jaqket_v2-0.1-0.3", 1, 1000),
        Entry("xwinograd_ja-1.0-0.0", 0),
        Entry("mgsm-1.0-0.3", 5),
    ),
}
_WITHDRAWN = "marc_ja"


def chosen(options: RunOptions) -> RunOptions:
    """The options with the suite's tasks, shots and limits in their places; `num_fewshot` and `limit` that are given stay.

    Raises:
        HaigoError: tasks are named too.
    """
    if options.suite is None:
        return options
    if any(name.strip() for name in options.tasks):
        raise HaigoError(
            f"--suite {options.suite} and --tasks both say what is scored.", "leave one of the two out", option="suite"
        )
    entries = [each for each in SUITES[options.suite] if _can_be_had(each, options)]
    limits = [each.limit for each in entries]
    return options.replaced(
        suite=None,
        tasks=[each.task for each in entries],
        num_fewshot=options.num_fewshot or [each.shots for each in entries],
        limit=options.limit or (limits if any(limit is not None for limit in limits) else []),
    )


def _can_be_had(entry: Entry, options: RunOptions) -> bool:
    """Any file but MARC-ja's can be got, and its absence is an error that says where."""
    dataset = entry.task.split("-")[0]
    paths = tasks.rules_of(dataset).origin().paths(Path(options.data_dir or "."), "valid", options.data_version)
    if dataset != _WITHDRAWN or any(path.is_file() for path in paths):
        return True
    print(
        f"haigo: --suite {options.suite} without {entry.task}: {paths[0]} is not there, and its source is withdrawn.",
        file=sys.stderr,
    )
    return False
