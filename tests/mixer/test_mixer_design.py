"""Designs: inside the limits, above the floor, spread out, the same for the same seed."""

from __future__ import annotations

import csv
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haigo import cli
from haigo.cli import HaigoError
from mixer import design as command
from mixer.design import candidates, design, propose
from mixer.supply import Constraints

SUPPLY = "corpus,tokens,min,max,group\nnews,100e6,,,ja\nwiki,300e6,0.1,,ja\ncode,50e6,,0.3,code\ntalk,900e6,,,ja\n"


def test_a_floor_that_many_corpora_cannot_all_have_is_named():
    corpora = [f"c{i}" for i in range(200)]
    with pytest.raises(HaigoError, match=r"a floor of 0\.01 for each of 200 corpora: that is 2 in all") as said:
        design(Constraints(corpora=corpora), 8)
    assert "--floor below 0.005" in str(said.value.fix)
    assert len(design(Constraints(corpora=corpora), 8, floor=0.001)) == 8


def test_table_sums_to_one_as_printed_and_keeps_floor_and_caps(tmp_path):
    (tmp_path / "supply.csv").write_text(SUPPLY)
    out = tmp_path / "ratios.csv"
    words = ["--supply", str(tmp_path / "supply.csv"), "--runs", "20", "--held-out", "3", "--target-tokens", "1e9"]
    assert cli.run(command.main, [*words, "--group", "ja=0.6:0.95", "--output", str(out)]) == 0
    rows = list(csv.DictReader(out.open()))
    assert [r["run"] for r in rows[:2]] == ["p000", "p001"] and [r["run"] for r in rows[-3:]] == [
        "h000",
        "h001",
        "h002",
    ]
    assert len({tuple(r.values())[1:] for r in rows}) == 23
    for row in rows:
        exact = {name: Fraction(row[name]) for name in ("news", "wiki", "code", "talk")}
        assert sum(exact.values()) == 1
        assert min(exact.values()) >= Fraction("0.01") and exact["wiki"] >= Fraction("0.1")
        assert exact["news"] <= Fraction("0.4") and exact["code"] <= Fraction("0.2")
        assert Fraction("0.599999") <= 1 - exact["code"] <= Fraction("0.950001")
    first = out.read_bytes()
    cli.run(command.main, [*words, "--group", "ja=0.6:0.95", "--output", str(out)])
    assert out.read_bytes() == first


def test_first_runs_are_token_share_and_uniform_where_allowed():
    constraints = Constraints(corpora=list("abc"), supply=np.array([1e9, 2e9, 3e9]))
    made = propose(constraints, 6, seed=1, floor=0.01)
    assert made[0] == pytest.approx([1 / 6, 2 / 6, 3 / 6], abs=1e-6)
    assert made[1] == pytest.approx([1 / 3] * 3, abs=1e-6)


def test_spread_is_wider_than_random():
    constraints = Constraints(corpora=list("abcdef"))
    chosen = propose(constraints, 24, seed=0, floor=0.01)
    drawn = candidates(constraints.with_floor(0.01), 24, np.random.default_rng(0))

    def nearest(points):
        root = np.sqrt(points)
        gap = ((root[:, None] - root[None]) ** 2).sum(2) + 9 * np.eye(len(root))
        return gap.min(1).mean()

    assert nearest(chosen) > 1.5 * nearest(drawn)


def test_history_is_kept_away_from_and_numbering_goes_on():
    constraints = Constraints(corpora=list("abcd"))
    old = design(constraints, 8, seed=0)
    new = design(constraints, 4, seed=0, history=old.iloc[:, 1:].to_numpy())
    assert list(new["run"]) == ["p008", "p009", "p010", "p011"]
    gaps = np.abs(new.iloc[:, 1:].to_numpy()[:, None] - old.iloc[:, 1:].to_numpy()[None]).sum(2)
    assert gaps.min() > 0.05


def test_impossible_designs_are_told(tmp_path):
    with pytest.raises(HaigoError, match="no mixture can meet"):
        design(Constraints(corpora=list("abcd")), 4, floor=0.3)
    with pytest.raises(HaigoError, match="0 runs"):
        design(Constraints(corpora=list("ab")), 0)
    assert cli.run(command.main, ["--runs", "4", "--output", str(tmp_path / "x.csv")]) == 2
    assert not (tmp_path / "x.csv").exists()


