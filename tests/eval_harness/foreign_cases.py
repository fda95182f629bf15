"""Texts and ids that tell transformers 4.46's slow T5 and Llama tokenizers from careless copies of them.

Run by an interpreter with transformers 4.46, this file writes what those classes give to golden/tokenizers.json.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
GOLDEN = HERE / "golden"
MARKS = ["</s>", "<s>", "<unk>", "<|mark|>", "<NL>", "\n", " ", "  ", "　", "▁", "▁ ", " </s><s>[INST] ", "is a pen"]
CASES = [(kind, legacy, added) for kind in ("t5_lines", "llama_new") for legacy in (True, False) for added in (0, 1)]


def folder(kind: str, legacy: bool, added: int, place: Path) -> Path:
    """A golden tokenizer with other settings."""
    shutil.copytree(GOLDEN / kind, place)
    path = place / "tokenizer_config.json"
    config = json.loads(path.read_bytes()) | {"legacy": legacy, "pad_token": "[PAD]"}
    if added:
        mark = {"content": "<|mark|>", "lstrip": True, "rstrip": True, "normalized": False, "single_word": False}
        word = {"content": "is a", "lstrip": False, "rstrip": False, "normalized": False, "single_word": False}
        config["added_tokens_decoder"] = {"2000": mark | {"special": True}, "2001": word | {"special": False}}
        config["additional_special_tokens"] = ["<|mark|>"]
    path.write_text(json.dumps(config), encoding="utf-8")
    return place


def texts(words: list[str]) -> list[str]:
    """Texts with special tokens, blanks and line ends in all places."""
    rnd = random.Random(9)
    parts = [*words, *MARKS]
    return ["", *parts, *("".join(rnd.choice(parts) for _ in range(rnd.choice([2, 3, 5, 9]))) for _ in range(400))]


def sequences(size: int, added: int) -> list[list[int]]:
    """Ids as a model may write them."""
    rnd = random.Random(5)
    special = [0, 1, 2, 3, *([2000, 2001] if added else [])]
    return [
        [
            rnd.choice([rnd.randrange(size), rnd.randrange(size), rnd.choice(special)])
            for _ in range(rnd.choice([1, 2, 3, 8]))
        ]
        for _ in range(400)
    ]


def digest(value: object) -> str:
    """Of anything that JSON holds."""
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def answers(tokenizer: object, encode: object, added: int, words: list[str]) -> dict[str, str]:
    """Digests of ids, pieces and texts."""
    asked, written = texts(words), sequences(tokenizer.vocab_size, added)  # type: ignore[attr-defined]
    return {
        "ids": digest([encode(text) for text in asked]),  # type: ignore[operator]
        "pieces": digest([tokenizer.tokenize(text) for text in asked]),  # type: ignore[attr-defined]
        "texts": digest([tokenizer.decode(ids) for ids in written]),  # type: ignore[attr-defined]
        "plain": digest([tokenizer.decode(ids, skip_special_tokens=True) for ids in written]),  # type: ignore[attr-defined]
    }


if __name__ == "__main__":
    from transformers import AutoTokenizer

    sys.path.insert(0, str(HERE))
    from synthetic_hard import ODD

    found = {}
    for case in CASES:
        with tempfile.TemporaryDirectory() as place:
            made = AutoTokenizer.from_pretrained(folder(*case, Path(place) / "t"), use_fast=False)
            name = "-".join(map(str, case))
            found[name] = answers(made, lambda text, t=made: t.encode(text, add_special_tokens=False), case[2], ODD)
    (GOLDEN / "tokenizers.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
