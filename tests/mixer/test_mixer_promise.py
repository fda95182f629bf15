"""What is said of the recommended mixture holds: its losses, the gain, and the ceilings."""

from __future__ import annotations

import numpy as np
import pytest
from mixer_worlds import METRICS, world

from haigo import cli
from mixer import search
from mixer.answer import sure
from mixer.promise import Promise
from mixer.sentences import sentences

CEILINGS = ["--ceiling", "*_bpb=+5%"]


def truth(table, seed, weights):
    """Losses without noise (metrics,) at a mixture, and the table's spread; repeats `mixer_worlds.world`."""
    rng = np.random.default_rng(seed)
    rng.dirichlet(np.full(len(table.corpora), 0.7), len(table.runs))
    helps = rng.uniform(0.02, 0.2, (len(METRICS), len(table.corpora)))
    for j, metric in enumerate(METRICS):
        helps[j, table.corpora.index(metric.removesuffix("_bpb"))] = 1.0
    w = np.array([weights[name] for name in table.corpora])
    return 0.6 + 0.8 * (np.power(w, 0.6) @ helps.T + 0.05) ** -0.35


def harm(news):
    """What news costs above a sixth: no law of ours has it."""
    return 1.4 * np.maximum(news - 0.15, 0.0) ** 2


def test_promises_are_kept_where_the_law_is_wrong(tmp_path):
    inside = []
    for seed in range(3):
        table = world(tmp_path, seed=seed)
        table.losses[:, 0] += harm(table.weights[:, 1])
        table.words = ["--objective", ",".join(METRICS), "--bootstrap", "10"]
        document = table.search()
        at = truth(table, seed, document["weights"])
        at[0] += harm(document["weights"]["news"])
        told = [document["prediction"][name]["interval"] for name in METRICS]
        inside += [low < value < high for value, (low, high) in zip(at, told, strict=True)]
    assert sum(inside) >= 10  # 11 of 12 were


def test_a_ceiling_says_how_surely_it_holds_and_can_be_asked_for(tmp_path):
    table = world(tmp_path)
    plain, sure = table.search(CEILINGS), table.search([*CEILINGS, "--ceiling-probability", "0.9"])
    assert set(plain["ceilings"]) == set(METRICS[1:])
    binding = [item["constraint"].removeprefix("ceiling on ") for item in plain["binding"] if "ceiling" in item["per"]]
    assert binding and all(abs(plain["ceilings"][name]["probability"] - 0.5) < 0.02 for name in binding)
    assert all(item["probability"] >= 0.899 for item in sure["ceilings"].values())
    assert min(item["probability"] for item in sure["ceilings"].values()) < 0.93  # no surer than asked for
    assert sure["gain"]["mean"] < plain["gain"]["mean"]
    for document in (plain, sure):
        for name, item in document["ceilings"].items():
            assert document["prediction"][name]["mean"] <= item["limit"] * (1 + 1e-4)


@pytest.mark.parametrize(("probability", "said"), [(1.0, ">0.99"), (0.994, "0.99"), (0.5, "0.50"), (0.0, "<0.01")])
def test_what_was_counted_in_draws_is_never_said_to_be_certain(probability, said):
    document = {"binding": [], "ceilings": {"wiki_bpb": {"limit": 2.0, "probability": probability}}}
    assert sentences(document)["What binds"][1] == f"The ceiling of wiki_bpb (2) holds with probability {said}."


def test_ceilings_that_cannot_be_met_so_surely_are_refused(tmp_path, capsys):
    table = world(tmp_path, noise=0.05)
    words = [*table.write(), *table.words, "--ceiling", "*_bpb=+0.1%", "--ceiling-probability", "0.999"]
    assert cli.run(search.main, words) == cli.REFUSED
    assert "together with probability 0.999" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["uniform", "quadratic"])
def test_a_method_that_does_not_keep_to_a_ceiling_says_so(tmp_path, method):
    document = world(tmp_path).search(
        ["--ceiling", "wiki_bpb=+0.5%", "--ceiling-probability", "0.99", "--method", method]
    )
    probability = document["ceilings"]["wiki_bpb"]["probability"]
    assert probability < 0.97
    said = sure(probability)
    assert f"The ceiling of wiki_bpb holds with probability {said}, and 0.99 is wanted." in document["notes"]


