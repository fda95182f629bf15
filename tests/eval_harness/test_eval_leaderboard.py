"""The table with published rows, and the single question."""

from __future__ import annotations

import json

import pytest
from shared_data import data_of

from eval_harness import ask, leaderboard
from eval_harness.run import evaluate
from eval_harness.table import Table
from haigo import cli
from haigo.cli import HaigoError

DATA = data_of(__file__)


@pytest.fixture(scope="module")
def result(loaded, jglue, tmp_path_factory):
    folder = tmp_path_factory.mktemp("result")
    evaluate("some/model", "jcommonsenseqa-1.1-0.3,jnli-1.1-0.2", 3, 5, jglue, folder, model=loaded("spm"))
    return folder / "result.json"


def test_published_rows_are_the_readmes():
    rows = leaderboard.published()
    own = [row for row in rows if not row.program]
    assert len(own) == 17 and len(leaderboard.published(every=True)) == 17 + 15 + 57
    llama = next(row for row in rows if row.name == "llama2/13b")
    cell = llama.cells["jcommonsenseqa"]
    assert (cell.percent, cell.task, cell.shots) == (74.89, "jcommonsenseqa-1.1-0.3", 3)


def test_rows_of_papers_say_what_they_do_not_state(result):
    later = [row for row in leaderboard.published() if row.program]
    assert len(later) == 15 and {row.program for row in later} == {"arXiv:2403.15484"}
    assert all(len(row.cells) == 8 for row in later)
    table = leaderboard.compare([leaderboard.ours(result)], later)
    rows = dict(table.rows)
    said = {table.notes["the prompt is not recorded"]}
    (precision,) = [mark for note, mark in table.notes.items() if "do not say the precision" in note]
    shown = rows["rinna/youri-7b (arXiv:2403.15484)"][0].split()
    assert shown[0] == "76.94" and {*said, precision} <= set(shown[2])


def test_the_average_is_seen_in_a_terminal_that_is_too_narrow():
    table = Table(columns=["a" * 50, "b" * 50, "average"], rows=[("model", ["1.00", "2.00", "1.50"])])
    wide, narrow = table.text(150).splitlines(), table.text(80).splitlines()
    assert wide[0].split()[-1] == "average" and table.text().splitlines() == wide
    assert narrow[0].split()[:2] == ["model", "average"] and narrow[1].split() == ["model", "1.50", "1.00", "2.00"]


def test_what_differs_is_marked_and_said(result):
    table = leaderboard.compare([leaderboard.ours(result)], leaderboard.published())
    assert table.columns == ["jcommonsenseqa", "jnli"]
    rows = dict(table.rows)
    assert rows["stabilityai/japanese-stablelm-instruct-alpha-7b"][0] == "82.22 ±1.14"  # same task, shots and precision
    mark = table.notes["prompt 0.3, another than in the first row"]
    assert rows["stabilityai/japanese-stablelm-instruct-alpha-7b"][1] == f"52.05 ±1.01 {mark}"
    (own,) = [cells for name, cells in table.rows if "(this run)" in name]
    assert table.notes["the data are not JGLUE's"] in own[0]


def test_the_table_as_files(result, tmp_path, capsys):
    argv = [str(result), "--markdown", str(tmp_path / "t.md"), "--html", str(tmp_path / "t.html")]
    assert cli.run(leaderboard.main, argv) == 0
    assert (tmp_path / "t.md").read_text(encoding="utf-8").startswith("| model | jcommonsenseqa | jnli |")
    assert '<td class="n">82.22 <small>±1.14</small></td>' in (tmp_path / "t.html").read_text(encoding="utf-8")
    assert cli.run(leaderboard.main, [str(result)]) == 0
    assert "a: " in capsys.readouterr().out


def test_samples_of_an_earlier_run_tell_nothing_of_this_one(loaded, jglue, tmp_path, capsys):
    """A run without --log_samples leaves what lies there: it belongs to the result before."""
    given = ("jcommonsenseqa-1.1-0.3", 3, 5, jglue)
    for folder, logged in (("a", True), ("b", True)):
        evaluate("some/model", *given, tmp_path / folder, model=loaded("spm"), log_samples=logged)
    words = [str(tmp_path / folder / "result.json") for folder in ("a", "b")]
    assert cli.run(leaderboard.main, words) == 0 and "exact McNemar test" in capsys.readouterr().out
    kept = (tmp_path / "b" / "samples_jcommonsenseqa-1.1-0.3.jsonl").read_bytes()
    evaluate("some/model", *given, tmp_path / "b", model=loaded("spm"), log_samples=False, seed=7)
    assert (tmp_path / "b" / "samples_jcommonsenseqa-1.1-0.3.jsonl").read_bytes() == kept
    assert cli.run(leaderboard.main, words) == 0
    assert "no test, the samples are missing, of another run" in capsys.readouterr().out


def test_other_files_are_refused(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps({"results": {}}), encoding="utf-8")
    with pytest.raises(HaigoError, match="not a result of"):
        leaderboard.ours(tmp_path / "x.json")


def test_ask_prints_the_block(loaded):
    reply = ask.ask(loaded("spm"), "灯台守が探しているものは？", ["干し魚", "銅の鍵", "赤い糸"], "銅の鍵")
    lines = str(reply).splitlines()
    assert lines[0] == "Question: 灯台守が探しているものは？" and lines[3].startswith("* 銅の鍵: -")
    assert lines[-1].endswith("(right)" if reply.prediction == 1 else "(wrong)")
    assert max(reply.loglikelihoods) == reply.loglikelihoods[reply.prediction]


def test_ask_scores_as_the_task_does(loaded, jglue, tmp_path):
    name = "jcommonsenseqa-1.1-0.3"
    evaluate("", name, 0, 1, jglue, tmp_path, model=loaded("spm"))
    row = json.loads((tmp_path / f"samples_{name}.jsonl").read_text(encoding="utf-8").splitlines()[0])
    question = row["context"].split("### 入力:\n")[1].split("\n\n### 応答")[0]
    reply = ask.ask(loaded("spm"), question, [choice["text"] for choice in row["choices"]])
    assert reply.loglikelihoods == pytest.approx([choice["loglikelihood"] for choice in row["choices"]], abs=1e-5)


@pytest.mark.parametrize(("more", "problem"), DATA["ask_refuses"])
def test_ask_refuses(capsys, more, problem):
    assert cli.run(ask.main, ["--model", "none", "--question", "q", *more]) == 2
    assert problem in capsys.readouterr().err
