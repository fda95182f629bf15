"""Files of jsonl with the repeats that crawls have: mirrors far apart, pages of a template side by side, pages that every site
has, a file that stands there twice."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from text_chain import _SENTENCE

Ids = npt.NDArray[np.uint32]
_GONE = 0.02  # of the sentences of a near copy
_PAGES = 6  # of a template in a row, on average
_COMMON = 300  # texts that every site has


@dataclass(frozen=True, slots=True)
class Copies:
    """Shares of the documents.

    Attributes:
        equal: copies of any earlier document, copies included, so that clusters are of all sizes.
        near: the same with a few sentences gone.
        template: near copies of a page that stands shortly before.
        common: short texts of which there are few, by Zipf's law.
        twins: files, of all, that are copies of another.
    """

    equal: float = 0.08
    near: float = 0.05
    template: float = 0.08
    common: float = 0.02
    twins: float = 0.04


class Sentences:
    """The sentences of some sources, by number.

    Attributes:
        pieces: each as it stands in JSON, UTF-8.
    """

    def __init__(self, found: list[list[str]]) -> None:
        self.pieces: list[bytes] = []
        self._lengths: list[npt.NDArray[np.int64]] = []  # of a source's documents
        for texts in found:
            lengths = []
            for text in texts:
                own = [part for part in _SENTENCE.findall(text) if part]
                self.pieces += [json.dumps(part, ensure_ascii=False)[1:-1].encode() for part in own]
                lengths.append(len(own))
            self._lengths.append(np.array(lengths, dtype=np.int64))

    def documents(self, seed: int) -> Iterator[Ids]:
        """Documents without end, as `text_chain.stream` has them: first as they are, then of sentences dealt out anew."""
        rng, number = np.random.default_rng(seed), 0
        while True:
            lots, start = list[Ids](), 0
            for lengths in self._lengths:
                pile = np.arange(start, start + int(lengths.sum()), dtype=np.uint32)
                start += len(pile)
                lots += np.split(rng.permutation(pile) if number else pile, np.cumsum(lengths)[:-1])
            yield from (lots[each] for each in rng.permutation(len(lots)).tolist())
            number += 1


def documents(sentences: Sentences, copies: Copies, seed: int) -> Iterator[Ids]:
    """Documents and their copies, without end."""
    rng, fresh = random.Random(seed), sentences.documents(seed)
    common = [next(fresh)[:8] for _ in range(_COMMON)]
    weights = [1 / (1 + rank) for rank in range(_COMMON)]
    seen, page = [next(fresh)], next(fresh)
    bounds = np.cumsum([copies.equal, copies.near, copies.template, copies.common]).tolist()
    while True:
        drawn = rng.random()
        if drawn < bounds[0]:
            new = rng.choice(seen)
        elif drawn < bounds[1]:
            new = _nearly(rng.choice(seen), rng)
        elif drawn < bounds[2]:
            new = _nearly(page, rng)
        elif drawn < bounds[3]:
            new = rng.choices(common, weights)[0]
        else:
            new = next(fresh)
            if rng.random() < 1 / _PAGES:
                page = new
        seen.append(new.copy())
        yield new


def _nearly(ids: Ids, rng: random.Random) -> Ids:
    gone = {rng.randrange(len(ids)) for _ in range(round(len(ids) * _GONE + rng.random()))} if len(ids) > 1 else set()
    return np.delete(ids, list(gone)[: len(ids) - 1]) if gone else ids


def write(folder: Path, found: list[list[str]], megabytes: float, copies: Copies, given: tuple[float, int]) -> float:
    """Write files; MB that they are.

    Args:
        given: MB of a file, and a seed.
    """
    file_mb, seed = given
    sentences = Sentences(found)
    pieces, stream = sentences.pieces, documents(sentences, copies, seed)
    folder.mkdir(parents=True)
    files = max(2, round(megabytes / file_mb))
    twins = round(files * copies.twins) if copies.twins else 0
    number, total = 0, 0
    for file in range(files):
        path = folder / f"{file:04d}.jsonl"
        if file >= files - twins:  # of one in the middle
            shutil.copyfile(folder / f"{(files - twins) // 2 + file - (files - twins):04d}.jsonl", path)
            total += path.stat().st_size
            continue
        size = 0
        with open(path, "wb") as handle:
            while size < megabytes * 1e6 / files:
                number += 1
                body = b"".join([pieces[each] for each in next(stream).tolist()])
                size += handle.write(b'{"id": "%d", "text": "%s"}\n' % (number, body))
        total += size
    return total / 1e6
