"""A folder that `preprocess.quality` wrote: the classifier of good and ordinary text, and the n-gram model of the good.

Classifier: a document's probability of being good is sigmoid(bias + mean of its n-grams' weights), as fastText's without a
hidden layer (Joulin et al. 2016), with characters for words. Features are relative counts, each divided by the root of its
mean, so that rare n-grams count as much as frequent ones; that scale is in the weights.

N-gram model: P_n(x | h) = (c(hx) + B_n P_(n-1)(x | h')) / (c(h) + B_n), a Dirichlet prior of shorter contexts (MacKay and
Peto 1995), over the counts of hashed n-grams; P_0 is one in 65,536. Before a text stand line ends.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from haigo import digests, files, sealed
from haigo.cli import HaigoError
from haigo.formats import documents

from . import hashed
from .hashed import Shape

NAME, WEIGHTS, COUNTS = "quality.json", "weights.npy", "counts.npy"
CLASSIFIER = Shape(shortest=2, longest=3, bits=18)
GRAMS = Shape(shortest=1, longest=3, bits=22)
BATCH = 100_000
"""Characters that are hashed at a time."""
_PRIOR = np.array((1000, 100, 20), dtype=np.float32)
"""B_1 .. B_3, in characters."""
_CHARACTERS = 65_536
_STEP = 16
_LEVELS = np.expm1(np.arange(256) / _STEP).astype(np.float32)
"""Counts are kept as one byte: the logarithm of one more, in steps of 6 %."""
_LEAST = 3  # documents that an n-gram must stand in to have a weight
_RIDGE = 0.01
_ROUNDS = 200
_AGAIN = "train the model again with preprocess.quality"
_LIKE = {
    "bias": float, "excerpt": int, "counted": int, "weights_sha256": str, "counts_sha256": str, "recipe": str,
    "good": {"documents": int}, "ordinary": {"documents": int},
}  # fmt: skip
Floats = npt.NDArray[np.float32]
Levels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class QualityModel:
    """Both models.

    Attributes:
        bias: of the classifier.
        weights: float32 [2 ** 18], of each bucket of `CLASSIFIER`.
        counts: uint8 [2 ** 22], of each bucket of `GRAMS`, as `_LEVELS` has them.
        counted: how many characters were counted.
        excerpt: of a longer document so many characters are read, in pieces spread over it.
    """

    bias: float
    weights: Floats
    counts: Levels
    counted: int
    excerpt: int

    def quality(self, texts: Sequence[str]) -> list[float]:
        """Probability of each text (shortened already) of being good, where as much is good as ordinary."""
        odds = np.clip(hashed.means(texts, CLASSIFIER, self.weights) + self.bias, -30, 30)
        values: list[float] = np.round(1 / (1 + np.exp(-odds)), 6).tolist()
        return values

    def perplexity(self, texts: Sequence[str]) -> list[float]:
        """Perplexity of each text (shortened already), per character, under the n-gram model of the good text."""
        codes, starts = hashed.joined(texts, GRAMS)
        often = np.empty((GRAMS.orders, len(codes)), dtype=np.float32)

        def look_up(order: int, place: int, lent: hashed.Buckets) -> None:
            there = often[order, place : place + len(lent)]
            np.take(_LEVELS, self.counts.take(lent, mode="clip"), out=there, mode="clip")

        hashed.each_block(codes, GRAMS, look_up)
        p = np.full(len(codes), 1 / _CHARACTERS, dtype=np.float32)
        before: Any = np.float32(self.counted)  # of the context: the n-gram one shorter that begins at the same place
        for order, (own, prior) in enumerate(zip(often, _PRIOR, strict=True)):
            # counts stand where their n-gram begins, probabilities where its last character is
            many = max(0, len(p) - order)
            context = before[:many] if order else before
            p[order:] = (np.minimum(own[:many], context) + prior * p[order:]) / (context + prior)
            before = own
        nats = hashed.text_means(-np.log(p), starts, list(map(len, texts)))
        values: list[float] = np.round(np.exp(nats), 3).tolist()
        return values


# --- training ---------------------------------------------------------------------------------------------------------------


def counts(texts: Iterable[str]) -> tuple[Levels, int]:
    """The n-gram model of some texts: levels of counts (shape: 2 ** 22), and how many characters were counted."""
    total, characters = np.zeros(GRAMS.size, dtype=np.int64), 0
    for lot in documents.batches(texts, BATCH, len):
        codes, _ = hashed.joined(lot, GRAMS)
        for found in hashed.all_buckets(codes, GRAMS):
            unique, often = np.unique(found, return_counts=True)
            total[unique] += often
        characters += len(codes)
    return np.minimum(np.round(np.log1p(total) * _STEP), 255).astype(np.uint8), characters


def features(texts: Iterable[str]) -> Any:
    """Relative counts of the buckets of each text, a scipy.sparse.csr_array (texts, 2 ** 18) of float32."""
    from scipy import sparse

    columns, values, ends = [], [], [np.zeros(1, dtype=np.int64)]
    for lot in documents.batches(texts, BATCH, len):
        found, starts = hashed.buckets(lot, CLASSIFIER)
        lengths = np.diff(starts)
        of = np.repeat(np.arange(len(lot), dtype=np.int64) << CLASSIFIER.bits, lengths)
        unique, often = np.unique(of + found, return_counts=True)
        rows = unique >> CLASSIFIER.bits
        columns.append((unique & (CLASSIFIER.size - 1)).astype(np.int32))
        values.append((often / (lengths[rows] * CLASSIFIER.orders)).astype(np.float32))
        ends.append(ends[-1][-1] + np.cumsum(np.bincount(rows, minlength=len(lot))))
    shape = (sum(map(len, ends)) - 1, CLASSIFIER.size)
    return sparse.csr_array((np.concatenate(values), np.concatenate(columns), np.concatenate(ends)), shape=shape)


def fit(rows: Any, good: npt.NDArray[np.bool_]) -> tuple[float, Floats]:
    """Bias and weights of the classifier: logistic regression, both kinds of text counting as much.

    Args:
        rows: `features` of all texts; good: bool [texts], which are good.
    """
    from scipy import optimize, sparse

    mean = np.asarray(rows.mean(axis=0)).ravel()
    often = np.bincount(rows.indices, minlength=CLASSIFIER.size)
    scale = np.where(often >= _LEAST, 1 / np.sqrt(np.maximum(mean, 1e-12)), 0).astype(np.float32)
    scaled = (rows @ sparse.diags_array(scale)).tocsr()
    turned = scaled.T.tocsr()
    sign = np.where(good, 1.0, -1.0)
    share = np.where(good, 0.5 / max(1, good.sum()), 0.5 / max(1, (~good).sum()))

    def loss(point: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        margin = sign * (scaled @ point[:-1].astype(np.float32) + point[-1])
        slope = -sign * share / (1 + np.exp(np.minimum(margin, 500)))
        value = float(share @ np.logaddexp(0, -margin) + _RIDGE / 2 * point[:-1] @ point[:-1])
        return value, np.append(turned @ slope.astype(np.float32) + _RIDGE * point[:-1], slope.sum())

    start = np.zeros(CLASSIFIER.size + 1)
    point = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _ROUNDS}).x
    return float(point[-1]), (point[:-1] * scale).astype(np.float32)


# --- the folder -------------------------------------------------------------------------------------------------------------


def write(folder: Path, bias: float, arrays: tuple[Floats, Levels], about: dict[str, Any]) -> dict[str, Any]:
    """Write a model; quality.json comes last. Gives what is in it."""
    named: list[tuple[str, npt.NDArray[Any]]] = list(zip((WEIGHTS, COUNTS), arrays, strict=True))
    for name, array in named:
        with files.create(folder / name) as handle:
            np.save(handle, array)
    sums = {_sum_of(name): files.sha256_file(folder / name) for name in (WEIGHTS, COUNTS)}
    return sealed.write(folder / NAME, {**about, "bias": bias, **sums})


def about(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """What stands in quality.json.

    Raises:
        HaigoError: the folder is missing or holds no model, or quality.json was changed.
    """
    path = Path(folder) / NAME
    if not path.is_file():
        raise HaigoError(
            f"{folder} holds no model of quality ({NAME} is missing).", "train one with preprocess.quality"
        )
    try:
        return sealed.read(path, _LIKE)[0]
    except HaigoError as error:
        raise HaigoError(error.problem, _AGAIN) from None


def read(folder: str | os.PathLike[str]) -> QualityModel:
    """A model.

    Raises:
        HaigoError: as `about`; an array is missing or is not the one that quality.json speaks of.
    """
    noted, place = about(folder), Path(folder)
    for name in (WEIGHTS, COUNTS):
        there = (place / name).is_file()
        if not there or digests.sha256(place / name) != noted[_sum_of(name)]:
            wrong = "was changed since the model was made" if there else "is missing"
            raise HaigoError(f"{place / name} {wrong}.", _AGAIN)
    return _loaded(str(place.absolute()), files.digest(noted))


@functools.lru_cache(maxsize=2)
def _loaded(folder: str, _: str) -> QualityModel:
    """A model, of which a process keeps two; its digest tells it from one that was at the same place before."""
    noted = about(folder)
    weights, levels = (np.load(Path(folder) / name, allow_pickle=False) for name in (WEIGHTS, COUNTS))
    if (weights.shape, levels.shape) != ((CLASSIFIER.size,), (GRAMS.size,)):
        raise HaigoError(f"{folder} holds a model of another version of Haigo.", _AGAIN)
    return QualityModel(float(noted["bias"]), weights, levels, int(noted["counted"]), int(noted["excerpt"]))


def _sum_of(name: str) -> str:
    return f"{name.partition('.')[0]}_sha256"
