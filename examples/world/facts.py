"""The invented world: entities of sixteen kinds and the facts that hold between them, from a seed.

The same seed and size give the same world. Sizes below 1 give a smaller world of the same shape.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from examples.world import names, phrases
from examples.world.grammar import Writer
from examples.world.relations import RELATIONS

COUNTRY = "瑞潮国"
SMALLEST = 6  # five answers to choose from need six of a kind
LAST_YEAR = 2020
ALIVE_FROM = 1930  # who was born later can be met in the news and in council
WORDS: dict[str, list[str]] = phrases.load("words")
KINDS = phrases.load("kinds")
KIND_NAMES: dict[str, str] = {kind: entry["label"] for kind, entry in KINDS.items()}
_YEARS = {"person": (1800, 1890), "town": (1380, 1890)}
_OTHER_YEARS = (1640, 2012)


@dataclass
class Entity:
    """A thing of the world."""

    kind: str
    name: str
    kana: str
    values: dict[str, str] = field(default_factory=dict)
    """attribute -> value, as in RELATIONS without the kind"""


@dataclass(frozen=True)
class Fact:
    """`value` is the `relation` of `subject`."""

    subject: str
    relation: str
    value: str


class World:
    """All entities, by kind and by name.

    Args:
        seed: chooses names and facts.
        size: 1 for the whole world; smaller values thin it out.
    """

    def __init__(self, seed: int, size: float) -> None:
        writer = Writer(f"{seed}/world", {})
        self.count = {kind: max(SMALLEST, round(entry["count"] * min(1.0, size))) for kind, entry in KINDS.items()}
        self.of: dict[str, list[Entity]] = {}
        self.families: dict[str, names.Name] = {}
        self._name(writer)
        self.by_name = {entity.name: entity for group in self.of.values() for entity in group}
        self._relate(writer)
        self._having: dict[tuple[str, str, str], list[Entity]] = {}
        for kind, group in self.of.items():
            for entity in group:
                for key, value in entity.values.items():
                    self._having.setdefault((kind, key, value), []).append(entity)
        living = [person for person in self.of["person"] if int(person.values["born"][:-1]) >= ALIVE_FROM]
        self.living = living if len(living) >= SMALLEST else self.of["person"]
        self.facts = [
            Fact(entity.name, f"{entity.kind}.{key}", value)
            for group in self.of.values()
            for entity in group
            for key, value in entity.values.items()
        ]
        self.about: dict[str, list[Fact]] = {}
        for fact in self.facts:
            self.about.setdefault(fact.subject, []).append(fact)
            if fact.value in self.by_name:
                self.about.setdefault(fact.value, []).append(fact)

    def where(self, kind: str, key: str, value: str) -> list[Entity]:
        """The entities of `kind` whose `key` is `value`."""
        return self._having.get((kind, key, value), [])

    def follow(self, entity: Entity, attributes: list[str]) -> str:
        """The value at the end of a path: `["crop", "month"]` from a town is the month of its crop; `name` is its name."""
        *through, last = attributes
        for attribute in through:
            entity = self.by_name[entity.values[attribute]]
        return entity.name if last == "name" else entity.values[last]

    def _name(self, writer: Writer) -> None:
        """Names for all; the order of the kinds is part of what a seed draws."""
        namer, count, parts = names.Namer(writer), self.count, names.parts

        def add(kind: str, named: list[names.Name]) -> None:
            self.of.setdefault(kind, []).extend(Entity(kind, written, kana) for written, kana in named)

        def join(kind: str, key: str) -> None:
            add(kind, namer.joined(parts(key, "first"), parts(key, "last"), names.endings(kind)[0], count[kind]))

        join("prefecture", "place")
        for share, ending in zip((0.5, 0.3, 0.2), names.endings("town"), strict=True):
            places = parts("place", "first"), parts("place", "last")
            add("town", namer.joined(*places, ending, max(2, round(count["town"] * share))))
        join("river", "place")
        join("mountain", "place")
        for kind in ("crop", "food", "tool", "craft", "festival", "animal"):
            join(kind, kind)
        add("trade", writer.sample(parts("trade"), count["trade"]))
        surnames = parts("surname", "first"), parts("surname", "last"), ("", "")
        people = namer.joined(*surnames, count["person"])
        given = writer.sample(parts("given"), len(parts("given")))
        for at, (family, kana) in enumerate(people):
            first, first_kana = given[at % len(given)]
            add("person", [(family + first, kana + first_kana)])
            self.families[family + first] = (family, kana)
        houses = namer.joined(*surnames, count["company"])
        add("company", [(family + writer.pick(names.COMPANIES), kana) for family, kana in houses])
        [(law, law_kana)] = names.endings("law")
        add("law", [(theme + law, kana + law_kana) for theme, kana in writer.sample(parts("law"), count["law"])])
        add("event", namer.joined(parts("place", "first")[:20], parts("event"), ("", ""), count["event"]))
        join("railway", "place")

    def _relate(self, writer: Writer) -> None:
        # Values are dealt out evenly: when one dish belonged to half of the towns, guessing it would pay.
        decks: dict[str, list[str]] = {}

        def deal(values: str, slot: str) -> str:
            deck = decks.get(slot)
            if not deck:
                deck = [entity.name for entity in self.of[values]] if values in self.of else list(WORDS[values])
                writer.random.shuffle(deck)
                decks[slot] = deck
            return deck.pop()

        for kind, group in self.of.items():
            relations = [(key, each) for key, each in RELATIONS.items() if key.startswith(f"{kind}.")]
            for entity in group:
                for key, relation in relations:
                    if relation.values == "year":
                        value = _year(writer, kind)
                    elif relation.values == "number":
                        value = _number(writer, key)
                    else:
                        value = deal(relation.values, key)
                    entity.values[key.split(".")[1]] = value
        for prefecture in self.of["prefecture"]:  # a capital lies in its own prefecture
            inside = [town.name for town in self.of["town"] if town.values["prefecture"] == prefecture.name]
            if inside:
                prefecture.values["capital"] = inside[0]
        for line in self.of["railway"]:
            if line.values["start"] == line.values["end"]:
                others = [town.name for town in self.of["town"] if town.name != line.values["start"]]
                line.values["end"] = writer.pick(others)


def _year(writer: Writer, kind: str) -> str:
    low, high = _YEARS.get(kind, _OTHER_YEARS)
    if kind == "person" and writer.maybe(0.6):
        low, high = ALIVE_FROM, 1980
    return f"{writer.number(low, high)}年"


def _number(writer: Writer, key: str) -> str:
    # all three are drawn whichever is wanted: a draw more or less would be another world
    every = {
        "town.population": f"{writer.number(12, 980) * 100 + writer.number(1, 99)}人",
        "river.length": f"{writer.number(18, 240)}キロメートル",
        "mountain.height": f"{writer.number(420, 3180)}メートル",
    }
    return every[key]
