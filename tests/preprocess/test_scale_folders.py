"""Decontamination, scores and splits as steps of preprocess.scale: the documents of the single commands."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from corpora_folders import texts, write

from haigo import cli, files, yamlfile
from haigo.cli import HaigoError
from haigo.formats import documents
from preprocess import (
    clean,
    decontaminate,
    dedup,
    quality,
    scale,
    scale_estimate,
    scale_runfile,
    scale_tasks,
    score,
    split,
)

ROOT = Path(__file__).resolve().parents[2]
LETTERS = [chr(code) for code in range(0x4E00, 0x4F00)]
GOOD, PLAIN = LETTERS[:16], LETTERS[16:32]
FILES, EACH = 5, 14
STEPS = ("decontaminate", "score", "resplit")


def invented(rng, size, letters=LETTERS):
    return "".join(rng.choices(letters, k=size))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Raw files, evaluation items of which some stand in them, and a model of quality."""
    place, rng = tmp_path_factory.mktemp("world"), random.Random(5)
    items = [{"id": number, "text": invented(rng, 60)} for number in range(8)]
    (place / "items.jsonl").write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in items))
    (place / "raw").mkdir()
    for number in range(FILES):
        body = ""
        for at in range(EACH):
            letters = GOOD if at % 3 else PLAIN
            text = "\n".join(invented(rng, 50, letters) for _ in range(3))
            text += f"\n{items[number]['text']}\n{invented(rng, 30)}" if at % 5 == 0 else ""
            body += json.dumps({"id": f"{number}-{at}", "text": text}, ensure_ascii=False) + "\n"
        (place / "raw" / f"{number}.jsonl").write_text(body, encoding="utf-8")
    for name, letters in (("good", GOOD), ("plain", PLAIN)):
        write(place / name, name, {"train": [(f"{at}", invented(rng, 150, letters)) for at in range(60)]})
    quality.train([str(place / "good")], [str(place / "plain")], str(place / "model"))
    return place


def run_file(world, model_dir, place, **more):
    place.mkdir(exist_ok=True)
    keys = {"corpus": "web", "inputs": [str(world / "raw")], "output": str(place / "out"), "tokenizer": str(model_dir)}
    keys |= {"clean": {"min_chars": 10, "split_shares": [0.8, 0.1, 0.1]}, "tasks": 3, "resplit": {}}
    keys |= {"decontaminate": {"against": [str(world / "items.jsonl")], "workers": 9}}  # a task is one process
    keys |= {"score": {"quality": str(world / "model"), "least": {"quality": 0.2}}}
    yamlfile.write(place / "run.yml", {key: value for key, value in (keys | more).items() if value is not None})
    return str(place / "run.yml")


def bytes_of(out):
    """Everything that a run leaves for others."""
    kept = [path for step in STEPS for path in out.glob(f"{step}/*/**/*") if path.name != ".haigo"]
    kept += [
        *out.glob("*_document.*"),
        *out.glob("*.json"),
        *out.glob("contaminated*"),
        *out.glob("contaminated/*.jsonl"),
    ]
    return {str(path.relative_to(out)): path.read_bytes() for path in kept if path.is_file()}


def folders(out, step):
    return sorted(out.glob(f"{step}/[0-9]*/"))


def shards_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("*/*.zst")}


@pytest.fixture(scope="module")
def whole(world, model_dir, tmp_path_factory):
    place = tmp_path_factory.mktemp("whole")
    assert scale.main([run_file(world, model_dir, place)]) == 0
    return place / "out"


def as_one(out, step, place):
    """The folders of a step as one corpus."""
    rows = {name: [] for name in documents.SPLITS}
    for folder in folders(out, step):
        for name, found in texts(folder).items():
            rows[name] += found.items()
    return write(place / "web", "web", rows)


