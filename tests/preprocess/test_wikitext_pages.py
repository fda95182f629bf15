"""Pages of a dump through the commands: what templates, tables, links and raw tags must leave, and what is counted."""

import html
import json
import time

import pytest
from cleaned_files import with_report
from shared_data import needed

from haigo import cli
from preprocess import rules, sources
from preprocess.fetch.__main__ import main
from preprocess.rules import wikitext


def page(number, text, extra="", escaped=True):
    body = html.escape(text) if escaped else text
    return (
        f"<page><title>題{number}</title><ns>0</ns><id>{number}</id><revision><id>{number}</id>{extra}"
        f'<text xml:space="preserve">{body}</text></revision></page>'
    )


def dump(path, *pages):
    head = '<mediawiki xml:lang="ja"><siteinfo><sitename>W</sitename><base>https://ja.wikipedia.org/wiki/x</base></siteinfo>'
    path.write_text(head + "".join(pages) + "</mediawiki>", encoding="utf-8")
    return path


@pytest.fixture
def cleaned(tmp_path):
    """A dump -> id -> text, and the report, by the command."""

    def run(path, *more):
        found, report = with_report(tmp_path, path, *more)
        return {one.id: one.text for one in found}, report

    return run


def fetched(path, tmp_path):
    argv = ["mediawiki-dump", "--file", str(path), "--output-dir", str(tmp_path / "f"), "--workers", "1"]
    assert cli.run(main, [*argv, "--contact", "a@example.org"]) == 0
    card = json.loads((tmp_path / "f" / "DATA_CARD.json").read_text(encoding="utf-8"))
    return {one.id: one.text for one in sources.read([tmp_path / "f"])}, card


LINKS = {
    "[[Re:はじまり]]": "Re:はじまり",
    "[[星の旅|Star Way: Discovery]]": "Star Way: Discovery",
    "[[Halo: 戦い]]": "Halo: 戦い",
    "[[ID:夢|ID: 夢]]": "ID: 夢",
    "[[TBS:特番]]": "TBS:特番",
    "[[Help:目次]]": "Help:目次",
    "[[:en:Foo]]": "Foo",
    "[[:en:Foo|フー]]": "フー",
    "[[:en:Foo|en:Foo]]": "Foo",
    "[[en:Foo]]": "",
    "[[ FILE : a.jpg|thumb|字]]": "",
    "[[ファイル:a.jpg|thumb|字]]": "",
    "[[:ファイル:a.jpg|図]]": "図",
    "[[category:都市]]": "",
    "[[:Category:都市]]": "Category:都市",
    "[[ファイルメーカー:入門]]": "ファイルメーカー:入門",
    "[[Image Comics: 歴史]]": "Image Comics: 歴史",
    "[[Media:a.ogg|録音]]": "録音",
    "[[wikt:語|語: word]]": "語: word",
    "[[:w:en:Foo]]": "Foo",
    "vector<int>と<b>太字</b>": "vector<int>と太字",
    "''''引'''": "'引",
    "{{lang|ru|[[:ru:Имя|小さな名]]}}": "小さな名",
}


def test_only_the_prefix_of_a_target_is_a_namespace(cleaned, tmp_path):
    path = dump(tmp_path / "d.xml", *(page(at, f"あ{raw}い。") for at, raw in enumerate(LINKS, 1)))
    wanted = {str(at): f"あ{text}い。" for at, text in enumerate(LINKS.values(), 1)}
    assert fetched(path, tmp_path)[0] == wanted
    found, report = cleaned(path)
    assert set(found.values()) == set(wanted.values()) and "wikitext_holes" not in report["rules"]


