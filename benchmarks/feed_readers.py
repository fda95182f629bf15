"""Which reader of feeds loses least: sentences kept of feeds as they are in the wild, and what else came with them.

    python benchmarks/feed_readers.py        (feedparser takes part where it is installed)

Every case is a feed with something wrong, or right and rare; a reader gets it as bytes and gives texts. A sentence counts
when it is in the text of an entry as it stands; `noise` counts cases whose texts hold markup, readings of ruby or U+FFFD.
feedparser is also tried behind our decoding, with its cleaning off and our HTML behind it. Then feeds of twelve entries are
damaged at random (bytes exchanged, cut out, repeated): an entry is right when its title still has its own text.
"""

from __future__ import annotations

import contextlib
import html
import random
import re
import time
from collections.abc import Callable

from _measure import parser

from preprocess.fetch import feed_parse, html_text
from preprocess.sources import charset

HEAD = '<?xml version="1.0" encoding="utf-8"?>'
LATIN = HEAD.replace("utf-8", "iso-8859-1")
LONG = "朝の港で地図を見つけた。"


def _rss(body: str, head: str = HEAD) -> str:
    return (
        f"{head}<rss version='2.0'><channel><title>f</title><item><title>題</title><description>{body}</description></item>\
<item><title>次</title><description>次の項目である。</description></item></channel></rss>"
    )


def _atom(kind: str, body: str) -> str:
    entry = f"<entry><title>題</title><id>a</id><content type='{kind}'>{body}</content></entry>"
    return f'<feed xmlns="http://www.w3.org/2005/Atom"><title>f</title>{entry}</feed>'


XHTML = '<div xmlns="http://www.w3.org/1999/xhtml"><p>一。</p><p>二。</p></div>'
CASES: dict[str, tuple[bytes, list[str]]] = {
    name: (text if isinstance(text, bytes) else text.encode(), [wanted, *([] if name[0] == "A" else ["次の項目である。"])])
    for name, text, wanted in (
        ("plain", _rss("朝の港で地図を見つけた。"), "朝の港で地図を見つけた。"),
        ("CDATA", _rss("<![CDATA[<p>朝の港で<b>地図</b>を見つけた。</p>]]>"), "朝の港で地図を見つけた。"),
        ("CDATA written as text", _rss("&lt;![CDATA[朝の港で地図を見つけた。]]&gt;"), "朝の港で地図を見つけた。"),
        ("HTML's entities", _rss("朝&mdash;港&hellip;地図。"), "朝—港…地図。"),
        ("DTD of RSS 0.91", _rss("朝&mdash;港。", HEAD + '<!DOCTYPE rss SYSTEM "http://127.0.0.1:1/x.dtd">'), "朝—港。"),
        ("bare ampersand", _rss("朝 & 港の地図。"), "朝 & 港の地図。"),
        ("blank lines first", "\n\n" + _rss("朝の港。"), "朝の港。"),
        ("comment first", "<!-- x -->" + _rss("朝の港。"), "朝の港。"),
        ("code", _rss(html.escape("<p>例。</p><pre><!h<!h<\nif (a < b) {}</pre><p>例の後。</p>")), "例の後。"),
        ("type parameters", _rss(html.escape("vector<int> を使う。")), "vector<int> を使う。"),
        ("ruby", _rss(html.escape("<ruby>地図<rp>(</rp><rt>ちず</rt><rp>)</rp></ruby>を読む。")), "地図を読む。"),
        ("ruby without end tags", _rss(html.escape("<ruby>地<rt>ち<rb>図<rt>ず</ruby>を読む。")), "地図を読む。"),
        ("markup not escaped", _rss("朝の<b>港</b>で。"), "朝の港で。"),
        ("missing end tag", _rss("朝の<b>港で。"), "朝の港で。"),
        ("control character", _rss("朝の\x0b港で。"), "朝の港で。"),
        ("declared UTF-8, is Shift_JIS", _rss(LONG).encode("cp932"), LONG),
        ("declared Latin-1, is EUC-JP", _rss(LONG, LATIN).encode("euc_jp"), LONG),
        ("Atom, xhtml", _atom("xhtml", XHTML), "一。\n二。"),
        ("Atom, text", _atom("text", "a &lt;b&gt; c。"), "a <b> c。"),
        ("Atom, unknown type", _atom("CDATA", "<![CDATA[<p>一。</p>]]>"), "一。"),
    )
}  # fmt: skip


def ours(body: bytes) -> list[str]:
    """The reader in use."""
    return [item.text for item in feed_parse.parse(body, "f").items]


def strict(body: bytes) -> list[str]:
    """expat, then libxml2's HTML."""
    from xml.etree.ElementTree import fromstring

    return _texts(fromstring(body))


