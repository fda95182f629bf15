"""Dedup as steps of preprocess.scale: the documents that preprocess.dedup keeps, whatever was killed or dealt out how."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from corpora_folders import write

from haigo import cli, yamlfile
from haigo.cli import HaigoError
from haigo.formats import documents
from preprocess import arrays, dedup, dedup_plan, dedup_steps, near_pairs, scale, scale_runfile, scale_tasks
from preprocess.minhash import Shape, Sketcher

ROOT = Path(__file__).resolve().parents[2]
LETTERS = [chr(code) for code in range(0x4E00, 0x5400)]
FILES = 6
FURTHER = ("decontaminate", "score", "resplit")


def invented(rng, size):
    return "".join(rng.choices(LETTERS, k=size))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Raw files of one corpus, and another corpus that is cleaned; many documents repeat others, also of other files."""
    place = tmp_path_factory.mktemp("world")
    rng = random.Random(4)
    kept = [invented(rng, rng.randrange(150, 400)) for _ in range(120)]
    template = invented(rng, 900)
    texts = [*kept, *rng.sample(kept, 20)]
    texts += [one[: -len(one) // 15] + invented(rng, len(one) // 15) for one in rng.sample(kept, 40)]
    texts += [template[:450] + invented(rng, 150) + template[450:] for _ in range(60)]
    rng.shuffle(texts)
    (place / "raw").mkdir()
    for number in range(FILES):
        rows = [{"id": f"{number}-{at}", "text": text} for at, text in enumerate(texts[number::FILES])]
        body = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (place / "raw" / f"{number}.jsonl").write_text(body, encoding="utf-8")
    news = [(f"n{number}", text[5:]) for number, text in enumerate(rng.sample(kept, 15))]
    write(place / "news", "news", {"train": [*news, ("own", invented(rng, 300))]})
    return place


def run_file(world, model_dir, place, **more):
    place.mkdir(exist_ok=True)
    keys = {"corpus": "web", "inputs": [str(world / "raw")], "output": str(place / "out"), "tokenizer": str(model_dir)}
    keys |= {"clean": {"min_chars": 10}, "tasks": 3, "dedup": {}}
    yamlfile.write(place / "run.yml", keys | more)
    return place / "run.yml"


def bytes_of(out):
    """Everything that a run leaves for others."""
    made = [path for step in ("dedup", *FURTHER) for path in out.glob(f"{step}/**/*")]
    kept = [path for path in made if path.suffix == ".zst" or path.name == "clean.json"]
    kept += [
        *out.glob("*_document.*"),
        *out.glob("*.json"),
        *out.glob("contaminated*"),
        *out.glob("contaminated/*.jsonl"),
    ]
    return {str(path.relative_to(out)): path.read_bytes() for path in kept if path.is_file()}


def lines(folders):
    return {
        split: [
            one
            for folder in folders
            for path in sorted((folder / split).glob("*.zst"))
            for one in documents.read_shard(path)
        ]
        for split in documents.SPLITS
    }


@pytest.fixture(scope="module")
def whole(world, model_dir, tmp_path_factory):
    place = tmp_path_factory.mktemp("whole")
    assert scale.main([str(run_file(world, model_dir, place))]) == 0
    return place / "out"


def as_one(out, place, name="web"):
    """The cleaned folders of a run as one corpus, as preprocess.dedup reads it."""
    found = lines(sorted(out.glob("clean/[0-9]*/")))
    return write(place / name, name, {split: [(one.id, one.text) for one in rows] for split, rows in found.items()})


def texts(rows):
    return {split: [(one.id, one.text) for one in those] for split, those in rows.items()}


def test_it_keeps_what_dedup_keeps(whole, tmp_path):
    report = dedup.dedup([as_one(whole, tmp_path)], tmp_path / "one")
    kept = lines(sorted(whole.glob("dedup/[0-9]*/")))
    assert texts(kept) == texts(lines([tmp_path / "one" / "web"]))
    told = json.loads((whole / "dedup.json").read_text())
    assert told["corpora"] == report["corpora"] and told["corpora"]["web"]["near_duplicate"] > 20
    assert told["corpora"]["web"]["exact_duplicate"] > 5 and told["left_in"] == report["left_in"]
    trained = json.loads((whole / "train_text_document.json").read_text())
    assert trained["documents"] == len(kept["train"]) < told["documents_in"]


@pytest.mark.parametrize(("tasks", "workers"), [(1, 1), (5, 2)])
def test_ranges_lots_and_tasks_do_not_matter(world, model_dir, whole, tmp_path, monkeypatch, tasks, workers):
    monkeypatch.setattr(dedup_plan, "_RANGE", 20)
    monkeypatch.setattr(dedup_plan, "_LOT", 30)
    monkeypatch.setattr(dedup_plan, "_LOTS", 1000)
    path = run_file(world, model_dir, tmp_path, tasks=tasks, workers=workers)
    assert scale.main([str(path)]) == 0
    assert bytes_of(tmp_path / "out") == bytes_of(whole)
    job = scale_runfile.dedup_job(scale_runfile.read(path))
    assert (job.plan().ranges, job.plan().lots() > 2) == (1 + tasks, True)
    before = {one: one.stat().st_mtime_ns for one in (tmp_path / "out").rglob("*.*") if "dedup" in str(one)}
    assert scale.main([str(path)]) == 0  # nothing is done twice
    again = {one: one.stat().st_mtime_ns for one in before}
    assert {one.name for one in before if before[one] != again[one]} <= {"plan.json"} | {
        one.name for one in before if "logs" in one.parts
    }


def test_corpora_beside_take_part_by_priority(world, model_dir, tmp_path):
    beside = {"news": str(world / "news")}
    with pytest.raises(HaigoError, match=r"'dedup\.priority' does not name every corpus"):
        scale_runfile.read(run_file(world, model_dir, tmp_path, dedup={"beside": beside}))
    path = run_file(world, model_dir, tmp_path, dedup={"beside": beside, "priority": ["news", "web"]})
    assert scale.main([str(path)]) == 0
    both = dedup.dedup(
        [as_one(tmp_path / "out", tmp_path), world / "news"], tmp_path / "both", priority=["news", "web"]
    )
    told = json.loads((tmp_path / "out" / "dedup.json").read_text())
    assert told["corpora"] == both["corpora"] and told["corpora"]["web"]["repeats_of"]["news"] > 8
    kept = lines(sorted((tmp_path / "out").glob("dedup/[0-9]*/")))
    assert texts(kept) == texts(lines([tmp_path / "both" / "web"])) and not (tmp_path / "out" / "news").exists()


def test_a_bad_shard_is_named_and_only_that_is_done_again(world, model_dir, whole, tmp_path, capfd):
    path = run_file(world, model_dir, tmp_path)
    assert scale.main([str(path), "--only", "clean"]) == 0
    shard = tmp_path / "out" / "clean" / "00002" / "train" / "00000.jsonl.zst"
    good = shard.read_bytes()
    shard.write_bytes(good[:-20])
    capfd.readouterr()
    assert cli.run(scale.main, [str(path), "--only", "dedup"]) == cli.FAILED
    said = capfd.readouterr().err
    assert str(shard) in said and "dedup-sketch" in said
    sketches = {one: one.stat().st_mtime_ns for one in (tmp_path / "out" / "dedup-work").glob("sketch-*")}
    assert len(sketches) >= FILES - 1 and not (tmp_path / "out" / "dedup").exists()
    shard.write_bytes(good)
    assert scale.main([str(path), "--only", "dedup"]) == 0
    assert {one: one.stat().st_mtime_ns for one in sketches} == sketches
    for only in ("index", "join"):
        assert scale.main([str(path), "--only", only]) == 0
    assert bytes_of(tmp_path / "out") == bytes_of(whole)


def test_a_damaged_plan_is_made_again_and_a_missing_corpus_is_said_before_the_work(
    world, model_dir, whole, tmp_path, capfd
):
    out = shutil.copytree(whole, tmp_path / "out")
    path = run_file(world, model_dir, tmp_path)
    (out / "dedup-work" / "plan.json").write_bytes((whole / "dedup-work" / "plan.json").read_bytes()[:-9])
    assert scale.main([str(path)]) == 0
    assert bytes_of(out) == bytes_of(whole)
    beside = {"beside": {"news": str(tmp_path / "none")}, "priority": ["news", "web"]}
    path = run_file(world, model_dir, tmp_path, output=str(tmp_path / "new"), dedup=beside)
    assert cli.run(scale.main, [str(path)]) == cli.BAD_INPUT
    assert "'dedup.beside' names the corpus 'news'" in capfd.readouterr().err
    assert not (tmp_path / "new").exists()


def test_what_failed_first_is_said_and_not_what_lacks_it(world, model_dir, tmp_path, monkeypatch, capfd):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "a place"))

    monkeypatch.setattr(dedup_steps.FillBuckets, "_fill", full)
    assert cli.run(scale.main, [str(run_file(world, model_dir, tmp_path))]) == cli.FAILED
    said = capfd.readouterr().err.splitlines()[-2]
    assert "The first, in the step dedup-buckets: no space left on the disk" in said


