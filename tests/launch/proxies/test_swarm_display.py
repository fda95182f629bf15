"""What a swarm shows: a table redrawn in place on a terminal, plain lines in a log."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace

import pytest

from launch.proxies import status_display
from launch.proxies.status_display import StatusDisplay


class Screen(io.StringIO):
    """As much of a terminal as the board uses: carriage return, cursor up, clear to the end."""

    def isatty(self) -> bool:
        return True

    def lines(self) -> list[str]:
        shown, row, column = [""], 0, 0
        for token in re.findall(r"\x1b\[\d*[A-Z]|[\r\n]|[^\x1b\r\n]+", self.getvalue()):
            if token == "\r":
                column = 0
            elif token == "\n":
                row, column = row + 1, 0
                shown += [""] * (row + 1 - len(shown))
            elif match := re.fullmatch(r"\x1b\[(\d*)([A-Z])", token):
                if match[2] == "A":
                    row -= int(match[1])
                    assert row >= 0
                else:
                    assert match[2] in "JK"
                    shown[row] = shown[row][:column]
                    if match[2] == "J":
                        del shown[row + 1 :]
            else:
                shown[row] = shown[row][:column] + token + shown[row][column + len(token) :]
                column += len(token)
        return [line.rstrip() for line in shown]


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    for module in ("haigo.progress", "launch.proxies.status_display"):
        monkeypatch.setattr(f"{module}.time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.delenv("HAIGO_QUIET", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("LINES", "24")
    return now


def test_a_table_on_a_terminal(clock, monkeypatch):
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    with StatusDisplay(4, 3, 1000) as board:
        board.result("old", {"news_bpb": 2.5, "wiki_bpb": 1.5})
        board.say("1 of 4 proxies are there already")
        board.started("p001")
        board.started("p002")
        board.at("p001", 0)
        board.at("p002", 400)  # goes on from a checkpoint
        clock[0] += 10
        board.at("p001", 100)
        board.at("p002", 500)
        board.refresh()
        shown = screen.lines()
        assert shown[0] == "1 of 4 proxies are there already"
        assert "20 tokens/s" in shown[1] and "1/4 done, 2 running, best mean so far 2.000 (old)" in shown[1]
        assert "2:00 left" in shown[1]  # 2400 tokens at 20 a second; the 400 of before are no speed
        assert re.search(r"p001 +\[#\.+\] +10% +1:30 left", shown[2])
        assert re.search(r"p002 +\[#{8}\.{8}\] +50% +0:50 left", shown[3])
        assert shown[4] == "  best: news_bpb 2.500 (old), wiki_bpb 1.500 (old)"
        assert len(shown) == 5
        clock[0] += 10
        board.at("p002", 1000)
        board.refresh()
        assert "evaluating" in screen.lines()[3]
        result = {"metrics": {"news_bpb": 2.25, "wiki_bpb": 1.25}, "scores": {"qa_acc": 0.5}, "seconds": 20.4}
        board.ended("p002", finished=True)
        board.result("p002", result["metrics"])
        board.say(status_display.line("p002", result, board.finished, 4))
        shown = screen.lines()
        assert shown[1] == "   2/4 p002  news 2.250 wiki 1.250 qa_acc 0.500  (20 s)"
        assert "2/4 done, 1 running, best mean so far 1.750 (p002)" in shown[2] and len(shown) == 5
    last = [line for line in screen.lines() if line]
    assert last[-1].startswith("proxies: ") and "done in" in last[-1]
    assert not any(line.startswith("  p001") for line in last)  # the table is gone, the lines stay


def test_long_names_do_not_wrap(clock, monkeypatch):
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "8")
    board = StatusDisplay(30, 30, 1000)
    for number in range(20):
        board.started(f"新聞と百科事典の配合{number:03d}" * 3)
    clock[0] += 1
    board.refresh()
    shown = screen.lines()
    assert len(shown) <= 8 - 2
    assert all(sum(2 if ord(sign) > 0x2E80 else 1 for sign in line) < 60 for line in shown)


def test_plain_lines_in_a_log(clock, monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr("sys.stderr", log)
    with StatusDisplay(3, 3, 1000) as board:
        for step in range(30):
            if step == 0:
                board.started("p001")
            clock[0] += 1
            board.at("p001", 10 * step)
            board.refresh()
        board.ended("p001", finished=False)
        board.say("p001 failed and is tried again: the loss became nan")
        board.started("p001")
        board.at("p001", 0)
        clock[0] += 11
        board.refresh()
    lines = log.getvalue().splitlines()
    assert "\x1b" not in log.getvalue() and "\r" not in log.getvalue()
    assert len(lines) <= 7 and "p001 failed and is tried again: the loss became nan" in lines
    assert re.match(r"proxies \[#*\.*\] +\d% \d tokens/s \d+:\d\d left 0/3 done, 1 running$", lines[0])
    assert "0% " in lines[-2]


def test_quiet_is_quiet(monkeypatch, capsys):
    monkeypatch.setenv("HAIGO_QUIET", "1")
    with StatusDisplay(1, 1, 10) as board:
        board.say("nothing")
        board.started("a")
        board.refresh()
    assert capsys.readouterr().err == ""
