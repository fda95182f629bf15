"""Large files cut into tasks: the bytes of cleaning them whole; bad files named while the others go on; how far a run is."""

import bz2
import gzip
import hashlib
import json
import lzma
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
import zstandard

from haigo import cli, digests, files, sealed, yamlfile
from haigo.cli import HaigoError
from haigo.formats import documents
from preprocess import clean, index, inspect, scale, scale_executors, scale_files, scale_runfile, scale_tasks, sources
from preprocess.options import CleanOptions, ReadOptions
from preprocess.sources import pieces

ROOT = Path(__file__).resolve().parents[2]


def rows(count, seed=1):
    rng = random.Random(seed)
    for number in range(count):
        text = "".join(rng.choices("日本の山は雨である質問。\n", k=rng.randrange(20, 300)))
        text = "何度も出てくる文章である。" * 5 if number % 17 == 0 else text
        yield {"id": f"r{number}", "text": text, "url": f"https://a{number % 3}.jp/{number}"}


def lines(count, seed=1):
    return [json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows(count, seed)]


def page(number, text):
    return (
        f"  <page>\n    <title>頁{number}</title>\n    <ns>0</ns>\n    <id>{number}</id>\n    <revision>\n      <text>"
        f"{text}</text>\n    </revision>\n  </page>\n"
    ).encode()


def dump(count):
    """A dump as its head, pages and end."""
    head = b"<mediawiki>\n  <siteinfo>\n    <sitename>x</sitename>\n  </siteinfo>\n"
    return head, [page(number, row["text"]) for number, row in enumerate(rows(count))], b"</mediawiki>\n"


def frames(blocks, pack):
    return b"".join(pack(block) for block in blocks)


def grouped(items, size):
    return [b"".join(items[at : at + size]) for at in range(0, len(items), size)]


def cut_anywhere(data, size):
    return [data[at : at + size] for at in range(0, len(data), size)]


def zstd(block):
    return zstandard.ZstdCompressor(level=1).compress(block)


def make(kind, folder):
    """A file of the kind, and whether it can be sought."""
    body, (head, pages, end) = b"".join(lines(400)), dump(300)
    whole = head + b"".join(pages) + end
    streams = [head, *grouped(pages, 25), end]
    content = {
        "plain.jsonl": body,
        "frames.jsonl.zst": frames(grouped(lines(400), 20), zstd),
        "torn.jsonl.zst": frames(cut_anywhere(body, 7001), zstd) + b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc",
        "torn.jsonl.bz2": frames(cut_anywhere(body, 7001), bz2.compress),
        "multistream.xml.bz2": frames(streams, bz2.compress),
        "torn.xml.bz2": frames(cut_anywhere(whole, 4999), bz2.compress),
        "plain.xml": whole,
        "one.jsonl.gz": gzip.compress(body),
        "one.jsonl.xz": lzma.compress(body),
        "one.jsonl.zst": zstd(body),
        "blank.txt": "\n\n\n".join(row["text"].replace("\n\n", "\n") for row in rows(200)).encode(),
    }
    path = folder / kind
    if kind == "pages.tar":
        with tarfile.open(path, "w") as archive:
            for number, row in enumerate(rows(80)):
                (folder / f"{number}.txt").write_text(row["text"])
                archive.add(folder / f"{number}.txt", f"{number}.txt")
    else:
        path.write_bytes(content[kind])
    return path


SOUGHT = [
    "plain.jsonl",
    "frames.jsonl.zst",
    "torn.jsonl.zst",
    "torn.jsonl.bz2",
    "multistream.xml.bz2",
    "torn.xml.bz2",
    "plain.xml",
]
THROUGH = ["one.jsonl.gz", "one.jsonl.xz", "one.jsonl.zst", "blank.txt", "pages.tar"]


