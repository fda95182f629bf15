"""Files of servers: the hub's and plain addresses, read while they come, resumed at the byte, bounded."""

import contextlib
import gzip
import io
import json
import random
import tarfile

import pytest
import zstandard
from fetch_server import Answer, FakeClock, Server, as_json, cut, ranged, silent, status

from haigo import files
from haigo.cli import Failed, HaigoError
from preprocess import fetch, sources
from preprocess.fetch import datafile
from preprocess.fetch.client import Client
from preprocess.fetch.download import Changed, Download
from preprocess.fetch.hub import Hub
from preprocess.fetch.replies import TooLarge
from preprocess.fetch.state import Skipped, Store
from preprocess.fetch.urls import Urls

SHA = "ab" * 20


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def client(tmp_path, clock):
    return Client("a@example.org", gap_s=1, tries=4, clock=clock, turns_folder=tmp_path / "t")


def held(folder):
    return list(sources.read([folder]))


def rows(count, seed):
    rng = random.Random(seed)
    return [
        {
            "text": f"文書{seed}の{n}。" + "".join(rng.choices("山川雨雪京都", k=80)),
            "url": f"https://p.example/{n}",
            "n": n,
        }
        for n in range(count)
    ]


def jsonl(some):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in some).encode()


class HubServer:
    """The hub: one data set, its files behind a redirect to another place."""

    def __init__(self, named):
        self.named, self.version = named, '"v1"'

    def __call__(self, request):
        if request.path == "/api/datasets/o/d/revision/main":
            listed = [{"rfilename": name} for name in ["README.md", *self.named]]
            return as_json({"sha": SHA, "siblings": listed, "cardData": {"license": "odc-by"}, "tags": []})
        if request.path.startswith(f"/datasets/o/d/resolve/{SHA}/"):
            return Answer(b"", 302, {"Location": "/store" + request.path.removeprefix(f"/datasets/o/d/resolve/{SHA}")})
        return ranged(self.named[request.path.removeprefix("/store/")], request, self.version)


@pytest.fixture
def mc4():
    return {
        f"multilingual/c4-ja.tfrecord-0000{n}-of-00003.json.gz": gzip.compress(jsonl(rows(2500, n))) for n in range(3)
    }


PATTERN = "multilingual/c4-ja.*.json.gz"


def hub(server, **options):
    return Hub("o/d", options.pop("files", [PATTERN]), base_url=server.url, **options)


def test_every_row_with_origin_and_licence(client, clock, mc4, tmp_path):
    with Server(HubServer(mc4), clock) as server:
        card = fetch.fetch_corpus(hub(server), tmp_path / "c", client)
    found = held(tmp_path / "c")
    assert [one.text for one in found] == [row["text"] for n in range(3) for row in rows(2500, n)]
    one = found[1]
    assert one.id == "o/d/multilingual/c4-ja.tfrecord-00000-of-00003.json.gz:2" and one.meta["n"] == 1
    assert one.meta["origin"] == "https://p.example/1" and one.meta["licence"] == "odc-by"
    assert card["documents"] == 7500 and SHA in card["title"] and len(server.requests) == 1 + 3 * 2 == card["requests"]


def test_broken_connections_lose_no_row_and_fetch_no_byte_twice(client, clock, mc4, tmp_path):
    with Server(HubServer(mc4), clock) as server:
        server.faults = {3: cut, 5: cut, 7: silent, 9: status(503, Retry_After=2), 12: cut}
        fetch.fetch_corpus(hub(server), tmp_path / "c", client)
    assert [one.text for one in held(tmp_path / "c")] == [row["text"] for n in range(3) for row in rows(2500, n)]
    ranges = [request.headers["Range"] for request in server.requests if "Range" in request.headers]
    assert len(ranges) >= 6 and all(
        request.headers["If-Range"] == '"v1"' for request in server.requests if "Range" in request.headers
    )


