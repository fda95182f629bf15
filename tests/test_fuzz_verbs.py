"""Damaged files and absurd numbers, for every verb and every file that it reads: a sentence and a documented code, never a
traceback, never exit 70.

What a verb reads is found by running it once (`fuzzing.Bench.reads`). The same damage at every run, so that a failure can be
repeated; `pytest --hypothesis-profile random tests/test_fuzz_verbs.py` tries ten times as much of another kind.
"""

import importlib
import os
import random
import re
import shutil
from pathlib import Path

import fuzzing
import hypothesis
import pytest
import tiny_house
from fuzzing import Bench, Mutant, wrong
from test_surface import parser_of
from tiny_house import STEPS

from haigo import cli, yamlfile
from haigo.ownership import NOTES

RANDOM = hypothesis.settings.get_current_profile_name() == "random"
SEED = int.from_bytes(os.urandom(4), "big") if RANDOM else 7
TIMES = 10 if RANDOM else 1
TRIALS = {
    "launch.local": 3,
    "eval_harness.run": 6,
    "preprocess.tokenizer": 6,
    "preprocess.dedup": 6,
    "preprocess.partition": 6,
    "preprocess.scale": 4,
}
"""Damaged files a verb, where that is not 12; its own absurd numbers come on top."""
SLOW = {"launch.proxies": 6, "launch.pipeline": 20, "launch.report": 20}
WRITES = {"preprocess.scale": "scaled", "launch.pipeline": "run", "launch.report": "run"}
"""Verbs whose output is named in a file that they read, not in their words."""
NUMBERS = ["0", "-1", "1e400", "nan", "inf", "1e15", "1" * 30, "9" * 5000, "1.5", "", "x", "-0", "0x10", "1_000", "٣"]


class House:
    """A user's folder in which every verb was run, as far as it is asked for."""

    def __init__(self, root):
        self.root, self.bench, self.done = root, Bench(root), 0
        tiny_house.build(root)

    def through(self, number):
        """Run the steps up to and with this one; those that others do not need are left out."""
        for at in range(self.done, number + 1):
            step = STEPS[at]
            if at == number or step.verb not in SLOW or step.verb == "launch.proxies":
                with fuzzing.quiet() as said:
                    assert tiny_house.call(step, step.out) == step.code, said()
            self.done = at + 1


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    return House(tmp_path_factory.mktemp("house"))


def words_of(step, out):
    return [word.replace("{out}", str(out)) for word in step.words.split()]


def main_of(step):
    return importlib.import_module(tiny_house.module(step.verb)).main


def inputs(step, house):
    """(file, whether it is one of an earlier call's output) of everything that the verb reads."""
    out = Path(WRITES.get(step.verb, step.out)) if step.out or step.verb in WRITES else None
    read = house.bench.reads(step, lambda: cli.run(main_of(step), words_of(step, step.out)))
    if out is not None:  # and what the first call left, of which the second says that it is still there
        read += [each.resolve() for each in out.rglob("*") if each.is_file() and each.name not in NOTES]
    own = str(out.resolve()) + os.sep if out is not None else None
    return [(path, own is not None and str(path).startswith(own)) for path in sorted(set(read))]


def damage(step, house, number):
    """`number` damaged files tried; a sentence for each that is not answered as it should be."""
    rng = random.Random(f"{SEED} {step.verb} {STEPS.index(step)}")
    found = inputs(step, house)
    assert found, f"{step.verb} reads nothing: a verb without a file has no place in this test"
    rng.shuffle(found)
    bad = []
    for count in range(number):
        path, own = found[count % len(found)]
        if not path.is_file():
            continue
        fixed = WRITES.get(step.verb)
        out = Path(step.out if own or fixed else "again")
        if out != Path(step.out):
            shutil.rmtree(out, ignore_errors=True)
        keep = [Path(fixed)] if fixed else [out] if own else []
        mutant = rng.choice(fuzzing.mutants(path, rng, 12))
        if why := house.bench.trial(step, words_of(step, out), path, mutant, keep=keep):
            bad.append(f"{step.verb} with {path.relative_to(house.root)} [{mutant.name}], seed {SEED}: {why}")
    return bad


def absurd(step, house, number):
    """`number` of the verb's options given an absurd value; a sentence for each that is not answered as it should be."""
    rng = random.Random(f"{SEED} numbers {step.verb} {STEPS.index(step)}")
    parser = parser_of(step.verb)
    takes = [action.option_strings[0] for action in parser._actions
             if action.option_strings and action.nargs is None and not action.choices]  # fmt: skip
    bad = []
    for _ in range(number if takes else 0):
        more = [rng.choice(takes), rng.choice(NUMBERS)]
        shutil.rmtree("again", ignore_errors=True)
        why = house.bench.ended(step.verb, main_of(step), [*words_of(step, "again"), *more])
        if why:
            bad.append(f"{step.verb} {more[0]} {more[1][:40]}, seed {SEED}: {why}")
    return bad


