"""Files of the user's where launch.deepy, launch.runs, launch.convert and launch.checkpoints write."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from sentinels import look, plant
from test_convert import case  # noqa: F401
from test_runs import Several, several  # noqa: F401
from test_supervise import Run, run  # noqa: F401

from haigo import cli, files
from launch import checkpoints, convert, runs


def test_a_supervised_run(run: Run, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    for folder in (run.save, run.save / "haigo"):
        plant(folder)
    mine = look(run.save.parent)
    run.plan({"kind": "kill", "at": 8}, None)
    assert run.go() == 0
    assert mine.items() <= look(run.save.parent).items()
    # again, and with a watcher's file that is the user's
    assert run.go() == 0
    assert mine.items() <= look(run.save.parent).items()


@pytest.mark.parametrize("more", [[], ["--no-supervise"], ["--dry-run"]])
def test_a_log_in_the_configs_place(run: Run, more: list[str], capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    run.plan()
    config = run.config.read_bytes()
    alias = run.config.with_name("alias.log")
    alias.hardlink_to(run.config)
    for log in (run.config, alias):
        assert run.go("--log", str(log), *more) == cli.REFUSED
        assert run.config.read_bytes() == config and str(log) in capsys.readouterr().err
    theirs = run.config.with_name("their.log")
    theirs.write_text("mine\n")
    assert more == ["--dry-run"] or (
        run.go("--log", str(theirs), *more) == 0 and theirs.read_text().startswith("mine\n")
    )


def test_a_tables_log_in_the_tables_place(several: Several, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    several.plan(a={}, b={}, c={})
    text = several.table.read_text()
    rows = yaml.safe_load(text)
    for name in (several.table.name, rows["runs"][1]["config"]):
        rows["runs"][0]["log"] = name
        several.table.write_text(yaml.safe_dump(rows))
        before = look(several.folder)
        assert cli.run(runs.main, [str(several.table)]) == cli.REFUSED
        assert look(several.folder) == before and Path(name).name in capsys.readouterr().err


@pytest.mark.parametrize("name", ["child.json", "exit.json", "running.lock", "events.jsonl", "start.json", "alive"])
def test_a_file_of_the_users_in_a_watchers_place(run: Run, name: str, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    theirs = run.save / "haigo" / name
    theirs.parent.mkdir(parents=True)
    theirs.write_text("mine")
    run.plan()
    assert run.go() in (cli.REFUSED, cli.BAD_INPUT)
    assert theirs.read_text() == "mine" and str(theirs) in capsys.readouterr().err


def test_several_runs(several: Several, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    plant(several.folder / "table.runs")
    mine = look(several.folder)
    several.plan(a={}, b={}, c={})
    assert cli.run(runs.main, [str(several.table)]) == 0
    assert mine.items() <= look(several.folder).items()


def test_a_converted_model(case, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    one = case()
    plant(one.save)
    assert one.run() == cli.OK
    plant(one.out)
    with cli.acting("eval_harness.run"):
        files.write_text(one.out / "sub" / "result.json", "scores that took a night")
    assert one.run("--force") == cli.REFUSED and "was made by eval_harness.run" in capsys.readouterr().err
    files.remove(one.out / "sub" / "result.json")
    mine = {name: each for name, each in look(one.root).items() if name != "made.said"}  # the pretended converter's own
    assert one.run("--force") == cli.OK
    assert mine.items() <= look(one.root).items()
    for place in (one.save, one.folder, one.save.parent):
        assert cli.run(convert.main, [str(one.save), "--out", str(place), "--force"]) in (cli.BAD_INPUT, cli.REFUSED)
    assert mine.items() <= look(one.root).items()


def test_a_torn_latest_is_mended_and_nothing_else_changes(case) -> None:  # noqa: F811
    one = case()
    plant(one.save)
    (one.save / "latest").write_text("global_step999")
    mine = look(one.save)
    cli.run(checkpoints.main, [str(one.save), "--mend"])
    now = look(one.save)
    assert {name for name in mine if now.get(name) != mine[name]} <= {"latest"}
    assert (one.save / "latest").read_text() != "global_step999"


def test_the_kit_sees_a_change(tmp_path: Path) -> None:
    plant(tmp_path / "out")
    before = look(tmp_path)
    (tmp_path / "out" / "notes.txt").write_text("x")
    assert not before.items() <= look(tmp_path).items()
