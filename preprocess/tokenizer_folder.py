"""The tokenizer folder: a model, the files other programs want, and what was measured on every corpus (`meta.json`, last)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from haigo import __version__, files
from haigo.cli import Refused
from haigo.progress import Progress

from . import documents
from .sources import Document
from .tokenizer import EOD_PIECE, META_NAME, MODEL_NAME, Tokenizer, load

_BATCH_CHARS = 1_000_000
_HF_CHECK_CHARS = 500_000
_SAMPLES = 3


def write(
    model: bytes,
    output_dir: str | os.PathLike[str],
    corpora: Mapping[str, str | os.PathLike[str]],
    *,
    options: Mapping[str, Any],
    seed: int,
    strict: bool = True,
    training: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write a tokenizer folder.

    Args:
        model: a serialised SentencePiece model.
        output_dir: the folder to make.
        corpora: corpus name -> folder written by preprocess.clean; the model is checked on all of their documents.
        options: how the model came about, for the record.
        seed: key of the sample on which `tokenizer.json` is compared.
        strict: refuse a model that does not give every document back.
        training: corpus name -> what of it the model was trained on, for the record.

    Returns:
        What `meta.json` holds.

    Raises:
        Refused: a document does not come back from decode(encode(text)), and `strict` asks for it.
    """
    from . import hf_tokenizer

    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / META_NAME).unlink(missing_ok=True)  # until the new one is written, the folder is not finished
    with files.atomic(folder / MODEL_NAME) as temporary:
        temporary.write_bytes(model)
    tokenizer = load(folder)
    checked = {name: check(tokenizer, place, name, strict=strict) for name, place in corpora.items()}
    for name, what in (training or {}).items():
        checked[name]["training"] = what
    hf_tokenizer.write_hf_files(tokenizer.processor, folder)
    meta = {
        "vocab_size": tokenizer.vocab_size,
        "eod_piece": EOD_PIECE,
        "eod_id": tokenizer.eod_id,
        "pad_id": tokenizer.pad_id,
        "sha256": tokenizer.sha256,
        "options": dict(options),
        "seed": seed,
        "corpora": checked,
        "tokenizer_json": _json_differences(tokenizer, folder, corpora, seed),
        "tool": f"haigo {__version__}",
    }
    files.write_json(folder / META_NAME, meta)
    return meta


def check(tokenizer: Tokenizer, folder: str | os.PathLike[str], name: str, *, strict: bool = True) -> dict[str, Any]:
    """Encode and decode every document of a cleaned corpus, all splits.

    Returns:
        documents, characters, tokens, characters_per_token and lossless (documents that came back unchanged).

    Raises:
        Refused: at least one document did not come back, and `strict` asks for it.
    """
    row: dict[str, Any] = {"documents": 0, "characters": 0, "tokens": 0, "lossless": 0}
    lossy: list[str] = []
    with Progress(f"check {name}", None, "documents") as progress:
        for held, ids in _batches(tokenizer, folder):
            back = tokenizer.processor.decode(ids)
            for document, tokens, text in zip(held, ids, back, strict=True):
                row["documents"] += 1
                row["characters"] += len(document.text)
                row["tokens"] += len(tokens)
                if text == document.text:
                    row["lossless"] += 1
                elif len(lossy) < _SAMPLES:
                    lossy.append(document.id)
            progress.update(len(held))
    if lossy and strict:
        missing = row["documents"] - row["lossless"]
        raise Refused(
            f"the tokenizer changes {missing:,} of {row['documents']:,} documents of '{name}' ({', '.join(lossy)}).",
            "clean that corpus with preprocess.clean, which takes out what SentencePiece cannot keep",
        )
    row["characters_per_token"] = round(row["characters"] / max(1, row["tokens"]), 4)
    return row


def _batches(tokenizer: Tokenizer, folder: str | os.PathLike[str]) -> Iterator[tuple[list[Document], list[list[int]]]]:
    for split in documents.SPLITS:
        if not any((Path(folder) / split).glob("*.jsonl.zst")):
            continue
        held: list[Document] = []
        size = 0
        for document in documents.read(folder, split):
            held.append(document)
            size += len(document.text)
            if size >= _BATCH_CHARS:
                yield held, tokenizer.encode_batch([one.text for one in held])
                held, size = [], 0
        if held:
            yield held, tokenizer.encode_batch([one.text for one in held])


def _json_differences(
    tokenizer: Tokenizer, folder: Path, corpora: Mapping[str, str | os.PathLike[str]], seed: int
) -> dict[str, Any] | None:
    """How often tokenizer.json cuts otherwise than sentencepiece, on a drawn sample of every corpus."""
    if not (folder / "tokenizer.json").is_file():
        return None
    import tokenizers

    fast = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    counts: dict[str, Any] = {}
    for name, place in corpora.items():
        sample = documents.draw(documents.read(place), _HF_CHECK_CHARS, seed)
        theirs = fast.encode_batch([document.text for document in sample], add_special_tokens=False)
        ours = tokenizer.encode_batch([document.text for document in sample])
        differs = [one.ids != two for one, two in zip(theirs, ours, strict=True)]
        counts[name] = {
            "documents": len(sample),
            "different": sum(differs),
            "tokens": sum(map(len, ours)),
            "tokens_of_tokenizer_json": sum(len(one.ids) for one in theirs),
        }
    return counts
