"""launch.pipeline.stage: done once, skipped when unchanged, redone when changed, cleared or continued after a kill."""

import json
from functools import partial
from pathlib import Path

from haigo import files
from launch.pipeline import actions, runfile
from launch.pipeline.stage import Run, Stage


def write(folder: str, text: str) -> str:
    path = Path(folder) / "out.txt"
    path.write_text(text)
    with open(Path(folder).parent / "calls.txt", "a") as handle:
        handle.write(text)
    return text


def stage(root: Path, text: str, **options) -> Stage:
    return Stage(name="a", inputs=[text], action=partial(write, str(root / "a"), text), **options)


def calls(root: Path) -> str:
    path = root / "calls.txt"
    return path.read_text() if path.exists() else ""


def test_skipped_when_unchanged_and_redone_when_changed(tmp_path):
    assert Run(tmp_path).do(stage(tmp_path, "x")) == "x"
    assert Run(tmp_path).do(stage(tmp_path, "x")) == "x"
    assert calls(tmp_path) == "x"
    assert Run(tmp_path).do(stage(tmp_path, "y")) == "y"
    assert calls(tmp_path) == "xy"


def test_redone_when_an_output_was_deleted_or_cut(tmp_path):
    Run(tmp_path).do(stage(tmp_path, "x"))
    (tmp_path / "a" / "out.txt").unlink()
    Run(tmp_path).do(stage(tmp_path, "x"))
    (tmp_path / "a" / "out.txt").write_text("")
    Run(tmp_path).do(stage(tmp_path, "x"))
    assert calls(tmp_path) == "xxx"


def test_half_done_folder_is_continued_with_the_same_inputs_and_cleared_with_others(tmp_path):
    Run(tmp_path).do(stage(tmp_path, "x"))
    (tmp_path / "a" / ".done.json").unlink()
    files.write_text(tmp_path / "a" / "partial", "kept work")
    (tmp_path / "a" / "notes").write_text("mine")
    Run(tmp_path).do(stage(tmp_path, "x"))
    assert (tmp_path / "a" / "partial").exists()
    Run(tmp_path).do(stage(tmp_path, "y"))
    assert not (tmp_path / "a" / "partial").exists() and (tmp_path / "a" / "notes").read_text() == "mine"


def test_keep_never_clears(tmp_path):
    Run(tmp_path).do(stage(tmp_path, "x", keep=True))
    (tmp_path / "a" / "old_run").write_text("1")
    Run(tmp_path).do(stage(tmp_path, "y", keep=True))
    assert (tmp_path / "a" / "old_run").exists()


def test_dry_run_changes_nothing(tmp_path):
    Run(tmp_path).do(stage(tmp_path, "x"))
    before = sorted((tmp_path / "a").iterdir())
    dry = Run(tmp_path, dry_run=True)
    assert dry.do(stage(tmp_path, "y")) is None
    assert dry.states == [("changed", "a")]
    assert sorted((tmp_path / "a").iterdir()) == before and calls(tmp_path) == "x"


def test_side_by_side_gives_the_same_as_one_by_one(tmp_path):
    stages = [Stage(name=n, inputs=n, action=partial(write, str(tmp_path / n), n)) for n in "abc"]
    assert Run(tmp_path).do_all(stages, workers=2) == {"a": "a", "b": "b", "c": "c"}
    assert Run(tmp_path).do_all(stages, workers=2) == {"a": "a", "b": "b", "c": "c"}
    assert sorted(calls(tmp_path)) == ["a", "b", "c"]


def test_cleaning_is_told_apart_by_what_it_wrote_not_by_how_much(tmp_path):
    """Three documents of one length give the same counts under every seed; what comes after must be redone all the same."""
    rows = [{"id": str(n), "text": f"文書{n}は同じ長さの文章でできている。" * 8} for n in range(3)]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    news = runfile.Corpus(files=[str(tmp_path / "a.jsonl")], profile="plain", min_chars=10)
    objective = runfile.Objective(metrics={"a_bpb": 1.0})
    run = runfile.RunFile(output="o", corpora={"a": news}, split=[0.4, 0.3, 0.3], objective=objective)
    made = [
        actions.clean(tmp_path / f"out{seed}", run.replaced(data_seed=seed), "a", run.corpora["a"].files)
        for seed in range(6)
    ]
    assert len({json.dumps(each) for each in made}) > 1
    again = actions.clean(tmp_path / "again", run.replaced(data_seed=0), "a", run.corpora["a"].files)
    assert again == made[0]


def test_a_marker_of_an_earlier_version_takes_over_nothing_outside_its_folder(tmp_path):
    run, mine = tmp_path / "run", tmp_path / "mine"
    for path in (run / "a" / "out.txt", run / "a" / "notes.txt", mine / "b.txt", run / "c.txt"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("here")
    (run / "a" / "link").symlink_to(mine)
    named = {"out.txt": 4, "../c.txt": 4, "../../mine/b.txt": 4, "link/b.txt": 4, str(mine / "b.txt"): 4}
    (run / "a" / ".done.json").write_text(
        json.dumps({"inputs": "other", "identity": "x", "outputs": named, "seconds": 1.0})
    )
    (run / "a" / ".inputs").write_text("other")
    Run(run).do(stage(run, "y"))
    assert (run / "a" / "out.txt").read_text() == "y"
    for path in (run / "c.txt", mine / "b.txt", run / "a" / "notes.txt"):
        assert path.read_text() == "here" and not files.made(path)
    assert [each.name for each in mine.iterdir()] == ["b.txt"]
