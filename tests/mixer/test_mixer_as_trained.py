"""Losses are joined with the mixtures that they were measured on: a run's name alone does not say which those were."""

import json

import pytest

from haigo import cli, files
from mixer import design, search


@pytest.fixture
def swarm(tmp_path, monkeypatch):
    """Tables as launch.proxies leaves them: what each run was trained on is noted beside metrics.csv."""
    monkeypatch.chdir(tmp_path)
    rows = {f"p{n:03d}": {"news": n / 11, "talk": 1 - n / 11} for n in range(12)}
    (tmp_path / "ratios.csv").write_text(
        "run,news,talk\n" + "".join(f"{name},{row['news']!r},{row['talk']!r}\n" for name, row in rows.items())
    )
    (tmp_path / "swarm").mkdir()
    (tmp_path / "swarm" / "metrics.csv").write_text(
        "run,news_bpb\n" + "".join(f"{name},{2 - row['news'] + row['news'] ** 2:.6f}\n" for name, row in rows.items())
    )
    runs = {name: {"weights": row, "seed": 1} for name, row in rows.items()}
    (tmp_path / "swarm" / "swarm.json").write_text(json.dumps({"format": 1, "common": {}, "runs": runs}))
    return tmp_path


AFTER = ["--objective", "news_bpb", "--output"]
SEARCH = ["--metrics", "swarm/metrics.csv", "--bootstrap", "5", "--force", *AFTER, "m.yml"]
HISTORY = ["--corpora", "news,talk", "--runs", "4", "--history-metrics", "swarm/metrics.csv", *AFTER, "d.csv"]


def test_a_design_drawn_anew_is_not_that_of_the_runs(swarm, capsys):
    commands = ((search.main, [*SEARCH, "--ratios"], "m.yml"), (design.main, [*HISTORY, "--history"], "d.csv"))
    assert (
        cli.run(design.main, ["--corpora", "news,talk", "--runs", "12", "--seed", "7", "--output", "other.csv"])
        == cli.OK
    )
    for main, words, output in commands:
        assert cli.run(main, [*words, "other.csv"]) == cli.REFUSED
        said = capsys.readouterr().err
        assert "other.csv has another mixture of the run 'p" in said and "swarm/swarm.json notes it" in said
        assert not (swarm / output).exists()
        assert cli.run(main, [*words, "ratios.csv"]) == cli.OK


def test_a_screens_own_ratios_say_the_same(swarm, capsys):
    for name in ("ratios.csv", "metrics.csv"):
        files.copy(swarm / name if name == "ratios.csv" else swarm / "swarm" / name, swarm / "screen" / name)
    words = [word.replace("swarm/", "screen/") for word in SEARCH]
    changed = (swarm / "ratios.csv").read_text().replace("\np000,0.0,1.0\n", "\np000,0.5,0.5\n")
    (swarm / "other.csv").write_text(changed)
    assert cli.run(search.main, [*words, "--ratios", "other.csv"]) == cli.REFUSED
    assert "screen/ratios.csv notes it" in capsys.readouterr().err
    assert cli.run(search.main, [*words, "--ratios", "ratios.csv"]) == cli.OK


def test_corpora_that_the_user_joined_are_noted(swarm, capsys):
    joined = (swarm / "ratios.csv").read_text().replace("run,news,talk", "run,news,speech")
    (swarm / "joined.csv").write_text(joined)
    assert cli.run(search.main, [*SEARCH, "--ratios", "joined.csv"]) == cli.OK
    assert "swarm/swarm.json names corpora that joined.csv does not" in capsys.readouterr().out


def test_an_earlier_swarm_that_is_the_same_one_is_noted(swarm, capsys):
    words = [*SEARCH, "--ratios", "ratios.csv", "--earlier", "ratios.csv", "swarm/metrics.csv"]
    assert cli.run(search.main, words) == cli.OK
    assert "12 run(s) are copies of another and count twice (earlier1/p000 = p000" in capsys.readouterr().out


def test_parts_of_an_earlier_corpus_need_an_earlier_swarm(swarm, capsys):
    assert (
        cli.run(search.main, [*SEARCH, "--ratios", "ratios.csv", "--split", "web=news:0.5,talk:0.5"]) == cli.BAD_INPUT
    )
    assert "--split is for --earlier, which is not given" in capsys.readouterr().err
