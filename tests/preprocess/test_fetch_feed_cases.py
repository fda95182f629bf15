"""Feeds as they are written in the wild, through the command: no text is lost, nothing broken is asked for twice."""

import time

import pytest
from fetch_server import Answer, Server
from shared_data import data_of, needed

from haigo import cli
from preprocess import sources
from preprocess.fetch.__main__ import main

DATA = data_of(__file__)


@pytest.fixture
def fetched(tmp_path, capsys):
    """Bytes of a feed -> exit code, title -> text, what was said, requests for the feed."""

    def call(body, **headers):
        def answer(request):
            if request.path == "/robots.txt":
                return Answer(b"", 404)
            return Answer(body, 200, {name.replace("_", "-"): value for name, value in headers.items()})

        with Server(answer) as server:
            argv = [
                "feeds",
                f"{server.url}/f",
                "--contact",
                "a@example.org",
                "--gap",
                "0",
                "--output-dir",
                str(tmp_path / "o"),
            ]
            code = cli.run(main, argv)
        said = capsys.readouterr()
        found = {one.meta["title"]: one.text for one in sources.read([tmp_path / "o"])} if code == 0 else {}
        texts = {title: text.removeprefix(title).strip() for title, text in found.items()}
        return code, texts, said, [one for one in server.requests if one.path == "/f"]

    return call


def rss(items, head='<?xml version="1.0" encoding="utf-8"?>', more=""):
    return f'{head}<rss version="2.0" {more}><channel><title>見本</title>{items}</channel></rss>'.encode()


def item(title, body, name="description", number=1):
    return f"<item><title>{title}</title><guid>g{number}</guid><{name}>{body}</{name}></item>"


CASES = DATA["cases"]
CASES["leading.xml"] = CASES["escaped_cdata.xml"]


@pytest.mark.parametrize("name", CASES)
def test_the_shared_cases(name, fetched):
    code, texts, _, requests = fetched(needed(f"cases/feeds/{name}").read_bytes())
    assert (code, texts, len(requests)) == (0, CASES[name], 1)


@pytest.mark.parametrize(("written", "meant"), DATA["what_stands_in_a_summary"])
def test_what_stands_in_a_summary(written, meant, fetched):
    code, texts, said, requests = fetched(rss(item("題", written) + item("別", "次の項目。", number=2)))
    assert code == 0 and len(requests) == 1
    assert texts == {"題": meant, "別": "次の項目。"}
    assert ("not well-formed" in said.err) == (written in ("雨が<b>降る。", "雨が</i>降る。"))


@pytest.mark.parametrize("kind", ["", "text", "html", "xhtml", "text/html", "text/plain", "image/png", "CDATA"])
def test_atoms_types(kind, fetched):
    given = f' type="{kind}"' if kind else ""
    inner = "<div xmlns='http://www.w3.org/1999/xhtml'><p>一。</p><p>a &lt; b</p></div>"
    body = inner if kind == "xhtml" else "&lt;p&gt;一。&lt;/p&gt;&lt;p&gt;a &amp;lt; b&lt;/p&gt;"
    feed = f"""<feed xmlns="http://www.w3.org/2005/Atom" xmlns:media="http://search.yahoo.com/mrss/"><title>f</title>
<entry><media:title>別</media:title><title>題</title><id>urn:a</id><summary>要約。</summary><content{given}>{body}</content></entry></feed>"""
    code, texts, _, _ = fetched(feed.encode())
    as_text = "<p>一。</p><p>a &lt; b</p>"
    meant = {"text": as_text, "text/plain": as_text, "image/png": "要約。"}.get(kind, "一。\na < b")
    assert (code, texts) == (0, {"題": meant})


def test_a_picture_for_a_body_does_not_hide_the_summary(fetched):
    body = '<content:encoded><![CDATA[<img src="x"/>]]></content:encoded>'
    feed = rss(
        item("題", "本文の要約。").replace("</item>", f"{body}</item>"),
        more='xmlns:content="http://purl.org/rss/1.0/modules/content/"',
    )
    assert fetched(feed)[1] == {"題": "本文の要約。"}
    undeclared = rss(item("題", "<![CDATA[<p>全文。</p>]]>", "content:encoded"))
    assert fetched(undeclared)[1] == {"題": "全文。"}


