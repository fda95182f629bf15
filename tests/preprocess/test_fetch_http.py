"""The polite client: pauses, patience, limits, robots.txt, and what it makes of everything that goes wrong."""

import dataclasses
import email.utils
import gzip
import itertools
import threading
import time

import pytest
from fetch_server import (
    Answer,
    FakeClock,
    Server,
    broken_gzip,
    cut,
    cut_chunked,
    not_gzip,
    packed,
    silent,
    status,
)

from haigo.cli import Failed, HaigoError
from preprocess.fetch import guard
from preprocess.fetch import replies as http
from preprocess.fetch.client import Client
from preprocess.fetch.replies import Again, NotServed, TooLarge
from preprocess.fetch.robots import Disallowed
from preprocess.fetch.turns import Clock, Turns


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def client(clock, tmp_path):
    return Client("a@example.org", gap_s=3.0, clock=clock, turns_folder=tmp_path / "turns")


BODY = "あいうえお".encode() * 1000


def plain(request):
    return Answer(BODY)


def test_says_who_asks_and_takes_gzip(client, clock):
    with Server(lambda request: packed(Answer(BODY)), clock) as server:
        assert client.get(server.url, read=http.ok).body == BODY
    headers = server.requests[0].headers
    assert headers["User-Agent"].startswith("haigo/") and "a@example.org" in headers["User-Agent"]
    assert headers["Accept-Encoding"] == "gzip" and "Cookie" not in headers


@pytest.mark.parametrize(
    "contact", ["", "someone", "a@b", "a b@example.org", "a@example.org\r\nX: y", "http://x", "あ@例.jp"]
)
def test_a_contact_that_reaches_nobody_is_refused(contact):
    with pytest.raises(HaigoError):
        Client(contact)


def test_one_at_a_time_with_a_pause_after_each(client, clock):
    with Server(plain, clock) as server:
        for _ in range(4):
            client.get(server.url, read=http.ok)
    times = [request.at for request in server.requests]
    assert [round(after - before, 2) for before, after in itertools.pairwise(times)] == [3.0] * 3
    assert server.most_at_once == 1


def test_the_pause_holds_across_clients_of_one_machine(clock, tmp_path):
    with Server(plain, clock) as server:
        for _ in range(3):
            Client("a@example.org", gap_s=5, clock=clock, turns_folder=tmp_path).get(server.url, read=http.ok)
    times = [request.at for request in server.requests]
    assert times[1] - times[0] >= 5 and times[2] - times[1] >= 5


def test_two_at_once_take_turns(tmp_path):
    def slow(request):
        time.sleep(0.1)
        return Answer(b"x")

    with Server(slow) as server:
        ask = [Client("a@example.org", gap_s=0.05, turns_folder=tmp_path) for _ in range(3)]
        threads = [threading.Thread(target=one.get, args=(server.url,), kwargs={"read": http.ok}) for one in ask]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(server.requests) == 3 and server.most_at_once == 1


def test_a_clock_set_back_stops_nobody_for_long(clock, tmp_path):
    turns = Turns(clock, tmp_path, longest_s=100)
    with turns.turn("h", 10_000):
        pass
    with turns.turn("h", 1):
        pass
    assert clock.slept == [100]


def test_hosts_of_the_internet_get_a_second_at_least(clock, tmp_path, monkeypatch):
    client = Client("a@example.org", gap_s=0.0, clock=clock, turns_folder=tmp_path)
    monkeypatch.setattr(guard, "is_private", lambda host: False)
    with Server(plain, clock) as server:
        client.get(server.url, read=http.ok)
        client.get(server.url, read=http.ok)
    assert server.requests[1].at - server.requests[0].at >= 1.0


@pytest.mark.parametrize(
    "fault", [cut, cut_chunked, broken_gzip, not_gzip, silent, *map(status, (408, 429, 500, 502, 503, 504))]
)
def test_what_is_no_answer_is_asked_for_again(client, clock, fault):
    with Server(plain, clock) as server:
        server.faults = {1: fault, 2: fault}
        assert client.get(server.url, read=http.ok).body == BODY
    assert len(server.requests) == 3 and sum(client.repeats.values()) == 2
    waits = [server.requests[n + 1].at - server.requests[n].at for n in (0, 1)]
    assert waits[0] >= 3.0 and waits[1] >= 4.0  # at least the pause, and growing