def test_stopped_anywhere_it_goes_on_without_a_byte_twice(client, clock, mc4, tmp_path, monkeypatch):
    monkeypatch.setattr("preprocess.fetch.datafile._BATCH", 700)
    with Server(HubServer(mc4), clock) as server:
        fetch.fetch_corpus(hub(server), tmp_path / "whole", client)
    real = Store.commit
    with Server(HubServer(mc4), clock) as server:
        for stop in range(1, 60):
            left = iter(range(2 + stop % 2))

            def commit(self, found=(), state=None, left=left):
                if found and next(left, None) is None:
                    raise KeyboardInterrupt  # before or after what was committed, never in between
                return real(self, found, state)

            monkeypatch.setattr(Store, "commit", commit)
            try:
                fetch.fetch_corpus(hub(server), tmp_path / "c", client)
                break
            except KeyboardInterrupt:
                pass
    assert stop > 3
    same = [(tmp_path / name / "00000.jsonl.zst").read_bytes() for name in ("c", "whole")]
    assert same[0] == same[1]
    asked = [(one.path, one.headers.get("Range")) for one in server.requests if one.path.startswith("/store/")]
    assert len(asked) == len(set(asked))


def test_a_limit_stops_early_and_a_larger_one_goes_on(client, clock, mc4, tmp_path):
    with Server(HubServer(mc4), clock) as server:
        card = fetch.fetch_corpus(hub(server, max_documents=300), tmp_path / "c", client)
        assert card["documents"] == 300 and not card["complete"]
        card = fetch.fetch_corpus(hub(server, max_documents=2700), tmp_path / "c", client)
        assert card["documents"] == 2700
        fetch.fetch_corpus(hub(server), tmp_path / "c", client)
    assert [one.text for one in held(tmp_path / "c")] == [row["text"] for n in range(3) for row in rows(2500, n)]
    assert sum(request.path.startswith("/api/") for request in server.requests) == 1


def test_a_server_without_ranges(client, clock, mc4, tmp_path):
    hub_server = HubServer(mc4)

    def answer(request):
        request.headers.pop("Range", None)
        return hub_server(request)

    with Server(answer, clock) as server:
        server.faults = {3: cut, 5: cut}
        fetch.fetch_corpus(hub(server), tmp_path / "c", client)
    assert len(held(tmp_path / "c")) == 7500


def test_parquet_comes_whole(client, clock, tmp_path):
    import pyarrow
    import pyarrow.parquet

    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows(1200, 1)), buffer)
    with Server(HubServer({"data/a.parquet": buffer.getvalue()}), clock) as server:
        server.faults = {3: cut}
        fetch.fetch_corpus(hub(server, files=["data/*.parquet"]), tmp_path / "c", client)
    found = held(tmp_path / "c")
    assert [one.text for one in found] == [row["text"] for row in rows(1200, 1)]
    assert len({one.id for one in found}) == 1200


def test_broken_rows_are_counted_once_and_passed_over(client, clock, tmp_path, monkeypatch):
    monkeypatch.setattr("preprocess.fetch.datafile._BATCH", 10)
    body = jsonl(rows(25, 1)) + b'{"text": broken\n{"no": 1}\n[1]\n\n' + jsonl(rows(25, 2))
    with Server(HubServer({"a.jsonl.zst": zstandard.compress(body)}), clock) as server:
        fetch.fetch_corpus(hub(server, files=["*.zst"], max_documents=30), tmp_path / "c", client)
        card = fetch.fetch_corpus(hub(server, files=["*.zst"]), tmp_path / "c", client)
    assert card["documents"] == 50 and card["skipped"]["not a row with text"]["count"] == 3
    assert "line 26" in card["skipped"]["not a row with text"]["samples"][0]


def test_a_wrong_text_key_is_told(client, clock, mc4, tmp_path):
    with Server(HubServer(mc4), clock) as server, pytest.raises(HaigoError, match="no key 'content'"):
        fetch.fetch_corpus(hub(server, text_key="content"), tmp_path / "c", client)


@pytest.mark.parametrize("repo", ["c4", "../x", "a/b/c", "a/..", "a/b?x"])
def test_names_that_are_none(repo):
    with pytest.raises(HaigoError, match="not a data set's name"):
        Hub(repo, ["*"])


def test_a_pattern_that_matches_nothing(client, clock, mc4, tmp_path):
    with Server(HubServer(mc4), clock) as server, pytest.raises(HaigoError, match="no data file that matches"):
        fetch.fetch_corpus(hub(server, files=["en/*.gz"]), tmp_path / "c", client)


