"""The leaderboard's table as text, Markdown and a web page: figures with letters, and under them what the letters mean."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass, field

from haigo.shown import html, line, markdown

SOURCE = "https://github.com/Stability-AI/lm-evaluation-harness/tree/jp-stable"
LAST = "2023-11-21"
"""The date of the branch's last commit: no later row was published there."""
LATER = "https://arxiv.org/abs/2403.15484 (2024-03-21)"
_CLOSING = (
    f"Percent. Published rows (none later than {LAST}): {SOURCE}; later ones by their authors, with the same harness: {LATER}",
    "A letter marks a figure that may not be compared.",
)
_STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:110em;padding:0 1em}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.3em .7em;text-align:right;white-space:nowrap;border-bottom:1px solid #8884}
th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:Canvas}
.average{position:sticky;right:0;background:Canvas;border-left:2px solid #8884}
thead th{border-bottom:2px solid #888;vertical-align:bottom}
td small{opacity:.65} sup{color:#a40;font-weight:600;cursor:help}
tr.own td{font-weight:600;background:#8ac3} tr.base td{font-style:italic;opacity:.75}
tr.own td:first-child,tr.own .average{background:color-mix(in srgb,#8ac 20%,Canvas)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15em .8em} dt{color:#a40;font-weight:600} dd{margin:0}
@media(prefers-color-scheme:dark){sup,dt{color:#fa6}}
"""


@dataclass(slots=True)
class Table:
    """Rows with marks, and the sentences that the marks stand for."""

    columns: list[str]
    rows: list[tuple[str, list[str]]]
    """A row's name, and a text such as `74.89 ±1.30 ab` for every column."""
    notes: dict[str, str] = field(default_factory=dict)
    """Sentence -> letter."""
    tests: list[str] = field(default_factory=list)
    """Sentences on differences between the results."""

    def mark(self, note: str) -> str:
        """The letter of a sentence."""
        if note not in self.notes:
            letters = string.ascii_lowercase + string.ascii_uppercase
            self.notes[note] = letters[len(self.notes) % len(letters)]
        return self.notes[note]

    def _closing(self) -> list[str]:
        return [*self.tests, *_CLOSING]

    def text(self, width: int | None = None) -> str:
        """For a terminal.

        Args:
            width: of its lines, in characters: of a wider table the average stands behind the model, where it is seen.
        """
        rows = [["model", *self.columns], *([name, *cells] for name, cells in self.rows)]
        rows = [list(map(line, row)) for row in rows]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        if width is not None and sum(widths) + 2 * len(widths) - 2 > width and self.columns[-1] == "average":
            rows = [[row[0], row[-1], *row[1:-1]] for row in rows]
            widths = [widths[0], widths[-1], *widths[1:-1]]
        lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        notes = [*(f"{mark}: {note}" for note, mark in self.notes.items()), *self._closing()]
        return "\n".join([*lines, *map(line, notes)])

    def markdown(self) -> str:
        """For a README."""
        rows = [["model", *self.columns], *([name, *cells] for name, cells in self.rows)]
        head, *lines = [f"| {' | '.join(map(markdown, row))} |" for row in rows]
        notes = [
            *(f"{mark}: {markdown(note)}" for note, mark in self.notes.items()),
            *map(markdown, self.tests),
            *_CLOSING,
        ]
        rule = "|---" + "|---:" * len(self.columns) + "|"
        return "\n".join([head, rule, *lines, "", *(f"- {note}" for note in notes)]) + "\n"

    def html(self) -> str:
        """A page by itself; a letter says its sentence when pointed at."""
        # the average stays in sight however many columns there are
        kinds = [' class="average"' if column == "average" else "" for column in self.columns]
        head = "<th>model</th>" + "".join(
            f"<th{kind}>{html(text)}</th>" for kind, text in zip(kinds, self.columns, strict=True)
        )
        body = "".join(
            f'<tr class="{_kind(name)}"><td>{html(name)}</td>{"".join(map(self._cell, cells, kinds))}</tr>\n'
            for name, cells in self.rows
        )
        notes = "".join(f"<dt>{mark}</dt><dd>{html(note)}</dd>" for note, mark in self.notes.items())
        closing = "".join(f"<p>{_linked(each)}</p>" for each in self._closing())
        return (
            '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f"<title>Haigo leaderboard</title><style>{_STYLE}</style><h1>Japanese leaderboard</h1>"
            f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>'
            f"<dl>{notes}</dl>{closing}</html>\n"
        )

    def _cell(self, text: str, kind: str = "") -> str:
        found = re.fullmatch(r"(\S+)(?: (±\S+))?(?: ([A-Za-z]+))?", text)
        if not found:
            return f"<td{kind}>{html(text)}</td>"
        value, error, marks = found.groups(default="")
        said = [note for note, mark in self.notes.items() if mark in marks]
        tip = f'<sup title="{html("; ".join(said))}">{marks}</sup>' if marks else ""
        return f"<td{kind}>{html(value)}{f' <small>{html(error)}</small>' if error else ''}{tip}</td>"


def _kind(name: str) -> str:
    if name.endswith("(this run)"):
        return "own"
    return "base" if name in ("always the commonest answer", "chance") else ""


def _linked(sentence: str) -> str:
    return html(sentence).replace(SOURCE, f'<a href="{SOURCE}">{SOURCE.removeprefix("https://")}</a>')
