"""Feeds: three dialects, encodings, conditional GET, and XML that means harm."""

import time

import pytest
from fetch_server import Answer, FakeClock, Server, cut, status

from haigo import files
from haigo.cli import Failed, HaigoError
from preprocess import fetch, sources
from preprocess.fetch import addresses, feed_parse, html_text
from preprocess.fetch.client import Client
from preprocess.fetch.feeds import Feeds

RSS2 = """<?xml version="1.0" encoding="{encoding}"?>
<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/" xmlns:dc="http://purl.org/dc/elements/1.1/">
<channel><title>日報</title><link>https://example.org/</link><copyright>© 日報社</copyright>
<item><title>猫が帰る</title><link>https://example.org/1?a=1&amp;b=2</link><guid isPermaLink="false">n1</guid>
<pubDate>Mon, 02 Nov 2026 09:00:00 +0900</pubDate><dc:creator>山田</dc:creator><description>要約</description>
<content:encoded><![CDATA[<p>三毛猫が<b>帰った</b>。</p><script>x()</script><p>翌朝。</p>]]></content:encoded></item>
<item><title>A &amp;amp; B</title><link>/2</link><description>&lt;p&gt;一&lt;br/&gt;二&lt;/p&gt;</description></item>
<item></item>
</channel></rss>"""
RSS1 = """<?xml version="1.0" encoding="{encoding}"?>
<rdf:RDF xmlns="http://purl.org/rss/1.0/" xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:cc="http://web.resource.org/cc/">
<channel rdf:about="https://example.org/rdf"><title>旧報</title>
<cc:license rdf:resource="http://creativecommons.org/licenses/by/4.0/"/></channel>
<item rdf:about="https://example.org/r1"><title>見出し</title><link>https://example.org/r1</link>
<description>本文です。</description><dc:date>2026-11-02T09:00:00+09:00</dc:date></item>
</rdf:RDF>"""
ATOM = """<?xml version="1.0" encoding="utf-8"?>
<feed xmlns="http://www.w3.org/2005/Atom"><title>新報</title><rights>CC BY 4.0</rights><id>tag:example.org,2026:f</id>
<entry><title type="html">&lt;b&gt;題&lt;/b&gt;</title><id>tag:example.org,2026:1</id><updated>2026-11-02T00:00:00Z</updated>
<link rel="enclosure" href="https://example.org/a.mp3"/><link rel="alternate" href="https://example.org/a1"/>
<author><name>田中</name></author>
<content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>一段 &lt;目&gt;</p><p>二段目</p></div></content></entry>
</feed>"""


def parse(text, encoding="utf-8", codec=None):
    return feed_parse.parse(text.format(encoding=encoding).encode(codec or encoding), "f")


def test_rss_2():
    feed = parse(RSS2)
    one, two, three = feed.items
    assert (feed.title, feed.licence) == ("日報", "© 日報社")
    assert one == feed_parse.Item(
        "n1",
        "猫が帰る",
        "https://example.org/1?a=1&b=2",
        "2026-11-02T09:00:00+09:00",
        "山田",
        "三毛猫が帰った。\n翌朝。",
    )
    assert (two.title, two.text, two.id) == ("A & B", "一\n二", "/2")
    assert three.text == "" == three.id


def test_rss_1():
    feed = parse(RSS1)
    assert feed.licence == "http://creativecommons.org/licenses/by/4.0/"
    assert [(one.id, one.text, one.date) for one in feed.items] == [
        ("https://example.org/r1", "本文です。", "2026-11-02T09:00:00+09:00")
    ]


def test_atom():
    (one,) = feed_parse.parse(ATOM.encode(), "f").items
    assert (one.title, one.link, one.author) == ("題", "https://example.org/a1", "田中")
    assert one.text == "一段 <目>\n二段目" and one.date == "2026-11-02T00:00:00+00:00"


@pytest.mark.parametrize(
    ("declared", "codec"),
    [
        ("Shift_JIS", "cp932"),
        ("EUC-JP", "euc_jp"),
        ("iso-2022-jp", "iso2022_jp"),
        ("UTF-16", "utf-16"),
        ("utf-8", "utf-8-sig"),
    ],
)
def test_encodings_that_japanese_feeds_are_in(declared, codec):
    assert parse(RSS1, declared, codec).items[0].text == "本文です。"


BOMB = """<?xml version="1.0"?><!DOCTYPE rss [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><rss><channel><item><title>&c;</title></item></channel></rss>"""
OUTSIDE = """<?xml version="1.0"?><!DOCTYPE rss [<!ENTITY a SYSTEM "file:///etc/passwd">]>
<rss><channel><item><title>&a;</title></item></channel></rss>"""


@pytest.mark.parametrize(
    "body",
    [
        BOMB.encode(),
        OUTSIDE.encode(),
        b"",
        b"<rss><channel>",
        b"<html><body/></html>",
        b"\x00\x01\x02",
        b"<?xml version='1.0' encoding='no-such'?><rss/>",
        b"<?xml version='1.0' encoding='EUC-JP'?><rss>" + b"\xff\xff</rss>",
        b"<?xml version='1.0' encoding='rot13'?><rss/>",
        b"<rss><channel>" + b"<a>" * 100_000 + b"</a>" * 100_000 + b"</channel></rss>"[:1],
    ],
    ids=["bomb", "outside", "empty", "cut", "html", "binary", "encoding", "bytes", "no text codec", "deep"],
)
def test_what_is_no_feed_is_told_in_a_sentence(body):
    with pytest.raises(feed_parse.NotAFeed):
        feed_parse.parse(body, "f")


def test_deep_markup_inside_an_entry_does_not_end_the_run():
    deep = "<div>" * 5000 + "x" + "</div>" * 5000
    text = ATOM.replace("<p>二段目</p>", deep)
    with pytest.raises(feed_parse.NotAFeed, match="nested"):
        feed_parse.parse(text.encode(), "f")


