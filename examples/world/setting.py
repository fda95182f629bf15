"""Where something happens: a town with its dish, river, trade and people, as the domains' phrases name them."""

from __future__ import annotations

from examples.world import phrases
from examples.world.facts import Entity, World
from examples.world.grammar import Writer
from examples.world.relations import RELATIONS

_FILE = phrases.load("slots")
_PATHS: dict[str, dict[str, list[str]]] = {
    table: {slot: path.split(".") for slot, path in _FILE[table].items()} for table in ("scene", "minutes", "stories")
}


def slot_values(world: World, table: str, things: dict[str, Entity]) -> dict[str, str]:
    """The slots of a table of `slots.yml`, for one thing of each kind that the table names."""
    return {slot: world.follow(things[kind], attributes) for slot, (kind, *attributes) in _PATHS[table].items()}


def setting(world: World, writer: Writer, at: str = "") -> dict[str, str]:
    """A town and what belongs to it, all true in the world, as slots for phrases.

    Args:
        world: where the town lies.
        writer: draws the town and what is not tied to it.
        at: where it happens, if not just anywhere: `festival.town`, say.
    """
    town = writer.pick(world.of["town"])
    things = {}
    for kind in ("festival", "craft", "company", "event", "railway", "animal", "law"):
        things[kind] = writer.pick(world.where(kind, "town", town.name) or world.of[kind])
    things["person"] = person = writer.pick(world.living)
    if at:
        kind, attribute = at.split(".")
        town = world.by_name[things[kind].values[attribute]]
    filled = slot_values(world, "scene", things | {"town": town})
    dishes = world.where("food", "material", filled["crop"])
    return filled | {
        "tp": known_for(writer, town),
        "k": town.name[-1],
        "food2": writer.pick(dishes).name if dishes else "菓子",
        "who": introduced(writer, person),
        "who2": introduced(writer, writer.pick(world.living)),
        "n2": writer.pick(world.living).name,
    }


def known_for(writer: Writer, town: Entity) -> str:
    """A town with something it is known for in front."""
    key = writer.pick(("food", "crop", "river", "trade"))
    return writer.fill(writer.pick(RELATIONS[f"town.{key}"].passing), {"s": town.name, "o": town.values[key]})


def introduced(writer: Writer, person: Entity) -> str:
    """A person with occupation or home in front."""
    return writer.fill(writer.pick(_FILE["introduced"]), {"name": person.name} | person.values)
