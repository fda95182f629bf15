"""Several scales, earlier swarms with other corpora, scores of few items."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import yaml

from haigo import cli
from haigo.cli import HaigoError
from mixer import reuse, scales
from mixer import search as command
from mixer.design import design
from mixer.laws import Predictor, rank_correlation
from mixer.objective import Objective, parse
from mixer.recommend import recommend
from mixer.supply import Constraints

NAMES = ["news", "wiki", "code", "tales"]


def small(w):
    return np.c_[
        1.0 + 0.8 / (0.2 + 5 * w[:, 0] + 3 * w[:, 1]),
        0.8 + 0.6 / (0.3 + 4 * np.sqrt(w[:, 2])),
        2.0 - 0.5 * np.sqrt(w[:, 3]),
    ]


def large(w):
    """Every loss shrinks by a factor of its own: large spreads most, as measured between 1M and 1B parameters."""
    return small(w) * [0.25, 0.4, 0.9] + [0.2, 0.1, -0.4]


def mixtures(n, seed):
    return np.random.default_rng(seed).dirichlet(np.full(4, 0.8), n)


def test_few_large_runs_mend_the_order_of_a_sum_of_losses():
    before, after = [], []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        w, big, fresh = mixtures(40, seed), mixtures(8, seed + 50), mixtures(200, seed + 90)
        y = small(w) + 0.01 * rng.standard_normal((40, 3))
        law = Predictor(bootstrap=10).fit(w, y)
        lifted = scales.Recalibrated(law, y.std(0)).fit(big, large(big) + 0.01 * rng.standard_normal((8, 3)))
        truth = large(fresh)
        before.append(rank_correlation(law.predict(fresh).mean(1), truth.mean(1)))
        after.append(rank_correlation(lifted.predict(fresh).mean(1), truth.mean(1)))
        inside = np.abs(lifted.predict(fresh) - truth) <= 1.645 * lifted.predict_std(fresh)
        assert inside.mean() > 0.8
        assert (lifted.lines_.slope > 0).all()
    assert np.mean(after) > np.mean(before) + 0.01 and np.mean(after) > 0.95


def test_large_runs_that_say_the_opposite_are_told():
    w = mixtures(12, 0)
    with pytest.raises(HaigoError, match="other way round"):
        scales.lines(small(w), -small(w), small(w).std(0))
    with pytest.raises(HaigoError, match="2 run"):
        scales.lines(small(w)[:2], small(w)[:2], np.ones(3))


def test_scales_are_told_apart_and_ordered():
    names = scales.scales(["1M", "1M", "60M", "1B"], [1e9, 1.05e9, 1e9, 25e9])
    assert names[0] == names[1] and len(set(names)) == 3
    assert scales.choose(names, None, "m")[1] == names[3]
    assert scales.choose(names, "60M", "m") == (names[0], names[2])
    with pytest.raises(HaigoError, match="no runs of the size '7B'"):
        scales.choose(names, "7B", "m")
    with pytest.raises(HaigoError, match="several scales"):
        scales.choose(["tiny", "base"], None, "m")


def frames(folder, w, y, corpora=NAMES, prefix="p", name="", **columns):
    runs = [f"{prefix}{i}" for i in range(len(w))]
    pd.DataFrame(w, columns=corpora).assign(run=runs).to_csv(folder / f"{name}ratios.csv", index=False)
    made = pd.DataFrame(y, columns=["news_bpb", "code_bpb", "tales_bpb"]).assign(run=runs, **columns)
    made.to_csv(folder / f"{name}metrics.csv", index=False)
    return str(folder / f"{name}ratios.csv"), str(folder / f"{name}metrics.csv")


def test_one_table_of_three_sizes(tmp_path, capsys):
    w = design(Constraints(corpora=NAMES), 36, 0).iloc[:, 1:].to_numpy()
    sizes = ["1M"] * 24 + ["60M"] * 6 + ["1B"] * 6
    y = np.where(np.array(sizes)[:, None] == "1M", small(w), large(w))
    y[24:30] += 0.3
    y += 0.003 * np.random.default_rng(0).standard_normal(y.shape)
    ratios, metrics = frames(tmp_path, w, y, size=sizes)
    out = tmp_path / "m.yml"
    words = ["--ratios", ratios, "--metrics", metrics, "--objective", "news_bpb,code_bpb", "--bootstrap", "10"]
    assert cli.run(command.main, [*words, "--output", str(out)]) == 0
    document = yaml.safe_load(out.read_text())
    made = document["prediction"]["news_bpb"]
    truth = large(np.array([list(document["weights"].values())]))[0, 0]
    assert made["interval"][0] <= truth <= made["interval"][1]
    assert any("6 runs of 60M" in note for note in document["notes"])
    assert any("Recalibrated" in note for note in document["notes"])
    assert cli.run(command.main, [*words, "--target-runs", "z"]) == 2
    assert "no run" in capsys.readouterr().err


def test_earlier_swarm_with_other_corpora(tmp_path):
    old = mixtures(20, 1)  # news, web (= wiki + tales), code, gone
    as_now = np.c_[old[:, 0], old[:, 1] * 0.5, old[:, 2], old[:, 1] * 0.5]
    older = frames(tmp_path, old, small(as_now) + 0.2 * old[:, 3:4], ["news", "web", "code", "gone"], name="old_")
    w = design(Constraints(corpora=NAMES), 8, 0).iloc[:, 1:].to_numpy()
    newer = frames(tmp_path, w, small(w), name="new_")
    how = {"objective": ["news_bpb"], "bootstrap": 10, "beyond_proxies": True, "force": True, "earlier": [older]}
    names = {"ratios": newer[0], "metrics": newer[1]}
    both = command.search(command.SearchOptions(**names, **how, split=["web=wiki:0.5,tales:0.5"]))
    assert both.corpora == NAMES and round(float(both.weights.sum()), 9) == 1
    assert both.card.runs == 28 and both.transfer.shape == (3, 4)
    assert any("gone" in note for note in both.notes)
    with pytest.raises(HaigoError, match="Did you mean 'web'"):
        command.search(command.SearchOptions(**names, **how, split=["wob=wiki"]))
    with pytest.raises(HaigoError, match="sum to 1"):
        reuse.parse(["web=wiki:0.5,tales:0.2"])
    merged = reuse.parse(["blog=web"])
    assert merged == {"blog": {"web": 1.0}}


def test_scores_of_few_items_widen_intervals_and_are_doubted():
    w = mixtures(24, 2)
    rng = np.random.default_rng(0)
    p = 0.2 + 0.3 * (2.0 - small(w)[:, 2])
    y = pd.DataFrame({"qa_acc": rng.binomial(60, p) / 60})
    constraints = Constraints(corpora=NAMES)

    def ask(words):
        return recommend(w, y, parse(["qa_acc"], [], ["qa_acc"], scores=words), constraints, bootstrap=10, force=True)

    few, many = ask(["qa_acc=60:0.2"]), ask(["qa_acc=100000"])
    width = [m.prediction["qa_acc"]["interval"][1] - m.prediction["qa_acc"]["interval"][0] for m in (few, many)]
    assert width[0] >= width[1]
    assert width[0] >= 2 * 1.64 * np.sqrt(0.3 * 0.7 / 60) * 0.95
    assert any("60 items alone" in note for note in few.notes)
    assert not any("items alone" in note for note in many.notes)
    assert np.allclose(few.weights, many.weights)
    assert few.objective.direction["qa_acc"] == "max"
    with pytest.raises(HaigoError, match="looks like a loss"):
        Objective(weights={"news_bpb": 1.0}, direction={"news_bpb": "max"}).resolve(["news_bpb"], "m")
    with pytest.raises(HaigoError, match="ITEMS"):
        parse(["qa_acc"], [], scores=["qa_acc=many"])
    with pytest.raises(HaigoError, match="no share of right items"):
        Objective(weights={"qa": 1.0}, items={"qa": 10}).item_noise(["qa"], np.array([[300.0]]))


def test_halving_the_regret_needs_proxies_and_copies_are_noted(tmp_path):
    from mixer import proxies

    w = design(Constraints(corpora=NAMES), 20, 0).iloc[:, 1:].to_numpy()
    y = small(w) + 0.05 * np.random.default_rng(0).standard_normal((20, 3))
    made = recommend(
        w, y, Objective(weights={"news_bpb": 1.0}), Constraints(corpora=NAMES), bootstrap=16,
        metrics=["news_bpb", "code_bpb", "tales_bpb"], force=True,
    )  # fmt: skip
    assert made.more_proxies is None or 1 <= made.more_proxies <= 16 * 20
    ratios, metrics = frames(tmp_path, np.vstack([w, w[:1]]), np.vstack([y, y[:1]]))
    assert any("copies of another" in note for note in proxies.read(ratios, metrics).notes)
