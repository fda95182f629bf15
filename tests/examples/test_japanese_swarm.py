"""The Japanese swarm that comes with Haigo is read by `mixer.search` as it stands, and its ranks are printed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from haigo.formats import tables
from mixer.proxies import read
from mixer.search import SearchOptions, search

ROOT = Path(__file__).resolve().parents[2]
SWARM = ROOT / "examples" / "japanese_swarm"
SIZES = ("0-1M", "0-3M", "1M", "4M")


@pytest.mark.parametrize("size", SIZES)
def test_every_size_is_whole(size: str) -> None:
    metrics = SWARM / size / "metrics.csv"
    table = read(SWARM / "ratios.csv", metrics, ["*_bpb"])
    assert len(table.runs) == 24 and len(table.corpora) == 7 and len(table.metrics) == 7
    assert {f"{corpus}_bpb" for corpus in table.corpora} == set(table.metrics)
    assert (table.losses > 0.3).all() and (table.losses < 8).all()
    assert sorted(table.repeats) == ([1] * 24 if size == "4M" else [1] * 21 + [2] * 3)
    counted = read(SWARM / "screen" / size / "ratios.csv", SWARM / "screen" / size / "metrics.csv")
    assert counted.runs[:24] == table.runs and len(counted.runs) == 88
    text = "".join(path.read_text() for path in SWARM.rglob("*.json"))
    assert "/work" not in text and "/tmp" not in text


def test_a_search_reads_it_with_and_without_the_screen() -> None:
    ratios, metrics = str(SWARM / "ratios.csv"), str(SWARM / "0-1M" / "metrics.csv")
    plain = search(SearchOptions(ratios=ratios, metrics=metrics, objective=["news_bpb"], bootstrap=10))
    screen = str(SWARM / "screen" / "0-1M")
    both = search(SearchOptions(ratios=ratios, metrics=metrics, objective=["news_bpb"], screen=screen, bootstrap=10))
    for made in (plain, both):
        assert made.weights[made.corpora.index("news")] > 0.4 and made.card.skill("news_bpb") > 0.5


def test_a_search_for_a_task_knows_the_noise_of_its_items() -> None:
    metrics = str(SWARM / "0-1M" / "metrics.csv")
    task = "news_cloze_when-1.0-0.1_choice_nll"
    assert 0 < tables.noted_scores(metrics)[task]["paired_noise"] < tables.noted_scores(metrics)[task]["noise"]
    given = SearchOptions(ratios=str(SWARM / "ratios.csv"), metrics=metrics, objective=[task], bootstrap=10, force=True)
    assert any("200 items leave noise of" in note for note in search(given).notes)


def test_its_ranks_are_printed() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "swarm_noise.py"), "--table", str(SWARM)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert "0-1M -> 4M" in said and "screen 4M -> 4M" in said and "chosen by: token share" in said
