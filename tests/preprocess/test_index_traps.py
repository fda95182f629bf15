"""What silently goes wrong in other indexers works here, or stops with the file and the line. No silent wrong output."""

import gzip
import json
import multiprocessing
import os
import random
import signal
import struct
import time
from pathlib import Path

import hand_model
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from haigo import cli
from haigo.cli import HaigoError
from haigo.formats.dataset import indexed
from haigo.formats.dataset.indexed import MMapReader, MMapWriter, bin_path, idx_path
from preprocess import index, inspect, tokenizer


def jsonl(texts, key="text"):
    return "".join(json.dumps({key: text}, ensure_ascii=False) + "\n" for text in texts).encode()


def texts_of(prefix, model_dir):
    model = tokenizer.load(model_dir)
    return [model.decode(ids) for ids in MMapReader(prefix)]


def test_compressed_jsonl_is_not_read_as_plain_text(tmp_path, model_dir):
    for name in ("x.jsonl.gz", "x.gz", "x.json.gz"):
        (tmp_path / name).write_bytes(gzip.compress(jsonl(hand_model.TEXTS)))
        index.index([tmp_path / name], model_dir, tmp_path / name)
        assert texts_of(f"{tmp_path / name}_text_document", model_dir) == hand_model.TEXTS


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("x.txt", jsonl(["雨"]), r"x\.txt is named \.txt and holds JSON lines"),
        ("x.txt.gz", gzip.compress(jsonl(["雨"]), mtime=0), r"x\.txt\.gz is named \.txt and holds JSON lines"),
        ("x.json", b'[{"text": "a"}]', r"x\.json is one JSON array"),
        ("x.json", b'{\n  "text": "a"\n}', r"x\.json has a broken JSON line \(line 1\)"),
        ("x.csv", b"id,text\n1,a\n", r"x\.csv is not jsonl, parquet or txt"),
        ("x.xml", b"<mediawiki xml:lang='ja'><page/></mediawiki>", "is a MediaWiki dump, not documents"),
        ("x.json", b'{"numberOfRecords": 1, "speechRecord": []}', "is a page of the Diet minutes API"),
        ("x.parquet", b"PAR1" + bytes(40), r"x\.parquet is not a readable parquet file"),
        ("x.jsonl", jsonl(["a"] * 3) + b'{"text": "b"\n' + jsonl(["c"]), r"x\.jsonl has a broken JSON line \(line 4\)"),
        ("x.jsonl", jsonl(["a"]) + b'{"text": null}\n', r"x\.jsonl \(line 2\) has no text under 'text' but NoneType"),
        ("x.jsonl", jsonl(["a"]) + b'{"text": "\xff"}\n', r"\(line 2\): it is not UTF-8"),
        ("x.jsonl", jsonl(["a"]) + b"[1]\n", r"not a JSON object \(line 2\)"),
        ("x.jsonl", jsonl(["a"], "body"), r"\(line 1\) has no key 'text'; it has 'body'"),
        ("x.jsonl.gz", gzip.compress(jsonl(["a"] * 50), mtime=0)[:-9], r"x\.jsonl\.gz is cut short or damaged"),
        ("x.jsonl", b"\n\n", "there is no document in the input"),
        ("x.bin", bytes(range(256)) * 4, r"is not text of a known kind|not jsonl, parquet or txt"),
    ],
)
def test_stops_with_the_file_and_the_line(tmp_path, model_dir, name, body, message):
    (tmp_path / name).write_bytes(body)
    with pytest.raises(HaigoError, match=message):
        index.index([tmp_path / name], model_dir, tmp_path / "o")
    assert not list(tmp_path.glob("o_*"))


def test_a_txt_file_is_a_document(tmp_path, model_dir):
    (tmp_path / "x.txt").write_text(hand_model.TEXTS[0], encoding="utf-8")
    index.index([tmp_path / "x.txt"], model_dir, tmp_path / "o", txt_documents="file")
    assert texts_of(tmp_path / "o_text_document", model_dir) == hand_model.TEXTS[:1]


def test_the_key_that_is_asked_for_is_the_one_that_is_read(tmp_path, model_dir):
    rows = [{"text": "雨", "body": "山の雨"}, {"text": "山", "body": "国会"}]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for key in ("text", "body"):
        index.index([tmp_path / "x.jsonl"], model_dir, tmp_path / "o", json_key=key)
        assert texts_of(tmp_path / f"o_{key}_document", model_dir) == [row[key] for row in rows]


