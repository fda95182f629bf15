"""Swarms: shards and their merge, replicates and noise, matched repetition, resumed proxies."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from shared_data import data_of

from haigo import cli, files, yamlfile
from haigo.cli import HaigoError, Refused
from haigo.formats import tokenizer as tokenizers
from haigo.formats.dataset.indexed import MMapReader
from launch import proxies
from launch.engine import job as jobs
from launch.engine.options import TrainOptions
from launch.neox import data_order
from launch.proxies import epochs, merge, table
from launch.proxies.options import SwarmOptions, parse_shard
from mixer.proxies import read
from neox_configs import catalogue as catalogues

DATA = data_of(__file__)

ROOT = Path(__file__).resolve().parents[3]
RATIOS = "run,plain,rhyme\np000,0.8,0.2\np001,0.3,0.7\np002,0.5,0.5\np003,0.6,0.4\n"
TABLE = {
    "p000": {"plain": 0.8, "rhyme": 0.2},
    "p001": {"plain": 0.3, "rhyme": 0.7},
    "p002": {"plain": 0.5, "rhyme": 0.5},
    "p003": {"plain": 0.6, "rhyme": 0.4},
}


@pytest.fixture(scope="module")
def whole(catalogue, base, tmp_path_factory):
    """Every row twice, in one folder."""
    folder = tmp_path_factory.mktemp("whole")
    summary = proxies.run(TABLE, catalogue, base, folder, tokens=1300, workers=2, show=False, replicates=2)
    return folder, summary


@pytest.fixture(scope="module")
def shards(catalogue, base, tmp_path_factory):
    """The same in two shards."""
    folders = [tmp_path_factory.mktemp(f"shard{part}") for part in (1, 2)]
    for part, folder in enumerate(folders, start=1):
        options = {"tokens": 1300, "workers": 2, "show": False, "replicates": 2, "shard": (part, 2)}
        proxies.run(TABLE, catalogue, base, folder, **options)
    return folders


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv", encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def without_time(found: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{name: cell for name, cell in row.items() if name != "seconds"} for row in found]


def copied(folder: Path, to: Path, **changes: object) -> Path:
    """metrics.csv and swarm.json of a folder, which is all that a merge needs; `changes` of what the runs share."""
    to.mkdir()
    (to / "metrics.csv").write_bytes((folder / "metrics.csv").read_bytes())
    content = files.read_json(folder / "swarm.json")
    content["common"] |= changes
    files.write_json(to / "swarm.json", content)
    return to


# --- shards ------------------------------------------------------------------------------------------------------------


def test_a_shard_is_decided_by_the_name_alone():
    names = [f"p{number:03d}" for number in range(24)] + [f"h{number:03d}" for number in range(6)] + ["token_share"]
    made = table.units({name: {"a": 1.0} for name in names}, 1, SwarmOptions())
    parts = [[unit.name for unit in table.in_shard(made, (part, 4))] for part in (1, 2, 3, 4)]
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert all(sum(name.startswith("p") for name in part) == 6 for part in parts)
    more = table.units({name: {"a": 1.0} for name in [*reversed(names), "p024", "x"]}, 9, SwarmOptions())
    again = [[unit.name for unit in table.in_shard(more, (part, 4))] for part in (1, 2, 3, 4)]
    assert all(set(old) <= set(new) for old, new in zip(parts, again, strict=True))


@pytest.mark.parametrize("word", ["0/4", "5/4", "2", "2/0", "a/b", "-1/4", "1/4/2", ""])
def test_bad_shards_are_told(word):
    with pytest.raises(HaigoError, match="PART/PARTS"):
        parse_shard(word)
    assert parse_shard(" 2/4 ") == (2, 4)
    with pytest.raises(HaigoError, match="holds none of the 1 models"):
        table.in_shard(table.units({"p000": {"a": 1.0}}, 0, SwarmOptions()), (2, 2))


def test_shards_merge_to_the_whole_table(whole, shards, tmp_path, capsys):
    assert 0 < len(rows(shards[0])) < 8 and len(rows(shards[0])) + len(rows(shards[1])) == 8
    words = ["--merge", *map(str, shards), "--output-dir", str(tmp_path / "out")]
    assert cli.run(proxies.main, words) == cli.OK
    assert "8 proxies from 2 folders" in capsys.readouterr().out
    assert without_time(rows(tmp_path / "out")) == without_time(rows(whole[0]))
    assert files.read_json(tmp_path / "out" / "noise.json") == files.read_json(whole[0] / "noise.json")
    read_back = table.read_ratios(tmp_path / "out" / "ratios.csv")
    assert read_back == TABLE
    # what was merged can be merged again; what both have is kept once
    again = merge.merge([tmp_path / "out", shards[1]], tmp_path / "more")
    assert again.runs == 8 and sorted(again.twice) == sorted(row["run"] for row in rows(shards[1]))
    assert (tmp_path / "more" / "metrics.csv").read_bytes() == (tmp_path / "out" / "metrics.csv").read_bytes()
    part = merge.merge([shards[0]], tmp_path / "part")
    assert len(part.missing) == 8 - part.runs


def test_what_cannot_be_compared_is_not_merged(catalogue, base, whole, shards, tmp_path):
    def says(other: Path, kind: type[HaigoError] = Refused) -> str:
        with pytest.raises(kind) as error:
            merge.merge([shards[0], other], tmp_path / "out")
        assert not (tmp_path / "out" / "metrics.csv").exists()
        return error.value.problem

    def trained(name: str, **changes: object) -> Path:
        given = {"tokens": 1300, "config": base, "catalogue": catalogue, **changes}
        proxies.run({"p009": TABLE["p001"]}, output_dir=tmp_path / name, workers=1, show=False, replicates=1, **given)
        return tmp_path / name

    assert "tokens (1280 / 640)" in says(trained("budget", tokens=650))
    optimizer = {"type": "Adam", "params": {"lr": 0.002, "betas": [0.9, 0.95], "eps": 1e-8}}
    assert "differ in lr (0.004 / 0.002)" in says(trained("config", config={**base, "optimizer": optimizer}))
    swapped = dict(reversed([(name, splits) for name, splits in catalogue.corpora.items()]))
    swapped = dict(zip(catalogue.corpora, swapped.values(), strict=True))
    told = says(trained("data", catalogue=catalogues.Catalogue(catalogue.tokenizer, swapped)))
    assert "train.plain" in told and "valid.rhyme" in told
    assert "base_seed (1234 / 5)" in says(trained("seed", seed=5))
    assert "tokenizer (" in says(copied(shards[1], tmp_path / "tokenizer", tokenizer="0" * 64))
    assert "eval_tokens (16384 / 99)" in says(copied(shards[1], tmp_path / "evaluation", eval_tokens=99))
    # one run with two results, and one name for two mixtures
    changed = copied(shards[0], tmp_path / "changed")
    lines = (changed / "metrics.csv").read_text().splitlines()
    cells = lines[1].split(",")
    lines[1] = ",".join([cells[0], f"{float(cells[1]) + 0.01:.6f}", *cells[2:]])
    (changed / "metrics.csv").write_text("\n".join(lines) + "\n")
    assert f"'{cells[0]}' has two results: plain_bpb is {cells[1]} in" in says(changed)
    other = copied(shards[0], tmp_path / "other")
    content = files.read_json(other / "swarm.json")
    content["runs"]["p002"]["weights"] = {"plain": 0.4, "rhyme": 0.6}
    files.write_json(other / "swarm.json", content)
    assert "different mixtures under the name 'p002': plain is 0.5 and 0.4" in says(other)
    # and folders that are none
    old = copied(shards[1], tmp_path / "old")
    (old / "swarm.json").unlink()
    assert "has no swarm.json" in says(old, HaigoError)
    assert "is not a folder" in says(tmp_path / "nowhere", HaigoError)
    assert "twice" in says(shards[0], HaigoError)
    (old / "swarm.json").write_text('{"format": 1, "common": {}, "runs": {"p000": 3}}')
    assert "form of this version" in says(old, HaigoError)
    with pytest.raises(HaigoError, match="both merged and written"):
        merge.merge([shards[0]], shards[0])


def test_rounding_of_other_processors_is_no_contradiction(shards, tmp_path):
    near = copied(shards[0], tmp_path / "near")
    lines = (near / "metrics.csv").read_text().splitlines()
    cells = lines[1].split(",")
    lines[1] = ",".join([cells[0], f"{float(cells[1]) + 1e-6:.6f}", *cells[2:-1], "77.7"])
    (near / "metrics.csv").write_text("\n".join(lines) + "\n")
    made = merge.merge([shards[0], near], tmp_path / "out")
    assert made.runs == len(rows(shards[0])) and rows(tmp_path / "out")[0]["plain_bpb"] == cells[1]


def test_a_shard_keeps_what_the_folder_has_of_others(catalogue, base, shards, tmp_path):
    options = {"tokens": 1300, "workers": 1, "show": False}
    first = proxies.run(TABLE, catalogue, base, tmp_path, shard=(1, 2), **options)
    assert first.left and sorted([*first.trained, *first.left]) == sorted(TABLE)
    second = proxies.run(TABLE, catalogue, base, tmp_path, shard=(2, 2), **options)
    assert sorted(second.trained) == sorted(first.left) and not second.left
    assert [row["run"] for row in rows(tmp_path)] == list(TABLE)


# --- replicates --------------------------------------------------------------------------------------------------------


def test_replicates_share_their_seeds_and_tell_the_noise(whole):
    folder, summary = whole
    assert list(summary.results) == [name for run in TABLE for name in (run, f"{run}@2")]
    assert {row["run"]: row["seed"] for row in rows(folder)} == {
        name: "1235" if "@" in name else "1234" for name in summary.results
    }
    noise = files.read_json(folder / "noise.json")
    assert noise["mixtures"] == 4 and noise["degrees_of_freedom"] == 4
    assert noise["degrees_of_freedom_common_seed"] == 3
    cells = {row["run"]: float(row["plain_bpb"]) for row in rows(folder)}
    gaps = np.array([cells[run] - cells[f"{run}@2"] for run in TABLE])
    assert noise["sd"]["plain_bpb"] == pytest.approx(np.sqrt((gaps**2).sum() / 2 / 4), rel=1e-3)
    # two seeds: what is left when the mean gap is taken off
    assert noise["sd_common_seed"]["plain_bpb"] == pytest.approx(np.sqrt(gaps.var(ddof=1) / 2), rel=1e-3)
    assert noise == summary.noise


def test_the_mixer_reads_replicates_as_one_run(whole, tmp_path):
    (tmp_path / "ratios.csv").write_text(RATIOS)
    made = read(tmp_path / "ratios.csv", whole[0] / "metrics.csv")
    assert made.runs == list(TABLE) and made.repeats == [2, 2, 2, 2]
    cells = {row["run"]: float(row["rhyme_bpb"]) for row in rows(whole[0])}
    wanted = [(cells[run] + cells[f"{run}@2"]) / 2 for run in TABLE]
    assert made.losses[:, made.metrics.index("rhyme_bpb")].tolist() == pytest.approx(wanted)
    assert made.noise is None and any("trained several times" in note for note in made.notes)


def test_replicates_of_some_rows_are_added_to_a_finished_table(catalogue, base, tmp_path):
    two = {name: TABLE[name] for name in ("p000", "p001")}
    options = {"tokens": 650, "workers": 1, "show": False}
    proxies.run(two, catalogue, base, tmp_path, **options)
    assert not (tmp_path / "noise.json").exists()
    more = proxies.run(two, catalogue, base, tmp_path, replicates=3, replicate_runs=["p001"], **options)
    assert more.trained == ["p001@2", "p001@3"] and list(more.results) == ["p000", "p001", "p001@2", "p001@3"]
    assert more.noise is not None and more.noise["degrees_of_freedom"] == 2
    assert "sd_common_seed" not in more.noise  # one mixture alone compares nothing
    own = proxies.run(two, catalogue, base, tmp_path, seeds="per-proxy", **options)
    assert sorted(own.trained) == ["p000", "p001"]
    assert len({result["seed"] for result in own.results.values()}) == 2
    assert not (tmp_path / "noise.json").exists()


def test_bad_replicates_are_told():
    with pytest.raises(HaigoError, match="Did you mean 'p001'"):
        table.units(TABLE, 1, SwarmOptions(replicates=2, replicate_runs=["p0001"]))
    with pytest.raises(HaigoError, match="--replicates gives no number"):
        table.units(TABLE, 1, SwarmOptions(replicate_runs=["p001"]))
    with pytest.raises(HaigoError, match="at least 1"):
        SwarmOptions(replicates=0)
    with pytest.raises(HaigoError, match="Did you mean 'common'"):
        SwarmOptions(seeds="comon")


# --- repetition --------------------------------------------------------------------------------------------------------


def test_matched_proxies_repeat_as_the_target_run_will(world, catalogue, base, tmp_path):
    have = {name: len(MMapReader(world.prefix(name)).tokens) for name in ("plain", "rhyme")}
    supply = {"plain": have["plain"], "rhyme": 3_000}
    matching = epochs.Matching(6_400, supply)
    options = {"tokens": 1280, "workers": 1, "show": False, "matching": matching}
    one = {"p002": TABLE["p002"]}
    made = proxies.run(one, catalogue, base, tmp_path / "a", **options)
    result = made.results["p002"]
    stated = result["epochs_matched"]["corpora"]
    for name, facts in stated.items():
        assert facts["tokens"] == round(supply[name] * 1280 / 6400)
        assert facts["epochs"] == pytest.approx(facts["target_epochs"], rel=0.01)
        assert facts["epochs"] == pytest.approx(0.5 * 1280 / facts["tokens"], rel=1e-4)
    assert stated["rhyme"]["epochs"] == pytest.approx(0.5 * 6400 / 3000, rel=0.01)
    assert result == {**result, **files.read_json(tmp_path / "a" / "runs" / "p002" / "result.json")}
    # the engine was given the cut sets, in GPT-NeoX's own order: it goes round them so often, rounded up
    cut = {name: next((tmp_path / "a" / "matched" / name).glob("*/*.idx")).with_suffix("") for name in supply}
    for epochs_there, (name, prefix) in zip(result["epochs"], cut.items(), strict=True):
        tokens = len(MMapReader(prefix).tokens)
        assert tokens == stated[name]["tokens"] and files.read_json(f"{prefix}.json")["tokens"] == tokens
        samples = data_order.normalised([0.5, 0.5], 1280 // 32)[1][0]
        assert epochs_there == data_order.Dataset(prefix, samples, 32, 1234).epochs
        assert epochs_there == data_order.epochs_needed(tokens, 32, samples)
    assert rows(tmp_path / "a")[0]["epochs_matched"] == "6400"
    again = proxies.run(one, catalogue, base, tmp_path / "b", **options)
    assert again.results["p002"]["metrics"] == result["metrics"]
    for path in (tmp_path / "a" / "matched").rglob("*.bin"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()
    assert proxies.run(one, catalogue, base, tmp_path / "a", **options).trained == []
    assert proxies.run(one, catalogue, base, tmp_path / "a", tokens=1280, workers=1, show=False).trained == ["p002"]


def test_a_cut_set_is_whole_documents_of_the_corpus_and_grows(world, catalogue, tmp_path):
    reader = MMapReader(world.prefix("plain"))
    documents = {tuple(np.asarray(ids).tolist()) for ids in reader}

    words = tokenizers.load(world.tokenizer)

    def cut(target: float, seed: int = 1) -> list[tuple[int, ...]]:
        matching = epochs.Matching(target)
        made = epochs.match(catalogue, [{"plain": 1.0}], 500, 32, matching, tmp_path, seed, words)
        return [tuple(np.asarray(ids).tolist()) for ids in MMapReader(made.catalogue.prefix("plain", "train"))]

    small, large, other = cut(2_000), cut(1_000), cut(2_000, seed=2)
    assert set(small[:-1]) <= documents and any(full[: len(small[-1])] == small[-1] for full in documents)
    assert large[: len(small) - 1] == small[:-1] and sum(map(len, large)) == round(len(reader.tokens) / 2)
    assert other != small and sum(map(len, other)) == sum(map(len, small))
    manifest = files.read_json(next(path for path in tmp_path.rglob("*.json") if _tokens(path) == sum(map(len, small))))
    # no document end counts as text; a piece of bytes that was cut in two is no text, so the last document is left out
    text = [world.words.decode([i for i in ids if i != world.words.eod_id]) for ids in small[:-1]]
    assert 0 <= manifest["bytes"] - sum(len(each.encode()) for each in text) <= 6 * len(small[-1])
    assert manifest["documents"] == len(small) and manifest["tokenizer_sha256"] == world.words.sha256


def _tokens(path: Path) -> int:
    return int(files.read_json(path)["tokens"])


def test_what_cannot_be_matched_is_told(world, catalogue, tmp_path):

    words = tokenizers.load(world.tokenizer)
    have = len(MMapReader(world.prefix("plain")).tokens)

    def match(target: float, supply: dict[str, float] | None, weight: float = 1.0, proxy: int = 1000) -> epochs.Matched:
        mixtures = [{"plain": weight, "rhyme": 0.0}]
        return epochs.match(catalogue, mixtures, proxy, 32, epochs.Matching(target, supply), tmp_path, 1, words)

    assert "less than one sample of 32" in match(1e6, {"plain": 20_000}).remarks[0]
    with pytest.raises(HaigoError, match="would have 0"):
        match(1e9, {"plain": 20_000})
    with pytest.raises(HaigoError, match="not more than the 1,000 tokens of a proxy"):
        match(1000, None)
    with pytest.raises(HaigoError, match="no tokens for 'plain'"):
        match(1e6, {"rhyme": 5.0})
    with pytest.raises(HaigoError, match=f"holds {have:,}"):
        match(1e5, {"plain": 1e7}, proxy=2 * have)
    plenty = match(1e5, {"plain": 1e7}, weight=0.1)
    assert plenty.tokens == {"plain": have} and "nothing of it is repeated" in plenty.remarks[0]
    assert plenty.catalogue.prefix("plain", "train") == catalogue.prefix("plain", "train")


# --- killed ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_killed_proxy_goes_on_from_its_checkpoint(world, catalogue, base, tmp_path):
    yamlfile.write(tmp_path / "base.yml", {**base, "checkpoint_factor": 10})
    (tmp_path / "ratios.csv").write_text("run,plain,rhyme\np000,0.5,0.5\n")
    words = [sys.executable, "-m", "launch.proxies", "--ratios", "ratios.csv", "--config", "base.yml", "--workers", "1"]
    words += ["--catalogue", str(world.root / "corpora.yml"), "--output-dir", "out", "--tokens", "64000"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = subprocess.Popen(words, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    place, deadline = tmp_path / "out" / "runs" / "p000", time.monotonic() + 240
    while not (place / "checkpoint.pt").is_file():
        assert running.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    import torch

    step = torch.load(place / "checkpoint.pt", weights_only=True)["step"]
    assert step >= 10 and not (place / "result.json").exists()
    before = [line for line in _log(place) if line["step"] <= step]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    # the times of the first run's steps are still there: they were not trained again
    assert _log(place)[: len(before)] == before and _log(place)[-1]["final"]
    assert not (place / "checkpoint.pt").exists()


def _log(place: Path) -> list[dict[str, object]]:
    made = []
    for line in (place / "log.jsonl").read_text().splitlines():
        try:
            made.append(json.loads(line))
        except ValueError:
            break
    return made


@pytest.mark.parametrize("name", ["run.json", "result.json"])
@pytest.mark.parametrize("text", ["{", "null", "\udc80"])
def test_a_damaged_file_of_a_run_is_told(catalogue, base, tmp_path, name, text):
    options = {"tokens": 650, "workers": 1, "show": False}
    place = tmp_path / "runs" / "p000"
    place.mkdir(parents=True)
    job = jobs.prepare(
        proxies.proxy_config(base, TABLE["p000"], catalogue, base["seed"]),
        TrainOptions(
            tokenizer=catalogue.tokenizer,
            tokens=650,
            valid={key: str(sets["valid"]) for key, sets in catalogue.corpora.items()},
            eval_tokens=16384,
            export=False,
        ),
    )
    files.write_json(place / "run.json", {"identity": job.identity()})
    (place / name).write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(HaigoError, match=f"{name} is (damaged|not valid JSON|not UTF-8)"):
        proxies.run({"p000": TABLE["p000"]}, catalogue, base, tmp_path, **options)


# --- words -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "told"),
    DATA["bad_words_are_told"]
)  # fmt: skip
def test_bad_words_are_told(world, catalogue, base, tmp_path, capsys, more, told):
    yamlfile.write(tmp_path / "base.yml", base)
    (tmp_path / "ratios.csv").write_text(RATIOS)
    given = ["--ratios", tmp_path / "ratios.csv", "--catalogue", world.root / "corpora.yml", "--config"]
    given += [tmp_path / "base.yml"]
    start = [] if not more or more[0] in ("--merge", "--ratios") else given
    assert (
        cli.run(proxies.main, [str(word) for word in [*start, *more, "--output-dir", tmp_path / "o"]]) == cli.BAD_INPUT
    )
    said = capsys.readouterr().err
    assert told in said and "fix:" in said and not (tmp_path / "o" / "runs").exists()
