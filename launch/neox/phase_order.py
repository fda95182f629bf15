"""Datasets for GPT-NeoX that give exactly the samples that one phase of a run is to read, and no other.

GPT-NeoX knows one mixture a run. Restarted with other weights it goes on at the same *place* of another stream: a corpus
whose share grew loses samples, one whose share fell reads samples again. Here every corpus has one stream for the whole
run -- its documents laid end to end, shuffled once an epoch -- cut into samples of seq_length tokens (the last label of one
is the first token of the next), and every phase takes the next samples of it. What GPT-NeoX gets for a phase is a dataset
whose `.idx` names ranges of the corpus' own `.bin`, in the order that makes its shuffles come out right:

- it goes on at iteration k of the blend, that is at sample t of this dataset: samples before t are never read, and hold filler;
- it lays the sequences out in a shuffled order, which is that of `RandomState(seed)`: the sequences are numbered backwards
  through it, so that they lie in the order that is wanted here;
- it then shuffles the windows of that layout: those that come out at t to u hold the phase's samples, the others filler.

A window's last label is the first token of what follows, so that filler begins with the true next token. All numbers here are
exact (`launch.neox.data_order` has GPT-NeoX's rules); nothing of this is random but the one order of the documents.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from haigo import memory
from haigo.cli import HaigoError
from haigo.formats.dataset import manifest
from launch.neox import data_order
from neox_configs import reader

Int64 = npt.NDArray[np.int64]
_ROUNDING = 1e-9
_BYTES = 120  # of memory a sequence, measured
_LARGEST = (1 << 31) - 1  # tokens of a sequence: the index has 32 bits for them


@dataclass(frozen=True)
class Ranges:
    """Ranges of tokens, one after the other."""

    starts: Int64
    sizes: Int64

    def __len__(self) -> int:
        return len(self.sizes)

    def cut(self, at: Int64) -> tuple[Ranges, Int64]:
        """The same tokens with cuts at the offsets `at` too; gives the pieces and their offsets."""
        ends = np.cumsum(self.sizes)
        # np.unique hashes, which takes minutes where sorting what is sorted in parts takes a second
        offsets = np.sort(np.concatenate([[0], ends[:-1], at[at < ends[-1]]]), kind="stable")
        offsets = offsets[np.diff(offsets, prepend=-1) > 0]
        which = np.searchsorted(ends, offsets, side="right")
        starts = self.starts[which] + offsets - (ends - self.sizes)[which]
        return Ranges(starts, np.diff(np.append(offsets, ends[-1]))), offsets

    def part(self, first: int, last: int) -> Ranges:
        """The tokens from offset `first` up to `last`."""
        ends = np.cumsum(self.sizes)
        a, b = (int(number) for number in np.searchsorted(ends, [first, last - 1], side="right"))
        starts, sizes = self.starts[a : b + 1].copy(), self.sizes[a : b + 1].copy()
        before = first - int(ends[a] - self.sizes[a])
        starts[0] += before
        sizes[0] -= before
        sizes[-1] -= int(ends[b]) - last
        return Ranges(starts[sizes > 0], sizes[sizes > 0])


@dataclass(frozen=True)
class Blend:
    """What GPT-NeoX's blend takes of each corpus in one phase."""

    weights: list[float]
    """What the config gets."""
    before: list[int]
    """Samples that the blend has taken of each at the phase's begin: so many of its dataset are never read."""
    after: list[int]

    @property
    def samples(self) -> list[int]:
        return [last - first for first, last in zip(self.before, self.after, strict=True)]


