"""Topics of documents: hashed words weighted by idf, k-means, and integers that label new text the same everywhere.

What counts of a text are its words as the script shows them, so that no segmenter is asked for: runs of letters (Latin, Greek,
Hangul ...), runs of katakana, and pairs of kanji next to each other; hiragana, digits and marks say little of a topic. Each is
hashed into one of 65,536 buckets. A sample of the training documents is reduced by a truncated SVD and parted by k-means (both
scikit-learn's); the parts' means in the space of buckets, refined by spherical k-means (Dhillon and Modha 2001), are rounded to
whole numbers. A document's topic is the one with the largest sum over its buckets: whole numbers alone, so that the label does
not depend on the machine, the library, or what else is labelled beside it.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from haigo.cli import HaigoError

from . import normal_form
from .hashed import shortened

Integers = npt.NDArray[np.int64]
BUCKETS = 1 << 16
DIMENSIONS = 64
LONGEST = 1 << 16
"""Characters of a document that are looked at; of a longer one so many in pieces spread over it."""
_MOST_TIMES = 255
_TIMES = np.rint(16 * (1 + np.log(np.maximum(1, np.arange(_MOST_TIMES + 1))))).astype(np.int64)
"""What a word that stands so often in a document counts for."""
_LARGEST = 32_000  # of a model's numbers: they are kept as int16
_LEAST_DOCUMENTS = 2  # a bucket that fewer of the sample have says nothing of a group
_REFINED = 10
_LETTER, _KATAKANA, _KANJI = 1, 2, 3
_TABLE_END = 0x32000
_LONGEST_WORD = 32
_MIX = np.uint64(0xD6E8FEB86659FD93)
_32 = np.uint64(32)
_TO_BUCKET = np.uint64(48)


@functools.lru_cache(maxsize=1)
def _tables() -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint8], npt.NDArray[np.uint64]]:
    """Code point -> its lower case; code point -> kind of letter, 0 for what is left out; place in a word -> multiplier."""
    lower = np.arange(_TABLE_END, dtype=np.uint32)
    kinds = np.zeros(_TABLE_END, dtype=np.uint8)
    for code in range(_TABLE_END):
        char = chr(code)
        if len(low := char.lower()) == 1:
            lower[code] = ord(low)
        if unicodedata.category(char)[0] == "L":
            kinds[code] = _LETTER
    kinds[0x3041:0x30A0] = 0  # hiragana
    kinds[0x30A1:0x3100] = kinds[0x31F0:0x3200] = _KATAKANA
    kinds[[0x3005, 0x3007]] = kinds[0x3400:0xA000] = kinds[0xF900:0xFB00] = kinds[0x20000:] = _KANJI
    drawn = np.random.Generator(np.random.PCG64(0)).integers(1 << 63, size=_LONGEST_WORD, dtype=np.uint64)
    return lower, kinds, (drawn << np.uint64(1)) | np.uint64(1)


@dataclasses.dataclass(frozen=True, slots=True)
class Counts:
    """The words of some documents: `buckets` and `times` (how often, at most 255) of each pair of document and bucket, one
    document after the other, and `ends`, where each document's end (shape: documents)."""

    buckets: npt.NDArray[np.uint16]
    times: npt.NDArray[np.uint8]
    ends: Integers


def count(texts: Sequence[str]) -> Counts:
    """The words of texts, hashed and counted: at most 65,536 texts, best about a hundred thousand characters together."""
    codes, starts = normal_form.batch_with_marks([shortened(text, LONGEST) for text in texts])
    lower, kinds, factors = _tables()
    known = np.minimum(codes, _TABLE_END - 1)  # marks and gaps lie beyond the table, whose last is no letter
    kind = kinds[known]
    kind[codes >= _TABLE_END] = 0
    wide = lower[known].astype(np.uint64)
    begins = np.ones(len(kind), dtype=bool)
    np.not_equal(kind[1:], kind[:-1], out=begins[1:])
    begins[starts[:-1][starts[:-1] < len(kind)]] = True
    first = np.flatnonzero(begins)
    place = np.arange(len(kind)) - np.repeat(first, np.diff(np.append(first, len(kind))))
    # pairs of kanji
    pair = np.flatnonzero((kind == _KANJI) & (place > 0))
    hashed = [wide[pair - 1] * factors[0] + wide[pair] * factors[1]]
    where = [pair]
    # words
    wide *= factors[np.minimum(place, _LONGEST_WORD - 1)]
    if len(first):
        sums = np.add.reduceat(wide, first)
        lengths = np.diff(np.append(first, len(kind)))
        words = np.flatnonzero((kind[first] != 0) & (kind[first] != _KANJI) & (lengths > 1))
        hashed.append(sums[words])
        where.append(first[words])
    values, at = np.concatenate(hashed), np.concatenate(where)
    for shift in (_32, np.uint64(29)):
        values ^= values >> shift
        values *= _MIX
    owner = np.searchsorted(starts, at, "right") - 1
    keys = (owner.astype(np.uint32) << np.uint32(16)) | (values >> _TO_BUCKET).astype(np.uint32)
    keys.sort()
    new = np.ones(len(keys), dtype=bool)
    np.not_equal(keys[1:], keys[:-1], out=new[1:])
    begin = np.flatnonzero(new)
    times = np.minimum(np.diff(np.append(begin, len(keys))), _MOST_TIMES).astype(np.uint8)
    keys = keys[begin]
    ends = np.searchsorted(keys, np.arange(1, len(texts) + 1, dtype=np.uint64) << np.uint64(16))
    return Counts(keys.astype(np.uint16), times, ends.astype(np.int64))


