"""Corpora that the runs never vary apart: one corpus for the search, named with the weight of their sum."""

from __future__ import annotations

import numpy as np
import pytest
from mixer_worlds import CORPORA, searched, world

from haigo import cli
from mixer import search
from tests.conftest import shared


@pytest.fixture
def table(tmp_path):
    return world(tmp_path)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return world(tmp_path_factory.mktemp("clean")).search(["--kl", "0"])


def halves(table, part=0.5, wobble=0.0):
    """`news` becomes two corpora in one ratio."""
    own = table.weights[:, 1]
    parts = part + wobble * np.random.default_rng(1).standard_normal(len(own))
    table.weights = np.c_[table.weights, own * (1 - parts)]
    table.weights[:, 1] = own * parts
    table.corpora.append("news_b")


def note(document, words):
    found = [one for one in document["notes"] if words in one]
    assert len(found) == 1, document["notes"]
    return found[0]


@pytest.mark.parametrize(("part", "wobble"), [(0.5, 0.0), (0.25, 0.0), (0.5, 0.003)])
def test_a_corpus_in_two_halves_is_one_for_the_search(table, clean, part, wobble):
    halves(table, part, wobble)
    document = table.search(["--kl", "0"])
    both = document["weights"]["news"] + document["weights"]["news_b"]
    assert both == pytest.approx(clean["weights"]["news"], abs=0.01)
    assert document["weights"]["news"] / both == pytest.approx(part, abs=0.01)
    said = note(document, "news and news_b never vary apart")
    assert f"{both:.1%}"[:3] in said and "in the ratio of the runs" in said
    top = clean["interval"]["news"][1]
    for name in ("news", "news_b"):
        assert document["interval"][name] == pytest.approx([0.0, top], abs=0.02)
        assert document["near_optimal"][name][0] == 0.0
    assert sum(document["weights"].values()) == pytest.approx(1, abs=1e-12)
    assert set(document["transfer"]["news_bpb"]) == {*CORPORA, "news_b"}


def test_with_a_supply_the_split_is_by_tokens_and_meets_every_limit(table):
    halves(table)
    supply = table.folder / "supply.csv"
    rows = dict.fromkeys(table.corpora, "9e9,") | {"news": "3e9,", "news_b": "1e9,0.1"}
    supply.write_text("\n".join(["corpus,tokens,max", *[f"{name},{row}" for name, row in rows.items()]]) + "\n")
    document = table.search(["--supply", str(supply), "--target-tokens", "10e9"])
    weights = document["weights"]
    assert weights["news"] / weights["news_b"] == pytest.approx(3, rel=1e-3) and weights["news_b"] <= 0.1
    assert "split by their tokens" in note(document, "never vary apart")
    assert document["epochs"]["news"] == pytest.approx(document["epochs"]["news_b"], rel=1e-3)


def test_limits_that_forbid_one_split_are_said_and_kept(table):
    halves(table)
    supply = table.folder / "supply.csv"
    low, high = {"news_b": "0.4"}, {"news": "0.05"}
    rows = [f"{name},{low.get(name, '')},{high.get(name, '')}" for name in table.corpora]
    supply.write_text("\n".join(["corpus,min,max", *rows]) + "\n")
    document = table.search(["--supply", str(supply)])
    assert document["weights"]["news"] <= 0.05 and document["weights"]["news_b"] >= 0.4
    assert "limits differ too much" in note(document, "never vary apart")


def test_three_corpora_in_one_ratio_and_held_out_runs(table):
    own = table.weights[:, 1]
    table.weights = np.c_[table.weights, own / 3, own / 3]
    table.weights[:, 1] = own / 3
    table.corpora += ["news_b", "news_c"]
    table.runs[-6:] = [f"h{i}" for i in range(6)]
    document = table.search(["--held-out", "h", "--compare"])
    assert "news, news_b and news_c never vary apart" in note(document, "never vary apart")
    assert document["fit"]["held_out"]["runs"] == 6
    assert all(set(row["weights"]) == set(table.corpora) for row in document["compared"])


def test_a_corpus_that_is_the_sum_of_two_others_is_named(table):
    both = table.weights[:, 0] + table.weights[:, 1]
    table.weights = np.c_[table.weights, both] / (1 + both)[:, None]
    table.corpora.append("sum")
    said = note(table.search(), "only together")
    assert "web, news and sum" in said and "guess" in said


def test_a_corpus_of_one_weight_is_named(table):
    table.weights = np.c_[0.8 * table.weights, np.full(len(table.weights), 0.2)]
    table.corpora.append("fixed")
    assert "the same weight in every run" in note(table.search(), "'fixed'")


def test_all_corpora_in_one_ratio_are_refused(tmp_path, capsys):
    table = world(tmp_path)
    table.weights = np.repeat([[0.5, 0.5, 0, 0, 0, 0]], 64, axis=0)
    assert cli.run(search.main, [*table.write(), *table.words]) == 2
    assert "every run has the same mixture" in capsys.readouterr().err


@pytest.mark.parametrize(("runs", "seed"), [(64, 1), (12, 2), (8, 3), (5, 4)])
def test_corpora_that_vary_freely_are_left_alone(tmp_path, runs, seed):
    notes = world(tmp_path, runs, seed).search(["--force"])["notes"]
    assert not any("never vary apart" in one or "only together" in one for one in notes)


def test_the_shared_table(tmp_path):
    cases = shared() / "cases" / "mixer"
    if not cases.is_dir():
        pytest.skip("no shared cases here")
    words = ["--ratios", str(cases / "r_collinear.csv"), "--metrics", str(cases / "m64.csv")]
    document = searched(tmp_path, [*words, "--objective", "pile_cc_loss"])
    weights = document["weights"]
    assert weights["pile_cc"] == pytest.approx(weights["pile_cc_b"], abs=2e-6)
    assert weights["pile_cc"] + weights["pile_cc_b"] == pytest.approx(0.92, abs=0.01)
    assert "pile_cc and pile_cc_b never vary apart" in note(document, "never vary apart")