VALUES = {
    "{{convert|1300|km2|sqmi}}": "1300 km2",
    "{{Convert|10|to|20|km|mi|abbr=on}}": "10–20 km",
    "{{convert|6|ft|2|in|m}}": "6 ft 2 in",
    "{{convert|1+1/2|in|mm}}": "1+1/2 in",
    "{{convert|-5|C|F}}": "-5 °C",
    "{{val|12345}}": "12345",
    "{{val|1.2|0.1|e=5|u=kg}}": "1.2±0.1×10⁵ kg",
    "{{by|1991年}}": "1991年",
    "{{円|500}}": "500円",
    "{{USD|100}}": "US$100",
    "{{JPY|5万}}": "5万円",
    "{{℃|25}}": "25℃",
    "{{JPN}}": "日本",
    "{{flag|USA}}": "アメリカ合衆国",
    "{{fb|BRA}}": "ブラジル",
    "{{flagicon|JPN}}日本": "日本",
    "{{和暦|1991}}": "1991年（平成3年）",
    "{{和暦|1989}}": "1989年（昭和64年/平成元年）",
    "{{和暦|昭和|45}}": "1970年（昭和45年）",
    "{{和暦|1750}}": "1750年",
    "{{日付|2001|2|3}}": "2001年2月3日",
    "{{年数|1940|10|9|1980|10|8}}年": "39年",
    "{{死亡年月日と没年齢|1900|5|6|1980|5|6}}": "1980年5月6日（80歳没）",
    "{{transl|ar|DIN|Miṣr}}": "Miṣr",
    "{{transl|ru|Imja}}": "Imja",
    "{{lang|fr|Nom}}": "Nom",
    "{{lang-en|Name}}": "Name",
    "{{Hebrew|ארץ}}": "ארץ",
    "{{ruby|水|みず}}": "水",
    "{{読み仮名|有る川|あるかわ}}": "有る川（あるかわ）",
    "{{NIHONGO|'''River'''|川|kawa}}": "River (川, kawa)",
    "{{仮リンク|記事|en|Page}}": "記事",
    "{{仮リンク|記事 (曖昧)|en|Page|label=記事}}": "記事",
    "{{日本語版にない記事リンク|記事|en|Page}}": "記事",
    "{{要出典|範囲=渡し船|date=2010年1月}}": "渡し船",
    "{{要出典範囲|渡し船|date=2010年1月}}": "渡し船",
    "{{誰2範囲|date=2013年7月|人々}}": "人々",
    "{{要出典|date=2010年1月}}駅": "駅",
    "{{知らない札|date=2010年1月}}駅": "駅",
    "{{Snamei||Homo sapiens}}": "Homo sapiens",
    "中央駅{{駅番号r|JY|17}}": "中央駅",
    "{{sfrac|1|2}}": "1/2",
    "{{fontsize|80%|字}}": "字",
    "{{color|red|字}}": "字",
    "{{拡張漢字|B|&#137784;}}": "𡨸",
    "{{拡張漢字|&#134071;}}野家": "𠮷野家",
    "{{Lang-zh|s=中国|t=中國}}": "中国、中國",
    "{{傍点|文章=字}}": "字",
    "{{強調|字}}": "字",
    "{{formatnum:12345.6}}": "12345.6",
    "10{{sup|5}}": "10⁵",
    "10<sup>-3</sup>": "10⁻³",
    "H<sub>2</sub>O": "H2O",
    "<chem>CO2</chem>": "CO2",
    "<math>x^2</math>": "x²",
    "<ruby>川<rp>（</rp><rt>かわ</rt><rp>）</rp></ruby>": "川",
    "<ruby>川<rt>かわ<rtc>river</rtc></ruby>": "川",
    "<ruby>漢<rp>(<rt>かん<rp>)</ruby>字": "漢字",
    "{{テンプレート:Convert|3|km}}": "3 km",
    "{{lang|zh|2=字}}": "字",
    "-{zh-hans:计算机; zh-hant:電腦}-": "计算机",
}


def test_values_of_known_templates_stay_in_their_sentence(cleaned, tmp_path):
    path = dump(tmp_path / "d.xml", *(page(at, f"それは約{raw}とされる。") for at, raw in enumerate(VALUES, 1)))
    wanted = {str(at): f"それは約{text}とされる。" for at, text in enumerate(VALUES.values(), 1)}
    assert {one: text for one, text in fetched(path, tmp_path)[0].items() if text != wanted[one]} == {}
    assert "wikitext_holes" not in cleaned(path)[1]["rules"]


HOLES = {
    "面積は{{謎の値|1}}で、広い。橋がある。": ("橋がある。", 1),
    "{{謎の値}}は川である。橋がある。": ("橋がある。", 1),
    "{{謎の値}}年に橋ができた。川だ。": ("川だ。", 1),
    "人口は{{年数|1990|1|1}}。橋がある。": ("橋がある。", 1),
    "彼は「{{謎の値}}」と言った。橋がある。": ("橋がある。", 1),
    "国（人口{{謎の値}}人）は広い。": ("国は広い。", 1),
    "国（{{謎の値}}、英: X）は広い。": ("国（英: X）は広い。", 1),
    "数<math>\\frac{1}{2}</math>は小さい。橋がある。": ("橋がある。", 1),
    "== {{謎の値}}の歴史 ==\n橋がある。": ("橋がある。", 1),
    "== 地理 ==\n面積は{{謎の値}}である。\n== 橋 ==\n橋がある。": ("橋\n橋がある。", 1),
    "* 人口：{{謎の値}}\n* [[橋]]{{謎の印}}\n* {{謎の印}} 川": ("・橋\n・川", 1),
    "{{謎の箱|a=1}}\n橋がある。": ("橋がある。", 0),
    "{{謎の箱\n|a={{謎の値}}\n}}橋がある。": ("橋がある。", 0),
    "橋がある{{謎の札}}。川もある。{{謎の札|1}}": ("橋がある。川もある。", 0),
    "{{Color box|red}}は赤である。橋がある。": ("橋がある。", 1),
    "The area is {{mystery}} wide. It is a bridge.": ("It is a bridge.", 1),
}


