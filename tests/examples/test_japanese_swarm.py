"""The Japanese swarm that comes with Haigo is read by `mixer.search` as it stands, its ranks are printed, and its scripts give
commands that there are."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_docs import parse  # noqa: F401

from haigo.formats import tables
from mixer.proxies import read
from mixer.search import SearchOptions, search
from neox_configs import catalogue

ROOT = Path(__file__).resolve().parents[2]
SWARM = ROOT / "examples" / "japanese_swarm"
SIZES = ("0-1M", "0-3M", "1M", "4M")
TOKENS = dict.fromkeys(SIZES, 163840) | {f"long/{size}": 491520 for size in SIZES[:3]}


@pytest.mark.parametrize("size", TOKENS)
def test_every_size_is_whole(size: str) -> None:
    metrics = SWARM / size / "metrics.csv"
    table = read(SWARM / "ratios.csv", metrics, ["*_bpb"])
    assert len(table.runs) == 24 and len(table.corpora) == 7 and len(table.metrics) == 7
    assert {f"{corpus}_bpb" for corpus in table.corpora} == set(table.metrics)
    assert (table.losses > 0.3).all() and (table.losses < 8).all()
    assert sorted(table.repeats) == [1] * 21 + [2] * 3
    assert set(tables.by_run(metrics)["tokens"]) == {str(TOKENS[size])}
    screen = (SWARM / size).parent / "screen"
    counted = read(screen / "ratios.csv", screen / "metrics.csv")
    assert counted.runs[:24] == table.runs and len(counted.runs) == 88
    text = "".join(path.read_text() for path in SWARM.rglob("*.json"))
    assert "/work" not in text and "/tmp" not in text


def test_a_search_reads_it_with_and_without_the_screen() -> None:
    ratios, metrics = str(SWARM / "ratios.csv"), str(SWARM / "0-1M" / "metrics.csv")
    plain = search(SearchOptions(ratios=ratios, metrics=metrics, objective=["news_bpb"], bootstrap=10))
    screen = str(SWARM / "screen")
    both = search(SearchOptions(ratios=ratios, metrics=metrics, objective=["news_bpb"], screen=screen, bootstrap=10))
    for made in (plain, both):
        assert made.weights[made.corpora.index("news")] > 0.4 and made.card.skill("news_bpb") > 0.5


def test_a_search_for_a_task_knows_the_noise_of_its_items() -> None:
    metrics = str(SWARM / "0-1M" / "metrics.csv")
    task = "news_cloze_when-1.0-0.1_choice_nll"
    assert 0 < tables.noted_scores(metrics)[task]["paired_noise"] < tables.noted_scores(metrics)[task]["noise"]
    given = SearchOptions(ratios=str(SWARM / "ratios.csv"), metrics=metrics, objective=[task], bootstrap=10, force=True)
    assert any("163 items leave noise of" in note for note in search(given).notes)


def ranks_of(folder: Path) -> str:
    command = [sys.executable, str(ROOT / "benchmarks" / "swarm_noise.py"), "--table", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout


def test_its_ranks_are_printed() -> None:
    said = ranks_of(SWARM)
    assert "0-1M -> 4M" in said and "screen 4M -> 4M" in said and "chosen by: token share" in said
    assert "1M: noise of a run / spread: 0.0" in said
    assert "0-1M -> long/0-1M" in said and "screen long/1M -> long/1M" in said
    assert " screen 0-1M -> 4M" not in said  # one screen of all sizes: it would be the line above once more


def test_sizes_of_other_tokens_have_screens_of_their_own(tmp_path: Path) -> None:
    shutil.copy(SWARM / "ratios.csv", tmp_path)
    for size in ("0-1M", "1M"):
        shutil.copytree(SWARM / size, tmp_path / size)
        shutil.copytree(SWARM / "screen", tmp_path / "screen" / size)
    said = ranks_of(tmp_path)
    assert "screen 0-1M -> 0-1M" in said and "screen 1M -> 1M" in said and "screen 0-1M -> 1M" in said


def typed(script: str, words: list[str], folder: Path) -> list[tuple[str, list[str]]]:
    """The commands (module, words) that a script of the swarm gives; none of them runs."""
    stand_in, log = folder / "bin" / "python", folder / "typed.jsonl"
    stand_in.parent.mkdir()
    body = f"import json, sys\nopen({str(log)!r}, 'a').write(json.dumps(sys.argv[1:]) + '\\n')\n"
    stand_in.write_text(f"#!{sys.executable}\n{body}")
    stand_in.chmod(0o755)
    path = f"{stand_in.parent}:/usr/bin:/bin"
    subprocess.run(["bash", str(SWARM / script), *words], check=True, env={"PATH": path}, capture_output=True)
    said = [json.loads(line) for line in log.read_text().splitlines()]
    assert all(each[0] == "-m" for each in said)
    return [(each[1], each[2:]) for each in said]


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """What the scripts' own lines, other than commands of ours, look for."""
    (tmp_path / "jglue").mkdir()
    for part in ("train", "valid"):
        (tmp_path / "jglue" / f"jcommonsenseqa-{part}-v1.1.json").write_text("")
    for name in ("news", "wiki", "diet"):
        test = tmp_path / "world" / "dedup" / name / "test"
        test.mkdir(parents=True)
        (test / "00000.jsonl.zst").write_bytes(b"")
    return tmp_path / "world"


def test_prepare_gives_commands_that_there_are(world: Path, parse: Callable[..., Any]) -> None:  # noqa: F811
    said = typed("prepare.sh", ["corpora", str(world.parent / "jglue"), str(world)], world.parent)
    assert not [(module, words) for module, words in said if parse(module, words).rest]
    corpora = read(SWARM / "ratios.csv", SWARM / "0-1M" / "metrics.csv").corpora
    assert [words[words.index("--corpus") + 1] for module, words in said if module == "preprocess.clean"] == corpora
    known = catalogue.read(world / "corpora.yml")
    prefixes = [words[words.index("--output-prefix") + 1] for module, words in said if module == "preprocess.index"]
    assert [f"{prefix}_text_document" for prefix in prefixes] == [
        str(path) for sets in known.corpora.values() for path in sets.values()
    ]
    assert str(known.tokenizer) == str(world / "tokenizer")


def test_train_gives_commands_that_there_are(world: Path, parse: Callable[..., Any]) -> None:  # noqa: F811
    said = typed("train.sh", [str(world), "163840", *SIZES], world.parent)
    done = [parse(module, words) for module, words in said]
    assert not [each for each in done if each.rest]
    assert [module for module, _ in said] == ["launch.screen", *["launch.proxies"] * 4]
    assert len({each.namespace.tokens for each in done}) == 1
    assert [each.namespace.config for each in done[1:]] == [[size] for size in SIZES]
