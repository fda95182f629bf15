"""Damaged files of GPT-NeoX runs, as tests/test_fuzz_verbs.py has it of other verbs: checkpoints, a watcher's notes, converted
models, tables of runs. GPT-NeoX itself is pretended (fake_training.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import fuzzing
import hypothesis
import pytest
from test_convert import case  # noqa: F401
from test_runs import Several, several  # noqa: F401
from test_supervise import Run, run  # noqa: F401

from haigo.ownership import NOTES

RANDOM = hypothesis.settings.get_current_profile_name() == "random"
TIMES = 10 if RANDOM else 1


def damage(verb: str, words: Sequence[str], found: Sequence[Path], number: int, keep: Sequence[Path]) -> list[str]:
    """`number` damaged files tried; a sentence for each that is not answered as it should be."""
    rng = random.Random(None if RANDOM else verb)
    bench, bad = fuzzing.Bench(keep[0]), []
    found = sorted(found)
    rng.shuffle(found)
    for count in range(number * TIMES):
        path = found[count % len(found)]
        if not path.is_file():
            continue
        mutant = rng.choice(fuzzing.mutants(path, rng, 12))
        if why := bench.trial(SimpleNamespace(verb=verb), list(words), path, mutant, keep=keep):
            bad.append(f"{verb} with {path} [{mutant.name}]: {why}")
    return bad


def below(*folders: Path) -> list[Path]:
    return [each for folder in folders for each in folder.rglob("*") if each.is_file() and each.name not in NOTES]


def test_a_run_that_has_ended(run: Run) -> None:  # noqa: F811
    run.plan()
    assert run.go() == 0
    words = ["train.py", str(run.config), "--restart-wait", "0.1", "--max-restarts", "1"]
    found = [*below(run.save), run.config]
    assert {"haigo_run.json", "latest", "exit.json", "child.json", "start.json"} <= {each.name for each in found}
    assert not damage("launch.deepy", words, found, 24, [run.save.parent])


@pytest.mark.parametrize("more", [["--deep"], ["--mend"]])
def test_checkpoints(run: Run, more: list[str]) -> None:  # noqa: F811
    run.plan()
    assert run.go() == 0
    found = [each for each in below(run.save) if "haigo" not in each.parts[-2]]
    assert not damage("launch.checkpoints", [str(run.save), *more], found, 20, [run.save.parent])


def test_a_table_of_runs(several: Several) -> None:  # noqa: F811
    several.plan(a={}, b={}, c={})
    found = [several.table, *(several.folder / f"{name}.yml" for name in "abc")]
    assert not damage("launch.runs", [str(several.table), "--dry-run"], found, 16, [several.folder])


def test_a_converted_model(case: Callable[..., SimpleNamespace], monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    one = case()
    assert one.run() == 0
    assert not damage("launch.convert", [str(one.out), "--check"], below(one.out), 24, [one.root])
    monkeypatch.chdir(one.root)
    words = [str(one.save), "--out", str(one.root / "again"), "--force"]
    assert not damage("launch.convert", words, below(one.save), 16, [one.root])
