"""Runs trained several times: the noise they tell, how a table with them is read, what the search makes of it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from haigo.cli import HaigoError
from mixer import proxies, replicates
from mixer.objective import Objective
from mixer.recommend import recommend
from mixer.search import SearchOptions, search
from mixer.supply import Constraints

CORPORA = ["news", "wiki", "code"]


def swarm(mixtures: int = 12, times: int = 2, noise: float = 0.02, effect: float = 0.1, seed: int = 0):
    """Names, seeds, weights and losses (news, wiki) of a swarm with `times` seeds, each with an effect on all mixtures."""
    rng = np.random.default_rng(seed)
    w = 0.05 + 0.85 * rng.dirichlet(np.ones(3), size=mixtures)
    names, seeds, losses = [], [], []
    shift = effect * rng.standard_normal((times, 2))
    for number in range(times):
        for i in range(mixtures):
            names.append(f"p{i:03d}" if number == 0 else f"p{i:03d}@{number + 1}")
            seeds.append(str(100 + number))
            clean = 1.0 + 0.5 * (0.05 + w[i, :2]) ** -0.3
            losses.append(clean + shift[number] + noise * rng.standard_normal(2))
    return names, seeds, w, np.array(losses)


def write(folder, names, seeds, w, losses, tokens="1000", extra="", cells=""):
    lines = ["run," + ",".join(CORPORA)]
    lines += [f"p{i:03d}," + ",".join(f"{x:.6f}" for x in row / row.sum()) for i, row in enumerate(w)]
    (folder / "ratios.csv").write_text("\n".join(lines) + "\n")
    lines = ["run,news_bpb,wiki_bpb,tokens,seed" + extra]
    lines += [f"{n},{y[0]:.6f},{y[1]:.6f},{tokens},{s}{cells}" for n, s, y in zip(names, seeds, losses, strict=True)]
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    return str(folder / "ratios.csv"), str(folder / "metrics.csv")


def changed(path, change):
    text = Path(path).read_text(encoding="utf-8")
    assert change(text) != text
    Path(path).write_text(change(text), encoding="utf-8")


def test_names():
    assert replicates.split("p003@2") == ("p003", 2) and replicates.split("p003") == ("p003", 1)
    assert replicates.split("a@b") == ("a@b", 1) and replicates.split("a@0") == ("a@0", 1)


def test_what_a_seed_does_to_all_alike_is_taken_off():
    names, seeds, _, losses = swarm(mixtures=200, times=3)
    found = replicates.noise(names, seeds, losses)
    assert found.mixtures == 200 and found.free == 400 and found.free_between == 398
    assert found.sd_between == pytest.approx([0.02, 0.02], rel=0.12)
    assert (found.sd > 2 * found.sd_between).all()
    assert found.known is found.sd_between
    own = replicates.noise(names, [str(i) for i in range(len(names))], losses)
    assert own.sd_between is None and own.known is own.sd
    assert replicates.noise(names, [""] * len(names), losses).known == pytest.approx(found.sd)
    assert replicates.noise(names[:200], seeds[:200], losses[:200]) is None


def test_few_replicates_are_not_relied_on():
    names, seeds, _, losses = swarm(mixtures=4, times=2)
    few = replicates.noise(names, seeds, losses)
    assert few.free_between == 3 and few.known is None
    # a mixture whose second seed nobody else has tells of that seed, not of the noise
    lone = replicates.noise([*names, "p000@3"], [*seeds, "7"], np.vstack([losses, losses[:1]]))
    assert lone.free == 5 and lone.free_between == 3


def test_a_table_with_replicates_is_one_row_a_mixture(tmp_path):
    names, seeds, w, losses = swarm()
    order = np.random.default_rng(5).permutation(len(names))
    files = write(tmp_path, [names[i] for i in order], [seeds[i] for i in order], w, losses[order])
    table = proxies.read(*files)
    assert table.runs == [f"p{i:03d}" for i in range(12)] and table.repeats == [2] * 12
    assert table.losses == pytest.approx((losses[:12] + losses[12:]) / 2, abs=1e-5)
    assert table.noise is not None and 0.005 < table.noise[0] < 0.06
    rest, half = table.split("p01")
    assert rest.repeats == [2] * 10 and half.repeats == [2, 2]
    # a replicate whose run is not there counts for it; one of a run that no table has does not
    lone = write(tmp_path, [*names[1:], "x@2"], [*seeds[1:], "1"], w, np.vstack([losses[1:], losses[:1]]))
    table = proxies.read(*lone)
    assert table.repeats == [1] + [2] * 11 and any("x@2" in note for note in table.notes)


def test_a_run_of_the_table_may_bear_such_a_name(tmp_path):
    names, seeds, w, losses = swarm(times=1)
    ratios, metrics = write(tmp_path, names, seeds, w, losses)
    for path in (ratios, metrics):
        changed(path, lambda text: text.replace("p003,", "p002@2,"))
    table = proxies.read(ratios, metrics)
    assert len(table.runs) == 12 and "p002@2" in table.runs and set(table.repeats) == {1}


def test_replicates_of_other_runs_are_refused(tmp_path):
    names, seeds, w, losses = swarm()
    ratios, metrics = write(tmp_path, names, seeds, w, losses)
    changed(metrics, lambda text: re.sub(r"(?m)^(p004@2,.*),1000,", r"\1,2000,", text))
    with pytest.raises(HaigoError, match="'p004@2' and 'p004' are replicates and differ in size or tokens"):
        proxies.read(ratios, metrics)


def test_how_much_a_run_tells_by_its_trainings():
    known, residual = np.array([0.02]), np.array([0.02])
    assert replicates.counts(np.array([1.0, 1.0]), known, residual).tolist() == [1.0, 1.0]
    # all noise: as many runs as trainings; hardly any noise: one run, however often
    many = replicates.counts(np.array([1.0] * 50 + [4.0]), known, residual)
    assert many[-1] == pytest.approx(4.0, rel=0.1) and many[0] == pytest.approx(1.0)
    little = replicates.counts(np.array([1.0, 4.0]), known, np.array([1.0]))
    assert little[1] == pytest.approx(1.0, abs=0.01)


def test_known_noise_is_the_least_of_an_interval():
    _, _, w, losses = swarm(mixtures=16, times=1, noise=0.001)
    goal, limits = Objective(weights={"news_bpb": 1.0}), Constraints(corpora=CORPORA)
    common = {"metrics": ["news_bpb", "wiki_bpb"], "bootstrap": 20, "force": True}
    plain = recommend(w / w.sum(1, keepdims=True), losses, goal, limits, **common)
    told = recommend(
        w / w.sum(1, keepdims=True), losses, goal, limits, run_noise=np.array([0.2, 0.0]), repeats=[1] * 16, **common
    )
    wide, narrow = (np.ptp(made.prediction["news_bpb"]["interval"]) for made in (told, plain))
    assert wide >= 2 * 1.64 * 0.2 * 0.99 and wide > 3 * narrow
    assert np.ptp(told.prediction["wiki_bpb"]["interval"]) == pytest.approx(
        np.ptp(plain.prediction["wiki_bpb"]["interval"]), rel=0.05
    )
    assert told.expected_regret > plain.expected_regret


def test_a_search_over_replicates_says_so(tmp_path):
    files = write(tmp_path, *swarm(mixtures=16, noise=0.005))
    made = search(SearchOptions(ratios=files[0], metrics=files[1], objective=["news_bpb"], bootstrap=10))
    assert any("16 run(s) were trained several times" in note for note in made.notes)
    assert made.weights[0] > 0.5


def test_matched_repetition_is_not_discounted_twice(tmp_path):
    names, seeds, w, losses = swarm(mixtures=16, times=1, noise=0.002)
    (tmp_path / "supply.csv").write_text("corpus,tokens\nnews,1e9\nwiki,8e9\ncode,9e9\n")

    def answer(extra="", cells="", target=10e9):
        files = write(tmp_path, names, seeds, w, losses, extra=extra, cells=cells)
        limits = {"supply": str(tmp_path / "supply.csv"), "target_tokens": target, "max_epochs": 9, "kl": 0.0}
        return search(SearchOptions(ratios=files[0], metrics=files[1], objective=["news_bpb"], bootstrap=10, **limits))

    plain, matched = answer(), answer(",epochs_matched", ",1e+10")
    hard = answer()
    assert plain.weights == pytest.approx(hard.weights)
    assert matched.prediction["news_bpb"]["mean"] < plain.prediction["news_bpb"]["mean"]
    assert any("repetition is not discounted again" in note for note in matched.notes)
    other = answer(",epochs_matched", ",1e+10", target=5e9)
    assert any("as a run of 1e+10 tokens would" in note for note in other.notes)
    ratios, metrics = write(tmp_path, names, seeds, w, losses, extra=",epochs_matched", cells=",1e+10")
    changed(metrics, lambda text: text.replace("1e+10", "2e+10", 1))
    with pytest.raises(HaigoError, match="matched to different target runs"):
        proxies.read(ratios, metrics)
