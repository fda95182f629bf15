"""One table of several sizes and token counts, and a target of its own: `mixer.scale_law` and `mixer.lifted`."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import yaml

from haigo import cli
from mixer import lifted, scales
from mixer import search as command
from mixer.laws_share import EffectiveShareLaw
from mixer.report_card import rank_correlation
from mixer.scale_law import ScaleLaw

NAMES = ["news", "wiki", "code", "tales"]
METRICS = ["news_bpb", "code_bpb", "tales_bpb"]
HELP = np.array([[3.0, 1.0, 0.1, 0.6], [0.2, 0.3, 4.0, 0.1], [0.7, 0.4, 0.1, 2.5]])
SIZES, TOKENS = {"1M": 1e6, "2M": 2e6, "4M": 4e6, "8M": 8e6}, (1e8, 3e8)


def world(w, size, tokens, moving=1.0):
    """Losses of no law's form: a logistic of what corpora help, levels that fall with size and tokens; `moving`: with the size
    wiki comes to help code as much as code does."""
    help_ = HELP.copy()
    help_[1, 1] += moving * 1.2 * np.log(size / 1e6)
    useful = np.log1p(3.0 * w) @ help_.T
    fall = 1.6 * (size / 1e6) ** -0.25 + 1.2 * (tokens / 1e8) ** -0.3
    return 1.2 + 0.8 * fall + 0.9 * (size / 1e6) ** -0.1 / (1.0 + np.exp(useful - 1.5))


def mixtures(n, seed):
    return np.random.default_rng(seed).dirichlet(np.full(4, 0.8), n)


def swarm(moving=1.0, seed=0, sizes=("1M", "2M", "4M")):
    """Weights, losses, sizes and tokens of runs of several scales; most of the smallest."""
    rows = []
    for number, (size, tokens) in enumerate((size, tokens) for size in sizes for tokens in TOKENS):
        w = mixtures(24 if number == 0 else 8, seed * 100 + number)
        y = world(w, SIZES[size], tokens, moving)
        y = y + 0.004 * np.random.default_rng([seed, number]).standard_normal(y.shape)
        rows += [(a, b, size, tokens) for a, b in zip(w, y, strict=True)]
    weights, losses, size, tokens = zip(*rows, strict=True)
    return np.array(weights), np.array(losses), list(size), list(tokens)


def tables(folder, w, y, **columns):
    runs = [f"p{i}" for i in range(len(w))]
    pd.DataFrame(w, columns=NAMES).assign(run=runs).to_csv(folder / "ratios.csv", index=False)
    pd.DataFrame(y, columns=METRICS).assign(run=runs, **columns).to_csv(folder / "metrics.csv", index=False)
    return ["--ratios", str(folder / "ratios.csv"), "--metrics", str(folder / "metrics.csv"), "--bootstrap", "10",
            "--objective", "news_bpb,code_bpb,tales_bpb"]  # fmt: skip


def found(folder, words, code=0):
    out = folder / "m.yml"
    assert cli.run(command.main, [*words, "--output", str(out)]) == code
    return yaml.safe_load(out.read_text())


def others_of(w, y, size, tokens, aim):
    names = scales.scales(size, tokens)
    parts = scales.sort(names, aim[0], "m", None, aim[1])
    small = lifted.Runs(w[parts.fit], y[parts.fit], None)
    rest = parts.other
    return small, lifted.Others(weights=w[rest], losses=y[rest], at=parts.at, aim=parts.aim, beyond=parts.beyond)


def test_the_slopes_of_the_joint_law_are_those_of_its_values():
    w, y, size, tokens = swarm()
    at = np.log(np.c_[[SIZES[s] / 1e6 for s in size], np.array(tokens) / 1e8])
    law = ScaleLaw().fit(w, y, at)
    scale = np.c_[law.scale_, law.unit_]
    theta = law.theta_ + 0.05
    value, jacobian = law._curve(theta, scale, law._logs, law.at_)
    for j in range(theta.shape[1]):
        step = theta.copy()
        step[:, j] += 1e-6
        change = (law._curve(step, scale, law._logs, law.at_)[0] - value) / 1e-6
        assert np.allclose(change, jacobian[:, :, j], atol=1e-4 + 1e-3 * np.abs(change).max())
    plain = EffectiveShareLaw().fit(w[~at.any(axis=1)], y[~at.any(axis=1)])
    assert np.abs(law.predict(w, [0.0, 0.0]) - plain.predict(w)).max() < 0.1


@pytest.mark.parametrize("seed", [0, 1])
def test_levels_and_ranks_at_twice_the_largest_size(seed):
    small, others = others_of(*swarm(seed=seed), ("8M", 3e8))
    step = lifted.lift(small, others, np.ones(3), seed, 30, True)
    law = EffectiveShareLaw().fit(*step.runs)
    law.moved = step.draws
    fresh = mixtures(100, 77)
    truth, guess = world(fresh, 8e6, 3e8), law.predict(fresh)
    assert np.mean(np.abs(guess - truth) / truth) < 0.02
    law.bootstrap(30)
    sd = np.sqrt(law.predict_draws(fresh).var(axis=0) + step.noise**2)
    assert np.mean(np.abs(guess - truth) < 1.645 * sd) > 0.8
    plain = EffectiveShareLaw().fit(small.weights, small.losses).predict(fresh)
    assert step.moved
    assert rank_correlation(guess[:, 1], truth[:, 1]) > rank_correlation(plain[:, 1], truth[:, 1])


def test_weights_stay_where_nothing_says_that_they_move():
    small, others = others_of(*swarm(moving=0.0), ("8M", 3e8))
    step = lifted.lift(small, others, np.ones(3), 0, 10, True)
    assert not step.moved and "do not move" in step.notes[-1]
    there = step.runs.losses[: len(small.losses)]
    assert rank_correlation(small.losses.mean(axis=1), there.mean(axis=1)) > 0.99


def test_a_target_beyond_all_scales(tmp_path, capsys):
    w, y, size, tokens = swarm()
    words = tables(tmp_path, w, y, size=size, tokens=tokens)
    near = found(tmp_path, [*words, "--target-size", "8M", "--target-tokens", "300M"])
    truth = world(np.array([list(near["weights"].values())]), 8e6, 3e8)[0]
    assert near["prediction"]["news_bpb"]["interval"][0] <= truth[0] <= near["prediction"]["news_bpb"]["interval"][1]
    assert near["scale"]["moved"] and near["scale"]["times_largest_seen"] == 2.0
    assert (
        near["scale"]["worth"]["interval"][0] <= near["scale"]["worth"]["mean"] <= near["scale"]["worth"]["interval"][1]
    )
    assert any("ranking assumed to transfer" in note for note in near["notes"])
    capsys.readouterr()
    far = found(tmp_path, [*words, "--target-size", "1B", "--target-tokens", "20B"])
    shown = capsys.readouterr().out
    assert "Predicted gain over uniform, extrapolated to the target:" in shown
    assert far["prediction"] == {} and "predicted" not in shown.split("Fit")[0].replace("Predicted gain", "")
    assert any("No level of a loss is said: the target is 250 times the largest seen" in note for note in far["notes"])
    assert round(sum(far["weights"].values()), 9) == 1
    assert found(tmp_path, [*words, "--target-size", "1B", "--target-tokens", "20B", "--force"])["prediction"]


def test_one_scale_knows_nothing_of_another(tmp_path, capsys):
    w, y = mixtures(24, 3), world(mixtures(24, 3), 1e6, 1e8)
    words = tables(tmp_path, w, y + 0.003 * np.random.default_rng(0).standard_normal(y.shape), size="1M", tokens=1e8)
    capsys.readouterr()
    made = found(tmp_path, [*words, "--target-size", "2.7B", "--target-tokens", "100B"])
    assert ", at the scale of the proxies: " in capsys.readouterr().out
    assert made["prediction"] == {} and not made["scale"]["moved"]
    assert any("nothing is known of how ranks transfer" in note for note in made["notes"])
    plain = found(tmp_path, words)
    assert plain["weights"] == made["weights"] and "scale" not in plain


def test_columns_of_one_size_and_token_count_change_nothing(tmp_path):
    w, y = mixtures(20, 4), world(mixtures(20, 4), 1e6, 1e8)
    without, with_ = (found(tmp_path, tables(tmp_path, w, y, **more)) for more in ({}, {"size": "1M", "tokens": 1e8}))
    for key in set(without) - {"provenance"}:
        assert without[key] == with_[key]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--target-size", "huge"], "has no runs of the size 'huge'"),
        (["--target-size", "8M", "--target-tokens", "many"], "many is not a number"),
        (["--target-size", "8M", "--target-tokens", "0"], "target"),
        (["--target-tokens", "1B"], "nothing says how many tokens"),
    ],
)
def test_bad_targets_are_told(tmp_path, capsys, more, said):
    w, y, size, tokens = swarm()
    assert cli.run(command.main, [*tables(tmp_path, w, y, size=size, tokens=tokens), *more]) == 2
    assert said in capsys.readouterr().err


def test_places_of_scales():
    names = ["1M, 1e+09 tokens"] * 4 + ["60M, 5e+09 tokens"] * 2
    parts = scales.sort(names, "2.7B", "m", None, 1e11)
    assert np.allclose(parts.aim, np.log([2700, 100])) and np.allclose(parts.at, np.log([[60, 5]] * 2))
    assert round(parts.beyond, 6) == 45 and parts.fit.tolist() == [0, 1, 2, 3]
    assert scales.sort(["1M, 1e+09 tokens"] * 3, "2.7B", "m").beyond == np.inf
    seen = scales.sort(names, "60M", "m")
    assert seen.beyond == 1 and np.allclose(seen.aim, np.log([60, 5]))
    assert scales.sort(["", ""], "7B", "m").beyond == np.inf
    named = scales.sort(["tiny"] * 4 + ["base"] * 3 + ["odd"], "base", "m")
    assert named.at.tolist() == [[scales.UNNAMED]] * 3 and "odd" in named.notes[-1]


def test_points_of_a_learning_curve_count_less():
    w = np.repeat(mixtures(2, 0), [4, 1], axis=0)
    at = np.array([[1.0, 0.0], [1.0, 0.5], [1.0, 1.0], [1.0, 1.5], [1.0, 1.5]])
    others = lifted.Others(weights=w, losses=np.ones((5, 1)), at=at, aim=np.zeros(2))
    assert np.allclose(lifted._once(others), [5 / 8] * 4 + [1.0])


@pytest.mark.parametrize("scale", ["1M", "4M"])
def test_held_out_runs_are_judged_at_their_own_scale(tmp_path, scale):
    w, y, size, tokens = swarm()
    held = mixtures(6, 900)
    w, y = np.vstack([w, held]), np.vstack([y, world(held, SIZES[scale], TOKENS[0])])
    words = tables(tmp_path, w, y, size=[*size, *[scale] * 6], tokens=[*tokens, *[TOKENS[0]] * 6])
    for name in ("ratios.csv", "metrics.csv"):
        text = (tmp_path / name).read_text()
        for i in range(len(w) - 6, len(w)):
            text = text.replace(f"p{i}\n", f"h{i}\n").replace(f"p{i},", f"h{i},")
        (tmp_path / name).write_text(text)
    more = ["--held-out", "h", "--target-size", "4M", "--target-tokens", f"{TOKENS[0]:g}", "--supply"]
    (tmp_path / "supply.csv").write_text("corpus,tokens\n" + "".join(f"{name},1e9\n" for name in NAMES))
    card = found(tmp_path, [*words, *more, str(tmp_path / "supply.csv")])["fit"]["held_out"]["metrics"]["objective"]
    assert card["r2"] > 0.8


@pytest.mark.parametrize("size", ["0", "1e400B"])
def test_a_size_that_no_model_has_is_told(tmp_path, capsys, size):
    w, y, sizes, tokens = swarm(sizes=("1M", "2M"))
    words = tables(tmp_path, w, y, size=sizes, tokens=tokens)
    assert cli.run(command.main, [*words, "--target-size", size]) == 2
    assert f"no runs of the size '{size}'" in capsys.readouterr().err


def test_compared_methods_say_no_levels_far_beyond_all_scales(tmp_path):
    w, y, sizes, tokens = swarm(sizes=("1M", "2M"))
    made = found(tmp_path, [*tables(tmp_path, w, y, size=sizes, tokens=tokens), "--target-size", "70B", "--compare"])
    assert not made["prediction"] and made["compared"]
    assert not any({"metrics", "objective"} & set(row) for row in made["compared"])


def test_what_moving_is_worth_is_asked_of_the_law_alone_and_below_the_ceilings(tmp_path):
    w, y, sizes, tokens = swarm()
    words = tables(tmp_path, w, y, size=sizes, tokens=tokens)
    other = found(tmp_path, [*words, "--method", "uniform"])
    assert "worth" not in other["scale"] and not any("Moving the weights" in note for note in other["notes"])
    free = found(tmp_path, words)["scale"]
    held = found(tmp_path, [*words, "--ceiling", "code_bpb=-4%"])["scale"]
    assert free["moved"] and held["moved"]
    assert held["small_scale_weights"]["code"] > free["small_scale_weights"]["code"] + 0.02


def test_corpora_that_never_vary_apart_have_weights_of_their_own_at_the_small_scale(tmp_path):
    w, y, sizes, tokens = swarm()
    words = tables(tmp_path, w, y, size=sizes, tokens=tokens)
    table = pd.read_csv(tmp_path / "ratios.csv")
    table["more_news"] = table["news"] / 3
    table["news"] -= table["more_news"]
    table.to_csv(tmp_path / "ratios.csv", index=False)
    small = found(tmp_path, words)["scale"]["small_scale_weights"]
    assert set(small) == {*NAMES, "more_news"} and sum(small.values()) == pytest.approx(1.0, abs=1e-3)
    assert small["news"] == pytest.approx(2 * small["more_news"], abs=1e-3)
