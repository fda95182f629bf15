"""Hundreds of corpora: an answer in seconds, the same as the slow solver's, and a line that says how far it is."""

from __future__ import annotations

import resource

import numpy as np
import pytest
from mixer_worlds import searched, world

from mixer import interior, least_squares, optimise
from mixer.laws_exp import ExponentialLaw
from mixer.laws_share import EffectiveShareLaw
from mixer.objective import Objective
from mixer.recommend import recommend
from mixer.supply import Constraints, SoftRepetition
from tests.conftest import shared


def swarm(corpora: int, runs: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.full(corpora, 0.5), runs)
    helps = rng.gamma(0.3, 1.0, (3, corpora))
    losses = 2 + 0.5 * (0.05 + np.power(weights, 0.6) @ helps.T) ** -0.3 + 0.005 * rng.standard_normal((runs, 3))
    return weights, losses


LIMITS = {
    "none": {},
    "box": {"upper": np.full(12, 0.2), "lower": np.r_[0.05, np.zeros(11)]},
    "fixed": {"upper": np.r_[0.1, np.ones(11)], "lower": np.r_[0.1, np.zeros(11)]},
    "groups": {
        "groups": {"a": ([f"c{j}" for j in range(4)], 0.0, 0.2), "b": ([f"c{j}" for j in range(4, 8)], 0.3, 1.0)}
    },
    "supply": {"supply": np.linspace(1e9, 9e9, 12), "target_tokens": 4e10, "repetition": SoftRepetition()},
}


@pytest.mark.parametrize("limited", LIMITS)
@pytest.mark.parametrize("law", [EffectiveShareLaw, ExponentialLaw])
@pytest.mark.filterwarnings("error")
def test_both_solvers_find_the_same(monkeypatch, law, limited):
    weights, losses = swarm(12, 40)
    fitted = law().fit(weights, losses)
    fitted.bootstrap(2)
    constraints = Constraints(corpora=[f"c{j}" for j in range(12)], **LIMITS[limited])
    limits = constraints.limits()
    surface = optimise.Surface(fitted, fitted.draws_, constraints)
    start = limits.project(constraints.reference)
    which = np.array([2])
    for draw in (None, 1):
        function = surface.weighted(np.array([1.0, 0.5, 0.0]), 0.001, constraints.reference, draw)
        free = optimise.minimise(function, limits, [start])
        high, low = (surface.metrics(point, which, draw)[0] for point in (free, start))
        ceilings = optimise.Below(surface, which, np.minimum(high, low) + 0.5 * np.abs(high - low), np.ones(1), draw)
        for above in (None, ceilings):
            found, ends = [], []
            for many in (100, 1):
                monkeypatch.setattr(optimise, "MANY", many)
                found.append(optimise.minimise(function, limits, [start], above))
                ends.append(optimise.near_optimal(function, limits, found[-1], 0.01, above))
            slow, quick = (function(point)[0] for point in found)
            assert quick <= slow + 1e-6 and limits.excess(found[1]) <= 1e-9
            assert above is None or above(found[1])[0].max() <= 1e-6
            if law is ExponentialLaw and limited == "supply":
                continue  # repeating a corpus that harms is not convex: both may stop at an end that is none
            # SLSQP stops short of some ends; none of the quick solver's is nearer
            assert (ends[1][0] <= ends[0][0] + 2e-3).all() and (ends[1][1] >= ends[0][1] - 2e-3).all()
            for side in range(2):
                for j in range(12):
                    assert limits.lower[j] - 1e-9 <= ends[1][side][j] <= limits.upper[j] + 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_the_quick_projection_on_groups_is_the_nearest_mixture(seed):
    rng = np.random.default_rng(seed)
    names = [f"c{j}" for j in range(60)]
    groups = {"a": (names[:20], 0.1, 0.2), "b": (names[20:35], 0.5, 0.6), "c": (names[35:40], 0.05, 0.05)}
    limits = Constraints(corpora=names, groups=groups, upper=np.full(60, 0.2)).limits()
    for strength in (0.05, 1.0):
        wanted = rng.dirichlet(np.full(60, strength))
        quick, slow = limits.project(wanted), limits._project_groups(wanted)
        assert limits.excess(quick) <= 1e-9
        assert ((quick - wanted) ** 2).sum() <= ((slow - wanted) ** 2).sum() + 1e-9


def test_groups_among_many_corpora_are_answered(tmp_path):
    weights, losses = swarm(120, 24)
    names = [f"c{j}" for j in range(120)]
    constraints = Constraints(corpora=names, groups={"a": (names[:60], 0.2, 0.4), "b": (names[60:90], 0.3, 0.5)})
    metrics = [f"m{j}_bpb" for j in range(3)]
    start = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    goal = Objective(weights={"m0_bpb": 1.0}, ceilings={"m1_bpb": "+5%"})
    made = recommend(weights, losses, goal, constraints, metrics=metrics, bootstrap=10, force=True)
    assert constraints.limits().excess(made.weights) <= 2e-6
    assert (
        resource.getrusage(resource.RUSAGE_SELF).ru_utime - start < 60
    )  # minutes, with a general solver for every end


def test_a_single_mixture_within_the_limits_is_that_mixture():
    limits = Constraints(corpora=["a", "b"], lower=np.array([0.3, 0.7]), upper=np.array([0.3, 0.7])).limits()
    made = interior.solve(lambda w: (w, np.ones(2), np.zeros((2, 0))), limits, np.array([0.5, 0.5]))
    assert made == pytest.approx([0.3, 0.7])


def test_far_more_parameters_than_runs_are_fitted_the_same_in_the_runs(monkeypatch):
    weights, losses = swarm(60, 16)
    made = []
    for wide in (3, 10**6):
        monkeypatch.setattr(least_squares, "_WIDE", wide)
        law = EffectiveShareLaw().fit(weights, losses)
        made.append(np.c_[law.predict(weights), law.left_out()])
    assert np.abs(made[0] - made[1]).max() < 2e-3 * losses.std()


def test_two_hundred_corpora_within_a_minute(tmp_path, capsys, progress_clock):
    progress_clock(3.0)
    table = world(tmp_path)
    weights, losses = swarm(200, 64, 3)
    table.weights, table.losses = weights, losses
    table.corpora, table.metrics = [f"t{j:03d}" for j in range(200)], ["a_loss", "b_loss", "c_loss"]
    table.words = ["--objective", "a_loss,b_loss,c_loss"]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    document = table.search(["--force"])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < 60
    assert len(document["near_optimal"]) == 200
    for name, (low, high) in document["near_optimal"].items():
        assert low <= document["weights"][name] + 1e-4 and high >= document["weights"][name] - 1e-4
    assert "searching" in capsys.readouterr().err


def test_a_quick_search_shows_no_progress(tmp_path, capsys):
    world(tmp_path, 8).search(["--force", "--bootstrap", "10"])
    assert capsys.readouterr().err == ""


def test_the_shared_table_of_200(tmp_path):
    cases = shared() / "cases" / "mixer"
    if not cases.is_dir():
        pytest.skip("no shared cases here")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    words = ["--ratios", str(cases / "r_200.csv"), "--metrics", str(cases / "m_200.csv")]
    document = searched(tmp_path, [*words, "--objective", "d0_loss,d1_loss,d2_loss"])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < 60
    assert document["gain"]["mean"] > 2 and document["gain"]["unit"] == "standard deviations over the proxies"
