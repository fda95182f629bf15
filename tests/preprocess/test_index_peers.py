"""GPT-NeoX and Megatron-LM themselves: the same bytes written, and ours read back by their readers.

GPT-NeoX as in tests/conftest.py. Megatron-LM: MEGATRON_LM_DIR names a checkout; its reader runs in GPT-NeoX's interpreter,
with the two modules that need all of its training stack replaced by empty ones.
"""

import bz2
import gzip
import hashlib
import json
import lzma
import os
import random
import subprocess
from pathlib import Path

import hand_model
import numpy as np
import pytest
import zstandard
from shared_data import shared

from haigo.formats.dataset.indexed import MMapReader, merge
from preprocess import index, sources

pytestmark = [pytest.mark.neox, pytest.mark.slow]

_NEOX_READER = """
import hashlib, json, sys
sys.path.insert(0, ".")
from megatron.data.indexed_dataset import MMapIndexedDataset
data = MMapIndexedDataset(sys.argv[1], skip_warmup=True)
tokens = hashlib.sha256(b"".join(data.get(n).tobytes() for n in range(len(data)))).hexdigest()
print(json.dumps({"sizes": data.sizes.tolist(), "doc_idx": data.doc_idx.tolist(), "tokens": tokens}))
"""
_MEGATRON_READER = """
import hashlib, importlib.util, json, sys, types
root = sys.argv[2]
for name in ("megatron", "megatron.core", "megatron.core.datasets"):
    package = types.ModuleType(name)
    package.__path__ = [root + "/" + name.replace(".", "/")]
    sys.modules[name] = package
utils = types.ModuleType("megatron.core.utils")
utils.log_single_rank = lambda *a, **k: None
sys.modules["megatron.core.utils"] = utils
from megatron.core.datasets.indexed_dataset import IndexedDataset
data = IndexedDataset(sys.argv[1], mmap=True)
tokens = hashlib.sha256(b"".join(data[n].tobytes() for n in range(len(data)))).hexdigest()
sizes, documents = data.sequence_lengths.tolist(), data.document_indices.tolist()
print(json.dumps({"sizes": sizes, "doc_idx": documents, "tokens": tokens}))
"""


def digests(prefix):
    return [hashlib.sha256(Path(f"{prefix}_text_document.{kind}").read_bytes()).hexdigest() for kind in ("bin", "idx")]


def preprocess_data(neox, source, model, prefix, workers=1):
    words = [str(neox.python), "tools/datasets/preprocess_data.py", "--input", str(source), "--tokenizer-type"]
    words += ["SPMTokenizer", "--vocab-file", str(model), "--output-prefix", str(prefix), "--append-eod"]
    words += ["--workers", str(workers)]
    done = subprocess.run(words, cwd=neox.root, env=neox.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def texts():
    """Documents of the project's own, and real ones where there are any (HAIGO_SHARED)."""
    rng = random.Random(4)
    made = ["".join(rng.choices("日本の山は雨である質問。 ea\n", k=rng.randrange(1, 900))) for _ in range(400)]
    made += [*hand_model.TEXTS, ""]
    real = shared() / "corpora"
    for name in ("news", "code", "diet/minutes-2025.jsonl.gz"):
        if (real / name).exists():
            for number, one in enumerate(sources.read([real / name])):
                if number >= 150:
                    break
                made.append(one.text)
    return made


@pytest.fixture(scope="module")
def reference(texts, model_dir, neox, tmp_path_factory):
    """What GPT-NeoX writes for the texts."""
    folder = tmp_path_factory.mktemp("reference")
    raw = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts).encode()
    (folder / "x.jsonl").write_bytes(raw)
    preprocess_data(neox, folder / "x.jsonl", model_dir / "spm.model", folder / "neox")
    return folder


PACK = {
    "jsonl": bytes,
    "jsonl.gz": gzip.compress,
    "jsonl.zst": zstandard.ZstdCompressor().compress,
    "jsonl.xz": lzma.compress,
    "jsonl.bz2": bz2.compress,
}


@pytest.mark.parametrize("kind", [*PACK, "parquet"])
def test_every_container(reference, texts, model_dir, tmp_path, kind):
    path = tmp_path / f"x.{kind}"
    if kind == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"text": texts}), path)
    else:
        path.write_bytes(PACK[kind]((reference / "x.jsonl").read_bytes()))
    index.index([path], model_dir, tmp_path / "o")
    assert digests(tmp_path / "o") == digests(reference / "neox")


@pytest.mark.parametrize(("workers", "split_bytes"), [(1, 10_000), (2, 150_000), (3, 40_000)])
def test_every_number_of_workers_and_size_of_shards(reference, model_dir, tmp_path, workers, split_bytes):
    index.index([reference / "x.jsonl"], model_dir, tmp_path / "o", workers=workers, split_bytes=split_bytes)
    assert digests(tmp_path / "o") == digests(reference / "neox")


def test_txt(model_dir, tmp_path, neox):
    (tmp_path / "x.txt").write_text("\n\n".join(hand_model.TEXTS), encoding="utf-8")
    preprocess_data(neox, tmp_path / "x.txt", model_dir / "spm.model", tmp_path / "neox")
    index.index([tmp_path / "x.txt"], model_dir, tmp_path / "o", txt_documents="file")
    assert digests(tmp_path / "o") == digests(tmp_path / "neox")


@pytest.fixture(scope="module")
def ours(reference, model_dir, tmp_path_factory):
    """A dataset of ours, and one merged of two."""
    folder = tmp_path_factory.mktemp("ours")
    index.index([reference / "x.jsonl"], model_dir, folder / "o", split_bytes=50_000)
    merge([folder / "o_text_document"] * 2, folder / "twice")
    return folder


def check(code, words, prefix, neox):
    done = subprocess.run(
        [str(neox.python), "-c", code, str(prefix), *words], cwd=neox.root, env=neox.environment, capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    theirs, reader = json.loads(done.stdout.splitlines()[-1]), MMapReader(prefix)
    assert theirs["sizes"] == reader.sizes.tolist() and theirs["doc_idx"] == reader.doc_idx.tolist()
    assert theirs["doc_idx"][-1] == len(reader) > 0
    assert theirs["tokens"] == hashlib.sha256(np.asarray(reader.tokens).tobytes()).hexdigest()


@pytest.mark.parametrize("name", ["o_text_document", "twice"])
def test_gpt_neox_reads_it_back(ours, neox, name):
    check(_NEOX_READER, [], ours / name, neox)


@pytest.mark.parametrize("name", ["o_text_document", "twice"])
def test_megatron_reads_it_back(ours, neox, name):
    root = os.environ.get("MEGATRON_LM_DIR")
    if not root:
        pytest.skip("MEGATRON_LM_DIR is not set")
    check(_MEGATRON_READER, [root], ours / name, neox)
