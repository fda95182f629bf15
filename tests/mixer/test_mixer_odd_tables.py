"""Tables as other programs write them, and tables that are none: read to the same answer, or one sentence and exit 2."""

from __future__ import annotations

import numpy as np
import pytest
from mixer_worlds import searched, world
from shared_data import data_of

from haigo import cli
from mixer import search
from tests.conftest import shared

DATA = data_of(__file__)


@pytest.fixture
def table(tmp_path):
    return world(tmp_path, 12)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return world(tmp_path_factory.mktemp("clean"), 12).search()


def paths(table):
    return table.folder / "ratios.csv", table.folder / "metrics.csv"


def each_line(change):
    def spoil(table):
        for path in paths(table):
            lines = path.read_text(encoding="utf-8").splitlines()
            path.write_text("\n".join(change(i, line) for i, line in enumerate(lines)) + "\n", encoding="utf-8")

    return spoil


def reencoded(encoding, start=""):
    def spoil(table):
        for path in paths(table):
            path.write_bytes((start + path.read_text(encoding="utf-8")).encode(encoding))

    return spoil


READ = {
    "semicolons": each_line(lambda i, line: line.replace(",", ";")),
    "tabs": each_line(lambda i, line: line.replace(",", "\t")),
    "sep=;": each_line(lambda i, line: ("sep=;\n" if i == 0 else "") + line.replace(",", ";")),
    "byte order mark": reencoded("utf-8-sig"),
    "UTF-16": reencoded("utf-16"),
    "CRLF": each_line(lambda i, line: line + "\r"),
    "quoted": each_line(lambda i, line: ",".join(f'"{cell}"' for cell in line.split(","))),
    "blanks": each_line(lambda i, line: line.replace(",", " , ")),
    "row numbers without a name": each_line(lambda i, line: ("," if i == 0 else f"{i - 1},") + line),
    "row numbers of pandas": each_line(lambda i, line: ("Unnamed: 0," if i == 0 else f"{i - 1},") + line),
    "row numbers of a table that was filtered": each_line(
        lambda i, line: ("Unnamed: 0," if i == 0 else f"{97 * i % 31},") + line
    ),
    "row numbers twice": each_line(
        lambda i, line: ("Unnamed: 0.1,Unnamed: 0," if i == 0 else f"{i - 1},{7 * i % 13},") + line
    ),
    "a comma at every end": each_line(lambda i, line: line + ","),
    "empty lines": each_line(lambda i, line: line + ("\n\n,,,,,," if i == 3 else "\n")),
    "run without a name": each_line(lambda i, line: line.replace("run", "") if i == 0 else line),
}


@pytest.mark.parametrize("kind", READ)
def test_tables_of_other_programs_are_read_to_the_same_answer(table, clean, kind):
    words = table.write()
    READ[kind](table)
    document = searched(table.folder, [*words, *table.words])
    for key in ("weights", "interval", "near_optimal", "prediction"):
        assert document[key] == clean[key]


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_an_export_of_weights_and_biases_is_read(table, clean, mark):
    words = table.write()
    head = [
        "",
        "Name",
        "State",
        "Tags",
        "Created",
        "Runtime",
        "config.lr",
        "_step",
        "_runtime",
        "eval/news_bpb",
        "eval/wiki_bpb",
    ]
    lines = [head]
    for i in np.random.default_rng(0).permutation(len(table.runs)):
        about = [
            table.runs[i],
            "finished",
            "a,b;c" if mark == "\t" else "",
            "2026-11-01T10:00:00Z",
            "61",
            "0.001",
            "1000",
            "60.5",
        ]
        lines.append([str(int(i)), *about, *(repr(float(value)) for value in table.losses[i, :2])])
    text = "\n".join(mark.join(f'"{cell}"' for cell in line) for line in lines)
    (table.folder / "metrics.csv").write_text(text + "\n", encoding="utf-8")
    document = searched(table.folder, [*words, *table.words])
    assert list(document["prediction"]) == ["eval/news_bpb", "eval/wiki_bpb"]
    assert document["weights"] == clean["weights"]


@pytest.mark.parametrize("supply", [None, "corpus,max\nnews,0.5\nweb,\nwiki,\ncode,\nbooks,\ntalk,\n"])
def test_target_tokens_without_a_supply_are_refused(table, capsys, supply):
    words = [*table.write(), *table.words, "--target-tokens", "1e9"]
    if supply:
        (table.folder / "supply.csv").write_text(supply)
        words += ["--supply", str(table.folder / "supply.csv")]
    assert cli.run(search.main, words) == 2
    said = capsys.readouterr().err
    assert "--target-tokens sets epochs and caps" in said and (
        "column `tokens` of" in said if supply else "give --supply" in said
    )


def test_wildcards_in_the_objective(table):
    words = [*table.write(), "--bootstrap", "10", "--objective"]
    spelled = searched(table.folder, [*words, "news_bpb=2,wiki_bpb,code_bpb,talk_bpb"])
    made = searched(table.folder, [*words, "*_bpb,news_bpb=2"])
    assert made["objective"]["weights"] == {**spelled["objective"]["weights"]}
    assert made["weights"] == pytest.approx(spelled["weights"], abs=1e-5)


