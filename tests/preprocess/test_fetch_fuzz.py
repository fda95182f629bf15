"""Answers that are bent at random: a document, a request to ask again, or a sentence; never a crash, never a hang."""

import copy
import datetime
import json
import random

import pytest
from diet_server import Diet, made_up
from fetch_server import FakeClock, Request
from test_fetch_feeds import ATOM, RSS1, RSS2
from test_fetch_wiki import Dumps, Wiki

from haigo.cli import HaigoError
from preprocess.fetch import feed_parse, kokkai, wiki_api, wiki_dump
from preprocess.fetch.client import Client
from preprocess.fetch.hub import Hub
from preprocess.fetch.kokkai import Kokkai
from preprocess.fetch.replies import Again, Reply
from preprocess.fetch.state import Skipped
from preprocess.fetch.wiki_api import MediaWikiApi
from preprocess.sources import Document

DAY = datetime.date(2024, 3, 1)
ODD = [None, True, 0, -1, 2**70, 1.5, "", "x", "\ud800", [], {}, [None], {"a": 1}, [[]], "1", ["x"]]
TOLD = (Again, HaigoError, kokkai._Shifted)
TURNS = 400


def bent(value, rng):
    """A copy with one to three of its parts exchanged, dropped or repeated."""
    value = copy.deepcopy(value)
    for _ in range(rng.randint(1, 3)):
        place = value
        while isinstance(place, dict | list) and place:
            key = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
            inner = place[key]
            if isinstance(inner, dict | list) and inner and rng.random() < 0.8:
                place = inner
                continue
            if rng.random() < 0.2:
                del place[key]
            else:
                place[key] = copy.deepcopy(rng.choice(ODD))
            break
    return value if rng.random() > 0.05 else rng.choice(ODD)


def mangled(body, rng):
    """Bytes cut, exchanged or repeated."""
    body = bytearray(body)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(body) + 1)
        kind = rng.random()
        if kind < 0.4 and at < len(body):
            body[at] = rng.randrange(256)
        elif kind < 0.7:
            del body[at : at + rng.randint(1, 40)]
        else:
            body[at:at] = body[max(0, at - 30) : at]
    return bytes(body)


def replies(value, seed):
    rng = random.Random(seed)
    body = json.dumps(value, ensure_ascii=False).encode()
    for turn in range(TURNS):
        changed = mangled(body, rng) if turn % 4 == 0 else json.dumps(bent(value, rng)).encode()
        yield Reply(rng.choice([200, 200, 200, 400, 500]), {}, changed, "http://x.example/")


@pytest.fixture
def client(tmp_path):
    return Client("a@example.org", clock=FakeClock(), turns_folder=tmp_path)


@pytest.mark.parametrize("endpoint", ["speech", "meeting"])
def test_diet_pages(client, endpoint):
    source = Kokkai(DAY, DAY, endpoint=endpoint)
    query = {"from": "2024-03-01", "until": "2024-03-01", "maximumRecords": "10"}
    page = json.loads(Diet(made_up(days=1, speeches=4))(Request(f"/{endpoint}", query, {}, 0, 1)).body)
    good = 0
    for reply in [*replies(page, 1), *replies({"message": "(19001)", "details": ["a"]}, 2)]:
        try:
            checked = source._checked(client, reply, DAY, kokkai._Walk())
            found = list(source._documents(checked, Skipped(), "2026-11-01"))
        except TOLD:
            continue
        good += 1
        assert all(isinstance(one, Document) and isinstance(one.text, str) for one in found)
    assert good > 5


def test_wiki_answers(client):
    source = MediaWikiApi("http://x.example/api.php")
    site = {"articles": "https://x.example/$1", "licence": "L"}
    query = {"formatversion": "2", "maxlag": "5"}
    page = json.loads(Wiki()(Request("/", query, {}, 0, 1)).body)
    general = json.loads(Wiki()(Request("/", query | {"meta": "siteinfo"}, {}, 0, 1)).body)
    good = 0
    for reply in [*replies(page, 3), *replies({"error": {"code": "maxlag", "info": "x"}}, 4)]:
        try:
            answer = source._answer(client, reply)
            good += sum(1 for _ in source._documents(answer, site, "2026-11-01", Skipped(), set()))
        except TOLD:
            continue
    for reply in replies(general, 5):
        try:
            assert isinstance(wiki_api._site_of(source._answer(client, reply))["articles"], str)
        except TOLD:
            continue
    assert good > 100


def test_listings():
    status = Dumps().status
    for reply in replies(status, 6):
        try:
            pairs = wiki_dump._pairs(reply)
        except TOLD:
            continue
        assert all(set(pair) == {"dump", "index"} and "/" not in pair["dump"]["name"] for pair in pairs)
    described = {
        "sha": "ab" * 20,
        "siblings": [{"rfilename": "a.jsonl"}],
        "cardData": {"license": ["mit"]},
        "tags": ["a"],
    }
    for reply in replies(described, 7):
        try:
            known = Hub("o/d", ["*"])._listed(reply)
        except TOLD:
            continue
        assert isinstance(known["licence"], str) and all(isinstance(path, str) for path in known["files"])


@pytest.mark.parametrize("text", [RSS2, RSS1, ATOM])
def test_feeds(text):
    rng = random.Random(8)
    body = text.replace("{encoding}", "utf-8").encode()
    good = 0
    for _ in range(TURNS):
        try:
            good += len(feed_parse.parse(mangled(body, rng), "f").items)
        except feed_parse.NotAFeed:
            continue
    assert good > 5
