"""How many documents of a corpus repeat others, from those that do in a sample of places.

Copies of two kinds are told apart by where they stand. Those beside each other, such as pages of a template, are seen in a
place as they are in all of the corpus. Of those far apart, a sample of a share p has about p of their pairs: what is seen is
of how many places a text is, and from how many are of one, two, three ... follows what there is in all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from . import dedup_clusters
from .dedup_plan import Plan
from .scale_sample import Rows


class Seen(NamedTuple):
    """What stands in a sample.

    Attributes:
        documents: of it. near_by: those that repeat another of the same place.
        places: of how many places the texts are: texts of one, of two, ...
    """

    documents: int
    near_by: int
    places: tuple[int, ...]

    @property
    def repeated(self) -> float:
        """The share of the documents that repeats others of the sample."""
        return 1 - sum(self.places) / max(1, self.documents)


class Repeats(NamedTuple):
    """The share of documents that repeat others: the likeliest, and the limits of what fits the sample."""

    likely: float
    least: float
    most: float


def seen(plan: Plan, rows: Rows | None, dropped: int) -> Seen:
    """What a deduplication of a sample found.

    Args:
        rows: the documents of places; None where every part of the plan is a place.
        dropped: documents that cleaning had taken out as equal to others of the same part.
    """
    count = int(plan.starts[-1])
    labels = dedup_clusters.labels(count)
    for held in plan.removals():
        dedup_clusters.merge(labels, np.asarray(held["number"]), np.asarray(held["kept"]))
    dedup_clusters.flatten(labels)
    of, place = labels.astype(np.int64), np.repeat(np.array(plan.parts, dtype=np.int64), np.diff(plan.starts))
    if rows is not None:
        own = np.array([int(document.id) for shard in plan.shards for document in shard.read()], dtype=np.int64)
        gone = np.setdiff1d(np.arange(len(rows.text)), own)
        order = np.argsort(rows.text[own])
        at = order[np.minimum(np.searchsorted(rows.text[own], rows.text[gone], sorter=order), count - 1)]
        equal = rows.text[own][at] == rows.text[gone]  # taken out by cleaning: the others are too short, or bad
        of, place = np.concatenate((of, of[at[equal]])), rows.place[np.concatenate((own, gone[equal]))]
        dropped = 0
    texts = np.unique(np.stack((of, place)), axis=1)
    _, places = np.unique(texts[0], return_counts=True)
    return Seen(len(of) + dropped, len(of) - texts.shape[1] + dropped, tuple(np.bincount(places)[1:].tolist()))


def of_all(found: Seen, part: float) -> Repeats:
    """What there is in all of the corpus, of which a share `part` was looked at."""
    near = found.near_by / max(1, found.documents)
    far = _far(found.places, part)
    likely, least, most = (1 - (1 - near) * (1 - min(1.0, each)) for each in far)
    return Repeats(likely, max(0.0, min(least, likely)), min(1.0, max(most, likely)))


def _far(places: Sequence[int], part: float) -> Repeats:
    """The share of texts that repeat one of another place, never less than what was seen.

    A text of three places or more of the sample stands in all in `1 / part` times as many; and so do some of those in two, 1.5
    times as many as are in four or more (if texts are by rank, the k-th 1/k as often). What else is in two places are copies of
    one another, drawn from all documents before them, copies too (Simon 1955): of a share c of copies, there are c / (1 - 2c)
    pairs a text. If copies come in groups of m, there are c * m / 2, and `part * (m - 2) / 3` times as many texts are in three
    places as in two; of copies of copies that says an m of 2 + 6c / (1 - 3c), and groups are believed in where the texts in
    three places say more by two standard deviations.

    The limits are those of m = 2 and of the largest m that may be.
    """
    count = sum(number * texts for number, texts in enumerate(places, 1))
    repeated = 1 - sum(places) / max(1, count)
    if part >= 1 or not count:
        return Repeats(repeated, repeated, repeated if count else 1.0)
    these = sum(places[3:])
    often = {number: float(texts) for number, texts in enumerate(places, 1) if number > 2}
    twice, thrice = (float((*places, 0, 0, 0)[at]) for at in (1, 2))
    often[2] = min(twice, 1.5 * these)
    noise = math.sqrt(thrice + 0.25 * these)
    twice, thrice = twice - often[2], max(0.0, thrice - 0.5 * these)
    many = sum((number - part) * texts for number, texts in often.items())
    rest = max(1.0, count - sum(number * texts for number, texts in often.items()))
    pairs = twice / (part * rest)
    copies = pairs / (1 + 2 * pairs * (1 - part))
    of_copies = min(copies, 0.25)  # above a third there is no end to it
    if (thrice - 2 * noise) / (part * max(1.0, twice)) > 2 * of_copies / (1 - 3 * of_copies):
        copies = _in_groups(pairs, 2 + 3 * thrice / (part * max(1.0, twice)), part)
    least, most = (max(0.0, twice + side * 2 * math.sqrt(twice + 1)) / (part * rest) for side in (-1, 1))
    largest = 2 + 3 * (thrice + 2 * math.sqrt(thrice) + 3) / (part * max(1.0, twice))
    some = (1 - part) / math.sqrt(1 + these)
    limits = (1.0, copies), (1 - some, _in_groups(least, largest, part)), (1 + some, most)
    return Repeats(*(max(repeated, (many * sure + rest * min(1.0, each)) / count) for sure, each in limits))


def _in_groups(pairs: float, size: float, part: float) -> float:
    """The share of texts that are copies, by pairs in the sample; of large groups more than two are often seen."""
    return 2 * pairs / size * math.exp(min(3.0, part * (size - 2)))
