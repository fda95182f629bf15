"""What repeating a corpus does is learnt from runs whose corpora were cut, where left-out runs say so, and only there."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from mixer_worlds import searched

from haigo import cli
from haigo.cli import HaigoError
from mixer import contest, optimise, search
from mixer.design import propose
from mixer.laws_repeat import R_STAR, RepeatedShareLaw
from mixer.objective import Objective
from mixer.optimise import Surface, minimise
from mixer.recommend import choose, recommend
from mixer.supply import Constraints, FullRepetition

CORPORA = ["news", "wiki", "code", "talk"]
METRICS = ["news_bpb", "wiki_bpb"]
TARGET = 1e10
SUPPLY = np.array([2.5e8, 1e10, 2e10, 1.2e10])
PASSES = TARGET / SUPPLY  # 40 epochs of news at the weight 1, none of the others
LIMITS = Constraints(corpora=CORPORA, supply=SUPPLY, target_tokens=TARGET, max_epochs=36, repetition=FullRepetition())


def mixtures(runs, seed):
    """News from 1 to 34 epochs, spread evenly on a log scale."""
    rng = np.random.default_rng(seed)
    news = 34 ** rng.permutation(np.linspace(0, 1, runs)) / PASSES[0]
    rest = rng.dirichlet(np.full(3, 2.0), runs) * (1 - news)[:, None]
    return np.c_[news, rest].round(6)


def truth(w, r_star=None, cost=0.0, after=6.0):
    """Losses (runs, metrics): repeated news is worth less and less (`r_star`), and costs its own metric beyond some epochs."""
    epochs = w[:, 0] * PASSES[0]
    news = w[:, 0]
    if r_star is not None:
        news = np.where(epochs > 1, (1 + r_star * (1 - np.exp(-np.maximum(epochs - 1, 0) / r_star))) / PASSES[0], news)
    seen = np.c_[news, w[:, 1:]] ** 0.6
    helps = np.array([[1.0, 0.3, 0.05, 0.2], [0.25, 1.0, 0.05, 0.15]])
    losses = 0.8 + 1.0 * (seen @ helps.T + 0.05) ** -0.35
    losses[:, 0] += cost * np.maximum(epochs - after, 0.0)
    return losses


def runs(count=32, seed=0, noise=0.003, **world):
    w = mixtures(count, seed)
    w[:, 1] += 1 - w.sum(axis=1)
    return w, truth(w, **world) + noise * np.random.default_rng([seed, 1]).standard_normal((count, 2))


def answer(w, y, passes=PASSES, metrics=("news_bpb",), limits=LIMITS, **more):
    goal = Objective(weights=dict.fromkeys(metrics, 1.0))
    return recommend(w, y, goal, limits, metrics=METRICS, bootstrap=20, passes=passes, **more)


def best(**world):
    """Epochs of news at the best mixture for its own loss, over the finest of grids: what is left goes to wiki."""
    news = np.linspace(1, 36, 500) / PASSES[0]
    return news[truth(np.c_[news, 1 - news, 0 * news, 0 * news], **world)[:, 0].argmin()] * PASSES[0]


@pytest.mark.parametrize("world", [{"r_star": 4.0}, {"r_star": 15.0, "cost": 0.006}, {"cost": 0.004, "after": 8.0}])
def test_epochs_chosen_are_those_that_are_best(world):
    w, y = runs(**world)
    made = answer(w, y)
    assert made.repetition["used"] == "learnt"
    error = made.repetition["left_out_error"]
    assert error["learnt"] ** 2 < 0.95 * error["without"] ** 2
    epochs = made.weights[0] * PASSES[0]
    assert best(**world) / 1.5 < epochs < best(**world) * 1.5
    assert made.repetition["never_repeated"] == ["wiki", "code", "talk"]
    assert list(made.repetition["corpora"]) == ["news"]


def test_what_fades_and_what_costs_are_told_apart():
    faded = answer(*runs(r_star=4.0)).repetition["corpora"]["news"]
    low, high = faded["r_star_interval"]
    assert low < 4.0 < high < R_STAR and faded["cost_of_16_epochs"] < 0.02
    w, y = runs(r_star=15.0)
    y[:, 0] += 0.06 * (w[:, 0] * PASSES[0] / 16) ** 2.5
    harmful = answer(w, y).repetition["corpora"]["news"]
    low, high = harmful["cost_interval"]
    assert low < 0.06 < high < 0.08 and harmful["r_star_interval"][0] < 15.0 < harmful["r_star_interval"][1]
    assert harmful["most_epochs"] == pytest.approx(34, rel=0.01)


def test_where_repetition_does_nothing_the_answer_is_that_of_the_plain_law():
    used = 0
    for seed in range(6):
        w, y = runs(seed=seed)
        made, plain = answer(w, y), answer(w, y, passes=None)
        used += made.repetition["used"] == "learnt"
        if made.repetition["used"] == "none":
            document = made.document()
            assert document.pop("repetition")["left_out_error"]
            assert "is not clearly better" in document["notes"].pop()
            assert json.dumps(document) == json.dumps(plain.document())
    assert used <= 1


def test_a_table_of_noise_switches_nothing_on():
    used = 0
    for seed in range(10):
        w, _ = runs(count=24, seed=seed)
        y = 3 + 0.05 * np.random.default_rng([seed, 2]).standard_normal((24, 2))
        used += answer(w, y, force=True).repetition["used"] == "learnt"
    assert used <= 2


def test_a_contest_lets_the_search_learn_repetition():
    w, y = runs(count=48, cost=0.004, after=8.0)
    asked = contest.Task(
        weights=w[:38], losses=y[:38], goal=np.array([1.0, 0.0]), constraints=LIMITS, unseen=w[38:], measured=y[38:, 0],
        seed=0, passes=PASSES,
    )  # fmt: skip
    learnt, plain = (contest.answer("law", each, choose) for each in (asked, replace(asked, passes=None)))
    error = [float(np.sqrt(((made.unseen - asked.measured) ** 2).mean())) for made in (learnt, plain)]
    assert error[0] < 0.8 * error[1]
    assert (
        truth(learnt.weights[None], cost=0.004, after=8.0)[0, 0]
        < truth(plain.weights[None], cost=0.004, after=8.0)[0, 0]
    )


def test_ceilings_hold_by_the_law_that_is_used():
    w, y = runs(r_star=4.0)
    goal = Objective(weights={"news_bpb": 1.0}, ceilings={"wiki_bpb": "+20%"})
    made = recommend(w, y, goal, LIMITS, metrics=METRICS, bootstrap=20, passes=PASSES)
    assert made.repetition["used"] == "learnt"
    assert made.prediction["wiki_bpb"]["mean"] <= made.ceilings["wiki_bpb"]["limit"] * (1 + 1e-4)


def test_other_methods_learn_nothing_and_say_so():
    w, y = runs(r_star=4.0)
    made = answer(w, y, method="gp")
    assert made.repetition["used"] == "none" and "The method gp learns nothing of repetition." in made.notes


def test_no_corpus_that_is_repeated_leaves_all_as_it_was():
    w, y = runs()
    made, plain = answer(w, y, passes=PASSES / 40), answer(w, y, passes=None)
    assert made.repetition == {"used": "none", "never_repeated": CORPORA}
    assert "nothing is learnt of repetition" in made.notes.pop()
    made.repetition = None
    assert json.dumps(made.document()) == json.dumps(plain.document())


@pytest.mark.parametrize("passes", [PASSES[:3], -PASSES, [*PASSES[:3], np.nan]])
def test_passes_that_are_none_are_refused(passes):
    with pytest.raises(HaigoError, match="passes"):
        answer(*runs(), passes=passes)


def law(k=5, targets=3, seed=0):
    rng = np.random.default_rng(seed)
    w = rng.dirichlet(np.ones(k), 24)
    made = RepeatedShareLaw(np.array([40.0, 1.0, 3.0, 8.0, 0.0]), np.array([True, False, True, True, False]))
    return made.fit(w, 3 + w @ rng.normal(size=(k, targets)) + 0.02 * rng.normal(size=(24, targets))), w, rng


def test_the_law_knows_its_derivatives():
    made, w, rng = law()
    theta = made.theta_ + 0.3 * rng.normal(size=made.theta_.shape)
    features, scale = made.features(w), made.scale_
    value, jacobian = made.curve(theta, features, scale)
    assert value == pytest.approx(made.values(theta, features, scale))
    for p in range(theta.shape[1]):
        step = np.zeros(theta.shape[1])
        step[p] = 1e-6
        apart = made.values(theta + step, features, scale) - made.values(theta - step, features, scale)
        assert apart / 2e-6 == pytest.approx(jacobian[:, :, p], abs=1e-6)
    _, slopes = made.slopes(theta, w, scale)
    for j in range(w.shape[1]):
        step = 1e-7 * np.eye(w.shape[1])[j]
        sure = np.abs(w[:, j] * made.passes[j] - 1) > 1e-3  # not where the first repeated token begins
        apart = [made.values(theta, made.features(w + side * step), scale) for side in (1, -1)]
        assert ((apart[0] - apart[1]) / 2e-7)[:, sure] == pytest.approx(slopes[:, sure, j], abs=1e-5, rel=1e-4)


def test_many_corpora_have_the_answer_of_the_slow_solver(monkeypatch):
    k, rng = 50, np.random.default_rng(0)
    passes = np.exp(rng.uniform(np.log(0.3), np.log(300), k))
    limits = Constraints(
        corpora=[f"c{j}" for j in range(k)], supply=1e9 / passes, target_tokens=1e9, max_epochs=32,
        repetition=FullRepetition(),
    )  # fmt: skip
    w = propose(limits, 60, 0, floor=0.0005)
    helps, costs = rng.uniform(size=(2, k, 2)) * np.array([1.0, 0.01])[:, None, None]
    law = RepeatedShareLaw(passes, (w * passes > 2).sum(axis=0) >= 3)
    law.fit(w, 3 - w**0.5 @ helps + (w * passes / 16) ** 2.5 @ costs)
    function = Surface(law, law.theta_[None], limits).weighted(np.ones(2), 0.003, limits.reference)
    room = limits.limits()
    fast = minimise(function, room, [room.project(limits.reference)])
    monkeypatch.setattr(optimise, "MANY", 1000)
    slow = minimise(function, room, [room.project(limits.reference), fast], effort=500)
    assert function(fast)[0] == pytest.approx(function(slow)[0], abs=1e-7)


def test_the_law_is_convex_in_the_weights():
    """So the exact search needs no further starts."""
    made, _, rng = law()
    for _ in range(40):
        theta = made.theta_ + rng.normal(size=made.theta_.shape)
        ends = rng.dirichlet(np.full(5, 0.5), 2)
        on_line = np.linspace(0, 1, 21)[:, None] * ends[0] + np.linspace(1, 0, 21)[:, None] * ends[1]
        values = made.values(theta, made.features(on_line), made.scale_)
        bend = values[:, 2:] - 2 * values[:, 1:-1] + values[:, :-2]
        assert (bend > -1e-9 * np.abs(values).max(axis=1, keepdims=True)).all()


def swarm(folder, supply, column="1e+10", seed=0):
    """The tables of a matched swarm, with its swarm.json, and the words of a search over them."""
    w, y = runs(seed=seed, r_star=4.0)
    folder.mkdir(exist_ok=True)
    names = [f"p{i:03d}" for i in range(len(w))]
    for name, head, rows in (
        ("ratios.csv", ["run", *CORPORA], [[n, *row] for n, row in zip(names, w.tolist(), strict=True)]),
        ("metrics.csv", ["run", *METRICS, "epochs_matched"],
         [[n, *row, column] for n, row in zip(names, y.tolist(), strict=True)]),
    ):  # fmt: skip
        with (folder / name).open("w", newline="") as handle:
            csv.writer(handle).writerows([head, *rows])
    weights = [dict(zip(CORPORA, row, strict=True)) for row in w.tolist()]
    content = {
        "format": 1,
        "common": {"epochs_matched": TARGET, **{f"supply.{name}": tokens for name, tokens in supply.items()}},
        "runs": {name: {"weights": row, "seed": 1} for name, row in zip(names, weights, strict=True)},
    }
    (folder / "swarm.json").write_text(json.dumps(content))
    (folder / "supply.csv").write_text(
        "corpus,tokens\n" + "".join(f"{c},{t}\n" for c, t in zip(CORPORA, SUPPLY, strict=True))
    )
    tables = ["--ratios", str(folder / "ratios.csv"), "--metrics", str(folder / "metrics.csv")]
    return [*tables, "--objective", "news_bpb", "--bootstrap", "10"]


def test_a_search_reads_the_supply_that_the_swarm_was_matched_to(tmp_path):
    words = swarm(tmp_path, dict(zip(CORPORA, SUPPLY.tolist(), strict=True)))
    made = searched(tmp_path, words)
    assert made["repetition"]["used"] == "learnt"
    assert made["repetition"]["corpora"]["news"]["r_star"] < 10
    assert any("Repeating news (up to 34 epochs in the runs): R*" in note for note in made["notes"])
    hard = searched(tmp_path, [*words, "--hard-repetition"])
    assert "repetition" not in hard and hard["weights"] != made["weights"]
    assert searched(tmp_path, words) == {**made, "provenance": made["provenance"]}


def test_without_the_swarm_file_the_supply_table_says_it(tmp_path):
    words = swarm(tmp_path, {})
    (tmp_path / "swarm.json").unlink()
    silent = searched(tmp_path, words)
    assert "repetition" not in silent
    assert any("how often each corpus was repeated is not known" in note for note in silent["notes"])
    supply = ["--supply", str(tmp_path / "supply.csv"), "--target-tokens", "1e10", "--max-epochs", "36"]
    assert searched(tmp_path, [*words, *supply])["repetition"]["used"] == "learnt"


def test_a_corpus_that_never_varies_apart_keeps_its_epochs(tmp_path):
    """News in two halves that go together: the joined corpus is repeated as each of them."""
    w, _ = runs(r_star=4.0)
    halves = np.c_[w[:, :1] / 2, w[:, :1] / 2, w[:, 1:]]
    supply = np.r_[SUPPLY[0] / 2, SUPPLY[0] / 2, SUPPLY[1:]]
    words = swarm(tmp_path, {})
    names = ["news_a", "news_b", *CORPORA[1:]]
    with (tmp_path / "ratios.csv").open("w", newline="") as handle:
        rows = [[f"p{i:03d}", *row] for i, row in enumerate(halves.tolist())]
        csv.writer(handle).writerows([["run", *names], *rows])
    (tmp_path / "swarm.json").unlink()
    (tmp_path / "supply.csv").write_text(
        "corpus,tokens\n" + "".join(f"{c},{t}\n" for c, t in zip(names, supply, strict=True))
    )
    limits = ["--supply", str(tmp_path / "supply.csv"), "--target-tokens", "1e10", "--max-epochs", "36"]
    made = searched(tmp_path, [*words, *limits])["repetition"]
    assert made["corpora"]["news_a + news_b"]["most_epochs"] == pytest.approx(34, rel=0.01)


def test_a_supply_that_is_no_number_is_named(tmp_path, capsys):
    words = swarm(tmp_path, dict.fromkeys(CORPORA, "many"))
    assert cli.run(search.main, words) == 2
    assert "swarm.json" in capsys.readouterr().err