@pytest.mark.parametrize("kind", SOUGHT)
@pytest.mark.parametrize("size", [900, 5000, 50_000])
def test_all_pieces_together_are_the_file(kind, size, tmp_path):
    path = make(kind, tmp_path)
    cuts = pieces.cut(path, path.name, ReadOptions(), size)
    assert len(cuts) > 1 or size > 5000 or path.stat().st_size < 2 * size
    assert [cut.end for cut in cuts[:-1]] == [cut.start for cut in cuts[1:]]
    there = [document for cut in cuts for document in cut.documents(ReadOptions())]
    assert not cuts or there == list(sources.read([path]))


def test_every_place_of_a_cut(tmp_path):
    """Ranges of one byte on: every cut that there can be, in lines with and without an end, and in pages."""
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "a"}\n\n{"text": "bc"}\r\n{"text": "d"}')
    head, pages, end = b"<mediawiki>\n", [page(1, "a"), page(2, "bc"), page(3, "<page>d</page>")], b"</mediawiki>"
    (tmp_path / "b.xml").write_bytes(head + b"".join(pages[:2]) + end)
    for path in (tmp_path / "a.jsonl", tmp_path / "b.xml"):
        whole, size = list(sources.read([path])), path.stat().st_size
        kind = "jsonl" if path.suffix == ".jsonl" else "mediawiki"
        for at in range(1, size):
            edges = ((0, at), (at, size))
            cuts = [pieces.Piece(str(path), path.name, kind, *edge) for edge in edges]
            assert [one for cut in cuts for one in cut.documents(ReadOptions())] == whole, at


def test_a_dump_that_is_cut_is_an_error_in_one_of_its_pieces(tmp_path):
    head, pages, _ = dump(60)
    path = tmp_path / "cut.xml"
    for end in (b"", b"  ", b"  <page>\n <title>"):
        path.write_bytes(head + b"".join(pages) + end)
        cuts = pieces.cut(path, path.name, ReadOptions(), 3000)
        assert len(cuts) > 3
        with pytest.raises(HaigoError, match="not well-formed"):
            [list(cut.documents(ReadOptions())) for cut in cuts]
        last = [
            pieces.Piece(str(path), path.name, "mediawiki", *edge)
            for edge in ((0, path.stat().st_size - 2), (path.stat().st_size - 2, path.stat().st_size))
        ]
        with pytest.raises(HaigoError, match="not well-formed"):
            [list(cut.documents(ReadOptions())) for cut in last]


@pytest.mark.parametrize("kind", THROUGH)
def test_what_cannot_be_sought_is_one_piece(kind, tmp_path):
    path = make(kind, tmp_path)
    assert pieces.cut(path, path.name, ReadOptions(), 900) == []


def test_a_damaged_piece_is_named(tmp_path):
    path = make("torn.jsonl.bz2", tmp_path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)
    cuts = pieces.cut(path, path.name, ReadOptions(), 900)
    with pytest.raises(HaigoError, match=r"torn.jsonl.bz2.* is cut short or damaged"):
        for cut in cuts:
            list(cut.documents(ReadOptions()))


# --- through the steps --------------------------------------------------------------------------------------------------


def run_file(place, raw, model_dir, **more):
    keys = {
        "corpus": "x",
        "inputs": [str(one) for one in raw],
        "output": str(place / "out"),
        "tokenizer": str(model_dir),
    }
    keys |= {"clean": {"min_chars": 10}, "tasks": 5, "workers": 1, "split_bytes": 4000}
    yamlfile.write(place / "run.yml", keys | more)
    return str(place / "run.yml")


def content(folder):
    return {str(one.relative_to(folder)): hashlib.sha256(one.read_bytes()).hexdigest() for one in digests.below(folder)}


def rules_sorted(folder):
    """clean.json, where the rules stand in the order in which they first met a document of a lot."""
    report = json.loads((folder / documents.REPORT).read_text())
    return {**report, "rules": dict(sorted(report["rules"].items()))}