def test_an_unknown_template_takes_its_sentence_and_is_counted(cleaned, tmp_path):
    path = dump(tmp_path / "d.xml", *(page(at, f"{raw}\n\n頁{at}。") for at, raw in enumerate(HOLES, 1)))
    wanted = {str(at): f"{text}\n\n頁{at}。" for at, (text, _) in enumerate(HOLES.values(), 1)}
    lost = sum(count for _, count in HOLES.values())
    found, card = fetched(path, tmp_path)
    shown = {one: rules.blanks(text) for one, text in found.items()}
    assert {one: text for one, text in shown.items() if text.strip() != wanted[one]} == {}
    reason = next(reason for reason in card["skipped"] if "template" in reason)
    assert card["skipped"][reason]["count"] == lost
    texts, report = cleaned(path, "--workers", "2")
    assert {one: text.strip() for one, text in texts.items()} == wanted
    row = report["rules"]["wikitext_holes"]
    assert sum(row["names"].values()) == lost and row["documents"] >= lost
    assert row["names"]["年数"] == 1 and row["names"]["math"] == 1 and row["names"]["謎の値"] == 9
    assert any("{{謎の値}}" in sample for sample in row["samples"])


TABLES = {
    '前。\n\n{{{!}} class=x\n{{!}}-\n{{!}} あ {{!}}{{!}} colspan="2"{{!}}-\n{{!}}}\n\n後。': "前。\n後。",
    '前。\n{{成績表 top|y}}\n{{成績表 th|日本}}\n|-\n|2003||[[某]]||colspan="2"|-\n'
    "{{成績表 計|2}}3||0||-\n!rowspan=2|計!!colspan=2|X\n{{成績表 終}}\n|}\n\n後。": "前。\n後。",
    "前。\n{{成績表 top}}\n!年!!試合\n|-\n|2003||10\n{{成績表 終}}\n後。": "前。\n後。",
    "前。\n{|\n|\n{| class=y\n|-\n|中||1\n|}\n|外\n|}\n後。": "前。\n後。",
    "前。\n{|\n|a\n! b\n| c || d\n\n== 見出し ==\n後。": "前。\n見出し\n後。",
    "前。\n{|\n|a\n{{表終}}\n\n中。\n== 次 ==\n文。\n{{成績 top}}\n|-\n|1||2\n|}\n後。": "前。\n中。\n次\n文。\n後。",
    "前。\n!!驚き!!\n後。": "前。\n!!驚き!!\n後。",
    "前。\n<div>{|\n|a||b\n|}</div>\n後。": "前。\n後。",
    "前。\n\n<table><tr><th colspan=2>題</th></tr><tr><td>a</td><td\n>b</td></tr></table>後。": "前。\n題\na b\n後。",
    "前。\n<TABLE><TR><TD>a<TD>b<TR><TD>c</TABLE>\n後。": "前。\na b\nc\n後。",
    "<ul><li>a</li><li>b</li></ul>後。": "・a\n・b\n後。",
}


def test_no_row_of_a_table_is_left_and_cells_stay_apart(cleaned, tmp_path):
    path = dump(tmp_path / "d.xml", *(page(at, f"{raw}\n頁{at}。") for at, raw in enumerate(TABLES, 1)))
    wanted = {str(at): f"{text}\n頁{at}。" for at, text in enumerate(TABLES.values(), 1)}
    found = {one: text.replace("\n\n", "\n") for one, text in cleaned(path)[0].items()}
    assert {one: text for one, text in found.items() if text != wanted[one]} == {}


def test_what_removal_leaves_is_mended_and_the_pages_own_signs_stay(cleaned, tmp_path):
    raw = "甲{{cite web|x}}、{{cite web|y}}、乙。<ref>z</ref>。丙（{{audio|a.ogg}}）、丁（{{0}}、英: X）。"
    raw += "戊（<!-- 注 -->）。<!-- 注 -->。"
    own = "鉤括弧「」と（）、main()関数、a[]も。そうか。。。（・_・）読点（、）と中黒（・）とコロン(:)と空白（　）。"
    path = dump(tmp_path / "d.xml", page(1, raw), page(2, own))
    found, _ = cleaned(path)
    assert found == {"1": "甲、乙。丙、丁（英: X）。戊。", "2": own}


def test_a_page_knows_its_title(cleaned, tmp_path):
    path = dump(tmp_path / "d.xml", page(7, "'''{{PAGENAME}}'''は頁である。"))
    assert cleaned(path)[0] == fetched(path, tmp_path)[0] == {"7": "題7は頁である。"}


