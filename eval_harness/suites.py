"""Sets of tasks that are run together, with shots and limits: what `--suite` names."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from eval_harness import tasks
from eval_harness.options import Limit, RunOptions
from eval_harness.tasks.llm_jp_eval import TASKS as LLM_JP_EVAL
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
    # llm-jp-eval's own template: 4 shots, the first 100 of its dev split; without translation, whose metrics are models
    "llm-jp": tuple(
        Entry(f"{task.dataset}-{task.versions[0]}-dev", task.leaderboard_shots, 100) for task in LLM_JP_EVAL
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
    suite = SUITES[options.suite]
    entries = [each for each in suite if _can_be_had(each, options)] or suite
    limits = [each.limit for each in entries]
    return options.replaced(
        suite=None,
        tasks=[each.task for each in entries],
        num_fewshot=options.num_fewshot or [each.shots for each in entries],
        limit=options.limit or (limits if any(limit is not None for limit in limits) else []),
    )


def _can_be_had(entry: Entry, options: RunOptions) -> bool:
    """Any file but MARC-ja's can be got, and its absence is an error that says where; of llm-jp-eval's many data sets those
    that are there are scored, as it does."""
    rules = tasks.make(entry.task)
    origin = rules.origin()
    paths = origin.paths(Path(options.data_dir or "."), rules.scored_split, options.data_version)
    left_out = rules.program is not None or rules.dataset == _WITHDRAWN
    if not left_out or any(path.is_file() for path in paths):
        return True
    why = "its source is withdrawn" if rules.dataset == _WITHDRAWN else "llm-jp-eval's preprocess_dataset.py writes it"
    print(f"haigo: --suite {options.suite} without {entry.task}: {paths[0]} is not there, and {why}.", file=sys.stderr)
    return False
