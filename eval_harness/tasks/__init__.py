"""The leaderboard's tasks: what a document is, what is asked of the model and how an answer counts.

One file a task, without lm-eval or torch: `eval_harness.engine` puts them into lm-eval's evaluator. A task is named
`task-version-prompt`, as on the leaderboard: `jcommonsenseqa-1.1-0.3`.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Sequence

from eval_harness.tasks.base import Rules
from eval_harness.tasks.jaqket_v2 import JAQKETv2
from eval_harness.tasks.jcommonsenseqa import JCommonsenseQA
from eval_harness.tasks.jnli import JNLI
from eval_harness.tasks.jsquad import JSQuAD
from eval_harness.tasks.llm_jp_eval import TASKS as LLM_JP_EVAL
from eval_harness.tasks.marc_ja import MARCJa
from eval_harness.tasks.mgsm import MGSM
from eval_harness.tasks.news_cloze import NewsClozeWhen, NewsClozeWhere, NewsClozeWho
from eval_harness.tasks.news_headline import NewsHeadline
from eval_harness.tasks.xlsum_ja import XLSumJa
from eval_harness.tasks.xwinograd_ja import XWinogradJa
from haigo.cli import HaigoError, nearest

TASKS: tuple[type[Rules], ...] = (
    JCommonsenseQA,
    JNLI,
    MARCJa,
    JSQuAD,
    JAQKETv2,
    XLSumJa,
    XWinogradJa,
    MGSM,
    NewsHeadline,
    NewsClozeWho,
    NewsClozeWhere,
    NewsClozeWhen,
    *LLM_JP_EVAL,
)
ALIASES = {"xlsum_ja": "xlsum_ja-1.0-0.0", "xwinograd_ja": "xwinograd_ja-1.0-0.0", "mgsm": "mgsm-1.0-0.0"}
"""The leaderboard's short ids of tasks whose first prompt is 0.0; the version may stand behind them (`mgsm-1.0`)."""


def names() -> list[str]:
    """Every task id, in the order of the tables in the documentation."""
    return [
        f"{task.dataset}-{version}-{prompt}"
        for task in TASKS
        for version in task.versions
        for prompt in sorted(task.prompts(version))
    ]


def select(patterns: Sequence[str]) -> list[str]:
    """The task ids that `patterns` (ids, or shell patterns such as `jnli-1.1-*`) name, in that order.

    Raises:
        HaigoError: unknown task, version or prompt; says which exist.
    """
    known, found = names(), []
    for given in patterns:
        pattern = canonical(given)
        matches = fnmatch.filter(known, pattern)
        if not matches:
            raise unknown(given)
        found += [name for name in matches if name not in found]
    if not found:
        raise HaigoError("no task is named.", f"give --tasks, for example {known[3]}", option="tasks")
    return found


def canonical(name: str) -> str:
    """The full id of one of the leaderboard's short ones; any other name as it is."""
    return ALIASES.get(name.removesuffix("-1.0"), name)


def make(name: str) -> Rules:
    """The rules of the task `name`."""
    name = canonical(name)
    if name not in names():
        raise unknown(name)
    dataset, version, prompt = name.split("-", 2)
    return rules_of(dataset)(version, prompt)


def rules_of(dataset: str) -> type[Rules]:
    """The class of a data set's task."""
    return next(task for task in TASKS if task.dataset == dataset)


def unknown(name: str, theirs: Collection[str] = (), lm_eval: bool = True) -> HaigoError:
    """The error for a name that is no task; says which are like it.

    Args:
        theirs: lm-eval's own tasks, groups and tags, where they are known.
        lm_eval: say that lm-eval's own can be named too.
    """
    known = names()
    dataset = name.split("-")[0]
    same = [other for other in known if other.split("-")[0] == dataset]
    if same:
        prompts = ", ".join(other.removeprefix(f"{dataset}-") for other in same)
        return HaigoError(
            f"task '{name}' is unknown: {dataset} has the versions and prompts {prompts}.{nearest(name, same)}",
            "name one of them, as task-version-prompt",
        )
    tasks = ", ".join(dict.fromkeys(other.split("-")[0] for other in known))
    longer = sorted((other for other in theirs if other.startswith(name)), key=len)[
        :1
    ]  # belebele_jpn of belebele_jpn_Jpan
    like = [*(known if "-" in name else tasks.split(", ")), *theirs]
    meant = f" Did you mean '{longer[0]}'?" if longer else nearest(name, like)
    return HaigoError(
        f"task '{name}' is unknown.{meant}",
        f"name one of {tasks} as task-version-prompt, for example {known[3]}"
        + ("; or one of lm-eval's own (`lm_eval ls tasks`)" if lm_eval else ""),
    )
