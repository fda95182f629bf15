"""Indexed datasets: GPT-NeoX's bytes, whatever the container, the number of workers or the size of a shard."""

import bz2
import gzip
import hashlib
import itertools
import json
import lzma
import os
import subprocess
from pathlib import Path

import hand_model
import numpy as np
import pytest
import zstandard

from haigo import files
from haigo.cli import HaigoError
from haigo.formats.dataset.indexed import MMapReader
from preprocess import index, shard, tokenizer
from preprocess.options import IndexOptions

# What GPT-NeoX's preprocess_data (commit ea7aefd) writes for hand_model.TEXTS and the hand-made model with
# --append-eod; test_gpt_neox_writes_the_same_bytes compares with the program itself where it is installed.
GOLDEN_BIN = "298ad345a96992cac020d8aa5bd301774a111f3caa80ad823011c9d2769cf7a4"
GOLDEN_IDX = "7d572271e493793f87ab1bd8d1dbf36e25d04a07c24731a3d4ff08b396093453"


def jsonl(texts):
    return "".join(
        json.dumps({"text": text, "n": n}, ensure_ascii=False) + "\n" for n, text in enumerate(texts)
    ).encode()


def digests(prefix):
    return [hashlib.sha256(Path(f"{prefix}_text_document.{kind}").read_bytes()).hexdigest() for kind in ("bin", "idx")]


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(jsonl(hand_model.TEXTS))
    return path


def test_golden_bytes(source, model_dir, tmp_path):
    manifest = index.index([source], model_dir, tmp_path / "o")
    assert digests(tmp_path / "o") == [GOLDEN_BIN, GOLDEN_IDX] == [manifest["bin_sha256"], manifest["idx_sha256"]]
    model, reader = tokenizer.load(model_dir), MMapReader(tmp_path / "o_text_document")
    assert [model.decode(ids) for ids in reader] == hand_model.TEXTS
    assert all(ids[-1] == model.eod_id for ids in reader) and not reader.problems()
    assert manifest["bytes"] == sum(len(text.encode()) for text in hand_model.TEXTS)
    assert (manifest["tokens"], manifest["documents"]) == (len(reader.tokens), len(hand_model.TEXTS))
    assert (manifest["dtype"], manifest["eod_id"], manifest["tokenizer_sha256"]) == ("uint16", 1, model.sha256)
    assert json.loads((tmp_path / "o_text_document.json").read_text(encoding="utf-8")) == manifest
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != files.JOURNAL) == [
        f"o_text_document.{k}" for k in ("bin", "idx", "json")
    ] + ["x.jsonl"]


@pytest.mark.parametrize("kind", ["gz", "zst", "xz", "bz2", "parquet", "two files"])
def test_the_container_does_not_matter(model_dir, tmp_path, kind):
    raw = jsonl(hand_model.TEXTS)
    pack = {"gz": gzip.compress, "zst": zstandard.ZstdCompressor().compress, "xz": lzma.compress, "bz2": bz2.compress}
    paths = [tmp_path / f"x.jsonl.{kind}"]
    if kind == "parquet":
        pa = pytest.importorskip("pyarrow")
        import pyarrow.parquet as pq

        paths = [tmp_path / "x.parquet"]
        pq.write_table(pa.table({"text": hand_model.TEXTS}), paths[0])
    elif kind == "two files":
        paths = [tmp_path / "b.jsonl", tmp_path / "a.jsonl"]
        paths[0].write_bytes(jsonl(hand_model.TEXTS[:3]))
        paths[1].write_bytes(jsonl(hand_model.TEXTS[3:]))
    else:
        paths[0].write_bytes(pack[kind](raw))
    index.index(paths, model_dir, tmp_path / "o")
    assert digests(tmp_path / "o") == [GOLDEN_BIN, GOLDEN_IDX]


@pytest.mark.parametrize("split_bytes", [150, 300, 900])
def test_the_size_of_a_shard_does_not_matter(source, model_dir, tmp_path, split_bytes):
    index.index([source], model_dir, tmp_path / "o", split_bytes=split_bytes)
    assert digests(tmp_path / "o") == [GOLDEN_BIN, GOLDEN_IDX]