def test_cut_chunks_and_gzip_cut_short_are_told_apart(client, clock):
    with Server(plain, clock) as server:
        server.faults = {1: cut, 2: broken_gzip, 3: cut_chunked}
        client.get(server.url, read=http.ok)
    assert client.repeats == {"the reply was cut short": 2, "gzip cut short": 1}


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_heeded(client, clock, code, form):
    value = "77" if form == "seconds" else email.utils.formatdate(clock.time() + 77, usegmt=True)
    with Server(plain, clock) as server:
        server.faults = {1: status(code, Retry_After=value)}
        client.get(server.url, read=http.ok)
    assert 76 <= server.requests[1].at - server.requests[0].at <= 80


def test_retry_after_holds_for_other_clients_too(clock, tmp_path):
    first, second = (Client("a@example.org", tries=1, clock=clock, turns_folder=tmp_path) for _ in range(2))
    with Server(plain, clock) as server:
        server.faults = {1: status(503, Retry_After=500)}
        with pytest.raises(Failed):
            first.get(server.url, read=http.ok)
        second.get(server.url, read=http.ok)
    assert server.requests[1].at - server.requests[0].at >= 500


@pytest.mark.parametrize("value", ["", "soon", "-5", "1e9", "9" * 30, "Wed, 99 Foo 2026 99:99:99 GMT"])
def test_a_retry_after_that_says_nothing_is_none(value):
    assert http.retry_after(value, 0.0) is None


def test_a_date_in_the_past_is_now():
    assert http.retry_after("Wed, 21 Oct 2015 07:28:00 GMT", 2e9) == 0.0


def test_a_server_that_wants_a_day_ends_the_run(client, clock):
    with Server(plain, clock) as server:
        server.faults = {1: status(429, Retry_After=86400)}
        with pytest.raises(Failed, match="1,440 minutes"):
            client.get(server.url, read=http.ok)
    assert clock.slept == []


def test_gives_up_with_a_sentence(client, clock):
    with Server(lambda request: Answer(b"", 503), clock) as server:
        with pytest.raises(Failed, match=r"no usable answer in 6 tries.*HTTP 503"):
            client.get(server.url, read=http.ok)
        assert len(server.requests) == 6


def test_no_server_at_all(client):
    with Server(plain) as server:
        url = server.url
    with pytest.raises(Failed, match="6 tries"):
        client.get(url, read=http.ok)


@pytest.mark.parametrize("code", [401, 403, 404, 410, 451])
def test_what_is_not_served_is_not_asked_for_again(client, clock, code):
    with Server(lambda request: Answer(b"", code), clock) as server:
        with pytest.raises(NotServed):
            client.get(server.url, read=http.ok)
        assert len(server.requests) == 1


def test_a_reader_may_ask_again(client, clock):
    seen = []

    def read(reply):
        seen.append(reply)
        if len(seen) < 3:
            raise Again("not yet")
        return "done"

    with Server(plain, clock) as server:
        assert client.get(server.url, read=read) == "done"
    assert client.repeats == {"not yet": 2}


@pytest.mark.parametrize("announced", [True, False])
def test_a_reply_too_large_is_refused(client, clock, announced):
    with Server(lambda request: Answer(b"x" * 5000, chunked=not announced), clock) as server, pytest.raises(TooLarge):
        client.get(server.url, read=http.ok, max_bytes=4000)


def test_a_gzip_bomb_is_refused(client, clock):
    bomb = gzip.compress(b"\0" * (200 << 20))
    assert len(bomb) < 300_000
    began = time.process_time()
    with Server(lambda request: Answer(bomb, headers={"Content-Encoding": "gzip"}), clock) as server:
        with pytest.raises(TooLarge):
            client.get(server.url, read=http.ok, max_bytes=1 << 20)
    assert time.process_time() - began < 2


def test_gzip_of_several_members(client, clock):
    body = gzip.compress(b"ab") + gzip.compress(b"cd")
    with Server(lambda request: Answer(body, headers={"Content-Encoding": "gzip"}), clock) as server:
        assert client.get(server.url, read=http.ok).body == b"abcd"


def test_redirects_are_followed_one_by_one(client, clock):
    def answer(request):
        step = int(request.path.removeprefix("/") or 0)
        return Answer(b"here") if step == 3 else Answer(b"", 302, {"Location": f"/{step + 1}"})

    with Server(answer, clock) as server:
        reply = client.get(f"{server.url}/0", read=http.ok)
    assert reply.body == b"here" and reply.url.endswith("/3") and client.requests == 4
    assert server.requests[3].at - server.requests[0].at >= 9.0


