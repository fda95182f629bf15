"""A small world for the launch tests: a tokenizer, two corpora indexed in three splits, a catalogue and a mixture."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import sentencepiece

from haigo import files, yamlfile
from neox_configs import catalogue
from preprocess.indexed_dataset import MMapWriter, bin_path

REPO = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class World:
    root: Path
    catalogue: Path
    mixture: Path
    weights: dict[str, float]

    def prefix(self, corpus: str, split: str = "train") -> Path:
        return self.root / "data" / corpus / f"{split}_text_document"


def sentences(seed: int, count: int) -> list[str]:
    rng = random.Random(seed)
    words = ["".join(rng.choice("aiueoknstmh") for _ in range(rng.randint(2, 5))) for _ in range(120)]
    return [" ".join(rng.choice(words) for _ in range(rng.randint(8, 30))) for _ in range(count)]


def train_tokenizer(folder: Path, texts: list[str], eod: str = "<|endoftext|>", size: int = 300) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        vocab_size=size,
        model_type="unigram",
        byte_fallback=True,
        bos_id=-1,
        eos_id=1,
        eos_piece=eod,
        pad_id=2,
        pad_piece="<|padding|>",
        unk_id=0,
        num_threads=1,
        minloglevel=2,
    )
    (folder / "spm.model").write_bytes(model.getvalue())
    return files.sha256_file(folder / "spm.model")


def write_dataset(prefix: Path, texts: list[str], model: Path, manifest: bool = True) -> None:
    processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
    prefix.parent.mkdir(parents=True, exist_ok=True)
    total = 0
    with MMapWriter(prefix, np.uint16) as writer:
        for text in texts:
            ids = [*processor.encode(text), processor.piece_to_id("<|endoftext|>")]
            total += len(ids)
            writer.add(ids)
            writer.end_document()
    assert bin_path(prefix).stat().st_size == 2 * total
    if manifest:
        facts = {
            "tokens": total,
            "documents": len(texts),
            "tokenizer_sha256": files.sha256_file(model),
            "vocab_size": processor.get_piece_size(),
        }
        Path(f"{prefix}.json").write_text(json.dumps(facts))


def make_world(root: Path) -> World:
    train_tokenizer(root / "tokenizer", sentences(1, 400) + sentences(2, 400))
    corpora: dict[str, dict[str, Path]] = {}
    for seed, name in ((1, "news"), (2, "code")):
        for split, count in (("train", 500), ("valid", 60), ("test", 60)):
            prefix = root / "data" / name / f"{split}_text_document"
            write_dataset(prefix, sentences(seed, count), root / "tokenizer" / "spm.model")
            corpora.setdefault(name, {})[split] = prefix
    catalogue.write(root / "corpora.yml", root / "tokenizer", corpora)
    weights = {"code": 0.25, "news": 0.75}
    yamlfile.write(root / "mixture.yml", {"weights": weights, "objective": {"news_bpb": 1.0}})
    return World(root, root / "corpora.yml", root / "mixture.yml", weights)


@pytest.fixture(scope="session")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Made once; tests that change it take `world`."""
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def world(shared_world: World, tmp_path: Path) -> World:
    root = tmp_path / "world"
    shutil.copytree(shared_world.root, root)
    return World(root, root / "corpora.yml", root / "mixture.yml", shared_world.weights)


@pytest.fixture
def fake_neox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose deepy.py does what FAKE_DEEPY says, run by this Python: for the launcher's own behaviour."""
    root = tmp_path / "fake-neox"
    (root / "megatron").mkdir(parents=True)
    (root / "train.py").write_text("")
    (root / "deepy.py").write_text("import os\nexec(os.environ['FAKE_DEEPY'])\n")
    for package in ("torch", "deepspeed", "transformers", "sentencepiece", "yaml", "numpy"):
        (root / "site" / package).mkdir(parents=True)
        (root / "site" / package / "__init__.py").write_text("")
    monkeypatch.setenv("GPT_NEOX_DIR", str(root))
    monkeypatch.setenv("GPT_NEOX_PYTHON", sys.executable)
    monkeypatch.setenv("PYTHONPATH", str(root / "site"))
    return root


@dataclass(frozen=True)
class NeoX:
    root: Path
    python: Path
    environment: dict[str, str]


@pytest.fixture(scope="session")
def neox() -> NeoX:
    """The real GPT-NeoX, with the CPU shim."""
    root, python = os.environ.get("GPT_NEOX_DIR"), os.environ.get("GPT_NEOX_PYTHON")
    if not root or not python:
        pytest.skip("GPT_NEOX_DIR and GPT_NEOX_PYTHON are not set")
    shim = Path(os.environ.get("HAIGO_NEOX_CPU") or REPO.parent / "shared" / "neox_cpu")
    if not (shim / "sitecustomize.py").is_file():
        pytest.skip("no CPU shim for GPT-NeoX (HAIGO_NEOX_CPU)")
    environment = {
        **os.environ,
        "FAKE_CUDA": "1",
        "DS_ACCELERATOR": "cpu",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(shim.resolve()),
        "PATH": f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}",
    }
    return NeoX(Path(root), Path(python), environment)