def recovering(body: bytes) -> list[str]:
    """libxml2 with recover, then its HTML."""
    from lxml import etree

    parser = etree.XMLParser(recover=True, resolve_entities=False, no_network=True, load_dtd=False)
    return _texts(etree.fromstring(body, parser))


def _texts(root: object) -> list[str]:
    kinds = ("description", "content", "summary")
    items = [each for each in root.iter() if str(each.tag).rpartition("}")[2] in ("item", "entry")]  # type: ignore[attr-defined]
    found = [
        "".join(child.itertext()) for item in items for child in item if str(child.tag).rpartition("}")[2] in kinds
    ]
    return [html_text.text_of(text)[0] for text in found]


def feedparser(body: bytes) -> list[str]:
    """feedparser, then libxml2's HTML."""
    return [html_text.text_of(text)[0] for _, text in _parsed_by_feedparser(body)]


def feedparser_helped(body: bytes) -> list[str]:
    """The same with our decoding before it and our reading of stray `<` after it; nothing of it is cleaned or resolved."""
    return [text for _, text in _helped(body)]


def _helped(body: bytes) -> list[tuple[str, str]]:
    text = re.sub(r"^.*?(?=<(?:rss|feed|\w+:RDF)\b)", "", charset.text(body), count=1, flags=re.DOTALL)
    entries = _parsed_by_feedparser(text.encode(), sanitize_html=False, resolve_relative_uris=False)
    return [(title, html_text.text_of(feed_parse.markup(text))[0]) for title, text in entries]


def _parsed_by_feedparser(body: bytes, **options: bool) -> list[tuple[str, str]]:
    import feedparser as peer

    entries = peer.parse(body, **options).entries
    return [
        (entry.get("title", ""), entry.content[0].value if "content" in entry else entry.get("summary", ""))
        for entry in entries
    ]


def _damaged(tag: str, count: int = 300) -> list[bytes]:
    rng = random.Random(5)
    feeds = []
    for _ in range(count):
        items = (f"<item><title>題{n}番</title><description>{tag}第{n}の文。</description></item>" for n in range(12))
        body = bytearray(f"{HEAD}<rss version='2.0'><channel><title>f</title>{''.join(items)}</channel></rss>".encode())
        for _ in range(rng.randint(1, 4)):
            at, kind = rng.randrange(len(body)), rng.random()
            if kind < 0.4:
                body[at] = rng.randrange(256)
            elif kind < 0.7:
                del body[at : at + rng.randint(1, 40)]
            else:
                body[at:at] = body[max(0, at - 30) : at]
        feeds.append(bytes(body))
    return feeds


def _right_and_wrong(reader: Callable[[bytes], list[tuple[str, str]]], tag: str) -> tuple[int, int]:
    right = wrong = 0
    for body in _damaged(tag):
        try:
            entries = reader(body)
        except ImportError:
            raise
        except Exception:  # each has errors of its own; nothing was read
            continue
        good = sum(text == f"第{title[1:-1]}の文。" for title, text in entries)
        right, wrong = right + good, wrong + len(entries) - good
    return right, wrong


def main() -> int:
    """Print the table."""
    parser(__doc__).parse_args()
    readers: list[Callable[[bytes], list[str]]] = [ours, strict, recovering, feedparser, feedparser_helped]
    lost: dict[str, list[str]] = {}
    for reader in readers:
        kept = noise = 0
        began = time.perf_counter()
        for name, (body, wanted) in CASES.items():
            try:
                texts = reader(body)
            except ImportError:
                print(f"{reader.__name__:18} is not installed")
                break
            except Exception:  # each has errors of its own; nothing was read
                texts = []
            found = sum(any(sentence == text or sentence in text.split("\n") for text in texts) for sentence in wanted)
            kept += found
            noise += any(re.search(r"\ufffd|</?[pb]>|ちず|]]>", text) for text in texts) and name != "Atom, text"
            if found < len(wanted):
                lost.setdefault(reader.__name__, []).append(name)
        else:
            total = sum(len(wanted) for _, wanted in CASES.values())
            spent = (time.perf_counter() - began) * 1000
            print(
                f"{reader.__name__:18} {kept:3}/{total} sentences, noise in {noise} of {len(CASES)} feeds, {spent:.0f} ms"
            )
            print(f"{'':18} loses: {', '.join(lost.get(reader.__name__, [])) or 'nothing'}")
    read: dict[str, Callable[[bytes], list[tuple[str, str]]]] = {
        "ours": lambda body: [(item.title, item.text) for item in feed_parse.parse(body, "f").items],
        "feedparser_helped": _helped,
    }
    for kind, tag in (("plain", ""), ("HTML", "&lt;p&gt;")):
        for name, each in read.items():
            with contextlib.suppress(ImportError):
                right, wrong = _right_and_wrong(each, tag)
                print(f"{name:18} of 300 damaged feeds of {kind} texts: {right:,} entries right, {wrong:,} wrong")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
