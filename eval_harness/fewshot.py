"""Which documents are scored and which examples stand before each: jp-stable's draws, number for number.

One generator a task (`random.Random(42)`): it first shuffles all documents, of which the first `limit` are scored, and then
draws the shots of each document in that order. So a document's shots depend on how many documents there are, on the length
of the pool and on every earlier draw, but not on `limit`. `random.Random`'s shuffle and sample have given the same
numbers in every Python from 3.11 on; a golden list in the tests watches over that.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from haigo.cli import HaigoError

LEADERBOARD_SEED = 42
T = TypeVar("T")


def shuffled(docs: Sequence[T], seed: int = LEADERBOARD_SEED) -> tuple[list[T], random.Random]:
    """All documents in the leaderboard's order, and the generator that goes on to draw the shots."""
    generator = random.Random(seed)
    order = list(docs)
    generator.shuffle(order)
    return order, generator


def take(docs: Sequence[T], limit: int | float | None) -> list[T]:
    """The first `limit` documents; a limit that is not a whole number is a share of them, as in jp-stable."""
    if limit is None:
        return list(docs)
    if not 0 < limit < float("inf"):
        raise HaigoError(f"--limit {limit} leaves no document.", "give a whole number above 0, or a share like 0.1")
    count = int(limit * len(docs)) if isinstance(limit, float) else limit
    if not count:
        raise HaigoError(
            f"--limit {limit} of {len(docs):,} documents is none.", "give a larger share, or a whole number"
        )
    return list(docs[:count])


def draws(
    count: int, pool: Sequence[T], shots: int, generator: random.Random, stratum: Callable[[T], str] | None = None
) -> Iterator[list[T]]:
    """Yield the shots of each of `count` documents.

    Args:
        count: how many documents are scored.
        pool: the training documents.
        shots: how many examples stand before each document.
        generator: as `shuffled` left it.
        stratum: when given, draws are stratified by it (JNLI 1.3).

    Raises:
        HaigoError: as `strata`.
    """
    groups = strata(pool, shots, stratum)
    for _ in range(count):
        if not shots:
            yield []
        elif groups is None:
            yield generator.sample(pool, shots)
        else:
            drawn = [doc for members, number in groups for doc in generator.sample(members, number)]
            generator.shuffle(drawn)
            yield drawn


def draws_that_fit(
    count: int,
    pool: Sequence[T],
    shots: int,
    generator: random.Random,
    fits: Callable[[int, list[T]], bool],
) -> Iterator[tuple[list[T], bool]]:
    """As `draws`, but what does not fit is drawn again with one shot fewer, down to none; every draw uses the generator.

    Args:
        fits: (number of the document, its shots) -> whether the context is short enough.

    Yields:
        The shots, and whether they fit: without shots there is nothing left to leave out.
    """
    for number in range(count):
        for size in range(shots, -1, -1):
            drawn = generator.sample(pool, size) if size else []
            fit = fits(number, drawn)
            if fit:
                break
        yield drawn, fit


def strata(pool: Sequence[T], shots: int, stratum: Callable[[T], str] | None) -> list[tuple[list[T], int]] | None:
    """Each class of the pool in order of first appearance, with how many shots it gives; None where all are drawn alike.

    A class gives the whole part of its share; what is then missing goes one by one to the class that gives the fewest
    (the first of them on a tie), so three shots of JNLI are always one of each class.

    Raises:
        HaigoError: fewer than no shots, or more than the pool (or a class of it) holds.
    """
    if shots < 0:
        raise HaigoError(f"--num_fewshot {shots} is below 0.", "give 0 or more")
    if shots > len(pool):
        raise HaigoError(
            f"{shots} shots are asked for, and the few-shot pool has {len(pool)} examples.",
            "lower --num_fewshot or use the whole training file",
        )
    if stratum is None or not shots:
        return None
    members: dict[str, list[T]] = {}
    for doc in pool:
        members.setdefault(stratum(doc), []).append(doc)
    numbers = {name: int(len(docs) / len(pool) * shots) for name, docs in members.items()}
    for _ in range(shots - sum(numbers.values())):
        numbers[min(numbers, key=lambda name: numbers[name])] += 1
    for name, docs in members.items():
        if numbers[name] > len(docs):
            raise HaigoError(
                f"{numbers[name]} shots with the answer '{name}' are asked for, and the few-shot pool has {len(docs)}.",
                "lower --num_fewshot or use the whole training file",
            )
    return [(docs, numbers[name]) for name, docs in members.items()]