def same_as_whole(place, raw, options):
    for number, path in enumerate(raw):
        whole = place / f"whole-{number}"
        clean.clean_corpus("x", [path], whole, **options)
        made, wanted = content(place / "out" / "clean" / f"{number:05d}"), content(whole)
        made.pop(documents.REPORT), wanted.pop(documents.REPORT)
        assert made == wanted
        assert rules_sorted(place / "out" / "clean" / f"{number:05d}") == rules_sorted(whole)
    for split in documents.SPLITS:
        shards = [
            one for number in range(len(raw)) for one in sorted((place / f"whole-{number}" / split).glob("*.zst"))
        ]
        index.index(shards, json.loads(Path(place / "model").read_text()), place / split)
        for kind in ("bin", "idx"):
            name = f"{split}_text_document.{kind}"
            assert (place / name).read_bytes() == (place / "out" / name).read_bytes()
        assert inspect.verify(place / "out" / f"{split}_text_document") == []


@pytest.mark.parametrize("tasks", [1, 7])
def test_cut_files_give_the_bytes_of_whole_ones(tasks, model_dir, tmp_path):
    raw = [make(kind, tmp_path) for kind in ("torn.jsonl.zst", "multistream.xml.bz2", "one.jsonl.gz", "pages.tar")]
    (tmp_path / "model").write_text(json.dumps(str(model_dir)))
    path = run_file(tmp_path, raw, model_dir, tasks=tasks)
    assert scale.main([path]) == 0
    same_as_whole(tmp_path, raw, {"min_chars": 10})
    assert not digests.below(tmp_path / "out" / "parts") and not list((tmp_path / "out" / "split").glob("*/*.zst"))
    stamps = {one: one.stat().st_mtime_ns for one in digests.below(tmp_path / "out") if "logs" not in one.parts}
    assert scale.main([path, "--tasks", "3"]) == 0  # nothing is done twice, nor laid aside again
    assert {one: one.stat().st_mtime_ns for one in stamps} == stamps


def test_lines_that_a_site_repeats_are_looked_for_in_the_whole_file(model_dir, tmp_path):
    path = tmp_path / "web.jsonl"
    with open(path, "wb") as handle:
        for row in rows(120):
            row["text"] = "この行はどの頁にもある案内の行です。\n" + row["text"] * 3
            handle.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    options = {"profile": "web", "min_chars": 5, "site_pages": 3}
    (tmp_path / "model").write_text(json.dumps(str(model_dir)))
    assert scale.main([run_file(tmp_path, [path], model_dir, clean=options)]) == 0
    same_as_whole(tmp_path, [path], options)
    assert rules_sorted(tmp_path / "out" / "clean" / "00000")["rules"]["site_lines"]["documents"] > 100


def test_samples_are_drawn_from_whole_files(model_dir, tmp_path):
    path = make("plain.jsonl", tmp_path)
    (tmp_path / "model").write_text(json.dumps(str(model_dir)))
    options = {"min_chars": 5, "max_documents": 50}
    assert list(scale.steps(scale_runfile.read(run_file(tmp_path, [path], model_dir, clean=options)))) == [
        "clean",
        "index",
        "join",
    ]
    assert scale.main([run_file(tmp_path, [path], model_dir, clean=options)]) == 0
    same_as_whole(tmp_path, [path], options)


def test_a_changed_part_is_made_again(model_dir, tmp_path):
    raw = [make("plain.jsonl", tmp_path)]
    (tmp_path / "model").write_text(json.dumps(str(model_dir)))
    path = run_file(tmp_path, raw, model_dir)
    chosen = scale.steps(scale_runfile.read(path))
    for name in ("split", "clean"):
        scale_executors.run_pool(*chosen[name], 1, name)
    part = sorted((tmp_path / "out" / "parts").rglob("*.jsonl.zst"))[3]
    part.write_bytes(part.read_bytes()[:-3])
    files.remove(sorted((tmp_path / "out" / "parts").glob("00000/0*.json"))[1])
    assert scale.main([path]) == 0
    same_as_whole(tmp_path, raw, {"min_chars": 10})