def test_every_line_belongs_to_one_range(tmp_path):
    path = tmp_path / "x.jsonl"
    for end in (b"\n", b""):
        path.write_bytes(b'{"text": "a"}\n\n{"text": "bcd"}\n{"text": "e"}' + end)
        size = path.stat().st_size
        for step in range(1, size + 2):
            cuts = [*range(0, size, step), size]
            units = [shard.Unit(str(path), "x", "", *pair) for pair in itertools.pairwise(cuts)]
            work = [shard.Work(unit, "", "", "", IndexOptions()) for unit in units]
            assert [one.text for each in work for one in shard._documents(each)] == ["a", "bcd", "e"]


def test_the_number_of_workers_does_not_matter(source, model_dir, tmp_path):
    index.index([source], model_dir, tmp_path / "o", workers=2, split_bytes=800)
    assert digests(tmp_path / "o") == [GOLDEN_BIN, GOLDEN_IDX]


def test_an_error_in_a_worker_arrives_whole(source, model_dir, tmp_path):
    source.write_bytes(jsonl(hand_model.TEXTS * 9) + b'{"text": 1}\n' + jsonl(["x"] * 50))
    for workers in (1, 2):
        with pytest.raises(HaigoError, match=rf"x\.jsonl \(line {9 * len(hand_model.TEXTS) + 1}\) has no text"):
            index.index([source], model_dir, tmp_path / "o", workers=workers, split_bytes=2000)


def test_empty_texts(source, model_dir, tmp_path):
    """GPT-NeoX passes over empty texts; what encodes to nothing it cannot end (here: the end piece alone)."""
    source.write_bytes(jsonl(["", *hand_model.TEXTS, ""]))
    manifest = index.index([source], model_dir, tmp_path / "o")
    assert digests(tmp_path / "o") == [GOLDEN_BIN, GOLDEN_IDX] and manifest["empty_texts_left_out"] == 2


def test_a_document_that_encodes_to_nothing(source, model_dir, tmp_path, monkeypatch):
    class Deaf:
        vocab_size, eod_id, spells_end = 300, 1, False

        def encode_arrays(self, texts):
            return [np.array([] if text == " " else [5], np.int32) for text in texts]

        def decode(self, ids):
            return ""

    monkeypatch.setattr(shard, "_model", lambda path: Deaf())
    index.index([source], model_dir, tmp_path / "o")
    assert [list(ids) for ids in MMapReader(tmp_path / "o_text_document")] == [[5, 1]] * 5 + [[1], [5, 1]]
    index.index([source], model_dir, tmp_path / "p", append_eod=False)
    reader = MMapReader(tmp_path / "p_text_document")
    assert (len(reader), reader.documents, list(reader.doc_idx)) == (6, 7, [0, 1, 2, 3, 4, 5, 5, 6])


def test_another_key_names_the_dataset(tmp_path, model_dir):
    (tmp_path / "x.jsonl").write_text('{"body": "雨"}\n', encoding="utf-8")
    index.index([tmp_path / "x.jsonl"], model_dir, tmp_path / "o", json_key="body")
    assert (tmp_path / "o_body_document.bin").is_file()
    with pytest.raises(HaigoError, match=r"\(line 1\) has no key 'bdy'; it has 'body'. Did you mean 'body'\?"):
        index.index([tmp_path / "x.jsonl"], model_dir, tmp_path / "p", json_key="bdy")


def test_a_rebuilt_dataset_takes_stale_caches_away(source, model_dir, tmp_path):
    index.index([source], model_dir, tmp_path / "o")
    stale = tmp_path / "o_text_document_train_0_indexmap_80ns_128sl_1234s_packedpi_ac_doc_idx.npy"
    others = tmp_path / "oo_text_document_train_0_indexmap_80ns_128sl_1234s_packedpi_ac_doc_idx.npy"
    for path in (stale, others):
        np.save(path, np.zeros(1))
    before = os.stat(tmp_path / "o_text_document.bin").st_mtime_ns
    index.index([source], model_dir, tmp_path / "o")  # nothing changed: nothing is touched
    assert stale.exists() and os.stat(tmp_path / "o_text_document.bin").st_mtime_ns == before
    source.write_bytes(jsonl(hand_model.TEXTS[:2]))
    assert index.index([source], model_dir, tmp_path / "o")["documents"] == 2
    assert not stale.exists() and others.exists()


