"""Bad and good proxy tables, supplies, mixtures: one sentence each, never a silent answer."""

from __future__ import annotations

import re

import numpy as np
import pytest
from shared_data import data_of

from haigo.cli import HaigoError
from mixer import mixture, proxies, scales
from mixer.supply import Constraints, SoftRepetition, constraints_from, read_supply

DATA = data_of(__file__)

RATIOS = "run,news,wiki\na,0.5,0.5\nb,0.2,0.8\nc,0.9,0.1\nd,0.4,0.6\n"
METRICS = "run,news_bpb,wiki_bpb,size,seed\na,1.0,2.0,tiny,0\nb,1.1,1.9,tiny,0\nc,0.9,2.2,tiny,0\nd,1.05,1.95,tiny,0\n"


def write(folder, ratios=RATIOS, metrics=METRICS):
    (folder / "ratios.csv").write_text(ratios, encoding="utf-8")
    (folder / "metrics.csv").write_text(metrics, encoding="utf-8")
    return folder / "ratios.csv", folder / "metrics.csv"


def test_tables_are_joined_by_run_in_any_order(tmp_path):
    lines = METRICS.splitlines()
    table = proxies.read(*write(tmp_path, metrics="\n".join([lines[0], *reversed(lines[1:])]) + "\n"))
    assert table.runs == ["a", "b", "c", "d"]
    assert table.metrics == ["news_bpb", "wiki_bpb"]
    assert table.losses[:, 0].tolist() == [1.0, 1.1, 0.9, 1.05]


@pytest.mark.parametrize(("ratios", "metrics", "words"), DATA["bad_tables_are_told_in_one_sentence"])
def test_bad_tables_are_told_in_one_sentence(tmp_path, ratios, metrics, words):
    with pytest.raises(HaigoError) as caught:
        proxies.read(*write(tmp_path, ratios, metrics))
    assert caught.value.fix
    for word in words:
        assert word in caught.value.problem


def test_stopped_runs_are_a_scale_of_their_own(tmp_path):
    """Also at the size and tokens of runs that were trained to the end of a shorter schedule."""
    ratios = "run,a,b\n" + "".join(f"p{n},{n / 10},{1 - n / 10}\n" for n in range(1, 9))
    cells = [f"p{n},{1 + n / 10},1000,500,{1000 if n < 6 else ''}\n" for n in range(1, 9)]
    table = proxies.read(*write(tmp_path, ratios, "run,x_bpb,size,tokens,schedule_tokens\n" + "".join(cells)))
    assert list(table.metrics) == ["x_bpb"]
    assert table.scales == ["1000 (stopped), 500 tokens"] * 5 + ["1000, 500 tokens"] * 3
    with pytest.raises(HaigoError, match="several scales"):
        scales.choose(table.scales, None, "metrics.csv")
    assert scales.choose(table.scales, "1000", "metrics.csv") == (table.scales[0], table.scales[-1])


def test_line_number_is_that_of_the_file_not_of_the_join(tmp_path):
    lines = METRICS.replace("1.05,1.95", "oops,1.95").splitlines()
    with pytest.raises(HaigoError, match="line 2: run 'd'"):
        proxies.read(*write(tmp_path, metrics="\n".join([lines[0], lines[4], *lines[1:4]])))


def test_constant_metric_is_refused_when_asked_for_and_noted_otherwise(tmp_path):
    files = write(tmp_path, metrics=re.sub(r"[\d.]+,tiny", "3,tiny", METRICS))
    with pytest.raises(HaigoError, match="the same in every run"):
        proxies.read(*files, ["wiki_bpb"])
    table = proxies.read(*files, ["news_bpb"], others=True)
    assert table.metrics == ["news_bpb"]
    assert any("wiki_bpb" in note for note in table.notes)


def test_bad_cell_in_a_metric_not_asked_for_is_left_out_with_a_note(tmp_path):
    table = proxies.read(*write(tmp_path, metrics=METRICS.replace("2.0,t", "nan,t")), ["news_bpb"], others=True)
    assert table.metrics == ["news_bpb"] and any("wiki_bpb" in note for note in table.notes)


def test_nearly_one_is_scaled_and_said(tmp_path):
    table = proxies.read(*write(tmp_path, ratios=RATIOS.replace("0.2,0.8", "0.2,0.805")))
    assert np.allclose(table.weights.sum(1), 1, atol=1e-15)
    assert any("scaled (b)" in note for note in table.notes)


def test_constant_corpus_is_noted(tmp_path):
    ratios = "run,news,wiki,code\na,0.4,0.4,0.2\nb,0.1,0.7,0.2\nc,0.7,0.1,0.2\nd,0.3,0.5,0.2\n"
    assert any("'code'" in note for note in proxies.read(*write(tmp_path, ratios=ratios)).notes)


def test_names_of_regmix_and_shortened_names(tmp_path):
    names = ["metric/the_pile_pile_cc_val_loss", "metric/the_pile_arxiv_val_loss"]
    assert proxies.find("pile_cc", names, "metric", "m") == names[0]
    assert proxies.find("arxiv", ["train_the_pile_arxiv"], "corpus", "r") == "train_the_pile_arxiv"
    with pytest.raises(HaigoError, match="Did you mean 'pile_cc'"):
        proxies.find("pile_c", names, "metric", "m")
    with pytest.raises(HaigoError, match="could be"):
        proxies.find("news", ["news_bpb", "news_acc"], "metric", "m")


