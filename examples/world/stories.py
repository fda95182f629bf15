"""The stories: short tales in the past tense, with talk and weather, as Aozora Bunko gives its files.

A file has a header that explains the marks, ruby《るび》 and annotations in the text, and a colophon; it is stored as
Shift_JIS with CR LF. The facts of the world appear in passing.
"""

from __future__ import annotations

import re

from examples.world import phrases
from examples.world.facts import World
from examples.world.grammar import Writer
from examples.world.setting import known_for, setting, slot_values

_PHRASES = phrases.load("stories")
_RULE = "-" * 55
_HEADER = f"""{_RULE}
【テキスト中に現れる記号について】

《》：ルビ
（例）囲炉裏《いろり》

｜：ルビの付く文字列の始まりを特定する記号
（例）古い｜柄杓《ひしゃく》

［＃］：入力者注　主に外字の説明や、傍点の位置の指定
（例）［＃３字下げ］
{_RULE}
"""
_SCENES = ("work",) * 3 + ("talk",) * 4 + ("walk",) * 3 + ("meal",) * 2 + ("animal", "think", "think", "festival")


class Stories:
    """Writes tales about `world` until there are `characters` of them."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        banks = {name: lines for name, lines in _PHRASES.items() if isinstance(lines, tuple)}
        banks |= {f"nature.{season}": lines for season, lines in _PHRASES["nature"].items()}
        self.writer = Writer(f"{seed}/stories", banks)
        self.ruby = {
            entity.name: entity.kana
            for kind in ("town", "mountain", "river", "festival", "craft", "tool")
            for entity in world.of[kind]
        }

    def files(self, characters: int) -> list[tuple[str, str]]:
        """File names and texts; two of them twice under another name, as collections have them."""
        number = self.writer.number
        works: list[tuple[str, str]] = []
        total = 0
        while total < characters:
            text = self.tale()
            total += len(text)
            works.append((f"{number(1, 40):06d}/{1000 + len(works)}_ruby_{number(100, 99999)}.txt", text))
        works += [(name.replace("_ruby_", "_copy_"), text) for name, text in works[:2]]
        return sorted(works)

    def tale(self) -> str:
        """One tale with header and colophon."""
        writer, world = self.writer, self.world
        slots = self.cast()
        title = writer.fill(writer.draw("titles"), slots)
        author = writer.pick(world.of["person"]).name
        chapters = writer.number(3, 5)
        body: list[str] = []
        for chapter in range(chapters):
            if chapters > 1:
                body.append(f"［＃３字下げ］{'一二三四五'[chapter]}［＃「{'一二三四五'[chapter]}」は中見出し］\n")
            body += self.chapter(slots, first=chapter == 0, last=chapter == chapters - 1)
        text = self.marked("\n".join(body), slots)
        year = writer.number(1924, 1968)
        colophon = (
            f"底本：「{author}作品集　{writer.pick('上下一二三')}」{writer.pick(world.of['town']).name[:-1]}書房\n"
            f"　　　{year}年{writer.number(1, 12)}月{writer.number(1, 28)}日第1刷発行\n"
            f"初出：「{writer.pick(_PHRASES['magazines'])}」\n　　　{year - writer.number(1, 20)}年\n"
            f"入力：{writer.pick(world.living).name}\n校正：{writer.pick(world.living).name}\n"
            f"{writer.number(2001, 2019)}年{writer.number(1, 12)}月{writer.number(1, 28)}日作成\n"
            "青空文庫形式のファイル：\nこのファイルは、配合の見本のために作られました。作中の国、人物、出来事はすべて架空のものです。\n"
        )
        return f"{title}\n{author}\n\n{_HEADER}\n{text}\n\n\n\n{colophon}"

    def cast(self) -> dict[str, str]:
        """Who takes part and where it happens."""
        writer, world = self.writer, self.world
        cast = setting(world, writer)
        town = world.by_name[cast["t"]]
        names = writer.sample([entity.name for entity in world.of["person"]], 3)
        given = [name[len(world.families[name][0]) :] for name in names]
        cast |= {
            "m": given[0],
            "o": writer.fill(writer.pick(_PHRASES["older"]), {"given": given[1]}),
            "c": given[2],
            "kin": writer.pick(_PHRASES["kin"]),
            "season": writer.pick(list(_PHRASES["nature"])),
        }
        others = [other.name for other in world.of["town"] if other is not town]
        cast |= {"t2": writer.pick(others), "tr2": writer.pick(world.of["trade"]).name}
        festival = writer.pick(world.where("festival", "town", town.name) or world.of["festival"])
        cast |= slot_values(world, "stories", {"town": town, "festival": festival})
        return cast | {"tp": known_for(writer, town)}

    def chapter(self, slots: dict[str, str], first: bool, last: bool) -> list[str]:
        """Paragraphs of one chapter: scenes between a beginning and, in the last one, trouble and its end."""
        writer = self.writer
        lines: list[str] = []
        if first:
            lines.append("　" + writer.say("open", slots) + writer.say(f"nature.{slots['season']}", slots))
        scenes = writer.sample(_SCENES, writer.number(9, 13))
        if last:
            scenes += ["trouble", "think", "turn", "talk", "end"]
        for scene in scenes:
            if scene == "talk":
                lines += [part if part[0] == "「" else "　" + part for part in writer.say("talk", slots).split("／")]
                continue
            parts = [writer.say(scene, slots)]
            if scene in ("work", "walk", "meal", "animal", "festival") and writer.maybe(0.7):
                parts.append(writer.say(writer.pick([f"nature.{slots['season']}", scene, "think"]), slots))
            if writer.maybe(0.4):
                parts.append(writer.say("small", slots))
            text = "".join(parts)
            if text[0] != "「":
                text = "　" + (writer.draw("join") if scene in ("walk", "animal") else "") + text
            lines.append(text)
        return [*lines, ""]

    def marked(self, text: str, slots: dict[str, str]) -> str:
        """`text` with ruby on the first mention of names and emphasis dots on a word here and there."""
        for name, kana in self.ruby.items():
            if name in text and self.writer.maybe(0.7):
                text = text.replace(name, f"｜{name}《{kana}》", 1)
        for word in _PHRASES["emphasis"]:
            if self.writer.maybe(0.15):
                text = re.sub(rf"(?<![《｜]){word}", f"{word}［＃「{word}」に傍点］", text, count=1)
        return text