def test_a_stopped_run_goes_on_with_what_is_not_finished(source, model_dir, tmp_path, monkeypatch):
    source.write_bytes(jsonl(hand_model.TEXTS * 20))
    made = []
    real = shard.make_shard

    def counting(work, stop_at=4):
        if len(made) == stop_at:
            raise KeyboardInterrupt
        made.append(work.prefix)
        return real(work)

    monkeypatch.setattr(index, "make_shard", counting)
    with pytest.raises(KeyboardInterrupt):
        index.index([source], model_dir, tmp_path / "o", split_bytes=1500)
    assert not (tmp_path / "o_text_document.json").exists()
    first = {path: path.stat().st_mtime_ns for path in tmp_path.glob(".o_text_document.parts/*.bin")}
    assert len(first) == 4
    monkeypatch.setattr(index, "make_shard", lambda work: kept.append(_stamp(work)) or real(work))
    kept = []
    index.index([source], model_dir, tmp_path / "o", split_bytes=1500)
    assert [stamp for stamp in kept if stamp] == list(dict(sorted(first.items())).values())
    index.index([source], model_dir, tmp_path / "p")
    assert digests(tmp_path / "o") == digests(tmp_path / "p") and not list(tmp_path.glob(".*parts"))


def _stamp(work):
    path = Path(f"{work.prefix}.bin")
    return path.stat().st_mtime_ns if path.exists() else None


def test_shards_of_another_run_are_not_used(source, model_dir, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(index.MMapWriter, "merge", stop)
        index.index([source], model_dir, tmp_path / "o", split_bytes=700)
    source.write_bytes(jsonl(hand_model.TEXTS[::-1]))
    index.index([source], model_dir, tmp_path / "o", split_bytes=700)
    model = tokenizer.load(model_dir)
    assert [model.decode(ids) for ids in MMapReader(tmp_path / "o_text_document")] == hand_model.TEXTS[::-1]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "there is no document in the input"),
        (jsonl(["", ""]), r"no document in the input \(2 texts are empty\)"),
        (b'{"text": "a"}\n{"text"\n', r"x\.jsonl has a broken JSON line \(line 2\)"),
        (rb'{"text": "a\ud800"}', "half a surrogate pair"),
    ],
)
def test_bad_input(tmp_path, model_dir, body, message):
    (tmp_path / "x.jsonl").write_bytes(body)
    with pytest.raises(HaigoError, match=message):
        index.index([tmp_path / "x.jsonl"], model_dir, tmp_path / "o")
    assert not (tmp_path / "o_text_document.json").exists()


def test_the_command(source, model_dir, tmp_path, capsys):
    words = [str(source), "--tokenizer", str(model_dir), "--output-prefix", str(tmp_path / "o")]
    assert index.main([*words, "--append-eod", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["documents"] == len(hand_model.TEXTS)
    with pytest.raises(HaigoError, match="exclude each other"):
        index.main([*words, "--append-eod", "--no-append-eod"])
    with pytest.raises(HaigoError, match="does not exist"):
        index.main([str(tmp_path / "gone.jsonl"), *words[1:]])


@pytest.mark.neox
@pytest.mark.parametrize("workers", [1, 2])
def test_gpt_neox_writes_the_same_bytes(source, model_dir, tmp_path, workers, neox):
    source.write_bytes(jsonl([*hand_model.TEXTS, ""]))
    words = [
        str(neox.python),
        "tools/datasets/preprocess_data.py",
        "--input",
        str(source),
        "--tokenizer-type",
        "SPMTokenizer",
    ]
    words += ["--vocab-file", str(model_dir / "spm.model"), "--output-prefix", str(tmp_path / "neox"), "--append-eod"]
    words += ["--workers", str(workers)]
    done = subprocess.run(words, cwd=neox.root, env=neox.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert digests(tmp_path / "neox") == [GOLDEN_BIN, GOLDEN_IDX]
    index.index([source], model_dir, tmp_path / "ours", workers=workers)
    assert digests(tmp_path / "ours") == digests(tmp_path / "neox")
