"""mixer.budget: a plan spends what is given, says what it would come to, and is one that the other commands take."""

from __future__ import annotations

import json
import shlex

import numpy as np
import pandas as pd
import pytest

from haigo import cli, yamlfile
from mixer import budget, design, expected_regret, rates
from mixer.expected_regret import Scale, Swarm
from mixer.rates import Rate
from mixer.splits import Aim, needed, splits

RATES = "model,parameters,tokens_per_s,device\n0-3M,1.1e6,9000,core\n1M,3.1e6,3300,core\n4M,8.1e6,1000,core\n"
CORPORA = ["--corpora", "web,news,wiki,code"]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "rates.csv"
    path.write_text(RATES)
    return str(path)


def called(capsys, *words):
    code = cli.run(budget.main, list(map(str, words)))
    out = capsys.readouterr()
    assert "Traceback" not in out.err
    return code, out.out, out.err


def plan(capsys, *words):
    code, out, _ = called(capsys, *words, "--json")
    assert code == 0
    return json.loads(out)


def test_no_split_costs_more_than_the_budget_and_the_best_is_chosen(capsys, table):
    made = plan(capsys, "--hours", 3, "--rates", table, *CORPORA, "--rows", 100)
    speed = {"0-3M": 9000, "1M": 3300, "4M": 1000}
    for each in made["splits"]:
        trained = each["runs"] * each["replicates"] + each["twice"] + each["held_out"]
        assert each["hours"] <= 3 and each["hours"] == pytest.approx(
            trained * each["tokens"] / speed[each["model"]] / 3600
        )
    assert {each["model"] for each in made["splits"]} == set(speed)
    assert made["chosen"]["regret"] == min(each["regret"] for each in made["splits"])


def test_more_hours_are_never_worse(capsys, table):
    given = rates.read(table)
    regret = [splits(given, hours, Aim(corpora=6, size=1e9, tokens=2e10))[0].regret for hours in (0.3, 1, 4, 20, 200)]
    assert regret == sorted(regret, reverse=True)


def test_a_larger_target_asks_for_larger_proxies(table):
    given = rates.read(table)
    near, far = (splits(given, 20, Aim(corpora=6, size=size))[0] for size in (1e6, 1e11))
    assert far.parameters > near.parameters and far.rank < near.rank
    assert needed(Aim(corpora=6, size=1e9)) > needed(Aim(corpora=6, size=1e8))


def test_no_proxy_is_longer_than_the_target(table):
    made = splits(rates.read(table), 1000, Aim(corpora=4, tokens=50_000))
    assert made and max(each.tokens for each in made) <= 50_000


def test_what_regret_is_made_of():
    few, many = (expected_regret.regret(Swarm(runs=runs, corpora=6, noise=0.1)) for runs in (16, 64))
    assert few > many > 0
    quiet, loud = (expected_regret.regret(Swarm(runs=32, corpora=6, noise=noise)) for noise in (0.0, 0.5))
    assert loud > quiet
    here, there = (expected_regret.regret(Swarm(runs=10**6, corpora=6, disagreement=far)) for far in (0.0, 1.0))
    assert there > here == pytest.approx(expected_regret.FLOOR, abs=0.01)
    swarm = Swarm(runs=32, corpora=6, noise=0.1)
    half = expected_regret.regret(swarm) / 2
    assert expected_regret.regret(swarm, expected_regret.level(half, swarm)) == pytest.approx(half)


