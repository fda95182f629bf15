"""Precision and recall of the rules for mail addresses, telephone numbers and postal addresses, HojiChar's maskers beside them.

    python benchmarks/pii.py [--json] [--wrong]

The texts are tests/preprocess/data/personal.yml, written for this: half of them may be looked at when rules are changed
(`seen`), others were labelled before (`held_out`, `fresh`; the file says what was looked at since); all hold what only looks
personal (image@2x.png, git@github.com:org/repo, ISBNs, dates, prices, versions, networks). A passage counts as found where rule
and label share at least half of the characters that either has. --wrong prints what was missed and what was masked in error
among `seen`. HojiChar masks no addresses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import yaml
from _measure import ROOT, parser, show

GOAL = 0.95
KINDS = {"m": "mail", "p": "phone", "a": "address"}
_MARK = re.compile(r"«([mpa]) ([^»]*)»")
Span = tuple[int, int]
Finder = Callable[[str, str], list[Span]]


def unmarked(marked: str) -> tuple[str, dict[str, list[Span]]]:
    """A text without its labels, and where they stood, by kind."""
    text, at, spans = "", 0, {kind: list[Span]() for kind in KINDS.values()}
    for match in _MARK.finditer(marked):
        text += marked[at : match.start()]
        spans[KINDS[match[1]]].append((len(text), len(text) + len(match[2])))
        text, at = text + match[2], match.end()
    return text + marked[at:], spans


def same(one: Span, other: Span) -> bool:
    """Whether two passages share at least half of their characters."""
    shared = min(one[1], other[1]) - max(one[0], other[0])
    return 2 * shared >= max(one[1], other[1]) - min(one[0], other[0])


def haigo(kind: str, text: str) -> list[Span]:
    """Where our rule masks."""
    from preprocess.rules import personal

    return personal.spans(kind, text) if kind in personal.RULES else []


def hojichar() -> Finder:
    """Where HojiChar's masker does: by its own patterns."""
    from hojichar.filters.document_filters import MaskPersonalInformation

    filter_of_it = MaskPersonalInformation()
    patterns = {"mail": filter_of_it.email_pat, "phone": filter_of_it.phone_pat}
    return lambda kind, text: [match.span() for match in patterns[kind].finditer(text)] if kind in patterns else []


def judged(texts: Iterable[str], find: Finder, wrong: list[str] | None = None) -> dict[str, dict[str, Any]]:
    """Precision and recall by kind."""
    rows = {}
    for kind in KINDS.values():
        right = given = labelled = 0
        for marked in texts:
            text, spans = unmarked(marked)
            found = find(kind, text)
            hits = [label for label in spans[kind] if any(same(label, each) for each in found)]
            right, given, labelled = right + len(hits), given + len(found), labelled + len(spans[kind])
            if wrong is not None and not len(hits) == len(found) == len(spans[kind]):
                wrong.append(f"{kind}: {marked!r} gave {[text[a:b] for a, b in found]}")
        rows[kind] = {
            "labelled": labelled,
            "precision": round(right / given, 3) if given else None,
            "recall": round(right / labelled, 3),
        }
    return rows


def main() -> int:
    """Print a table for each half and each program."""
    words = parser(__doc__)
    words.add_argument("--json", action="store_true")
    words.add_argument("--wrong", action="store_true", help="what was wrong among the texts that may be looked at")
    given = words.parse_args()
    texts = yaml.safe_load((ROOT / "tests/preprocess/data/personal.yml").read_text(encoding="utf-8"))
    finders: dict[str, Finder] = {"haigo": haigo}
    try:
        finders["hojichar"] = hojichar()
    except ImportError:
        print("HojiChar is not installed (pip install -c constraints.txt hojichar): Haigo's figures alone")
    wrong: list[str] = []
    result: dict[str, Any] = {}
    for half, rows in texts.items():
        about = {
            name: judged(rows, find, wrong if (half, name) == ("seen", "haigo") else None)
            for name, find in finders.items()
        }
        result[half] = {"texts": len(rows), **about}
    show(result, given.json)
    if given.json:
        return 0
    if given.wrong:
        print("\n".join(wrong))
    worst = min(row[key] or 0 for row in result["held_out"]["haigo"].values() for key in ("precision", "recall"))
    print(f"goal {GOAL} for each on the half held out: {worst}, {'reached' if worst >= GOAL else 'NOT reached'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