@st.composite
def limits(draw):
    k = draw(st.integers(2, 7))
    anchor = np.random.default_rng(draw(st.integers(0, 999))).dirichlet(np.ones(k))
    room = st.floats(0, 0.5)
    low = np.array([max(0.0, a - draw(room)) for a in anchor])
    high = np.array([min(1.0, a + draw(room)) for a in anchor])
    members = [str(j) for j in range(k) if draw(st.booleans())]
    inside = sum(anchor[int(m)] for m in members)
    groups = {"g": (members, max(0.0, inside - draw(room)), inside + draw(room))} if members else {}
    return Constraints(corpora=[str(j) for j in range(k)], lower=low, upper=high, groups=groups)


@settings(max_examples=25, deadline=None)
@given(limits(), st.integers(0, 3))
def test_candidates_and_projection_are_always_feasible(constraints, seed):
    bounds = constraints.limits()
    rng = np.random.default_rng(seed)
    for point in candidates(constraints, 16, rng):
        assert bounds.excess(point) <= 1e-8
    wanted = rng.dirichlet(np.ones(len(constraints.corpora)) * 0.3)
    assert bounds.excess(bounds.project(wanted)) <= 1e-8


def test_one_corpus_is_no_mixture():
    with pytest.raises(HaigoError, match="two corpora or more"):
        design(Constraints(corpora=["news"]), 4)


@pytest.mark.parametrize("words", [["--seed", "-1"], ["--runs", "x"], ["--held-out", "-2"]])
def test_numbers_that_make_no_sense(tmp_path, words):
    assert cli.run(command.main, ["--corpora", "a,b", "--output", str(tmp_path / "r.csv"), *words]) == 2
    assert not (tmp_path / "r.csv").exists()


def test_maxima_that_leave_too_little_do_not_speak_of_tokens():
    with pytest.raises(HaigoError, match=r"news <= 0\.2; wiki <= 0\.3") as caught:
        design(Constraints(corpora=["news", "wiki"], upper=np.array([0.2, 0.3])), 4)
    assert caught.value.fix == "loosen one of them"


def test_held_out_runs_are_copies_of_none():
    limits = Constraints(corpora=["a", "b", "c"], supply=np.array([5.0, 3.0, 2.0]))
    table = design(limits, 8, seed=1, held_out=2)
    made = table.drop(columns="run").to_numpy()
    apart = np.abs(made[:, None] - made[None]).sum(-1) + np.eye(len(made))
    assert apart[8:].min() > 0.01
    assert list(table["run"][8:]) == ["h000", "h001"]


def _helps(w):
    """Losses that corpora b and c lower, a form that is none of the laws."""
    return np.c_[1.0 / (0.2 + 3 * w[:, 1]), np.exp(-4 * w[:, 2])]


def test_a_second_batch_goes_where_the_first_says_the_optimum_is():
    constraints = Constraints(corpora=["a", "b", "c", "d"])
    w = propose(constraints, 20, 0)
    y = _helps(w)
    later = propose(constraints, 16, 0, (w, y), objective=np.array([1.0, 1.0]))
    assert np.allclose(later.sum(1), 1) and (later >= 0).all()
    assert _helps(later).sum(1).mean() < _helps(w).sum(1).mean() - 0.1
    # another objective, another place
    b, c = (propose(constraints, 16, 0, (w, y), objective=np.array(o)) for o in ([1.0, 0.0], [0.0, 1.0]))
    assert b[:, 1].mean() > c[:, 1].mean() + 0.2 and c[:, 2].mean() > b[:, 2].mean() + 0.2
    assert np.array_equal(later, propose(constraints, 16, 0, (w, y), objective=np.array([1.0, 1.0])))
    with pytest.raises(HaigoError, match="1 coefficients for 2 losses"):
        propose(constraints, 4, 0, (w, y), objective=np.array([1.0]))


