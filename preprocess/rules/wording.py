"""How a page speaks: how much of what advertisements, lists and machine translations say, weighed to one number.

`wording.yml` holds groups of words and what each group, and the shape of the text, weighs. The weights are a logistic
regression's (`benchmarks/keep_drop.py --fit`), on whole groups and never on single words, so that no page is known by heart.
Of long texts the beginning and the end are looked at: an advertisement is short, or says there what it wants. Many texts are
looked at together: one by one, numpy's calls would cost more than their work.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from haigo import yamlfile

from .characters import CLASSES, classes

_HEAD, _TAIL = 1800, 600
WHOLE = _HEAD + _TAIL
"""Characters of a text that is looked at as a whole."""
_MOST_KINDS, _MOST_SHARE = 8.0, 6.0
_USUAL = 400
"""Characters of a text that words are counted for; of longer ones kinds of words grow with the root."""
TOGETHER = 256
"""Texts looked at in one go, at most."""
_FACTOR, _PAIR, _LOW = np.uint64(0x9E3779B97F4A7C15), np.uint32(40503), np.uint32(0xFFFF)
_STOPS, _CLOSING, _SHORT = "。．！？!?", "」』）)】]\"'”’♪", 20
SHAPE = ("prose", "end_lines", "short_lines")
Points = npt.NDArray[np.uint32]
Floats = npt.NDArray[np.float64]


class Lexicon:
    """Finds all words of all groups in one pass over the code points: pairs of characters first, then whole words.

    Args:
        groups: name -> words, one word may be in several.
    """

    def __init__(self, groups: dict[str, list[str]]) -> None:
        self.groups = list(groups)
        words = sorted({word for each in groups.values() for word in each})
        self.words = len(words)
        of_word = {word: [at for at, name in enumerate(self.groups) if word in set(groups[name])] for word in words}
        self._most = max(map(len, of_word.values()))
        # a row a word: its groups, and behind them one that stands for none
        self._of_word = np.array(
            [(of_word[word] + [len(groups)] * self._most)[: self._most] for word in words], np.int64
        )
        self._starts, self._single = np.zeros(1 << 16, bool), np.full(1 << 16, -1, np.int32)
        by_length: dict[int, list[tuple[int, int]]] = {}
        for number, word in enumerate(words):
            points = np.array([ord(each) for each in word], np.uint32)
            if len(points) == 1:
                self._single[points[0]] = number
                continue
            self._starts[int(points[0] * _PAIR + points[1] & _LOW)] = True
            by_length.setdefault(len(points), []).append((int(_hash(points)), number))
        self._words = {
            length: (
                np.array([code for code, _ in rows], np.uint64),
                np.array([number for _, number in rows], np.int32),
            )
            for length, rows in ((length, sorted(by_length[length])) for length in sorted(by_length))
        }

    def by_group(self, texts: npt.NDArray[np.int64], words: npt.NDArray[Any], count: int) -> npt.NDArray[np.int64]:
        """How many of some words are of each group, a row a text; without products of matrices, which start threads.

        Args:
            texts, words: of each word that stands in a text.
            count: of texts.
        """
        width = len(self.groups) + 1
        cells = self._of_word[words] + (texts * width)[:, None]
        return np.bincount(cells.ravel(), minlength=count * width).reshape(count, width)[:, :-1]

    def find(self, points: Points) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
        """Where words stand, and which, by their numbers."""
        single = self._single[np.minimum(points, _LOW)]
        place = np.flatnonzero(single >= 0)
        places, found = [place], [single[place]]
        at = np.flatnonzero(self._starts[points[:-1] * _PAIR + points[1:] & _LOW])
        codes, length = points[at].astype(np.uint64), 1
        for wanted, (known, numbers) in self._words.items():
            while length < wanted:
                inside = at + length < len(points)
                at, codes = at[inside], codes[inside]
                codes = codes * _FACTOR + points[at + length]
                length += 1
            nearest = np.minimum(np.searchsorted(known, codes), len(known) - 1)
            hit = known[nearest] == codes
            places.append(at[hit])
            found.append(numbers[nearest[hit]])
        return np.concatenate(places), np.concatenate(found)


def _hash(points: Points) -> np.uint64:
    code = np.array([points[0]], np.uint64)
    for point in points[1:]:
        code = code * _FACTOR + np.uint64(point)
    return np.uint64(code[0])


class Joined:
    """Texts as one row of code points, each with a line end behind it; of long ones their beginning and end.

    Attributes:
        points, kinds: the characters, and their classes.
        sizes, starts: of each text: characters looked at, and where they begin.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        seen = [text if len(text) <= WHOLE else f"{text[:_HEAD]}\n{text[-_TAIL:]}" for text in texts]
        joined = "\n".join([*seen, ""])
        self.points: Points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        self.kinds = classes()[self.points]
        self.sizes = np.array([len(each) for each in seen], np.int64)
        self.starts = np.concatenate([[0], np.cumsum(self.sizes[:-1] + 1)]).astype(np.int64)[: len(seen)]


