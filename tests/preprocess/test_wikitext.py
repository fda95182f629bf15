"""Wikitext to text: what stays, what goes, and pages made to stall a parser."""

import time

import pytest

from preprocess.rules import wikitext


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("'''京都'''は[[日本]]の[[都市|まち]]。", "京都は日本のまち。"),
        ("{{基礎情報|a={{b|c}}|d=[[e]]}}本文", "本文"),
        ('人口<ref name="x">出典{{Cite|a}}</ref>は<ref name=x />多い<!-- 注\n釈 -->。', "人口は多い。"),
        ("[[ファイル:a.jpg|thumb|[[城]]の[http://x.jp 写真]]]天守", "天守"),
        ("[[File:a.png|thumb|[左] 図]]後", "後"),
        ("a[[Category:都市]][[カテゴリ:b]][[en:Kyoto]]", "a"),
        ("[[:en:Battle of X|en:Battle of X]]と[[:Category:x|分類]]", "Battle of Xと分類"),
        ("前\n{| class=x\n|a\n{|\n|b\n|}\n|c\n|}\n後", "前\n\n後"),
        ("前\n{|\n|a\n! b\n本文", "前\n本文"),
        ("== 歴史 ==\n昔。\n== 脚注 ==\n<references />\n=== 注 ===\nx\n== 今 ==\n今。", "\n歴史\n昔。\n\n今\n今。"),
        ("== 空 ==\n{{main|x}}\n=== 下 ===\n\n== 次 ==\n文", "\n次\n文"),
        ("* 一\n** 二\n# 三\n: 字下げ\n; 用語", "・一\n・二\n・三\n字下げ\n用語"),
        ("[http://a.jp ここ]と[http://b.jp]", "ここと"),
        ("<nowiki>[[x]] {{y}} '''z'''</nowiki>", "[[x]] {{y}} '''z'''"),
        ('<math>a<b</math>式<br />次<div class="a">中</div>', "式\n次中"),
        ("&lt;b&gt; &amp;amp; A&nbsp;B", "<b> &amp; A B"),
        ("エジプト（{{lang|ar|مصر}}、{{lang-en|Egypt}}）", "エジプト（مصر、Egypt）"),
        ("国（{{flagicon|x}}、{{Audio|y}}）は（{{要出典}}）", "国は"),
        ("{{仮リンク|表示名|en|Name}}と{{読み仮名|漢字|かんじ}}と{{formatnum:1234}}", "表示名と漢字（かんじ）と1234"),
        ("a < b かつ c > d", "a < b かつ c > d"),
        ("__NOTOC__\n----\n文 。", "\n文。"),
        ("閉じない{{template|a", "閉じないtemplate|a"),
        ("<gallery>\nFile:a.jpg|x\n</gallery>外", "外"),
        ("<pre>\n* not a list\n</pre>", "\n* not a list\n"),
    ],
)
def test_what_stays(raw, clean):
    assert wikitext.strip(raw).strip("\n") == clean.strip("\n")


def test_plain_text_is_left_alone():
    text = "見出し\n\n本文は、（注）「引用」『書名』である。a=b; x:y"
    assert wikitext.strip(text) == text


HOSTILE = ["{{" * 20000, "[[" * 20000, "{{a|" * 8000 + "}}" * 8000, "[[a|" * 5000 + "]]" * 5000, "<ref>" * 20000]
HOSTILE += ["{|\n" * 20000, "（" * 50000, "=" * 50000 + "\n", "[http://" * 20000, "{" * 50000, "<!--" * 20000]
HOSTILE += ["<nowiki>" * 5000, "[" * 50000 + "]" * 50000, ("=" * 6 + " " * 2000) * 20, "<gallery>" * 4000, "'" * 50000]
HOSTILE += [
    "（、" * 20000,
    "、 " * 30000,
    "&#" * 30000,
    "<a " * 30000,
    "[[ファイル:[a]" * 5000,
    " 。" * 30000,
    "{{a\n|" * 5000,
]


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda text: text[:8].strip())
def test_hostile_pages_end_soon(hostile):
    start = time.process_time()
    wikitext.strip(hostile)
    assert time.process_time() - start < 5


def test_wikitext_is_recognised():
    assert wikitext.looks_like("'''A'''は[[b]]の[[c]]と[[d]]。\n== 歴史 ==\n{{main|x}}")
    assert not wikitext.looks_like("#include <vector>\nstd::vector<int> v = {{1, 2}}; a[[0]]")
