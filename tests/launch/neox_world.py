"""A small world for the launch tests: a tokenizer, two corpora indexed in three splits, a catalogue and a mixture."""

from __future__ import annotations

import base64
import io
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece

from haigo import files, yamlfile
from haigo.formats.dataset.indexed import MMapWriter, bin_path
from neox_configs import catalogue

REPO = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class World:
    root: Path
    catalogue: Path
    mixture: Path
    weights: dict[str, float]

    def prefix(self, corpus: str, split: str = "train") -> Path:
        return self.root / "data" / corpus / f"{split}_text_document"


LOSSLESS = {"normalization_rule_name": "identity", "add_dummy_prefix": False, "remove_extra_whitespaces": False}
"""Options of a tokenizer that gives every text back, as preprocess.pairs demands."""


def sentences(seed: int, count: int) -> list[str]:
    rng = random.Random(seed)
    words = ["".join(rng.choice("aiueoknstmh") for _ in range(rng.randint(2, 5))) for _ in range(120)]
    return [" ".join(rng.choice(words) for _ in range(rng.randint(8, 30))) for _ in range(count)]


def train_tokenizer(folder: Path, texts: list[str], eod: str = "<|endoftext|>", size: int = 300, **more: object) -> str:
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
        **more,
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


def write_weights(step: Path) -> None:
    """A checkpoint's folder with a file of weights that looks whole (an old pickle of nothing)."""
    step.mkdir(parents=True, exist_ok=True)
    (step / "mp_rank_00_model_states.pt").write_bytes(b"\x80\x02N.")


def make_world(root: Path, **tokenizer: object) -> World:
    """The world in `root`; `tokenizer`: further options of the SentencePiece trainer."""
    train_tokenizer(root / "tokenizer", sentences(1, 400) + sentences(2, 400), **tokenizer)
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


def decoded(word: str) -> Any:
    """What deepy.py put into a word of DeepSpeed's command: JSON in base64."""
    return json.loads(base64.urlsafe_b64decode(word))
