"""All checks of a GPT-NeoX config, its data and its tokenizer: what `launch.preflight` shows and `launch.deepy` starts with."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haigo.cli import HaigoError, Refused
from launch.neox.hostfile import world_size
from launch.plan.checks import derived, rules, values
from launch.plan.checks.check import Check
from neox_configs import derive, reader
from neox_configs import keys as table


@dataclass(frozen=True)
class Report:
    """The answers of all checks."""

    checks: list[Check]
    config: dict[str, Any]

    @property
    def failed(self) -> list[Check]:
        """The checks that say no."""
        return [check for check in self.checks if check.status == "fail"]

    def refuse(self, name: str) -> None:
        """Raise when a check says no.

        Raises:
            Refused: with the first failure and how many more there are.
        """
        if self.failed:
            first, more = self.failed[0], len(self.failed) - 1
            rest = (
                f" ({more} more: {', '.join(dict.fromkeys(check.name for check in self.failed[1:]))})" if more else ""
            )
            raise Refused(f"{name}: {first.name}: {first.found}{rest}", first.fix)


def preflight(
    paths: Sequence[str | os.PathLike[str]],
    hostfile: str | os.PathLike[str] | None = None,
    gpus: int | None = None,
    base: str | os.PathLike[str] = ".",
    config: dict[str, Any] | None = None,
) -> Report:
    """Run every check.

    Args:
        paths: the config files, as deepy.py gets them.
        hostfile: replaces the config's own.
        gpus: number of GPUs, where no hostfile tells.
        base: the folder that relative paths in the config start from (deepy.py runs in GPT-NeoX's checkout).
        config: what the files hold, where they are read already.

    Raises:
        HaigoError: the files cannot be read as one config at all.
    """
    from launch.plan.checks import data, finetuning, preferences  # numpy: not for --help

    config = reader.load(paths) if config is None else config
    answers = [*keys(config), *_floats(paths)]
    if not _bad(answers):
        answers += alone(config, hostfile, gpus)
        answers += data.checks(config if _bad(answers) else _whole_batch(config, hostfile, gpus), Path(base))
        answers += [*finetuning.checks(config, Path(base)), *preferences.checks(config, Path(base))]
        answers += rules.checks(config, "traps")
        if not _bad(answers, but=("data", "tokenizer", "resume", "index caches", "labels", "ids", "preferences")):
            world, _ = world_size(config, hostfile, gpus)
            answers += derived.checks(config, world)
    return Report(answers, config)


def alone(
    config: Mapping[str, Any], hostfile: str | os.PathLike[str] | None = None, gpus: int | None = None
) -> list[Check]:
    """The checks of a config's values, whose keys and types are right; nothing of what lies on the disk."""
    answers = values.checks(config)
    # what follows reckons with these values
    sound = not any(_bad([check]) and check.name in ("numbers", "zero") for check in answers)
    if sound:
        answers += _guarded("world size", "mend the hostfile", lambda: _world(config, hostfile, gpus))
    shape = rules.checks(config, "model")
    answers += shape or rules.checks(config, "model right")
    if sound and not shape:
        for group in ("parallel", "schedule"):
            answers += rules.checks(config, group) or rules.checks(config, f"{group} right")
        answers += rules.checks(config, "agree", **rules.shape(config))
    return answers


def _whole_batch(
    config: Mapping[str, Any], hostfile: str | os.PathLike[str] | None, gpus: int | None
) -> Mapping[str, Any]:
    """The config with the `train_batch_size` that GPT-NeoX works out where it is left out and the GPUs are known: how much is
    read of the data hangs on it."""
    if config.get("train_batch_size") is None:
        count, _ = world_size(config, hostfile, gpus)
        if count is not None:
            return {**config, "train_batch_size": derive.batch(config, count).train}
    return config


def _bad(answers: Sequence[Check], but: Sequence[str] = ()) -> bool:
    """Whether a check says no, other than those named."""
    return any(check.status == "fail" and check.name not in but for check in answers)


def _guarded(name: str, fix: str, action: Callable[[], list[Check]]) -> list[Check]:
    try:
        return action()
    except HaigoError as error:
        return [Check(name, "fail", error.problem, error.fix or fix)]


def keys(config: Mapping[str, Any]) -> list[Check]:
    """Whether GPT-NeoX knows every key, and takes its type."""

    def known() -> list[Check]:
        reader.check_keys(config)
        source = table.edition().source
        return [Check("keys", "ok", f"{len(config)} keys, all known to GPT-NeoX{f' ({source})' if source else ''}")]

    answers = _guarded("keys", "mend or remove the key", known)
    problems = reader.type_problems(config)
    if problems:
        more = f" ({len(problems) - 1} more)" if len(problems) > 1 else ""
        answers.append(Check("types", "fail", problems[0] + more, "GPT-NeoX checks types strictly: mend the value"))
    else:
        answers.append(Check("types", "ok", "every value has the type that GPT-NeoX asks for"))
    return answers


def _floats(paths: Sequence[str | os.PathLike[str]]) -> list[Check]:
    traps = [f"{Path(path).name}: {key}" for path in paths for key in reader.float_traps(path)]
    if not traps:
        return []
    return [
        Check(
            "numbers read as text",
            "fail",
            f"GPT-NeoX reads {len(traps)} numbers as text, because they have no dot: {', '.join(traps[:3])}.",
            "write 1.0e-4 instead of 1e-4",
        )
    ]


def _world(config: Mapping[str, Any], hostfile: str | os.PathLike[str] | None, gpus: int | None) -> list[Check]:
    count, source = world_size(config, hostfile, gpus)
    batch = wrong = None
    try:
        batch = None if count is None else derive.batch(config, count)
    except HaigoError as error:
        wrong = error
    answers = rules.checks(config, "world", count=count, source=source)
    # that it does not fit is often no more than the missing key
    answers += rules.checks(config, "accumulation") if batch is None else []
    return answers + rules.checks(config, "batch", batch=batch, wrong=wrong)


def text(report: Report) -> str:
    """The report for people, one line a check and one a fix."""
    sign = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}
    lines = []
    for check in report.checks:
        lines.append(f"{sign[check.status]} {check.name}: {check.found}")
        if check.status != "ok" and check.fix:
            lines.append(f"       fix: {check.fix}")
    return "\n".join(lines)
