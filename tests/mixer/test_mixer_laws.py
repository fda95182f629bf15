"""Laws: gradients, convexity, left-out runs, uncertainty, RegMix's public runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from shared_data import needed

from haigo.cli import HaigoError
from mixer import laws
from mixer.ensemble import combine
from mixer.laws import EffectiveShareLaw, ExponentialLaw, GaussianProcess, Predictor, Trees

ROOT = Path(__file__).resolve().parents[2]


def world(n: int, k: int = 5, t: int = 3, noise: float = 0.01, seed: int = 0):
    """Losses of a form that is none of the laws: a saturating sum of own and borrowed data."""
    rng = np.random.default_rng(seed)
    help_ = np.eye(k)[:t] + rng.uniform(0.02, 0.25, (t, k))
    w = rng.dirichlet(np.full(k, 0.8), n)

    def truth(weights):
        return 2.0 + 1.5 / (1.0 + 6.0 * weights @ help_.T) + 0.3 * np.exp(-3.0 * np.sqrt(weights) @ help_.T)

    return w, truth(w) + noise * rng.standard_normal((n, t)), truth


@pytest.mark.parametrize("law", [EffectiveShareLaw(), ExponentialLaw()])
def test_gradients_match_differences(law):
    w, y, _ = world(20)
    law.fit(w, y)
    features = law.features(w)
    theta = law.theta_ + 0.1
    _, jacobian = law.curve(theta, features, law.scale_)
    for p in range(theta.shape[1]):
        step = np.zeros(theta.shape[1])
        step[p] = 1e-5
        up, down = (law.values(theta + s * step, features, law.scale_) for s in (1, -1))
        assert np.allclose((up - down) / 2e-5, jacobian[:, :, p], rtol=1e-4, atol=1e-7)
    point = np.full((1, w.shape[1]), 0.2)
    value, slopes = law.slopes(theta, point, law.scale_)
    assert np.allclose(value, law.values(theta, law.features(point), law.scale_))
    for j in range(w.shape[1]):
        step = np.eye(w.shape[1])[j] * 1e-5
        up, down = (law.values(theta, law.features(point + s * step), law.scale_) for s in (1, -1))
        assert np.allclose((up - down)[:, 0] / 2e-5, slopes[:, 0, j], rtol=1e-4)


@pytest.mark.parametrize("law", [EffectiveShareLaw(), ExponentialLaw()])
def test_laws_are_convex_in_the_weights(law):
    w, y, _ = world(24)
    law.fit(w, y)
    rng = np.random.default_rng(1)
    a, b = rng.dirichlet(np.ones(5) * 0.5, (2, 200))
    middle = law.predict((a + b) / 2)
    assert (middle <= (law.predict(a) + law.predict(b)) / 2 + 1e-9).all()


def test_share_law_predicts_unseen_mixtures_of_another_form():
    w, y, truth = world(24)
    fresh = world(200, seed=9)[0]
    predicted = EffectiveShareLaw().fit(w, y).predict(fresh)
    for j in range(3):
        assert laws.rank_correlation(predicted[:, j], truth(fresh)[:, j]) > 0.97


def test_fewer_runs_than_corpora_and_the_shape_of_losses():
    w, y, _ = world(6, k=9, t=2)
    law = Predictor(bootstrap=10).fit(w, y[:, 0])
    assert law.predict(w).shape == law.predict_std(w).shape == (6,)
    assert Predictor(bootstrap=10).fit(w, y).predict(w).shape == (6, 2)
    with pytest.raises(HaigoError, match="3 proxy runs"):
        EffectiveShareLaw().fit(w[:3], y[:3])
    with pytest.raises(HaigoError, match="row 1, column 0 is not finite"):
        EffectiveShareLaw().fit(w, np.where(np.arange(6)[:, None] == 1, np.nan, y))


def test_scores_turned_round_may_be_negative():
    w, y, _ = world(30)
    law = EffectiveShareLaw().fit(w, y - 10.0)
    assert laws.rank_correlation(law.predict(w)[:, 0], y[:, 0]) > 0.97


def test_left_out_predictions_do_not_see_their_run():
    w, y, _ = world(20, noise=0.0)
    spoiled = y.copy()
    spoiled[3] += 5.0
    clean = EffectiveShareLaw().fit(w, y).left_out()
    other = EffectiveShareLaw().fit(w, spoiled).left_out()
    # its own left-out prediction must not follow the spoiled value (scale of the fit may shift it a little)
    assert np.abs(other[3] - clean[3]).max() < 0.3
    direct = EffectiveShareLaw().fit(np.delete(w, 3, 0), np.delete(y, 3, 0)).predict(w[3:4])
    assert np.abs(direct - clean[3]).max() < 0.02


def test_intervals_cover():
    hits = []
    for seed in range(4):
        w, y, _ = world(32, noise=0.05, seed=seed)
        # the same world, new runs
        rng = np.random.default_rng(100 + seed)
        _, _, truth = world(1, noise=0.05, seed=seed)
        fresh = rng.dirichlet(np.full(5, 0.8), 200)
        law = Predictor(seed=seed).fit(w, y)
        seen = truth(fresh) + 0.05 * rng.standard_normal((200, 3))
        hits.append(np.abs(seen - law.predict(fresh)) <= 1.645 * law.predict_std(fresh))
    assert 0.80 <= np.mean(hits) <= 0.97


def test_same_seed_same_numbers_other_seed_others():
    w, y, _ = world(16)
    one, two, three = (Predictor(seed=s).fit(w, y).predict_std(w) for s in (0, 0, 1))
    assert (one == two).all() and not (one == three).all()


def test_gaussian_process_left_out_is_exact():
    w, y, _ = world(30)
    process = GaussianProcess().fit(w, y)
    scale, noise, _, _ = process.kernels_[0]
    from mixer.laws_gp import _matern

    keep = np.arange(30) != 4
    z = (y[:, 0] - process.mean_[0]) / process.unit_[0]
    root = np.sqrt(w) * scale
    kernel = _matern(root[keep], root[keep]) + noise * np.eye(29)
    by_hand = _matern(root[4:5], root[keep]) @ np.linalg.solve(kernel, z[keep]) * process.unit_[0] + process.mean_[0]
    assert process.left_out_[4, 0] == pytest.approx(by_hand[0], abs=1e-8)


def test_trees_and_names():
    w, y, _ = world(40)
    assert laws.rank_correlation(Trees("small").fit(w, y).predict(w)[:, 0], y[:, 0]) > 0.9
    with pytest.raises(HaigoError, match="Did you mean 'lightgbm'"):
        laws.make("lightbgm")


def test_report_card_of_a_fit_that_knows_nothing():
    rng = np.random.default_rng(0)
    w, y = rng.dirichlet(np.ones(6), 24), rng.standard_normal((24, 30)) + 10
    names = [f"noise{j}" for j in range(30)]
    card = laws.report_card(y, laws.cross_validate(w, y), names, "leave-one-out")
    assert np.median(card.r2) < 0 and np.mean(np.array(card.r2) > 0.1) < 0.2
    y = y[:, :1]
    assert laws.report_card(y, y, ["noise"], "x").r2 == [1.0]


def test_no_torch_and_nothing_heavy_on_import():
    code = (
        "import sys, mixer.search, mixer.design, mixer.report, mixer.laws;"
        "print([m for m in ('torch', 'pandas', 'scipy', 'lightgbm', 'sklearn', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("runs", "least"), [(16, 0.93), (32, 0.97), (64, 0.98)])
def test_regmix(runs, least):
    from mixer.proxies import read

    folder = needed("regmix")
    train = read(folder / "train_mixture_1m.csv", folder / "train_pile_loss_1m.csv")
    test = read(folder / "test_mixture_1m.csv", folder / "test_pile_loss_1m.csv")
    chosen = np.random.default_rng(0).permutation(512)[:runs]
    predicted = Predictor().fit(train.weights[chosen], train.losses[chosen]).predict(test.weights)
    card = laws.report_card(test.losses, predicted, test.metrics, "test runs")
    assert np.mean(card.spearman) > least


def test_members_are_combined_by_what_left_out_runs_say():
    rng = np.random.default_rng(0)
    truth = rng.standard_normal(60)
    near, far = truth + 0.1 * rng.standard_normal(60), truth + 0.5 * rng.standard_normal(60)
    assert combine(truth, {"law": near, "gp": far}) == {"law": 1.0}
    made = combine(truth, {"law": far, "gp": near})
    assert made["gp"] > 0.7 and sum(made.values()) == pytest.approx(1)
    # two equally good members with errors of their own are better together
    other = truth + 0.1 * rng.standard_normal(60)
    made = combine(truth, {"law": near, "lightgbm": other})
    assert 0.25 < made["lightgbm"] < 0.75
    assert combine(truth, {"law": near, "explaw": np.full(60, 1e6)}) == {"law": 1.0}
    # a member that goes back to the mean where the best are is not asked, however good it is elsewhere
    flat = np.where(truth < np.quantile(truth, 0.25), truth + 0.2, truth)
    assert combine(truth, {"law": near, "gp": flat}) == {"law": 1.0}


def test_predictor_is_no_worse_than_its_law_and_uses_others_where_the_law_is_wrong():
    w, y, truth = world(64)
    fresh = np.random.default_rng(5).dirichlet(np.full(5, 0.8), 200)
    law, both = EffectiveShareLaw().fit(w, y).predict(fresh), Predictor().fit(w, y)
    assert both.shares_.sum(0) == pytest.approx(np.ones(3))
    error = np.sqrt(((both.predict(fresh) - truth(fresh)) ** 2).mean())
    assert error < 1.1 * np.sqrt(((law - truth(fresh)) ** 2).mean())

    def bump(x):  # a corpus that hurts beyond a point: no effective-share law can say that
        return 1.0 + (x[:, :1] - 0.3) ** 2 * 4.0

    wrong = Predictor().fit(w, bump(w) + 0.005 * np.random.default_rng(1).standard_normal((64, 1)))
    assert wrong.shares_[0, 0] < 0.5
    alone = EffectiveShareLaw().fit(w, bump(w)).predict(fresh)
    # the median: at mixtures of nearly one corpus, far from all runs, both are wrong
    ours, laws_own = (np.median(np.abs(made - bump(fresh))) for made in (wrong.predict(fresh), alone))
    assert ours < 0.5 * laws_own
