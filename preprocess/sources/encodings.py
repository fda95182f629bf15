"""Which encoding a text file is in, where its format leaves that open: UTF-8, UTF-16, Shift_JIS, EUC-JP, ISO-2022-JP.

Judged is the whole file, in blocks. A file gets the one encoding that takes all of its bytes and makes a text of them, or
is refused with the place of the first byte that does not fit: nothing is decoded by force, and what would be Japanese only
by accident (Latin-1, GBK, EUC-KR read as Shift_JIS or EUC-JP) is no text.
"""

from __future__ import annotations

import codecs
import contextlib
import functools
import re
from collections.abc import Callable, Iterable, Iterator

from haigo.cli import HaigoError

from . import eucms, iso2022, misread

Blocks = Callable[[], Iterable[bytes]]
"""Gives the bytes of a file in blocks, each time from the beginning."""

_BOMS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
# those of 2004 only where the others do not fit: they know other signs in the places of Windows' own
_JAPANESE, _OF_WINDOWS, _OF_2004 = ("cp932", "euc_jp"), (eucms.NAME,), ("shift_jis_2004", "euc_jis_2004")
_BLOCK = 1 << 18
_SHIFTS = re.compile(rb"\x1b\$|\x1b\(I")

# form feed, escape and the like do stand in texts
_NO_TEXT = bytes([*range(9), *range(14, 27), *range(28, 32), 127])
_NO_TEXT_SHARE, _NO_TEXT_FEW = 0.1, 4
_WIDE_SHARE = (
    0.01  # of such bytes, from which on a file may be UTF-16 without its mark: 、。 and line ends have one each
)
_FIX = "convert it to UTF-8 (iconv -f ENCODING -t UTF-8), or name its encoding with preprocess.clean --encoding"


def detect(data: bytes, name: str = "the text") -> str:
    """The name of the encoding that `data`, all of a file, is in.

    Raises:
        HaigoError: see `judge`.
    """
    return judge(lambda: blocks(data), name)


def blocks(data: bytes) -> Iterator[bytes]:
    """Bytes that are in memory, in blocks."""
    return (data[at : at + _BLOCK] for at in range(0, len(data), _BLOCK))


def judge(again: Blocks, name: str) -> str:
    """The name of the encoding that a whole file is in, by reading it, more than once where it is not UTF-8.

    Raises:
        HaigoError: no encoding takes all of it, or none makes a text of it; names the first byte that is not UTF-8.
    """
    head = b""
    for block in again():
        head += block
        if len(head) >= 4:
            break
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return _sound(again, encoding, name)
    first = _Trial("utf-8")
    size = controls = 0
    shifts, seven, tail = False, "", b""
    for block in again():
        first.feed(block)
        size += len(block)
        controls += len(block) - len(block.translate(None, _NO_TEXT))
        shifts = shifts or _SHIFTS.search(tail + block) is not None
        seven = seven or (misread.seven_bits(block) or "" if misread.suspicious(block) else "")
        tail = block[-2:]
    first.feed(b"", True)
    if controls > _WIDE_SHARE * size:
        for encoding in ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be"):
            if _is_wide_text(again, encoding):
                return encoding
    if controls > max(_NO_TEXT_FEW, _NO_TEXT_SHARE * size):
        raise HaigoError(f"{name} is not text in any known encoding.", "name its format, or give another file")
    if first.error is None:
        if first.ascii and seven:
            raise HaigoError(f"{name} is {seven}, which is ASCII to every other reader.", _FIX)
        if first.signs > misread.MOST * first.shown:
            raise HaigoError(
                f"{name} is UTF-8 of a text that was read in the wrong encoding (as 縺薙ｌ縺ｯ is これは).",
                "make it again from the original with the right encoding, or read it as it stands with --encoding utf-8",
                option="encoding",
            )
        return _sound(again, "iso2022_jp", name) if shifts and first.ascii else "utf-8"
    tried = [first]
    if first.ascii or not _tried(again, "utf-8").has_kana():
        older = _japanese(again, tried)
        if older:
            return older
    raise _unknown(tried, name)


