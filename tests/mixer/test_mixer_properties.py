"""What must hold for every table and every limit: feasible, indifferent to names and units, repeatable, plain-spoken."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from haigo import cli
from haigo.cli import HaigoError, Refused
from mixer import search as command
from mixer.laws import EffectiveShareLaw, ExponentialLaw, rank_correlation
from mixer.mixture import rounded
from mixer.objective import Objective
from mixer.recommend import recommend
from mixer.supply import Constraints

ROOT = Path(__file__).resolve().parents[2]
METRICS = ["news_bpb", "code_bpb"]
BOTH = Objective(weights={"news_bpb": 1.0, "code_bpb": 0.5})
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


def truth(w):
    """Two losses of a form that is none of the laws, (n, 2)."""
    k = w.shape[1]
    helps = np.eye(k)[:2] + np.linspace(0.02, 0.3, 2 * k).reshape(2, k)
    return 2.0 + 1.5 / (1.0 + 6.0 * w @ helps.T) + 0.3 * np.exp(-3.0 * np.sqrt(w) @ helps.T)


def swarm(k, n=20, seed=0, noise=0.01):
    rng = np.random.default_rng(seed)
    w = rng.dirichlet(np.full(k, 0.8), n)
    return w, truth(w) + noise * rng.standard_normal((n, 2))


def ask(w, y, names, objective=BOTH, **limits):
    """The recommendation; forced, because few noisy runs of a random world need not confirm a fit."""
    constraints = Constraints(corpora=names, **limits)
    return recommend(w, y, objective, constraints, bootstrap=10, metrics=METRICS, force=True), constraints


@st.composite
def possible(draw):
    """Limits that some mixture meets: floors, ceilings, supplies and groups around a random one."""
    k = draw(st.integers(2, 12))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    anchor = rng.dirichlet(np.full(k, draw(st.sampled_from([0.1, 1.0, 5.0]))))
    made = {}
    if draw(st.booleans()):
        made["lower"] = np.maximum(anchor - rng.exponential(0.1, k), 0) * (rng.random(k) < 0.5)
    if draw(st.booleans()):
        made["upper"] = np.where(rng.random(k) < 0.5, np.minimum(anchor + rng.exponential(0.1, k), 1), 1.0)
    if draw(st.booleans()):
        made["target_tokens"] = 10.0 ** draw(st.integers(6, 12))
        made["max_epochs"] = draw(st.sampled_from([1.0, 2.0, 4.0, 7.3]))
        spare = rng.uniform(1, draw(st.sampled_from([1.2, 30.0])), k)
        made["supply"] = np.maximum(anchor * spare, 1e-9) * made["target_tokens"] / made["max_epochs"]
    groups = {}
    for number in range(draw(st.integers(0, 3))):
        members = [f"c{j}" for j in range(k) if rng.random() < 0.4]
        if members:
            inside = min(1.0, sum(anchor[int(name[1:])] for name in members))
            low = max(0.0, inside - draw(st.sampled_from([0.0, 0.02, 0.3])))
            groups[f"g{number}"] = (members, low, min(1.0, inside + draw(st.sampled_from([0.01, 0.2]))))
    return k, {**made, "groups": groups}


@settings(max_examples=8, deadline=None, suppress_health_check=SLOW)
@given(possible(), st.integers(4, 24), st.sampled_from([{}, {"code_bpb": "+0%"}, {"code_bpb": "+20%"}]))
def test_the_answer_is_always_feasible(limits, n, ceilings):
    k, given_ = limits
    objective = Objective(weights={"news_bpb": 1.0}, ceilings=ceilings)
    try:
        made, constraints = ask(*swarm(k, n), [f"c{j}" for j in range(k)], objective, **given_)
    except Refused as error:
        assert "ceilings" in error.problem  # the only thing that can be refused here
        return
    # six decimals: a group of several corpora may be off by a few units of the last
    assert constraints.limits().excess(made.weights) <= 5e-6
    assert round(float(made.weights.sum()), 9) == 1
    assert (made.near_optimal[:, 0] <= made.weights + 5e-6).all()
    assert (made.near_optimal[:, 1] >= made.weights - 5e-6).all()
    assert np.isfinite(made.interval).all() and (made.interval[:, 0] <= made.interval[:, 1]).all()
    if ceilings:
        at = made.prediction["code_bpb"]
        assert at["mean"] <= at["token_share"] * (1 + float(ceilings["code_bpb"][1:-1]) / 100) * (1 + 1e-4)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 30), st.integers(1, 4), st.integers(0, 10_000))
def test_rounding_keeps_groups_exactly(k, m, seed):
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.full(k, 0.5))
    rows = (rng.random((m, k)) < 0.5) * rng.choice([-1.0, 1.0], (m, 1))
    bounds = np.ceil(rows @ weights * 1e6) / 1e6  # binding, and no finer than the digits
    lower = np.where(rng.random(k) < 0.2, np.floor(weights * 1e6) / 1e6, 0.0)
    upper = np.where(rng.random(k) < 0.2, np.ceil(weights * 1e6) / 1e6, 1.0)
    made = rounded(weights, 6, lower, upper, rows, bounds)
    assert (rows @ made <= bounds + 1e-9).all()
    assert (made >= lower - 1e-9).all() and (made <= upper + 1e-9).all()
    assert round(float(made.sum()), 12) == 1 and np.abs(made - weights).max() < 5e-6


@settings(max_examples=2, deadline=None)
@given(st.permutations(range(6)), st.integers(0, 50))
def test_order_of_corpora_and_runs_does_not_matter(order, seed):
    w, y = swarm(6, 24, seed)
    names, order = [f"c{j}" for j in range(6)], list(order)
    plain, _ = ask(w, y, names)
    assert np.abs(plain.weights - 1 / 6).max() > 0.05  # an answer, not the reference
    moved, _ = ask(w[:, order], y, [names[j] for j in order])
    assert moved.weights == pytest.approx(plain.weights[order], abs=1e-4)
    runs = np.random.default_rng(seed).permutation(24)
    assert ask(w[runs], y[runs], names)[0].weights == pytest.approx(plain.weights, abs=1e-4)


@settings(max_examples=2, deadline=None)
@given(st.floats(-4, 4), st.floats(-4, 4), st.integers(0, 50))
def test_units_of_the_losses_do_not_matter(one, other, seed):
    w, y = swarm(6, 24, seed)
    names = [f"c{j}" for j in range(6)]
    plain, _ = ask(w, y, names)
    scaled, _ = ask(w, y * 10.0 ** np.array([one, other]), names)
    assert scaled.weights == pytest.approx(plain.weights, abs=1e-4)


@settings(max_examples=2, deadline=None)
@given(st.sampled_from([-1.5, -0.5, 0.5, 5.0, 100.0]), st.integers(0, 50))
def test_shifting_the_losses_hardly_matters(shift, seed):
    """A loss has a zero of its own (the floor is sought above it), so the answer moves a little; it is as good."""
    w, y = swarm(6, 24, seed)
    names = [f"c{j}" for j in range(6)]
    value = [float(truth(ask(w, values, names)[0].weights[None])[0] @ [1.0, 0.5]) for values in (y, y + shift)]
    spread = float(np.std(truth(w) @ [1.0, 0.5]))
    assert abs(value[1] - value[0]) < 0.1 * spread


@pytest.mark.parametrize("law", [EffectiveShareLaw, ExponentialLaw])
def test_losses_that_vary_by_little_of_their_level_are_fitted_as_well(law):
    w, y = swarm(8, 16)
    fresh = np.random.default_rng(9).dirichlet(np.full(8, 0.8), 200)
    plain, high = law().fit(w, y).predict(fresh), law().fit(w, y + 100.0).predict(fresh)
    for j in range(2):
        rho = [rank_correlation(guess[:, j], truth(fresh)[:, j]) for guess in (plain, high)]
        assert rho[1] > rho[0] - 0.02


def test_floor_of_the_exponential_law_may_lie_above_the_best_run():
    rng = np.random.default_rng(0)
    w = rng.dirichlet(np.full(4, 0.8), 200)
    y = 1.0 + np.exp(-12.0 * w[:, 0]) + 0.2 * rng.standard_normal(200)
    law = ExponentialLaw().fit(w, y)
    assert law.predict(np.array([[1.0, 0, 0, 0]]))[0] == pytest.approx(1.0, abs=0.1)
    assert y.min() < 0.7


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 100_000))
def test_limits_that_cannot_hold_name_a_smallest_conflict(seed):
    rng = np.random.default_rng(seed)
    k = int(rng.integers(2, 6))
    names = [f"c{j}" for j in range(k)]
    members = [name for name in names if rng.random() < 0.5] or names[:1]
    low = float(rng.uniform(0, 0.9))
    limits = Constraints(
        corpora=names,
        lower=rng.uniform(0, 0.6, k) * (rng.random(k) < 0.6),
        upper=np.where(rng.random(k) < 0.5, rng.uniform(0.05, 0.6, k), 1.0),
        groups={"g": (members, low, min(1.0, low + float(rng.uniform(0, 0.3))))},
        supply=rng.uniform(0.01, 0.3, k) * 1e9 if rng.random() < 0.5 else None,
        target_tokens=1e9,
    ).limits()

    def holds(items):
        bounds = [item.bound for item in items]
        found = linprog(
            np.zeros(k),
            A_ub=np.array([item.row for item in items]).reshape(-1, k) if items else None,
            b_ub=bounds or None,
            A_eq=np.ones((1, k)),
            b_eq=[1.0],
            bounds=[(0, 1)] * k,
        )
        return found.status == 0

    if holds(limits.items):
        limits.check()
        return
    with pytest.raises(HaigoError) as caught:
        limits.check()
    told = re.fullmatch(r"no mixture can meet these limits together: (.*) \(weights sum to 1\)\.", caught.value.problem)
    assert told
    named = [item for item in limits.items if item.name in told[1].split("; ")]
    assert len(named) == len(told[1].split("; ")) and not holds(named)
    for item in named:
        assert holds([other for other in named if other is not item])


# --- through the command line ------------------------------------------------------------------------------------------

CORPORA = ["news", "wiki", "code", "talk"]


def tables(folder, n=20):
    """ratios.csv, metrics.csv and supply.csv as lines of cells, and the command's words."""
    w, y = swarm(4, n)
    w = np.round(w, 6)
    w[:, -1] = 1 - w[:, :-1].sum(1)
    made = {
        "ratios": [["run", *CORPORA], *([f"p{i}", *(f"{x:.6f}" for x in row)] for i, row in enumerate(w))],
        "metrics": [["run", *METRICS], *([f"p{i}", *(f"{x:.6f}" for x in row)] for i, row in enumerate(y))],
        "supply": [["corpus", "tokens"], *([name, "50000000"] for name in CORPORA)],
    }
    words = [word for name in made for word in (f"--{name}", str(folder / f"{name}.csv"))]
    return made, [*words, "--bootstrap", "10", "--objective", "news_bpb"]


