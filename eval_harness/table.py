"""The leaderboard's table as text, Markdown and a web page: figures with letters, and under them what the letters mean."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass, field

from eval_harness.page import HERE, say
from haigo import page
from haigo.shown import line, markdown

SOURCE = "https://github.com/Stability-AI/lm-evaluation-harness/tree/jp-stable"
LAST = "2023-11-21"
"""The date of the branch's last commit: no later row was published there."""
LATER = "https://arxiv.org/abs/2403.15484 (2024-03-21)"
_CLOSING = (
    f"Percent. Published rows (none later than {LAST}): {SOURCE}; later ones by their authors, with the same harness: {LATER}",
    "A letter marks a figure that may not be compared.",
)


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

    def html(self, language: str = "en") -> str:
        """A page by itself."""
        template = page.environment(language, HERE, also=say).get_template("leaderboard.html")
        title = page.speaker(language)("Japanese leaderboard")
        return template.render(title=title, board=self, scripts=[])

    @property
    def link(self) -> str:
        """Where the published rows are."""
        return SOURCE

    @property
    def last(self) -> str:
        """The date of the last published row."""
        return LAST

    def lines(self) -> list[tuple[str, str, list[tuple[str, str, str, list[str]]]]]:
        """For a page: a row's name, its kind (ours, base or nothing) and its cells: figure, error, letters, what these mean."""
        return [(name, _kind(name), list(map(self._parts, cells))) for name, cells in self.rows]

    def _parts(self, text: str) -> tuple[str, str, str, list[str]]:
        found = re.fullmatch(r"(\S+)(?: (±\S+))?(?: ([A-Za-z]+))?", text)
        value, error, marks = found.groups(default="") if found else (text, "", "")
        return value, error, marks, [note for note, mark in self.notes.items() if mark in marks]


def _kind(name: str) -> str:
    if name.endswith("(this run)"):
        return "ours"
    return "base" if name in ("always the commonest answer", "chance") else ""
