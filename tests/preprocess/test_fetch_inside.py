"""Addresses of this machine and network: reached only where the user named them, whatever names, numbers and redirects say."""

import socket

import pytest
from fetch_server import Answer, Server

from haigo import cli
from preprocess.fetch import guard
from preprocess.fetch.__main__ import main

FEED = "<rss><channel><title>f</title><item><title>題</title><description>本文。</description></item></channel></rss>".encode()
NAMES = {"intern.example": "127.0.0.1", "meta.example": "169.254.169.254", "six.example": "::ffff:127.0.0.1"}


@pytest.fixture
def answer(monkeypatch):
    """The server's; names resolve as NAMES says, and nothing is asked through a proxy."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    real = socket.getaddrinfo

    def looked_up(host, port, *more, **options):
        return real(NAMES.get(host, host), port, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    return lambda request: Answer(b"", 404) if request.path == "/robots.txt" else Answer(FEED)


@pytest.fixture
def go(tmp_path, capsys):
    def call(url, *more, verb="feeds"):
        argv = [
            verb,
            url,
            "--contact",
            "a@example.org",
            "--gap",
            "0",
            "--tries",
            "1",
            "--output-dir",
            str(tmp_path / "o"),
        ]
        code = cli.run(main, [*argv, *more])
        return code, capsys.readouterr().err

    return call


@pytest.mark.parametrize("verb", ["feeds", "urls"])
@pytest.mark.parametrize("host", ["intern.example", "six.example", "2130706433", "0x7f.1", "0177.0.0.1", "127.1"])
def test_a_name_that_leads_inwards_is_refused_like_a_redirect(host, verb, answer, go):
    with Server(answer) as server:
        port = server.url.rpartition(":")[2]
        code, said = go(f"http://{host}:{port}/f", verb=verb)
        assert code in (2, 4) and "is an address inside this network" in said and not server.requests
        code, said = go(f"http://{host}:{port}/f", "--allow-private", verb=verb)
        assert (code == 0 or verb == "urls") and server.requests, said


def test_what_the_user_names_in_clear_is_fetched(answer, go):
    with Server(answer) as server:
        assert go(f"{server.url}/f")[0] == 0
        assert go(server.url.replace("127.0.0.1", "localhost") + "/f")[0] == 0


@pytest.mark.parametrize(
    "target", ["http://intern.example:PORT/secret", "http://2130706433:PORT/secret", "http://meta.example/"]
)
def test_a_redirect_to_a_name_that_leads_inwards(target, answer, go, monkeypatch):
    """The first host passes for one of the Internet."""
    with Server(answer) as server:
        port = server.url.rpartition(":")[2]

        def leads(request):
            if request.path == "/f":
                return Answer(b"", 302, {"Location": target.replace("PORT", port)})
            return answer(request)

        server.answer = leads
        seen, really = [], guard.is_private

        def private(host):
            # the server is public until its redirect was given
            seen.append(host)
            public = host in ("127.0.0.1", "outside.example") and not [
                one for one in server.requests if one.path == "/f"
            ]
            return False if public else really(host)

        monkeypatch.setattr(guard, "is_private", private)
        monkeypatch.setitem(NAMES, "outside.example", "127.0.0.1")
        code, said = go(f"http://outside.example:{port}/f")
    assert code == 4 and "inside this network" in said
    assert "/secret" not in [one.path for one in server.requests] and seen


def test_a_name_that_changes_between_the_look_and_the_connection(answer, go, monkeypatch):
    real, asked = socket.getaddrinfo, []

    def rebound(host, port, *more, **options):
        if host != "rebind.example":
            return real(host, port, *more, **options)
        asked.append(host)
        if len(asked) % 2:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", port))]
        return real("127.0.0.1", port, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    with Server(answer) as server:
        code, said = go(f"http://rebind.example:{server.url.rpartition(':')[2]}/f")
    assert code == 4 and "inside this network (127.0.0.1)" in said and not server.requests and len(asked) >= 2


INWARDS = [
    "127.0.0.1",
    "127.0.0.1.",
    "0.0.0.0",
    "localhost.",
    "a.localhost",
    "10.0.0.1",
    "172.16.1.1",
    "192.168.0.1",
    "100.64.0.1",
]
INWARDS += [
    "169.254.1.1",
    "::1",
    "::",
    "fe80::1",
    "fd00::1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
]
INWARDS += [
    "2130706433",
    "0x7f000001",
    "017700000001",
    "0x7f.0.0.1",
    "127.1",
    "１２７.0.0.1",
    "224.0.0.1",
    "198.18.0.1",
]


@pytest.mark.parametrize("host", INWARDS)
def test_inside_however_it_is_written(host):
    assert guard.is_private(host)


@pytest.mark.parametrize(
    "host",
    ["example.org", "8.8.8.8", "134744072", "2001:4860:4860::8888", "1e100.net", "0x.example", "64:ff9b::808:808"],
)
def test_outside(host):
    assert not guard.is_private(host)
