"""What preprocess.scale --estimate says of a run, against what the run takes; how repeats of a sample become those of all."""

import dataclasses
import json
import os
import random
import signal
from collections import Counter

import pytest

from haigo import cli, yamlfile
from haigo.cli import Failed
from haigo.formats import documents
from preprocess import scale, scale_estimate, scale_measured, scale_repeats, scale_room, scale_runfile, scale_sample
from preprocess.scale_repeats import Seen
from preprocess.scale_room import Text


def lines(count, seed=1):
    rng = random.Random(seed)
    for number in range(count):
        text = "".join(rng.choices("日本の山は雨である質問。川海空木火土金水", k=rng.randrange(200, 900)))
        yield json.dumps({"id": number, "text": text}, ensure_ascii=False) + "\n"


def write_run(place, model_dir, inputs, **more):
    keys = {"corpus": "x", "inputs": [str(each) for each in inputs], "output": str(place / "out")}
    yamlfile.write(place / "run.yml", keys | {"tokenizer": str(model_dir), "clean": {"min_chars": 10}} | more)
    return str(place / "run.yml")


@pytest.mark.parametrize("kind", ["one", "many"])
def test_counts_and_disk_are_those_of_the_run(kind, model_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scale_sample, "LEAST_BYTES", 400_000)
    monkeypatch.setattr(scale_sample, "_MANY", 5)
    (tmp_path / "raw").mkdir()
    for number in range(16 if kind == "many" else 1):
        path = tmp_path / "raw" / f"{number:02d}.jsonl"
        path.write_text("".join(lines(40 if kind == "many" else 640, seed=number)))
    path = write_run(tmp_path, model_dir, [tmp_path / "raw"], dedup={}, split_bytes=2**19 if kind == "one" else 0)
    assert cli.run(scale.main, [path, "--estimate", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert not (tmp_path / "out").exists() and 0.2 < said["share"] < 0.6
    assert scale.main([path]) == 0
    made = [json.loads((tmp_path / "out" / f"{each}_text_document.json").read_text()) for each in documents.SPLITS]
    assert said["run"]["tokens"] == pytest.approx(sum(each["tokens"] for each in made), rel=0.15)
    assert said["run"]["documents"] == pytest.approx(640, rel=0.15)
    assert said["run"]["repeated_share"] == 0 and len(made) == 3
    for step in ("clean", "dedup"):
        size = sum(one.stat().st_size for one in (tmp_path / "out" / step).rglob("*.jsonl.zst"))
        assert 0.7 * size < said["run"]["disk_gb"][step] * 1e9 < 1.3 * size + 3e5
    assert list(said["run"]["cpu_hours"]) == ["clean", "dedup", "index", "join", "all"]
    assert said["run"]["cpu_hours"]["all"] > 0 and not said["run"]["extrapolated"]
    assert 10e6 < said["run"]["memory_gb"]["dedup"] * 1e9 < 500e6


def test_so_many_tokens_are_labelled(model_dir, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(scale_sample, "LEAST_BYTES", 100_000)
    (tmp_path / "a.jsonl").write_text("".join(lines(200)))
    path = write_run(tmp_path, model_dir, [tmp_path / "a.jsonl"])
    assert cli.run(scale.main, [path, "--estimate", "--tokens", "2e11"]) == 0
    out = capsys.readouterr().out
    assert "so many tokens:" in out and ("199,9" in out or "200,0" in out)
    assert out.count("extrapolation: estimates were held against runs of up to") == 1
    assert "repeats" not in out and "dedup" not in out  # the run file asks for none
    assert cli.run(scale.main, [path, "--tokens", "2e11"]) == cli.BAD_INPUT
    assert "--tokens says nothing without --estimate" in capsys.readouterr().err


def test_a_file_that_stands_there_twice_is_told(model_dir, tmp_path):
    for name, seed in (("a", 1), ("b", 2), ("c", 1), ("d", 1)):
        (tmp_path / f"{name}.jsonl").write_text("".join(lines(50, seed)))
    (tmp_path / "d.jsonl").write_text(
        (tmp_path / "a.jsonl").read_text()[:-20] + "x" * 19 + "\n"
    )  # as long, other bytes
    run = scale_runfile.read(write_run(tmp_path, model_dir, [tmp_path / f"{each}.jsonl" for each in "abcd"], dedup={}))
    found = scale_sample.look(run)
    assert [path.name for path, _ in found.files] == ["a.jsonl", "b.jsonl", "d.jsonl"] and found.twins == 1
    assert found.all_raw - found.raw == (tmp_path / "c.jsonl").stat().st_size
    whole = scale_estimate.Passed(1, {}, {}, 150, 1, 1, 1, Seen(150, 0, (150,)), 0, 0)
    sample = scale_sample.Sample([], [], 1.0, None)
    repeats = scale_estimate.Estimate(run, found, sample, whole).repeats(1.0)
    assert repeats.likely == pytest.approx(0.25, abs=0.02)


def seen_of(clusters, share, rng, near_by=0):
    drawn = Counter(one for one in clusters if rng.random() < share)
    often = Counter(drawn.values())
    texts = tuple(often[each] for each in range(1, max(often) + 1))
    return Seen(sum(drawn.values()) + near_by, near_by, texts)


@pytest.mark.parametrize(("copied", "copies"), [(0.3, 2), (0.4, 5), (0.2, 50), (0.1, 20_000)])
@pytest.mark.parametrize("share", [0.02, 0.05, 0.5])
def test_copies_far_apart_are_worked_out(copied, copies, share):
    """A population of which a share stands in clusters of equal size: what there is in all is within what is said to fit."""
    rng, count = random.Random(7), 400_000
    clusters = [number // copies if number < copied * count else number for number in range(count)]
    wanted = 1 - len(set(clusters)) / count
    found = scale_repeats.of_all(seen_of(clusters, share, rng), share)
    assert found.least - 0.01 <= wanted <= found.most + 0.01
    assert found.likely == pytest.approx(wanted, rel=0.35, abs=0.02)


@pytest.mark.parametrize("seed", range(3, 9))
def test_copies_of_copies_are_worked_out(seed):
    """Clusters of all sizes, as mirrors of mirrors make them, and texts that every site has: the likeliest is that."""
    rng, clusters = random.Random(seed), list[int]()
    common = random.Random(seed).choices(range(-300, 0), [1 / (1 + rank) for rank in range(300)], k=400_000)
    for number in range(400_000):
        drawn = rng.random()
        copied = rng.choice(clusters) if clusters and drawn < 0.2 else number
        clusters.append(common[number] if drawn > 0.98 else copied)
    wanted = 1 - len(set(clusters)) / len(clusters)
    found = scale_repeats.of_all(seen_of(clusters, 0.03, rng), 0.03)
    assert found.likely == pytest.approx(wanted, rel=0.2) and found.least < wanted < found.most


def test_copies_side_by_side_are_as_many_in_all():
    everything = Seen(1000, 100, (900,))
    assert scale_repeats.of_all(everything, 0.01).likely == pytest.approx(0.1)
    assert scale_repeats.of_all(everything, 0.01).most > 0.2  # of a copy far away none would have been seen
    assert scale_repeats.of_all(everything, 1.0)[:2] == pytest.approx((0.1, 0.1))


def test_of_all_of_the_input_it_is_what_was_found():
    found = scale_repeats.of_all(Seen(1000, 100, (500, 80, 40, 30)), 1.0)
    assert found == pytest.approx([1 - 650 / 1000] * 3, abs=0.005)


def test_memory_grows_by_what_each_step_holds(model_dir, tmp_path):
    (tmp_path / "a.jsonl").write_text("".join(lines(3)))
    run = scale_runfile.read(write_run(tmp_path, model_dir, [tmp_path / "a.jsonl"], dedup={"memory_gb": 1}, tasks=2))
    small, large = (Text(count, count, count * 4000, count / 10) for count in (1e4, 1e8))
    assert scale_room.growing(run, "dedup-buckets", small) == pytest.approx(48e4)
    assert scale_room.growing(run, "dedup-buckets", large) < 1.05e9  # more ranges where memory_gb is less
    assert scale_room.growing(run, "dedup-cluster", large) > 8e8
    shard = documents.SHARD_BYTES
    assert 2 * shard < scale_room.growing(run, "dedup-drop", large) < 5 * shard  # a shard at a time
    assert scale_room.growing(run, "index", large) == 0


@dataclasses.dataclass(frozen=True)
class Dying:
    """A step that is killed, as for want of memory."""

    def __call__(self, data=None, rank=0, world_size=1):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_step_that_dies_on_the_sample_is_named():
    with pytest.raises(Failed, match="dedup-pairs failed on the sample: its process ended with -9"):
        scale_measured.taken([(Dying(), 1)], "dedup-pairs")
