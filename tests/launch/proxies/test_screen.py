"""launch.screen: n-gram losses of mixtures against counts made by hand, and the table that mixer.search reads."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from damage import flip
from shared_data import data_of

from haigo import cli, yamlfile
from haigo.cli import HaigoError
from haigo.formats import tokenizer as tokenizers
from haigo.formats.dataset.indexed import MMapReader
from launch import proxies, screen
from launch.local import __main__ as local
from launch.proxies import ngram
from launch.proxies.options import CountOptions
from mixer import search
from neox_configs import catalogue as catalogues

DATA = data_of(__file__)

TABLE = "run,plain,rhyme\na,0.8,0.2\nb,0.3,0.7\nc,0.5,0.5\nd,0.1,0.9\n"


@pytest.fixture(scope="module")
def catalogue(world):
    sets = {name: {split: world.prefix(name, split) for split in ("train", "valid")} for name in ("plain", "rhyme")}
    catalogues.write(world.root / "screened.yml", world.tokenizer, sets)
    return world.root / "screened.yml"


@pytest.fixture
def ratios(tmp_path: Path) -> Path:
    path = tmp_path / "ratios.csv"
    path.write_text(TABLE)
    return path


def by_hand(world, weights: dict[str, float], tokens: float, order: int) -> dict[str, float]:
    """The same model with dictionaries, one token at a time."""
    words = tokenizers.load(world.tokenizer)
    counts: list[Counter[tuple[int, ...]]] = [Counter() for _ in range(order)]
    seen: list[Counter[tuple[int, ...]]] = [Counter() for _ in range(order)]
    for corpus, weight in weights.items():
        stream = MMapReader(world.prefix(corpus)).tokens.tolist()
        each = min(weight * tokens, len(stream)) / len(stream)
        for n in range(order):
            for at in range(n, len(stream)):
                gram = tuple(stream[at - n : at + 1])
                counts[n][gram] += each
                seen[n][gram[:-1]] += each
    made = {}
    for corpus in weights:
        stream = MMapReader(world.prefix(corpus, "valid")).tokens.tolist()
        bits = total = 0.0
        for window in range(0, len(stream) - 1, 256):
            piece = stream[window : window + 257]
            for at in range(1, len(piece)):
                if piece[at] == words.eod_id:
                    continue
                p = 1 / words.vocab_size
                for n, strength in zip(range(order), ngram.CONCENTRATION, strict=False):
                    gram = tuple(piece[at - n : at + 1]) if at >= n else (-1,) * n + (piece[at],)
                    p = (counts[n][gram] + strength * p) / (seen[n][gram[:-1]] + strength)
                bits -= math.log2(p)
                total += int(words.piece_bytes[piece[at]])
        made[f"{corpus}_bpb"] = bits / total
    return made


@pytest.mark.parametrize("order", [1, 2, 3])
def test_losses_are_those_of_counting_by_hand(world, catalogue, order):
    counted = ngram.Counted(catalogues.read(catalogue), CountOptions(order=order, eval_tokens=0))
    for weights, tokens in (({"plain": 0.7, "rhyme": 0.3}, 2000), ({"plain": 0.02, "rhyme": 0.98}, 50_000)):
        made = counted.losses(np.array([list(weights.values())]), tokens)[0]
        wanted = by_hand(world, weights, tokens, order)
        assert dict(zip(counted.metrics, made, strict=True)) == pytest.approx(wanted, rel=1e-9)


def test_reading_a_corpus_again_teaches_nothing(catalogue):
    counted = ngram.Counted(catalogues.read(catalogue), CountOptions(eval_tokens=0))
    once = counted.losses(np.array([[0.5, 0.5]]), 2 * counted.tokens.max())
    assert np.array_equal(counted.losses(np.array([[0.5, 0.5]]), 9 * counted.tokens.max()), once)


def test_a_sample_says_about_the_same(world, catalogue, monkeypatch):
    monkeypatch.setattr(ngram, "_BLOCK", 64)
    known = catalogues.read(catalogue)
    whole = ngram.Counted(known, CountOptions(eval_tokens=0)).losses(np.array([[0.6, 0.4]]), 2000)
    some = [CountOptions(sample=1500, seed=seed, eval_tokens=0) for seed in (1, 1, 2)]
    parts = [ngram.Counted(known, each).losses(np.array([[0.6, 0.4]]), 2000) for each in some]
    assert np.array_equal(parts[0], parts[1]) and not np.array_equal(parts[0], parts[2])
    assert np.abs(parts[0] / whole - 1).max() < 0.1 and not np.array_equal(parts[0], whole)


def test_the_order_of_mixtures_is_that_of_trained_models(world, catalogue, ratios, tmp_path):
    base = {key: value for key, value in world.config(train_iters=None).items() if "_data_" not in key}
    trained = proxies.run(ratios, catalogue, base, tmp_path / "proxies", tokens=20_000, workers=2, show=False)
    screen.screen(ratios, catalogue, tmp_path / "screen", tokens=1500, mixtures=8)
    with open(tmp_path / "screen" / "metrics.csv", newline="") as handle:
        screened = {row["run"]: row for row in csv.DictReader(handle)}
    for metric in ("plain_bpb", "rhyme_bpb"):
        order = sorted("abcd", key=lambda run: trained.results[run]["metrics"][metric])
        same = sorted("abcd", key=lambda run: float(screened[run][metric]))
        assert (order[0], order[-1]) == (same[0], same[-1])
    # and what mixer.search makes of both
    words = ["--ratios", str(ratios), "--metrics", str(trained.metrics), "--screen", str(tmp_path / "screen")]
    assert search.main([*words, "--objective", "rhyme_bpb", "--bootstrap", "10", "--force"]) == cli.OK


def test_the_table_is_the_contract(catalogue, ratios, tmp_path, capsys):
    words = ["--ratios", str(ratios), "--catalogue", str(catalogue), "--tokens", "1.5e3", "--mixtures", "8"]
    for name in ("one", "two"):
        assert screen.main([*words, "--seed", "3", "--output-dir", str(tmp_path / name)]) == cli.OK
    assert "mixer.search --screen" in capsys.readouterr().out
    for file in ("ratios.csv", "metrics.csv"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    with open(tmp_path / "one" / "metrics.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0]) == ["run", "plain_bpb", "rhyme_bpb", "size", "tokens"]
    assert [row["run"] for row in rows] == ["a", "b", "c", "d", *(f"s{n:03d}" for n in range(8))]
    assert {row["size"] for row in rows} == {"2-gram"}
    made = np.loadtxt(tmp_path / "one" / "ratios.csv", delimiter=",", skiprows=1, usecols=(1, 2))
    assert np.allclose(made.sum(1), 1) and made[:, 0].min() >= 0.1 - 1e-9 and made[:, 0].max() <= 0.8 + 1e-9
    # alone it is a table of proxies
    words = ["--ratios", str(tmp_path / "one" / "ratios.csv"), "--metrics", str(tmp_path / "one" / "metrics.csv")]
    assert search.main([*words, "--objective", "rhyme_bpb", "--bootstrap", "10"]) == cli.OK


def test_pairs_are_screened_too(world, catalogue, ratios, tmp_path):
    pairs = tmp_path / "pairs.jsonl"
    lines = [{"context": text[:20], "target": text[20:]} for text in world.texts["rhyme"][-5:]]
    pairs.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    screen.screen(ratios, catalogue, tmp_path / "o", tokens=1500, mixtures=4, pairs={"qa": str(pairs)})
    with open(tmp_path / "o" / "metrics.csv", newline="") as handle:
        values = [float(row["qa_bpb"]) for row in csv.DictReader(handle)]
    assert all(0 < value < 20 for value in values) and len(set(values)) > 4


@pytest.mark.parametrize(("words", "said"), DATA["bad_options_are_told"])
def test_bad_options_are_told(catalogue, ratios, tmp_path, words, said):
    given = [
        "--ratios",
        str(ratios),
        "--catalogue",
        str(catalogue),
        "--tokens",
        "1000",
        "--output-dir",
        str(tmp_path / "o"),
    ]
    with pytest.raises(HaigoError) as caught:
        screen.main([*given, *words])
    assert said in caught.value.problem and not (tmp_path / "o").exists()


def test_a_cut_dataset_is_told(world, catalogue, ratios, tmp_path):
    cut = tmp_path / "plain" / "train_text_document"
    cut.parent.mkdir()
    for end in ("idx", "json"):
        Path(f"{cut}.{end}").write_bytes(Path(f"{world.prefix('plain')}.{end}").read_bytes())
    Path(f"{cut}.bin").write_bytes(Path(f"{world.prefix('plain')}.bin").read_bytes()[:-64])
    sets = {
        "plain": {"train": str(cut), "valid": world.prefix("plain", "valid")},
        "rhyme": {"train": world.prefix("rhyme"), "valid": world.prefix("rhyme", "valid")},
    }
    catalogues.write(tmp_path / "cut.yml", world.tokenizer, sets)
    with pytest.raises(HaigoError, match="train_text_document"):
        screen.screen(ratios, tmp_path / "cut.yml", tmp_path / "o", tokens=1000)


@pytest.mark.parametrize("part", ["train", "valid"])
def test_a_changed_dataset_is_refused(world, ratios, tmp_path, capsys, part):
    """As launch.proxies refuses it: what a screen says of a mixture is searched with what trained proxies say."""
    sets = {name: {split: world.prefix(name, split) for split in ("train", "valid")} for name in ("plain", "rhyme")}
    for ending in (".bin", ".idx", ".json"):
        shutil.copy(f"{sets['plain'][part]}{ending}", tmp_path / f"changed_text_document{ending}")
    sets["plain"][part] = tmp_path / "changed_text_document"
    flip(tmp_path / "changed_text_document.bin")
    catalogues.write(tmp_path / "corpora.yml", world.tokenizer, sets)
    words = ["--ratios", str(ratios), "--catalogue", str(tmp_path / "corpora.yml"), "--tokens", "2000"]
    assert cli.run(screen.main, [*words, "--output-dir", str(tmp_path / "out")]) == cli.REFUSED
    assert "changed_text_document.bin was changed since the dataset was made" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_is_measured_with_what_was_trained_on_is_told(world, ratios, tmp_path, capsys):
    copy = tmp_path / "copy_text_document"  # another name, the same tokens
    for ending in (".bin", ".idx", ".json"):
        shutil.copy(f"{world.prefix('plain', 'train')}{ending}", f"{copy}{ending}")
    sets = {name: {split: world.prefix(name, split) for split in ("train", "valid")} for name in ("plain", "rhyme")}
    sets["plain"]["valid"] = copy
    catalogues.write(tmp_path / "corpora.yml", world.tokenizer, sets)
    words = ["--ratios", str(ratios), "--catalogue", str(tmp_path / "corpora.yml"), "--tokens", "2000"]
    assert cli.run(screen.main, [*words, "--output-dir", str(tmp_path / "out")]) == cli.OK
    told = f"valid names {copy}, which is trained on as {world.prefix('plain', 'train')}"
    assert told in capsys.readouterr().err
    paths = {"train_data_paths": [str(sets["plain"]["train"])] * 2, "valid_data_paths": [str(copy)]}
    yamlfile.write(tmp_path / "c.yml", world.config(train_data_weights=[0.5, 0.5], valid_data_weights=[1.0], **paths))
    given = [str(tmp_path / "c.yml"), "--output-dir", str(tmp_path / "model"), "--tokenizer", str(world.tokenizer)]
    assert cli.run(local.main, given) == cli.OK
    heard = capsys.readouterr().err
    assert told in heard and f"train names {paths['train_data_paths'][0]} 2 times" in heard
