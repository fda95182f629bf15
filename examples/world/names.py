"""Parts that the names of the invented world are put together from, with their readings."""

from __future__ import annotations

from examples.world.grammar import Writer
from haigo.cli import HaigoError

Name = tuple[str, str]  # (as written, in kana)


def _words(text: str) -> list[str]:
    return text.split()


def pairs(text: str) -> list[Name]:
    return [(written, kana) for written, kana in (item.split("/") for item in text.split())]


PLACE_FIRST = pairs(
    "霧/きり 潮/しお 凪/なぎ 葦/あし 楓/かえで 鳴/なる 澄/すみ 宵/よい 鷺/さぎ 蛍/ほたる 橡/とち 椋/むく "
    "榛/はん 樫/かし 柚/ゆず 菱/ひし 蓮/はす 綾/あや 錦/にしき 碧/あお 紅/べに 灰/はい 影/かげ 笛/ふえ "
    "櫂/かい 帆/ほ 砂/すな 苔/こけ 雫/しずく 霜/しも 嵐/あらし 虹/にじ 鐘/かね 藍/あい 茜/あかね 梢/こずえ "
    "渚/なぎさ 汐/しお 麻/あさ 鵜/う 鴫/しぎ 雁/かり"
)
PLACE_LAST = pairs(
    "見/み 瀬/せ 津/つ 浜/はま 沢/さわ 野/の 崎/ざき 江/え 根/ね 倉/くら 森/もり 谷/たに 里/さと 坂/さか "
    "丘/おか 淵/ふち 渡/わたり 戸/ど 石/いし 越/ごし 代/しろ 浦/うら 尾/お 辺/べ 原/はら 立/だて 牧/まき "
    "窪/くぼ"
)
SURNAME_FIRST = pairs(
    "冴/さえ 真/ま 常/つね 羽/は 久/く 遠/とお 門/かど 志/し 瑞/みず 伏/ふせ 梶/かじ 宇/う 千/ち 八/や 巳/み "
    "寺/てら 園/その 弓/ゆみ 矢/や 杉/すぎ 桂/かつら 菅/すが 蔵/くら 安/やす 名/な 和/わ 多/た 津/つ 相/あい "
    "音/おと"
)
SURNAME_LAST = pairs(
    "木/き 永/なが 賀/が 本/もと 島/じま 田/だ 部/べ 川/かわ 屋/や 山/やま 村/むら 塚/づか 垣/がき 内/うち "
    "井/い 保/ほ 守/もり 月/づき 澄/ずみ 生/う 良/ら 呂/ろ"
)
GIVEN = pairs(
    "弥助/やすけ 冬馬/とうま 汐里/しおり 千景/ちかげ 宗八/そうはち 環/たまき 朔/さく 小夜/さよ 文吾/ぶんご "
    "真帆/まほ 玄蔵/げんぞう 律/りつ 志乃/しの 伊織/いおり 鈴/すず 源太/げんた 美波/みなみ 周作/しゅうさく "
    "絹代/きぬよ 岳/がく 葉子/ようこ 辰雄/たつお 梓/あずさ 清吉/せいきち 千鶴/ちづる 暁/あきら 和泉/いずみ "
    "喜平/きへい 紬/つむぎ 隆之/たかゆき 多恵/たえ 蓮太/れんた 初音/はつね 義一/ぎいち 藤子/ふじこ 航/わたる "
    "澪/みお 善次/ぜんじ 照子/てるこ 剛/ごう 奈緒/なお 平八/へいはち 楓子/ふうこ 修造/しゅうぞう 灯/あかり "
    "慎吾/しんご 百合/ゆり 徹/とおる 琴音/ことね 佐吉/さきち"
)
ANIMAL_FIRST = _words("キリ ツキ イワ シオ ユキ アシ ギン シマ ホシ コケ カゼ ヒノコ ナギ ヨイ アカネ ハイ ミズ カゲ")
ANIMAL_LAST = _words(
    "ギツネ ガエル シギ カワウソ ヤモリ ネズミ トンボ イワナ ガニ フクロウ ウサギ テン ツグミ モグラ ハヤブサ ヒバリ "
    "ナマズ リス サギ ムササビ ヤギ クイナ"
)
CROP_FIRST = pairs(
    "霜/しも 潮/しお 雲/くも 月/つき 星/ほし 朱/あか 雪/ゆき 鈴/すず 金/こがね 糸/いと 風/かぜ 露/つゆ "
    "夜/よる 玉/たま 綿/わた 岩/いわ"
)
CROP_LAST = pairs(
    "苺/いちご 芋/いも 豆/まめ 瓜/うり 茄子/なす 麦/むぎ 米/まい 蕪/かぶ 葱/ねぎ 桃/もも 柿/がき 栗/ぐり "
    "胡麻/ごま 蓬/よもぎ 梅/うめ 茸/たけ 人参/にんじん 生姜/しょうが"
)
FOOD_FIRST = pairs(
    "夕凪/ゆうなぎ 白帆/しらほ 波花/なみはな 千鳥/ちどり 鳴神/なるかみ 花影/はなかげ 朝露/あさつゆ "
    "笹舟/ささぶね 灯籠/とうろう 山彦/やまびこ 綿雲/わたぐも 石垣/いしがき 潮騒/しおさい 月見/つきみ "
    "木霊/こだま 渡し/わたし 鬼面/きめん 結び/むすび 八重/やえ 忘れ/わすれ"
)
FOOD_LAST = pairs(
    "まんじゅう/まんじゅう 焼き/やき 餅/もち 汁/じる 団子/だんご 鍋/なべ 寿司/ずし 漬け/づけ 煎餅/せんべい "
    "うどん/うどん 羊羹/ようかん 飯/めし 蒸し/むし 豆腐/どうふ 揚げ/あげ 飴/あめ"
)
FESTIVAL_FIRST = pairs(
    "灯/ひ 大綱/おおづな 潮/しお 火渡り/ひわたり 舟/ふね 面/めん 鳥/とり 雪/ゆき 花笠/はながさ 太鼓/たいこ "
    "鐘/かね 稲/いね 星/ほし 馬/うま 糸/いと 鬼/おに 竹/たけ 風/かぜ 水/みず 影/かげ"
)
FESTIVAL_LAST = pairs(
    "流し/ながし 迎え/むかえ 引き/ひき 送り/おくり 踊り/おどり 回し/まわし 担ぎ/かつぎ 鎮め/しずめ 競べ/くらべ"
)
CRAFT_FIRST = pairs(
    "鳴神/なるかみ 細波/さざなみ 雲母/きらら 夜鷹/よたか 十三夜/じゅうさんや 水鏡/みずかがみ 笹鳴/ささなき "
    "早瀬/はやせ 花筏/はないかだ 八重垣/やえがき 遠音/とおね 玉響/たまゆら 薄氷/うすらい 野分/のわき "
    "小夜/さよ"
)
CRAFT_LAST = pairs(
    "塗/ぬり 織/おり 焼/やき 染/ぞめ 細工/ざいく 鈴/すず 人形/にんぎょう 箱/ばこ 扇/おうぎ 櫛/ぐし 鏡/かがみ"
)
TOOL_FIRST = pairs(
    "波/なみ 鉤/かぎ 風/かざ 輪/わ 足/あし 二又/ふたまた 鳥/とり 月/つき 亀/かめ 長/なが 丸/まる 蛇/へび "
    "鶴/つる 角/かく 猿/さる 宵/よい"
)
TOOL_LAST = pairs(
    "鎌/がま 鋏/ばさみ 鍬/ぐわ 槌/づち 鉋/かんな 錐/きり 篦/べら 杓/しゃく 鉈/なた 竿/ざお 籠/かご 笊/ざる "
    "箒/ぼうき 鏝/ごて 針/ばり 臼/うす"
)
COMPANY_LAST = _words("商会 製作所 工業 産業 本舗 興業 物産 工房")
# Names that exist in the world we live in; an invented one must not be taken for them.
REAL = frozenset(
    _words("砂津 帆津 紅葉 藍野 綾瀬 錦江 砂川 霧島 汐留 渚沢 灰野 千島 千本 八木 久保 羽生 羽村 寺田 安部")
)


def joined(
    writer: Writer, first: list[Name], last: list[Name], count: int, taken: set[str], ending: Name
) -> list[Name]:
    """`count` names that were not taken yet: first part + last part + ending.

    Raises:
        HaigoError: the parts do not give that many names.
    """
    every = [(a[0] + b[0], a[1] + b[1]) for a in first for b in last if a[0] != b[0]]
    writer.random.shuffle(every)
    made: list[Name] = []
    for written, kana in every:
        if len(made) == count:
            return made
        name = written + ending[0]
        if written not in REAL and name not in taken:
            taken.add(name)
            made.append((name, kana + ending[1]))
    if len(made) < count:
        raise HaigoError(
            f"The world has only {len(made)} names of a kind where {count} are wanted.", "use a smaller --size"
        )
    return made