def replaced(old, new, which=1, line=None):
    """`old` (a whole cell where it is a pair of row and column) becomes `new` in ratios (0) or metrics (1)."""

    def spoil(table):
        path = paths(table)[which]
        lines = path.read_text(encoding="utf-8").splitlines()
        if isinstance(old, tuple):
            cells = lines[old[0]].split(",")
            cells[old[1]] = new
            lines[old[0]] = ",".join(cells)
        else:
            lines = [one.replace(old, new) for one in lines]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    return spoil


def written(content, which=1):
    def spoil(table):
        paths(table)[which].write_bytes(content if isinstance(content, bytes) else content.encode())

    return spoil


def decimal_commas(table):
    for path in paths(table):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(",", ";").replace(".", ","), encoding="utf-8")


def scaled(factor):
    def spoil(table):
        table.weights = table.weights * factor
        table.write()

    return spoil


NAMED = {
    "decimal commas": (decimal_commas, ["ratios.csv, line 2", "decimal points"]),
    "a decimal comma among commas": (
        replaced((3, 1), "0,91"),
        ["metrics.csv, line 4", "6 cells, and the header has 5"],
    ),
    "a percentage": (replaced((3, 1), "12%", 0), ["ratios.csv, line 4", "'12%'", "0.12"]),
    "thousands": (replaced((3, 1), "1'234.5"), ["metrics.csv, line 4", "thousands"]),
    "a short line": (replaced((3, 1), "1\np999,1"), ["metrics.csv, line 4", "2 cells"]),
    "a column without a name": (replaced("wiki_bpb", ""), ["metrics.csv: column 3 has no name"]),
    "a column twice": (replaced("wiki_bpb", "news_bpb"), ["'news_bpb' twice"]),
    "a run twice": (replaced("p005", "p004"), ["'p004' more than once (lines 6, 7)"]),
    "an open quote": (replaced((3, 1), '"1.0'), ["metrics.csv", "not a CSV table"]),
    "NUL bytes": (written(b"run,news_bpb\n\0\0\0,1\n"), ["metrics.csv", "NUL"]),
    "not UTF-8": (written("run,news_bpb\nä,1\n".encode("latin-1")), ["metrics.csv", "not UTF-8", "byte 13"]),
    "a spreadsheet": (written(b"PK\x03\x04\x14\x00"), ["metrics.csv is an Excel file"]),
    "parquet": (written(b"PAR1\x15\x04"), ["metrics.csv is a parquet file"]),
    "empty": (written(""), ["metrics.csv is not a CSV table: it is empty"]),
    "blank": (written("\n \n\n"), ["metrics.csv is not a CSV table: it is empty"]),
    "header only": (written("run,news_bpb\n"), ["metrics.csv has no rows"]),
    "JSON": (written('{"run": ["p0"], "news_bpb": [1.0]}\n'), ["metrics.csv"]),
    "one run": (written("run,news_bpb\np000,1.0\n"), ["1 usable run(s)"]),
    "one corpus": (written("run,web\np000,1\np001,1\n", 0), ["ratios.csv has 1 corpus column(s)"]),
    "rows of zeros": (scaled(0.0), ["ratios.csv", "do not sum to 1", "p000 (0)"]),
    "rows of percentages": (scaled(100.0), ["ratios.csv", "do not sum to 1", "p000 (100)"]),
    "rows of 1.07": (scaled(1.07), ["ratios.csv", "do not sum to 1", "p000 (1.07)"]),
    "tokens in place of weights": (scaled(3e9), ["ratios.csv", "do not sum to 1"]),
    "an infinite weight": (replaced((3, 1), "1e400", 0), ["ratios.csv, line 4", "'1e400'"]),
    "a huge loss": (replaced((3, 1), "1" * 200), ["metrics.csv, line 4"]),
    "full-width semicolons": (replaced(",", "；"), ["metrics.csv"]),
}


@pytest.mark.parametrize("kind", NAMED)
@pytest.mark.filterwarnings("error")
def test_what_is_no_table_is_one_sentence(table, capsys, kind):
    spoil, words = NAMED[kind]
    out = table.folder / "mixture.yml"
    given = table.write()
    spoil(table)
    assert cli.run(search.main, [*given, *table.words, "--output", str(out)]) == cli.BAD_INPUT
    shown = capsys.readouterr()
    lines = shown.err.splitlines()
    assert (
        len(lines) == 2 and lines[0].startswith("haigo: ") and lines[1].startswith("  fix: ") and len(shown.err) < 600
    )
    assert not shown.out and not out.exists()
    for word in words:
        assert word in shown.err


