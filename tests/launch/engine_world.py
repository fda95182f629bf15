"""Small real datasets for the engine's tests: two corpora, a SentencePiece tokenizer, manifests."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path

import pytest
import sentencepiece

from haigo import files
from haigo.formats import tokenizer
from haigo.formats.dataset.indexed import MMapWriter, token_dtype
from neox_configs import catalogue as catalogues


class World:
    """Two corpora of made-up sentences: `plain` (words drawn freely) and `rhyme` (each word decides the next)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tokenizer = root / "tokenizer"
        self.tokenizer.mkdir(parents=True)
        rng = random.Random(7)
        words = ["".join(rng.choice("aiueokstnh") for _ in range(rng.randint(2, 5))) for _ in range(60)] + [
            "新聞",
            "記事",
        ]
        self.texts = {
            "plain": [" ".join(rng.choices(words, k=rng.randint(5, 60))) for _ in range(80)],
            "rhyme": [self._chain(words, rng) for _ in range(50)],
        }
        blob = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([text for texts in self.texts.values() for text in texts]),
            model_writer=blob,
            vocab_size=340,
            hard_vocab_limit=False,
            byte_fallback=True,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            bos_id=-1,
            unk_id=0,
            eos_id=1,
            pad_id=2,
            eos_piece=tokenizer.EOD_PIECE,
            pad_piece=tokenizer.PAD_PIECE,
            num_threads=1,
            minloglevel=2,
        )
        (self.tokenizer / "spm.model").write_bytes(blob.getvalue())
        (self.tokenizer / "meta.json").write_text("{}")
        self.words = tokenizer.load(self.tokenizer)
        for name, texts in self.texts.items():
            self.index(name, "train", texts[:-10])
            self.index(name, "valid", texts[-10:])

    @staticmethod
    def _chain(words: list[str], rng: random.Random) -> str:
        at, said = rng.randrange(len(words)), []
        for _ in range(rng.randint(5, 80)):
            said.append(words[at])
            at = (at * 7 + 3) % len(words)
        return " ".join(said)

    def prefix(self, corpus: str, split: str = "train") -> str:
        return str(self.root / corpus / f"{split}_text_document")

    def index(self, corpus: str, split: str, texts: list[str]) -> None:
        prefix, total = self.prefix(corpus, split), 0
        with MMapWriter(prefix, token_dtype(self.words.vocab_size)) as writer:
            for text in texts:
                ids = [*self.words.encode(text), self.words.eod_id]
                total += len(ids)
                writer.add(ids)
                writer.end_document()
        manifest = {
            "tokens": total,
            "documents": len(texts),
            "bytes": sum(len(text.encode()) for text in texts),
            "tokenizer_sha256": self.words.sha256,
            "bin_sha256": files.sha256_file(f"{prefix}.bin"),
        }
        Path(f"{prefix}.json").write_text(json.dumps(manifest))

    def config(self, **changes: object) -> dict[str, object]:
        """A tiny valid GPT-NeoX config over both corpora; keys set to None are left out."""
        made: dict[str, object] = {
            "num_layers": 2,
            "hidden_size": 32,
            "num_attention_heads": 2,
            "seq_length": 32,
            "max_position_embeddings": 32,
            "norm": "layernorm",
            "pos_emb": "rotary",
            "no_weight_tying": True,
            "make_vocab_size_divisible_by": 64,
            "init_method": "small_init",
            "output_layer_init_method": "wang_init",
            "optimizer": {"type": "Adam", "params": {"lr": 0.004, "betas": [0.9, 0.95], "eps": 1e-8}},
            "min_lr": 0.0004,
            "lr_decay_style": "cosine",
            "warmup": 0.1,
            "weight_decay": 0.1,
            "gradient_clipping": 1.0,
            "train_micro_batch_size_per_gpu": 4,
            "gradient_accumulation_steps": 1,
            "train_iters": 20,
            "data_impl": "mmap",
            "train_data_paths": [self.prefix("plain"), self.prefix("rhyme")],
            "train_data_weights": [0.7, 0.3],
            "valid_data_paths": [self.prefix("plain", "valid"), self.prefix("rhyme", "valid")],
            "valid_data_weights": [0.5, 0.5],
            "test_data_paths": [self.prefix("plain", "valid"), self.prefix("rhyme", "valid")],
            "test_data_weights": [0.5, 0.5],
            "precision": "fp32",
            "seed": 1234,
        }
        return {key: value for key, value in {**made, **changes}.items() if value is not None}


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def catalogue(world: World) -> catalogues.Catalogue:
    """The world's datasets; its file is `world.root / "corpora.yml"`."""
    sets = {name: {split: world.prefix(name, split) for split in ("train", "valid")} for name in ("plain", "rhyme")}
    return catalogues.write(world.root / "corpora.yml", world.tokenizer, sets)


@pytest.fixture(scope="session")
def base(world: World) -> dict[str, object]:
    """A proxy's config: without data and length, which each proxy gets of its own."""
    return {key: value for key, value in world.config(train_iters=None).items() if "_data_" not in key}