def test_rates_of_every_kind_are_read_and_written_as_one_table(capsys, tmp_path, table):
    rows = [f"p{i:03d},2.0,1122144,300000,1,{seconds}" for i, seconds in enumerate((30, 40, 90))]
    (tmp_path / "metrics.csv").write_text("\n".join(["run,news_bpb,size,tokens,seed,seconds", *rows]) + "\n")
    planned = {"model": "1-3B", "parameters": 1_400_000_000, "gpus": 4, "cluster": "a100-40gb"}
    (tmp_path / "plan.json").write_text(json.dumps(planned | {"layouts": [{"tokens_per_s": [40000.0, 70000.0]}]}))
    words = ["--rates", table, f"my.yml={tmp_path / 'metrics.csv'}", tmp_path / "plan.json"]
    out = tmp_path / "all.csv"
    assert called(capsys, "--hours", 50, *words, *CORPORA, "--write-rates", out)[0] == 0
    made = {each.model: each for each in rates.read(str(out))}
    assert made["my.yml"] == Rate(model="my.yml", parameters=1122144, tokens_per_s=7500.0)
    assert made["1-3B"] == Rate(model="1-3B", parameters=1.4e9, tokens_per_s=10000.0, device="a100-40gb")
    assert set(made) == {"0-3M", "1M", "4M", "my.yml", "1-3B"}
    assert plan(capsys, "--hours", 50, *words, *CORPORA) == plan(capsys, "--hours", 50, "--rates", out, *CORPORA)


@pytest.mark.parametrize(("corpora", "rounds"), [(4, 1), (12, 2)])
def test_the_plan_is_one_that_the_run_file_and_the_commands_take(capsys, tmp_path, table, monkeypatch, corpora, rounds):
    from launch.pipeline import runfile

    names = ["--corpora", ",".join(f"c{i}" for i in range(corpora))]
    words = ["--hours", 1, "--rates", table, *names, "--target-size", 1e8, "--target-tokens", 1e9]
    out = tmp_path / "plan.yml"
    code, said, _ = called(capsys, *words, "--output", out, "--objective", "news_bpb")
    assert code == 0 and f"Written: {out}" in said
    base = {
        "output": "x",
        "corpora": {"a": {"files": ["a"]}, "b": {"files": ["b"]}},
        "objective": {"metrics": {"a_bpb": 1}},
    }
    yamlfile.write(tmp_path / "run.yml", base | yamlfile.read(out))
    run = runfile.read(tmp_path / "run.yml")
    chosen = plan(capsys, *words)["chosen"]
    keys = ("model", "runs", "rounds", "held_out", "tokens")
    assert {key: getattr(run.proxies, key) for key in keys} == {key: chosen[key] for key in keys}
    assert run.search.target_tokens == 10**9
    lines = [shlex.split(line) for line in said.splitlines() if line.startswith("python -m ")]
    monkeypatch.chdir(tmp_path)
    pipeline = next(line for line in lines if line[2] == "launch.pipeline")
    sets = [word for word in pipeline if "=" in word]
    yamlfile.write(tmp_path / "run.yml", base)
    assert runfile.read(tmp_path / "run.yml", sets) == run
    first = next(line for line in lines if line[2] == "mixer.design")
    assert cli.run(design.main, first[3:]) == 0
    assert chosen["rounds"] == rounds
    assert len(pd.read_csv("first.csv")) == chosen["held_out"] + (chosen["runs"] + rounds - 1) // rounds


def test_a_pilot_says_noise_and_how_hard_the_objective_is(capsys, tmp_path, table):
    rng = np.random.default_rng(0)
    names = ["web", "news", "wiki", "code"]
    w = rng.dirichlet(np.ones(4), 16)
    runs = [f"p{i:03d}" for i in range(16)]
    frame = pd.DataFrame(w.round(6), columns=names)
    frame.insert(0, "run", runs)
    frame.to_csv(tmp_path / "ratios.csv", index=False)
    truth = 2.0 + 0.3 * (0.05 + w[:, 1]) ** -0.5
    rows = [(run, value + 0.05 * rng.standard_normal(), 1) for run, value in zip(runs, truth, strict=True)]
    rows += [(f"{run}@2", value + 0.05 * rng.standard_normal(), 2) for run, value in zip(runs[:8], truth, strict=False)]
    more = pd.DataFrame(rows, columns=["run", "news_bpb", "seed"]).assign(size=1_100_000, tokens=300_000, seconds=33.0)
    more.to_csv(tmp_path / "metrics.csv", index=False)
    pilot = ["--ratios", tmp_path / "ratios.csv", "--metrics", tmp_path / "metrics.csv", "--objective", "news_bpb"]
    code, out, err = called(capsys, "--hours", 3, "--rates", table, *pilot, "--json")
    assert code == 0 and "a run's noise is 0." in err and "16 runs leave a regret of" in err
    seen = json.loads(out)["chosen"]
    assert seen["twice"] == 0  # the noise is known
    spread = truth.std()
    said = float(err.split("a run's noise is ")[1].split(" ")[0])
    assert 0.4 < said / (0.05 / spread) < 2.0
    code, out, _ = called(capsys, "--hours", 3, "--rates", table, *pilot, "--target-size", "1.4e9", "--json")
    assert code == 0 and json.loads(out)["chosen"]["rank"] < seen["rank"]