def test_held_out_runs_by_prefix(tmp_path):
    ratios = RATIOS + "h0,0.3,0.7\n"
    metrics = METRICS + "h0,1.07,1.93,tiny,0\n"
    fit, held = proxies.read(*write(tmp_path, ratios, metrics)).split("h")
    assert held.runs == ["h0"] and len(fit.runs) == 4
    with pytest.raises(HaigoError, match="starts with 'z'"):
        fit.split("z")


@pytest.mark.parametrize(("text", "words"), DATA["bad_supply"])
def test_bad_supply(tmp_path, text, words):
    (tmp_path / "supply.csv").write_text(text, encoding="utf-8")
    with pytest.raises(HaigoError) as caught:
        read_supply(tmp_path / "supply.csv")
    for word in words:
        assert word in caught.value.problem


def test_corpora_in_one_file_only():
    supply = {"news": {"tokens": 10.0}, "wiki": {"tokens": 10.0}}
    with pytest.raises(HaigoError, match="'wiki', which no proxy table names"):
        constraints_from(supply, ["news"])
    with pytest.raises(HaigoError, match="no row for the corpus 'code'"):
        constraints_from(supply, ["news", "wiki", "code"])


def test_conflicting_limits_are_named_and_no_others():
    constraints = Constraints(
        corpora=["news", "wiki", "code", "talk"],
        lower=np.array([0.0, 0.0, 0.5, 0.0]),
        upper=np.array([1.0, 0.9, 1.0, 1.0]),
        groups={"ja": (["news", "wiki"], 0.6, 1.0)},
    )
    with pytest.raises(HaigoError) as caught:
        constraints.limits().check()
    assert "code >= 0.5" in caught.value.problem and "group ja >= 0.6" in caught.value.problem
    assert "wiki <=" not in caught.value.problem


def test_too_few_tokens_says_so():
    constraints = Constraints(corpora=["a", "b"], supply=np.array([1e6, 2e6]), target_tokens=1e9)
    with pytest.raises(HaigoError, match="at most 4 epochs") as caught:
        constraints.limits().check()
    assert "tokens do not suffice" in caught.value.fix


def test_soft_repetition_is_one_for_one_then_fades_and_stays_concave():
    w = np.linspace(0, 1, 101)[:, None]
    effective, slope = SoftRepetition().effective(w, np.array([1e8]), 1e9)
    assert np.allclose(effective[w[:, 0] <= 0.1], w[w[:, 0] <= 0.1])
    four = effective[40, 0] / 0.1  # four epochs: worth nearly four, as the paper found
    assert 3.6 < four < 4.0
    assert (np.diff(effective[:, 0], 2) <= 1e-12).all() and (slope > 0).all()
    measured = np.gradient(effective[:, 0], w[:, 0])
    assert np.allclose(measured[20:-1], slope[20:-1, 0], atol=5e-3)


def test_baselines():
    tokens = [100.0, 900.0]
    assert mixture.token_share(tokens) == pytest.approx([0.1, 0.9])
    assert mixture.temperature(tokens, 1e9) == pytest.approx([0.5, 0.5])
    # UniMax: the small corpus gets its four epochs, the rest goes to the large one
    assert mixture.unimax(tokens, 1000, 4) == pytest.approx([0.4, 0.6])
    assert mixture.unimax([100.0, 100.0, 900.0], 300, 4) == pytest.approx([1 / 3] * 3)


def test_rounding_keeps_sum_and_limits():
    made = mixture.rounded([1 / 3, 1 / 3, 1 / 3], 4, upper=[0.3333, 1, 1])
    assert round(made.sum(), 12) == 1 and made[0] <= 0.3333


def test_mixture_file_round_trip_and_errors(tmp_path):
    path = tmp_path / "mixture.yml"
    mixture.write(path, {"weights": {"news": 0.25, "wiki": 0.75}})
    assert mixture.read(path, ["news", "wiki"])["weights"] == {"news": 0.25, "wiki": 0.75}
    with pytest.raises(HaigoError, match=r"'news', which is not known\. Did you mean 'newt'"):
        mixture.read(path, ["newt", "wiki"])
    with pytest.raises(HaigoError, match="no weight for code"):
        mixture.read(path, ["news", "wiki", "code"])
    path.write_text("weights: {news: 0.5, wiki: 0.2}\n")
    with pytest.raises(HaigoError, match="do not sum to 1"):
        mixture.read(path)
    path.write_text("weights: {news: yes, wiki: 0.2}\n")
    with pytest.raises(HaigoError, match="'news' is not a number"):
        mixture.read(path)


@pytest.mark.parametrize("read", [proxies.read_ratios, read_supply])
def test_a_folder_for_a_table(tmp_path, read):
    with pytest.raises(HaigoError, match="is a folder, not a file"):
        read(tmp_path)
