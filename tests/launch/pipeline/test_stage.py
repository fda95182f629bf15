"""launch.pipeline.stage: done once, skipped when unchanged, redone when changed, cleared or continued after a kill."""

import gc
import itertools
import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from haigo import files, pool, sealed
from launch.pipeline import actions, runfile, spent
from launch.pipeline.stage import Run, Stage, spent_on


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


def where(folder: str) -> list[str]:
    """What a stage finds in its process: the folder it works from, and the parent's environment."""
    return [os.getcwd(), os.environ.get("HAIGO_OF_A_TEST", "none"), str(gc.isenabled())]


def test_workers_of_the_fork_server_have_what_the_parent_has(tmp_path, monkeypatch):
    Run(tmp_path / "first", preload=["json"]).do(stage(tmp_path / "first", "x"))  # it runs from here on
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HAIGO_OF_A_TEST", "set later")
    stages = [Stage(name=n, inputs=n, action=partial(where, str(tmp_path / n))) for n in "ab"]
    found = Run(tmp_path, preload=["json"]).do_all(stages, workers=2)
    assert found == {name: [str(tmp_path), "set later", "True"] for name in "ab"}


def train_something(folder: str) -> str:
    spent.note({"tokens": 600, "tokens_per_cpu_s": 10.0, "cpu_seconds": 70.0})
    return folder


def test_a_stage_says_what_it_took(tmp_path, monkeypatch):
    stages = [Stage(name=n, inputs=n, action=partial(train_something, str(tmp_path / n))) for n in "ab"]
    monkeypatch.setattr(pool, "cpu_seconds", itertools.count(0, 65).__next__)
    run = Run(tmp_path)
    run.do_all(stages, workers=1)
    # a training of 60 s and an evaluation of 10 s in 65 s of the stage: the models' own figures give way
    assert [(each.cpu, each.training, each.evaluation) for each in run.spent.values()] == [(65, 60, 5)] * 2
    assert {name: (each.cpu, each.training) for name, each in spent_on(tmp_path).items()} == {
        "a": (65, 60),
        "b": (65, 60),
    }
    again = Run(tmp_path)
    again.do_all(stages, workers=1)
    assert not again.spent


_kept: list[subprocess.Popen[bytes] | bytes] = []
_SIZE = 50 << 20
_HOLD = f"import sys; kept = b'x' * {_SIZE}; print(flush=True); sys.stdin.read()"


def hold(how: str) -> None:
    """Take memory, in this process or in a child."""
    if how == "here":
        _kept.append(b"x" * _SIZE)
    if how == "child":
        child = subprocess.Popen([sys.executable, "-S", "-c", _HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert child.stdout and child.stdout.readline() == b"\n"
        _kept.append(child)


def measure(folder: str) -> None:
    """The memory of three stages, as a line of JSON."""
    run = Run(Path(folder))
    try:
        for how in ("nothing", "here", "child"):
            run.do(Stage(name=how, inputs=how, action=partial(hold, how)))
    finally:
        for kept in _kept:
            if isinstance(kept, subprocess.Popen):
                kept.communicate()
    assert f"{run.spent['child'].memory / 2**20:,.0f} MB" in run.spent["child"].words()
    print(json.dumps({how: each.memory for how, each in run.spent.items()}))


def test_a_stages_memory_is_that_of_all_its_processes(tmp_path):
    # in a process that holds nothing else: memory that earlier tests freed would be taken again, and their children end
    words = [sys.executable, "-c", f"import test_stage; test_stage.measure({str(tmp_path)!r})"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    nothing, here, child = (found[how] for how in ("nothing", "here", "child"))
    assert nothing > 10 << 20 and here - nothing > 0.9 * _SIZE and child - here > 0.9 * _SIZE
    assert spent_on(tmp_path)["child"].memory == child


def test_what_looks_at_memory_ends_with_its_parent():
    script = "from haigo.memory_watch import Watch; print(Watch()._process.pid, flush=True); import os; os.kill(os.getpid(), 9)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    watcher = Path(f"/proc/{done.stdout.strip()}")
    assert done.returncode == -9 and watcher.name.isdigit()
    while watcher.exists() and "haigo" in (watcher / "cmdline").read_text():
        time.sleep(0.05)


def test_what_is_done_apart_is_told_too(tmp_path):
    stages = [Stage(name=n, inputs=n, action=partial(train_something, str(tmp_path / n))) for n in "ab"]
    run = Run(tmp_path, preload=["json"])
    run.do_all(stages, workers=2)
    assert (
        all(each.cpu is not None and each.training <= each.cpu for each in run.spent.values()) and len(run.spent) == 2
    )


def test_a_marker_without_processor_time_and_memory_is_read(tmp_path):
    Run(tmp_path).do(stage(tmp_path, "x"))
    path = tmp_path / "a" / ".done.json"
    content, _ = sealed.read(path)
    del content["cpu_seconds"], content["memory_bytes"]
    sealed.write(path, content)
    assert Run(tmp_path).do(stage(tmp_path, "x")) == calls(tmp_path) == "x"
    assert spent_on(tmp_path)["a"].cpu is spent_on(tmp_path)["a"].memory is None


def test_the_split_of_a_runs_time():
    stages = {"proxies": spent.Spent(40, 70, 60, 10), "search": spent.Spent(10, 8)}
    said = spent.split(stages, {"search": 10, "proxies": 40, "design": 0.1}, spent.Spent(60, 90), 2)
    assert said == (
        "time: 1:00, proxies 0:40 (67%), search 0:10 (17%); of 2 cores' time: training steps 50%, evaluation 8%,"
        " everything else 17%, idle or others' 25%"
    )
    assert [each.words() for each in stages.values()] == [
        "0:40 (CPU 1:10, 1:00 of it training steps)",
        "0:10 (CPU 0:08)",
    ]


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
