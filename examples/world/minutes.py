"""The minutes of the invented parliament: long, polite speech about the towns' troubles, as pages of an API.

The shape of a page and of a record is that of the Diet's minutes API (`speech`, recordPacking=json); houses, meetings
and everything said are invented, and addresses end in `.invalid`.
"""

from __future__ import annotations

import datetime
from typing import Any

from examples.world import phrases
from examples.world.facts import World
from examples.world.grammar import Writer
from examples.world.setting import setting, slot_values

PAGE = 100
_PHRASES = phrases.load("minutes")
_TOPICS = _PHRASES["topics"]
_KANJI = "〇一二三四五六七八九"


def kanji_number(number: int) -> str:
    """`23` -> `二十三`, for numbers below 100."""
    tens, ones = divmod(number, 10)
    return ("" if tens == 0 else ("十" if tens == 1 else _KANJI[tens] + "十")) + (
        _KANJI[ones] if ones or not tens else ""
    )


class Minutes:
    """Writes meetings about `world` until there are `characters` of speech."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        banks = {name: lines for name, lines in _PHRASES.items() if isinstance(lines, tuple)}
        banks |= {f"{at}.{part}": topic[part] for at, topic in enumerate(_TOPICS) for part in ("why", "ask", "answer")}
        banks["topic"] = tuple(str(at) for at in range(len(_TOPICS)))
        self.writer = Writer(f"{seed}/minutes", banks)
        people = self.writer.sample(world.living, len(world.living))
        ministers = min(len(_PHRASES["roles"]), len(people) // 2)
        self.cabinet = list(zip(people[:ministers], _PHRASES["roles"], strict=False))
        self.members = people[ministers:]
        self.parties = {person.name: self.writer.pick(_PHRASES["parties"]) for person in world.living}

    def pages(self, characters: int) -> list[dict[str, Any]]:
        """Pages of 100 speeches each, in the order of the days."""
        speeches: list[dict[str, Any]] = []
        total, day, session = 0, datetime.date(2009, 1, 19), 40
        while total < characters:
            day += datetime.timedelta(days=self.writer.number(1, 6))
            session += self.writer.maybe(0.03)
            meeting = self.meeting(day, session)
            total += sum(len(speech["speech"]) for speech in meeting)
            speeches += meeting
        pages = []
        for start in range(0, len(speeches), PAGE):
            records = speeches[start : start + PAGE]
            later = start + PAGE + 1 if start + PAGE < len(speeches) else None
            pages.append(
                {
                    "numberOfRecords": len(speeches),
                    "numberOfReturn": len(records),
                    "startRecord": start + 1,
                    "nextRecordPosition": later,
                    "speechRecord": records,
                }
            )
        return pages

    def meeting(self, day: datetime.date, session: int) -> list[dict[str, Any]]:
        """The speeches of one day in one house, number 0 being the record of the meeting itself."""
        writer = self.writer
        houses, meetings = _PHRASES["houses"], _PHRASES["meetings"]
        house, name = writer.pick(houses), writer.pick(meetings)
        chair = writer.pick(self.members).name
        issue = f"1{session:03d}{houses.index(house)}{meetings.index(name):02d}X{day:%Y%m%d}"
        speeches: list[dict[str, Any]] = []
        date = f"{''.join(_KANJI[int(digit)] for digit in str(day.year))}年{kanji_number(day.month)}月{kanji_number(day.day)}日"

        def add(speaker: str, position: str | None, text: str) -> None:
            order = len(speeches)
            voice = f"○{position}（{speaker}君）　" if position else f"○{speaker}君　"
            body = voice + text if order else text
            url = f"https://minutes.example.invalid/txt/{issue}/{order}"
            speeches.append(
                {
                    "speechID": f"{issue}_{order:03d}",
                    "issueID": issue,
                    "imageKind": "会議録",
                    "searchObject": order,
                    "session": session,
                    "nameOfHouse": house,
                    "nameOfMeeting": name,
                    "issue": f"第{day.timetuple().tm_yday}号",
                    "date": day.isoformat(),
                    "closing": None,
                    "speechOrder": order,
                    "speaker": speaker,
                    "speakerYomi": None,
                    "speakerGroup": self.parties.get(speaker),
                    "speakerPosition": position,
                    "speakerRole": None,
                    "speech": body.replace("\n", "\r\n　"),
                    "startPage": None,
                    "speechURL": url,
                    "meetingURL": url.rsplit("/", 1)[0],
                    "pdfURL": None,
                }
            )

        title = "議長" if name == "本会議" else "委員長"
        items = [writer.draw("topic") for _ in range(writer.number(1, 3))]
        slots = [self.slots(int(item)) for item in items]
        agenda = "\n".join(f"　第{kanji_number(at)}　{slot['topic']}に関する件" for at, slot in enumerate(slots, 1))
        hour = kanji_number(writer.number(1, 10))
        add(
            "会議録情報",
            None,
            f"{date}\n　　　午後{hour}時開議\n　　　━━━━━━━━━━━━━\n○本日の会議に付した案件\n{agenda}\n　　　─────・─────",
        )
        add(chair, title, writer.say("opening", slots[0]))
        for item, slot in zip(items, slots, strict=True):
            asker = writer.pick([member for member in self.members if member.name != chair])
            answerer, role = writer.pick(self.cabinet)
            slot |= {"q": asker.name, "a": answerer.name, "role": role, "party": self.parties[asker.name]}
            add(
                chair,
                title,
                f"日程第{kanji_number(items.index(item) + 1)}、{slot['topic']}に関する件を議題といたします。\n"
                + writer.say("call", slot),
            )
            add(asker.name, None, self.question(int(item), slot))
            add(chair, title, writer.say("call_answer", slot))
            add(answerer.name, role, self.answer(int(item), slot))
            for _ in range(writer.number(0, 2)):
                slot["num"] = str(writer.number(2, 9))
                add(asker.name, None, writer.say("again", slot) + self.end(writer.say(f"{item}.ask", slot)))
                add(
                    answerer.name,
                    role,
                    writer.say("again_reply", slot)
                    + (self.end(writer.say(f"{item}.answer", slot)) if writer.maybe(0.5) else ""),
                )
            if writer.maybe(0.3):
                for text in self.vote(slot):
                    add(chair, title, text)
        add(chair, title, writer.say("close", slots[0]))
        return speeches

    def vote(self, slot: dict[str, str]) -> list[str]:
        """What the chair says before and after a vote."""
        standing = self.writer.maybe(0.5)
        noise = "〔賛成者起立〕" if standing else "〔「異議なし」と呼ぶ者あり〕"
        asked = self.writer.say("stand" if standing else "agree", slot) + f"\n　　　{noise}"
        return [asked, self.writer.say("stood" if standing else "agreed", slot)]

    def slots(self, item: int) -> dict[str, str]:
        """A town, its facts, and the topic's name with them filled in."""
        filled = setting(self.world, self.writer)
        filled |= slot_values(self.world, "minutes", {"town": self.world.by_name[filled["t"]]})
        filled["num"] = str(self.writer.number(2, 9))
        return filled | {"topic": self.writer.fill(_TOPICS[item]["name"], filled)}

    def question(self, item: int, slots: dict[str, str]) -> str:
        """A member's question: who speaks, what is wrong, what is wanted."""
        writer = self.writer
        parts = [writer.say("hello", slots)]
        complaints = [writer.say(f"{item}.why", slots) for _ in range(writer.number(2, 3))]
        text = complaints[0]
        for complaint in complaints[1:]:
            text += writer.say("join_why", slots) + complaint
        places = [writer.say("local", slots)] if writer.maybe(0.8) else []
        parts.append("".join(places) + text + "。")
        wishes = [self.end(writer.say(f"{item}.ask", slots)) for _ in range(writer.number(1, 3))]
        parts.append(writer.say("join_ask", slots) + "".join(wishes))
        if writer.maybe(0.6):
            parts.append(writer.say("thanks", slots))
        return "\n".join(parts)

    def answer(self, item: int, slots: dict[str, str]) -> str:
        """The government's answer."""
        writer = self.writer
        parts = [writer.say("reply", slots)]
        parts.append("".join(self.end(writer.say(f"{item}.answer", slots)) for _ in range(writer.number(2, 3))))
        ending = writer.say("reply_end", slots)
        if ending:
            parts.append(ending)
        return "\n".join(parts)

    @staticmethod
    def end(text: str) -> str:
        """`text` with its full stop."""
        return text if text.endswith("。") else text + "。"
