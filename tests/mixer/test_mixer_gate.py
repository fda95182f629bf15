"""The gate: noise does not pass at any number of runs, real tables do, and what diverged is not answered with more runs."""

from __future__ import annotations

import numpy as np
import pytest
from mixer_worlds import world

from haigo import cli
from haigo.cli import Refused
from mixer import search
from mixer.objective import Objective
from mixer.recommend import recommend
from mixer.supply import Constraints


def passes(weights, losses, seed=0):
    metrics = [f"m{j}" for j in range(losses.shape[1])]
    corpora = [f"c{j}" for j in range(weights.shape[1])]
    objective = Objective(weights=dict.fromkeys(metrics, 1.0))
    try:
        recommend(weights, losses, objective, Constraints(corpora=corpora), seed, 10, metrics=metrics)
    except Refused:
        return False
    return True


@pytest.mark.parametrize(("runs", "tables"), [(8, 24), (16, 12)])
def test_tables_of_noise_hardly_ever_pass(runs, tables):
    count = 0
    for seed in range(tables):
        rng = np.random.default_rng([runs, seed, 1])
        count += passes(rng.dirichlet(np.ones(5), runs), 2 + 0.1 * rng.standard_normal((runs, 1)), seed)
    assert count <= 0.15 * tables  # of 5 % each, one in a hundred such tests would count more


@pytest.mark.parametrize("runs", [8, 16, 64])
def test_real_tables_pass(tmp_path, runs):
    for seed in range(3):
        table = world(tmp_path, runs, seed)
        assert passes(table.weights, table.losses[:, :1], seed)


def test_a_sum_of_two_metrics_of_few_runs_passes(tmp_path):
    table = world(tmp_path, 8, 1)
    assert passes(table.weights, table.losses[:, :2])


def test_many_runs_that_diverged_are_named_and_the_others_answer(tmp_path):
    clean = world(tmp_path, seed=3)
    before = clean.search()["weights"]
    clean.losses[::3, 0] = 9.9  # a third of all
    document = clean.search()
    notes = [note for note in document["notes"] if "does not fit" in note]
    assert len(notes) == len(clean.runs[::3])
    assert max(abs(document["weights"][name] - before[name]) for name in before) < 0.1


def test_diverged_runs_are_not_answered_with_more_proxies(tmp_path, capsys):
    table = world(tmp_path, 16)
    table.losses = 2 + 0.01 * np.random.default_rng(0).standard_normal(table.losses.shape)
    table.losses[[2, 5, 9], 0] = 11.0
    assert cli.run(search.main, [*table.write(), *table.words]) == 3
    said = capsys.readouterr().err
    assert "3 run(s) are far above all others" in said and "p002, p005, p009" in said
    assert "train more" not in said