def test_each_folder_has_the_bytes_of_the_single_commands(whole, world, tmp_path):
    against = [world / "items.jsonl"]
    for number, folder in enumerate(folders(whole, "clean")):
        decontaminate.decontaminate([folder], against, tmp_path / f"d{number}")
        place = tmp_path / f"d{number}" / "web"
        assert shards_of(place) == shards_of(whole / "decontaminate" / folder.name)
        assert files.read_json(place / "clean.json") == files.read_json(
            whole / "decontaminate" / folder.name / "clean.json"
        )
        score.score([place], tmp_path / f"s{number}", quality=str(world / "model"), least={"quality": 0.2})
        scored = whole / "score" / folder.name
        assert shards_of(tmp_path / f"s{number}" / "web") == shards_of(scored)
        assert files.read_json(tmp_path / f"s{number}" / "web" / "clean.json") == files.read_json(scored / "clean.json")
    rules = [files.read_json(folder / "clean.json")["rules"] for folder in folders(whole, "resplit")]
    assert sum(one["contaminated"]["documents"] for one in rules) == 3 * FILES
    assert sum(one["low_quality"]["documents"] for one in rules) > FILES


@pytest.fixture
def small_shards(monkeypatch):
    """Shards of a few documents, in this process."""
    monkeypatch.setattr(documents.ShardWriter.__init__, "__defaults__", (2_500,))


@pytest.fixture(scope="module")
def dump(world, model_dir, tmp_path_factory):
    """One large file, cut into pieces, of which the folder has many shards; and the run."""
    place = tmp_path_factory.mktemp("dump")
    (place / "raw.jsonl").write_bytes(b"".join(path.read_bytes() for path in sorted((world / "raw").iterdir())))
    path = run_file(world, model_dir, place, inputs=[str(place / "raw.jsonl")], split_bytes=9_000, tasks=5, dedup={})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents.ShardWriter.__init__, "__defaults__", (2_500,))
        assert scale.main([path]) == 0
    return place, path


def test_a_large_file_is_many_pieces_of_every_step(dump, world, tmp_path, small_shards):
    """Of dedup, decontamination, scores and splits too; with the bytes of the single commands, and of one task."""
    place, path = dump
    chosen = scale.steps(scale_runfile.read(path))
    assert {len(files.read_json(one)["failed"]) for one in (place / "out" / scale_tasks.TASKS).rglob("*.json")} == {0}
    for step in ("dedup-drop", "decontaminate", "score", "resplit-count", "resplit"):
        notes = [note for note, _ in scale_tasks.notes(place / "out", step)]
        assert len(notes) == 5 and min(note["pieces"] for note in notes) >= 2, step
        assert len(chosen[step][0].pieces()) == sum(note["pieces"] for note in notes)
    dedup.dedup([place / "out" / "clean" / "00000"], tmp_path / "o")
    decontaminate.decontaminate([tmp_path / "o" / "web"], [world / "items.jsonl"], tmp_path / "d")
    made = score.score([tmp_path / "d" / "web"], tmp_path / "s", quality=str(world / "model"), least={"quality": 0.2})
    for step, single in (("dedup", "o"), ("decontaminate", "d"), ("score", "s")):
        folder = place / "out" / step / "00000"
        assert shards_of(folder) == shards_of(tmp_path / single / "web") and len(shards_of(folder)) > 10
        assert files.read_json(folder / "clean.json") == files.read_json(tmp_path / single / "web" / "clean.json")
    told = files.read_json(place / "out" / "score.json")
    assert told["corpora"] == made["corpora"] and told["options"] == made["options"]
    dealt, before = (texts(place / "out" / step / "00000") for step in ("resplit", "score"))
    assert {own: one for rows in dealt.values() for own, one in rows.items()} == {
        own: one for rows in before.values() for own, one in rows.items()
    }


@pytest.mark.parametrize("tasks", ["1", "3"])
def test_tasks_do_not_matter_to_a_large_file(dump, world, model_dir, tmp_path, small_shards, tasks):
    path = run_file(world, model_dir, tmp_path, inputs=[str(dump[0] / "raw.jsonl")], split_bytes=9_000, dedup={})
    assert scale.main([path, "--tasks", tasks]) == 0
    assert bytes_of(tmp_path / "out") == bytes_of(dump[0] / "out")


