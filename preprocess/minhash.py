"""One-permutation MinHash of character shingles, in numpy: what near-duplicates are found by.

Every shingle falls into one of `bands * rows` bins, and a bin keeps its least hash. A bin that stays empty (short texts)
keeps instead the least of a second hash of all shingles, made for that bin: two texts then agree in every bin with
probability equal to their Jaccard similarity, and bins are all but independent, whatever the texts' lengths. (After
Li, Owen and Zhang 2012 and the round scheme of Dahlgaard, Knudsen and Thorup 2017.)
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import re
import unicodedata
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from . import normal_form

Hashes = npt.NDArray[np.uint64]
_BLOCK = 1 << 15  # positions hashed at a time: their intermediate arrays stay in the cache
_EMPTY = np.uint32(0xFFFFFFFF)
_MIX = np.uint64(0xD6E8FEB86659FD93)
_SHIFTS = (np.uint64(32), np.uint64(29))
_32 = np.uint64(32)
SHORT = 200
"""Shingles below which texts that name different numbers are different, however alike the rest: rows made by a template."""
_NUMBER = re.compile(
    r"[-+.,:/−‐–]?[0-9]+[%‰°]?|第[〇一二三四五六七八九十百千]+|[〇一二三四五六七八九十百千万億]+(?=[年月日回号章条円人倍度時分秒位番歳])"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
    """How texts are sketched; two sketches compare only when all of these are equal."""

    shingle: int = 5
    bands: int = 14
    rows: int = 8
    seed: int = 1234

    @property
    def bins(self) -> int:
        return self.bands * self.rows


@dataclasses.dataclass(frozen=True, slots=True)
class Sketches:
    """Of n texts: `keys` (n, bands) uint64, equal in a band for likely near-duplicates; `bytes` (n, bins) uint8, the low
    bits of the bins, from which similarity is estimated; `sizes` (n) uint32, shingles counted with repetition; `digests`
    (n, 2) uint64, equal when the normal forms with their punctuation are; `numbers` (n) uint64, of texts below SHORT
    shingles a hash of the numbers in them, else 0."""

    keys: Hashes
    bytes: npt.NDArray[np.uint8]
    sizes: npt.NDArray[np.uint32]
    digests: Hashes
    numbers: Hashes


class Sketcher:
    """Makes sketches. Texts without a character of normal form are sketched by the text itself."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        drawn = np.random.Generator(np.random.PCG64(shape.seed)).integers(
            1 << 63, size=shape.shingle + shape.bins + shape.rows, dtype=np.uint64
        )
        odd = (drawn << np.uint64(1)) | np.uint64(1)
        self._letters, rest = odd[: shape.shingle], odd[shape.shingle :]
        self._bins, rest = rest[: shape.bins], rest[shape.bins :]
        self._rows = rest

    def shingles(self, text: str) -> Hashes:
        """The set of shingle hashes of one text, sorted. Jaccard similarity is that of these sets."""
        return self.shingle_sets([text])[0]

    def shingle_sets(self, texts: Sequence[str]) -> list[Hashes]:
        """The same of many texts."""
        codes, starts = normal_form.batch(texts)
        hashes, ends = self._hashes(texts, codes, starts)
        sets = []
        for start, end in itertools.pairwise(ends.tolist()):
            own = np.sort(hashes[start:end])
            new = np.ones(len(own), dtype=bool)
            np.not_equal(own[1:], own[:-1], out=new[1:])
            sets.append(own[new])
        return sets

    def sketch(self, texts: Sequence[str]) -> Sketches:
        """Sketches of texts, together: about a million characters at a time is best."""
        shape = self.shape
        with_marks = normal_form.batch_with_marks(texts)
        digests = _digests(texts, *normal_form.exact(*with_marks))
        codes, places = normal_form.without_marks(*with_marks)
        hashes, starts = self._hashes(texts, codes, places)
        counts = np.diff(starts)
        flat = np.full(len(texts) * shape.bins, _EMPTY, dtype=np.uint32)
        bins = ((hashes >> _32) * np.uint64(shape.bins)) >> _32
        bins += np.repeat(np.arange(len(texts), dtype=np.uint64) * np.uint64(shape.bins), counts)
        np.minimum.at(flat, bins.view(np.int64), hashes.astype(np.uint32))
        least = flat.reshape(len(texts), shape.bins)
        empty = least == _EMPTY
        for number in np.flatnonzero(empty.any(axis=1)).tolist():
            own = hashes[starts[number] : starts[number + 1]]
            missing = np.flatnonzero(empty[number])
            if own.size:
                least[number, missing] = self._second(own, missing)
        keys = np.zeros((len(texts), shape.bands), dtype=np.uint64)
        by_band = least.reshape(len(texts), shape.bands, shape.rows).astype(np.uint64)
        for row in range(shape.rows):
            keys += by_band[:, :, row] * self._rows[row]
        keys ^= keys >> np.uint64(29)
        keys *= _MIX
        numbers = [_numbers(text) if size < SHORT else 0 for text, size in zip(texts, counts.tolist(), strict=True)]
        return Sketches(
            keys,
            least.astype(np.uint8),
            counts.astype(np.uint32),
            digests,
            np.array(numbers, dtype=np.uint64),
        )

    def _second(self, own: Hashes, missing: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
        least = np.empty(len(missing), dtype=np.uint32)
        step = max(1, _BLOCK // len(own))
        for start in range(0, len(missing), step):
            part = np.multiply.outer(self._bins[missing[start : start + step]], own)
            least[start : start + step] = part.min(axis=1) >> _32
        return least

    def _hashes(
        self, texts: Sequence[str], codes: normal_form.Codes, starts: npt.NDArray[np.int64]
    ) -> tuple[Hashes, npt.NDArray[np.int64]]:
        """Shingle hashes of texts one after the other, repetitions included, and where each text's begin."""
        width = self.shape.shingle
        lengths = np.diff(starts)
        hashes = self._rolled(codes)
        if len(texts) and lengths.min() >= width:
            # the windows that reach over a text's end belong to nobody
            keep = np.ones(len(hashes) + width - 1, dtype=bool)
            for back in range(1, width):
                keep[starts[1:] - back] = False
            return hashes[keep[: len(hashes)]], starts - np.arange(len(starts)) * (width - 1)
        # a text shorter than a shingle is one shingle
        digests = _digests(texts, codes, starts)
        parts = [
            hashes[start : end - width + 1] if end - start >= width else digests[number, :1]
            for number, (start, end) in enumerate(itertools.pairwise(starts.tolist()))
        ]
        counted = np.cumsum([0, *(len(part) for part in parts)])
        return np.concatenate(parts) if parts else hashes[:0], counted

    def _rolled(self, codes: normal_form.Codes) -> Hashes:
        """The hash of every window of `shingle` characters (shape: characters - shingle + 1)."""
        width = self.shape.shingle
        hashes = np.empty(max(0, len(codes) - width + 1), dtype=np.uint64)
        wide = codes.astype(np.uint64)
        spare = np.empty(_BLOCK, dtype=np.uint64)
        for start in range(0, len(hashes), _BLOCK):
            block = hashes[start : start + _BLOCK]
            size = len(block)
            other = spare[:size]
            np.multiply(wide[start : start + size], self._letters[0], out=block)
            for place in range(1, width):
                np.multiply(wide[start + place : start + place + size], self._letters[place], out=other)
                np.add(block, other, out=block)
            for shift in _SHIFTS:
                np.right_shift(block, shift, out=other)
                np.bitwise_xor(block, other, out=block)
                np.multiply(block, _MIX, out=block)
            np.right_shift(block, _32, out=other)
            np.bitwise_xor(block, other, out=block)
        return hashes


def _numbers(text: str) -> int:
    """A hash of the numbers of a text with their signs, in order."""
    numbers = _NUMBER.findall(" ".join(unicodedata.normalize("NFKC", text).split()))
    return int.from_bytes(hashlib.blake2b("\0".join(numbers).encode(), digest_size=8).digest(), "little") >> 1


def _digests(texts: Sequence[str], codes: normal_form.Codes, starts: npt.NDArray[np.int64]) -> Hashes:
    """128 bits of each text's normal form; a text that has none is told by itself."""
    packed = codes.tobytes()
    digests = []
    for number, (start, end) in enumerate(itertools.pairwise(starts.tolist())):
        content = packed[4 * start : 4 * end] if end > start else b"\0" + texts[number].encode(errors="surrogatepass")
        digests.append(hashlib.blake2b(content, digest_size=16).digest())
    return np.frombuffer(b"".join(digests), dtype=np.uint64).reshape(-1, 2)