def test_killed_runs_are_finished_by_the_same_command(world, model_dir, whole, tmp_path):
    path = run_file(world, model_dir, tmp_path, workers=2)
    command = [sys.executable, "-m", "preprocess.scale", str(path)]
    environment = {**os.environ, "HAIGO_QUIET": "1", "PYTHONPATH": str(ROOT)}
    for step in ("dedup-sketch", "dedup-buckets", "dedup-pairs", "dedup-drop"):
        child = subprocess.Popen(
            command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        while child.poll() is None and not list((tmp_path / "out" / scale_tasks.TASKS).glob(f"{step}/*.json")):
            time.sleep(0.005)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert bytes_of(tmp_path / "out") == bytes_of(whole)


def test_too_little_memory_is_said(whole, monkeypatch):
    job = dedup_plan.Job(
        (("web", str(whole / "clean"), None),), str(whole), str(whole / "dedup-work"), dedup.DedupOptions()
    )
    monkeypatch.setattr(dedup_plan, "BYTES_OF_A_LABEL", 10**8)
    with pytest.raises(HaigoError, match="GB of memory to be clustered"):
        dedup_steps.PlanRanges(job)._content()


def test_pages_of_a_template_cost_the_same_each():
    """Bounded work for each page, and a copy is found all the same."""
    rng = random.Random(3)
    template = invented(rng, 1000)
    pages = [template[:500] + invented(rng, 170) + template[500:] for _ in range(400)]
    for at in range(20):
        pages.append(pages[17 * at][:-40] + invented(rng, 40))
    sketcher = Sketcher(Shape())
    sketches, sets = sketcher.sketch(pages), sketcher.shingle_sets(pages)
    found = near_pairs.candidates(sketches, 0.8)
    answers = {}
    for most in ((near_pairs.MOST_KEPT, near_pairs.MOST_CHECKED), (10**6, 10**6)):
        answers[most] = near_pairs.near(sketches, found, lambda place: sets[found.numbers[place]], 0.8, most)
    capped, full = answers.values()
    assert capped.checked <= near_pairs.MOST_CHECKED * len(pages) < full.checked / 2
    assert not full.cut_short and len(capped.cut_short) > 200
    copies = set(range(400, 420))
    assert len(copies & {each.number for each in full.removals}) == 20
    assert len(copies & {each.number for each in capped.removals}) >= 19
    known = near_pairs.left_in(sketches, found, capped, near_pairs.np.zeros(len(pages), dtype=int))
    assert known["crowded"] == len(capped.cut_short)


def left_in(pages, most):
    """What is said to be left in, and how many removals there were."""
    sketcher = Sketcher(Shape())
    sketches, sets = sketcher.sketch(pages), sketcher.shingle_sets(pages)
    found = near_pairs.candidates(sketches, 0.8)
    answer = near_pairs.near(sketches, found, lambda place: sets[found.numbers[place]], 0.8, most)
    said = near_pairs.left_in(sketches, found, answer, near_pairs.np.zeros(len(pages), dtype=int))
    return said, {each.number for each in answer.removals}


def test_what_shares_no_bucket_is_said_to_be_left_in():
    """Of pairs that are .808 alike 6 % share no bucket: each of 14 with probability .808^8."""
    rng = random.Random(5)
    texts = [invented(rng, 400) for _ in range(1200)]
    texts += [text[:-42] + invented(rng, 42) for text in texts]
    said, gone = left_in(texts, (near_pairs.MOST_KEPT, near_pairs.MOST_CHECKED))
    missed = 1200 - len(gone)
    assert missed > 40 and abs(said["documents"] - missed) < 0.35 * missed
    assert said["for_crowds"] == 0 == said["crowded"]


def test_what_crowds_hide_is_said_to_be_left_in():
    """Copies among pages of a template: most of what is said to be left in is, and little is said of nothing."""
    rng = random.Random(4)
    template = invented(rng, 500)
    own = [invented(rng, 84) for _ in range(3000)]
    copies = [text[:-52] + invented(rng, 52) for text in own[:300]]
    pages = [template[:250] + text + template[250:] for text in own + copies]
    said, gone = left_in(pages, (8, 4))
    missed = 300 - len(gone & set(range(3000, 3300)))
    assert missed > 15 and 0.5 * missed < said["documents"] < 2 * missed
    assert said["for_crowds"] > 0.5 * said["documents"]


def test_arrays_of_a_file_are_one_map(tmp_path):
    """Of thousands of shards all are held at a time, and Linux gives a process 65,530 maps."""
    made = {"a": np.arange(20_000).reshape(4, -1), "none": np.zeros((0, 3)), "b": np.ones(9_000, np.float32)}
    with arrays.create(tmp_path / "some", "recipe") as out:
        out.add(**made)
    found = arrays.read(tmp_path / "some")
    assert {name: (each.dtype, each.tolist()) for name, each in found.items()} == {
        name: (each.dtype, each.tolist()) for name, each in made.items()
    }
    assert Path("/proc/self/maps").read_text().count(str(tmp_path / "some")) == 1
