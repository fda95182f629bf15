"""Whatever a verb does, files that Haigo did not make stay as they are: in the output, around it, under our names, as links.

Every verb is run for real: into a folder that holds files of the user's, again with another option, and once more for each of
the names it writes, with a file of the user's standing there. A verb that is not in `STEPS` fails.
"""

import os
import random
from pathlib import Path

import pytest
import tiny_house
from sentinels import look, plant
from test_surface import verbs
from tiny_house import ELSEWHERE, STEPS, call

from haigo import cli, files
from haigo.ownership import names_in

SLOW = {"launch.proxies", "launch.local", "eval_harness.run"}
TRIALS = 3  # names of one output that are tried one at a time


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    root = tmp_path_factory.mktemp("house")
    tiny_house.build(root)
    return root


def test_every_verb_has_its_sentinels():
    assert set(verbs()) - ELSEWHERE == {step.verb for step in STEPS}


@pytest.mark.slow
def test_nothing_of_the_users_is_touched(house, monkeypatch, capsys):
    monkeypatch.chdir(house)
    for step in STEPS:
        if step.out:
            plant(house / step.out)
        mine = look(house)
        for more in ("", step.again) if step.again else ("",):
            code = call(step, step.out, more)
            said = capsys.readouterr().err
            now = look(house)
            changed = [name for name in mine if now.get(name) != mine[name]]
            assert not changed, f"{step.verb} {more}: {changed}"
            assert set(now) == set(mine), (
                f"{step.verb} leaves files that it does not know as its own: {set(now) - set(mine)}"
            )
            assert code == step.code, f"{step.verb} {more}: {code}: {said[-1000:]}"
            for place, _, _ in list(os.walk(house / step.out)) if step.out else []:
                (Path(place) / "later.txt").write_text("put there after the first run")
            mine = look(house)
        if step.again:  # what the next steps read
            assert call(step, step.out) in (cli.OK, cli.REFUSED), f"{step.verb}: {capsys.readouterr().err[-1000:]}"
            assert look(house) == mine
        if step.again and "{out}" in step.words:
            under_our_names(step, house, mine, capsys)


def under_our_names(step, house, mine, capsys):
    """A file of the user's, and one of another command's, under a few names that the verb writes: it stays, and is told."""
    made = [Path(place) / name for place, _, _ in os.walk(house / step.out) for name in names_in(Path(place))]
    names = sorted(str(path.relative_to(house / step.out)) for path in made if path.is_file())
    assert names, step.verb
    trials = 1 if step.verb in SLOW else min(TRIALS, len(names))
    chosen = random.Random(1).sample(names, trials)
    another = [name for name in names if name not in chosen and not name.endswith("run.json")][:1] or chosen
    for number, (name, by) in enumerate(
        [*((each, None) for each in chosen), *((each, "other.verb") for each in another)]
    ):
        out = f"trials/{STEPS.index(step)}/{number}"
        taken = house / out / name
        taken.parent.mkdir(parents=True)
        if by is None:
            taken.write_text("mine")
        else:
            with cli.acting(by):
                files.write_text(taken, "mine")
        code = call(step, out)
        said = capsys.readouterr().err
        assert taken.read_text() == "mine", f"{step.verb} wrote over {name}"
        assert code in (cli.REFUSED, cli.FAILED) and (taken.name in said or out in said), (
            f"{step.verb}, {name}: {code} {said}"
        )
    assert {key: each for key, each in look(house).items() if key in mine} == mine