def test_names_from_the_server_touch_no_path(client, clock, tmp_path):
    name = "../../../../escaped.json.gz"
    with Server(lambda request: HubServer({name: gzip.compress(jsonl(rows(3, 1)))})(request), clock) as server:
        with contextlib.suppress(HaigoError):
            fetch.fetch_corpus(hub(server, files=["*"]), tmp_path / "deep" / "c", client)
    inside = tmp_path / "deep" / "c"
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and inside not in path.parents]
    assert all(path.parent.name == "t" for path in outside)


class TestDownload:
    DATA = random.Random(1).randbytes(300_000)

    def get(self, client, server, folder, **options):
        with Download(client, f"{server.url}/f", folder, max_bytes=options.pop("max_bytes", 1 << 30), **options) as one:
            return one.finish().read_bytes()

    def test_a_file_that_changes_is_noticed(self, client, clock, tmp_path):
        with Server(lambda request: ranged(self.DATA, request, f'"{request.number}"'), clock) as server:
            server.faults = {1: cut}
            with pytest.raises(Changed):
                self.get(client, server, tmp_path)

    def test_a_file_that_changes_is_begun_anew_where_that_is_asked_for(self, client, clock, tmp_path):
        def answer(request):
            return ranged(self.DATA[: 100_000 * request.number], request, f'"{request.number}"')

        with Server(answer, clock) as server:
            server.faults = {1: cut}
            with Download(client, f"{server.url}/f", tmp_path, max_bytes=1 << 30) as one:
                assert one.finish(restarts=1).read_bytes() == self.DATA
                assert one.size == one.have == len(self.DATA)
        assert [request.headers.get("If-Range") for request in server.requests] == [None, '"1"', None]

    @pytest.mark.parametrize("length", [300_000, 299_999])
    def test_only_the_end_was_not_heard_of(self, client, clock, tmp_path, length):
        """All bytes came, and nothing said that it was all: the answer to what follows does."""

        def answer(request):
            if "Range" in request.headers:
                return Answer(b"", 416, {"Content-Range": f"bytes */{length}"})
            return Answer(self.DATA, chunked=True, cut=0)

        with Server(answer, clock) as server:
            if length == len(self.DATA):
                assert self.get(client, server, tmp_path) == self.DATA
            else:
                with pytest.raises(Changed):
                    self.get(client, server, tmp_path)
        assert len(server.requests) == 2

    def test_a_range_that_is_another(self, client, clock, tmp_path):
        def other(request, answer):
            answer.headers["Content-Range"] = "bytes 5-9/300000"
            return answer

        with Server(lambda request: ranged(self.DATA, request), clock) as server:
            server.faults = {1: cut, 2: other}
            assert self.get(client, server, tmp_path) == self.DATA

    def test_larger_than_allowed(self, client, clock, tmp_path):
        with Server(lambda request: ranged(self.DATA, request), clock) as server, pytest.raises(TooLarge):
            self.get(client, server, tmp_path, max_bytes=1000)

    def test_a_part_without_its_facts_is_not_believed(self, client, clock, tmp_path):
        with Server(lambda request: ranged(self.DATA, request), clock) as server:
            with Download(client, f"{server.url}/f", tmp_path, max_bytes=1 << 30) as one:
                one.part.write_bytes(b"rubbish")
            assert self.get(client, server, tmp_path) == self.DATA

    def test_gives_up_and_keeps_what_came(self, client, clock, tmp_path):
        with Server(lambda request: ranged(self.DATA, request), clock) as server:
            server.faults = {1: cut} | dict.fromkeys(range(2, 9), silent)
            with pytest.raises(Failed, match="150,000 bytes are kept"):
                self.get(client, server, tmp_path)
            server.faults = {}
            assert self.get(client, server, tmp_path) == self.DATA
        assert server.requests[-1].headers["Range"] == "bytes=150000-"

    def test_without_a_length(self, client, clock, tmp_path):
        with Server(lambda request: Answer(self.DATA, chunked=True), clock) as server:
            assert self.get(client, server, tmp_path) == self.DATA


def page(body, kind="text/html", code=200):
    return lambda request: (
        Answer(b"", 404) if request.path == "/robots.txt" else Answer(body, code, {"Content-Type": kind})
    )


