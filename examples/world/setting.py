"""Where something happens: a town with its dish, river, trade and people, as the domains' phrases name them."""

from __future__ import annotations

from examples.world.facts import Entity, World
from examples.world.grammar import Writer
from examples.world.relations import RELATIONS


def setting(world: World, writer: Writer, event: str = "") -> dict[str, str]:
    """A town and what belongs to it, all true in the world, as slots for phrases.

    Args:
        world: where the town lies.
        writer: draws the town and what is not tied to it.
        event: kind of news; the town is then where that happens (a festival's own town, say).
    """
    town = writer.pick(world.of["town"])
    slots: dict[str, str] = {}

    def one(kind: str, key: str = "") -> Entity:
        local = world.where(kind, key, town.name) if key else []
        return writer.pick(local or world.of[kind])

    festival, craft, company = one("festival", "town"), one("craft", "town"), one("company", "town")
    past, line, animal, law = one("event", "town"), one("railway"), one("animal"), one("law")
    person = writer.pick(world.living)
    if event == "festival":
        town = world.by_name[festival.values["town"]]
    elif event == "craft":
        town = world.by_name[craft.values["town"]]
    elif event == "product":
        town = world.by_name[company.values["town"]]
    elif event == "railway":
        town = world.by_name[line.values["start"]]
    elif event == "history":
        town = world.by_name[past.values["town"]]
    elif event in ("honour", "obituary"):
        town = world.by_name[person.values["home"]]
    values = town.values
    slots |= {
        "t": town.name,
        "pf": values["prefecture"],
        "pop": values["population"],
        "k": town.name[-1],
        "food": values["food"],
        "crop": values["crop"],
        "river": values["river"],
        "tr": values["trade"],
    }
    key = writer.pick(["town.food", "town.crop", "town.river", "town.trade"])
    phrase = writer.pick(RELATIONS[key].passing)
    slots["tp"] = writer.fill(phrase, {"s": town.name, "o": values[key.split(".")[1]]})
    slots |= {"fest": festival.name, "fmonth": festival.values["month"], "ffood": festival.values["food"]}
    crop, food = world.by_name[values["crop"]], world.by_name[values["food"]]
    slots |= {"cmonth": crop.values["month"], "cuse": crop.values["use"]}
    slots |= {"fmat": food.values["material"], "ftaste": food.values["taste"]}
    made_of = world.where("food", "material", crop.name)
    slots["food2"] = writer.pick(made_of).name if made_of else "菓子"
    slots |= {
        "craft": craft.name,
        "craft_t": craft.values["town"],
        "cmatter": craft.values["material"],
        "crfounder": craft.values["founder"],
    }
    slots |= {"company": company.name, "product": company.values["product"], "cfounder": company.values["founder"]}
    trade = world.by_name[values["trade"]]
    slots |= {
        "animal": animal.name,
        "home": animal.values["home"],
        "diet": animal.values["diet"],
        "acolor": animal.values["color"],
        "atime": animal.values["time"],
    }
    slots |= {
        "n": person.name,
        "phome": person.values["home"],
        "ptr": person.values["trade"],
        "who": introduced(writer, person),
        "tool": world.by_name[person.values["trade"]].values["tool"],
    }
    slots |= {"who2": introduced(writer, writer.pick(world.living)), "n2": writer.pick(world.living).name}
    slots |= {"law": law.name, "lyear": law.values["year"], "lwho": law.values["person"]}
    slots |= {"event": past.name, "eyear": past.values["year"], "etown": past.values["town"]}
    slots |= {"rail": line.name, "rs": line.values["start"], "re": line.values["end"], "ropen": line.values["opened"]}
    tool = world.by_name[trade.values["tool"]]
    slots |= {"ttool": tool.name, "tuse": tool.values["use"]}
    return slots


def introduced(writer: Writer, person: Entity) -> str:
    """A person with occupation or home in front."""
    return writer.pick(
        [f"{person.values['trade']}の{person.name}", f"{person.values['home']}の{person.name}", person.name]
    )
