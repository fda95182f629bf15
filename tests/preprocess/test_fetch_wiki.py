"""MediaWiki: multistream dumps in parallel, dumps of one stream, the downloads, and the API."""

import bz2
import functools
import hashlib
import html
import itertools
import json

import pytest
from fetch_server import Answer, FakeClock, Server, as_json, cut, ranged, status

from haigo import files
from haigo.cli import Failed, HaigoError, Refused
from preprocess import fetch, sources
from preprocess.fetch import wiki_dump, wiki_pages
from preprocess.fetch.client import Client
from preprocess.fetch.wiki_api import MediaWikiApi
from preprocess.rules import wikitext

MediaWikiDump = functools.partial(wiki_dump.MediaWikiDump, workers=1)

HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/" version="0.10" xml:lang="ja">
  <siteinfo><sitename>Wikipedia</sitename><dbname>jawiki</dbname>
  <base>https://ja.wikipedia.org/wiki/%E3%83%A1</base></siteinfo>
"""


def pages(count):
    """(id, title, ns, wikitext): every seventh a redirect, every fifth a talk page, one of nothing but markup."""
    for number in range(1, count + 1):
        text = f"'''題{number}'''は[[京都|京]]の{{{{仮リンク|寺|en|x}}}}である。<ref>出典</ref>"
        text += f"\n== 沿革 ==\n本文{number} & 続き。"
        if number % 7 == 0:
            text = "#転送 [[題1]]"
        if number == 3:
            text = "{{Infobox}}"
        yield number, f"題 {number}", 1 if number % 5 == 0 else 0, text


def xml_of(page):
    number, title, ns, text = page
    redirect = '<redirect title="題1" />' if text.startswith("#") else ""
    return (
        f"  <page><title>{html.escape(title)}</title><ns>{ns}</ns><id>{number}</id>{redirect}<revision><id>9</id>"
        f'<text bytes="1" xml:space="preserve">{html.escape(text)}</text></revision></page>\n'
    )


def multistream(count, size=10):
    """A dump and its index, with `size` pages a stream."""
    data = bz2.compress(HEAD.encode())
    lines = []
    everything = list(pages(count))
    for at in range(0, count, size):
        group = everything[at : at + size]
        lines += [f"{len(data)}:{page[0]}:{page[1]}\n" for page in group]
        data += bz2.compress("".join(map(xml_of, group)).encode())
    return data + bz2.compress(b"</mediawiki>\n"), bz2.compress("".join(lines).encode())


def wanted(count):
    return {
        str(number): wikitext.strip(text)
        for number, _, ns, text in pages(count)
        if ns == 0 and not text.startswith("#") and number != 3
    }


def held(folder):
    return list(sources.read([folder]))


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def client(tmp_path, clock):
    return Client("a@example.org", gap_s=1, tries=4, clock=clock, turns_folder=tmp_path / "t")


@pytest.fixture
def dump(tmp_path):
    data, index = multistream(457)
    (tmp_path / "d.xml.bz2").write_bytes(data)
    (tmp_path / "i.txt.bz2").write_bytes(index)
    return tmp_path / "d.xml.bz2", tmp_path / "i.txt.bz2"


def test_articles_only_stripped_signed_and_accounted_for(client, dump, tmp_path):
    card = fetch.fetch_corpus(MediaWikiDump("", file=dump[0], index=dump[1]), tmp_path / "w", client)
    found = held(tmp_path / "w")
    assert {one.id: one.text for one in found} == wanted(457) and len(found) == len(wanted(457))
    one = found[0]
    assert one.meta["licence"] == "CC BY-SA 4.0" and one.meta["title"] == "題 1" and one.meta["markup"] == "plain"
    assert one.meta["origin"] == "https://ja.wikipedia.org/wiki/%E9%A1%8C_1"
    counts = {reason: row["count"] for reason, row in card["skipped"].items()}
    others = [page for page in pages(457) if page[2] == 1]
    assert counts == {
        "other namespace": len(others),
        "redirect": sum(page[2] == 0 and page[3].startswith("#") for page in pages(457)),
        "nothing but markup": 1,
    }
    assert sum(counts.values()) + card["documents"] == 457 and card["requests"] == 0


def test_any_number_of_workers_and_no_index_give_the_same(client, dump, tmp_path):
    shapes = {"a": (dump[1], 1), "b": (dump[1], 2), "c": (None, 1), "d": (None, 2)}
    shards = {}
    for name, (index, workers) in shapes.items():
        source = MediaWikiDump("", file=dump[0], index=index, workers=workers)
        fetch.fetch_corpus(source, tmp_path / name, client)
        shards[name] = (tmp_path / name / "00000.jsonl.zst").read_bytes()
    assert shards["a"] == shards["b"] == shards["c"] == shards["d"]


def test_one_stream_and_wikitext_kept(client, tmp_path):
    plain = HEAD + "".join(map(xml_of, pages(20))) + "</mediawiki>"
    (tmp_path / "one.xml.bz2").write_bytes(bz2.compress(plain.encode()))
    fetch.fetch_corpus(MediaWikiDump("", file=tmp_path / "one.xml.bz2", keep_wikitext=True), tmp_path / "w", client)
    one = held(tmp_path / "w")[0]
    assert one.text.startswith("'''題1'''") and one.meta["markup"] == "wikitext"


def test_goes_on_after_the_pieces_that_it_has(client, dump, tmp_path, monkeypatch):
    monkeypatch.setattr(wiki_pages, "_GROUP", 3)
    fetch.fetch_corpus(MediaWikiDump("", file=dump[0], index=dump[1]), tmp_path / "whole", client)
    real, read = wiki_pages._read_piece, []

    def once(dump, strip, piece):
        if len(read) == 5 and not read.count("stop"):
            read.append("stop")
            raise KeyboardInterrupt
        read.append(piece.start)
        return real(dump, strip, piece)

    monkeypatch.setattr(wiki_pages, "_read_piece", once)
    with pytest.raises(KeyboardInterrupt):
        fetch.fetch_corpus(MediaWikiDump("", file=dump[0], index=dump[1]), tmp_path / "w", client)
    fetch.fetch_corpus(MediaWikiDump("", file=dump[0], index=dump[1]), tmp_path / "w", client)
    assert len(read) == len(set(read)) == 1 + 16
    same = [(tmp_path / name / "00000.jsonl.zst").read_bytes() for name in ("w", "whole")]
    assert same[0] == same[1]


class TestDamaged:
    def run(self, client, folder, data, index):
        (folder / "d.xml.bz2").write_bytes(data)
        (folder / "i.txt.bz2").write_bytes(index)
        source = MediaWikiDump("", file=folder / "d.xml.bz2", index=folder / "i.txt.bz2")
        fetch.fetch_corpus(source, folder / "w", client)

    def test_a_cut_dump(self, client, tmp_path):
        data, index = multistream(60)
        with pytest.raises(HaigoError, match=r"cut short|does not belong"):
            self.run(client, tmp_path, data[:-200], index)

    def test_an_index_of_another_dump(self, client, tmp_path):
        data, _ = multistream(60)
        with pytest.raises(HaigoError):
            self.run(client, tmp_path, data, multistream(60, 7)[1])

    def test_an_index_that_names_more_pages(self, client, tmp_path):
        data, index = multistream(60)
        lines = bz2.decompress(index).decode().splitlines(keepends=True)
        with pytest.raises(HaigoError, match="index says 61"):
            self.run(client, tmp_path, data, bz2.compress("".join([lines[0], *lines]).encode()))

    def test_an_index_that_is_none(self, client, tmp_path):
        with pytest.raises(HaigoError, match="not the index"):
            self.run(client, tmp_path, multistream(20)[0], b"hello\n")

    def test_a_bz2_bomb(self, client, tmp_path, monkeypatch):
        monkeypatch.setattr(wiki_pages, "_MOST_BYTES", 1 << 20)
        head = bz2.compress(HEAD.encode())
        data = head + bz2.compress(b" " * (4 << 20)) + bz2.compress(b"</mediawiki>")
        with pytest.raises(HaigoError, match="unpacks to more"):
            self.run(client, tmp_path, data, f"{len(head)}:1:x\n".encode())

    def test_an_entity_bomb(self, client, tmp_path):
        bomb = (
            '<!DOCTYPE mediawiki [<!ENTITY a "'
            + "x" * 1000
            + '">'
            + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 50}">' for n in range(6))
        )
        page = "<page><title>t</title><ns>0</ns><id>1</id><revision><text>&g;</text></revision></page>"
        (tmp_path / "b.xml").write_text(bomb + "]><mediawiki>" + page + "</mediawiki>")
        with pytest.raises(HaigoError, match="not well-formed"):
            fetch.fetch_corpus(MediaWikiDump("", file=tmp_path / "b.xml"), tmp_path / "w", client)

    def test_no_dump_at_all(self, client, tmp_path):
        (tmp_path / "x").write_text("hello")
        with pytest.raises(HaigoError, match="not a MediaWiki dump"):
            fetch.fetch_corpus(MediaWikiDump("", file=tmp_path / "x"), tmp_path / "w", client)


class Dumps:
    """A dump server with ranges."""

    def __init__(self, status="done"):
        data, index = multistream(120)
        self.date = "20261101"
        base = f"jawiki-{self.date}-pages-articles-multistream"
        self.files = {f"{base}.xml.bz2": data, f"{base}-index.txt.bz2": index}
        facts = {name: {"size": len(one), "sha1": hashlib.sha1(one).hexdigest()} for name, one in self.files.items()}
        self.status = {"jobs": {"articlesmultistreamdump": {"status": status, "files": facts}}}

    def __call__(self, request):
        if request.path == "/jawiki/":
            return Answer(
                b'<a href="../">..</a> <a href="20261020/">x</a> <a href="20261101/">x</a> <a href="20261120/">'
            )
        date, name = request.path.split("/")[2:]
        if date != self.date:
            return Answer(b"", 404)
        return as_json(self.status) if name == "dumpstatus.json" else ranged(self.files[name], request)


def test_the_latest_finished_dump_is_fetched_and_resumed(client, clock, tmp_path):
    dumps = Dumps()
    size = len(dumps.files["jawiki-20261101-pages-articles-multistream.xml.bz2"])
    with Server(dumps, clock) as server:
        server.faults = {5: cut, 6: status(503, Retry_After=5), 7: cut}
        source = MediaWikiDump("jawiki", base_url=server.url)
        card = fetch.fetch_corpus(source, tmp_path / "w", client)
    assert {one.id: one.text for one in held(tmp_path / "w")} == wanted(120)
    ranges = [request.headers.get("Range") for request in server.requests if request.path.endswith("stream.xml.bz2")]
    assert ranges[0] is None and ranges[1] == ranges[2] == f"bytes={size // 2}-"
    assert "dump of 20261101" in card["title"] and card["terms"]
    assert not list((tmp_path / "w" / ".fetch" / "parts").glob("*.part"))


def test_a_wrong_checksum_ends_the_run_and_keeps_nothing(client, clock, tmp_path):
    dumps = Dumps()
    for facts in dumps.status["jobs"]["articlesmultistreamdump"]["files"].values():
        facts["sha1"] = "0" * 40
    with Server(dumps, clock) as server, pytest.raises(Failed, match="checksum"):
        fetch.fetch_corpus(MediaWikiDump("jawiki", base_url=server.url), tmp_path / "w", client)
    assert [one.name for one in (tmp_path / "w" / ".fetch" / "parts").iterdir() if one.name != ".haigo"] == []


def test_a_dump_in_the_making_is_waited_for(client, clock, tmp_path):
    with Server(Dumps("in-progress"), clock) as server, pytest.raises(HaigoError, match="has its articles ready"):
        fetch.fetch_corpus(MediaWikiDump("jawiki", base_url=server.url), tmp_path / "w", client)


@pytest.mark.parametrize("name", ["../../x-multistream.xml.bz2", "a/b-multistream.xml.bz2", "x?-multistream.xml"])
def test_names_that_leave_their_place_are_not_followed(client, clock, tmp_path, name):
    dumps = Dumps()
    other = name.replace("-multistream", "-multistream-index").replace(".xml", ".txt")
    dumps.status["jobs"]["articlesmultistreamdump"]["files"] = {name: {}, other: {}}
    with Server(dumps, clock) as server, pytest.raises(HaigoError, match="ready"):
        fetch.fetch_corpus(MediaWikiDump("jawiki", base_url=server.url), tmp_path / "w", client)


@pytest.mark.parametrize("wiki", ["", "../x", "jawiki/20260101", "JA"])
def test_a_wiki_that_is_none(wiki):
    with pytest.raises(HaigoError, match="not a wiki's name"):
        MediaWikiDump(wiki)


def test_a_site_of_which_nothing_is_known_has_no_licence(client, tmp_path):
    plain = HEAD.replace("ja.wikipedia.org", "wiki.example.org") + "".join(map(xml_of, pages(2))) + "</mediawiki>"
    (tmp_path / "one.xml").write_text(plain)
    card = fetch.fetch_corpus(MediaWikiDump("", file=tmp_path / "one.xml"), tmp_path / "w", client)
    assert card["licences"] == {"not stated": 2}


def test_the_real_pages(client, corpora, tmp_path):
    path = corpora / "wiki_ja" / "jawiki-country-pages-articles.xml.bz2"
    fetch.fetch_corpus(MediaWikiDump("", file=path, keep_wikitext=True), tmp_path / "w", client)
    assert [one.text for one in held(tmp_path / "w")] == [one.text for one in sources.read([path])]


class Wiki:
    """api.php over the pages, a few an answer, long texts in a second answer."""

    def __init__(self, count=40, size=7, models=None):
        self.models = models or {}
        self.pages = [page for page in pages(count) if page[2] == 0]
        self.size = size

    def __call__(self, request):
        query = request.query
        assert query["formatversion"] == "2" and query["maxlag"] == "5"
        if query.get("meta") == "siteinfo":
            general = {"sitename": "試験", "base": "https://w.example/wiki/Main", "articlepath": "/wiki/$1"}
            return as_json(
                {"query": {"general": general, "rightsinfo": {"url": "https://cc.example/by", "text": "CC BY"}}}
            )
        start = int(query.get("gapcontinue", "0"))
        late = "rvcontinue" in query
        group = self.pages[start : start + self.size]
        shown = []
        for number, (page, title, ns, text) in enumerate(group):
            one = {"pageid": page, "ns": ns, "title": title}
            if (number >= 4) == late:
                main = {"contentmodel": self.models.get(page, "wikitext"), "content": text}
                one["revisions"] = [{"revid": page * 10, "timestamp": "2026-01-01T00:00:00Z", "slots": {"main": main}}]
            shown.append(one)
        answer = {"query": {"pages": shown}}
        if not late and len(group) > 4:
            return as_json(answer | {"continue": {"rvcontinue": "1", "gapcontinue": str(start), "continue": "||"}})
        answer["batchcomplete"] = True
        if start + self.size < len(self.pages):
            answer["continue"] = {"gapcontinue": str(start + self.size), "continue": "gapcontinue||"}
        return as_json(answer)


def lagging(request, answer):
    body = {"error": {"code": "maxlag", "info": "Waiting for a server"}}
    return Answer(json.dumps(body).encode(), 200, {"Retry-After": "5"})


def test_the_api_is_followed_to_its_end(client, clock, tmp_path):
    wiki = Wiki()
    with Server(wiki, clock) as server:
        server.faults = {2: lagging, 4: cut, 6: status(429), 8: lambda request, answer: Answer(b"<html>")}
        card = fetch.fetch_corpus(MediaWikiApi(f"{server.url}/w/api.php"), tmp_path / "w", client)
    found = held(tmp_path / "w")
    assert {one.id: one.text for one in found} == wanted(40) and len(found) == len(wanted(40))
    assert found[0].meta["licence"] == "CC BY https://cc.example/by"
    assert found[0].meta["origin"] == "https://w.example/wiki/%E9%A1%8C_1" and found[0].meta["revision"] == 10
    assert server.requests[2].at - server.requests[1].at >= 5
    assert card["skipped"]["redirect"]["count"] == sum(text.startswith("#") for *_, text in wiki.pages)
    assert card["repeated_requests"]["the API is busy (maxlag)"] == 1


def test_the_api_gives_no_style_sheets_for_articles_and_counts_lost_sentences(client, clock, tmp_path):
    wiki = Wiki(8, models={1: "css", 4: "json"})
    wiki.pages = [(*page[:3], page[3] + "\n面積は{{謎}}である。") if page[0] == 2 else page for page in wiki.pages]
    with Server(wiki, clock) as server:
        card = fetch.fetch_corpus(MediaWikiApi(f"{server.url}/w/api.php"), tmp_path / "w", client)
    found = {one.id: one.text for one in held(tmp_path / "w")}
    assert set(found) == set(wanted(8)) - {"1", "4"} and "面積" not in found["2"]
    assert card["skipped"]["page that is no wikitext"]["count"] == 2
    assert card["skipped"][wiki_pages.HOLES] == {"count": 1, "samples": ["謎"]}


def test_the_api_goes_on_where_it_was(client, clock, tmp_path):
    with Server(Wiki(), clock) as server:
        source = MediaWikiApi(f"{server.url}/w/api.php", max_documents=10)
        fetch.fetch_corpus(source, tmp_path / "w", client)
        fetch.fetch_corpus(MediaWikiApi(f"{server.url}/w/api.php"), tmp_path / "w", client)
        count = len(server.requests)
        fetch.fetch_corpus(MediaWikiApi(f"{server.url}/w/api.php"), tmp_path / "w", client)
    asked = [json.dumps(request.query, sort_keys=True) for request in server.requests]
    assert len(asked) == len(set(asked)) == count
    assert {one.id for one in held(tmp_path / "w")} == set(wanted(40))


def test_pages_of_another_namespace_are_noticed(client, clock, tmp_path):
    wiki = Wiki()
    wiki.pages = list(pages(20))
    with Server(wiki, clock) as server, pytest.raises(Refused, match="namespace 1"):
        fetch.fetch_corpus(MediaWikiApi(f"{server.url}/w/api.php"), tmp_path / "w", client)


@pytest.mark.parametrize("places", ["a", "abc"])
def test_an_api_that_goes_in_circles_is_left(client, clock, tmp_path, places):
    onward = itertools.cycle(places)

    def circle(request):
        if request.query.get("meta"):
            return Wiki()(request)
        return as_json({"query": {"pages": []}, "continue": {"gapcontinue": next(onward)}})

    with Server(circle, clock) as server, pytest.raises(HaigoError, match="again and again"):
        fetch.fetch_corpus(MediaWikiApi(f"{server.url}/w/api.php"), tmp_path / "w", client)


def test_an_error_of_the_api_is_told(client, clock, tmp_path):
    error = as_json({"error": {"code": "readapidenied", "info": "You need read permission"}})
    with Server(lambda request: error, clock) as server, pytest.raises(HaigoError, match="read permission"):
        fetch.fetch_corpus(MediaWikiApi(f"{server.url}/w/api.php"), tmp_path / "w", client)
    with pytest.raises(HaigoError, match=r"api\.php"):
        MediaWikiApi("https://ja.wikipedia.org/")
    assert not (tmp_path / "w" / "DATA_CARD.json").exists() and files  # nothing that looks finished