def _japanese(again: Blocks, tried: list[_Trial]) -> str | None:
    """The older Japanese encoding that takes all of a file and makes Japanese of it; adds the trials to `tried`."""
    private: list[_Trial] = []
    for group in (_JAPANESE, _OF_WINDOWS, _OF_2004):
        trials = [_tried(again, encoding) for encoding in group]
        tried += trials
        japanese = [trial for trial in trials if trial.error is None and trial.is_japanese()]
        clear = [trial for trial in japanese if not trial.private] if group is _JAPANESE else japanese
        if clear:
            return max(clear, key=_Trial.likeness).encoding  # the first of equals
        if group is _JAPANESE:
            private = japanese
    return max(private, key=_Trial.likeness).encoding if private else None


def _unknown(tried: list[_Trial], name: str) -> HaigoError:
    first, *others = tried
    begun = [each for each in others if each.error and each.encoding in _JAPANESE and each.is_japanese()]
    best = first if not first.ascii and not begun else max(begun, key=lambda trial: trial.offset, default=None)
    if best is not None:
        return HaigoError(
            f"{name} is {best.encoding} up to {best.where()}, and something else from there: two encodings, or damage.",
            "write it in one encoding; iconv -c takes out what does not belong",
        )
    return HaigoError(
        f"{name} is not text in any known encoding: {first.where()} is not UTF-8, and Shift_JIS and EUC-JP"
        " make no Japanese of it.",
        _FIX,
    )


def decode(data: bytes, name: str, encoding: str = "auto") -> str:
    """The text of `data`, all of a file.

    Args:
        data: all of a file.
        name: what to call the file in a message.
        encoding: a Python codec's name, or "auto".

    Raises:
        HaigoError: see `judge`; or the named encoding does not exist or does not fit; gives the line and the byte.
    """
    if encoding == "auto":
        encoding = detect(data, name)
    require_known(encoding)
    return "".join(decoded(blocks(data), name, encoding))


def decoded(stream: Iterable[bytes], name: str, encoding: str, near: str = "") -> Iterator[str]:
    """The text of bytes that come in blocks, in blocks, strictly.

    Raises:
        HaigoError: the encoding does not fit; gives the line and the byte.
    """
    trial = _Trial(encoding)
    for block in stream:
        yield trial.text(block)
        if trial.error is not None:
            break
    yield trial.text(b"", True)
    if trial.error is not None:
        raise HaigoError(
            f"{name} is not {encoding} ({near}line {trial.line}): {trial.where(line=False)} does not fit.",
            "name the right encoding, or auto",
        )


def require_known(encoding: str) -> None:
    """Make sure that a named encoding of text exists ("auto" does).

    Raises:
        HaigoError: it does not.
    """
    try:
        if encoding != "auto":
            "".encode(encoding)
            codecs.getincrementaldecoder(encoding)
    except (LookupError, ValueError):
        raise HaigoError(f"there is no encoding called '{encoding}'.", "use utf-8, cp932, euc_jp or auto") from None


def glimpse(head: bytes) -> str:
    """The beginning of a file as text to tell its format by, never to be read as its text."""
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return head.decode(encoding, "replace")
    nuls = (head[0::2].count(0), head[1::2].count(0))
    if 3 * max(nuls) > len(head) // 2:
        return head.decode("utf-16-be" if nuls[0] > nuls[1] else "utf-16-le", "replace")
    if _SHIFTS.search(head) and head.isascii():
        return head.decode("iso2022_jp", "replace")
    try:
        return head.decode()
    except UnicodeDecodeError as error:
        cut = error.start >= len(head) - 4
        return head.decode("utf-8" if cut else "cp932", "replace")