@pytest.mark.parametrize(
    "before",
    ["\n\n", "\ufeff", " <!-- made by --> ", "\n<br />\n<b>Warning</b>: include(): failed in <b>/x.php</b><br />\n"],
    ids=["lines", "bom", "comment", "a warning of PHP"],
)
def test_what_stands_before_the_declaration(before, fetched):
    assert fetched(before.encode() + rss(item("題", "本文。")))[1] == {"題": "本文。"}


@pytest.mark.parametrize(("declared", "codec", "header"), DATA["the_charset_is_the_bytes_own"])
def test_the_charset_is_the_bytes_own(declared, codec, header, fetched):
    head = f'<?xml version="1.0" encoding="{declared}"?>' if declared else ""
    text = "三毛猫が朝の港で見つけた古い地図には、誰も知らない島が描かれていた。カタカナもある。"
    headers = {"Content_Type": header} if header else {}
    code, texts, said, _ = fetched(rss(item("題名", text), head).decode().encode(codec), **headers)
    assert (code, texts) == (0, {"題名": text}), said.err


@pytest.mark.parametrize(
    ("whole", "damaged"),
    [
        ("<item><title>二", "<itm><title>二"),
        ("<channel>", "<channel><title>x</tit<channel>"),
    ],
    ids=["the start of an entry", "the channel twice"],
)
def test_a_damaged_tag_costs_its_entry_alone(whole, damaged, fetched):
    body = rss("".join(item(title, f"本文{n}。", number=n) for n, title in enumerate("一二三四")))
    code, texts, said, _ = fetched(body.decode().replace(whole, damaged).encode())
    rest = {title: f"本文{n}。" for n, title in enumerate("一二三四") if title != "二" or "channel" in whole}
    assert code == 0 and {title: texts.get(title) for title in rest} == rest and "not well-formed" in said.err


def test_latin_letters_stay_what_they_are(fetched):
    head = '<?xml version="1.0" encoding="iso-8859-1"?>'
    text = "Le café où l'été naît coûte déjà très cher à l'élève, d'après l'hôtelier."
    assert fetched(rss(item("t", text), head).decode().replace("見本", "x").encode("cp1252"))[1] == {"t": text}


def test_one_damaged_byte_costs_its_entry_alone(fetched, tmp_path):
    body = rss(item("題", "壊れた項目である。") + item("次", "無事な項目である。" * 20, number=2)).replace(
        "壊れ".encode(), b"\xe5\xa3"
    )
    code, texts, said, _ = fetched(body)
    assert code == 0 and list(texts) == ["次"] and "entry with damaged characters: 1" in said.out


OLD_RDF = """<?xml version="1.0"?><!DOCTYPE rdf:RDF [ <!ENTITY % HTMLlat1 PUBLIC "-//W3C//ENTITIES Latin 1 for XHTML//EN"
 "http://127.0.0.1:1/xhtml-lat1.ent"> %HTMLlat1; ]><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 xmlns="http://purl.org/rss/1.0/"><channel rdf:about="x"><title>c</title></channel><item rdf:about="urn:1"><title>題</title>
 <description>caf&eacute;。</description></item></rdf:RDF>"""


def test_the_dtd_of_old_feeds_is_passed_over(fetched):
    code, texts, _, requests = fetched(OLD_RDF.encode())
    assert (code, texts, len(requests)) == (0, {"題": "café。"}, 1)


