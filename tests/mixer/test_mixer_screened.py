"""n-gram losses as a help to the law: what they are worth with few proxies, and that they do no harm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from haigo import cli
from haigo.cli import HaigoError
from mixer import search as search_command
from mixer.design import propose
from mixer.laws import make
from mixer.objective import Objective
from mixer.recommend import recommend
from mixer.screened import COUNT, Screen, read
from mixer.supply import Constraints

CORPORA = ["news", "wiki", "diet", "code", "english"]
METRICS = [f"{name}_bpb" for name in CORPORA[:3]]
PULL = np.array([[3.0, 1.0, 0.6, 0.05, 0.1], [0.8, 2.5, 0.5, 0.1, 0.2], [0.5, 0.6, 3.0, 0.05, 0.05]])


def losses(weights: np.ndarray, bend: float = 0.5) -> np.ndarray:
    """A world: losses (n, 3) that fall with the shares of the corpora that help."""
    return np.asarray(1.5 + 1.2 * (0.05 + weights**bend @ PULL.T) ** -0.4)


def counted(weights: np.ndarray) -> np.ndarray:
    """What counting says of it: another level, other differences, another bend, about the same order."""
    return np.asarray(0.4 + 0.5 * losses(weights, 0.7))


def world(runs: int, seed: int, noise: float = 0.01) -> tuple[np.ndarray, np.ndarray, Screen]:
    limits = Constraints(corpora=CORPORA)
    weights = propose(limits, runs, seed, floor=0.02)
    more = propose(limits, 64, seed + 100, floor=0.02)
    measured = losses(weights) + noise * np.random.default_rng(seed).standard_normal((runs, 3))
    return weights, measured, Screen(weights=more, losses=counted(more), at_runs=counted(weights))


@pytest.mark.parametrize("runs", [4, 6, 10])
def test_few_proxies_predict_better_with_a_screen(runs: int) -> None:
    fresh = np.random.default_rng(5).dirichlet(np.ones(5), 200) * 0.9 + 0.02
    truth, without, with_it = losses(fresh), [], []
    for seed in range(4):
        weights, measured, screen = world(runs, seed)
        for found, given in ((without, None), (with_it, screen)):
            guess = make("law").fit(weights, measured, screen=given).predict(fresh)
            found.append(float(np.sqrt(((guess - truth) ** 2).mean())))
    assert np.mean(with_it) < 0.9 * np.mean(without)


def test_many_proxies_are_not_led_astray_by_a_wrong_screen() -> None:
    weights, measured, screen = world(32, 1)
    wrong = Screen(weights=screen.weights, losses=screen.losses[:, ::-1], at_runs=screen.at_runs[:, ::-1])
    fresh = np.random.default_rng(5).dirichlet(np.ones(5), 200) * 0.9 + 0.02
    error = [
        float(np.sqrt(((make("law").fit(weights, measured, screen=s).predict(fresh) - losses(fresh)) ** 2).mean()))
        for s in (None, wrong)
    ]
    assert error[1] < 1.3 * error[0]


def test_a_screen_that_contradicts_the_proxies_says_nothing() -> None:
    weights, measured, screen = world(12, 2)
    upside = Screen(weights=screen.weights, losses=-screen.losses, at_runs=-screen.at_runs)
    _, counts = upside.anchors(measured)
    assert not counts.any()
    plain, same = (make("law").fit(weights, measured, screen=s).predict(weights) for s in (None, upside))
    # the same runs and the same weight for each: only the law's scales see the mixtures
    assert np.abs(plain - same).max() < 0.05


def test_the_screen_counts_as_its_constant_says_and_less_where_it_disagrees() -> None:
    _, measured, screen = world(12, 3, noise=0.0)
    made, counts = screen.anchors(measured)
    assert made.shape == counts.shape == (64, 3)
    assert (counts.sum(axis=0) <= COUNT + 1e-9).all() and (counts.sum(axis=0) > 0.9 * COUNT).all()
    assert np.corrcoef(made[:, 0], losses(screen.weights)[:, 0])[0, 1] > 0.98
    assert abs(made.mean() - losses(screen.weights).mean()) < 0.05
    noisy = measured + np.random.default_rng(0).standard_normal(measured.shape)
    assert (screen.anchors(noisy)[1].sum(axis=0) < 0.7 * COUNT).all()


def test_a_metric_that_was_not_screened_is_fitted_as_without() -> None:
    weights, measured, screen = world(10, 4)
    partly = Screen(
        weights=screen.weights,
        losses=np.where([True, False, True], screen.losses, np.nan),
        at_runs=np.where([True, False, True], screen.at_runs, np.nan),
    )
    made, counts = partly.anchors(measured)
    assert np.isfinite(made).all() and not counts[:, 1].any() and counts[:, 0].all()
    guess = make("law").fit(weights, measured, screen=partly).predict(weights)
    assert np.isfinite(guess).all()


def test_left_out_runs_do_not_lend_the_screen_their_own_loss() -> None:
    """The line from counts to losses is fitted again without the run that is predicted."""
    weights, measured, screen = world(6, 5)
    law = make("law").fit(weights, measured, screen=screen)
    before = law.left_out()
    other = measured.copy()
    other[0] += 5.0
    after = make("law").fit(weights, other, screen=screen).left_out()
    alone = make("law").fit(weights[1:], other[1:], screen=Screen(
        weights=screen.weights, losses=screen.losses, at_runs=screen.at_runs[1:])).predict(weights[:1])  # fmt: skip
    assert np.abs(alone - before[0]).max() < 0.1  # the run's own loss, 5 higher or not, moves its prediction by little
    assert np.abs(after[0] - before[0]).max() < 0.6


def test_intervals_hold_the_truth_and_draws_are_repeatable() -> None:
    fresh = np.random.default_rng(6).dirichlet(np.ones(5), 100) * 0.9 + 0.02
    inside = []
    for seed in range(6):
        weights, measured, screen = world(8, seed)
        law = make("law").fit(weights, measured, screen=screen)
        mean, sd = law.predict(fresh), law.predict_std(fresh)
        inside.append((np.abs(losses(fresh) - mean) < 1.645 * sd).mean())
        again = make("law").fit(weights, measured, screen=screen)
        assert np.array_equal(again.predict_std(fresh), sd)
    assert np.mean(inside) > 0.8


def test_recommend_says_what_the_screen_was_worth() -> None:
    weights, measured, screen = world(6, 7)
    made = recommend(weights, measured, Objective(weights={"news_bpb": 1.0}), Constraints(corpora=CORPORA), 0, 20,
                     metrics=METRICS, screen=screen, force=True)  # fmt: skip
    note = next(note for note in made.notes if note.startswith("Screen of 64 n-gram mixtures"))
    assert "news_bpb 1.00" in note or "news_bpb 0.9" in note


def test_scores_that_are_better_when_higher_are_turned_round() -> None:
    weights, measured, screen = world(10, 8)
    objective = Objective(weights={"right": 1.0}, direction={"right": "max"})
    turned = Screen(weights=screen.weights, losses=-screen.losses[:, :1], at_runs=-screen.at_runs[:, :1])
    made = recommend(weights, -measured[:, :1], objective, Constraints(corpora=CORPORA), 0, 20, metrics=["right"],
                     screen=turned, force=True)  # fmt: skip
    plain = recommend(weights, measured[:, :1], Objective(weights={"news_bpb": 1.0}), Constraints(corpora=CORPORA), 0, 20,
                      metrics=["news_bpb"], screen=Screen(weights=screen.weights, losses=screen.losses[:, :1],
                                                          at_runs=screen.at_runs[:, :1]), force=True)  # fmt: skip
    assert np.abs(made.weights - plain.weights).max() < 1e-4


# --- files ---------------------------------------------------------------------------------------------------------------


def write(path: Path, header: list[str], rows: np.ndarray, names: list[str], last: str = "") -> None:
    lines = [",".join(["run", *header])]
    end = [last] if last else []
    lines += [",".join([name, *map(repr, row.tolist()), *end]) for name, row in zip(names, rows, strict=True)]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    weights, measured, screen = world(8, 9)
    names = [f"p{n:03d}" for n in range(8)]
    write(tmp_path / "ratios.csv", CORPORA, weights, names)
    write(tmp_path / "metrics.csv", METRICS, measured, names)
    (tmp_path / "screen").mkdir()
    more = [*names, *(f"s{n:03d}" for n in range(64))]
    write(tmp_path / "screen" / "ratios.csv", CORPORA, np.vstack([weights, screen.weights]), more)
    both = np.vstack([screen.at_runs, screen.losses])
    write(tmp_path / "screen" / "metrics.csv", [*METRICS, "size"], both, more, "2-gram")
    return tmp_path


def words(folder: Path, *more: str) -> list[str]:
    made = ["--ratios", str(folder / "ratios.csv"), "--metrics", str(folder / "metrics.csv"), "--objective", "news_bpb"]
    return [*made, "--bootstrap", "10", "--screen", str(folder / "screen"), *more]


def test_the_command_reads_a_screen(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert search_command.main(words(tables, "--output", str(tables / "mixture.yml"))) == cli.OK
    assert "Screen of 64 n-gram mixtures" in capsys.readouterr().out
    assert "screen/metrics.csv" in (tables / "mixture.yml").read_text()


def test_columns_may_stand_in_another_order(tables: Path) -> None:
    weights = np.loadtxt(tables / "ratios.csv", delimiter=",", skiprows=1, usecols=range(1, 6))
    runs = [f"p{n:03d}" for n in range(8)]
    straight = read(tables / "screen", runs, weights, CORPORA, METRICS)
    order = [2, 0, 1, 4, 3]
    turned = read(tables / "screen", runs, weights[:, order], [CORPORA[i] for i in order], METRICS[::-1])
    assert np.array_equal(turned.losses, straight.losses[:, ::-1])
    assert np.array_equal(turned.weights, straight.weights[:, order])


def test_mixtures_that_judge_the_fit_are_no_part_of_it(tables: Path) -> None:
    weights = np.loadtxt(tables / "ratios.csv", delimiter=",", skiprows=1, usecols=range(1, 6))
    runs = [f"p{n:03d}" for n in range(6)]
    made = read(tables / "screen", runs, weights[:6], CORPORA, METRICS, weights[6:])
    distance = 0.5 * np.abs(made.weights[:, None, :] - weights[6:][None]).sum(axis=2)
    assert len(made.weights) >= 60 and distance.min() > 1e-4
    with_them = read(tables / "screen", runs, weights[:6], CORPORA, METRICS)
    assert len(with_them.weights) > len(made.weights)


def test_a_screen_alone_is_a_table_like_any_other(tables: Path) -> None:
    place = tables / "screen"
    options = [
        "--ratios",
        str(place / "ratios.csv"),
        "--metrics",
        str(place / "metrics.csv"),
        "--objective",
        "news_bpb",
    ]
    assert search_command.main([*options, "--bootstrap", "10"]) == cli.OK


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("absent", "does not exist"),
        ("other corpora", "has other corpora than the proxies"),
        ("another table", "does not have the mixture of the run p005"),
        ("nothing more", "has the proxies' mixtures only"),
        ("other metrics", "no metric in common"),
        ("not a number", "has 'nan' for the metric"),
    ],
)
def test_a_screen_that_does_not_fit_is_refused(tables: Path, what: str, said: str) -> None:
    place = tables / "screen"
    ratios, metrics = place / "ratios.csv", place / "metrics.csv"
    if what == "absent":
        ratios.unlink()
    elif what == "other corpora":
        ratios.write_text(ratios.read_text().replace("english", "french"))
    elif what == "another table":
        lines = ratios.read_text().splitlines()
        ratios.write_text("\n".join([*lines[:6], "p005,0.9,0.025,0.025,0.025,0.025", *lines[7:]]) + "\n")
    elif what == "nothing more":
        for path in (ratios, metrics):
            path.write_text("\n".join(path.read_text().splitlines()[:9]) + "\n")
    elif what == "other metrics":
        metrics.write_text(metrics.read_text().replace("_bpb", "_loss"))
    else:
        lines = metrics.read_text().splitlines()
        metrics.write_text("\n".join([*lines[:4], "p003,nan,nan,nan,2-gram", *lines[5:]]) + "\n")
    with pytest.raises(HaigoError) as caught:
        search_command.main(words(tables))
    assert said in f"{caught.value.problem} {caught.value.fix}"


def test_a_screen_does_not_go_with_earlier_swarms(tables: Path) -> None:
    again = ["--earlier", str(tables / "ratios.csv"), str(tables / "metrics.csv")]
    with pytest.raises(HaigoError, match="--earlier"):
        search_command.main(words(tables, *again))
