"""What each rule did to a corpus, as reports show it: documents touched, characters taken away, a few samples to look at."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")
_SAMPLES = 3
_CONTEXT = 60


class Account:
    """What each rule did: documents touched, characters taken away, a few samples to look at."""

    def __init__(self) -> None:
        self.rules: dict[str, dict[str, Any]] = {}

    def note(self, rule: str, characters: int, sample: str) -> None:
        """Count one document for `rule`."""
        row = self.rules.setdefault(rule, {"documents": 0, "characters": 0, "samples": []})
        row["documents"] += 1
        row["characters"] += characters
        if len(row["samples"]) < _SAMPLES:
            row["samples"].append(sample)

    def merge(self, rules: Mapping[str, Mapping[str, Any]]) -> None:
        """Add the rows of another account, which counted documents that come after those of this one."""
        for rule, other in rules.items():
            row = self.rules.setdefault(rule, {"documents": 0, "characters": 0, "samples": []})
            row["documents"] += other["documents"]
            row["characters"] += other["characters"]
            row["samples"] = [*row["samples"], *other["samples"]][:_SAMPLES]
            if "names" in other:
                self.name(rule, Counter(other["names"]))

    def name(self, rule: str, names: Counter[str]) -> None:
        """Count by name what `rule` acted on: the unknown templates, say."""
        row = self.rules[rule].setdefault("names", {})
        for name, count in names.items():
            row[name] = row.get(name, 0) + count

    def open_for_samples(self, rule: str) -> bool:
        """True while `note` would keep another sample (making one costs time)."""
        return rule not in self.rules or len(self.rules[rule]["samples"]) < _SAMPLES


def difference(before: str, after: str) -> str:
    """The first place at which two texts differ, shown short: `context⟦what went⟧context`."""
    at, end = 0, min(len(before), len(after))
    while at < end:  # texts are long and mostly equal: halving compares them in blocks
        middle = (at + end + 1) // 2
        if before[at:middle] == after[at:middle]:
            at = middle
        else:
            end = middle - 1
    tail = after[at : at + 12]
    end = before.find(tail, at, at + 20_000) if tail else len(before)
    gone = before[at : end if end > at else at + _CONTEXT]
    shown = gone if len(gone) <= _CONTEXT else f"{gone[: _CONTEXT // 2]}…{gone[-_CONTEXT // 2 :]}"
    text = f"{before[max(0, at - 20) : at]}⟦{shown}⟧{after[at : at + 20]}"
    return _SURROGATE.sub("?", text)


def opening(text: str) -> str:
    """The beginning of a text, as a sample."""
    return _SURROGATE.sub("?", text[: 2 * _CONTEXT])