def join(lots: Sequence[Counts]) -> Counts:
    """Counts of documents that follow each other as one."""
    shifts = np.cumsum([0, *(len(lot.buckets) for lot in lots)])
    return Counts(
        np.concatenate([np.empty(0, np.uint16), *(lot.buckets for lot in lots)]),
        np.concatenate([np.empty(0, np.uint8), *(lot.times for lot in lots)]),
        np.concatenate([np.empty(0, np.int64), *(lot.ends + shift for lot, shift in zip(lots, shifts, strict=False))]),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Topics:
    """A model of topics: `vectors` int16 [topics, BUCKETS]."""

    vectors: npt.NDArray[np.int16]

    def label(self, counts: Counts) -> npt.NDArray[np.uint8]:
        """The topic of each document: that of the largest sum, the first of equal ones; 0 where no word is known."""
        if not len(counts.buckets):
            return np.zeros(len(counts.ends), np.uint8)
        weights = _TIMES[counts.times]
        starts = np.concatenate(([0], counts.ends[:-1]))
        some = np.flatnonzero(counts.ends > starts)  # reduceat would give an empty one its neighbour's
        sums = np.zeros((len(self.vectors), len(counts.ends)), np.int64)
        for topic, vector in enumerate(self.vectors):
            sums[topic, some] = np.add.reduceat(vector[counts.buckets] * weights, starts[some])
        return sums.argmax(axis=0).astype(np.uint8)

    def packed(self) -> dict[str, Any]:
        """As JSON."""
        packed = zlib.compress(self.vectors.astype("<i2").tobytes(), 6)
        return {"topics": len(self.vectors), "vectors": base64.b64encode(packed).decode()}

    @classmethod
    def unpacked(cls, packed: Mapping[str, Any], source: str) -> Self:
        """What `packed` gave.

        Raises:
            HaigoError: it is damaged; names `source`.
        """
        try:
            raw = zlib.decompress(base64.b64decode(packed["vectors"], validate=True))
            return cls(np.frombuffer(raw, "<i2").reshape(packed["topics"], BUCKETS).astype(np.int16))
        except (ValueError, zlib.error):
            raise HaigoError(f"{source} holds no model of topics.", "make it again with preprocess.partition") from None


def fit(counts: Counts, topics: int, seed: int) -> tuple[Topics, Integers]:
    """Part a sample of documents.

    Args:
        counts: of the sample.
        topics: how many parts.
        seed: of the start of k-means.

    Returns:
        The model, and the topic of each document of the sample. Topics are in the order of their size, the largest first.

    Raises:
        HaigoError: fewer different documents than topics.
    """
    import sklearn.cluster
    import threadpoolctl
    from scipy import sparse
    from sklearn.decomposition import TruncatedSVD

    documents = len(counts.ends)
    begins = np.concatenate(([0], counts.ends)).astype(np.int64)
    frequency = np.bincount(counts.buckets, minlength=BUCKETS)
    idf = np.where(frequency >= _LEAST_DOCUMENTS, np.log((1 + documents) / (1 + frequency)), 0.0)
    values = (_TIMES[counts.times] * idf[counts.buckets]).astype(np.float32)
    rows = sparse.csr_matrix((values, counts.buckets.astype(np.int32), begins), shape=(documents, BUCKETS))
    rows.eliminate_zeros()
    lengths = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    known = np.flatnonzero(lengths)
    rows = sparse.diags_array(1 / lengths[known]).tocsr() @ rows[known]
    if len(known) < topics:
        raise HaigoError(
            f"{len(known):,} documents have words in common with others: too few for {topics} topics.",
            "give more text, or fewer --topics",
            option="topics",
        )
    with threadpoolctl.threadpool_limits(1):  # sums in another order would be other sums
        wide = min(DIMENSIONS, len(known) - 1, BUCKETS - 1)
        points = TruncatedSVD(wide, random_state=seed).fit_transform(rows) if wide > 1 else np.ones((len(known), 1))
        points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
        # a document counts by its words: what is mixed is tokens
        weight = np.diff(rows.indptr).astype(np.float64)
        found = sklearn.cluster.KMeans(topics, n_init=10, random_state=seed).fit_predict(points, sample_weight=weight)
    means = _refined(sparse.diags_array(weight).tocsr() @ rows, found.astype(np.int64), topics)
    made = Topics(np.rint(means * (idf / np.abs(means * idf).max()) * _LARGEST).astype(np.int16))
    order = np.argsort(-np.bincount(made.label(counts), minlength=topics), kind="stable")
    made = Topics(made.vectors[order])
    return made, made.label(counts).astype(np.int64)


def _refined(rows: Any, found: Integers, topics: int) -> npt.NDArray[np.float64]:
    """Directions of the parts, (topics, BUCKETS), after some rounds of spherical k-means."""
    means = np.zeros((topics, BUCKETS))
    for _ in range(_REFINED):
        for topic in range(topics):
            mean = np.asarray(rows[np.flatnonzero(found == topic)].sum(axis=0)).ravel()
            if norm := np.linalg.norm(mean):
                means[topic] = mean / norm
        before, found = found, np.asarray(rows @ means.T).argmax(axis=1)
        if (before == found).all():
            break
    return means