@pytest.mark.parametrize("value", ["0.4", "1", "nan"])
def test_a_probability_out_of_its_limits_is_named(tmp_path, capsys, value):
    words = [*world(tmp_path).write(), "--objective", "news_bpb", "--ceiling-probability", value]
    assert cli.run(search.main, words) == cli.BAD_INPUT
    assert "--ceiling-probability" in capsys.readouterr().err


def test_a_probability_without_a_ceiling_is_named(tmp_path, capsys):
    words = [*world(tmp_path).write(), "--objective", "news_bpb", "--ceiling-probability", "0.9"]
    assert cli.run(search.main, words) == cli.BAD_INPUT
    assert "with probability 0.9, and there is none" in capsys.readouterr().err


def test_a_mixture_gains_nothing_over_itself(tmp_path):
    gain = world(tmp_path).search(["--method", "uniform"])["gain"]
    assert gain["mean"] == gain["probability"] == 0 and gain["interval"] == [0, 0]  # although weights are rounded


def test_what_is_known_of_the_noise_is_no_error_of_the_law():
    rests = np.random.default_rng(0).normal(0.0, 1.0, (13, 1))
    one, known = np.ones((1, 1)), np.array([0.8])
    blind, seeing = (
        Promise(rests=rests, weights=np.full(13, 1 / 13), objective=one[:, 0], noise=noise)
        for noise in (np.zeros(1), known)
    )
    assert seeing.error(one) < blind.error(one) == blind.spread(one)
    small = Promise(rests=0.1 * rests, weights=np.full(13, 1 / 13), objective=one[:, 0], noise=known)
    assert small.spread(one) == pytest.approx(0.8)


@pytest.mark.parametrize("kl", ["0.003", "3", "30", "1000"])
def test_the_gain_is_the_difference_of_the_two_predictions(tmp_path, kl):
    """Far from the reference, near it, and at it, where the law's error is that of a difference."""
    document = world(tmp_path, noise=0.03).search(["--kl", kl])
    said = document["prediction"]["news_bpb"]
    assert document["gain"]["mean"] == pytest.approx(said["token_share"] - said["mean"], abs=2e-4)
    assert said["interval"][0] < said["mean"] < said["interval"][1]


def test_no_interval_leaves_what_a_score_or_a_loss_can_be(tmp_path):
    table = world(tmp_path, noise=0.02)
    table.metrics = ["news_acc", "wiki_acc", "code_bpb", "talk"]
    low, high = table.losses.min(0), table.losses.max(0)
    table.losses = (high - table.losses) / (high - low) * [1.0, 100.0, 1.0, 1.0] * (1 - 1e-9)
    table.losses[:, 2] = 1.0 - table.losses[:, 2]
    words = ["--objective", "news_acc", "--score", "news_acc=1000", "--maximise", "wiki_acc"]
    table.words = [*words, "--bootstrap", "10"]
    said = table.search()["prediction"]
    ends = {name: [*item["interval"], *item["token_share_interval"], item["mean"]] for name, item in said.items()}
    assert max(ends["news_acc"]) == 1.0 and min(ends["news_acc"]) >= 0.0
    assert min(ends["wiki_acc"]) >= 0.0 and max(ends["wiki_acc"]) <= 100.0
    assert min(ends["code_bpb"]) >= 0.0


def test_what_may_be_lost_is_not_nothing_where_all_draws_agree(tmp_path):
    """The best of news is the most that is allowed, for every draw; where nothing can be chosen nothing is lost."""
    table = world(tmp_path, noise=0.02)
    table.losses[:, 0] = 2.0 - table.weights[:, 1] + 0.02 * np.random.default_rng(0).standard_normal(64)
    supply = tmp_path / "supply.csv"

    def answer(least: float) -> dict:
        rows = [
            ("web", 0.0, 0.7),
            ("news", least, 0.3),
            *((name, 0.0, 0.0) for name in ("wiki", "code", "books", "talk")),
        ]
        supply.write_text("corpus,min,max\n" + "".join(f"{name},{low},{high}\n" for name, low, high in rows))
        return table.search(["--supply", str(supply), "--beyond-proxies"])

    corner, fixed = answer(0.0), answer(0.3)
    assert corner["weights"]["news"] == 0.3 and corner["interval"]["news"] == [0.3, 0.3]
    assert 0.0005 < corner["expected_regret"] < 0.02
    assert fixed["expected_regret"] == 0.0