ITEM = "<rss><channel><item><title>&z;</title></item></channel></rss>"
BOMB = "".join(
    f'<!ENTITY {b} "{f"&{a};" * 10}">'
    for a, b in zip("abcdefghijklmnopqrstuvwxy", "bcdefghijklmnopqrstuvwxyz", strict=True)
)
NEVER = {
    "bomb": f'<?xml version="1.0"?><!DOCTYPE rss [<!ENTITY a "ha">{BOMB}]>{ITEM}',
    "file": f'<!DOCTYPE rss [<!ENTITY z SYSTEM "file:///etc/passwd">]>{ITEM}',
    "parameter": f"""<!DOCTYPE rss [<!ENTITY % p "<!ENTITY z 'ha'>"> %p;]>{ITEM}""",
    "page": "<!doctype html><html><body><p>503 busy</p></body></html>",
    "deep": "<rss><channel>" + "<a>" * 10_000 + "</a>" * 10_000 + "</channel></rss>",
    "cut": "<rss><channel><item><title>題</title>",
    "empty": "",
    "json": '{"items": []}',
    "tags": "<a " * 300_000,
    "quotes": "<rss><channel>" + '<a b="' * 300_000,
    "comments": "<rss>" + "<!-- " * 300_000,
    "sections": "<rss>" + "<![CDATA[" * 200_000,
}


@pytest.mark.parametrize("name", NEVER)
def test_what_can_never_be_read_is_named_at_once(name, fetched, capsys):
    began = time.monotonic()
    code, _, said, requests = fetched(NEVER[name].encode())
    assert code == 4 and len(requests) == 1 and time.monotonic() - began < 10
    assert "/f" in said.err and "Traceback" not in said.err and "ha" * 20 not in said.err


def test_a_cut_that_nobody_announced_is_asked_for_once_more(fetched, tmp_path, capsys):
    whole = rss(item("題", "本文。"))
    sent = []

    def answer(request):
        return Answer(b"", 404) if request.path == "/robots.txt" else Answer(whole, 200)

    with Server(answer) as server:

        def silently(handler, answer):
            handler.send_response(200)
            handler.end_headers()  # no length: only the end of the connection tells
            cut = answer.body and (not sent or endless)
            sent.append(1)
            handler.wfile.write(answer.body[: len(whole) // 2] if cut else answer.body)
            handler.close_connection = True

        server._send, endless = silently, False
        argv = ["feeds", f"{server.url}/f", "--contact", "a@example.org", "--gap", "0", "--output-dir"]
        sent.clear()
        server.answer = lambda request: Answer(b"" if request.path == "/robots.txt" else whole)
        assert cli.run(main, [*argv, str(tmp_path / "a")]) == 0
        endless = True
        before = len(server.requests)
        assert cli.run(main, [*argv, str(tmp_path / "b")]) == 4
    assert len(server.requests) - before == 3  # robots.txt, and the same bytes twice
    assert "ends in the middle" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["feeds", "urls"])
def test_a_password_in_an_address_is_used_and_told_to_nobody(verb, tmp_path, capsys):
    def answer(request):
        if request.path == "/robots.txt":
            return Answer(b"", 404)
        if "Authorization" not in request.headers:
            return Answer(b"", 401)
        return Answer(rss(item("題", "本文。")) if verb == "feeds" else "本文。\n".encode())

    with Server(answer) as server:
        places = [
            server.url.replace("//", "//user:sesame@") + path for path in ("/f?api_key=sesame", "/gone?token=sesame")
        ]
        argv = [verb, *places[: 1 if verb == "urls" else 2], "--contact", "a@example.org", "--gap", "0"]
        assert cli.run(main, [*argv, "--output-dir", str(tmp_path / "o")]) == 0
        assert cli.run(main, [*argv, "--dry-run"]) == 0
        refused = Answer(b"", 500)
        server.answer = lambda request: refused
        assert cli.run(main, [*argv, "--tries", "1", "--output-dir", str(tmp_path / "p")]) in (2, 4)
    said = capsys.readouterr()
    assert "sesame" not in said.out + said.err and "http://***@127.0.0.1" in said.out
    assert [one for one in server.requests if one.query.get("api_key") == "sesame"]
    documents = list(sources.read([tmp_path / "o"]))
    assert documents and all("sesame" not in str((one.id, one.meta)) for one in documents)
    assert all(b"sesame" not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_code_keeps_its_indentation_and_blocks_are_lines(fetched):
    body = (
        "<pre>def f():\n    <b>return</b>  1  \n</pre><article><header>題</header>本文<center>中</center>後</article>"
    )
    code, texts, _, _ = fetched(rss(item("例", f"<![CDATA[{body}]]>")))
    assert code == 0 and texts == {"例": "def f():\n    return  1\n題\n本文\n中\n後"}
