"""`--suite`: what it names, and what may be said beside it."""

from __future__ import annotations

import json
import shutil

import pytest
import synthetic_jglue
import synthetic_others

from eval_harness import leaderboard, run, suites, tasks
from eval_harness.options import SUITES, RunOptions
from haigo import cli


def test_the_leaderboards_is_a_published_row():
    row = next(row for row in leaderboard.published() if row.name == "llama2/13b")
    entries = {each.task.split("-")[0]: each for each in suites.SUITES["leaderboard"]}
    assert entries.keys() == row.cells.keys()
    for column, cell in row.cells.items():
        assert (entries[column].task, entries[column].shots, entries[column].limit) == (cell.task, cell.shots, None)


def test_every_suite_names_tasks_that_are_there():
    assert tuple(suites.SUITES) == SUITES
    for entries in suites.SUITES.values():
        names = [each.task for each in entries]
        assert tasks.select(names) == names


def test_a_suite_is_its_tasks(model_folder, jglue, tmp_path, capsys, monkeypatch):
    """Two of JGLUE's; the same result and harness.sh as by --tasks."""
    monkeypatch.setitem(suites.SUITES, "base-ja", suites.SUITES["base-ja"][:2])
    model = ["--model_args", f"pretrained={model_folder('spm')}", "--data_dir", str(jglue), "--log_samples"]
    assert cli.run(run.main, [*model, "--suite", "base-ja", "--output_path", str(tmp_path / "suite")]) == 0
    words = ["--tasks", "jcommonsenseqa-1.1-0.3,jnli-1.1-0.3", "--num_fewshot", "3,3", "--limit", "all,1000"]
    assert cli.run(run.main, [*model, *words, "--output_path", str(tmp_path / "tasks")]) == 0
    one, two = (
        json.loads((tmp_path / name / "result.json").read_text(encoding="utf-8")) for name in ("suite", "tasks")
    )
    assert one["results"] == two["results"] and one["config"] == two["config"]
    assert one["haigo"]["tasks"] == two["haigo"]["tasks"]
    scripts = [(tmp_path / name / "harness.sh").read_text(encoding="utf-8") for name in ("suite", "tasks")]
    assert scripts[0] == scripts[1] and 'TASK="jcommonsenseqa-1.1-0.3,jnli-1.1-0.3"' in scripts[0]
    given = ["--suite", "base-ja", "--limit", "4", "--num_fewshot", "1,0", "--output_path", str(tmp_path / "given")]
    assert cli.run(run.main, [*model, *given]) == 0
    about = json.loads((tmp_path / "given" / "result.json").read_text(encoding="utf-8"))["haigo"]["tasks"]
    assert [(each["n"], each["num_fewshot"]) for each in about.values()] == [(4, 1), (4, 0)]


@pytest.mark.parametrize("suite", [name for name in SUITES if name != "llm-jp"])  # which test_eval_llm_jp.py has
def test_a_whole_suite(suite, model_folder, tmp_path, capsys):
    """All its tasks through the command, the table beside the published rows without a mark for task or shots."""
    pytest.importorskip("fugashi")
    data = synthetic_others.write(synthetic_jglue.write(tmp_path / "data"))
    words = [
        "--model_args",
        f"pretrained={model_folder('spm')}",
        "--data_dir",
        str(data),
        "--suite",
        suite,
        "--limit",
        "2",
    ]
    assert cli.run(run.main, [*words, "--output_path", str(tmp_path / "out")]) == 0
    about = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))["haigo"]["tasks"]
    wanted = {each.task: each.shots for each in suites.SUITES[suite]}
    assert {name: each["num_fewshot"] for name, each in about.items()} == wanted
    assert not any("shots; published rows had" in note for each in about.values() for note in each["not_comparable"])
    capsys.readouterr()
    assert cli.run(leaderboard.main, [str(tmp_path / "out" / "result.json"), "--sort", "name"]) == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("llama2/13b ")]
    assert len(row.split("  ")) > len(wanted)


def test_what_can_not_be_had_is_left_out_and_said(jglue, tmp_path, capsys):
    folder = tmp_path / "data"
    shutil.copytree(jglue, folder)
    for path in [path for path in folder.rglob("*") if "marc_ja" in str(path) and path.is_file()]:
        path.unlink()
    taken = suites.chosen(RunOptions(suite="leaderboard", data_dir=str(folder)))
    assert len(taken.tasks) == len(taken.num_fewshot) == 7 and not any("marc_ja" in name for name in taken.tasks)
    assert "without marc_ja-1.1-0.3" in capsys.readouterr().err
    (folder / "marc_ja-v1.1").mkdir(exist_ok=True)
    (folder / "marc_ja-v1.1" / "valid-v1.0.json").write_text("", encoding="utf-8")
    assert len(suites.chosen(RunOptions(suite="leaderboard", data_dir=str(folder))).tasks) == 8
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--suite", "base-ja", "--tasks", "jnli-1.1-0.3"], "--suite base-ja and --tasks both say what is scored"),
        (["--suite", "base"], "invalid choice: 'base'"),
        (["--suite", "base-ja", "--num_fewshot", "1,2"], "--num_fewshot has 2 values for 6 tasks"),
        (["--suite", "base-ja"], "does not exist"),
    ],
)
def test_what_is_refused(words, problem, tmp_path, capsys):
    assert cli.run(run.main, ["--model_args", "pretrained=none", "--data_dir", str(tmp_path), *words]) == 2
    assert problem in capsys.readouterr().err
