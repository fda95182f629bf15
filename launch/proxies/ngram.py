"""Losses of n-gram models of mixtures, without training anything: counts are made once, a mixture is a weighted sum.

The model of a mixture w that has read T tokens has the counts c(h, x) = T sum_j w_j c_j(h, x) / N_j, where corpus j was
counted over N_j tokens; a corpus that T w_j would repeat counts as often as it has tokens, because reading it again
teaches an n-gram model nothing. Shorter contexts are mixed in as a Dirichlet prior (MacKay and Peto 1995):

    P_n(x | h) = (c(h, x) + B_n P_(n-1)(x | h')) / (c(h) + B_n),      P_0 = 1 / vocabulary

which takes fractional counts as they are. Only what the validation sets ask about is ever counted, so memory is that of
their tokens times corpora, whatever the corpora's size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from haigo.cli import HaigoError
from haigo.formats import tokenizer as tokenizers
from haigo.formats.dataset import belongs
from haigo.formats.dataset.indexed import MMapReader
from haigo.formats.tokenizer import Tokenizer
from haigo.progress import Progress
from launch.engine import evaluate
from launch.proxies.options import CountOptions
from neox_configs.catalogue import Catalogue

Array = np.ndarray

CONCENTRATION = (1000.0, 100.0, 100.0)
"""B_1, B_2, B_3: how many tokens' worth the shorter context is; large enough that a few counts decide little."""
_BLOCK = 1024
_SEQ_LENGTH = 256
_POSITIONS = 2048  # of a pair's context; an n-gram model reads the last one or two tokens of it


@dataclass(frozen=True)
class _Asked:
    """What a validation set asks of an n-gram model."""

    targets: Array
    """(positions,) token ids."""
    contexts: Array
    """(order - 1, positions): the token one before, two before; the vocabulary's size where there is none."""
    bytes: int


class Counted:
    """Corpora counted for the questions of their validation sets.

    Attributes:
        metrics: names, `CORPUS_bpb` and `NAME_bpb` of pairs files, as launch.proxies has them.
        tokens: (corpora,) tokens of each corpus' training set.
    """

    def __init__(self, catalogue: Catalogue, options: CountOptions) -> None:
        """Count.

        Raises:
            HaigoError: datasets or files that are missing or do not belong together; no validation set.
        """
        order = options.order
        tokenizer = tokenizers.load(catalogue.tokenizer)
        self.order, self.vocabulary_size = order, tokenizer.vocab_size
        self.corpora = list(catalogue.corpora)
        asked = _questions(catalogue, tokenizer, options)
        self.metrics = list(asked)
        self._bytes = [one.bytes for one in asked.values()]
        self._ends = np.cumsum([len(one.targets) for one in asked.values()])
        targets = np.concatenate([one.targets for one in asked.values()])
        contexts = np.concatenate([one.contexts for one in asked.values()], axis=1)
        levels = [
            tuple(np.unique(keys, return_inverse=True) for keys in _keys(targets, contexts[:n], tokenizer.vocab_size))
            for n in range(order)
        ]
        hits = [np.zeros((len(targets), len(self.corpora))) for _ in levels]
        seen = [np.zeros((len(targets), len(self.corpora))) for _ in levels]
        counted, self.tokens = np.zeros(len(self.corpora)), np.zeros(len(self.corpora))
        with Progress("counting", len(self.corpora), "corpora") as bar, bar.beating():
            for j, name in enumerate(self.corpora):
                stream = _training_stream(catalogue, name, tokenizer)
                blocks = _sample(stream, options.sample, np.random.default_rng([options.seed, j]))
                self.tokens[j], counted[j] = len(stream), blocks.size
                for n, (whole, before) in enumerate(levels):
                    x = blocks[:, n:]
                    history = [blocks[:, n - 1 - i : blocks.shape[1] - 1 - i] for i in range(n)]
                    many = _keys(x.ravel(), [piece.ravel() for piece in history], tokenizer.vocab_size)
                    hits[n][:, j] = _occurrences(whole, many[0])
                    seen[n][:, j] = _occurrences(before, many[1])
                bar.update(1, name)
        self._hits = [one / counted for one in hits]
        self._seen = [one / counted for one in seen]

    def losses(self, weights: Array, tokens: float) -> Array:
        """Bits per byte, (mixtures, metrics), of the models of mixtures (mixtures, corpora) that have read `tokens`."""
        losses = np.empty((len(weights), len(self.metrics)))
        for row, mixture in enumerate(np.asarray(weights, dtype=np.float64)):
            read = np.minimum(mixture * tokens, self.tokens)
            p: Array | float = 1.0 / self.vocabulary_size
            for hits, seen, strength in zip(self._hits, self._seen, CONCENTRATION, strict=False):
                p = (hits @ read + strength * p) / (seen @ read + strength)
            bits = np.add.reduceat(-np.log2(p), np.r_[0, self._ends[:-1]])
            losses[row] = bits / self._bytes
        return losses