def test_the_report_and_the_ids_are_those_of_one_corpus(whole, world, tmp_path):
    report = decontaminate.decontaminate([as_one(whole, "clean", tmp_path)], [world / "items.jsonl"], tmp_path / "one")
    told = files.read_json(whole / "decontaminate.json")
    assert {key: told[key] for key in ("tasks", "corpora", "samples", "options", "against")} == {
        key: report[key] for key in ("tasks", "corpora", "samples", "options", "against")
    }
    assert told["tasks"]["items"]["found"] == FILES
    for name in ("contaminated.jsonl", "contaminated/items.jsonl"):
        assert (whole / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


def test_splits_are_those_of_the_whole_corpus(whole, world, model_dir, tmp_path):
    """Of files of a dozen documents each gives valid and test one; dealt out anew they are as of one cleaning of all."""
    path = run_file(world, model_dir, tmp_path, decontaminate=None, score=None)
    assert scale.main([path]) == 0
    raw = [str(world / "raw")]
    clean.clean_corpus("web", raw, tmp_path / "one", min_chars=10, split_shares=[0.8, 0.1, 0.1])
    dealt = texts(as_one(tmp_path / "out", "resplit", tmp_path))
    assert dealt == texts(tmp_path / "one") and dealt != texts(as_one(tmp_path / "out", "clean", tmp_path / "cleaned"))
    counts = dict.fromkeys(documents.SPLITS, 0)
    for folder in folders(whole, "resplit"):
        stays = texts(whole / "score" / folder.name)
        assert {own for rows in texts(folder).values() for own in rows} == {
            own for rows in stays.values() for own in rows
        }
        for name, row in files.read_json(folder / "clean.json")["splits"].items():
            counts[name] += row["documents"]
    trained = files.read_json(whole / "train_text_document.json")
    assert trained["documents"] == counts["train"] and min(counts.values()) > 0


def test_no_split_stays_empty_in_a_small_corpus(world, model_dir, tmp_path):
    shares = [0.999998, 0.000001, 0.000001]
    more = {"decontaminate": None, "score": None, "resplit": {"split_shares": shares, "seed": 3}}
    assert scale.main([run_file(world, model_dir, tmp_path, **more)]) == 0
    found = texts(as_one(tmp_path / "out", "resplit", tmp_path))
    cleaned = [one for folder in folders(tmp_path / "out", "clean") for name in documents.splits(folder)
               for one in documents.read(folder, name)]  # fmt: skip
    lowest = sorted(cleaned, key=lambda one: split.number(one, 3))[:2]
    assert [list(found[name]) for name in ("valid", "test")] == [[one.id] for one in lowest]


@pytest.mark.parametrize("tasks", [1, 7])
def test_tasks_do_not_matter_and_nothing_is_done_twice(world, model_dir, whole, tmp_path, tasks):
    path = run_file(world, model_dir, tmp_path, tasks=tasks)
    assert scale.main([path]) == 0
    assert bytes_of(tmp_path / "out") == bytes_of(whole)
    stamps = {one: one.stat().st_mtime_ns for step in STEPS for one in (tmp_path / "out" / step).rglob("*.*")}
    assert scale.main([path]) == 0
    assert {one: one.stat().st_mtime_ns for one in stamps} == stamps


def test_a_bad_shard_is_named_and_the_others_go_on(world, model_dir, whole, tmp_path, capfd):
    path = run_file(world, model_dir, tmp_path)
    assert scale.main([path, "--only", "clean"]) == 0
    shard = tmp_path / "out" / "clean" / "00002" / "train" / "00000.jsonl.zst"
    good = shard.read_bytes()
    documents.write_shard(tmp_path / "bad.jsonl.zst", [b'{"id": "a", "text"\n'])
    shard.write_bytes((tmp_path / "bad.jsonl.zst").read_bytes())
    for only in STEPS:
        assert cli.run(scale.main, [path, "--only", only]) == cli.FAILED
    said = capfd.readouterr().err
    assert str(shard) in said and "'decontaminate.skip_broken' N" in said and "--skip-broken" not in said
    assert [each.name for each in folders(tmp_path / "out", "resplit")] == ["00000", "00001", "00003", "00004"]
    shard.write_bytes(good)
    assert scale.main([path]) == 0
    assert bytes_of(tmp_path / "out") == bytes_of(whole) and not scale_tasks.failures(tmp_path / "out")


def test_a_failure_of_a_step_that_is_asked_for_no_more_leaves_nothing_out(world, model_dir, tmp_path, capfd):
    path = run_file(world, model_dir, tmp_path)
    assert scale.main([path, "--only", "clean"]) == 0
    shard = tmp_path / "out" / "clean" / "00002" / "train" / "00000.jsonl.zst"
    good = shard.read_bytes()
    documents.write_shard(shard, [b'{"id": "a", "text"\n'])
    assert cli.run(scale.main, [path, "--only", "decontaminate"]) == cli.FAILED
    shard.write_bytes(good)
    less = run_file(world, model_dir, tmp_path, decontaminate=None)
    assert cli.run(scale.main, [less]) == 0, capfd.readouterr().err
    assert len(folders(tmp_path / "out", "resplit")) == FILES and not scale_tasks.failures(tmp_path / "out")


def test_the_folder_says_only_what_the_run_file_asks_for(world, model_dir, whole, tmp_path, capfd):
    path, out = run_file(world, model_dir, tmp_path), tmp_path / "out"
    assert scale.main([path]) == 0
    (out / "contaminated" / "mine.jsonl").write_text("mine")
    made = [one for step in STEPS for one in (out / f"{step}-work").glob("[0-9]*.json")]
    stamps = {one: one.stat().st_mtime_ns for one in made}
    run_file(world, model_dir, tmp_path, decontaminate=None, score=None, resplit=None)
    assert cli.run(scale.main, [path]) == 0
    assert capfd.readouterr().err.count(" any more: its reports in ") == 3
    assert sorted(one.name for one in out.glob("*.json*") if "_document." not in one.name) == []
    assert [one.name for one in (out / "contaminated").glob("[!.]*")] == ["mine.jsonl"]
    assert not [one for step in STEPS for one in out.glob(f"{step}/*/{documents.REPORT}")]
    run_file(world, model_dir, tmp_path)
    assert cli.run(scale.main, [path]) == 0
    (out / "contaminated" / "mine.jsonl").unlink()
    assert bytes_of(out) == bytes_of(whole) and {one: one.stat().st_mtime_ns for one in made} == stamps


def test_what_is_of_an_input_that_is_no_more_goes(world, model_dir, tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.jsonl").write_bytes((world / "raw" / f"{number}.jsonl").read_bytes())
    inputs = [str(tmp_path / f"{number}.jsonl") for number in range(3)]
    assert scale.main([run_file(world, model_dir, tmp_path, inputs=inputs, dedup={})]) == 0
    assert scale.main([run_file(world, model_dir, tmp_path, inputs=inputs[:2], dedup={})]) == 0
    for step in ("clean", "dedup", *STEPS):
        assert [one.name for one in folders(tmp_path / "out", step)] == ["00000", "00001"], step


def test_a_file_of_which_nothing_stays_is_no_failure(world, model_dir, whole, tmp_path, capfd):
    (tmp_path / "short.jsonl").write_text('{"text": "短"}\n', encoding="utf-8")
    path = run_file(world, model_dir, tmp_path, inputs=[str(tmp_path / "short.jsonl"), str(world / "raw")], dedup={})
    assert cli.run(scale.main, [path]) == 0
    assert f"no document of {tmp_path / 'short.jsonl'} stays (1 came in)" in capfd.readouterr().err
    for step in ("clean", "dedup", *STEPS):
        assert files.read_json(tmp_path / "out" / step / "00000" / "clean.json")["documents_out"] == 0
    for name in ("train_text_document.bin", "valid_text_document.idx", "contaminated.jsonl"):
        assert (tmp_path / "out" / name).read_bytes() == (whole / name).read_bytes()


def test_a_corpus_of_which_nothing_stays_is_refused(world, model_dir, tmp_path, capfd):
    (tmp_path / "short.jsonl").write_text('{"text": "短"}\n', encoding="utf-8")
    path = run_file(world, model_dir, tmp_path, inputs=[str(tmp_path / "short.jsonl")])
    assert cli.run(scale.main, [path]) == cli.BAD_INPUT
    assert "no document is left" in capfd.readouterr().err


def test_a_broken_line_of_the_input_names_the_key_of_the_run_file(world, model_dir, tmp_path, capfd):
    (tmp_path / "bad.jsonl").write_text('{"text": 1}\n')
    path = run_file(world, model_dir, tmp_path, inputs=[str(tmp_path / "bad.jsonl"), str(world / "raw")])
    assert cli.run(scale.main, [path, "--only", "clean"]) == cli.FAILED
    said = capfd.readouterr().err
    assert "'clean.skip_broken' N" in said and "--skip-broken" not in said


@pytest.mark.slow
def test_killed_runs_are_finished_by_the_same_command_shard_by_shard(dump, world, model_dir, tmp_path, small_shards):
    """Killed as the first shard of a step is there: what is finished is not done twice."""
    path = run_file(
        world, model_dir, tmp_path, inputs=[str(dump[0] / "raw.jsonl")], split_bytes=9_000, dedup={}, workers=2
    )
    command = [sys.executable, "-m", "preprocess.scale", path, "--only"]
    environment = {**os.environ, "HAIGO_QUIET": "1", "PYTHONPATH": str(ROOT)}
    for step in ("clean", "dedup"):
        assert scale.main([path, "--only", step]) == 0
    for step in STEPS:
        child = subprocess.Popen(
            [*command, step], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        notes = tmp_path / "out" / f"{step}-work"
        while child.poll() is None and not list(notes.glob("[0-9]*.json")):
            time.sleep(0.005)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        stamps = {one: one.stat().st_mtime_ns for one in notes.glob("[0-9]*.json")}
        assert scale.main([path, "--only", step]) == 0
        assert stamps and {one: one.stat().st_mtime_ns for one in stamps} == stamps
    assert scale.main([path]) == 0
    assert bytes_of(tmp_path / "out") == bytes_of(dump[0] / "out")


def test_status_names_the_steps_and_memory_is_said_with_the_items(world, model_dir, whole, capsys, monkeypatch):
    path = str(whole.parent / "run.yml")
    assert cli.run(scale.main, [path, "--status", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["steps"]
    assert list(rows) == [
        "clean", "decontaminate", "decontaminate-report", "score", "score-report", "resplit-count", "resplit-plan", "resplit",
        "resplit-report", "index", "join",
    ]  # fmt: skip
    assert all(row["done"] == row["tasks"] for row in rows.values())
    monkeypatch.setattr(scale.scale_room, "_ITEM_BYTES", 1e9)
    assert cli.run(scale.main, [path]) == cli.BAD_INPUT
    assert "'--workers'" not in (said := capsys.readouterr().err) and "workers need about" in said


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"decontaminate": {}}, "'decontaminate.against' is missing"),
        ({"decontaminate": {"against": ["nowhere.jsonl"]}}, "nowhere.jsonl"),
        ({"score": {}}, "give 'score.quality' MODEL"),
        ({"score": {"quality": "nowhere"}}, "nowhere holds no model"),
        ({"score": {"spam": True, "least": {"quality": 0.5}}}, "'score.least' names 'quality'"),
        ({"resplit": {"split_shares": [0.5, 0.6, 0.1]}}, "not three shares that sum to 1"),
        ({"decontaminate": {"against": [str(ROOT / "README.md")], "remove": "none"}}, "leave one of the two out"),
    ],
)
def test_what_is_refused(world, model_dir, tmp_path, more, message):
    with pytest.raises(HaigoError) as caught:
        scale_runfile.read(run_file(world, model_dir, tmp_path, **more))
    assert message in str(caught.value)


@pytest.mark.slow
def test_the_estimate_knows_the_steps(world, model_dir, tmp_path, capsys):
    path = run_file(world, model_dir, tmp_path)
    assert cli.run(scale.main, [path, "--estimate", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    for kind in ("cpu_hours", "disk_gb"):
        assert list(said["run"][kind]) == ["clean", *STEPS, "index", "join", "all"]
    assert ", resplit 0.0" in scale_estimate.table(said)
