"""What runs, schedulers and drivers say before a run ends: the right cause, and what cannot help is not tried again."""

from __future__ import annotations

import pytest
from shared_data import data_of
from test_supervise import Run
from test_supervise import run as run  # the fixture

from launch.train import causes

DATA = data_of(__file__)

SAID = DATA["said"]  # fmt: skip


@pytest.mark.parametrize(("code", "line", "said", "kind"), SAID, ids=[f"{one[0]} {one[1][:50]}" for one in SAID])
def test_cause(code: int, line: str, said: str, kind: str) -> None:
    # between what other ranks and progress bars write
    found = causes.cause(code, [" 12%|█▏        | 3/25", line, "[rank3]: Traceback (most recent call last):"])
    assert said in found.sentence and found.kind == kind and found.fix


def test_what_cannot_help_is_not_tried_again(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    text = "\r 12%|█▏  | 3/25\r\x1b[31mOSError: [Errno 30] 読み込み専用ファイルシステムです: '/x'\x1b[0m"
    run.plan({"kind": "says", "at": 8, "text": text, "code": 1}, None)
    assert run.go() == 1  # GPT-NeoX's own
    said = capsys.readouterr().err
    assert len(run.calls) == 1 and "may not be written or read" in said and "Traceback" not in said


def test_what_may_pass_is_tried_again(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.plan({"kind": "says", "at": 8, "text": "OSError: [Errno 116] Stale file handle", "code": 1}, None)
    assert run.go() == 0
    assert len(run.calls) == 2 and "a file system failed" in capsys.readouterr().err
