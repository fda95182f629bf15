"""Japanese pages with known main text: each line is written to be of the text or of what stands around it.

The sentences are put together of small parts and numbered, so that none stands twice; the layouts are those that are met
on the web: articles, blogs, forums, references, laws, recipes, old pages of tables and <br>, heaps of <div>.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

_WHO = [
    "駅前の商店街", "北側の水門", "市立の資料館", "小さな印刷所", "港の倉庫", "古い時計台", "川沿いの公園",
    "山あいの分校", "朝の市場", "県の研究所",
]  # fmt: skip
_WHAT = [
    "改修の計画", "新しい展示", "雨水の対策", "修理の記録", "参加者の募集", "昔の写真", "測定の結果",
    "利用の手引き", "地元の木材", "夏の催し",
]  # fmt: skip
_DOES = [
    "が住民の協力で少しずつ形になってきた", "について担当者が詳しい説明をした", "をめぐり意見が分かれている",
    "がようやく公開された", "のために多くの人が集まった", "を見直す動きが広がっている",
    "は予想よりも時間がかかりそうだ", "には思いがけない発見があった",
]  # fmt: skip
_MENU = [
    "ホーム", "新着情報", "会社概要", "アクセス", "お問い合わせ", "よくある質問", "サイトマップ", "採用情報",
    "ログイン", "会員登録", "特集", "ランキング", "動画", "天気",
]  # fmt: skip
_LINKS = [
    "人気の記事ランキング", "あわせて読みたい", "この記事を書いた人", "関連する話題の一覧", "最近のコメント",
    "カテゴリー別に見る", "月別アーカイブ", "おすすめの商品はこちら",
]  # fmt: skip


@dataclass
class Page:
    """A page that is being written, and what its lines are."""

    rng: random.Random
    main: list[str] = field(default_factory=list)
    around: list[str] = field(default_factory=list)
    number: int = 0

    def sentence(self) -> str:
        """One of the text, with its number so that it stands nowhere else."""
        self.number += 1
        draw = self.rng.choice
        return f"{draw(_WHO)}では、{draw(_WHAT)}{draw(_DOES)}（{self.number}件目）。"

    def text(self, sentences: int = 3) -> str:
        """A paragraph of the text."""
        return self.line("".join(self.sentence() for _ in range(sentences)))

    def line(self, words: str) -> str:
        """A line of the text, as it is to come out."""
        self.main.append(words)
        return words

    def noise(self, words: str) -> str:
        """A line of what stands around the text."""
        self.number += 1
        self.around.append(f"{words}{self.number}")
        return self.around[-1]

    def links(self, count: int, words: list[str] = _MENU, tag: str = "li") -> str:
        """So many links that lead elsewhere."""
        items = (f'<{tag}><a href="/p/{n}">{self.noise(self.rng.choice(words))}</a></{tag}>' for n in range(count))
        return "\n".join(items)

    def paragraphs(self, count: int) -> str:
        return "\n".join(f"<p>{self.text(self.rng.randint(2, 4))}</p>" for _ in range(count))


def _html(page: Page, body: str, extra: str = "") -> str:
    script = "<script>var a = '朝の港'; function f() { return a; }</script><style>p { color: #333 }</style>"
    return f"<!DOCTYPE html><html lang=ja><head><title>題</title>{script}{extra}</head><body>{body}</body></html>"


def news(page: Page) -> str:
    return _html(
        page,
        f"""<header><nav><ul>{page.links(10)}</ul></nav></header>
<div class="breadcrumb">{page.noise("ホーム > 地域 > ")}</div>
<article><h1>{page.line("水門の改修が始まる")}</h1><div class="share">
<ul>{page.links(3, ["ツイート", "シェア"])}</ul></div>
{page.paragraphs(6)}</article><aside><h3>{page.noise("関連記事")}</h3><ul>{page.links(8, _LINKS)}</ul></aside>
<div id="cookie-banner">{page.noise("当サイトはクッキーを使います。同意してください。")}</div><footer>
<ul>{page.links(6)}</ul><p>{page.noise("無断転載を禁じます")}</p></footer>""",
    )


def blog(page: Page) -> str:
    days = "".join(f"<td>{day}</td>" for day in range(1, 29))
    return _html(
        page,
        f"""<div id="header"><h1><a href="/">{page.noise("山の日記")}</a></h1></div><div id="wrapper">
<div id="main"><div class="entry">
<h2 class="entry-title">{page.line("分校まで歩いた日のこと")}</h2>
<div class="entry-body">{page.paragraphs(5)}<h3>{page.line("帰り道で見たもの")}</h3>{page.paragraphs(2)}</div>
<div class="entry-footer">{page.noise("投稿者: 山田 | カテゴリ: 散歩 | コメント")}</div></div></div>
<div id="sidebar"><table class="calendar"><tr>{days}</tr></table><h3>{page.noise("最近の記事")}</h3>
<ul>{page.links(10, _LINKS)}</ul>
<h3>{page.noise("月別アーカイブ")}</h3><ul>{page.links(12, ["2020年1月", "2019年5月"])}</ul></div></div>
<div id="footer">{page.noise("Powered by 架空ブログ")}</div>""",
    )


def technical(page: Page) -> str:
    code = page.line("for name in sorted(items):") + "\n    " + page.line("print(name, items[name] * 2)")
    config = page.line("server:") + "\n  " + page.line("listen: 127.0.0.1:8080")
    return _html(
        page,
        f"""<nav class="navbar">{page.links(7, tag="span")}</nav><main><article class="markdown-body">
