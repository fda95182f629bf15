"""A recommendation in words: a table for the terminal, Markdown for a page. Figures are drawn elsewhere.

python -m mixer.report mixture.yml [--language ja] [--markdown] [--figures DIR] [--html PAGE]
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from haigo import cli, files, flags, shown
from haigo.cli import HaigoError
from mixer import figures, japanese, law_file, mixture, page
from mixer.options import ReportOptions
from mixer.sentences import number, sentences, spread

_JUDGED = (("left-out Spearman", "spearman"), ("left-out error", "level"), ("regret by a GP", "regret"),
           ("picked proxy loses", "picked"))  # fmt: skip
"""What stands in the table of methods, and its key."""
_CONTEST = (("rank", "rank"), ("level", "level"), ("regret", "regret"), ("promise", "promise"), ("CPU s", "seconds"))
"""The same for the table of methods on parts of the runs."""
_PARTS = "Methods on parts of the runs"

Table = tuple[list[str], list[list[str]]]
"""Header and rows, all text."""


def tables(document: Mapping[str, Any]) -> dict[str, Table]:
    """The tables of a mixture.yml document, by heading."""
    made: dict[str, Table] = {}
    weights = document["weights"]
    columns: list[tuple[str, Any]] = [("weight", lambda c: f"{weights[c]:.1%}")]
    for head, key in (("90 % interval", "interval"), ("near-optimal", "near_optimal")):
        if key in document:
            columns.append((head, lambda c, key=key: spread(document[key][c], percent=True)))
    if "epochs" in document:
        columns.append(("epochs", lambda c: f"{document['epochs'][c]:.2f}"))
    if "token_share" in document:
        columns.append(("token share", lambda c: f"{document['token_share'][c]:.1%}"))
    made["Mixture"] = (["corpus", *[head for head, _ in columns]], _grouped(document, columns))
    if document.get("prediction"):
        against = f"at {document.get('reference', {}).get('name', 'token share')}"
        made["Predictions"] = (
            ["metric", "predicted", "90 % interval", against],
            [
                [m, number(p["mean"]), spread(p["interval"]), number(p["token_share"])]
                for m, p in document["prediction"].items()
            ],
        )
    if "fit" in document:
        fit = document["fit"]
        held = fit.get("held_out", {}).get("metrics", {})
        titles = ["metric", "left-out Spearman", "left-out R2"]
        titles += ["held-out Spearman", "held-out R2"] if held else []
        rows: list[list[str]] = []
        for metric, card in fit["cross_validation"]["metrics"].items():
            cards = [card, held[metric]] if held else [card]
            rows.append([metric, *[f"{c[key]:.3f}" for c in cards for key in ("spearman", "r2")]])
        made["Fit"] = (titles, rows)
    if document.get("compared"):
        made["Methods compared"] = (
            ["method", "gain by this law", "gain by a GP", *(head for head, _ in _JUDGED), "weight"],
            [
                [
                    row["method"],
                    number(row["gain"]) + ("" if row["ceilings_met"] else " (breaks a ceiling)"),
                    *[number(row[key]) if key in row else "-" for key in ("gain_gp", *(key for _, key in _JUDGED))],
                    " ".join(f"{c}={w:.3f}" for c, w in row["weights"].items() if w >= 0.0005),
                ]
                for row in document["compared"]
            ],
        )
        made |= _parts(document["compared"])
    return made


def _grouped(document: Mapping[str, Any], columns: Sequence[tuple[str, Any]]) -> list[list[str]]:
    """A row a corpus; those of a group stand under it, the one with the greatest weight first."""
    weights, groups = document["weights"], document.get("groups", {})
    inside = {c for group in groups.values() for c in group["corpora"]}
    rows = [(w, [[c, *[cell(c) for _, cell in columns]]]) for c, w in weights.items() if c not in inside]
    for name, group in groups.items():
        own = {
            "weight": f"{group['weight']:.1%}",
            "90 % interval": spread(group["interval"], percent=True),
            "token share": f"{group['token_share']:.1%}" if "token_share" in group else "-",
        }
        parts = sorted(group["corpora"], key=lambda c: -weights[c])
        under = [["  " + c, *[cell(c) for _, cell in columns]] for c in parts]
        rows.append((group["weight"], [[name, *[own.get(head, "-") for head, _ in columns]], *under]))
    if groups:
        rows.sort(key=lambda row: -row[0])
    return [line for _, block in rows for line in block]


def _parts(compared: Sequence[Mapping[str, Any]]) -> dict[str, Table]:
    """The contest of methods, least regret first."""
    rows = [(row["method"], row["contest"]) for row in compared if "contest" in row]
    rows.sort(key=lambda row: row[1].get("regret", float("inf")))
    heads = [pair for pair in _CONTEST if any(pair[1] in figures for _, figures in rows)]

    def against(figures: Mapping[str, Any]) -> str:
        known = figures.get("against")
        return f"{known['mean']:+.3f} ({known['interval'][0]:+.3f} to {known['interval'][1]:+.3f})" if known else ""

    cells = [
        [name, *[number(figures[key]) if key in figures else "-" for _, key in heads], against(figures)]
        for name, figures in rows
    ]
    return {_PARTS: (["method", *[head for head, _ in heads], "regret against auto"], cells)} if rows else {}


def _width(text: str) -> int:
    import unicodedata

    return sum(2 if unicodedata.east_asian_width(c) in "FW" else 1 for c in text)


def _plain(table: Table) -> str:
    head, rows = table
    widths = [max(_width(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = []
        for i, (cell, width) in enumerate(zip(row, widths, strict=True)):
            pad = " " * (width - _width(cell))
            cells.append(cell + pad if i == 0 or i == len(row) - 1 else pad + cell)
        return "  " + "  ".join(cells).rstrip()

    return "\n".join([line(head), "  " + "-" * (sum(widths) + 2 * len(widths) - 2), *map(line, rows)])


def _markdown(table: Table) -> str:
    head, rows = table
    escaped = [list(map(shown.markdown, row)) for row in [head, *rows]]
    return "\n".join("| " + " | ".join(row) + " |" for row in [escaped[0], ["---"] * len(head), *escaped[1:]])


def text(document: Mapping[str, Any], markdown: bool = False, language: str = "en") -> str:
    """The whole recommendation as text.

    Args:
        document: `Recommendation.document()` or what `mixture.read` gives.
        language: "en" or "ja"; a note that `mixer.japanese` does not know stays English.
    """
    say = japanese.say if language == "ja" else str
    tabled, said = tables(document), sentences(document)
    named = {*document["weights"], *document.get("groups", {}), *document.get("prediction", {})} - {
        "objective"
    }  # names are nobody's to translate
    parts: list[str] = []
    for heading in ("Mixture", "Predictions", "What binds", "Fit", "Methods compared", _PARTS, "Notes"):
        if heading not in tabled and heading not in said:
            continue
        title = say(heading)
        parts.append(f"## {title}\n" if markdown else title)
        if heading in tabled:
            head, rows = tabled[heading]
            table = list(map(say, head)), [[r[0] if r[0] in named else say(r[0]), *map(say, r[1:])] for r in rows]
            parts.append(_markdown(table) if markdown else _plain(table))
        for sentence in said.get(heading, []):
            parts.append(
                ("\n" if markdown and heading in tabled else "")
                + ("- " if markdown else "  ")
                + (shown.markdown if markdown else shown.line)(say(sentence))
            )
        parts.append("")
    return "\n".join(parts)


def main(argv: Sequence[str] | None = None) -> int | None:
    options = flags.parse("mixer.report", __doc__, ReportOptions, argv)
    cli.keeps_nothing()
    document = mixture.read(options.mixture)
    try:
        if options.json:
            print(json.dumps(document, ensure_ascii=False, indent=2))
        elif not options.html:
            print(text(document, options.markdown, options.language))
        if options.html:
            files.check_output(options.html, [options.mixture, str(law_file.path(options.mixture))])
            law = law_file.read(options.mixture, document["weights"])
            files.write_text(options.html, page.render(document, law, options.language, options.mixture))
            if not options.json:
                print(f"Written: {options.html}")
        if options.figures:
            with cli.acting("mixer.search"):  # whose figures it may draw anew
                figures.check(options.figures, [options.mixture])
                searched = figures.read(options.figures, document)
                drawn = figures.write(options.figures, document, searched, language=options.language)
            if not options.json:
                print(figures.said(drawn, options.figures))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise HaigoError(
            f"{options.mixture} is not as mixer.search writes it ({type(error).__name__}: {error}).",
            "write it again with mixer.search",
        ) from None
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