class TestUrls:
    @pytest.fixture
    def get(self, clock, tmp_path):
        def call(urls, name="u", **options):
            ask = Client("a@example.org", gap_s=1, tries=3, clock=clock, obey_robots=True, turns_folder=tmp_path / "t")
            return fetch.fetch_corpus(Urls(urls, **options), tmp_path / name, ask)

        return call

    def test_a_page(self, get, clock, tmp_path):
        text = "<html><head><meta charset='Shift_JIS'><title>題</title></head><body><nav>x</nav><p>本文です。</p></body></html>"
        with Server(page(text.encode("cp932")), clock) as server:
            card = get([f"{server.url}/a#part", f"{server.url}/a"], licence="CC0")
        (one,) = held(tmp_path / "u")
        assert (one.id, one.text, one.meta["title"]) == (f"{server.url}/a", "本文です。", "題")
        assert one.meta["licence"] == "CC0" and one.meta["origin"] == one.id and card["requests"] == 2

    def test_texts_data_and_tars(self, get, clock, tmp_path):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for name in ("a.txt", "../../out.txt", "/abs.txt"):
                data = f"{name}の本文".encode()
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        bodies = {
            "/t.txt": "一つ目の文書。\n\n\n二つ目の文書。".encode("euc_jp"),
            "/d.jsonl.gz": gzip.compress(jsonl(rows(1500, 1))),
            "/x.tar.gz": packed.getvalue(),
        }

        def answer(request):
            return ranged(bodies[request.path], request) if request.path in bodies else Answer(b"", 404)

        with Server(answer, clock) as server:
            server.faults = {3: cut}
            card = get([server.url + name for name in bodies])
            count = len(server.requests)
            get([server.url + name for name in bodies])
            assert len(server.requests) == count
        found = held(tmp_path / "u")
        assert card["documents"] == len(found) == len({one.id for one in found}) == 2 + 1500 + 3
        assert {one.text for one in found[:2]} == {"一つ目の文書。", "二つ目の文書。"}
        inside = tmp_path / "u"
        assert all(
            path.parent.name == "t" for path in tmp_path.rglob("*") if path.is_file() and inside not in path.parents
        )

    def test_what_is_not_served_is_left_out_and_what_gave_no_answer_is_tried_again(self, get, clock, tmp_path):
        down = [True]

        def answer(request):
            if request.path in ("/robots.txt", "/gone"):
                return Answer(b"", 404)
            return Answer(b"", 503) if request.path == "/down" and down[0] else Answer("文書です。".encode())

        with Server(answer, clock) as server:
            urls = [f"{server.url}/{name}" for name in ("gone", "down", "there")]
            with pytest.raises(Failed, match="1 of what was asked"):
                get(urls)
            card = files.read_json(tmp_path / "u" / "DATA_CARD.json")
            assert card["documents"] == 1 and not card["complete"] and card["skipped"]["not served"]["count"] == 1
            down[0] = False
            before = len(server.requests)
            card = get(urls)
        assert card["documents"] == 2 and card["complete"]
        assert [request.path for request in server.requests[before:]] == ["/robots.txt", "/down"]

    def test_bombs(self, get, clock, monkeypatch):
        monkeypatch.setattr(datafile, "_SMALL", 1 << 20)
        with Server(page(gzip.compress(b"a" * (8 << 20))), clock) as server, pytest.raises(Failed, match="200 times"):
            get([f"{server.url}/bomb"])

    def test_addresses_that_are_none(self, clock):
        for bad in ([], ["ftp://x.example/a"], ["a.txt"]):
            with pytest.raises(HaigoError):
                Urls(bad)


def test_a_line_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(datafile, "_LINE", 1000)
    raw = io.BytesIO(jsonl([{"text": "x"}]) + b'{"text": "' + b"a" * 5000)
    with pytest.raises(HaigoError, match="line 2"):
        list(datafile.lines(raw, "f", "f", "text", Skipped()))


def test_ids_of_rows_are_kept_beside_the_place():
    raw = io.BytesIO(jsonl([{"id": "a7", "text": "x"}, {"id": 3, "text": "y", "meta": {"k": 1}}]))
    one, two = datafile.lines(raw, "f", "key", "text", Skipped())
    assert one.id == "key:1" and one.meta["source_id"] == "a7" and two.id == "key:2" and two.meta == {"k": 1}