def test_the_second_round_goes_by_what_the_pilot_maximises(capsys, table):
    many = ["--corpora", ",".join(f"c{i}" for i in range(12))]  # a second round is planned for many corpora
    made = plan(capsys, "--hours", 3, "--rates", table, *many, "--objective", "quiz_acc", "--maximise", "quiz_acc")
    second = [line for line in made["commands"] if "--history" in line]
    assert second and "--objective quiz_acc --maximise quiz_acc --append" in second[0]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--hours", "0"], 2, "hours"),
        (["--hours", "nan"], 2, "hours"),
        (["--hours", "0.0001"], 3, "do not pay for 8 proxies of 10,000 tokens"),
        (["--hours", "1", "--target-size", "-5"], 2, "target-size"),
        (["--hours", "1", "--metrics", "x.csv"], 2, "belong together"),
        (["--hours", "1", "--maximise", "x"], 2, "--maximise belongs to --objective"),
        (["--hours", "1", "--target-tokens", "100"], 3, "no proxy gets more tokens than the target"),
        (["--hours", "1", "--output", "plan.yml", "--write-rates", "./plan.yml"], 2, "are both plan.yml"),
    ],
)
def test_bad_words_are_told(capsys, table, words, code, said):
    given, _, err = called(capsys, *words, "--rates", table, *CORPORA)
    assert given == code and said in err


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("r.csv", "model,speed\na,3\n", "has no column `parameters`"),
        ("r.csv", "model,parameters,tokens_per_s\na,1e6,fast\n", "line 2: 'fast' is no number for tokens_per_s"),
        ("r.csv", "model,parameters,tokens_per_s\na,1e6,-4\n", "tokens_per_s is -4"),
        ("r.csv", "model,parameters,tokens_per_s\n", "has no rows"),
        ("p.json", "{}", "is damaged: 'model' is missing"),
        ("p.json", '{"model": "7B", "parameters": 7, "gpus": 4, "cluster": "x", "layouts": []}', "no layout that fits"),
    ],
)
def test_bad_rates_are_told(capsys, tmp_path, name, text, said):
    path = tmp_path / name
    path.write_text(text)
    code, _, err = called(capsys, "--hours", 1, "--rates", path, *CORPORA)
    assert code == 2 and said in err and name in err


def test_one_corpus_and_none(capsys, table):
    assert called(capsys, "--hours", 1, "--rates", table)[0] == 2
    assert called(capsys, "--hours", 1, "--rates", table, "--corpora", "a")[0] == 2


def test_scale_says_less_noise_and_more_agreement_of_longer_and_larger_runs():
    scale = Scale()
    assert expected_regret.noise(scale, 1e6, 1e6) > expected_regret.noise(scale, 1e6, 1e7)
    far = [expected_regret.disagreement(scale, size, 20 * size, 1e9) for size in (1e6, 15e6, 1e9)]
    assert far[0] > far[1] > far[2] == 0
    rank = [(1 + each) ** -0.5 for each in far]
    assert rank[0] == pytest.approx(0.73, abs=0.02) and rank[1] > 0.89
    assert expected_regret.disagreement(scale, 1e6, 1e5, 1e9) > far[0]