@dataclasses.dataclass(frozen=True)
class Wording:
    """What `wording.yml` says, ready for use."""

    lexicon: Lexicon
    weights: dict[str, float]
    limit: float

    @functools.cached_property
    def names(self) -> list[str]:
        """Of the features, in their order."""
        own = [f"{kind} {name}" for kind in ("kinds", "share") for name in self.lexicon.groups]
        return [*own, *SHAPE, *CLASSES]

    def scores(self, joined: Joined) -> list[float]:
        """Of each text; above 0: rather an advertisement, a list or a machine's than a text."""
        weights = np.array([self.weights.get(name, 0.0) for name in self.names])
        scores: list[float] = ((self.features(joined) * weights).sum(axis=1) + self.limit).tolist()
        return scores

    def features(self, joined: Joined) -> Floats:
        """What is weighed, a row a text: of the groups, kinds of words and places in 100 characters; the shape of its lines;
        shares of the classes of characters."""
        points, sizes = joined.points, joined.sizes
        text_of = np.repeat(np.arange(len(sizes)), sizes + 1)
        size = np.maximum(sizes, 1)[:, None]
        at, words = self.lexicon.find(points)
        places = self.lexicon.by_group(text_of[at], words, len(sizes))
        different = np.unique(text_of[at] * self.lexicon.words + words)
        kinds = self.lexicon.by_group(*np.divmod(different, self.lexicon.words), len(sizes))
        of_class = joined.kinds + text_of * len(CLASSES)
        shares = np.bincount(of_class, minlength=len(sizes) * len(CLASSES)).reshape(len(sizes), len(CLASSES))
        shown = np.maximum(1, sizes + 1 - shares[:, CLASSES["BLANK"]])[:, None]
        return np.concatenate(
            [
                np.minimum(kinds, _MOST_KINDS) / np.maximum(1.0, np.sqrt(size / _USUAL)),
                np.minimum(places * 100 / size, _MOST_SHARE),
                _lines(points, text_of, len(sizes)),
                shares / shown,
            ],
            axis=1,
        )


def _lines(points: Points, text_of: npt.NDArray[np.int64], texts: int) -> npt.NDArray[Any]:
    """Of each text: the share of characters in lines with a sentence's end, and the shares of lines that end so, and that are
    short without one."""
    ends = np.flatnonzero(points == 10)
    lengths = np.diff(ends, prepend=-1) - 1
    stops = np.cumsum(_table(_STOPS)[np.minimum(points, _LOW)])
    with_stop = np.diff(stops[ends], prepend=0) > 0
    last = np.minimum(points[np.maximum(ends - 1, 0)], _LOW)
    before = np.minimum(points[np.maximum(ends - 2, 0)], _LOW)
    ended = _table(_STOPS)[last] | (_table(_CLOSING)[last] & _table(_STOPS)[before])
    own = text_of[ends]

    def of_text(weight: Any) -> Floats:
        return np.bincount(own, np.asarray(weight, np.float64), minlength=texts).astype(np.float64)

    whole, filled = np.maximum(of_text(lengths), 1), lengths > 0
    lines = np.maximum(of_text(filled), 1)
    short = filled & (lengths <= _SHORT) & ~with_stop
    shape: npt.NDArray[Any] = np.stack(
        [of_text(lengths * with_stop) / whole, of_text(filled & ended) / lines, of_text(short) / lines], axis=1
    )
    return shape


@functools.cache
def _table(characters: str) -> npt.NDArray[np.bool_]:
    table = np.zeros(1 << 16, bool)
    table[[ord(each) for each in characters]] = True
    return table


@functools.cache
def web() -> Wording:
    """The wording of web pages in Japanese."""
    content: dict[str, Any] = yamlfile.read(Path(__file__).with_suffix(".yml"))
    groups = {name: str(words).split() for name, words in content["groups"].items()}
    return Wording(Lexicon(groups), content["weights"], content["limit"])
