"""Why a run ended, in one sentence and a fix: its exit code and the last lines of its log. `causes.yml` holds what is known.

The codes are those that GPT-NeoX's deepy.py hands on (seen on one node): a killed rank is 247 (= -9), a stopped one 241,
a bus error 249 (= -7), a Python exception 1. The log knows more than the code; it is asked first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from haigo import yamlfile

PORT, TORN, TRANSIENT, UNKNOWN, LASTING = "port", "torn", "transient", "unknown", "lasting"
TAIL_LINES = 400
_DEATHS = (135, 137, 139, 241, 245, 247, 249)


@dataclass(frozen=True)
class Cause:
    """Why a run ended."""

    sentence: str
    fix: str
    kind: str = UNKNOWN
    """`port` (try another), `torn` (a checkpoint), `transient` (may work the next time), `lasting` (will not), `unknown`."""


@cache
def _known() -> tuple[list[tuple[str, Cause]], list[tuple[str, Cause]], dict[int, Cause]]:
    """(what a log says, what ranks say of others, exit codes)."""

    def cause_of(one: Mapping[str, Any]) -> Cause:
        return Cause(one["says"], one["fix"], one.get("kind", UNKNOWN))

    content = yamlfile.read(Path(__file__).with_name("causes.yml"))
    log, lost = ([("|".join(one["match"]), cause_of(one)) for one in content[key]] for key in ("log", "lost"))
    return log, lost, {one["code"]: cause_of(one) for one in content["codes"]}


def codes() -> dict[int, Cause]:
    """Exit code -> what it means by itself."""
    return _known()[2]


def cause(code: int, tail: Sequence[str] = ()) -> Cause:
    """Why a run ended.

    Args:
        code: exit code as a shell says it.
        tail: the last lines of its log, oldest first.
    """
    log, lost, _ = _known()
    # The first error is the reason, what follows it are the other ranks' complaints; but only where a code says
    # that something went wrong are words in a log an error at all.
    if code not in (0, 130):
        for pattern, found in log if code in _DEATHS else log + lost:
            for line in tail[-TAIL_LINES:]:
                match = re.search(pattern, line)
                if match:
                    words = [word or "" for word in match.groups()]
                    return Cause(found.sentence.format(*words), found.fix, found.kind) if words else found
    return codes().get(code, Cause("see the last lines of its log.", ""))


def in_words(code: int) -> str:
    """The exit code alone in words."""
    known = codes().get(code)
    return known.sentence if known else "see its last lines above."
