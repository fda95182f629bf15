"""The news: dated reports from the towns. They touch on facts in passing and state some of them as background."""

from __future__ import annotations

import datetime
from typing import Any

from examples.world.facts import World
from examples.world.grammar import Writer
from examples.world.news_words import BACKGROUND, EVENTS, OUTLOOK, VOICE_FRAME
from examples.world.relations import RELATIONS
from examples.world.setting import setting

_FIRST_DAY = datetime.date(2004, 4, 1)
_DAYS = 5800
_SHORT = ("訂正しました。", "写真特集。", "続報します。", "この記事は削除されました。")


class News:
    """Writes reports about `world` until there are `characters` of them."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        banks: dict[str, tuple[str, ...]] = {"outlook": OUTLOOK, "frame": VOICE_FRAME, "background": BACKGROUND}
        for name, event in EVENTS.items():
            banks[f"{name}.voice"] = event.voice
        banks |= {f"say.{key}": relation.say for key, relation in RELATIONS.items()}
        banks["event"] = (*EVENTS, "festival", "harvest", "animal", "craft", "product", "cooking", "workshop")
        self.writer = Writer(f"{seed}/news", banks)

    def reports(self, characters: int) -> list[dict[str, Any]]:
        """Reports in the order of their days, `{"id", "date", "title", "text"}`, some repeated and some empty of news."""
        writer, made, total = self.writer, [], 0
        while total < characters:
            report = self.report()
            total += len(report["text"])
            made.append(report)
        for report in writer.sample(made, max(3, len(made) // 80)):  # the same agency text again under another number
            made.append(dict(report))
        for report in writer.sample(made, max(3, len(made) // 100)):
            made.append({"date": report["date"], "title": report["title"], "text": writer.pick(_SHORT)})
        made.sort(key=lambda report: report["date"])
        return [{"id": number, **report} for number, report in enumerate(made, 1)]

    def report(self) -> dict[str, Any]:
        """One report."""
        writer = self.writer
        name = writer.draw("event")
        day = _FIRST_DAY + datetime.timedelta(days=writer.number(0, _DAYS))
        slots = setting(self.world, writer, name)
        slots["d"] = f"{day.month}月{day.day}日" if writer.maybe(0.5) else f"{day.day}日"
        about = [fact for fact in self.world.about[slots["t"]] if fact.relation != "town.population"]
        for key, fact in zip(("fact", "fact2"), writer.sample(about, 2), strict=False):
            slots[key] = writer.say(f"say.{fact.relation}", {"s": fact.subject, "o": fact.value, "part": "北部"})

        def say(phrase: str) -> str:
            slots["num"], slots["hour"] = str(writer.number(2, 9)), str(writer.number(2, 11))
            return writer.fill(phrase, slots)

        details = [say(phrase) for phrase in writer.sample(EVENTS[name].detail, writer.number(3, 5))]
        voice = say(writer.draw(f"{name}.voice"))
        which = writer.number(0, len(EVENTS[name].lead) - 1)  # a title and its first sentence stand at the same place
        body = [say(EVENTS[name].lead[which]) + details[0], "".join(details[1:])]
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
            "title": say(EVENTS[name].title[which % len(EVENTS[name].title)]),
            "text": text,
        }
