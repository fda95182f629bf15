"""Noise of a task's items: read from swarm.json, told apart from what all runs find hard, and in intervals that hold."""

from __future__ import annotations

import json

import numpy as np
import pytest

from haigo.cli import HaigoError
from haigo.formats import tables
from mixer import items, japanese
from mixer.evidence import Evidence
from mixer.objective import Objective
from mixer.options import RecommendOptions
from mixer.recommend import choose
from mixer.search import SearchOptions, search
from mixer.supply import Constraints

CORPORA, ITEMS, RUNS, CHANCE = [f"c{i}" for i in range(5)], 200, 24, 0.2


class Quiz:
    """A task whose items belong to four topics, each helped by other corpora; answers are right by luck and skill."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.help = self.rng.uniform(0.02, 0.25, (4, len(CORPORA)))
        self.help[np.arange(4), self.rng.integers(len(CORPORA), size=4)] = 1.0
        self.own, self.many = (self.drawn(count) for count in (ITEMS, 20_000))

    def drawn(self, count):
        return self.rng.integers(4, size=count), self.rng.standard_normal(count)

    def right(self, w, asked):
        """Probability that models of mixtures (n, corpora) answer each item right."""
        topics, hard = asked
        skill = 2.2 * np.log(np.power(w, 0.6) @ self.help.T + 0.05) + 0.6
        return CHANCE + (1 - CHANCE) / (1 + np.exp(hard - skill[:, topics]))

    def answers(self, w):
        p = self.right(w, self.own)
        return (self.rng.random(p.shape) < p).astype(float)


def paired(answers):
    rest = answers - answers.mean(0) - answers.mean(1)[:, None] + answers.mean()
    runs, count = answers.shape
    return float(np.sqrt((rest**2).sum() / ((runs - 1) * (count - 1)) / count))


def held(seed: int) -> tuple[bool, bool]:
    """Whether the intervals hold: of a new run's score on the same items, and of the gain on all items there are."""
    world = Quiz(seed)
    w = world.rng.dirichlet(np.full(len(CORPORA), 0.8), RUNS)
    answers = world.answers(w)
    goal = Objective(
        weights={"acc": 1.0}, items={"acc": ITEMS}, chance={"acc": CHANCE}, paired={"acc": paired(answers)}
    )
    limits = Constraints(corpora=CORPORA, upper=np.full(len(CORPORA), 0.7))
    given = Evidence(weights=w, losses=answers.mean(axis=1, keepdims=True), metrics=["acc"])
    made = choose(given, goal, limits, RecommendOptions(bootstrap=30, force=True))
    both = np.stack([made.weights, made.reference])
    gain = float(np.subtract(*world.right(both, world.many).mean(axis=1)))
    low, high = made.prediction["acc"]["interval"]
    return low <= world.answers(both[:1]).mean() <= high, made.gain["interval"][0] <= gain <= made.gain["interval"][1]


@pytest.mark.slow
def test_intervals_of_scores_of_few_items_hold():
    found = np.mean([held(seed) for seed in range(24)], axis=0)
    # 85 to 95 % are meant; 24 worlds leave 7 % of noise in that
    assert found[0] >= 0.79 and found[1] >= 0.79


def test_items_that_are_hard_for_all_are_no_noise():
    rng = np.random.default_rng(3)
    hard = rng.random(400) < 0.5
    answers = np.where(rng.random((RUNS, 400)) < 0.03, ~hard, hard).astype(float)
    p = answers.mean()
    assert paired(answers) < 0.5 * np.sqrt(p * (1 - p) / 400)
    # a difference of two runs: its variance over draws of items is twice the paired noise's square
    each = [rng.integers(400, size=400) for _ in range(2000)]
    differences = np.array([answers[0, rows].mean() - answers[1, rows].mean() for rows in each])
    assert differences.std() == pytest.approx(np.sqrt(2) * paired(answers), rel=0.35)


