"""A SentencePiece model put together by hand, so that golden bytes do not depend on how a trainer rounds."""

import struct

PIECES = [
    "▁", "。", "、", "は", "の", "に", "を", "が", "た", "で", "と", "し", "て", "い", "る", "な",
    "した", "して", "では", "には", "から", "まで", "である", "国会", "会議", "京都", "東京", "日本", "質問", "雨", "山",
    "def", "return", "▁▁▁▁", "the", "▁the", "▁a", "a", "e", "i", "o", "n", "t", "s", "r", "1", "2", "0", "(", ")", ":",
]  # fmt: skip
EOD, PAD = "<|endoftext|>", "<|padding|>"
_UNKNOWN, _CONTROL, _USER, _BYTE, _NORMAL = 2, 3, 4, 6, 1


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def blob(field: int, value: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(value)) + value


def piece(text: str, score: float, kind: int) -> bytes:
    return blob(1, blob(1, text.encode()) + varint(2 << 3 | 5) + struct.pack("<f", score) + number(3, kind))


def model(eod: str | None = EOD) -> bytes:
    """The serialized ModelProto: unk 0, end of document 1, padding 2, newline 3, 256 bytes, then PIECES."""
    rows = [piece("<unk>", 0, _UNKNOWN), piece(eod or "</s>", 0, _CONTROL), piece(PAD, 0, _CONTROL)]
    rows.append(piece("\n", 0, _USER))
    rows += [piece(f"<0x{value:02X}>", 0, _BYTE) for value in range(256)]
    rows += [piece(text, -2.0 - 0.25 * place, _NORMAL) for place, text in enumerate(PIECES)]
    ids = number(40, 0) + number(41, -1) + number(42, 1) + number(43, 2)
    names = blob(45, b"<unk>") + blob(47, (eod or "</s>").encode()) + blob(48, PAD.encode())
    trainer = number(3, 1) + number(4, len(rows)) + number(35, 1) + ids + names
    normalizer = blob(1, b"identity") + number(3, 0) + number(4, 0) + number(5, 1)
    return b"".join(rows) + blob(2, trainer) + blob(3, normalizer)


TEXTS = [
    "国会では質問がある。\n  京都から東京まで、雨に\tなる。",
    "def f(a):\n    return a + 1  # the note\n",
    "日本の山は、雨である。" * 40,
    "the rain in the 2010 report",
    "𠮟る① <|endoftext|> <0x41> e\u0301 \u200b",
    " ",
    "\n\n",
]
"""Text of the project's own, with blanks, bytes outside the pieces and spelled-out special pieces."""