def test_a_bad_file_is_named_and_the_others_go_on(model_dir, tmp_path, capsys):
    good = [make(kind, tmp_path) for kind in ("plain.jsonl", "one.jsonl.gz")]
    (tmp_path / "small.jsonl").write_bytes(b"".join(lines(20, seed=5)))
    bad = [tmp_path / "cut.jsonl.gz", tmp_path / "broken.jsonl", tmp_path / "broken-large.jsonl"]
    whole = gzip.compress(b"".join(lines(200, seed=8)))
    bad[0].write_bytes(whole[: len(whole) // 2])
    bad[1].write_bytes(b'{"text": "a"\n')
    bad[2].write_bytes(b"".join([*lines(40), b'{"text": 1}\n', *lines(40)]))
    raw = [good[0], bad[0], good[1], bad[1], tmp_path / "small.jsonl", bad[2]]
    (tmp_path / "model").write_text(json.dumps(str(model_dir)))
    path = run_file(tmp_path, raw, model_dir)
    assert cli.run(scale.main, [path]) == cli.FAILED
    said = capsys.readouterr().err
    for each in bad:
        assert each.name in said
    assert "3 piece(s) of work failed, and what was made lacks them" in said
    there = json.loads((tmp_path / "out" / "train_text_document.json").read_text())["documents"]
    status = scale_status_of(path, capsys)
    assert [row["file"] for name in ("split", "clean") for row in status["steps"][name]["failures"]]
    assert status["steps"]["split"]["failed"] == 1 and status["steps"]["gather"]["failures"] == []
    bad[0].write_bytes(whole)
    bad[1].write_bytes(b"".join(lines(9, seed=6)))
    bad[2].write_bytes(b"".join(lines(80)))
    stamps = {one: one.stat().st_mtime_ns for one in digests.below(tmp_path / "out" / "clean" / "00000")}
    assert cli.run(scale.main, [path]) == 0
    assert {one: one.stat().st_mtime_ns for one in stamps} == stamps  # only what had failed was done
    same_as_whole(tmp_path, raw, {"min_chars": 10})
    assert json.loads((tmp_path / "out" / "train_text_document.json").read_text())["documents"] > there
    assert scale_tasks.failures(tmp_path / "out") == []


def test_bad_files_that_are_no_more_are_not_waited_for(model_dir, tmp_path, capsys):
    """What cleaning began of them has no report, and no failure speaks of it any more."""
    raw = tmp_path / "raw"
    raw.mkdir()
    for number in range(2):
        (raw / f"{number}.jsonl").write_bytes(b"".join(lines(20, seed=number)))
    whole = gzip.compress(b"".join(lines(900, seed=8)))
    (raw / "2.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    (raw / "3.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    path = run_file(tmp_path, [raw], model_dir, split_bytes=10_000)
    for name in ("2.jsonl.gz", "3.jsonl.gz"):  # one that is cut, as it is large, and one that is not
        assert cli.run(scale.main, [path]) == cli.FAILED
        (raw / name).unlink()
        run_file(tmp_path, [raw], model_dir, split_bytes=10**6)
    assert cli.run(scale.main, [path]) == 0
    assert "clean/00002 is of an input that is no more" in capsys.readouterr().err
    assert sorted(each.name for each in (tmp_path / "out" / "clean").glob("*/")) == ["00000", "00001"]
    assert not list((tmp_path / "out").glob("[ps]*/0000[23]*"))


def test_a_file_that_turned_bad_leaves_the_datasets(model_dir, tmp_path):
    raw = []
    for number in range(3):
        raw.append(tmp_path / f"{number}.jsonl")
        raw[-1].write_bytes(b"".join(lines(20, seed=number)))
    path = run_file(tmp_path, raw, model_dir, split_bytes=0)
    assert cli.run(scale.main, [path]) == 0
    before = json.loads((tmp_path / "out" / "train_text_document.json").read_text())["documents"]
    raw[1].write_bytes(b"{\n")
    assert cli.run(scale.main, [path]) == cli.FAILED
    assert json.loads((tmp_path / "out" / "train_text_document.json").read_text())["documents"] < before


def scale_status_of(path, capsys):
    capsys.readouterr()
    assert cli.run(scale.main, [path, "--status", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_status_before_during_and_after(model_dir, tmp_path, capsys, monkeypatch):
    path = run_file(tmp_path, [make("plain.jsonl", tmp_path)], model_dir, tasks=4)
    row = scale_status_of(path, capsys)["steps"]["clean"]
    assert (row["done"], row["running"], row["failed"], row["waiting"]) == (0, 0, 0, 4)
    assert not (tmp_path / "out").exists()
    assert scale.main([path]) == 0
    steps = scale_status_of(path, capsys)["steps"]
    assert list(steps) == ["split", "clean", "gather", "index", "join"]
    assert [(row["done"], row["waiting"]) for row in steps.values()] == [(1, 0), (4, 0), (1, 0), (4, 0), (1, 0)]
    note = tmp_path / "out" / "logs" / "tasks" / "clean" / "00002.json"
    running = json.loads(note.read_text()) | {"state": "running", "done": 1, "done_bytes": 9000, "bytes": 27000}
    running |= {"now": "a file", "began": time.time() - 100, "ended": None, "pid": os.getpid()}
    files.write_json(note, running)
    files.remove(note.with_name("00003.json"))
    row = scale_status_of(path, capsys)["steps"]["clean"]
    assert (row["done"], row["running"], row["waiting"]) == (2, 1, 1) and row["names"]["running"] == ["00002"]
    assert row["now"] == ["a file"] and 20 < row["seconds_left"] < 400
    assert cli.run(scale.main, [path, "--status"]) == 0
    assert "running: task 00002" in capsys.readouterr().out
    files.write_json(note, running | {"pid": 2**22 + 1})  # it died: no process has that number
    assert scale_status_of(path, capsys)["steps"]["clean"]["names"]["failed"] == ["00002"]
    files.write_json(note, running | {"host": "elsewhere"})
    assert scale_status_of(path, capsys)["steps"]["clean"]["running"] == 1
    os.utime(note, (time.time() - 1000, time.time() - 1000))  # no sign of life from another machine
    assert scale_status_of(path, capsys)["steps"]["clean"]["failed"] == 1


def test_no_room_is_said_before_the_work(model_dir, tmp_path, capsys, monkeypatch):
    path = run_file(tmp_path, [make("plain.jsonl", tmp_path)], model_dir)
    monkeypatch.setattr(scale.scale_room.memory, "available", lambda: 10**8)
    assert cli.run(scale.main, [path]) == cli.BAD_INPUT
    assert "0.5 GB of memory, and 0.1 GB are free" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setattr(scale.scale_room, "_CLEANED", 1e12)
    assert cli.run(scale.main, [path]) == cli.BAD_INPUT
    assert "the rest of the run needs about" in capsys.readouterr().err and not (tmp_path / "out" / "clean").exists()


@pytest.mark.slow
def test_kill_9_anywhere_and_the_same_command_give_the_same_bytes(model_dir, tmp_path):
    raw = [make(kind, tmp_path) for kind in ("torn.jsonl.bz2", "one.jsonl.gz", "plain.xml")]
    (tmp_path / "model").write_text(json.dumps(str(model_dir)))
    path = run_file(tmp_path, raw, model_dir, workers=2, split_bytes=2500)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "preprocess.scale", path]
    for wait in ("split/00001.json", "parts/*/*.json", "clean/*.json", "clean/00002.json", ".train*parts/*.json"):
        child = subprocess.Popen(
            words, env=environment, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        end = time.monotonic() + 120
        while not list((tmp_path / "out").glob(wait)) and child.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        child.wait()
    done = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    same_as_whole(tmp_path, raw, {"min_chars": 10})


def test_a_plan_of_another_size_is_made_again(tmp_path):
    path = make("plain.jsonl", tmp_path)
    for size in (4000, 9000):
        (file,) = scale_files.found([str(path)], scale_files.How("x", str(tmp_path / "out"), {}, size))
        file.split()
        assert abs(len(file.plan()["pieces"]) - path.stat().st_size / size) <= 1
    sealed.write(file._plan, file.plan() | {"recipe": "other"})
    file.split()
    assert file.plan()["recipe"] != "other" and CleanOptions() == file.how.clean
