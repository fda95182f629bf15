"""How each kind of fact is called, said in an encyclopaedia, mentioned in passing, and asked for.

`{s}` is the one the fact is about, `{o}` its value. Questions are worded unlike the statements on purpose: a text and
a question shall share a fact, not a string of characters (`questions.py` checks it).
"""

from __future__ import annotations

from examples.world.relation import Relation
from examples.world.relations_land import LAND
from examples.world.relations_people import PEOPLE

RELATIONS: dict[str, Relation] = {relation.key: relation for relation in (*LAND, *PEOPLE)}
KIND_NAMES = {
    "prefecture": "県",
    "town": "町",
    "river": "川",
    "mountain": "山",
    "animal": "動物",
    "crop": "作物",
    "food": "料理",
    "festival": "祭り",
    "trade": "職業",
    "tool": "道具",
    "craft": "工芸",
    "person": "人物",
    "company": "企業",
    "law": "法律",
    "event": "出来事",
    "railway": "鉄道",
}