@pytest.mark.parametrize("target", ["/", "ftp://example.org/x", "file:///etc/passwd", "http://[bad"])
def test_redirects_that_lead_nowhere(client, clock, target):
    with Server(lambda request: Answer(b"", 302, {"Location": target}), clock) as server, pytest.raises(HaigoError):
        client.get(f"{server.url}/", read=http.ok)


def test_a_redirect_into_this_network_is_refused(client, clock, monkeypatch):
    with Server(lambda request: Answer(b"", 302, {"Location": "http://169.254.169.254/latest"}), clock) as server:
        monkeypatch.setattr(guard, "is_private", lambda host: host != "127.0.0.1")
        with pytest.raises(HaigoError, match="inside this network"):
            client.get(server.url, read=http.ok)


def test_no_cookie_is_kept_and_no_body_of_a_redirect_read(client, clock):
    headers = {"Location": "/there", "Set-Cookie": "a=b"}

    def answer(request):
        return Answer(b"x") if request.path == "/there" else Answer(gzip.compress(b"y" * 5000), 302, headers)

    with Server(answer, clock) as server:
        server.faults = {1: lambda request, answer: dataclasses.replace(answer, cut=3)}
        assert client.get(server.url, read=http.ok, max_bytes=10).body == b"x"
    assert "Cookie" not in server.requests[1].headers and not client.repeats


def test_a_key_stays_with_its_host(client, clock):
    with Server(plain, clock) as other:
        target = other.url.replace("127.0.0.1", "localhost")
        with Server(lambda request: Answer(b"", 302, {"Location": target}), clock) as server:
            client.get(server.url, read=http.ok, headers={"Authorization": "Bearer x"})
    assert server.requests[0].headers["Authorization"] == "Bearer x"
    assert "Authorization" not in other.requests[0].headers


@pytest.mark.parametrize(
    ("host", "private"),
    [("localhost", True), ("10.1.2.3", True), ("::1", True), ("169.254.169.254", True), ("example.org", False)],
)
def test_what_is_private(host, private):
    assert guard.is_private(host) is private


class TestRobots:
    RULES = (
        b"User-agent: *\nDisallow: /private\nAllow: /private/open\nCrawl-delay: 7\n\n"
        b"User-agent: haigo\nDisallow: /not-haigo\n"
    )

    def client(self, clock, folder):
        return Client("a@example.org", gap_s=0, clock=clock, obey_robots=True, turns_folder=folder)

    def answer(self, rules=RULES, code=200):
        return lambda request: Answer(rules, code) if request.path == "/robots.txt" else Answer(b"page")

    def test_asked_once_and_obeyed(self, clock, tmp_path):
        client = self.client(clock, tmp_path)
        with Server(self.answer(), clock) as server:
            assert client.get(f"{server.url}/private", read=http.ok).body == b"page"  # its own group counts, not *
            with pytest.raises(Disallowed):
                client.get(f"{server.url}/not-haigo/x", read=http.ok)
        assert [request.path for request in server.requests] == ["/robots.txt", "/private"]

    def test_longest_rule_wins_and_delay_is_heeded(self, clock, tmp_path):
        client = self.client(clock, tmp_path)
        with Server(self.answer(self.RULES.split(b"\n\n")[0]), clock) as server:
            client.get(f"{server.url}/private/open", read=http.ok)
            client.get(f"{server.url}/a", read=http.ok)
            with pytest.raises(Disallowed):
                client.get(f"{server.url}/private/closed", read=http.ok)
        assert server.requests[2].at - server.requests[1].at >= 7

    @pytest.mark.parametrize("code", [404, 403, 410])
    def test_no_file_forbids_nothing(self, clock, tmp_path, code):
        with Server(self.answer(b"", code), clock) as server:
            assert self.client(clock, tmp_path).get(f"{server.url}/x", read=http.ok).body == b"page"

    def test_a_file_that_cannot_be_had_forbids_everything(self, clock, tmp_path):
        with Server(self.answer(b"", 503), clock) as server:
            with pytest.raises(Disallowed, match="cannot be had"):
                self.client(clock, tmp_path).get(f"{server.url}/x", read=http.ok)
        assert {request.path for request in server.requests} == {"/robots.txt"}

    def test_a_redirect_of_it_ends(self, clock, tmp_path):
        with Server(lambda request: Answer(b"", 302, {"Location": "/robots.txt"}), clock) as server:
            with pytest.raises(HaigoError):
                self.client(clock, tmp_path).get(f"{server.url}/x", read=http.ok)


def test_the_real_clock_waits():
    began = time.monotonic()
    Clock().sleep(0.02)
    assert time.monotonic() - began >= 0.02 and abs(Clock().time() - time.time()) < 5