@pytest.mark.parametrize(
    "markup", ["<!-- " * 200_000, "<![CDATA[" * 100_000, "<nav>" * 100_000 + "</b>" * 100_000, "&" * 10**6 + "<"]
)
def test_hostile_markup_costs_no_more_than_its_length(markup):
    began = time.process_time()
    html_text.text_of(markup)
    assert time.process_time() - began < 5


def test_html():
    page = """<html><head><title>あ &amp; い</title><style>x{}</style></head><body><nav>品書き</nav><header>上</header>
    <article><header><h1>見出し</h1></header><p>本文<b>太</b>字
    続き</p><script>x</script>尾<br>二行<pre>  a
    b</pre></article><footer>f<div>g</div></footer><p>終わり</body></html>"""
    text, title = html_text.text_of(page)
    assert title == "あ & い"
    assert text.split("\n") == ["見出し", "本文太字 続き", "尾", "二行", "  a", "    b", "終わり"]
    assert html_text.text_of("plain\n text") == ("plain text", "")
    assert html_text.text_of("") == ("", "") == html_text.text_of("<!-- x")


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def get(tmp_path, clock):
    def call(urls, tries=3, **options):
        client = Client(
            "a@example.org", gap_s=2, obey_robots=True, tries=tries, clock=clock, turns_folder=tmp_path / "t"
        )
        return fetch.fetch_corpus(Feeds(urls, **options), tmp_path / "news", client)

    return call


def conditional(request):
    if request.path == "/robots.txt":
        return Answer(b"", 404)
    body = {"/rss": RSS2, "/rdf": RSS1, "/atom": ATOM}[request.path].format(encoding="utf-8").encode()
    marks = {"ETag": f'"{request.path}"', "Last-Modified": "Mon, 02 Nov 2026 00:00:00 GMT"}
    return (
        Answer(b"", 304, marks) if request.headers.get("If-None-Match") == marks["ETag"] else Answer(body, 200, marks)
    )


def test_fetched_with_origin_and_licence(get, clock, tmp_path):
    with Server(conditional, clock) as server:
        card = get([f"{server.url}/{name}" for name in ("rss", "rdf", "atom", "rss")])
    found = {one.id: one for one in sources.read([tmp_path / "news"])}
    assert set(found) == {
        f"{server.url}/rss#n1",
        f"{server.url}/rss#/2",
        "https://example.org/r1",
        "tag:example.org,2026:1",
    }
    one = found[f"{server.url}/rss#n1"]
    assert one.text == "猫が帰る\n\n三毛猫が帰った。\n翌朝。" and one.meta["origin"] == "https://example.org/1?a=1&b=2"
    assert one.meta["licence"] == "© 日報社" and one.meta["date"] == "2026-11-02T09:00:00+09:00"
    assert found["https://example.org/r1"].meta["licence"].startswith("http://creativecommons.org")
    assert card["skipped"]["entry without text"]["count"] == 1


def test_the_second_time_only_what_changed(get, clock, tmp_path):
    with Server(conditional, clock) as server:
        urls = [f"{server.url}/{name}" for name in ("rss", "rdf")]
        get(urls)
        asked = len(server.requests)
        get(urls)
        assert len(server.requests) == asked  # just now
        clock.now += 3600
        card = get(urls)
    again = [request for request in server.requests[asked:] if request.path != "/robots.txt"]
    assert [request.headers["If-None-Match"] for request in again] == ['"/rss"', '"/rdf"']
    assert all(request.headers["If-Modified-Since"].startswith("Mon, 02") for request in again)
    assert card["documents"] == 3 and card["complete"]


def test_a_changed_entry_keeps_its_first_version(get, clock, tmp_path):
    text = RSS1.format(encoding="utf-8")
    current = [text]

    def answer(request):
        return Answer(b"", 404) if request.path == "/robots.txt" else Answer(current[0].encode())

    with Server(answer, clock) as server:
        get([f"{server.url}/rdf"])
        clock.now += 3600
        current[0] = text.replace("本文です", "直した本文です")
        card = get([f"{server.url}/rdf"])
    assert card["documents"] == 1
    assert card["skipped"]["came again with another text, the first was kept"]["count"] == 1


def test_one_bad_feed_spoils_no_other(get, clock, tmp_path):
    with Server(conditional, clock) as server:
        server.faults = {2: cut, 3: status(503, Retry_After=1), 4: cut}  # the first feed, three times
        with pytest.raises(Failed, match="1 of what was asked for"):
            get([f"{server.url}/rss", f"{server.url}/rdf"])
    card = files.read_json(tmp_path / "news" / "DATA_CARD.json")
    assert card["documents"] == 1 and not card["complete"]
    assert card["skipped"]["feed that could not be read"]["count"] == 1


def test_robots(get, clock, tmp_path):
    def answer(request):
        return Answer(b"User-agent: *\nDisallow: /rss\n") if request.path == "/robots.txt" else conditional(request)

    with Server(answer, clock) as server, pytest.raises(Failed, match=r"robots\.txt does not allow"):
        get([f"{server.url}/rss", f"{server.url}/atom"])
    assert [request.path for request in server.requests] == ["/robots.txt", "/atom"]


def test_lists(tmp_path):
    path = tmp_path / "list"
    path.write_text("# feeds\nhttps://a.example/rss\n\n https://b.example/rss \n")
    assert addresses.read(path) == ["https://a.example/rss", "https://b.example/rss"]
    path.write_text("# nothing\n")
    with pytest.raises(HaigoError, match="no address"):
        addresses.read(path)
    with pytest.raises(HaigoError, match="no feed"):
        Feeds([])