def _decoder(encoding: str) -> codecs.IncrementalDecoder:
    if codecs.lookup(encoding).name == "iso2022_jp":
        return iso2022.Decoder()
    return codecs.getincrementaldecoder(encoding)()


def _tried(again: Blocks, encoding: str) -> _Trial:
    trial = _Trial(encoding)
    for block in again():
        trial.count(trial.text(block))
        if trial.error is not None:
            break
    trial.count(trial.text(b"", True))
    return trial


def _sound(again: Blocks, encoding: str, name: str) -> str:
    """The encoding, when all of the file is in it."""
    trial = _Trial(encoding)
    for block in again():
        trial.feed(block)
    trial.feed(b"", True)
    if trial.error is not None:
        raise HaigoError(
            f"{name} begins as {encoding} and does not go on so: {trial.where()} does not fit.",
            "write it in one encoding, or name its encoding with --encoding",
            option="encoding",
        )
    return encoding


_KANA, _MARKS = (
    re.compile(r"[ぁ-ゖァ-ヺー]"),
    "、。，．・：；？！゛゜々〆〇ー―‐／～〜‥…‘’“”（）〔〕［］｛｝〈〉《》「」『』【】　",
)
_HIRAGANA = frozenset("のにはをたがでてとしれさいるんかあなこもっまりく")
_PRIVATE = re.compile("[\ue000-\uf8ff]")
_ODD = re.compile("[\u0080-\u009f｡-ﾟ\ue000-\uf8ff]")
_FOREIGN = re.compile(r"[^\x00-\x7f]")
_NO_SIGN = re.compile("[\x80\xa0\uf8f0-\uf8f3]")  # what Python's cp932 makes of 0x80, 0xA0 and 0xFD to 0xFF
_SUSPECT = re.compile("[^\n]*[\x80-\x9f\xa0｡-ﾟ\ue000-\uf8ff][^\n]*")
_BESIDE_LATIN = re.compile(r"(?<=[A-Za-z])[^\x00-\x7f]|[^\x00-\x7f](?=[A-Za-z])")
_WHOLE_TEXT = 10


@functools.lru_cache(maxsize=1)
def _everyday() -> re.Pattern[str]:
    """What Japanese is written with: marks, kana and the kanji of the first level."""
    pairs = (bytes((row, cell)) for row in range(0xB0, 0xD0) for cell in range(0xA1, 0xFF))
    kanji = "".join(pair.decode("euc_jp", "ignore") for pair in pairs)
    return re.compile(f"[{re.escape(_MARKS)}ぁ-ゖァ-ヺ{kanji}]")


