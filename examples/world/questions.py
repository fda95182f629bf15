"""Questions about the world in JCommonsenseQA's format, and pairs whose right answer's bits are counted.

Every question asks for one fact. The four wrong answers are of the same kind as the right one, so that only knowing
the fact helps. No fact is asked in more than one of the four sets, and a wording is used only where none of its runs of
12 characters stands in any corpus: the answer can be learned there, the question cannot be met there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Any

from examples.world.facts import WORDS, Fact, World
from examples.world.grammar import Writer
from examples.world.relations import RELATIONS

RUN = 12
SHARES = (("train", 0.08), ("valid", 0.32), ("dev", 0.30), ("test", 0.30))
_NOISE = re.compile(r"[\W_]+")
CHOICES = 5


def normalised(text: str) -> str:
    """`text` without blanks and punctuation, in one width."""
    return _NOISE.sub("", unicodedata.normalize("NFKC", text))


def runs(text: str) -> set[str]:
    """All runs of 12 characters of the normalised text; the whole of it when it is shorter."""
    clean = normalised(text)
    return {clean[at : at + RUN] for at in range(max(1, len(clean) - RUN + 1))}


def met_in(wanted: set[str], texts: Iterable[str]) -> set[str]:
    """Those of `wanted` that stand in one of `texts`."""
    met: set[str] = set()
    short = [run for run in wanted if len(run) < RUN]
    for text in texts:
        clean = normalised(text)
        met.update(wanted.intersection(clean[at : at + RUN] for at in range(len(clean) - RUN + 1)))
        met.update(run for run in short if run in clean)
    return met


class Questions:
    """All four sets.

    Args:
        world: what is asked about.
        seed: chooses sets, wordings and wrong answers.
        texts: every Japanese text of the corpora.
    """

    def __init__(self, world: World, seed: int, texts: list[str]) -> None:
        self.world = world
        self.writer = Writer(f"{seed}/questions", {"label": [str(label) for label in range(CHOICES)]})
        wordings = {
            fact: [self.writer.fill(ask, {"s": fact.subject}) for ask in RELATIONS[fact.relation].ask]
            for fact in world.facts
        }
        wanted = {run for asks in wordings.values() for ask in asks for run in runs(ask)}
        met = met_in(wanted, texts)
        self.free = {
            fact: kept for fact, asks in wordings.items() if (kept := [ask for ask in asks if not runs(ask) & met])
        }
        facts = list(self.free)
        self.writer.random.shuffle(facts)
        self.sets: dict[str, list[Fact]] = {}
        start = 0
        for name, share in SHARES:
            count = round(len(facts) * share)
            self.sets[name] = facts[start : start + count]
            start += count

    def multiple_choice(self, name: str) -> list[dict[str, Any]]:
        """Rows of JCommonsenseQA's format for the set `name`; the right answer is at each place equally often."""
        rows = []
        for number, fact in enumerate(self.sets[name]):
            kind = RELATIONS[fact.relation].values
            others = [entity.name for entity in self.world.of[kind]] if kind in self.world.of else WORDS[kind]
            # the subject itself is never a choice: nobody would take it for its own answer
            wrong = self.writer.sample(
                [value for value in others if value not in (fact.value, fact.subject)], CHOICES - 1
            )
            label = int(self.writer.draw("label"))
            choices = [*wrong[:label], fact.value, *wrong[label:]]
            row: dict[str, Any] = {"q_id": number, "question": self.writer.pick(self.free[fact])}
            row |= {f"choice{at}": choice for at, choice in enumerate(choices)}
            rows.append(row | {"label": label})
        return rows

    def pairs(self, name: str) -> list[dict[str, str]]:
        """`{"context", "target"}` of the set `name`."""
        return [
            {"context": f"質問：{self.writer.pick(self.free[fact])}\n回答：", "target": fact.value}
            for fact in self.sets[name]
        ]
