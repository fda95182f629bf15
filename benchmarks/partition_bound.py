"""How much parting sources into domains can gain at most, by 2-gram models, whose best mixture is computed and not searched.

    python benchmarks/partition_bound.py runs/japanese [--tokens 300000]

For a 2-gram model (that of launch.screen) the loss of every mixture and its slope are known, so the best mixture of any
parts is found by descent: the least loss on the validation text of news with every other source at most 5 % worse than
at token share. Printed for parts made in several ways: what they gain on that text, and on the test text, over the best
mixture of the whole sources; the source that is worst on the test text; the weight of news. "slopes" parts documents by
how much a token of each would lower the validation losses themselves, as weighed at the best mixture of sources: what
direct selection reaches, and what is left of it on other text.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _run_folder import arguments, datasets, parser
from scipy import sparse
from scipy.optimize import lsq_linear, minimize

from haigo.formats import tokenizer as tokenizers
from haigo.formats.dataset.indexed import MMapReader
from launch.proxies.ngram import CONCENTRATION

Array = np.ndarray
FIRST, SECOND = CONCENTRATION[:2]
TARGET, CEILING = "news", 1.05


class Asked:
    """The pairs of pieces in held-out text, and how often each document has them.

    Attributes:
        rates: (sources, pairs) how often each pair is asked for, a byte of text.
        pairs: sparse (documents, pairs); pieces: sparse (documents, pieces).
    """

    def __init__(self, args: argparse.Namespace, split: str) -> None:
        known = datasets(args.run)
        pieces = tokenizers.load(known.tokenizer)
        self.size = pieces.vocab_size
        keys, sizes = [], []
        for sets in known.corpora.values():
            stream = np.asarray(MMapReader(sets[split]).tokens).astype(np.int64)
            text = stream[1:] != pieces.eod_id
            keys.append((stream[:-1] * self.size + stream[1:])[text])
            sizes.append(int(pieces.piece_bytes[stream[1:][text]].sum()))
        self.unique = np.unique(np.concatenate(keys))
        places = [np.searchsorted(self.unique, each) for each in keys]
        self.rates = np.array(
            [np.bincount(at, minlength=len(self.unique)) / n for at, n in zip(places, sizes, strict=True)]
        )
        self.before, self.after = self.unique // self.size, self.unique % self.size
        parts = [self._documents(sets["train"]) for sets in known.corpora.values()]
        self.pairs, self.pieces = (sparse.vstack([part[i] for part in parts]).tocsr() for i in (0, 1))
        self.tokens = np.concatenate([part[2] for part in parts]).astype(np.float64)
        self.source = np.repeat(np.arange(len(parts)), [len(part[2]) for part in parts])

    def _documents(self, prefix: Path) -> tuple[sparse.csr_matrix, sparse.csr_matrix, Array]:
        reader = MMapReader(prefix)
        stream, sizes = np.asarray(reader.tokens).astype(np.int64), np.asarray(reader.sizes).astype(np.int64)
        owner = np.repeat(np.arange(len(sizes)), sizes)
        keys = stream[:-1] * self.size + stream[1:]
        at = np.minimum(np.searchsorted(self.unique, keys), len(self.unique) - 1)
        hit = self.unique[at] == keys
        ones = np.ones(len(stream), dtype=np.float32)
        pairs = sparse.csr_matrix((ones[: hit.sum()], (owner[1:][hit], at[hit])), (len(sizes), len(self.unique)))
        return pairs, sparse.csr_matrix((ones, (owner, stream)), (len(sizes), self.size)), sizes


@dataclass(frozen=True)
class Slopes:
    """What a 2-gram model of some counts says of the pairs: its losses (sources,), and their slopes by the counts."""

    losses: Array
    by_pair: Array
    by_after: Array
    by_before: Array
    rest: Array
    """(sources,): by a token of anything."""


def slopes(asked: Asked, pairs: Array, after: Array, before: Array, read: float) -> Slopes:
    """Args: counts of the pairs, of their second and of their first pieces (pairs,), and of all tokens."""
    lower = (after + FIRST / asked.size) / (read + FIRST)
    p = (pairs + SECOND * lower) / (before + SECOND)
    by_p = asked.rates / p / np.log(2)
    by_pair = by_p / (before + SECOND)
    by_after = by_pair * SECOND / (read + FIRST)
    return Slopes(-(asked.rates @ np.log2(p)), -by_pair, -by_after, by_p * p / (before + SECOND), by_after @ lower)


class Parts:
    """Documents joined to parts; mixtures of them."""

    def __init__(self, asked: Asked, labels: Array, tokens: float) -> None:
        self.asked, self.read = asked, tokens
        which = sparse.csr_matrix((np.ones(len(labels)), (labels, np.arange(len(labels)))))
        self.tokens = np.bincount(labels, asked.tokens)
        self.pairs = (which @ asked.pairs).toarray() / self.tokens[:, None]
        pieces = (which @ asked.pieces).toarray() / self.tokens[:, None]
        self.after, self.before = pieces[:, asked.after], pieces[:, asked.before]
        self.share = self.tokens / self.tokens.sum()
        self._last: tuple[bytes, tuple[Array, Array]] | None = None

    def at(self, weights: Array) -> Slopes:
        """Of the model of a mixture (parts,)."""
        read = np.minimum(weights * self.read, self.tokens)
        return slopes(self.asked, read @ self.pairs, read @ self.after, read @ self.before, float(read.sum()))

    def losses(self, weights: Array) -> tuple[Array, Array]:
        """Losses (sources,) and slopes by the weights (sources, parts)."""
        if self._last is None or self._last[0] != weights.tobytes():
            at, new = self.at(weights), weights * self.read < self.tokens
            made = at.by_pair @ self.pairs.T + at.by_after @ self.after.T + at.by_before @ self.before.T
            self._last = weights.tobytes(), (at.losses, (made + at.rest[:, None]) * new * self.read)
        return self._last[1]

    def best(self, goal: int) -> Array:
        """The mixture of least loss on the source `goal` below the ceilings."""
        allowed = CEILING * self.losses(self.share)[0]
        others, k = np.arange(len(allowed)) != goal, len(self.share)
        limits = [
            {"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(k)},
            {
                "type": "ineq",
                "fun": lambda w: (allowed - self.losses(w)[0])[others],
                "jac": lambda w: -self.losses(w)[1][others],
            },
        ]
        found = minimize(
            lambda w: self.losses(w)[0][goal],
            self.share,
            jac=lambda w: self.losses(w)[1][goal],
            bounds=[(0, 1)] * k,
            constraints=limits,
            method="SLSQP",
            options={"maxiter": 200, "ftol": 1e-7},
        )
        return np.maximum(found.x, 0) / np.maximum(found.x, 0).sum()


def banded(score: Array, bands: int, within: Array, tokens: Array) -> Array:
    """Documents in bands of a score, each with as many tokens, in each of the parts `within`."""
    label = np.zeros(len(score), dtype=np.int64)
    for part in np.unique(within):
        inside = np.flatnonzero(within == part)
        order = inside[np.argsort(score[inside], kind="stable")]
        size = tokens[order]
        label[order] = np.minimum(bands * (np.cumsum(size) - size / 2) // size.sum(), bands - 1)
    return label


def topics(asked: Asked, number: int, seed: int) -> Array:
    """The topic of each document in its source: k-means of their pieces, weighted by idf."""
    from sklearn.cluster import KMeans
    from sklearn.decomposition import TruncatedSVD

    label = np.zeros(len(asked.tokens), dtype=np.int64)
    idf = np.log((1 + len(label)) / (1 + asked.pieces.getnnz(axis=0)))
    for source in np.unique(asked.source):
        rows = asked.pieces[asked.source == source].astype(np.float64)
        rows.data = 1 + np.log(rows.data)
        points = TruncatedSVD(32, random_state=seed).fit_transform(rows.multiply(idf).tocsr())
        points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
        label[asked.source == source] = KMeans(number, n_init=2, random_state=seed).fit_predict(points)
    return label


def wanted(asked: Asked, whole: Parts, weights: Array, goal: int) -> Array:
    """How much a token of each document lowers the losses, as the ceilings weigh them at the best mixture of sources."""
    by_weight = whole.losses(weights)[1]
    used, others = weights > 1e-4, np.arange(len(by_weight)) != goal
    free = np.append(np.zeros(others.sum()), -np.inf)
    prices = np.ones(len(by_weight))
    prices[others] = lsq_linear(
        np.column_stack([by_weight[others][:, used].T, -np.ones(used.sum())]), -by_weight[goal, used], (free, np.inf)
    ).x[:-1]
    at = whole.at(weights)
    piece = np.bincount(asked.after, prices @ at.by_after, asked.size)
    piece += np.bincount(asked.before, prices @ at.by_before, asked.size)
    return -(asked.pairs @ (prices @ at.by_pair) + asked.pieces @ piece) / asked.tokens


def main() -> int:
    words = parser(__doc__)
    words.add_argument("--tokens", type=float, default=300_000, help="that the model reads (default: 300000)")
    words.add_argument("--topics", type=int, nargs="*", default=[2, 4, 8])
    words.add_argument("--bands", type=int, nargs="*", default=[3, 6])
    words.add_argument("--seed", type=int, default=1)
    args = arguments(words)
    names = list(datasets(args.run).corpora)
    goal, began = names.index(TARGET), time.process_time()
    valid, test = Asked(args, "valid"), Asked(args, "test")
    source, tokens, rng = valid.source, valid.tokens, np.random.default_rng(args.seed)
    whole = Parts(valid, source, args.tokens)
    first = whole.best(goal)
    pieces = np.array([valid.pieces[source == j].sum(axis=0).A1 + 1.0 for j in range(len(names))])
    rest = pieces.sum(axis=0) - pieces[goal]
    like = valid.pieces @ np.log(pieces[goal] / pieces[goal].sum() / (rest / rest.sum())) / tokens
    ways = {"sources": source * 0}
    ways |= {f"random {n}": rng.integers(0, n, len(source)) for n in (4, 12)}
    made = {n: topics(valid, n, args.seed) for n in args.topics}
    ways |= {f"topics {n}": label for n, label in made.items()}
    scores = {"like news": like, "length": tokens, "slopes": wanted(valid, whole, first, goal)}
    ways |= {f"{name} {n}": banded(score, n, source, tokens) for name, score in scores.items() for n in args.bands}
    if 4 in made:
        both = source * 4 + made[4]
        ways["topics 4 x like news 3"] = made[4] * 3 + banded(like, 3, both, tokens)
    base = None
    for name, way in ways.items():
        labels = np.unique(source * 1000 + way, return_inverse=True)[1]
        seen, unseen = Parts(valid, labels, args.tokens), Parts(test, labels, args.tokens)
        found = seen.best(goal)
        losses = np.array([part.losses(found)[0][goal] for part in (seen, unseen)])
        base = losses if base is None else base
        over = unseen.losses(found)[0] / unseen.losses(unseen.share)[0]
        over[goal] = 0.0
        news = found[np.unique(labels[source == goal])].sum()
        gains = " ".join(f"{100 * gain:+6.2f} %" for gain in 1 - losses / base)
        print(
            f"{name:24}{len(found):4} parts  valid, test {gains}  worst {names[over.argmax()]} {100 * (over.max() - 1):+.1f} %"
            f"  news {news:.3f}  {time.process_time() - began:.0f} s",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
