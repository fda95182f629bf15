"""DataFrames are joined by index and name, never by where they stand; scikit-learn's habits."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from mixer_worlds import CORPORA, METRICS, world

from haigo.cli import HaigoError
from mixer.laws import EffectiveShareLaw, GaussianProcess, Predictor, Trees
from mixer.objective import Objective
from mixer.search import recommend
from mixer.supply import Constraints


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    made = world(tmp_path_factory.mktemp("frames"), 24)
    weights = pd.DataFrame(made.weights, index=made.runs, columns=CORPORA)
    return weights, pd.DataFrame(made.losses, index=made.runs, columns=METRICS)


def shuffled(table, seed=1):
    rng = np.random.default_rng(seed)
    return table.iloc[rng.permutation(len(table)), rng.permutation(table.shape[1])]


def test_a_shuffled_index_and_shuffled_columns_move_nothing(tables):
    weights, losses = tables
    goal, limits = Objective(weights={"news_bpb": 1.0}), Constraints(corpora=CORPORA)
    few = {"bootstrap": 10}
    plain = recommend(weights.to_numpy(), losses.to_numpy(), goal, limits, metrics=METRICS, **few)
    apart = {"held_out": (shuffled(weights, 2), shuffled(losses, 3)), "counts": pd.Series(1.0, weights.index[::-1])}
    made = recommend(weights, shuffled(losses), goal, limits, **few, **apart)
    assert made.weights == pytest.approx(plain.weights, abs=1e-9)
    assert made.held_out.spearman[0] > 0.9
    assert list(made.frame().index) == CORPORA and made.frame()["weight"].sum() == pytest.approx(1.0)
    other = recommend(shuffled(weights), losses, goal, limits, **few)
    assert abs(other.weights - plain.weights).max() < 0.02  # the same runs in another order


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w, y: (w, y.iloc[1:]), "different runs: p000"),
        (lambda w, y: (w, y.set_axis([*y.index[:-1], y.index[0]])), "'p000' stands twice"),
        (lambda w, y: (w.rename(columns={"news": "nws"}), y), "different corpora"),
    ],
)
def test_tables_that_do_not_belong_together_are_named(tables, change, words):
    with pytest.raises(HaigoError, match=words):
        recommend(*change(*tables), Objective(weights={"news_bpb": 1.0}), Constraints(corpora=CORPORA))


def test_a_predictor_reads_tables_by_name_and_answers_in_tables(tables):
    weights, losses = tables
    made = Predictor(bootstrap=10).fit(weights, shuffled(losses)[METRICS])
    arrays = Predictor(bootstrap=10).fit(weights.to_numpy(), losses.to_numpy())
    asked = shuffled(weights)
    for name in ("predict", "predict_std"):
        answer = getattr(made, name)(asked)
        assert list(answer.index) == list(asked.index) and list(answer.columns) == METRICS
        assert answer.loc[weights.index].to_numpy() == pytest.approx(getattr(arrays, name)(weights.to_numpy()))
    one = Predictor(bootstrap=10).fit(weights, shuffled(losses)["news_bpb"])
    assert one.predict(asked).name == "news_bpb" and one.score(asked, losses["news_bpb"]) > 0.9
    with pytest.raises(HaigoError, match="have no column 'news'"):
        made.predict(weights.drop(columns="news"))
    with pytest.raises(HaigoError, match="5 weights a mixture"):
        made.predict(weights.to_numpy()[:, 1:])


@pytest.mark.parametrize("law", [EffectiveShareLaw, GaussianProcess, Trees])
def test_every_law_joins_by_index_and_name(tables, law):
    weights, losses = tables
    plain = law().fit(weights.to_numpy(), losses.to_numpy()).predict(weights.to_numpy())
    made = law().fit(weights, shuffled(losses)[METRICS]).predict(weights[weights.columns[::-1]])
    assert made == pytest.approx(plain)


def test_scikit_learn_clones_scores_and_validates(tables):
    from sklearn.base import clone, is_regressor
    from sklearn.metrics import r2_score
    from sklearn.model_selection import cross_val_score

    weights, losses = tables
    made = Predictor(seed=3, bootstrap=10)
    copy = clone(made)
    assert copy is not made and copy.get_params() == {"seed": 3, "bootstrap": 10} and is_regressor(made)
    assert copy.set_params(seed=4).seed == 4
    with pytest.raises(HaigoError, match="Did you mean 'bootstrap'"):
        copy.set_params(boostrap=1)
    fitted = made.fit(weights, losses)
    assert fitted.score(shuffled(weights), losses) == pytest.approx(r2_score(losses, fitted.predict(weights)))
    assert cross_val_score(Predictor(bootstrap=10), weights, losses["news_bpb"], cv=3).min() > 0.5