def _questions(catalogue: Catalogue, tokenizer: Tokenizer, options: CountOptions) -> dict[str, _Asked]:
    eval_tokens, order = options.eval_tokens or None, options.order
    tasks = {
        f"{corpus}_bpb": evaluate.corpus_task(str(prefix), tokenizer, _SEQ_LENGTH, eval_tokens)
        for corpus, prefix in catalogue.measured("valid").items()
    }
    for name, path in options.pairs.items():
        if f"{name}_bpb" in tasks:
            raise HaigoError(f"'{name}' is both a corpus and a pairs file.", "give the pairs file another name")
        tasks[f"{name}_bpb"] = evaluate.pairs_task(path, tokenizer, _POSITIONS)
    if not tasks:
        raise HaigoError("the catalogue has no validation set: there is nothing to screen for.", "index a valid split")
    questions = {}
    for name, task in tasks.items():
        # as launch.engine.evaluate: the end of a document stands for no byte, so its prediction is no part of the bits
        row, column = np.nonzero((task.labels >= 0) & (task.labels != task.eod_id))
        before = [
            np.where(column >= i, task.inputs[row, np.maximum(column - i, 0)], tokenizer.vocab_size)
            for i in range(order - 1)
        ]
        contexts = np.array(before, dtype=np.int64).reshape(order - 1, len(row))
        questions[name] = _Asked(task.labels[row, column], contexts, task.text_bytes)
    return questions


def _training_stream(catalogue: Catalogue, corpus: str, tokenizer: Tokenizer) -> Array:
    splits = catalogue.corpora[corpus]
    if "train" not in splits:
        raise HaigoError(f"the catalogue has no training set of {corpus}.", "index its train split")
    prefix = str(splits["train"])
    belongs.require(prefix, tokenizer)
    stream: Array = MMapReader(prefix).tokens
    if len(stream) < 2:
        raise HaigoError(f"{prefix} holds {len(stream)} tokens: nothing to count.", "index more text")
    return stream


def _sample(stream: Array, tokens: int, rng: np.random.Generator) -> Array:
    """The stream, or blocks of it, (blocks, length): n-grams never reach over the end of a block."""
    if len(stream) <= tokens or len(stream) < 2 * _BLOCK:
        return np.asarray(stream, dtype=np.int64)[None]
    blocks = len(stream) // _BLOCK
    chosen = np.sort(rng.permutation(blocks)[: max(1, tokens // _BLOCK)])
    return np.stack([stream[b * _BLOCK : (b + 1) * _BLOCK] for b in chosen.tolist()]).astype(np.int64)


def _keys(targets: Array, contexts: Sequence[Array] | Array, size: int) -> tuple[Array, Array]:
    """One number for each (context, token) and one for each context; exact for vocabularies below two million."""
    before = np.zeros(len(targets), dtype=np.int64)
    for piece in contexts:
        before = before * (size + 1) + piece
    return before * (size + 1) + targets, before


def _occurrences(wanted: tuple[Array, Array], stream: Array) -> Array:
    """How often each of the keys wanted (sorted, and which of them stands at each position) is in `stream`."""
    unique, place = wanted
    at = np.minimum(np.searchsorted(unique, stream), len(unique) - 1)
    counts = np.bincount(at[unique[at] == stream], minlength=len(unique))
    return np.asarray(counts[place])
