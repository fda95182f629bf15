"""The steps as a hundred tasks, with faults injected: the bytes of file after file, in a pool and under datatrove.

datatrove: where this interpreter has it, or DATATROVE_PYTHON names one that has (with what `preprocess` needs).
"""

import gzip
import importlib.util
import json
import os
import random
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

from haigo import cli, files, ownership, yamlfile
from haigo.cli import HaigoError
from haigo.formats import documents
from preprocess import clean, index, inspect, scale, scale_executors, scale_runfile, scale_steps

SHARDS = 100
TASKS = 24  # of datatrove, which takes a second or two of CPU to start each
SCRIPT = Path(__file__).parent / "scale_faults.py"


@pytest.fixture(scope="module")
def raw(tmp_path_factory, model_dir):
    folder = tmp_path_factory.mktemp("raw")
    rng = random.Random(2)
    for number in range(SHARDS):
        rows = [{"text": "".join(rng.choices("日本の山は雨である質問。", k=rng.randrange(60, 200)))} for _ in range(12)]
        body = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        (folder / f"{number:03d}.jsonl.gz").write_bytes(gzip.compress(body))
    return folder


def run_file(place, raw, model_dir, **more):
    keys = {"corpus": "x", "inputs": [str(raw)], "output": str(place / "out"), "tokenizer": str(model_dir)}
    keys |= {"clean": {"min_chars": 10}, "tasks": SHARDS, "workers": 2}
    yamlfile.write(place / "run.yml", keys | more)
    return place / "run.yml"


def plain(inputs, model_dir, place):
    """File after file with the plain functions."""
    for number, path in enumerate(inputs):
        clean.clean_corpus("x", [path], place / f"{number:03d}", min_chars=10)
    for split in documents.SPLITS:
        shards = [
            path for number in range(len(inputs)) for path in sorted((place / f"{number:03d}" / split).glob("*.zst"))
        ]
        index.index(shards, model_dir, place / split)
    return {name: (place / name).read_bytes() for name in result_names()}


@pytest.fixture(scope="module")
def expected(raw, model_dir, tmp_path_factory):
    return plain(sorted(raw.iterdir()), model_dir, tmp_path_factory.mktemp("expected"))


def result_names():
    return [f"{split}_text_document.{kind}" for split in documents.SPLITS for kind in ("bin", "idx")]


def same(place, expected):
    assert {name: (place / "out" / name).read_bytes() for name in result_names()} == expected
    for split in documents.SPLITS:
        assert inspect.verify(place / "out" / f"{split}_text_document") == []
    assert not list((place / "out").glob(".*parts"))


@pytest.mark.parametrize("tasks", [1, 7])
def test_the_number_of_tasks_does_not_matter(raw, model_dir, tmp_path, tasks):
    few = sorted(raw.iterdir())[:9]
    expected = plain(few, model_dir, tmp_path / "plain")
    path = run_file(tmp_path, raw, model_dir, workers=1, inputs=[str(one) for one in few])
    assert scale.main([str(path), "--tasks", str(tasks)]) == 0
    same(tmp_path, expected)
    stamps = {one: one.stat().st_mtime_ns for one in (tmp_path / "out").rglob("*") if one.is_file()}
    stamps.pop(tmp_path / "out" / files.LOCK)
    stamps = {one: stamp for one, stamp in stamps.items() if "logs" not in one.parts}  # where each task stands
    assert scale.main([str(path), "--tasks", "13"]) == 0  # nothing is done twice
    kept = {one: one.stat().st_mtime_ns for one in stamps}
    assert kept == stamps


