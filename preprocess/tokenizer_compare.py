"""Characters a token of this and other tokenizers on the same text: SentencePiece models and Hugging Face folders.

    python -m preprocess.tokenizer CLEANED_DIR... --output-dir TOKENIZER --compare OTHER...

OTHER is a SentencePiece model file, a folder with one (`spm.model`, `spiece.model`, `tokenizer.model`), a `tokenizer.json`
or a folder with one, or any folder that transformers' AutoTokenizer reads. The text is a random part of the valid and test
splits, which no training saw; of the train split where a corpus has no others. Special tokens are not added.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from haigo.cli import HaigoError
from haigo.formats import documents
from haigo.formats.documents import Document
from haigo.formats.tokenizer import MODEL_NAME, Tokenizer, load, open_hf
from haigo.formats.tokenizer.model import FOREIGN_NAMES, find
from haigo.progress import Progress

CHARACTERS = 500_000


@dataclasses.dataclass(frozen=True, slots=True)
class Contender:
    """A tokenizer reduced to what is compared."""

    name: str
    vocab_size: int
    encode: Callable[[list[str]], list[list[int]]]
    decode: Callable[[list[list[int]]], list[str]]
    unknown: int | None


def contender(given: str | os.PathLike[str]) -> Contender:
    """Load a tokenizer of whatever kind.

    Raises:
        HaigoError: nothing there that can be read as a tokenizer.
    """
    path = Path(given)
    if not path.exists():
        raise HaigoError(f"{path} does not exist.", "name a SentencePiece model or a Hugging Face folder")
    if path.is_dir():
        model = find(path, (MODEL_NAME, *FOREIGN_NAMES))
        return _opened(path) if model is None else _sentencepiece(str(given), model)
    return (
        _json(str(given), path) if path.suffix == ".json" else _sentencepiece(str(given), load(path, require_eod=False))
    )


def of_bytes(name: str, model: bytes) -> Contender:
    """A SentencePiece model that no file holds."""
    import sentencepiece

    made = sentencepiece.SentencePieceProcessor(model_proto=model)
    return Contender(name, made.get_piece_size(), made.encode, made.decode, made.unk_id())


def compare(
    given: Sequence[str | os.PathLike[str] | Contender],
    corpora: Mapping[str, str | os.PathLike[str]],
    seed: int,
    characters: int = CHARACTERS,
) -> dict[str, Any]:
    """Measure tokenizers side by side.

    Args:
        given: what `contender` takes, or what it gives.
        corpora: corpus name -> folder written by preprocess.clean.
        seed: key of the draw.
        characters: text of each corpus.

    Returns:
        `text`: corpus -> documents and characters; `tokenizers`: name -> vocab_size and `corpora`: corpus -> tokens,
        characters_per_token, bytes_per_token, unknown (tokens), lossless (documents that came back unchanged).
    """
    others = [each if isinstance(each, Contender) else contender(each) for each in given]
    text: dict[str, Any] = {}
    rows: dict[str, Any] = {one.name: {"vocab_size": one.vocab_size, "corpora": {}} for one in others}
    with Progress("compare", len(corpora) * len(others), "tables") as progress, progress.beating():
        for name, folder in corpora.items():
            held = [one.text for one in documents.draw(held_out(folder), characters, seed)]
            size, raw = sum(map(len, held)), sum(len(one.encode()) for one in held)
            text[name] = {"documents": len(held), "characters": size}
            for one in others:
                ids = one.encode(held)
                tokens = sum(map(len, ids))
                back = one.decode(ids)
                rows[one.name]["corpora"][name] = {
                    "tokens": tokens,
                    "characters_per_token": round(size / max(1, tokens), 4),
                    "bytes_per_token": round(raw / max(1, tokens), 4),
                    "unknown": sum(line.count(one.unknown) for line in ids) if one.unknown is not None else 0,
                    "lossless": sum(a == b for a, b in zip(held, back, strict=True)),
                }
                progress.update(1, f"{name} {one.name}")
    return {"text": text, "tokenizers": rows}


def table(compared: Mapping[str, Any]) -> str:
    """The comparison for reading: a line a corpus, a column a tokenizer."""
    names = list(compared["tokenizers"])
    shown = [f"[{number}]" for number in range(1, len(names) + 1)]
    width = max(12, *(len(corpus) for corpus in compared["text"]))
    lines = [f"characters a token; in brackets the share of documents that come back unchanged, in %{'':4s}"]
    lines += [
        f"  {mark} {name} ({compared['tokenizers'][name]['vocab_size']:,} pieces)"
        for mark, name in zip(shown, names, strict=True)
    ]
    lines.append("  " + " " * width + "".join(f"{mark:>15s}" for mark in shown))
    for corpus, text in compared["text"].items():
        cells = []
        for name in names:
            row = compared["tokenizers"][name]["corpora"][corpus]
            cells.append(f"{row['characters_per_token']:.3f} ({100 * row['lossless'] / max(1, text['documents']):.0f})")
        lines.append(f"  {corpus:{width}s}" + "".join(f"{cell:>15s}" for cell in cells))
    return "\n".join(line.rstrip() for line in lines)


def held_out(folder: str | os.PathLike[str]) -> Iterator[Document]:
    """Documents of the valid and test splits, or of train where there are no others."""
    held = [split for split in documents.splits(folder) if split != "train"]
    for split in held or ["train"]:
        yield from documents.read(folder, split)


def _sentencepiece(name: str, model: Tokenizer) -> Contender:
    return Contender(name, model.vocab_size, model.encode_batch, model.processor.decode, model.processor.unk_id())


def _json(name: str, path: Path) -> Contender:
    from haigo.formats.tokenizer import json_file

    fast = json_file.read(path)

    def encode(texts: list[str]) -> list[list[int]]:
        return [one.ids for one in fast.encode_batch(texts, add_special_tokens=False)]

    def decode(ids: list[list[int]]) -> list[str]:
        return list(fast.decode_batch(ids, skip_special_tokens=False))

    unknown = getattr(fast.model, "unk_token", None)
    number = fast.token_to_id(unknown) if isinstance(unknown, str) else getattr(fast.model, "unk_id", None)
    return Contender(name, fast.get_vocab_size(), encode, decode, number)


def _opened(path: Path) -> Contender:
    """A Hugging Face folder, with the ids that a model of it is scored with."""
    opened = open_hf(path)
    for warning in opened.warnings:
        print(f"haigo: {warning}", file=sys.stderr)

    def encode(texts: list[str]) -> list[list[int]]:
        return [opened.ids(text) for text in texts]

    def decode(ids: list[list[int]]) -> list[str]:
        return [str(opened.tokenizer.decode(one, clean_up_tokenization_spaces=False)) for one in ids]

    return Contender(str(path), len(opened.tokenizer), encode, decode, opened.tokenizer.unk_token_id)
