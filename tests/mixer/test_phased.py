"""A second mixture is offered where runs with two support one, and not where the order of the tokens makes no difference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from haigo import cli
from haigo.cli import HaigoError
from haigo.formats import mixture as mixtures
from haigo.formats import tables
from mixer import search

CORPORA = ["rare", "good", "web", "code"]
SHARE = 0.2


def world(folder: Path, seed: int, late: float, runs: int = 48) -> Path:
    """Tables of runs whose last fifth counts for `late`; two corpora that help most are scarce."""
    random = np.random.default_rng(seed)
    one, two = (random.dirichlet(np.ones(4), runs) for _ in range(2))
    same = random.random(runs) < 0.25
    two[same] = one[same]
    felt = (1 - late) * one + late * two
    help_ = np.array([[0.4, 0.3, 0.08, 0.05], [0.3, 0.35, 0.1, 0.06]])
    losses = 2 + 0.3 * (felt @ help_.T + 0.02) ** -0.3 + 0.004 * random.normal(size=(runs, 2))
    head = [*CORPORA, *(f"{name}@2" for name in CORPORA), "second_phase"]
    rows = [["run", *head]] + [[f"r{n}", *map(repr, map(float, [*one[n], *two[n], SHARE]))] for n in range(runs)]
    (folder / "ratios.csv").write_text("".join(",".join(row) + "\n" for row in rows))
    metrics = "".join(f"r{n},{a!r},{b!r}\n" for n, (a, b) in enumerate(losses.tolist()))
    (folder / "metrics.csv").write_text("run,a_bpb,b_bpb\n" + metrics)
    (folder / "supply.csv").write_text("corpus,tokens\nrare,5e7\ngood,1e8\nweb,1e9\ncode,1e9\n")
    return folder


def searched(folder: Path, *words: str) -> int:
    given = ["--ratios", folder / "ratios.csv", "--metrics", folder / "metrics.csv", "--objective", "a_bpb,b_bpb"]
    given += ["--supply", folder / "supply.csv", "--target-tokens", "1e9", "--max-epochs", "1", "--bootstrap", "30"]
    given += ["--output", folder / "mixture.yml", "--phases", folder / "phases.yml", "--force"]
    return cli.run(search.main, [*map(str, given), *words])


def test_scarce_corpora_are_kept_for_the_end_where_the_end_counts_more(tmp_path: Path) -> None:
    folder = world(tmp_path, 0, late=0.6)
    assert searched(folder) == 0
    made = mixtures.read(folder / "phases.yml", CORPORA)
    first, second = made["phases"]
    assert first["tokens"] == 8e8 and second["tokens"] == 2e8
    assert second["weights"]["rare"] > first["weights"]["rare"]
    assert second["weights"]["rare"] + second["weights"]["good"] > 0.5
    # together they keep to what there is of each
    assert made["weights"]["rare"] <= 0.05 + 1e-5 and made["weights"]["good"] <= 0.1 + 1e-5
    low, high = made["worth"]["interval"]
    assert 0 < low < made["worth"]["mean"] < high and made["late"] in (0.5, 0.6, 0.7)
    one = mixtures.read(folder / "mixture.yml")
    assert "no run has shown it" in one["notes"][-1] and "phases" not in one


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_offered_where_the_order_makes_no_difference(tmp_path: Path, seed: int) -> None:
    folder = world(tmp_path, seed, late=SHARE)
    assert searched(folder) == 0
    assert not (folder / "phases.yml").exists()
    assert "one mixture will do" in mixtures.read(folder / "mixture.yml")["notes"][-1]


def test_a_few_runs_say_nothing(tmp_path: Path) -> None:
    folder = world(tmp_path, 0, late=0.6, runs=14)
    assert searched(folder) == 0
    assert "are the least that say anything" in mixtures.read(folder / "mixture.yml")["notes"][-1]


def test_the_table_is_the_mean_for_whoever_asks_for_one_mixture(tmp_path: Path) -> None:
    known = tables.read_ratios(world(tmp_path, 1, late=0.6) / "ratios.csv")
    assert known.corpora == CORPORA and known.share == SHARE
    assert known.first is not None and known.second is not None
    assert np.allclose(known.weights, 0.8 * known.first + 0.2 * known.second)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("run,a,b,c@2,second_phase\nr,0.5,0.5,1,0.2\n", "has a column 'c@2' and none 'c'"),
        ("run,a,b,a@2\nr,0.5,0.5,1\n", "no column 'second_phase'"),
        ("run,a,b,a@2,second_phase\nr,0.5,0.5,1,0.2\ns,0.5,0.5,1,0.3\n", "is not the same number"),
        ("run,a,b,a@2,second_phase\nr,0.5,0.5,0.4,0.2\n", "second mixtures.*do not sum to 1"),
    ],
)
def test_bad_tables_are_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "ratios.csv").write_text(text)
    with pytest.raises(HaigoError, match=words):
        tables.read_ratios(tmp_path / "ratios.csv")


def test_what_it_needs_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the search has begun")

    monkeypatch.setattr(search, "choose", never)
    folder = world(tmp_path, 0, late=0.6)
    plain = [line.split(",")[:5] for line in (folder / "ratios.csv").read_text().splitlines()]
    (folder / "ratios.csv").write_text("".join(",".join(row) + "\n" for row in plain))
    assert searched(folder) == 2
    assert "no run has a second mixture" in capsys.readouterr().err