def test_command_spends_a_second_batch_around_the_optimum(tmp_path):
    first, metrics, more = (str(tmp_path / name) for name in ("ratios.csv", "metrics.csv", "more.csv"))
    assert cli.run(command.main, ["--corpora", "a,b,c,d", "--runs", "16", "--output", first]) == 0
    table = pd.read_csv(first)
    losses = pd.DataFrame(_helps(table.iloc[:, 1:].to_numpy()), columns=["b_bpb", "c_bpb"])
    losses["c_acc"] = -losses["c_bpb"]
    losses.insert(0, "run", table["run"])
    losses.to_csv(metrics, index=False)
    words = ["--corpora", "a,b,c,d", "--runs", "8", "--history", first, "--output", more]
    assert cli.run(command.main, [*words, "--history-metrics", metrics, "--objective", "b_bpb"]) == 0
    made = pd.read_csv(more)
    assert list(made["run"]) == [f"p{i:03d}" for i in range(16, 24)]
    assert made["b"].mean() > table["b"].mean() + 0.15
    assert (
        cli.run(command.main, [*words, "--history-metrics", metrics, "--objective", "c_acc", "--maximise", "c_acc"])
        == 0
    )
    assert pd.read_csv(more)["c"].mean() > table["c"].mean() + 0.15
    assert cli.run(command.main, [*words, "--history-metrics", metrics]) == 2  # an objective is missing
    assert cli.run(command.main, [*words, "--history-metrics", metrics, "--objective", "d_bpb"]) == 2
    assert cli.run(command.main, ["--corpora", "a,b", "--maximise", "c_acc", "--output", str(tmp_path / "n.csv")]) == 2


def test_names_that_python_takes_for_one_are_two_columns(tmp_path):
    """\u304b + \u3099 and \u304c are one identifier to Python, and two columns of somebody's table."""
    first, more = tmp_path / "ratios.csv", tmp_path / "more.csv"
    names = ["\u304c", "\u304b\u3099", "\uff41", "a"]
    first.write_text(f"run,{','.join(names)}\np000,0.4,0.3,0.2,0.1\np001,0.1,0.2,0.3,0.4\n", encoding="utf-8")
    assert cli.run(command.main, ["--history", str(first), "--runs", "4", "--output", str(more)]) == 0
    assert list(pd.read_csv(more).columns) == ["run", *names]


def _measured(constraints, best, n=16, seed=0, noise=0.0):
    """Runs whose first loss is least at `best`, and whose second one falls with the last corpus."""
    w = propose(constraints, n, seed=seed, floor=0.01)
    first = 2.0 + 3.0 * ((np.sqrt(w) - np.sqrt(best)) ** 2).sum(1)
    second = 1.0 + 0.5 * (0.05 + w[:, -1]) ** -0.5
    return w, np.c_[first, second] + noise * np.random.default_rng(seed).standard_normal((n, 2))


def test_a_second_round_goes_around_the_optimum_and_trains_nothing_twice():
    constraints, best = Constraints(corpora=list("abcde")), np.array([0.5, 0.2, 0.2, 0.05, 0.05])
    w, y = _measured(constraints, best)
    more = propose(constraints, 16, 0, (w, y), 0.01, objective=[1.0, 0.0])
    far = np.abs(more - best).sum(1)
    assert np.median(far) < 0.7 * np.median(np.abs(w - best).sum(1))
    both = np.vstack([w, more])
    gaps = np.abs(both[:, None] - both[None]).sum(2) + 9 * np.eye(len(both))
    assert gaps.min() > 0.005 and more.min() >= 0.01 - 1e-9
    again = propose(constraints, 16, 0, (w, y), 0.01, objective=[1.0, 0.0])
    assert (more == again).all()