def test_raw_tags_in_a_text_are_its_markup(cleaned, tmp_path):
    raw = "一段目。<br />二段目。<ref name='a'>出典<b>太</b></ref>三段目。四"
    path = dump(tmp_path / "d.xml", page(1, raw, escaped=False), page(2, "次の頁。"))
    assert cleaned(path)[0] == {"1": "一段目。\n二段目。三段目。四", "2": "次の頁。"}


def test_pages_of_other_models_are_no_documents(cleaned, tmp_path):
    others = [
        page(at, f"本文ではない{at}。", f"<model>{model}</model>")
        for at, model in enumerate(("css", "javascript", "json", "Scribunto", "wikibase-item", "sanitized-css"), 10)
    ]
    slot = "<content><role>mediainfo</role><model>json</model><text>{}</text></content></revision>"
    main = page(1, "本文である。", "<model>wikitext</model><format>text/x-wiki</format>").replace("</revision>", slot)
    path = dump(tmp_path / "d.xml", main, page(2, "様式。", "<format>text/css</format>"), *others)
    texts, report = cleaned(path)
    assert texts == {"1": "本文である。"} and report["passed_over"] == {"page that is no wikitext": 7}
    found, card = fetched(path, tmp_path)
    assert list(found) == ["1"] and card["skipped"]["page that is no wikitext"]["count"] == 7


CASES = {
    "inline_templates": (
        ["流域面積は1300 km2で", "1991年には", "12345人", "500円", "川のほとりには橋がある", "小さい字"],
        ["はし", "かわ）が", "積はで"],
    ),
    "latin_titles": (
        [
            "Re:ゼロから始める異世界生活",
            "Star Trek: Discovery",
            "Halo: Combat Evolved",
            "ID: INVADED",
            "日本と10 km",
            "ライルは",
        ],
        [],
    ),
    "raw_tags": (["ここまでは読める", "ここも残るべき", "この文も残るべき", "最後まで読める"], []),
    "slots": (["主スロットの本文"], ["license", "mw-parser"]),
    "tables": (
        ["本文の導入部", "ここは残る", "最後の段落", "しめくくり", "見出し", "一つ目"],
        ["|", "colspan", "セル1セル2"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_cases_of_a_development_machine(cleaned, tmp_path, name):
    path = needed(f"cases/wikitext/{name}.xml")
    kept, gone = CASES[name]
    for found in (cleaned(path)[0], fetched(path, tmp_path)[0]):
        text = "\n".join(found.values())
        assert [one for one in kept if one not in text] == [] and [one for one in gone if one in text] == []


HOSTILE = ["\n" * 100_000 + "<td>", " " * 100_000 + "<tr", "<tr>\n \n<td>\n" * 20_000, "-{" * 30_000, "<math>" * 20_000]
HOSTILE += ["<ruby>" * 20_000, "<ruby>x<rt>" * 20_000, "x{{a}}" * 30_000, "（{{a}}" * 20_000, "|\n" * 50_000]
HOSTILE += ["[[" + "|" * 100_000 + "]]", "{{a|[[" + "|" * 100_000 + "]]}}", "{{a}} " * 50_000 + "x", "、、" * 50_000]
HOSTILE += [
    "{{convert|" + "1|" * 50_000 + "}}",
    "!" * 50_000 + "\n" + "! " * 50_000,
    "<a>" * 30_000 + "{{a}}x",
    "「」" * 50_000,
]


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda text: text[:10].strip())
def test_hostile_pages_end_soon(hostile):
    start = time.process_time()
    wikitext.strip(hostile)
    assert time.process_time() - start < 5


ENGLISH = {
    "The '''Rhine''' ({{langx|de|Rhein}}, {{langx|fr|Rhin}}) is a river.": "The Rhine (Rhein, Rhin) is a river.",
    "Built {{circa|1200}} under John ({{reign|1199|1216}}).": "Built c. 1200 under John (r. 1199–1216).",
    "{{As of|2010|3}}, it had 5,000 people.": "As of March 2010, it had 5,000 people.",
    "The town ({{unknown|x}} y) is old.": "The town is old.",
    # a full stop behind an abbreviation ends no sentence: nothing of one with a hole stays
    "It is old. The song by Dr. Dre in the U.S. Army had {{unknown|x}} sales. It was loud.": "It is old. It was loud.",
}


def test_english_sentences_are_whole_or_gone(cleaned, tmp_path):
    path = dump(tmp_path / "d.xml", *(page(number, text) for number, text in enumerate(ENGLISH)))
    assert list(cleaned(path)[0].values()) == list(ENGLISH.values())