def write(folder, made):
    for name, lines in made.items():
        (folder / f"{name}.csv").write_text("".join(",".join(line) + "\n" for line in lines), encoding="utf-8")


def test_same_seed_same_bytes_in_another_process(tmp_path):
    made, words = tables(tmp_path)
    write(tmp_path, made)
    out = tmp_path / "mixture.yml"
    found = []
    for salt in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-m", "mixer.search", *words, "--seed", "3", "--output", str(out)],
            cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": salt},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found.append(out.read_bytes())
        out.unlink()
    assert found[0] == found[1]


def cell(name, line, column, value):
    def change(made):
        made[name][line][column] = value

    return change


def constant_metric(made):
    for line in made["metrics"][1:]:
        line[1] = "1.5"


def same_mixture(made):
    for line in made["ratios"][1:]:
        line[1:] = ["0.25"] * 4


def score(made):
    made["metrics"][0][1] = "news_acc"


BAD = {
    "NaN weight": (cell("ratios", 3, 2, "nan"), [], ["ratios.csv, line 4", "'p2'", "wiki"]),
    "empty weight": (cell("ratios", 3, 2, ""), [], ["ratios.csv, line 4", "'p2'", "wiki"]),
    "row not 1": (cell("ratios", 3, 2, "1.5"), [], ["do not sum to 1", "p2"]),
    "negative weight": (cell("ratios", 3, 2, "-0.5"), [], ["negative", "p2", "wiki"]),
    "NaN loss": (cell("metrics", 3, 1, "NaN"), [], ["metrics.csv, line 4", "'p2'", "news_bpb"]),
    "infinite loss": (cell("metrics", 3, 1, "inf"), [], ["metrics.csv, line 4", "'inf'"]),
    "absurd loss": (cell("metrics", 3, 1, "1e300"), [], ["metrics.csv, line 4", "'1e300'"]),
    "run twice": (cell("ratios", 3, 0, "p0"), [], ["'p0' more than once"]),
    "constant metric": (constant_metric, [], ["'news_bpb' is the same in every run"]),
    "one mixture": (same_mixture, [], ["every run has the same mixture"]),
    "3 runs": (lambda made: made["ratios"].__delitem__(slice(4, None)), [], ["3 usable run(s)"]),
    "corpus in the supply only": (
        lambda made: made["supply"].append(["tales", "5"]),
        [],
        ["'tales'", "no proxy table"],
    ),
    "corpus in the ratios only": (lambda made: made["supply"].pop(), [], ["no row for the corpus 'talk'"]),
    "no supply": (cell("supply", 2, 1, "0"), [], ["supply.csv, line 3", "'wiki'", "0 tokens"]),
    "absurd supply": (cell("supply", 2, 1, "1e308"), [], ["supply.csv, line 3", "'1e308'"]),
    "loss raised": (lambda made: None, ["--maximise", "news_bpb"], ["looks like a loss"]),
    "score lowered": (score, ["--objective", "news_acc"], ["looks like a score", "news_acc"]),
    "negative pull": (lambda made: None, ["--kl", "-1"], ["kl", "-1"]),
    "pull of NaN": (lambda made: None, ["--kl", "nan"], ["kl", "nan"]),
    "tokens that do not suffice": (lambda made: None, ["--target-tokens", "1e12"], ["at most 4 epochs"]),
    "unknown metric": (lambda made: None, ["--ceiling", "cod_bpb=+5%"], ["Did you mean 'code_bpb'"]),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.filterwarnings("error")
def test_bad_input_is_one_sentence_and_exit_code_2(tmp_path, capsys, case):
    change, more, says = BAD[case]
    made, words = tables(tmp_path)
    change(made)
    write(tmp_path, made)
    out = tmp_path / "mixture.yml"
    if case == "score lowered":
        words = words[: words.index("--objective")]
    assert cli.run(command.main, [*words, *more, "--output", str(out)]) == 2
    shown = capsys.readouterr()
    lines = shown.err.splitlines()
    assert len(lines) == 2 and lines[0].startswith("haigo: ") and lines[1].startswith("  fix: ")
    for word in says:
        assert word in lines[0]
    assert shown.out == "" and not out.exists()


def test_what_can_be_mended_is_mended_and_said(tmp_path, capsys):
    made, words = tables(tmp_path)
    made["ratios"][1][1] = f"{float(made['ratios'][1][1]) + 0.005:.6f}"  # within 1 %
    made["ratios"].append(["copy", *made["ratios"][5][1:]])
    made["metrics"].append(["copy", *made["metrics"][5][1:]])
    made["metrics"].append(["stray", "1", "1"])
    write(tmp_path, made)
    assert cli.run(command.main, words) == 0
    shown = capsys.readouterr().out
    for words in ("scaled (p0)", "copy = p4", "not in " + str(tmp_path / "ratios.csv"), "stray"):
        assert words in shown


def test_tables_as_frames_too():
    w, y = swarm(4, 16)
    frame, losses = pd.DataFrame(w, columns=CORPORA), pd.DataFrame(y, columns=METRICS)
    turned = frame[CORPORA[::-1]]
    one, two = (
        recommend(f, losses, BOTH, Constraints(corpora=CORPORA), bootstrap=10, force=True) for f in (frame, turned)
    )
    assert (one.weights == two.weights).all()