class _Trial:
    """One encoding tried on a file.

    Attributes:
        error: what it did not take, from where on nothing is decoded.
        ascii: every character was ASCII.
        offset, line: of the error, from 0 and from 1.
    """

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding
        self.error: UnicodeDecodeError | None = None
        self.private = self.signs = self.shown = 0
        self.ascii, self.line = True, 1
        self._decoder = _decoder(encoding)
        self._read = self.offset = self._counted = 0
        self._foreign = self._kana = self._katakana = self._everyday = self._odd = self._beside = 0
        self._hiragana: set[str] = set()

    def text(self, block: bytes, final: bool = False) -> str:
        """What the block adds; after an error, what stood before it, and then nothing."""
        if self.error is not None:
            return ""
        state = self._decoder.getstate()
        try:
            text = self._decoder.decode(block, final)
        except UnicodeDecodeError as error:
            self.error = error
            held = len(error.object) - len(block)  # bytes of the block before that were not a character yet
            self.offset = self._read - held + error.start
            self._decoder.reset()
            self._decoder.setstate(state)
            keep = max(0, error.start - held)
            text = self._before(block[:keep])
        self._read += len(block)
        self.line += text.count("\n")
        return text

    def _before(self, part: bytes) -> str:
        try:
            return self._decoder.decode(part)
        except UnicodeDecodeError:
            return ""

    def feed(self, block: bytes, final: bool = False) -> None:
        """Try a block, and forget its text."""
        text = self.text(block, final)
        if not text.isascii():
            self.ascii = False
            self.signs += misread.signs(text)
        self.shown += len(text)

    def count(self, text: str) -> None:
        """Count what tells Japanese from bytes that only look like it; a line of another encoding is an error."""
        if text.isascii():
            self._counted += len(text)
            return
        if self.encoding != "utf-8":
            self._require_own(text)
            self._counted += len(text.encode(self.encoding, "replace"))
        self._foreign += len(_FOREIGN.findall(text))
        kana = _KANA.findall(text)
        self._kana += len(kana)
        self._katakana += sum(char >= "ァ" for char in kana)
        self._hiragana.update(_HIRAGANA.intersection(kana))
        self._everyday += len(_everyday().findall(text))
        self._odd += len(_ODD.findall(text))
        self.private += len(_PRIVATE.findall(text))
        self._beside += len(_BESIDE_LATIN.findall(text))

    def _require_own(self, text: str) -> None:
        """Find what decodes here by accident: bytes that cp932 has no sign for, and lines that are Japanese in another
        encoding and hardly so in this one."""
        for match in _SUSPECT.finditer(text):
            line = match[0]
            nothing = _NO_SIGN.search(line) if self.encoding == "cp932" else None
            if nothing is None and (
                5 * len(_ODD.findall(line)) < len(_FOREIGN.findall(line)) or not self._is_other(line)
            ):
                continue
            start = match.start() + (0 if nothing is None else nothing.start())
            value = text[start].encode(self.encoding, "replace")
            self.error = UnicodeDecodeError(self.encoding, value, 0, 1, "of another encoding")
            self.offset = self._counted + len(text[:start].encode(self.encoding, "replace"))
            self.line += text.count("\n", 0, start) - text.count("\n")
            return

    def _is_other(self, line: str) -> bool:
        data = line.encode(self.encoding, "replace")
        own = len(_KANA.findall(line)) / len(line)
        for encoding in ("utf-8", *_JAPANESE):
            with contextlib.suppress(UnicodeDecodeError):
                other = data.decode(encoding)
                if encoding != self.encoding and len(_KANA.findall(other)) > max(
                    1, 0.3 * len(other), 2 * own * len(other)
                ):
                    return True
        return False

    def is_japanese(self) -> bool:
        """What came out is Japanese: it has kana; a few words may go without, where they
        are of everyday signs and do not stand inside Latin words."""
        if not self._foreign:
            return False
        if 10 * self._kana >= self._foreign:
            enough = len(self._hiragana) >= 2 or self._foreign < 2 * _WHOLE_TEXT or 2 * self._katakana > self._foreign
            return enough and 3 * self._odd <= self._foreign
        return self._foreign < _WHOLE_TEXT and self._everyday == self._foreign and not self._beside

    def likeness(self) -> float:
        """How much of it is what Japanese text is made of: half-width kana and private signs count against it."""
        return (self._everyday - 2 * self._odd) / max(1, self._foreign)

    def has_kana(self) -> bool:
        """What was decoded before the error is Japanese beyond doubt."""
        return self._kana >= 2

    def where(self, line: bool = True) -> str:
        """The place of the error: byte, counted from 0, and line, counted from 1."""
        assert self.error is not None
        value = self.error.object[self.error.start]
        return f"byte {self.offset:,} (0x{value:02x}{f', line {self.line}' if line else ''})"


def _is_wide_text(again: Blocks, encoding: str) -> bool:
    """Whether UTF-16 or -32 without its mark makes a text of the bytes: what Japanese and English are written with, and line
    ends."""
    trial = _Trial(encoding)
    size = good = 0
    for block in again():
        text = trial.text(block)
        size += len(text)
        good += len(re.findall("[\t\n\r -~、-ヿ一-鿿！-ﾟ‐-…]", text))
    trial.text(b"", True)
    return trial.error is None and good >= 0.95 * max(1, size)
