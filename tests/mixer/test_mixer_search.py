"""The recommendation: finds known optima, always feasible, unmoved by names and units, honest when it knows nothing."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_data import data_of, needed

from haigo import cli
from haigo.cli import HaigoError, Refused
from mixer import report
from mixer import search as command
from mixer.design import design
from mixer.objective import Objective
from mixer.recommend import recommend
from mixer.supply import Constraints, FullRepetition

DATA = data_of(__file__)

CORPORA = ["news", "wiki", "code", "talk", "tales"]
TOKENS = np.array([10e6, 100e6, 50e6, 300e6, 40e6])
ONE = Objective(weights={"news_bpb": 1.0})
FEW = {"bootstrap": 12}


def truth(w):
    """bits per byte of news and code: a saturating form that is none of the laws; and what is best for news."""
    news = 1.0 + 0.8 / (1.0 + 5 * w[:, 0] + 3 * w[:, 1] + 1.0 * w[:, 3]) + 0.5 * np.exp(-6 * w[:, 4] - 2 * w[:, 0])
    code = 0.8 + 0.6 / (0.3 + 4 * np.sqrt(w[:, 2]) + 0.3 * w[:, 1])
    return np.c_[news, code]


def table(n=28, noise=0.005, seed=0):
    w = design(Constraints(corpora=CORPORA, supply=TOKENS), n, seed).iloc[:, 1:]
    y = truth(w.to_numpy()) + noise * np.random.default_rng(seed).standard_normal((n, 2))
    return w, pd.DataFrame(y, columns=["news_bpb", "code_bpb"])


def best_of(constraints, column=0):
    from mixer.design import candidates

    pool = candidates(constraints, 40_000, np.random.default_rng(7))
    return float(truth(pool)[:, column].min())


def test_finds_an_optimum_of_another_form_within_the_supply():
    w, y = table()
    constraints = Constraints(corpora=CORPORA, supply=TOKENS, target_tokens=300e6, kl=0.0, repetition=FullRepetition())
    made = recommend(w, y, ONE, constraints, beyond_proxies=True, **FEW)
    assert constraints.limits().excess(made.weights) <= 1e-6
    share = float(truth(constraints.token_share[None])[0, 0])
    best = best_of(constraints)
    lost = (float(truth(made.weights[None])[0, 0]) - best) / (share - best)
    assert lost < 0.08
    assert made.gain["probability"] > 0.95 and made.prediction["news_bpb"]["mean"] < share
    assert made.card.spearman[-1] > 0.9
    assert made.epochs == pytest.approx(made.weights * 300e6 / TOKENS)
    # news and tales help most and are scarce: their caps bind, and one more epoch is worth something
    news = next(b for b in made.binding if b["constraint"].startswith("news at most 4 epochs"))
    assert news["price"] > 0 and news["per"] == "one more epoch of news"
    looser = Constraints(
        corpora=CORPORA, supply=TOKENS, target_tokens=300e6, kl=0.0, repetition=FullRepetition(),
        max_epochs=np.array([4.5, 4, 4, 4, 4]),
    )  # fmt: skip
    more = recommend(w, y, ONE, looser, beyond_proxies=True, **FEW)
    gained = made.prediction["news_bpb"]["mean"] - more.prediction["news_bpb"]["mean"]
    assert gained == pytest.approx(0.5 * news["price"], rel=0.35)


def test_interval_and_near_optimal_range_hold_the_answer():
    w, y = table()
    made = recommend(w, y, ONE, Constraints(corpora=CORPORA), **FEW)
    assert (made.near_optimal[:, 0] <= made.weights + 1e-9).all()
    assert (made.near_optimal[:, 1] >= made.weights - 1e-9).all()
    assert np.ptp(made.near_optimal, axis=1).max() > 0.01
    assert made.expected_regret >= 0
    assert made.transfer.sum(1) == pytest.approx([1, 1])
    assert CORPORA[int(made.transfer[1].argmax())] == "code"


def test_ceiling_holds_another_metric():
    w, y = table()
    constraints = Constraints(corpora=CORPORA, supply=TOKENS)
    free = recommend(w, y, ONE, constraints, **FEW)
    held = recommend(w, y, Objective(weights={"news_bpb": 1.0}, ceilings={"*_bpb": "+5%"}), constraints, **FEW)
    limit = held.prediction["code_bpb"]["token_share"] * 1.05
    assert free.prediction["code_bpb"]["mean"] > limit
    assert held.prediction["code_bpb"]["mean"] <= limit * (1 + 1e-4)
    assert any(b["constraint"] == "ceiling on code_bpb" and b["price"] > 0 for b in held.binding)
    with pytest.raises(Refused, match="code_bpb") as caught:
        recommend(w, y, Objective(weights={"news_bpb": 1.0}, ceilings={"code_bpb": 0.5}), constraints, **FEW)
    assert caught.value.code == 3


def test_no_corpus_falls_below_the_proxies_unless_told():
    w, y = table()
    made = recommend(w, y, Objective(weights={"news_bpb": 1.0}), Constraints(corpora=CORPORA), **FEW)
    assert (made.weights >= 0.01 - 1e-9).all()
    beyond = recommend(w, y, ONE, Constraints(corpora=CORPORA, kl=0.0), beyond_proxies=True, **FEW)
    assert beyond.weights[CORPORA.index("code")] < 0.01


def test_a_fit_that_knows_nothing_is_refused():
    w, _ = table()
    noise = pd.DataFrame({"news_bpb": np.random.default_rng(3).standard_normal(len(w)) + 5})
    with pytest.raises(Refused, match="no better than taking the mean"):
        recommend(w, noise, ONE, Constraints(corpora=CORPORA), **FEW)
    made = recommend(w, noise, ONE, Constraints(corpora=CORPORA), force=True, **FEW)
    assert any("Forced" in note for note in made.notes)


def test_scores_need_a_direction():
    w, y = table()
    y["questions_acc"] = 0.9 - 0.2 * y["news_bpb"]
    wrong = Objective(weights={"questions_acc": 1.0})
    with pytest.raises(HaigoError, match="looks like a score"):
        recommend(w, y, wrong, Constraints(corpora=CORPORA), **FEW)
    right = Objective(weights={"questions_acc": 1.0}, direction={"questions_acc": "max"})
    up = recommend(w, y, right, Constraints(corpora=CORPORA, kl=0.0), **FEW)
    down = recommend(w, y, ONE, Constraints(corpora=CORPORA, kl=0.0), **FEW)
    assert up.prediction["questions_acc"]["mean"] > up.prediction["questions_acc"]["token_share"]
    assert truth(up.weights[None])[0, 0] == pytest.approx(truth(down.weights[None])[0, 0], abs=0.02)


def test_bad_objectives_and_ceilings():
    w, y = table()
    for objective, words in [
        (Objective(weights={"new_bpb": 1.0}), "Did you mean 'news_bpb'"),
        (Objective(weights={"news_bpb": 1.0}, ceilings={"code_bpb": "five"}), "ceiling of 'code_bpb' is 'five'"),
    ]:
        with pytest.raises(HaigoError, match=words):
            recommend(w, y, objective, Constraints(corpora=CORPORA), **FEW)
    with pytest.raises(HaigoError, match="weight -1"):
        Objective(weights={"news_bpb": -1})
    with pytest.raises(HaigoError, match="no method 'laww'"):
        recommend(w, y, ONE, Constraints(corpora=CORPORA), method="laww", **FEW)


@st.composite
def tight(draw):
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    anchor = rng.dirichlet(np.ones(5))
    low, high = np.maximum(anchor - draw(st.floats(0, 0.3)), 0), np.minimum(anchor + draw(st.floats(0, 0.3)), 1)
    inside = float(anchor[:2].sum())
    return Constraints(
        corpora=CORPORA, lower=low, upper=high, groups={"ja": (CORPORA[:2], inside - 0.05, inside + 0.02)}
    )


@settings(max_examples=8, deadline=None)
@given(tight())
def test_answer_is_always_feasible(constraints):
    w, y = table(16)
    made = recommend(w, y, Objective(weights={"news_bpb": 1, "code_bpb": 1}), constraints, bootstrap=10)
    assert constraints.limits().excess(made.weights) <= 2e-6
    assert round(sum(made.weights), 9) == 1


@settings(max_examples=4, deadline=None)
@given(st.permutations(range(5)))
def test_permuting_corpora_permutes_the_answer(order):
    w, y = table()
    order = list(order)
    plain = recommend(w, y, ONE, Constraints(corpora=CORPORA), bootstrap=60)
    names = [CORPORA[j] for j in order]
    moved = recommend(w[names], y, ONE, Constraints(corpora=names), bootstrap=60)
    assert moved.weights == pytest.approx(plain.weights[order], abs=0.06)
    assert truth(moved.weights[np.argsort(order)][None])[0, 0] == pytest.approx(
        truth(plain.weights[None])[0, 0], abs=0.01
    )


@settings(max_examples=4, deadline=None)
@given(st.floats(0.01, 1000))
def test_rescaling_a_loss_does_not_move_the_answer(factor):
    w, y = table()
    plain = recommend(w, y, ONE, Constraints(corpora=CORPORA), **FEW)
    scaled = recommend(w, y * factor, ONE, Constraints(corpora=CORPORA), **FEW)
    assert scaled.weights == pytest.approx(plain.weights, abs=1e-3)


def files(folder, n=24):
    w, y = table(n)
    names = [f"h{i}" if i >= n - 4 else f"p{i}" for i in range(n)]
    w.insert(0, "run", names)
    w.to_csv(folder / "ratios.csv", index=False)
    y.insert(0, "run", names)
    y.assign(size="tiny", tokens=1e6, seed=0, seconds=1.0).to_csv(folder / "metrics.csv", index=False)
    rows = "".join(f"{c},{t:.0f},{'en' if c == 'code' else 'ja'}\n" for c, t in zip(CORPORA, TOKENS, strict=True))
    (folder / "supply.csv").write_text("corpus,tokens,group\n" + rows)
    return [
        "--ratios", str(folder / "ratios.csv"), "--metrics", str(folder / "metrics.csv"),
        "--supply", str(folder / "supply.csv"), "--target-tokens", "300e6", "--bootstrap", "12",
    ]  # fmt: skip


def test_command_writes_the_mixture_and_the_same_bytes_again(tmp_path, capsys):
    out = tmp_path / "mixture.yml"
    words = [
        *files(tmp_path),
        "--objective",
        "news_bpb=1.0,code_bpb=0.5",
        "--ceiling",
        "code_bpb=+5%",
        "--held-out",
        "h",
    ]
    assert cli.run(command.main, [*words, "--group", "ja=0.5:0.9", "--output", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "Predicted gain over token share" in shown and "tales" in shown
    document = yaml.safe_load(out.read_text())
    assert abs(sum(document["weights"].values()) - 1) < 1e-9
    assert set(document) >= {"weights", "interval", "epochs", "prediction", "binding", "objective", "fit", "provenance"}
    assert document["fit"]["held_out"]["runs"] == 4
    assert all(e <= 4 + 1e-3 for e in document["epochs"].values())
    given_ = document["provenance"]
    assert (
        given_["seed"] == 0 and len(given_["inputs"]["ratios"]["sha256"]) == 64 and "mixer.search" in given_["command"]
    )
    first = out.read_bytes()
    assert cli.run(command.main, [*words, "--group", "ja=0.5:0.9", "--output", str(out)]) == 0
    assert out.read_bytes() == first
    capsys.readouterr()
    assert cli.run(report.main, [str(out), "--language", "ja", "--markdown"]) == 0
    assert "## 配合" in capsys.readouterr().out
    out.write_text("weights: {news: 0.5, wiki: 0.5}\n")
    assert cli.run(report.main, [str(out)]) == 0
    out.write_text("weights: {news: 0.5, wiki: 0.5}\ninterval: {news: [0, 1]}\n")
    assert cli.run(report.main, [str(out)]) == 2


def test_command_compares_all_methods(tmp_path, capsys):
    out = tmp_path / "mixture.yml"
    words = [*files(tmp_path), "--objective", "news_bpb", "--compare", "--json", "--output", str(out)]
    assert cli.run(command.main, words) == 0
    compared = {row["method"]: row for row in json.loads(capsys.readouterr().out)["compared"]}
    assert set(compared) == {
        "auto",
        "law",
        "explaw",
        "lightgbm",
        "gp",
        "regmix",
        "quadratic",
        "kernel_ridge",
        "token_share",
        "temperature",
        "unimax",
        "uniform",
    }
    assert compared["law"]["objective"] <= compared["regmix"]["objective"] + 1e-6
    assert compared["token_share"]["gain"] == pytest.approx(0, abs=1e-6)
    assert compared["token_share"]["regret"] == 1.0 and -0.05 < compared["auto"]["regret"] < 0.5
    assert 0 < compared["auto"]["level"] < compared["regmix"]["level"]
    contest = {name: row["contest"] for name, row in compared.items()}
    assert contest["token_share"]["regret"] == 1.0 and contest["auto"]["regret"] < contest["token_share"]["regret"]
    assert 0 <= contest["auto"]["promise"] <= 1 and contest["auto"]["rank"] > 0.5 and contest["auto"]["seconds"] > 0
    low, high = contest["uniform"]["against"]["interval"]
    assert low <= contest["uniform"]["against"]["mean"] <= high and "against" not in contest["auto"]
    # the file is the same of the same table: no seconds in it, and the report does without them
    assert "seconds" not in out.read_text()
    assert cli.run(report.main, [str(out), "--language", "ja"]) == 0
    assert "プロキシの一部での方法の比較" in capsys.readouterr().out


def test_the_report_of_a_search_in_japanese(tmp_path, capsys):
    assert cli.run(command.main, [*files(tmp_path), "--objective", "news_bpb", "--language", "ja"]) == 0
    assert capsys.readouterr().out.startswith("配合")


def test_regmix_is_the_published_recipe():
    """LightGBM of 1,000 rounds at 0.01, draws around token share that know no limits, the mean of the best."""
    import lightgbm

    from mixer import methods

    w, y = table(60)
    constraints = Constraints(corpora=CORPORA, supply=TOKENS, target_tokens=300e6)
    made = methods.sampled(
        "regmix", w.to_numpy(), y.to_numpy(), np.array([1.0, 0.0]), constraints, np.full(2, np.inf), 5, 3000
    )
    law = lightgbm.LGBMRegressor(
        n_estimators=1000, learning_rate=0.01, n_jobs=1, verbose=-1, deterministic=True, force_row_wise=True
    )
    law.fit(w.to_numpy(), y["news_bpb"].to_numpy())
    pool = np.random.default_rng([5, 2]).dirichlet(TOKENS / TOKENS.sum(), 3000)
    best = pool[np.argsort(law.booster_.predict(pool), kind="stable")[:30]].mean(axis=0)
    assert constraints.limits().excess(best) > 0.01
    assert made == pytest.approx(constraints.limits().project(best), abs=1e-9)


@pytest.mark.parametrize("method", ["explaw", "regmix", "unimax"])
def test_other_methods_are_feasible_too(method):
    w, y = table(48)
    constraints = Constraints(corpora=CORPORA, supply=TOKENS, target_tokens=300e6)
    made = recommend(w, y, ONE, constraints, method=method, force=True, **FEW)
    assert constraints.limits().excess(made.weights) <= 2e-6


@pytest.mark.parametrize(("words", "code", "says"), DATA["exit_codes"])
def test_exit_codes(tmp_path, capsys, words, code, says):
    out = tmp_path / "mixture.yml"
    assert cli.run(command.main, [*files(tmp_path), *words, "--output", str(out)]) == code
    assert says in capsys.readouterr().err
    assert not out.exists()


def test_regmix_files_as_they_are(tmp_path, capsys):
    out = tmp_path / "mixture.yml"
    ratios, metrics = (str(needed(f"regmix/test_{kind}_1m.csv")) for kind in ("mixture", "pile_loss"))
    words = ["--ratios", ratios, "--metrics", metrics]
    assert cli.run(command.main, [*words, "--objective", "pile_cc", "--bootstrap", "10", "--output", str(out)]) == 0
    weights = yaml.safe_load(out.read_text())["weights"]
    assert max(weights, key=weights.get) == "train_the_pile_pile_cc"