NUMBERED = [pytest.param(at, id=f"{at}-{step.verb}") for at, step in enumerate(STEPS)]
READERS = [each for each in NUMBERED if STEPS[each.values[0]].verb not in ("launch.plan", "mixer.design")]


def only(params, verbs, there):
    return [each for each in params if (STEPS[each.values[0]].verb in verbs) == there]


@pytest.mark.parametrize("at", only(READERS, SLOW, False))
def test_damaged_files(at, house, monkeypatch):
    monkeypatch.chdir(house.root)
    house.through(at)
    step = STEPS[at]
    assert not damage(step, house, TIMES * TRIALS.get(step.verb, 12))


@pytest.mark.slow
@pytest.mark.parametrize("at", only(READERS, SLOW, True))
def test_damaged_files_of_long_verbs(at, house, monkeypatch):
    monkeypatch.chdir(house.root)
    house.through(at)
    step = STEPS[at]
    assert not damage(step, house, TIMES * SLOW[step.verb])


@pytest.mark.parametrize("at", only(NUMBERED, SLOW, False))
def test_absurd_numbers(at, house, monkeypatch):
    monkeypatch.chdir(house.root)
    house.through(at)
    assert not absurd(STEPS[at], house, TIMES * (2 if STEPS[at].verb in TRIALS else 6))


# -- that the harness can fail -----------------------------------------------------------------------------------------


def report_step():
    return next(step for step in STEPS if step.verb == "mixer.report")


@pytest.fixture
def mixture(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "search" / "mixture.yml"
    path.parent.mkdir()
    path.write_text("weights: {news: 0.5, talk: 0.5}\n")
    return path


BLANK = Mutant("blank", b"weights: {news: 0.5, talk: 0.5}\n# changed\n")


def tried(mixture, mutant=BLANK):
    return Bench(mixture.parent.parent).trial(report_step(), ["search/mixture.yml"], mixture, mutant)


def test_a_planted_bug_is_seen(mixture, monkeypatch):
    assert tried(mixture) == ""
    real = yamlfile.loads

    def broken(text, name):
        return {}[name] if "changed" in text else real(text, name)

    monkeypatch.setattr(yamlfile, "loads", broken)
    assert re.search("exit 70.*KeyError", tried(mixture))
    assert str(mixture.relative_to(mixture.parent.parent)) in tried(mixture)  # the sentence names the file


@pytest.mark.parametrize(
    "planted",
    [
        "import os; os.write(2, b'Traceback (most recent call last):')",
        "raise SystemExit(0)",
        "raise MemoryError",
        "while True: pass",
    ],
)
def test_other_bad_ends_are_seen(mixture, monkeypatch, planted):
    monkeypatch.setattr(fuzzing, "SECONDS", 0.5)
    monkeypatch.setattr(yamlfile, "loads", lambda text, name: exec(planted) or {"weights": {"a": 1.0}})
    assert tried(mixture)


@pytest.mark.parametrize("code", [1, 4, 70, 130, 139])
def test_undocumented_codes_are_seen(code):
    assert wrong("mixer.report", code, "haigo: no.\n  fix: yes")


def test_what_is_read_is_found(house, monkeypatch):
    monkeypatch.chdir(house.root)
    at = next(at for at, step in enumerate(STEPS) if step.verb == "preprocess.index")
    house.through(at)
    names = {str(path.relative_to(house.root)) for path, _ in inputs(STEPS[at], house)}
    assert {"final/news/train/00000.jsonl.zst", "tok/spm.model", "tok/meta.json"} <= names
    assert "data/news/train_text_document.json" in names  # of the call before


def test_damage_is_damage(tmp_path):
    for name, text in (("a.json", '{"a": [1, {"b": "x"}]}'), ("a.jsonl", '{"a": 1}\n{"a": 2}\n'),
                       ("a.yml", "a: 1\nb: [x]\n"), ("a.csv", "run,x\np0,1\np1,2\n"), ("a.bin", "\0\1" * 40)):  # fmt: skip
        path = tmp_path / name
        path.write_text(text)
        made = fuzzing.mutants(path, random.Random(1), 60)
        assert len(made) >= 50 and sum(each.content != text.encode() for each in made) > 45
        again = fuzzing.mutants(path, random.Random(1), 60)
        assert made == again, "the same seed gives the same damage"