def blend(weights: Sequence[float], first: int, last: int) -> Blend:
    """How samples `first` up to `last` of the run are shared out: to each corpus within one of its weight.

    The weights become whole parts of the phase's samples. So the blend repeats itself: at every multiple of that number each
    corpus has exactly its part, and any stretch of that length holds the parts -- but where two corpora that lag equally are
    taken in another order than a period before, by rounding errors: then the weights are tilted by less than anything counts.

    Args:
        weights: all above 0; corpora that come to no whole sample must have been left out.
    """
    samples = last - first
    exact = [weight / sum(weights) * samples for weight in weights]
    if first % samples == 0:  # as the first phase begins: nothing has to be counted
        counts = shares(weights, samples)
        before = [count * (first // samples) for count in counts]
        after = [done + count for done, count in zip(before, counts, strict=True)]
        return Blend([count / samples for count in counts], before, after)
    best: tuple[float, Blend] | None = None
    for counts in _roundings(exact):
        for tilt in (0.0, 0.3 / (len(counts) * last)):
            tilted = [(count + tilt * (len(counts) - number)) / samples for number, count in enumerate(counts)]
            made = Blend(tilted, *_taken(tilted, counts, first, last))
            off = max(abs(value - count) for value, count in zip(exact, made.samples, strict=True))
            if off <= 1 + _ROUNDING:
                return made
            if best is None or off < best[0]:
                best = off, made
    assert best is not None
    return best[1]


def shares(weights: Sequence[float], samples: int) -> list[int]:
    """How many of `samples` each corpus gets: within one of its weight, by the largest remainders; the first wins ties."""
    return next(_roundings([weight / sum(weights) * samples for weight in weights]))


def _roundings(exact: Sequence[float]) -> Iterator[list[int]]:
    """Whole numbers of the same sum within one of `exact`, the nearest first, then with one moved from a corpus to another."""
    counts = [int(value) for value in exact]
    by_rest = sorted(range(len(exact)), key=lambda number: (counts[number] - exact[number], number))
    above = round(sum(exact)) - sum(counts)
    nearest = [count + (number in by_rest[:above]) for number, count in enumerate(counts)]
    yield nearest
    for down in reversed(by_rest[:above]):
        for up in by_rest[above:]:
            moved = [count + (number == up) - (number == down) for number, count in enumerate(nearest)]
            if min(moved) > 0:
                yield moved


def _taken(weights: Sequence[float], counts: Sequence[int], first: int, last: int) -> tuple[list[int], list[int]]:
    """How many samples of each corpus the blend has taken before its samples `first` and `last`; counted from the last multiple
    of the period before them."""
    whole = sum(counts)
    scaled = data_order.blend_weights(data_order.normalised(weights, last)[0])
    begin = first // whole * whole
    state = [count * (first // whole) for count in counts]
    before: list[int] = []
    for step in range(begin, last):
        if step == first:
            before = list(state)
        state[data_order.next_dataset(scaled, state, step)] += 1
    return before, state


def phase_of(config: Mapping[str, Any], base: str | os.PathLike[str] = ".") -> dict[str, Any] | None:
    """Which phase of a run in phases a config is of, by its training sets; None where it is of none.

    Args:
        config: what `reader.load` gave.
        base: where relative paths start.

    Returns:
        `steps`: the step it begins at and the one it ends at; `chain`: a digest of what decides its samples, after those of the
        phases before.

    Raises:
        HaigoError: the config is not the one that its datasets were made for, or a manifest is damaged.
    """
    listed = config.get("train_data_paths")
    prefixes = [path for path in listed if isinstance(path, str)] if isinstance(listed, list) else []
    views = [(manifest.find(os.path.join(base, prefix)) or {}).get("view") for prefix in prefixes]
    first = next((view for view in views if view), None)
    if first is None:
        return None
    made = {"train_iters": first["steps"][1], "seq_length": first["seq_length"], "seed": first["seed"],
            "train_batch_size": first["batch"]}  # fmt: skip
    wrong = [name for name, value in made.items() if reader.value(config, name) not in (value, None)]
    if any(view is None or view["chain"] != first["chain"] for view in views):
        wrong = ["train_data_paths"]
    elif [view and view["weight"] for view in views] != config.get("train_data_weights"):
        wrong.append("train_data_weights")
    if wrong:
        raise HaigoError(
            f"{wrong[0]} is not what the datasets of this phase were made for"
            + (f" ({made[wrong[0]]})." if wrong[0] in made else "."),
            "restore it, or make the configs of the phases again with launch.configs",
        )
    return {"steps": first["steps"], "chain": first["chain"]}


def stream(starts: Int64, sizes: Int64, seed: int, first: int, last: int) -> Ranges:
    """Tokens `first` up to `last` of a corpus' stream: its sequences shuffled, epoch after epoch.

    Args:
        starts, sizes: of the corpus' sequences, in tokens.
        seed: GPT-NeoX's.
    """
    whole = int(sizes.sum())
    parts = []
    for epoch in range(first // whole, (last - 1) // whole + 1):
        order = np.random.RandomState([seed, epoch]).permutation(len(sizes))
        laid = Ranges(starts[order], sizes[order])
        begin = epoch * whole
        parts.append(laid.part(max(0, first - begin), min(whole, last - begin)))
    return Ranges(np.concatenate([part.starts for part in parts]), np.concatenate([part.sizes for part in parts]))


def view(wanted: Ranges, first: int, last: int, count: int, seq_length: int, seed: int, tokens: int) -> Ranges:
    """The sequences, by their numbers, of the dataset whose samples `first` up to `last` are the windows of `wanted`.

    Args:
        wanted: (last - first) * seq_length + 1 tokens.
        first, last: of the dataset's samples, as GPT-NeoX counts them.
        count: windows of the dataset.
        seq_length: tokens a sample.
        seed: GPT-NeoX's.
        tokens: of the `.bin`; filler may be any of them.

    Raises:
        HaigoError: the documents are too short to be laid out.
    """
    samples, chunk = last - first, min(tokens, _LARGEST)
    runs = min(samples, count - samples + 1)
    # as many sequences as can be needed, decided beforehand: the shuffle of the windows depends on their number
    number = len(wanted) + runs + 2 * (runs + 1) + (count - samples + 1) * seq_length // chunk + 2
    if number > count * seq_length:
        raise HaigoError(
            f"documents of {wanted.sizes.mean():.1f} tokens are too short to be laid out for samples of {seq_length}.",
            "leave out short documents (preprocess.clean --min-chars)",
        )
    if (need := number * _BYTES) > memory.available():
        raise HaigoError(
            f"laying out {number:,} sequences takes about {need / 1e9:,.0f} GB of memory, and "
            f"{memory.available() / 1e9:,.1f} GB can be had.",
            "write the phases on a machine with more memory",
        )
    order, shuffled = data_order.shuffles(np.arange(number, dtype=np.int32), count, seed)
    laid = _split(_lay(wanted, np.sort(shuffled[first:last]).astype(np.int64), count, seq_length, chunk), number)
    starts, sizes = np.empty(number, dtype=np.int64), np.empty(number, dtype=np.int64)
    starts[order], sizes[order] = laid.starts, laid.sizes
    return Ranges(starts, sizes)


def _lay(wanted: Ranges, slots: Int64, count: int, length: int, chunk: int) -> Ranges:
    """`count` windows and the last label: the wanted samples in `slots`, filler elsewhere."""
    breaks = np.flatnonzero(np.diff(slots) != 1) + 1
    ends = np.append(breaks, len(slots))[: len(slots)]  # of the runs of slots, as samples
    after = slots[ends - 1] + 1  # the slot behind each run
    following = np.append(slots[breaks], count)  # the slot of the next run
    pieces, offsets = wanted.cut(ends * length)
    # the true next token stands behind each run, at the end of all too; the last piece of `wanted` is that token
    inside = offsets < len(slots) * length
    at = [slots[offsets[inside] // length] * length + offsets[inside] % length, after * length]
    next_tokens = np.searchsorted(offsets, ends * length)
    starts = [pieces.starts[inside], pieces.starts[next_tokens]]
    sizes = [pieces.sizes[inside], np.ones(len(ends), dtype=np.int64)]
    # filler before the first run, behind each, and to the last label
    begins = np.concatenate([[0], after * length + 1])
    rest = np.concatenate([slots[:1] * length, following * length])
    rest[-1] += 1
    rest -= begins
    filler = -(-rest // chunk)
    of_gap = np.arange(filler.sum()) - np.repeat(np.cumsum(filler) - filler, filler)
    at.append(np.repeat(begins, filler) + of_gap * chunk)
    starts.append(np.zeros(len(of_gap), dtype=np.int64))
    sizes.append(np.minimum(np.repeat(rest, filler) - of_gap * chunk, chunk))
    order = np.argsort(places := np.concatenate(at), kind="stable")
    laid = Ranges(np.concatenate(starts)[order], np.concatenate(sizes)[order])
    assert np.array_equal(np.cumsum(laid.sizes)[:-1], places[order][1:]), "the layout has a hole"
    return laid


def _split(laid: Ranges, number: int) -> Ranges:
    """The same tokens in `number` ranges: single tokens are cut off the longest, which is filler where there is much of it."""
    spare = np.zeros(len(laid), dtype=np.int64)
    missing = number - len(laid)
    for longest in np.argsort(-laid.sizes, kind="stable"):
        spare[longest] = min(missing, int(laid.sizes[longest]) - 1)
        missing -= int(spare[longest])
        if not missing:
            break
    begins = np.cumsum(laid.sizes) - laid.sizes
    cut = np.repeat(begins, spare) + 1 + np.arange(spare.sum()) - np.repeat(np.cumsum(spare) - spare, spare)
    return laid.cut(cut)[0]
