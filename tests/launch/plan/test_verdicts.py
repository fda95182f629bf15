"""launch.preflight holds all that NeoXArgs does: what the real one refuses ends with exit code 3, and what is right with 0.

`golden_verdicts.json` holds mutants (mutants.py) with the real verdict, for where GPT-NeoX is not at hand.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import mutants
import pytest
from mutants import Mutant
from neox_world import LOSSLESS, World, make_world

from haigo import cli

WILD, RIGHT, SEED = 1500, 700, 20_260_520


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("mutants"), **LOSSLESS)


@pytest.fixture(scope="module")
def made(place: World) -> dict[str, dict[str, Any]]:
    with redirect_stdout(io.StringIO()):
        return mutants.bases(place)


@pytest.fixture
def inside(place: World, made: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The world as the working folder: paths in the mutants start there."""
    monkeypatch.chdir(place.root)
    for name in ("GPT_NEOX_DIR", "GPT_NEOX_KEYS"):
        monkeypatch.delenv(name, raising=False)
    yield place.root


def judged(found: list[tuple[Mutant, str, tuple[int, list[str]]]]) -> None:
    """What they refuse is refused here; of the right ones at most one in a hundred."""
    missed = [(one.base, one.how, theirs) for one, theirs, (code, _) in found if theirs and code not in (2, 3)]
    assert missed == []
    ended = [(one.base, one.how, said) for one, _, (code, said) in found if code not in (0, 2, 3)]
    assert ended == []


def alarms(found: list[tuple[Mutant, str, tuple[int, list[str]]]]) -> list[Any]:
    return [(one.base, one.how, said) for one, theirs, (code, said) in found if not theirs and code != cli.OK]


def test_mutants_with_the_real_verdict(inside: Path) -> None:
    golden = json.loads(mutants.GOLDEN.read_text(encoding="utf-8"))
    for kind in ("wild", "right"):
        drawn = [
            Mutant(row["base"], changed(golden["bases"][row["base"]], row), str(row["set"])[:200])
            for row in golden[kind]
        ]
        paths = mutants.written(drawn, inside / f"golden-{kind}")
        found = [
            (one, row["theirs"], mutants.ours(path, inside))
            for one, row, path in zip(drawn, golden[kind], paths, strict=True)
        ]
        judged(found)
        assert kind == "wild" or len(alarms(found)) <= len(found) / 100, alarms(found)
    assert len(golden["wild"]) >= 250 and len(golden["right"]) >= 150


def changed(base: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """A base with the changes of a row of the golden file, in its order of keys."""
    config = {**base, **row["set"]}
    return {key: config[key] for key in config if key not in row["drop"]}


@pytest.mark.neox
@pytest.mark.slow
def test_the_real_one_refuses_nothing_more(neox: Any, inside: Path, made: Any, tmp_path: Path) -> None:
    for kind, count in (("wild", WILD), ("right", RIGHT)):
        drawn = [*mutants.drawn(kind, made, count, SEED)]
        paths = mutants.written(drawn, tmp_path / kind)
        verdicts = mutants.theirs(paths, tmp_path, str(neox.python), neox.root, neox.environment, inside)
        found = [
            (one, theirs, mutants.ours(path, inside)) for one, theirs, path in zip(drawn, verdicts, paths, strict=True)
        ]
        judged(found)
        if kind == "right":
            taken = [one for one in found if not one[1]]
            assert len(taken) >= 500
            assert len(alarms(found)) <= len(taken) / 100, alarms(found)
