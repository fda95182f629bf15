"""A SentencePiece model file as what it is, a protobuf message: its pieces, how it normalises, and a copy with other names.

Field numbers are those of sentencepiece_model.proto. sentencepiece's own reader of these needs protobuf, which nothing else
here does.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""Kinds of pieces."""
UNIGRAM, BPE = 1, 2
"""Kinds of models."""
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_TEXT, _SCORE, _KIND = 1, 2, 3
_NAMED = (45, 46, 47, 48)
"""unk_piece, bos_piece, eos_piece and pad_piece of the trainer's settings."""
Field = tuple[int, int | bytes]


@dataclass(frozen=True, slots=True)
class Piece:
    """One row of the vocabulary."""

    text: str
    score: float
    kind: int


@dataclass(slots=True)
class ModelFile:
    """What a model file says."""

    pieces: list[Piece] = field(default_factory=list)
    kind: int = UNIGRAM
    byte_fallback: bool = False
    suffix: bool = False
    """A blank belongs to the word before it."""
    charsmap: bytes = b""
    """The normaliser's compiled rules; empty with identity."""
    dummy_prefix: bool = True
    remove_extra: bool = True
    """Blanks at both ends, and all but one of several, are removed."""
    names: dict[int, str] = field(default_factory=dict)
    """The trainer's own names of special pieces, by field."""


def read(blob: bytes) -> ModelFile:
    """The content of a model file that sentencepiece itself has read."""
    made = ModelFile()
    for number, value in _fields(blob):
        if not isinstance(value, bytes):
            continue
        if number == _PIECES:
            known = dict(_fields(value))
            score = struct.unpack("<f", bytes(known.get(_SCORE, b"\0" * 4)))[0]
            made.pieces.append(Piece(_text(known.get(_TEXT, b"")), score, int(known.get(_KIND, NORMAL))))
        elif number == _TRAINER:
            known = dict(_fields(value))
            made.kind = int(known.get(3, made.kind))
            made.suffix = bool(known.get(24, made.suffix))
            made.byte_fallback = bool(known.get(35, made.byte_fallback))
            made.names |= {each: _text(known[each]) for each in _NAMED if each in known}
        elif number == _NORMALIZER:
            known = dict(_fields(value))
            made.charsmap = bytes(known.get(2, made.charsmap))
            made.dummy_prefix = bool(known.get(3, made.dummy_prefix))
            made.remove_extra = bool(known.get(4, made.remove_extra))
    return made


def renamed(blob: bytes, names: Mapping[str, str]) -> bytes:
    """The model with other names for some pieces, which become control symbols: no text spells them.

    Args:
        names: old name -> new name.
    """
    out, at = bytearray(), 0
    for number, value, end in _spans(blob):
        raw, at = blob[at:end], end
        if number == _PIECES and isinstance(value, bytes):
            old = _text(dict(_fields(value)).get(_TEXT, b""))
            if old in names:  # of a field that stands twice, a reader takes the last
                raw = _bytes(_PIECES, value + _bytes(_TEXT, names[old].encode()) + _number(_KIND, CONTROL))
        out += raw
    changed = {each: names[old] for each, old in read(blob).names.items() if old in names}
    if changed:
        out += _bytes(_TRAINER, b"".join(_bytes(each, name.encode()) for each, name in changed.items()))
    return bytes(out)


def _fields(blob: bytes) -> Iterator[Field]:
    return ((number, value) for number, value, _ in _spans(blob))


def _spans(blob: bytes) -> Iterator[tuple[int, int | bytes, int]]:
    """Number, value and end of every field."""
    at = 0
    while at < len(blob):
        key, at = _varint(blob, at)
        kind = key & 7
        value: int | bytes
        if kind == 0:
            value, at = _varint(blob, at)
        else:
            length, at = _varint(blob, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            value, at = blob[at : at + length], at + length
        yield key >> 3, value, at


def _varint(blob: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte, at = blob[at], at + 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _written(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _number(number: int, value: int) -> bytes:
    return _written(number << 3) + _written(value)


def _bytes(number: int, value: bytes) -> bytes:
    return _written(number << 3 | 2) + _written(len(value)) + value


def _text(value: int | bytes) -> str:
    return bytes(value).decode()
