"""The news: dated reports from the towns. They touch on facts in passing and state some of them as background."""

from __future__ import annotations

import datetime
from typing import Any

from examples.world import phrases
from examples.world.facts import World
from examples.world.grammar import Writer
from examples.world.relations import RELATIONS
from examples.world.setting import setting

_FIRST_DAY = datetime.date(2004, 4, 1)
_DAYS = 5800
_PHRASES = phrases.load("news")
_EVENTS = _PHRASES["events"]


class News:
    """Writes reports about `world` until there are `characters` of them."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        banks = {name: _PHRASES[name] for name in ("outlook", "frame", "background")}
        banks |= {f"{name}.voice": event["voice"] for name, event in _EVENTS.items()}
        banks |= {f"say.{key}": relation.say for key, relation in RELATIONS.items()}
        banks["event"] = (*_EVENTS, *_PHRASES["often"])
        self.writer = Writer(f"{seed}/news", banks)

    def reports(self, characters: int) -> list[dict[str, Any]]:
        """Reports in the order of their days, `{"id", "date", "title", "text"}`, some repeated and some empty of news."""
        writer, total = self.writer, 0
        reports: list[dict[str, str]] = []
        while total < characters:
            reports.append(self.report())
            total += len(reports[-1]["text"])
        reports += writer.sample(reports, max(3, len(reports) // 80))  # the same agency text again under another number
        for report in writer.sample(reports, max(3, len(reports) // 100)):
            reports.append(report | {"text": writer.pick(_PHRASES["short"])})
        reports.sort(key=lambda report: report["date"])
        return [{"id": number, **report} for number, report in enumerate(reports, 1)]

    def report(self) -> dict[str, str]:
        """One report: `date`, `title`, `text`."""
        writer = self.writer
        name = writer.draw("event")
        event = _EVENTS[name]
        day = _FIRST_DAY + datetime.timedelta(days=writer.number(0, _DAYS))
        slots = setting(self.world, writer, event.get("at", ""))
        slots["d"] = f"{day.month}月{day.day}日" if writer.maybe(0.5) else f"{day.day}日"
        about = [fact for fact in self.world.about[slots["t"]] if fact.relation != "town.population"]
        for key, fact in zip(("fact", "fact2"), writer.sample(about, 2), strict=False):
            slots[key] = writer.say(f"say.{fact.relation}", {"s": fact.subject, "o": fact.value, "part": "北部"})

        def say(phrase: str) -> str:
            slots["num"], slots["hour"] = str(writer.number(2, 9)), str(writer.number(2, 11))
            return writer.fill(phrase, slots)

        details = [say(phrase) for phrase in writer.sample(event["detail"], writer.number(3, 5))]
        voice = say(writer.draw(f"{name}.voice"))
        which = writer.number(0, len(event["lead"]) - 1)  # a title and its first sentence stand at the same place
        body = [say(event["lead"][which]) + details[0], "".join(details[1:])]
        slots["q"] = voice
        if writer.maybe(0.85):
            body.append(say(writer.draw("frame")))
        body.append(say(writer.draw("background")))
        if writer.maybe(0.7):
            body.append(say(writer.draw("outlook")))
        text = "\n".join(part for part in body if part)
        if writer.maybe(0.3):
            text = f"【{slots['t']}】" + text
        return {
            "date": day.isoformat(),
            "title": say(event["title"][which % len(event["title"])]),
            "text": text,
        }
