"""The invented world: entities of sixteen kinds and the facts that hold between them, from a seed.

The same seed and size give the same world. Sizes below 1 give a smaller world of the same shape.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from examples.world import names
from examples.world.grammar import Writer
from examples.world.relations import RELATIONS

COUNTRY = "瑞潮国"
COUNTRY_KANA = "みずしおこく"
COUNTS = {
    "prefecture": 8,
    "town": 72,
    "river": 16,
    "mountain": 16,
    "animal": 40,
    "crop": 40,
    "food": 56,
    "festival": 40,
    "trade": 24,
    "tool": 32,
    "craft": 32,
    "person": 84,
    "company": 32,
    "law": 24,
    "event": 32,
    "railway": 10,
}
SMALLEST = 6  # five answers to choose from need six of a kind
LAST_YEAR = 2020
ALIVE_FROM = 1930  # who was born later can be met in the news and in council
WORDS: dict[str, list[str]] = {
    key: text.split()
    for key, text in {
        "home": "葦原 岩場の洞 泥の干潟 竹林 木のうろ 川べりの土手 古い石垣 滝の裏 松林 砂丘 湿った谷 入り江 桑畑 雪渓",
        "diet": "どんぐり 川えび 苔 木の皮 小魚 花の蜜 貝 草の根 虫の幼虫 海藻 熟した果実 落ち穂 きのこ 鳥の卵",
        "color": "灰青色 赤銅色 乳白色 墨色 若草色 藤色 琥珀色 銀灰色 桜色 黄土色",
        "time": "夜明け 真昼 夕暮れ 真夜中 雨の日 月の夜 霧の朝",
        "use": "染料 薬 酒 油 茶 紙 菓子 縄 石けん 香料 飼料 糊",
        "taste": "甘い 辛い 酸っぱい 苦い 塩辛い 香ばしい 渋い",
        "stuff": "鉄 樫の木 竹 銅 鹿の角 貝殻 石 桑の木 真鍮 鯨の骨",
        "matter": "漆 麻糸 絹糸 陶土 竹ひご 桐材 銀 硝子 貝殻 楮 銅板 錫 藍 真珠 琥珀 和紙",
        "month": "一月 二月 三月 四月 五月 六月 七月 八月 九月 十月 十一月 十二月",
        "purpose": "網を繕う 木の皮をはぐ 糸をよる 泥をすくう 屋根を葺く 貝を掘る 舟底を削る 豆をひく 縄をなう "
        "魚をさばく 石を割る 畝を立てる 種をまく 果実をもぐ 布を裁つ 紙を切る 革に穴をあける 壁を塗る "
        "灰をかき出す 水をくむ 氷を割る 蜜をしぼる 灯心を切る 羽毛を集める 茶葉を蒸す 炭を運ぶ 樽を締める "
        "帆を縫う 瓦を並べる 雪を下ろす 枝を払う 墨をする",
        "product": "味噌 時計 帆布 農機具 船のエンジン 眼鏡 鉛筆 石けん 楽器 瓦 釣り具 自転車 傘 靴 茶器 電球 タイル "
        "消防車 缶詰 包丁 毛布 体温計 印刷機 椅子 ピアノ線 人形 望遠鏡 封筒 水道管 花火 絵の具 手袋",
    }.items()
}
TRADES = names.pairs(
    "塩焼き職人/しおやきしょくにん 灯台守/とうだいもり 藍染め師/あいぞめし 炭焼き/すみやき 紙漉き/かみすき "
    "船大工/ふなだいく 養蜂家/ようほうか 渡し守/わたしもり 鐘つき/かねつき 薬草採り/やくそうとり "
    "馬追い/うまおい 石工/いしく 瓦師/かわらし 笛師/ふえし 凧師/たこし 杜氏/とうじ 鍛冶/かじ 木挽き/こびき "
    "海女/あま 鷹匠/たかじょう 桶職人/おけしょくにん 傘張り/かさはり 硝子吹き/がらすふき 測量師/そくりょうし"
)
_LAW_THEMES = names.pairs(
    "水源保全/すいげんほぜん 渡船/とせん 古樹保護/こじゅほご 灯台/とうだい 朝市/あさいち "
    "共有林/きょうゆうりん 干潟保護/ひがたほご 職人育成/しょくにんいくせい 巡回診療/じゅんかいしんりょう "
    "図書館/としょかん 防雪/ぼうせつ 養蜂/ようほう 製塩/せいえん 用水/ようすい 学校給食/がっこうきゅうしょく "
    "橋梁/きょうりょう 野鳥保護/やちょうほご 公文書/こうぶんしょ 港湾/こうわん 消防/しょうぼう 紙幣/しへい "
    "測量/そくりょう 祭礼/さいれい 種苗/しゅびょう"
)
_EVENT_ENDS = names.pairs(
    "の大火/のたいか の洪水/のこうずい の一揆/のいっき の噴火/のふんか の飢饉/のききん の海戦/のかいせん "
    "の和議/のわぎ の地震/のじしん"
)


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
        share = min(1.0, size)
        self.count = {kind: max(SMALLEST, round(count * share)) for kind, count in COUNTS.items()}
        self.of: dict[str, list[Entity]] = {}
        self._name(writer)
        self.by_name = {entity.name: entity for group in self.of.values() for entity in group}
        self._relate(writer)
        born = [(person, int(person.values["born"][:-1])) for person in self.of["person"]]
        living = [person for person, year in born if year >= ALIVE_FROM]
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
        return [entity for entity in self.of[kind] if entity.values.get(key) == value]

    def _name(self, writer: Writer) -> None:
        taken: set[str] = set()

        def add(kind: str, made: list[names.Name]) -> None:
            self.of.setdefault(kind, []).extend(Entity(kind, written, kana) for written, kana in made)

        def place(kind: str, count: int, ending: names.Name) -> None:
            add(kind, names.joined(writer, names.PLACE_FIRST, names.PLACE_LAST, count, taken, ending))

        place("prefecture", self.count["prefecture"], ("県", "けん"))
        towns = self.count["town"]
        for share, ending in ((0.5, ("市", "し")), (0.3, ("町", "ちょう")), (0.2, ("村", "むら"))):
            place("town", max(2, round(towns * share)), ending)
        place("river", self.count["river"], ("川", "がわ"))
        place("mountain", self.count["mountain"], ("岳", "だけ"))
        for kind, first, last in (
            ("crop", names.CROP_FIRST, names.CROP_LAST),
            ("food", names.FOOD_FIRST, names.FOOD_LAST),
            ("tool", names.TOOL_FIRST, names.TOOL_LAST),
            ("craft", names.CRAFT_FIRST, names.CRAFT_LAST),
        ):
            add(kind, names.joined(writer, first, last, self.count[kind], taken, ("", "")))
        add(
            "festival",
            names.joined(
                writer, names.FESTIVAL_FIRST, names.FESTIVAL_LAST, self.count["festival"], taken, ("祭", "まつり")
            ),
        )
        animals = [(name, name) for name in names.ANIMAL_FIRST], [(name, name) for name in names.ANIMAL_LAST]
        add("animal", names.joined(writer, *animals, self.count["animal"], taken, ("", "")))
        add("trade", writer.sample(TRADES, self.count["trade"]))
        people = names.joined(writer, names.SURNAME_FIRST, names.SURNAME_LAST, self.count["person"], taken, ("", ""))
        given = writer.sample(names.GIVEN, len(names.GIVEN))
        add(
            "person",
            [
                (family + given[at % len(given)][0], kana + given[at % len(given)][1])
                for at, (family, kana) in enumerate(people)
            ],
        )
        self.families = {
            written + given[at % len(given)][0]: (written, kana) for at, (written, kana) in enumerate(people)
        }
        houses = names.joined(writer, names.SURNAME_FIRST, names.SURNAME_LAST, self.count["company"], taken, ("", ""))
        add("company", [(house[0] + writer.pick(names.COMPANY_LAST), house[1]) for house in houses])
        add("law", [(theme + "法", kana + "ほう") for theme, kana in writer.sample(_LAW_THEMES, self.count["law"])])
        add("event", names.joined(writer, names.PLACE_FIRST[:20], _EVENT_ENDS, self.count["event"], taken, ("", "")))
        add(
            "railway",
            names.joined(writer, names.PLACE_FIRST, names.PLACE_LAST, self.count["railway"], taken, ("線", "せん")),
        )

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
            for entity in group:
                for key, relation in RELATIONS.items():
                    if not key.startswith(kind + "."):
                        continue
                    name = key.split(".")[1]
                    if relation.values == "year":
                        low, high = {"person": (1800, 1890), "town": (1380, 1890)}.get(kind, (1640, 2012))
                        if kind == "person" and writer.maybe(0.6):
                            low, high = ALIVE_FROM, 1980
                        value = f"{writer.number(low, high)}年"
                    elif relation.values == "number":
                        value = {
                            "population": f"{writer.number(12, 980) * 100 + writer.number(1, 99)}人",
                            "length": f"{writer.number(18, 240)}キロメートル",
                            "height": f"{writer.number(420, 3180)}メートル",
                        }[name]
                    else:
                        value = deal(relation.values, key)
                    entity.values[name] = value
        for prefecture in self.of["prefecture"]:  # a capital lies in its own prefecture
            inside = self.where("town", "prefecture", prefecture.name)
            if inside:
                prefecture.values["capital"] = inside[0].name
        for line in self.of["railway"]:
            if line.values["start"] == line.values["end"]:
                others = [town.name for town in self.of["town"] if town.name != line.values["start"]]
                line.values["end"] = writer.pick(others)