<h1>{page.line("設定ファイルの読み方を調べた")}</h1>
{page.paragraphs(2)}<pre><code class="python">{code}</code></pre>{page.paragraphs(1)}<pre>{config}</pre><ul>
<li>{page.text(1)}</li><li>{page.text(1)}</li></ul>
<p>{page.line("詳しくは公式の文書（https://docs.example.jp/config）に書いてある。")}</p></article></main>
<div class="likes">{page.noise("いいね ストック コメント")}</div><div class="toc">
<ul>{page.links(5, _LINKS)}</ul></div><footer>{page.links(5)}</footer>""",
    )


def forum(page: Page) -> str:
    def answer(kind: str) -> str:
        return f"""<div class="post {kind}"><div class="user">
<a href="/u">{page.noise("利用者")}</a> <span>{page.noise("投稿数 12")}</span></div>
<div class="post-body"><p>{page.text(2)}</p><p>{page.text(2)}</p></div><div class="actions">
<a href="#">{page.noise("返信する")}</a> <a href="#">{page.noise("通報する")}</a></div></div>"""

    return _html(
        page,
        f"""<div class="top">{page.links(8)}</div>
<h1>{page.line("水やりの間隔について教えてください")}</h1>{answer("question")}{answer("answer")}{answer("answer")}{answer("answer")}
<div class="related"><h4>{page.noise("似た質問")}</h4><ul>{page.links(8, _LINKS)}</ul></div>
<div class="foot">{page.links(6)}</div>""",
    )


def recipe(page: Page) -> str:
    goods = "".join(
        f"<li>{page.line(each)}</li>"
        for each in ("大根 半分", "だし汁 カップ三杯", "醤油 大さじ二", "味噌 少々", "ねぎ 一本")
    )
    steps = "".join(f"<li>{page.text(1)}</li>" for _ in range(5))
    return _html(
        page,
        f"""<header>{page.links(9)}</header><div class="content"><h1>{page.line("大根の煮物")}</h1>
<p>{page.text(2)}</p><h2>{page.line("材料（四人分）")}</h2><ul>{goods}</ul>
<h2>{page.line("作り方の手順")}</h2><ol>{steps}</ol><p>{page.text(2)}</p></div><div class="rank">
<h3>{page.noise("人気の献立")}</h3><ol>{page.links(8, _LINKS)}</ol></div><footer>
<small>{page.noise("運営会社")}</small></footer>""",
    )


def old_table(page: Page) -> str:
    body = "<br><br>\n".join(f'<font size="3">{page.text(3)}</font>' for _ in range(5))
    return _html(
        page,
        f"""<table width="800"><tr><td colspan="2" bgcolor="#cccccc">{page.links(6, tag="b")}</td></tr><tr>
<td width="150" valign="top">{page.links(9, tag="p")}</td>
<td><center><font size="5">{page.line("港の倉庫の歴史")}</font></center><hr>{body}</td></tr><tr>
<td colspan="2" align="center"><font size="1">{page.noise("ご意見はこちらまで")}</font></td></tr></table>""",
    )


def heap(page: Page) -> str:
    body = "".join(f'<div class="c{n}"><div>{page.text(3)}</div></div>' for n in range(6))
    return _html(
        page,
        f"""<div class="a1"><div class="a2">{page.links(8, tag="div")}</div></div><div class="b1">
<div class="b2">{page.line("印刷所の仕事を訪ねて")}</div>{body}</div>
<div class="d1">{page.links(10, _LINKS, "div")}</div><div class="e1">
<div>{page.noise("個人情報保護方針")}</div><div>{page.noise("Copyright 架空社")}</div></div>""",
    )


def law(page: Page) -> str:
    articles = "".join(
        f"<h3>{page.line(f'（目的の{n}）')}</h3><p>{page.line(f'第{n}条　' + page.sentence())}</p><ol>"
        f"<li>{page.text(1)}</li><li>{page.text(1)}</li></ol>"
        for n in range(1, 7)
    )
    return _html(
        page,
        f"""<div id="nav">{page.links(8)}</div><div id="contents">
<h1>{page.line("施設の利用に関する条例")}</h1><h2>{page.line("第一章　総則")}</h2>{articles}</div>
<div id="footer">{page.links(5)}<address>{page.noise("総務課 電話")}</address></div>""",
    )


def poem(page: Page) -> str:
    lines = [
        page.line(each)
        for each in (
            "朝の水門に",
            "白い鳥がひとつ",
            "だれも呼ばないのに",
            "川はもう目をさまし",
            "遠い町の名を",
            "ゆっくりと運んでいる",
        )
    ]
    more = [page.line(each) for each in ("石段の途中で", "ぼくは手紙を折る", "返事は来ないと", "知っていながら")]
    return _html(
        page,
        f"""<div class="head">{page.links(6)}</div><div class="work"><h2>{page.line("水門の朝")}</h2>
