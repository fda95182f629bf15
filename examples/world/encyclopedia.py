"""The encyclopaedia: an article on every entity, and articles that compare and list them, formal and full of facts.

The text is written plainly first; links, bold, references, templates and categories are put in afterwards, so that
what cleaning takes out is exactly what was put in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from examples.world import phrases
from examples.world.facts import COUNTRY, KIND_NAMES, LAST_YEAR, WORDS, Entity, Fact, World
from examples.world.grammar import Writer
from examples.world.relations import RELATIONS

_PHRASES = phrases.load("encyclopedia")
_KINDS = _PHRASES["kinds"]
# What a topic can bring together: the things that share a value of one of these.
_SHARED = (
    "crop.month",
    "festival.month",
    "animal.home",
    "animal.diet",
    "animal.color",
    "crop.use",
    "food.taste",
    "tool.material",
    "craft.material",
)


@dataclass(frozen=True)
class Page:
    """A page of the wiki: namespace 0 is an article, 1 a talk page."""

    title: str
    text: str
    namespace: int = 0


def plain(wikitext: str) -> str:
    """What a reader sees of a page: enough for counting and for looking for strings, not a parser of wikitext."""
    text = re.sub(r"<ref>.*?</ref>|\{\{[^{}]*\}\}|\[\[Category:[^\]]*\]\]|'{2,}", "", wikitext, flags=re.DOTALL)
    return re.sub(r"\[\[(?:[^|\]]*\|)?([^\]]*)\]\]", r"\1", text).strip()


class Encyclopedia:
    """Writes wikitext pages about `world` until there are `characters` of them."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        banks = {name: _PHRASES[name] for name in ("link", "opening", "closing")}
        banks |= {f"more.{kind}": own["more"] for kind, own in _KINDS.items()}
        banks |= {f"say.{key}": relation.say for key, relation in RELATIONS.items()}
        self.writer = Writer(f"{seed}/encyclopedia", banks)
        self.linked = re.compile("|".join(sorted(map(re.escape, world.by_name), key=lambda name: (-len(name), name))))

    def pages(self, characters: int) -> list[Page]:
        """Articles on every entity, then topics until `characters` are reached, then what a real dump has besides."""
        pages = [self.article(entity) for group in self.world.of.values() for entity in group]
        total = sum(len(plain(page.text)) for page in pages)
        edition = 1
        while total < characters:
            topics = self._topics()
            self.writer.random.shuffle(topics)
            for title, facts in topics:
                if total >= characters:
                    break
                page = self.topic(title if edition == 1 else f"{title}（補遺{edition}）", facts)
                pages.append(page)
                total += len(plain(page.text))
            edition += 1
        return self._with_litter(pages)

    def context(self, **more: str) -> dict[str, str]:
        """What a phrase may name in passing."""
        pick, of = self.writer.pick, self.world.of
        return {
            "y": f"{self.writer.number(1820, LAST_YEAR)}年",
            "tn": pick(of["town"]).name,
            "who": pick(of["person"]).name,
            "kj": pick(of["prefecture"]).name,
            "part": pick(_PHRASES["parts"]),
        } | more

    def state(self, fact: Fact) -> str:
        """A sentence that says `fact`."""
        return self.writer.say(f"say.{fact.relation}", self.context(s=fact.subject, o=fact.value))

    def article(self, entity: Entity) -> Page:
        """The article on `entity`: its facts twice in different words, what relates to it, and a list of data."""
        writer, kind = self.writer, KIND_NAMES[entity.kind]
        lines = _KINDS[entity.kind]
        own = [fact for fact in self.world.about[entity.name] if fact.subject == entity.name]
        others = [fact for fact in self.world.about[entity.name] if fact.subject != entity.name]
        lead = f"'''{entity.name}'''（{entity.kana}）は、" + writer.fill(lines["lead"], {})
        lead += "".join(self.state(fact) for fact in writer.sample(own, 2))
        sentences = [self.state(fact) for fact in own + writer.sample(others, 9)]
        more = writer.sample(
            lines["more"], writer.number(3, 5)
        )  # each once: two lengths of one festival are one too many
        sentences += [writer.fill(phrase, self.context(s=entity.name)) for phrase in more]
        writer.random.shuffle(sentences)
        headings = writer.sample(lines["headings"], writer.number(1, len(lines["headings"])))
        cut = [round(len(sentences) * at / len(headings)) for at in range(len(headings) + 1)]
        body = [
            f"== {heading} ==\n" + self.paragraph(sentences[start:end])
            for heading, start, end in zip(headings, cut, cut[1:], strict=False)
        ]
        data = [(RELATIONS[fact.relation].label, fact.value) for fact in own]
        sheet = "".join(f"|{label} = {value}\n" for label, value in [("名称", entity.name), *data])
        parts = [f"{{{{基礎情報 {kind}\n{sheet}}}}}\n{self.links(lead, entity.name)}"]
        parts += [self.links(part, entity.name) for part in body]
        parts.append("\n".join(["== データ ==", *(f"* {label}：{value}" for label, value in data)]))
        parts.append("== 脚注 ==\n{{Reflist}}")
        near = writer.sample([fact.subject for fact in others], 3)
        if near:
            parts.append("== 関連項目 ==\n" + "\n".join(f"* [[{name}]]" for name in dict.fromkeys(near)))
        parts.append(f"{{{{DEFAULTSORT:{entity.kana}}}}}\n[[Category:{COUNTRY}の{kind}|{entity.kana}]]")
        return Page(entity.name, "\n\n".join(parts))

    def topic(self, title: str, facts: list[Fact]) -> Page:
        """An article that brings many facts together, in prose with now and then a list or table."""
        writer = self.writer
        parts = [self.links(f"'''{title}'''。" + writer.say("opening", self.context(title=title)), title)]
        queue = writer.sample(facts, writer.number(16, 30))
        while queue:
            count = writer.number(3, 6)
            now, queue = queue[:count], queue[count:]
            rows = [(fact.subject, RELATIONS[fact.relation].label, fact.value) for fact in now]
            form = writer.random.random()
            if form < 0.14:
                parts.append("\n".join(f"* {subject}：{label}は{value}" for subject, label, value in rows))
            elif form < 0.22:
                table = "".join(f"|-\n| {' || '.join(row)}\n" for row in rows)
                parts.append(f'{{| class="wikitable"\n! 名 !! 項目 !! 内容\n{table}|}}')
            else:
                sentences = [self.state(fact) for fact in now]
                kind = self.world.by_name[now[0].subject].kind
                if writer.maybe(0.45):
                    extra = writer.say(f"more.{kind}", self.context(s=now[0].subject))
                    sentences.insert(1, f"{now[0].subject}について見ると、{extra}")
                heading = f"== {now[0].subject}など ==\n" if writer.maybe(0.4) else ""
                parts.append(heading + self.links(self.paragraph(sentences), title))
        closing = writer.say("closing", self.context(title=title))
        if closing:
            parts.append(closing)
        parts.append(f"[[Category:{COUNTRY}の文化|{title}]]")
        return Page(title, "\n\n".join(parts))

    def paragraph(self, sentences: list[str]) -> str:
        """The sentences in a row, some with a linking word, broken into paragraphs."""
        text = ""
        for at, sentence in enumerate(sentences):
            if at and self.writer.maybe(0.18):
                text += "\n\n"
            elif at:
                text += self.writer.draw("link")
            text += sentence
        return text

    def links(self, text: str, title: str) -> str:
        """`text` as wikitext: the first mention of an entity is a link, some sentences carry a reference."""
        seen = {title}

        def link(match: re.Match[str]) -> str:
            name = match.group()
            if name in seen:
                return name
            seen.add(name)
            kind = self.world.by_name[name].kind
            return f"[[{name} ({KIND_NAMES[kind]})|{name}]]" if self.writer.maybe(0.12) else f"[[{name}]]"

        def refer(match: re.Match[str]) -> str:
            if not self.writer.maybe(0.05):
                return "。"
            author = self.writer.pick(self.world.of["person"]).name
            year = self.writer.number(1920, LAST_YEAR)
            return f"。<ref>{author}『{title}覚書』{year}年、{self.writer.number(3, 280)}頁。</ref>"

        return re.sub("。", refer, self.linked.sub(link, text))

    def _topics(self) -> list[tuple[str, list[Fact]]]:
        """Titles with the facts they draw on; every fact of the world is in several of them."""
        world, topics = self.world, []

        def around(names: list[str]) -> list[Fact]:
            return list(dict.fromkeys(fact for name in names for fact in world.about.get(name, [])))

        for town in world.of["town"]:
            near = [town.values[key] for key in ("food", "crop", "trade", "river")]
            topics.append((f"{town.name}の[食と産業|暮らし]", around([town.name, *near[:3]])))
            guests = [
                entity.name
                for kind in ("person", "craft", "festival", "company", "event")
                for entity in world.where(kind, "home" if kind == "person" else "town", town.name)
            ]
            topics.append((f"{town.name}の[人と行事|歴史と人物]", around([town.name, *guests])))
        for prefecture in world.of["prefecture"]:
            towns = [town.name for town in world.where("town", "prefecture", prefecture.name)]
            mountains = [entity.name for entity in world.where("mountain", "prefecture", prefecture.name)]
            topics.append((f"{prefecture.name}の[市町村|地域]", around([prefecture.name, *towns])))
            topics.append((f"{prefecture.name}の自然", around([prefecture.name, *mountains])))
        for key in _SHARED:
            kind, attribute = key.split(".")
            for value in WORDS[RELATIONS[key].values]:
                names = [entity.name for entity in world.where(kind, attribute, value)]
                if names:
                    topics.append((f"{value}と{COUNTRY}の{KIND_NAMES[kind]}", around(names)))
        for kind, label in KIND_NAMES.items():
            names = [entity.name for entity in world.of[kind]]
            for start in range(0, len(names), 8):
                own = [fact for name in names[start : start + 8] for fact in world.about[name] if fact.subject == name]
                topics.append((f"{COUNTRY}の{label}一覧 ({start // 8 + 1})", own))
        return [(self.writer.fill(title, {}), facts) for title, facts in topics]

    def _with_litter(self, pages: list[Page]) -> list[Page]:
        """Redirects, talk pages, stubs and repeated pages, as every dump has them."""
        writer = self.writer

        def some(least: int, one_in: int) -> list[Page]:
            return writer.sample(pages, max(least, len(pages) // one_in))

        litter = [Page(f"{page.title}とは", f"#転送 [[{page.title}]]") for page in some(3, 40)]
        for page in some(3, 60):
            litter.append(Page(f"ノート:{page.title}", f"出典が[[{page.title}]]の本文と合っていません。--~~~~", 1))
        litter += [Page(f"{page.title} (複製)", page.text) for page in some(2, 100)]
        litter += [Page(f"{page.title} (曖昧さ回避)", "{{aimai}}") for page in writer.sample(pages, 2)]
        return pages + litter