def test_a_second_round_keeps_to_ceilings(tmp_path):
    constraints, best = Constraints(corpora=list("abcde")), np.array([0.6, 0.2, 0.1, 0.05, 0.05])
    w, y = _measured(constraints, best, 20)
    for name, columns, values in (("r.csv", list("abcde"), w), ("m.csv", ["x_bpb", "y_bpb"], y)):
        table = pd.DataFrame(values, columns=columns)
        table.insert(0, "run", [f"p{i:03d}" for i in range(18)] + ["h000", "h001"])
        table.to_csv(tmp_path / name, index=False)
    words = ["--corpora", "a,b,c,d,e", "--runs", "12", "--history", tmp_path / "r.csv", "--history-metrics"]
    words += [tmp_path / "m.csv", "--objective", "x_bpb", "--append"]
    made = {}
    for name, more in (("free", []), ("low", ["--ceiling", "y_bpb=1.9"])):
        out = tmp_path / f"{name}.csv"
        assert cli.run(command.main, [*map(str, words), *more, "--output", str(out)]) == 0
        made[name] = pd.read_csv(out, index_col="run")
        assert list(made[name].index[:20]) == [f"p{i:03d}" for i in range(18)] + ["h000", "h001"]
        assert list(made[name].index[20:]) == [f"p{i:03d}" for i in range(18, 30)]
        assert np.abs(made[name].to_numpy()[:20] - w).max() < 1e-9
    free, low = (made[name]["e"][20:].median() for name in ("free", "low"))
    assert free < 0.15 and low > 0.2  # 0.26 of it is what the ceiling asks for


def test_held_out_runs_of_the_first_round_are_not_gone_by(tmp_path, capsys):
    constraints = Constraints(corpora=list("abc"))
    w, y = _measured(constraints, np.array([0.5, 0.3, 0.2]), 12)
    y[10:] = 0.5  # two held-out runs that would be the best of all
    for name, columns, values in (("r.csv", list("abc"), w), ("m.csv", ["x_bpb", "y_bpb"], y)):
        table = pd.DataFrame(values, columns=columns)
        table.insert(0, "run", [f"p{i:03d}" for i in range(10)] + ["h000", "h001"])
        table.to_csv(tmp_path / name, index=False)
    words = ["--corpora", "a,b,c", "--runs", "6", "--history", "r.csv", "--history-metrics", "m.csv"]
    words = [str(tmp_path / word) if word.endswith(".csv") else word for word in words]
    assert cli.run(command.main, [*words, "--objective", "x_bpb", "--output", str(tmp_path / "o.csv")]) == 0
    assert "2 held-out run(s), h000 and on, are left to judge the fit" in capsys.readouterr().err
    made = pd.read_csv(tmp_path / "o.csv", index_col="run")
    assert list(made.index) == [f"p{i:03d}" for i in range(10, 16)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--append"], "--append belongs to --history"),
        (["--ceiling", "x=+5%"], "--ceiling belongs to --objective"),
        (["--minimise", "x"], "--minimise belongs to --objective"),
    ],
)
def test_options_of_a_second_round_without_one(tmp_path, capsys, words, said):
    assert cli.run(command.main, ["--corpora", "a,b", *words, "--output", str(tmp_path / "o.csv")]) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "o.csv").exists()


def test_runs_of_another_scale_are_not_gone_by(tmp_path, capsys):
    w, y = _measured(Constraints(corpora=list("abc")), np.array([0.5, 0.3, 0.2]), 16)
    names = [f"p{i:03d}" for i in range(16)]
    made = {}
    for name, count in (("both", 16), ("one", 12)):
        values = y.copy()
        values[12:] -= 1.0  # larger models, so that they would be the best of all
        for kind, columns, table in (("r", list("abc"), w), ("m", ["x_bpb", "y_bpb"], values)):
            frame = pd.DataFrame(table, columns=columns).assign(run=names)
            frame = frame if kind == "r" else frame.assign(size=["1M"] * 12 + ["9M"] * 4)
            frame[:count].to_csv(tmp_path / f"{kind}{name}.csv", index=False)
        words = ["--corpora", "a,b,c", "--runs", "6", "--history", tmp_path / f"r{name}.csv", "--objective", "x_bpb"]
        words += ["--history-metrics", tmp_path / f"m{name}.csv", "--output", tmp_path / f"{name}.csv"]
        assert cli.run(command.main, list(map(str, words))) == 0
        made[name] = pd.read_csv(tmp_path / f"{name}.csv").iloc[:, 1:].to_numpy()
    assert "go by the 12 of 1M" in capsys.readouterr().err
    assert (made["both"] == made["one"]).all()