<p>{"<br>".join(lines)}</p><p>{"<br>".join(more)}</p></div>
<div class="list"><h3>{page.noise("作品の一覧")}</h3><ul>{page.links(8, _LINKS)}</ul></div>""",
    )


def manual(page: Page) -> str:
    terms = "".join(
        f"<dt><code>{page.line(f'--level-{n} N')}</code></dt><dd><p>{page.text(1)}</p></dd>" for n in range(5)
    )
    rows = "".join(f"<tr><td>{page.line(f'符号{n}')}</td><td>{page.text(1)}</td></tr>" for n in range(4))
    return _html(
        page,
        f"""<div class="sphinxsidebar"><ul>{page.links(12, _LINKS)}</ul></div><div class="document">
<div class="body" role="main"><section><h1>{page.line("測定コマンドの使い方")}</h1>
<p>{page.text(2)}</p><h2>{page.line("書式")}</h2><pre>{page.line("measure [OPTION]... FILE")}</pre>
<dl>{terms}</dl><table>{rows}</table></section></div></div>
<div class="footer">{page.noise("前の章 次の章 索引")}</div>""",
    )


def encyclopaedia(page: Page) -> str:
    return _html(
        page,
        f"""<div id="mw-page-base"></div><div id="content" class="mw-body" role="main">
<h1 id="firstHeading">{page.line("配合山")}</h1><div id="siteSub">{page.noise("出典: 架空百科")}</div>
<div id="mw-content-text"><p>{page.text(3)}</p><div id="toc"><h2>{page.noise("目次")}</h2>
<ul>{page.links(4, _LINKS)}</ul></div><h2><span>{page.line("地理と気候")}</span>
<span class="mw-editsection">[<a href="#">{page.noise("編集")}</a>]</span></h2>
{page.paragraphs(3)}<h2>{page.line("登山の歴史")}</h2>{page.paragraphs(2)}</div></div><div id="mw-navigation">
<ul>{page.links(14)}</ul></div><div id="footer"><ul>{page.links(5)}</ul></div>""",
    )


def comments(page: Page) -> str:
    said = "".join(
        f'<div class="comment"><span>{page.noise("名無し")}</span>'
        f"<p>{page.noise('すごいですね、また来ます。')}</p></div>"
        for _ in range(6)
    )
    return _html(
        page,
        f"""<header role="banner">{page.links(8)}</header><div id="primary"><article id="post-1" class="post">
<header class="entry-header"><h1>{page.line("展示を見に行った")}</h1></header>
<div class="entry-content">{page.paragraphs(4)}<blockquote><p>{page.text(1)}</p>
</blockquote>{page.paragraphs(1)}</div></article><div id="comments" class="comments-area">{said}
<form><label>{page.noise("お名前")}</label><textarea></textarea><button>{page.noise("送信")}</button></form>
</div></div><div class="widget-area">{page.links(9, _LINKS)}</div>""",
    )


def pieces(page: Page) -> str:
    """Short pieces inside sentences, and cells: what an extractor takes for crumbs leaves holes in a text."""
    bold = [(page.sentence(), page.sentence()) for _ in range(6)]
    body = "".join(f"<p>{one[:3]}<b>{one[3]}</b>{one[4:]}<a href='/x'>{two[:2]}</a>{two[2:]}</p>" for one, two in bold)
    for one, two in bold:
        page.line(one + two)
    rows = "".join(
        f"<tr><th>{page.line(f'{n}番')}</th><td>{page.line(f'値は{n * 7}')}</td><td>{page.text(1)}</td></tr>"
        for n in range(5)
    )
    ruby = page.sentence()
    page.line(ruby)
    return _html(
        page,
        f"""<header><ul>{page.links(8)}</ul></header><article><h1>{page.line("倉庫の台帳")}</h1>{body}
<p><ruby>{ruby[:2]}<rp>（</rp><rt>よみ</rt><rp>）</rp></ruby>{ruby[2:]}</p><table>{rows}</table></article><footer>{page.links(5)}</footer>""",
    )


LAYOUTS: dict[str, Callable[[Page], str]] = {
    each.__name__: each
    for each in (
        news,
        blog,
        technical,
        forum,
        recipe,
        old_table,
        heap,
        law,
        poem,
        manual,
        encyclopaedia,
        comments,
        pieces,
    )
}


def pages(each: int, seed: int = 1) -> list[tuple[str, str, Page]]:
    """So many pages of every layout: its name, the markup, and what its lines are."""
    made = []
    for number in range(each):
        for name, layout in LAYOUTS.items():
            page = Page(random.Random(f"{seed} {name} {number}"))
            made.append((name, layout(page), page))
    return made