def faults(python, path, kind, place):
    (place / "faults").mkdir()
    done = subprocess.run(
        [python, str(SCRIPT), str(path), kind, str(place / "faults")],
        capture_output=True, text=True, cwd=place, env={**os.environ, "OMP_NUM_THREADS": "1", "HAIGO_QUIET": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return int(done.stdout.split("ATTEMPTS")[1]), done.stderr


@pytest.mark.slow
def test_faults_in_a_pool(raw, model_dir, expected, tmp_path):
    """Exceptions and kill -9 in workers: the other tasks go on, so that every step is begun twice at most."""
    path = run_file(tmp_path, raw, model_dir, tasks=15)
    attempts, said = faults(sys.executable, path, "pool", tmp_path)
    same(tmp_path, expected)
    assert 1 < attempts <= 4 and "Failed" in said  # a task fails once; the steps are three
    assert "tasks failed; task 00001: an internal error" in said and "fails after its work" in said


@pytest.mark.slow
def test_a_hundred_shards_through_datatrove_with_faults(raw, model_dir, expected, tmp_path):
    python = os.environ.get("DATATROVE_PYTHON") or (sys.executable if importlib.util.find_spec("datatrove") else None)
    if python is None:
        pytest.skip("datatrove is not installed (pip install 'haigo[data]', or DATATROVE_PYTHON)")
    path = run_file(tmp_path, raw, model_dir, tasks=TASKS)
    attempts, said = faults(python, path, "datatrove", tmp_path)
    same(tmp_path, expected)
    marks = [len(list(folder.glob("*"))) for folder in (tmp_path / "out" / "logs").glob("*/completions")]
    assert sorted(marks) == [1, TASKS, TASKS]
    # a fault before the work: every seventh; after it: every third
    assert attempts > 1 and "fails before its work" in said and "fails after its work" in said
    again = subprocess.run(
        [python, "-m", "preprocess.scale", str(path), "--executor", "datatrove"], cwd=SCRIPT.parent.parent.parent,
        capture_output=True, text=True,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr[-2000:]
    same(tmp_path, expected)
    # this call's marks are others than those of the faults; once more, and it starts none of the tasks that are done
    command = [python, "-m", "preprocess.scale", str(path), "--executor", "datatrove"]
    for words in (command, [*command, "--status", "--json"]):
        said = subprocess.run(words, cwd=SCRIPT.parent.parent.parent, capture_output=True, text=True, check=True).stdout
    assert {name: row["done"] for name, row in json.loads(said)["steps"].items()} == {
        "clean": TASKS, "index": TASKS, "join": 1,
    }  # fmt: skip


def test_the_slurm_executor_gets_its_words(raw, model_dir, tmp_path, monkeypatch):
    """datatrove's classes replaced by ones that write down what they are given."""
    given = []

    class Slurm:
        def __init__(self, *, pipeline, tasks, logging_dir, depends, time, partition, job_name, **rest):
            given.append((type(pipeline[0]).__name__, tasks, depends, time, partition, job_name, rest))

        def get_incomplete_ranks(self):
            return [0]

        def run(self):
            given.append("run")

    module = types.ModuleType("datatrove.executor")
    module.LocalPipelineExecutor = module.SlurmPipelineExecutor = Slurm
    monkeypatch.setitem(sys.modules, "datatrove", types.ModuleType("datatrove"))
    monkeypatch.setitem(sys.modules, "datatrove.executor", module)
    options = {"partition": "long", "time": "01:00:00", "venv_path": "/venv/bin/activate"}
    path = run_file(tmp_path, raw, model_dir, executor="slurm", slurm=options, workers=20)
    assert scale.main([str(path)]) == 0
    *jobs, last = given
    assert last == "run" and [(job[0], job[1]) for job in jobs] == [("Clean", 100), ("Index", 100), ("Join", 1)]
    assert [job[2] is None for job in jobs] == [True, False, False]
    assert {job[3:5] for job in jobs} == {("01:00:00", "long")} and jobs[0][5] == "haigo-x-clean"
    assert jobs[0][6] == {"workers": 20, "cpus_per_task": 1, "mem_per_cpu_gb": 2, "venv_path": "/venv/bin/activate"}


def test_marks_of_another_run_are_not_believed(raw, model_dir, tmp_path, monkeypatch):
    folders = []

    class Local:
        def __init__(self, *, logging_dir, **_):
            folders.append(logging_dir)

    module = types.ModuleType("datatrove.executor")
    module.LocalPipelineExecutor = module.SlurmPipelineExecutor = Local
    monkeypatch.setitem(sys.modules, "datatrove", types.ModuleType("datatrove"))
    monkeypatch.setitem(sys.modules, "datatrove.executor", module)
    run = scale_runfile.read(run_file(tmp_path, raw, model_dir))
    run = run.replaced(executor="datatrove")
    for one, salt in ((run, "a"), (run.replaced(workers=5), "a"), (run, "b"), (run.replaced(clean={}), "a")):
        scale_executors.datatrove(scale.steps(one), one, salt)
    assert folders[:3] == folders[3:6] and len(set(folders)) == 9
    scale_executors.datatrove(scale.steps(run), run, "a")  # as first, but others replaced what that left
    assert not set(folders[:9]) & set(folders[12:]) and len(set(folders)) == 15 - 3


def test_what_is_no_more_leaves_the_datasets(raw, model_dir, tmp_path, capfd):
    """An input that was taken away, and a split that has no documents any more, do not live on in the output."""
    (tmp_path / "raw").mkdir()
    for number in range(3):
        shutil.copy(raw / f"{number:03d}.jsonl.gz", tmp_path / "raw")
    path = run_file(tmp_path, tmp_path / "raw", model_dir, tasks=2, workers=1, clean={"min_chars": 1})
    assert cli.run(scale.main, [str(path)]) == 0
    (tmp_path / "raw" / "001.jsonl.gz").unlink()
    (tmp_path / "out" / "clean" / "notes").mkdir()
    more = {"clean": {"min_chars": 1, "split_shares": [1.0, 0.0, 0.0]}}
    run_file(tmp_path, tmp_path / "raw", model_dir, tasks=2, workers=1, **more)
    assert cli.run(scale.main, [str(path)]) == 0
    assert "clean/00002 is of an input that is no more" in capfd.readouterr().err
    assert sorted(os.listdir(tmp_path / "out" / "clean")) == [
        ".haigo",
        "00000",
        "00000.json",
        "00001",
        "00001.json",
        "notes",
    ]
    told = json.loads((tmp_path / "out" / "train_text_document.json").read_text())
    assert told["documents"] == 24 and not list((tmp_path / "out").glob("valid*")) + list(
        (tmp_path / "out").glob("test*")
    )


def test_a_dataset_of_another_command_is_named_before_the_work(raw, model_dir, tmp_path, capsys):
    path = run_file(tmp_path, raw, model_dir)
    made = [
        str(raw / "000.jsonl.gz"),
        "--tokenizer",
        str(model_dir),
        "--output-prefix",
        str(tmp_path / "out" / "valid"),
    ]
    assert cli.run(index.main, made) == 0
    assert cli.run(scale.main, [str(path)]) == cli.REFUSED
    assert "was made by preprocess.index" in capsys.readouterr().err and not (tmp_path / "out" / "clean").exists()


def test_a_second_run_in_the_same_folder_waits_for_its_turn(raw, model_dir, tmp_path, capsys):
    """Two that join the same shards took them away from each other; what was left was nobody's, and refused for ever."""
    path = run_file(tmp_path, raw, model_dir)
    with files.owner(tmp_path / "out"):
        assert cli.run(scale.main, [str(path)]) == cli.BAD_INPUT
    assert "is in use by another process" in capsys.readouterr().err and not (tmp_path / "out" / "clean").exists()


def test_a_step_in_a_process_of_somebody_elses_makes_the_commands_files(raw, model_dir, tmp_path):
    scale_steps.Clean("x", (str(raw / "000.jsonl.gz"),), str(tmp_path / "out"))()
    assert cli.verb is None and ownership.maker(tmp_path / "out" / "clean" / "00000.json") == "preprocess.scale"


def test_indexing_waits_for_cleaning(raw, model_dir, tmp_path):
    step = scale_steps.Index(str(tmp_path), str(model_dir))
    with pytest.raises(HaigoError, match="holds no cleaned folder"):
        step(None, 0, 1)
    (tmp_path / "clean" / "00000").mkdir(parents=True)
    with pytest.raises(HaigoError, match="00000 is not finished"):
        step(None, 0, 1)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"corpora": 1}, r"run.yml: unknown key 'corpora'. Did you mean 'corpus'"),
        ({"inputs": None}, "'inputs' is None, which is not a list of text"),
        ({"corpus": "a/b"}, r"run.yml: 'a/b' cannot be a corpus's name"),
        ({"tasks": 0}, "'tasks' is 0.\n  fix: give a number that is at least 1"),
        ({"slurm": 3}, "'slurm' is 3, which is not a map of names"),
        ({"executor": "slum"}, "'executor' is 'slum'. Did you mean 'slurm'"),
        ({"tokenizer": "nowhere"}, "nowhere does not exist"),
    ],
)
def test_run_files_that_are_refused(raw, model_dir, tmp_path, more, message):
    with pytest.raises(HaigoError, match=message):
        scale.main([str(run_file(tmp_path, raw, model_dir, **more))])
    assert not (tmp_path / "out").exists()


def test_without_datatrove(raw, model_dir, tmp_path, capsys, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "datatrove"] or ["datatrove"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "datatrove", None)
    assert cli.run(scale.main, [str(run_file(tmp_path, raw, model_dir)), "--executor", "datatrove"]) == cli.BAD_INPUT
    assert "pip install 'haigo[data]'" in capsys.readouterr().err