def test_a_model_without_the_end_piece_is_refused(tmp_path):
    (tmp_path / "spm.model").write_bytes(hand_model.model(eod=None))
    (tmp_path / "x.jsonl").write_bytes(jsonl(["雨"]))
    with pytest.raises(HaigoError, match=r"has no piece <\|endoftext\|>"):
        index.index([tmp_path / "x.jsonl"], tmp_path / "spm.model", tmp_path / "o")


def test_gpt_neox_and_megatron_would_take_the_same_end(model_dir):
    """GPT-NeoX looks the piece up, Megatron-LM takes the model's eos_id."""
    model = tokenizer.load(model_dir)
    assert model.processor.piece_to_id("<|endoftext|>") == model.processor.eos_id() == model.eod_id


def test_offsets_beyond_32_bits():
    """40 thousand million tokens: sums of lengths must be 64-bit from the start."""
    sizes = np.full(100, 2**31 - 1, dtype=np.int32)
    offsets = indexed._offsets(sizes, 2)
    assert offsets.dtype == np.int64 and int(offsets[-1]) == 99 * (2**31 - 1) * 2 > 2**38


def test_the_index_is_written_in_pieces_and_is_the_same(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    lengths = rng.integers(0, 9, 400)
    for piece, name in ((7, "a"), (1 << 20, "b")):
        monkeypatch.setattr(indexed, "_CHUNK", piece)
        with MMapWriter(tmp_path / name, np.uint16) as writer:
            for length in lengths:
                writer.add(np.arange(length))
                writer.end_document()
        assert not MMapReader(tmp_path / name).problems()
    assert idx_path(tmp_path / "a").read_bytes() == idx_path(tmp_path / "b").read_bytes()
    monkeypatch.setattr(indexed, "_CHUNK", 5)
    raw = bytearray(idx_path(tmp_path / "a").read_bytes())
    count = int(np.count_nonzero(lengths))
    raw[34 + 4 * count + 8 * (count - 2)] ^= 2
    idx_path(tmp_path / "a").write_bytes(raw)
    assert MMapReader(tmp_path / "a").problems() == ["the byte offsets do not follow from the sequence lengths"]


def test_a_dataset_that_lost_its_document_index_is_not_merged(tmp_path):
    with MMapWriter(tmp_path / "x", np.uint16) as writer:
        writer.add([1])
        writer.add([2])
    with pytest.raises(HaigoError, match=r"x\.idx: the document index ends at 0, not at 2"):
        indexed.merge([tmp_path / "x"], tmp_path / "y")
    assert not list(tmp_path.glob("y*"))


def test_ids_that_fit_no_uint16(tmp_path):
    """A vocabulary of 65,500 pieces or more is written as int32, so no id wraps round."""
    rows = hand_model.model()
    rows += b"".join(hand_model.piece(f"語{number}", -9.0, 1) for number in range(65_300))
    (tmp_path / "spm.model").write_bytes(rows)
    model = tokenizer.load(tmp_path)
    assert model.vocab_size >= 65_500
    (tmp_path / "x.jsonl").write_bytes(jsonl(["語65299と語7"]))
    manifest = index.index([tmp_path / "x.jsonl"], tmp_path, tmp_path / "o")
    reader = MMapReader(tmp_path / "o_text_document")
    assert (manifest["dtype"], str(reader.dtype)) == ("int32", "int32") and int(reader.tokens.max()) > 65_535
    assert model.decode(reader[0]) == "語65299と語7"


# --- kill -9 ---------------------------------------------------------------------------------------------------


def _build(source, model, prefix, workers):
    os.setsid()
    os.environ["HAIGO_QUIET"] = "1"
    index.index([source], model, prefix, workers=workers, split_bytes=40_000)
    os._exit(0)


def test_kill_9_at_random_moments(tmp_path, model_dir):
    """Twenty kills: finished shards are never made again, and the last run's bytes are those of an unbroken one."""
    source = tmp_path / "x.jsonl"
    rng = random.Random(11)
    source.write_bytes(jsonl("".join(rng.choices("日本の山は雨である質問。 e1\n", k=400)) for _ in range(900)))
    begin = time.monotonic()
    index.index([source], model_dir, tmp_path / "whole", split_bytes=40_000)
    took = time.monotonic() - begin
    context = multiprocessing.get_context("fork")
    parts, prefix = tmp_path / ".o_text_document.parts", tmp_path / "o_text_document"
    done, kills, builds = {}, 0, 0

    def same_bytes():
        for kind in (bin_path, idx_path):
            assert kind(prefix).read_bytes() == kind(tmp_path / "whole_text_document").read_bytes()
        assert inspect.verify(prefix) == [] and not parts.exists() and not list(tmp_path.glob(".*.tmp"))

    while kills < 20:
        child = context.Process(target=_build, args=(source, model_dir, tmp_path / "o", 1 + builds % 2))
        child.start()
        time.sleep(rng.uniform(0.02, took / 4))
        os.killpg(child.pid, signal.SIGKILL) if _leads(child.pid) else child.kill()
        child.join()
        there = {path.name: path.stat().st_mtime_ns for path in parts.glob("*.json")}
        if child.exitcode == 0:
            same_bytes()
            for path in tmp_path.glob("o_*"):
                path.unlink()
            builds, there = builds + 1, {}
        else:
            kills += 1
            if not Path(f"{prefix}.json").exists():  # otherwise only the tidying up was cut short
                assert done.items() <= there.items()  # kept, and not written again
        done = there
    index.index([source], model_dir, tmp_path / "o", split_bytes=40_000)
    same_bytes()


def _leads(pid):
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:
        return False


# --- fuzz ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sound(tmp_path_factory, model_dir):
    folder = tmp_path_factory.mktemp("sound")
    (folder / "x.jsonl").write_bytes(jsonl(hand_model.TEXTS))
    index.index([folder / "x.jsonl"], model_dir, folder / "o")
    return folder / "o_text_document"


def _use(prefix):
    """Everything that a reader offers."""
    reader = MMapReader(prefix)
    reader.problems()
    for number in range(min(len(reader), 50)):
        reader.get(number, 0, 10).sum()
    list(np.asarray(reader.doc_idx[:50]))


@settings(max_examples=150, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cut=st.integers(0, 400),
    changes=st.lists(st.tuples(st.integers(0, 250), st.integers(0, 255)), max_size=6),
    raw=st.none() | st.binary(max_size=200),
    header=st.none()
    | st.tuples(*[st.sampled_from([0, 1, 2, 7, 2**31, 2**40, 2**63, 2**64 - 1])] * 3, st.integers(0, 9)),
    data_cut=st.integers(0, 30),
)
def test_broken_files_end_in_one_sentence(sound, tmp_path, cut, changes, raw, header, data_cut):
    index_bytes = bytearray(idx_path(sound).read_bytes())
    if raw is not None:
        index_bytes = bytearray(raw)
    elif header is not None:
        version, count, documents, code = header
        index_bytes[9:34] = struct.pack("<QBQQ", version if version != 7 else 1, code, count, documents)
    for place, value in changes:
        if place < len(index_bytes):
            index_bytes[place] = value
    index_bytes = index_bytes[: len(index_bytes) - min(cut, len(index_bytes))] if cut < 200 else index_bytes
    data = bin_path(sound).read_bytes()
    idx_path(tmp_path / "f").write_bytes(bytes(index_bytes))
    bin_path(tmp_path / "f").write_bytes(data[: len(data) - data_cut])
    (tmp_path / "f.json").write_bytes(Path(f"{sound}.json").read_bytes())
    try:
        _use(tmp_path / "f")
    except HaigoError as error:
        assert "f.idx" in error.problem or "f.bin" in error.problem
    assert cli.run(inspect.main, [str(tmp_path / "f"), "--verify", "--sample", "3"]) in (
        (0,) if bytes(index_bytes) == idx_path(sound).read_bytes() and not data_cut else (cli.BAD_INPUT, cli.REFUSED)
    )


@settings(max_examples=60, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=300) | st.text(max_size=100).map(str.encode), ending=st.sampled_from(["jsonl", "txt", "gz"])
)
def test_random_input_gives_a_sound_dataset_or_a_sentence(model_dir, tmp_path, body, ending):
    path = tmp_path / f"r.{ending}"
    path.write_bytes(body)
    try:
        index.index([path], model_dir, tmp_path / "o")
    except HaigoError as error:
        assert str(path) in str(error) or "no document" in str(error)
        return
    assert inspect.verify(tmp_path / "o_text_document") == []
