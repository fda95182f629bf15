"""The passes over all shards of all corpora while a sample is drawn, with a pool of workers behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from haigo import files, pool
from haigo.cli import HaigoError

from . import sample_choose, sample_shards
from .sample_choose import Candidates, Choice
from .sample_shards import Chosen, SampleShard


class Picked:
    """The choice of one corpus, shard by shard."""

    def __init__(self, cap: int, parts: list[Chosen], characters: int, repeated: int) -> None:
        self.cap, self.parts, self.characters, self.repeated = cap, parts, characters, repeated


def choose_all(
    draw: Draw, asked: dict[str, int], part: Mapping[str, float], total: int, fill: bool
) -> tuple[dict[str, Picked], dict[str, int]]:
    """Choose for every corpus; with `fill`, what short ones lack goes round until nobody is short or all is taken."""
    granted, chosen, short = dict(asked), {}, dict[str, int]()
    while True:
        for name, budget in granted.items():
            if name not in short:
                chosen[name] = draw.choose(name, budget)
        fresh = {n: p.characters for n, p in chosen.items() if n not in short and p.characters < granted[n]}
        if not fill or not fresh or len(fresh) + len(short) == len(granted):
            return chosen, granted
        short |= fresh
        granted = sample_choose.budgets(total, part, short)


class Draw:
    """The passes over all shards, a pool of workers behind them."""

    def __init__(self, shards: dict[str, list[SampleShard]], repeats: int, workers: int) -> None:
        self.shards, self.repeats, self.workers = shards, repeats, workers
        self.bins: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self.documents: dict[str, int] = {}
        self.shard_rows: dict[str, list[dict[str, str]]] = {}

    def survey(self) -> dict[str, int]:
        """Characters of every corpus."""
        work = {one.notes: partial(sample_shards.survey, one) for all_of in self.shards.values() for one in all_of}
        paths = pool.run_shown("survey", work, self.workers, "shards")
        for name, all_of in self.shards.items():
            bins = np.zeros((2, sample_choose.BINS), dtype=np.int64)
            for one in all_of:
                bins += np.stack(sample_choose.length_bins(sample_shards.load(paths[one.notes])["characters"]))
            self.bins[name], self.documents[name] = (bins[0], bins[1]), int(bins[0].sum())
            if not bins[1].any():
                raise HaigoError(f"the corpus '{name}' has no text.", "leave it out")
        return {name: int(bins[1].sum()) for name, bins in self.bins.items()}

    def choose(self, name: str, budget: int) -> Picked:
        """The documents of one corpus; reads more of it, then longer excerpts, until the budget is met or all is taken."""
        counts, lengths = self.bins[name]
        cap = sample_choose.first_cap(counts, lengths, budget)
        longest = 1 << int(np.flatnonzero(counts).max() + 1)
        share = sample_choose.threshold(budget, sample_choose.capped(counts, lengths, cap), int(counts.sum()))
        while True:
            held, owners, numbers = self._candidates(name, share, cap)
            choice = sample_choose.choose(held, budget, self.repeats)
            if choice.characters >= budget or (share >= 1 and cap > longest):
                return self._parted(name, cap, held, owners, numbers, choice)
            if share < 1:
                share = min(1.0, share * max(1.5, 1.2 * budget / max(1, choice.characters)))
            else:
                cap *= 2

    def _candidates(self, name: str, share: float, cap: int) -> tuple[Candidates, np.ndarray, np.ndarray]:
        """Candidates of all shards, with the shard and the number in it of each."""
        shards = self.shards[name]
        paths = pool.run_shown(
            f"lines {name}",
            {one.notes: partial(sample_shards.examine, one, share, cap) for one in shards},
            self.workers,
            "shards",
        )
        notes = [sample_shards.load(paths[one.notes]) for one in shards]
        counts = [len(note["numbers"]) for note in notes]
        shifts = np.concatenate(([0], np.cumsum(counts)[:-1]))
        lines = [note["line_document"] + shift for note, shift in zip(notes, shifts, strict=True)]
        held = Candidates(
            hashes=np.concatenate([note["hashes"] for note in notes]),
            places=np.arange(sum(counts), dtype=np.int64),
            short=np.concatenate([note["short"] for note in notes]),
            line_document=np.concatenate(lines),
            line_hashes=np.concatenate([note["line_hashes"] for note in notes]),
            line_characters=np.concatenate([note["line_characters"] for note in notes]),
        )
        owners = np.repeat(np.arange(len(shards)), counts)
        return held, owners, np.concatenate([note["numbers"] for note in notes])

    def _parted(
        self, name: str, cap: int, held: Candidates, owners: np.ndarray, numbers: np.ndarray, choice: Choice
    ) -> Picked:
        first = np.searchsorted(held.line_document, np.arange(len(held.hashes)))  # a document's first line
        is_taken = np.zeros(len(held.hashes), dtype=bool)
        is_taken[choice.rows] = True
        gone = np.flatnonzero(choice.dropped & is_taken[held.line_document])
        of = held.line_document[gone]
        parts = []
        by_shard = np.argsort(choice.rows)
        rows, taken = choice.rows[by_shard], choice.taken[by_shard]
        for shard in range(len(self.shards[name])):
            mine, lost = owners[rows] == shard, owners[of] == shard
            dropped = np.stack([numbers[of[lost]], gone[lost] - first[of[lost]]], axis=1)
            parts.append(Chosen(numbers[rows[mine]], taken[mine], dropped))
        repeated = int(held.line_characters[gone].sum(dtype=np.int64))
        return Picked(cap, parts, choice.characters, repeated)

    def write(self, chosen: Mapping[str, Picked], place: Path) -> dict[str, dict[str, int]]:
        """Write every shard of the sample; returns what each corpus holds."""
        work: dict[str, Callable[[], Any]] = {}
        for name, shards in self.shards.items():
            folder = place / name / "train"
            folder.mkdir(parents=True, exist_ok=True)
            targets = {f"{number:05d}.jsonl.zst" for number, part in enumerate(chosen[name].parts) if len(part.numbers)}
            for stale in folder.iterdir():
                if stale.name not in targets and files.made(stale):
                    files.remove(stale)  # of another sample in the same folder
            for number, (one, part) in enumerate(zip(shards, chosen[name].parts, strict=True)):
                if len(part.numbers):
                    target = str(folder / f"{number:05d}.jsonl.zst")
                    work[one.notes] = partial(sample_shards.write, one, part, chosen[name].cap, target)
        counts = pool.run_shown("write", work, self.workers, "shards")
        rows: dict[str, dict[str, int]] = {}
        for name, shards in self.shards.items():
            mine = [counts[one.notes] for one in shards if one.notes in counts]
            rows[name] = {key: sum(row[key] for row in mine) for key in ("documents", "characters", "bytes")}
            there = sorted((place / name / "train").glob("*.jsonl.zst"))
            self.shard_rows[name] = [{"file": path.name, "sha256": files.sha256_file(path)} for path in there]
        return rows
