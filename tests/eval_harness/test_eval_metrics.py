"""The leaderboard's figures against their definitions."""

from __future__ import annotations

import random
import statistics
import sys

import pytest
from shared_data import data_of

from eval_harness import metrics
from haigo.cli import HaigoError

DATA = data_of(__file__)


def test_ties_go_to_the_first_choice_and_length_is_in_characters():
    assert metrics.picks([-2.0, -2.0], ["あ", "い"]) == (0, 0)
    # bytes or tokens would divide otherwise: the second has more characters and fewer bytes
    assert metrics.picks([-6.0, -7.0], ["東京都", "tokyo"]) == (0, 1)


def _sample(seed, count=60, classes=3):
    rnd = random.Random(seed)
    golds = [rnd.randrange(classes) for _ in range(count)]
    return golds, [g if rnd.random() < 0.5 else rnd.randrange(classes) for g in golds]


@pytest.mark.parametrize("seed", range(4))
def test_class_metrics_are_those_of_scikit_learn(seed):
    sklearn = pytest.importorskip("sklearn.metrics")
    golds, answers = _sample(seed)
    assert metrics.mcc(golds, answers) == pytest.approx(sklearn.matthews_corrcoef(golds, answers), abs=1e-12)
    assert metrics.macro_f1(golds, answers) == pytest.approx(
        sklearn.f1_score(golds, answers, average="macro"), abs=1e-12
    )
    wanted = sklearn.balanced_accuracy_score(golds, answers)
    assert metrics.balanced_accuracy(golds, answers) == pytest.approx(wanted, abs=1e-12)


def test_constant_answers():
    golds, answers = [0, 1, 2, 2], [2, 2, 2, 2]
    assert metrics.mcc(golds, answers) == 0.0
    assert metrics.balanced_accuracy(golds, answers) == pytest.approx(1 / 3)
    assert metrics.macro_f1(golds, answers) == pytest.approx(2 * 2 / 6 / 3)


def test_the_bootstrap_draws_what_python_draws():
    golds, answers = _sample(9, count=25)
    pairs, found = list(zip(golds, answers, strict=True)), []
    for chunk in range(2):
        rnd = random.Random(chunk)
        for _ in range(1000):
            g, a = zip(*rnd.choices(pairs, k=len(pairs)), strict=True)
            found.append(metrics.mcc(g, a))
    assert metrics.mcc_stderr(golds, answers, 2000) == pytest.approx(statistics.stdev(found), rel=1e-9)


def test_standard_error():
    assert metrics.mean_stderr([0.0, 1.0, 1.0, 0.0]) == pytest.approx(statistics.stdev([0, 1, 1, 0]) / 2)
    assert metrics.mean_stderr([1.0]) is None


@pytest.fixture
def japanese():
    for name in ("emoji", "neologdn", "fugashi", "unidic_lite"):
        pytest.importorskip(name, reason="needs haigo[ja]")


@pytest.mark.parametrize(("answer", "golds", "match"), DATA["exact_match"])
def test_exact_match(japanese, answer, golds, match):
    assert metrics.exact_match(answer, golds) == match


def test_f1_counts_words_without_punctuation(japanese):
    assert metrics.words("「灯台」を建てた。") == ["灯台", "を", "建て", "た"]
    assert metrics.answer_f1("灯台を", ["灯台"]) == pytest.approx(2 * 0.5 * 1 / 1.5)
    assert metrics.answer_f1("灯台", ["港", "灯台"]) == 1.0
    assert metrics.answer_f1("", ["灯台"]) == 0.0


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "neologdn", None)
    if "emoji" not in sys.modules:
        pytest.importorskip("emoji")
    with pytest.raises(HaigoError) as caught:
        metrics.need_japanese()
    assert "neologdn" in caught.value.problem and caught.value.fix == "pip install haigo[ja]"
