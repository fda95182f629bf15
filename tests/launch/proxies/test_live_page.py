"""The live page of a swarm, in a real browser and by hand: it shows what the terminal shows, to this machine alone."""

from __future__ import annotations

import http.client
import json

import browser
import pytest

from haigo.cli import HaigoError
from launch.proxies import status_display
from launch.proxies.live import LivePage, serving
from launch.proxies.status_display import StatusDisplay

HOSTILE = "<img src=x onerror='window.hacked=1'>"


@pytest.fixture
def live():
    with serving(0, HOSTILE) as page:
        yield page


def asked(page, path="/", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", page.server.server_address[1], timeout=20)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), dict(answer.getheaders())


def swarm(page):
    display = StatusDisplay(4, 3, 1000, quiet=True, page=page)
    display.result("p000", {"news_bpb": 1.5, "code_bpb": 2.5})
    display.result(HOSTILE, {"news_bpb": 1.25, "code_bpb": 2.0})
    display.started("p002")
    display.at("p002", 0)
    display.at("p002", 400)
    display.say(f"p003 failed: {HOSTILE}")
    display.refresh()
    return display


def test_it_answers_this_machine_alone(live):
    assert live.address.startswith("http://127.0.0.1:") and live.server.server_address[0] == "127.0.0.1"
    swarm(live)
    status, text, headers = asked(live, "/state.json")
    state = json.loads(text)
    assert (status, state["finished"], state["runs"], state["done"]) == (200, 2, 4, 400)
    assert state["running"][0]["name"] == "p002" and state["running"][0]["share"] == 0.4
    assert headers["Cache-Control"] == "no-store"
    assert asked(live, Host="evil.example")[0] == 403 and asked(live, Host="evil.example:80")[0] == 403
    assert asked(live, "/../../etc/passwd")[0] == 404
    assert asked(live, Host=f"localhost:{live.server.server_address[1]}")[0] == 200
    assert "学習中" in asked(live, **{"Accept-Language": "ja,en;q=0.5"})[1] and "Running" in asked(live)[1]


def test_what_it_says_is_japanese_for_a_japanese_reader(live):
    display = swarm(live)
    display.started("p004")
    display.say(status_display.line("p001", {"metrics": {"news_bpb": 1.5}, "seconds": 11.0}, 3, 4))
    display.say("2 of 4 proxies are there already")
    display.refresh()
    japanese, english = (
        json.loads(asked(live, "/state.json", **{"Accept-Language": each})[1]) for each in ("ja", "en")
    )
    assert english["said"][1:3] == ["   3/4 p001  news 1.500  (11 s)", "2 of 4 proxies are there already"]
    assert japanese["said"][1:3] == ["   3/4 p001  news 1.500（11 秒）", "4 本のうち 2 本は学習済みです"]
    assert HOSTILE in japanese["said"][0] and japanese["left"].startswith("残り ")
    assert [one["state"] for one in english["running"]][1] == "starting"
    assert [one["state"] for one in japanese["running"]][1] == "開始中"


def test_a_port_that_is_taken_is_named(live):
    with pytest.raises(HaigoError, match="--live"):
        LivePage(live.server.server_address[1], "")
    with serving(None, "") as page:
        assert page is None


def test_in_a_browser(live):
    display = swarm(live)
    with browser.started() as shown:
        shown.open(live.address)
        shown.wait("document.getElementById('done').textContent === '2 / 4'")
        assert shown.run("document.getElementById('best').textContent") == "1.6250"
        assert shown.run("[...document.querySelectorAll('#rows td.best')].map(e => e.textContent)") == [
            "1.2500",
            "2.0000",
        ]
        assert "onerror" in shown.run("document.getElementById('bestrun').textContent")
        assert shown.run("document.querySelectorAll('img').length") == 0 and shown.run("window.hacked") is None
        assert {address.partition("?")[0] for address in shown.asked_for()} == {
            live.address,
            f"{live.address}state.json",
        }
        assert shown.complaints() == [] and shown.overflow() == 0
        display.ended("p002", finished=True)
        display.result("p002", {"news_bpb": 1.0, "code_bpb": 1.0})
        display.refresh()
        shown.wait("document.getElementById('bestrun').textContent === 'p002'")
        assert not shown.run("document.body.classList.contains('lost')")
        live.close()
        shown.wait("document.body.classList.contains('lost')")