@pytest.mark.parametrize(
    ("cell", "words"),
    [("0,5", "no marks between thousands"), ("50%", "0.12 for 12%"), ("much", "finite number"), ("-1", ">= 0")],
)
def test_a_limit_that_is_no_number_is_named(table, capsys, cell, words):
    supply = table.folder / "supply.csv"
    rows = [f"{name};1,000,000;{cell if name == 'wiki' else ''}" for name in table.corpora]
    supply.write_text("\n".join(["corpus;tokens;max", *rows]) + "\n")
    assert cli.run(search.main, [*table.write(), *table.words, "--supply", str(supply)]) == cli.BAD_INPUT
    said = capsys.readouterr().err
    assert "supply.csv, line 4: max of 'wiki'" in said and words in said


def test_tokens_with_marks_between_thousands_are_read(table):
    supply = table.folder / "supply.csv"
    supply.write_text("\n".join(["corpus;tokens", *[f"{name};1,000,000" for name in table.corpora]]) + "\n")
    assert set(table.search(["--supply", str(supply)])["token_share"].values()) == {round(1 / 6, 6)}


def negated(table):
    table.losses = -table.losses


def one_negative(table):
    table.losses[5, 0] = -1.0


def unnamed_likelihoods(table):
    table.losses, table.metrics[0], table.words[1] = -table.losses, "news", "news"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (negated, ["'news_bpb' is below 0 in every run", "it was negated", "--minimise news_bpb"]),
        (one_negative, ["'news_bpb' is -1 in the run 'p005'", "1 run(s)"]),
        (unnamed_likelihoods, ["'news' is below 0 in every run, as log-likelihoods are", "--maximise news"]),
    ],
)
def test_losses_below_0_are_refused(table, capsys, spoil, words):
    spoil(table)
    assert cli.run(search.main, [*table.write(), *table.words]) == cli.BAD_INPUT
    said = capsys.readouterr().err
    for word in words:
        assert word in said


def test_log_likelihoods_are_raised_when_that_is_said(tmp_path):
    table = world(tmp_path)
    plain = table.search()
    unnamed_likelihoods(table)
    document = table.search(["--maximise", "news"])
    assert document["weights"] == plain["weights"]


def test_a_metric_that_its_own_corpus_makes_worse_is_said(tmp_path, capsys):
    table = world(tmp_path)
    table.losses[:, 0], table.metrics[0], table.words[1] = 3.0 - table.losses[:, 0], "news", "news"
    assert cli.run(search.main, [*table.write(), *table.words]) == cli.BAD_INPUT
    said = capsys.readouterr().err
    assert "'news' gets worse the more of 'news'" in said and "--maximise news" in said
    document = table.search(["--minimise", "news"])
    assert any("'news' gets worse the more of 'news'" in note for note in document["notes"])
    assert not any("gets worse" in note for note in table.search(["--maximise", "news"])["notes"])


def test_the_shared_negated_table_is_refused(capsys):
    cases = shared() / "cases" / "mixer"
    if not cases.is_dir():
        pytest.skip("no shared cases here")
    words = ["--ratios", str(cases / "r64.csv"), "--metrics", str(cases / "m_negated.csv")]
    assert cli.run(search.main, [*words, "--objective", "pile_cc_loss"]) == cli.BAD_INPUT
    assert "m_negated.csv: 'pile_cc_loss' is below 0 in every run" in capsys.readouterr().err


@pytest.mark.parametrize("unit", [1e-12, 1e-3, 1e6, 1e60])
def test_the_unit_of_the_losses_does_not_matter(tmp_path, unit):
    table = world(tmp_path, 24)
    plain = table.search()
    table.losses = table.losses * unit
    document = table.search()
    for name, weight in plain["weights"].items():
        assert document["weights"][name] == pytest.approx(weight, abs=2e-3)


@pytest.mark.filterwarnings("error")
def test_random_bytes_and_cuts_never_end_in_a_traceback(table, capsys):
    given = table.write()
    ratios, metrics = paths(table)
    whole = {path: path.read_bytes() for path in (ratios, metrics)}
    rng = np.random.default_rng(0)
    for _ in range(60):
        for path in whole:
            made = bytearray(whole[path])
            for _ in range(int(rng.integers(0, 4))):
                at = int(rng.integers(len(made)))
                if rng.random() < 0.5:
                    made[at] = int(rng.integers(256))
                else:
                    del made[at : at + int(rng.integers(1, 40))]
            path.write_bytes(bytes(made))
        code = cli.run(search.main, [*given, *table.words[:2], "--bootstrap", "10"])
        shown = capsys.readouterr()
        assert code in (0, 2, 3), shown.err
        assert "Traceback" not in shown.err and (code == 0 or "\n  fix: " in shown.err)


@pytest.mark.parametrize(("more", "words"), DATA["absurd_numbers_on_the_command_line_are_named"])
@pytest.mark.filterwarnings("error")
def test_absurd_numbers_on_the_command_line_are_named(table, capsys, more, words):
    assert cli.run(search.main, [*table.write(), *table.words[:2], *more]) == cli.BAD_INPUT
    assert words in capsys.readouterr().err