def table(folder, scores, noise=0.02):
    """A swarm of 24 runs with a share of right items and a likelihood, and what its swarm.json says of them."""
    rng = np.random.default_rng(1)
    w = rng.dirichlet(np.ones(3), RUNS).round(6)
    w[:, -1] = 1 - w[:, :-1].sum(axis=1)
    skill = 0.3 + 0.3 * (0.05 + w[:, 0]) ** 0.4 + noise * rng.standard_normal(RUNS)
    names = [f"p{n:03d}" for n in range(RUNS)]
    rows = "".join(f"{n},{','.join(f'{x:.6f}' for x in row)}\n" for n, row in zip(names, w, strict=True))
    (folder / "ratios.csv").write_text("run,news,wiki,code\n" + rows)
    cells = "".join(f"{n},{y:.6f},{2 - y:.6f}\n" for n, y in zip(names, skill, strict=True))
    (folder / "metrics.csv").write_text("run,qa_acc,qa_choice_nll\n" + cells)
    content = {"format": 1, "common": {}, "runs": {}, "scores": scores}
    (folder / "swarm.json").write_text(json.dumps(content))
    return {"ratios": str(folder / "ratios.csv"), "metrics": str(folder / "metrics.csv"), "bootstrap": 10}


def test_a_search_reads_them_beside_metrics_csv(tmp_path):
    scores = {
        "qa_acc": {"items": 200, "chance": 0.25, "noise": 0.035, "paired_noise": 0.02},
        "qa_choice_nll": {"items": 200, "noise": 0.05},
    }
    given = table(tmp_path, scores)
    made = search(SearchOptions(**given, objective=["qa_acc"]))
    assert made.objective.direction["qa_acc"] == "max" or made.objective.items == {"qa_acc": 200}
    assert made.objective.chance == {"qa_acc": 0.25} and made.objective.paired == {"qa_acc": 0.02}
    said = [note for note in made.notes if "200 items leave noise of 0.02 in a run, the same ones" in note]
    assert len(said) == 1 and "(0.035 if they were not)" in said[0] and "雑音" in japanese.say(said[0])
    narrow = np.ptp(made.prediction["qa_acc"]["interval"])
    wide = search(
        SearchOptions(
            **table(tmp_path, {**scores, "qa_acc": {**scores["qa_acc"], "paired_noise": 0.08}}),
            objective=["qa_acc"],
            force=True,
        )
    )
    assert np.ptp(wide.prediction["qa_acc"]["interval"]) > 2 * narrow
    other = search(SearchOptions(**table(tmp_path, scores), objective=["qa_choice_nll"], force=True))
    (said,) = [note for note in other.notes if "200 items leave noise of 0.05 in a run; no less" in note]
    assert "雑音" in japanese.say(said)


def test_what_the_user_says_goes_before(tmp_path):
    given = table(tmp_path, {"qa_acc": {"items": 200, "chance": 0.25}})
    made = search(SearchOptions(**given, objective=["qa_acc"], scores=["qa_acc=400:0.2"]))
    assert made.objective.items == {"qa_acc": 400} and made.objective.chance == {"qa_acc": 0.2}
    lower = search(SearchOptions(**given, objective=["qa_acc"], minimise=["qa_acc"], force=True))
    assert lower.objective.direction == {"qa_acc": "min"} and not lower.objective.items


def test_seeds_and_items_add():
    goal, notes = items.known(
        Objective(weights={"x": 1.0}), ["x"], {"x": {"items": 50.0, "noise": 0.4, "paired_noise": 0.3}}, "metrics.csv"
    )
    assert goal.paired == {"x": 0.3} and len(notes) == 1
    w = np.random.default_rng(0).dirichlet(np.ones(3), 16)
    y = 1.0 + 0.5 * (0.05 + w[:, :1]) ** -0.3
    limits = Constraints(corpora=["x", "y", "z"])
    wide = []
    for known, objective in ((None, goal), (np.array([0.4]), goal)):
        given = Evidence(weights=w, losses=y, metrics=["x"], run_noise=known, repeats=np.full(16, 2))
        made = choose(given, objective, limits, RecommendOptions(bootstrap=10, force=True))
        wide.append(np.ptp(made.prediction["x"]["interval"]) / 2)
    assert wide[0] > 1.6 * 0.3 and wide[1] > 1.6 * np.hypot(0.3, 0.4)


@pytest.mark.parametrize(
    "fact", [{"items": "many"}, {"items": 0}, {"noise": -1.0}, {"paired_noise": True}, {"noise": None}]
)
def test_a_damaged_note_is_named(tmp_path, fact):
    given = table(tmp_path, {"qa_acc": fact})
    with pytest.raises(HaigoError, match=r"swarm\.json: \w+ of 'qa_acc' is"):
        tables.noted_scores(given["metrics"])
