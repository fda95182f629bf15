"""The report's frame, style sheet and tables. No script, no font, no address outside the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from haigo import shown

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body><main>
{body}
</main></body>
</html>
"""

STYLE = """
:root { --ink: #1f2933; --muted: #616e7c; --line: #e4e7eb; --ours: #0b6e4f; --paper: #ffffff; --wash: #f5f7fa; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--wash); color: var(--ink); line-height: 1.55;
  font-family: "Hiragino Sans", "Noto Sans JP", "Noto Sans CJK JP", "Segoe UI", system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
header, section { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; padding: 1.5rem 1.75rem;
  margin-bottom: 1.25rem; }
h1 { margin: 0 0 .5rem; font-size: 1.7rem; letter-spacing: -.01em; }
h2 { margin: 0 0 .75rem; font-size: 1.2rem; }
h3 { margin: 1.5rem 0 .25rem; font-size: 1rem; }
p { margin: .5rem 0; }
.note { border-left: 3px solid #edae49; padding-left: .75rem; color: var(--muted); }
.tiles { display: flex; flex-wrap: wrap; gap: .75rem; margin-top: 1rem; }
.tile { flex: 1 1 11rem; border: 1px solid var(--line); border-radius: 8px; padding: .75rem 1rem; display: flex;
  flex-direction: column; }
.tile span, .tile small { color: var(--muted); font-size: .85rem; }
.tile b { font-size: 1.6rem; font-variant-numeric: tabular-nums; }
.tile.ours { border-color: var(--ours); }
.tile.ours b { color: var(--ours); }
figure { margin: .75rem 0; overflow-x: auto; }
figure svg { max-width: 100%; height: auto; }
.wide { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--muted); font-weight: 600; white-space: nowrap; }
th.n, td.n { text-align: right; white-space: nowrap; }
details { margin-top: .75rem; }
summary { cursor: pointer; color: var(--muted); }
code { background: var(--wash); padding: .1rem .3rem; border-radius: 4px; font-size: .9em; }
footer { color: var(--muted); font-size: .85rem; text-align: right; }
"""


def table(head: Sequence[str], rows: Iterable[Sequence[str]], text_columns: Sequence[int] = (0,)) -> str:
    """A table of texts, which are escaped; the columns that are not in `text_columns` are numbers."""

    def line(cells: Sequence[str], tag: str) -> str:
        made = [
            f"<{tag}{'' if number in text_columns else ' class=n'}>{shown.html(cell)}</{tag}>"
            for number, cell in enumerate(cells)
        ]
        return f"<tr>{''.join(made)}</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f'<div class="wide"><table><thead>{line(head, "th")}</thead><tbody>{body}</tbody></table></div>'
