"""The disk that indexing takes, measured on the beginnings of a few of the files: shards, and what they are joined to."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import orjson

from haigo import files
from haigo.formats.dataset.indexed import token_dtype
from haigo.formats.documents.containers import unpack
from haigo.formats.tokenizer import Tokenizer

_LOOKED_AT = 8
"""Files, spread over all."""
_HEAD = 1 << 20
_ENCODED = 200_000
"""Characters of each that are tokenised."""
_INDEX_BYTES = 20
"""Of a document in the .idx."""
_TABLE, _TOKENS_A_BYTE = 3.0, 0.35
"""Where rows cannot be looked at (parquet): how much text a byte on the disk holds, and what that gives."""


class _Density(NamedTuple):
    """Of one file: tokens and documents that a byte on the disk gives."""

    tokens: float
    documents: float


def require(
    found: Sequence[tuple[Path, str]], model: Tokenizer, prefix: Path, parts: Path, json_key: str = "text"
) -> int:
    """Say how much disk a dataset and its shards take, beside what is there of them; gives the bytes.

    Args:
        found: the input files.
        prefix, parts: of the dataset, and the folder of its shards.

    Raises:
        HaigoError: the disk has less, or a file is damaged at its beginning.
    """
    step = max(1, -(-len(found) // _LOOKED_AT))
    looked = [(path.stat().st_size, _density(path, model, json_key)) for path, _ in found[::step]]
    size = sum(path.stat().st_size for path, _ in found)
    weight = size / max(1, sum(own for own, _ in looked))
    tokens = weight * sum(own * density.tokens for own, density in looked)
    count = weight * sum(own * density.documents for own, density in looked)
    once = tokens * token_dtype(model.vocab_size).itemsize + count * _INDEX_BYTES
    there = sum(path.stat().st_size for path in parts.iterdir() if path.is_file()) if parts.is_dir() else 0
    need = int(max(once, 2 * once - there))
    if need >= 1_000_000:
        print(
            f"haigo: index {prefix.name}: up to about {need / 1e6:,.0f} MB of disk in {prefix.parent}", file=sys.stderr
        )
    files.require_space(prefix.parent, need, f"the dataset {prefix.name} with its shards")
    return need


def _density(path: Path, model: Tokenizer, json_key: str) -> _Density:
    size = path.stat().st_size
    with open(path, "rb") as raw:
        try:
            stream = unpack(cast(BinaryIO, raw))
            head = stream.read(_HEAD)
        except Exception:  # whatever a damaged layer raises: reading it for its documents names it
            return _Density(0.0, 0.0)
        if head.startswith(b"PAR1"):
            return _Density(_TABLE * _TOKENS_A_BYTE, _TABLE / 2000)
        inside = len(head) / max(1, size if len(head) < _HEAD else min(size, raw.tell()))
    texts, used, characters = [], 0, 0
    for line in head.splitlines(keepends=True) if head.lstrip(b"\xef\xbb\xbf \r\n").startswith(b"{") else (head,):
        used += len(line)
        text = _text(line, json_key)
        texts.append(text)
        characters += len(text)
        if characters > _ENCODED:
            break
    if not used:
        return _Density(0.0, 0.0)
    tokens = float(sum(len(ids) + 1 for ids in model.encode_batch([text[:_ENCODED] for text in texts])))
    tokens *= max(1.0, characters / max(1, sum(len(text[:_ENCODED]) for text in texts)))
    return _Density(inside * tokens / used, inside * len(texts) / used)


def _text(line: bytes, json_key: str) -> str:
    """The text of a line of JSON; a line that is none, or is cut, as it stands."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return line.decode("utf-8", "replace")
    text = row.get(json_key) if isinstance(row, dict) else None
    return text if isinstance(text, str) else ""
