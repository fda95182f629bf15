"""Which encoding a text file is in, where its format leaves that open: UTF-8, UTF-16, Shift_JIS, EUC-JP, ISO-2022-JP."""

from __future__ import annotations

import codecs
import re

from haigo.cli import HaigoError

_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
# those of 2004 only where the others do not fit: they have other signs in the places of ＼ and ～, say
_JAPANESE, _OF_2004 = ("cp932", "euc_jp"), ("shift_jis_2004", "euc_jis_2004")
_COMMON = re.compile(r"[ぁ-んァ-ヶー、。「」一-龥々\s!-~]")
_ODD = re.compile("[\u0080-\u009f｡-ﾟ\ue000-\uf8ff]")

# form feed, escape and the like do stand in texts
_NO_TEXT = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f\ufffd]")
_NO_TEXT_SHARE, _NO_TEXT_FEW = 0.1, 4


def detect(data: bytes, whole: bool = True) -> str:
    """The name of the encoding that `data` is in.

    Args:
        data: the file's beginning, better all of it.
        whole: False when the last character may be cut in two.

    A file that no encoding takes without error gets the likeliest one; `decode` marks its bad bytes with U+FFFD.
    """
    for mark, name in _BOMS:
        if data.startswith(mark):
            return name
    if re.search(rb"\x1b\$[@B]", data) and not re.search(rb"[\x80-\xff]", data):
        return "iso2022_jp"
    if _decodes(data, "utf-8", whole):
        return "utf-8"
    for names in (_JAPANESE, _OF_2004):
        sound = [name for name in names if _decodes(data, name, whole)]
        if sound:
            return max(sound, key=lambda name: _likeness(data.decode(name, "ignore")))  # the first of equals
    broken = {name: data.decode(name, "replace") for name in ("utf-8", "cp932", "euc_jp")}
    return min(broken, key=lambda name: (broken[name].count("\ufffd"), -_likeness(broken[name])))


def decode(data: bytes, name: str, encoding: str = "auto") -> str:
    """The text of `data`; bytes that do not belong become U+FFFD when the encoding was guessed.

    Args:
        data: all of a file.
        name: what to call the file in a message.
        encoding: a Python codec's name, or "auto".

    Raises:
        HaigoError: the named encoding does not exist or does not fit; gives the line.
    """
    if encoding == "auto":
        text = data.decode(detect(data), "replace")
        require_text(text, name)
        return text
    require_known(encoding)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise HaigoError(f"{name} is not {encoding} (line {line}).", "name the right encoding, or auto") from None


def require_text(text: str, name: str) -> None:
    """Make sure that what was decoded by guess is text: few characters are damaged or control characters.

    Raises:
        HaigoError: it is something else (a program, a picture, encrypted data).
    """
    if len(_NO_TEXT.findall(text)) > max(_NO_TEXT_FEW, _NO_TEXT_SHARE * len(text)):
        raise HaigoError(f"{name} is not text in any known encoding.", "name its format, or give another file")


def require_known(encoding: str) -> None:
    """Make sure that a named encoding exists ("auto" does).

    Raises:
        HaigoError: it does not.
    """
    try:
        codecs.lookup("utf-8" if encoding == "auto" else encoding)
    except LookupError:
        raise HaigoError(f"there is no encoding called '{encoding}'.", "use utf-8, cp932, euc_jp or auto") from None


def _decodes(data: bytes, encoding: str, whole: bool) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError as error:
        return not whole and error.start >= len(data) - 4
    return True


def _likeness(text: str) -> float:
    """How much of the text is what Japanese text is made of: half-width kana and private signs count against it."""
    return (len(_COMMON.findall(text)) - 2 * len(_ODD.findall(text))) / max(1, len(text))
