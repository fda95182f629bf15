"""A run folder is believed by its bytes: whatever is changed in it, or in what it reads, is named, and what is redone comes out
as it was. One tiny run for all tests; nothing is stood in for."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from damage import flip, put
from shared_data import data_of
from torture import state

from haigo import cli
from launch import report
from launch.pipeline import stage
from launch.pipeline.__main__ import main as pipeline_main

DATA = data_of(__file__)

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]

RUN = """
output: {out}
corpora:
  encyclopedia: {{files: "{world}/encyclopedia/*.bz2"}}
  news: {{files: "{world}/news/*.gz"}}
split: [0.8, 0.1, 0.1]
dedup: {{method: exact}}
decontaminate: {{against: ["{world}/qa/pairs_test.jsonl"], keys: [context]}}
tokenizer: {{vocab_size: 1700, chars_per_corpus: 30000}}
objective: {{metrics: {{news_bpb: 1.0}}}}
pairs: {{qa: "{world}/qa/pairs_dev.jsonl"}}
test_pairs: {{qa: "{world}/qa/pairs_test.jsonl"}}
proxies: {{model: 0-1M, runs: 5, held_out: 1, tokens: 2100, eval_tokens: 500, screen: 4}}
search: {{bootstrap: 4, force: true, max_epochs: 400}}
train: {{model: 0-1M, tokens: 2100, evaluations: 1, eval_tokens: 500, test_tokens: 500, compare: [token_share]}}
scores: {{tasks: [jcommonsenseqa-1.1-0.3], num_fewshot: [0], limit: 4, data_dir: "{world}/qa"}}
configs: {{models: [1-3B]}}
"""


def call(*words):
    return cli.run(pipeline_main, list(map(str, words)))


@pytest.fixture(scope="module")
def run_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bytes")
    world = folder / "world"
    words = [sys.executable, "-m", "examples.world", "--output-dir", str(world), "--seed", "3", "--size", "0.08"]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    path = folder / "tiny.yml"
    path.write_text(RUN.format(world=world, out=folder / "out"), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished(run_file):
    assert call(run_file) == 0
    return run_file.parent / "out"


def files_of(root):
    return [path for path in sorted(root.rglob("*")) if path.is_file()]


# --- verify -----------------------------------------------------------------------------------------------------------


def test_an_untouched_run_is_whole_and_verify_changes_nothing(finished, run_file, capsys):
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files_of(finished)}
    assert call("--verify", finished) == 0 and call("--verify", run_file) == 0
    assert "every file is as the run left it" in capsys.readouterr().out
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files_of(finished)} == before
    assert call("--verify", run_file, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"changed": []}


@pytest.mark.parametrize("at", [0, None, -1], ids=["first", "middle", "last"])
def test_a_flipped_byte_in_any_file_is_named(finished, capsys, at):
    missed = []
    for path in files_of(finished):
        if path.name == ".haigo.lock" and at != 0:
            continue  # "pid 123": only the number of the process that held the folder last, which nothing goes by
        raw, stat = flip(path, at), path.stat()
        code = call("--verify", finished)
        put(path, raw, stat)
        if code != cli.REFUSED or str(path) not in capsys.readouterr().err:
            missed.append(str(path.relative_to(finished)))
    assert not missed
    assert call("--verify", finished) == 0


@pytest.mark.parametrize(
    "name", ["news/*.gz", "encyclopedia/*.bz2", "qa/pairs_dev.jsonl", "qa/pairs_test.jsonl", "qa/jcomm*/v*"]
)
def test_a_flipped_byte_in_what_the_run_reads_is_named(finished, run_file, capsys, name):
    (path,) = (run_file.parent / "world").glob(name)
    raw, stat = flip(path), path.stat()
    try:
        for given in (finished, run_file):
            assert call("--verify", given) == cli.REFUSED
            assert f"{path} was changed since the run read it" in capsys.readouterr().err
    finally:
        put(path, raw, stat)


def test_files_that_are_gone_and_options_that_changed_are_named(finished, run_file, tmp_path, capsys):
    for name in (
        "models/chosen/model/model.safetensors",
        "proxies/.done.json",
        "design/.inputs",
        "report.html",
        "data/news/.haigo",
    ):
        kept = (finished / name).rename(tmp_path / "kept")
        try:
            assert call("--verify", finished) == cli.REFUSED
            assert str((finished / name).parent) in capsys.readouterr().err
        finally:
            kept.rename(finished / name)
    assert call("--verify", run_file, "--set", "search.bootstrap=5") == cli.REFUSED
    assert "search would be made from other inputs or options now" in capsys.readouterr().err
    assert call("--verify", tmp_path) == cli.BAD_INPUT
    assert "not a finished run folder" in capsys.readouterr().err


# --- the same command again -------------------------------------------------------------------------------------------

KINDS = DATA["kinds"]
FILES = {stage: [name for name in KINDS if KINDS[name] == stage] for stage in KINDS.values()}
ROUNDS = [
    {stage: names[at] for stage, names in FILES.items() if at < len(names)}
    for at in range(max(map(len, FILES.values())))
]
"""A file of every stage, as long as any has one left that was in no round: they are changed together, each is named."""


@pytest.mark.parametrize("changed", ROUNDS, ids=range(len(ROUNDS)))
def test_changed_files_are_named_and_made_again(finished, run_file, capsys, changed):
    before = state(finished)
    for name in changed.values():
        flip(finished / name)
    assert call(run_file) == 0
    said = capsys.readouterr().err
    for stage_name, name in changed.items():
        assert f"{stage_name}: {finished / name} was changed since it was made: the stage is done again" in said
    assert set(re.findall(r"^  ([\w/]+): done in", said, re.MULTILINE)) == set(changed)
    assert state(finished) == before
    assert call("--verify", run_file) == 0


def test_changed_files_at_the_top_are_named_and_written_again(finished, run_file, capsys):
    before = state(finished)
    names = ["mixture.yml", "supply.csv", "corpora.yml", "summary.json", "report.html", "run.yml"]
    for name in names:
        flip(finished / name)
    assert call(run_file) == 0
    said = capsys.readouterr().err
    for name in names:
        assert f"{finished / name} was changed since it was made: it is written again" in said
    assert "done in" not in said
    assert state(finished) == before and call("--verify", finished) == 0


def test_changed_records_are_named_and_trust_nothing(finished, run_file, capsys):
    before = state(finished)
    names = ["search/.done.json", "proxies/.done.json", "data/news/.done.json"]
    for changed in ([".digests.json"], names):
        for name in changed:
            flip(finished / name)
        assert call(run_file) == 0
        said = capsys.readouterr().err
        for name in changed:
            assert re.search(rf"{re.escape(str(finished / name))} (was changed since|is not valid JSON)", said)
        assert state(finished) == before and call("--verify", finished) == 0


def test_a_weight_changed_by_hand_is_never_reported(finished, run_file, capsys):
    path = finished / "search" / "mixture.yml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    first = next(iter(content["weights"]))
    whole = path.read_text(encoding="utf-8")
    old = content["weights"][first]
    edited = re.sub(rf"(?m)^(weights:\n  {first}: ).*$", rf"\g<1>{old + 0.07}", whole, count=1)
    assert edited != whole
    for each in (path, finished / "mixture.yml"):
        put(each, edited.encode())
    assert cli.run(report.main, [str(finished)]) == cli.REFUSED
    assert "mixture.yml was changed since it was made" in capsys.readouterr().err
    assert call(run_file) == 0
    assert f"search: {path} was changed since it was made" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == whole
    summary = json.loads((finished / "summary.json").read_text(encoding="utf-8"))
    assert summary["weights"][first] == old == summary["models"]["chosen"]["weights"][first]


def test_what_the_model_was_trained_on_is_what_the_report_shows(finished, capsys):
    """Were all records of the search rewritten so that they agree, the model would still know better."""
    for name in (".digests.json", "search/.done.json"):
        assert (finished / name).is_file()
    path = finished / "mixture.yml"
    whole = path.read_bytes()
    content = yaml.safe_load(whole)
    content["weights"] = dict(zip(content["weights"], reversed(list(content["weights"].values())), strict=True))
    ledger = (finished / ".digests.json").read_bytes()
    try:
        put(path, yaml.safe_dump(content, sort_keys=False).encode())
        (finished / ".digests.json").unlink()
        assert cli.run(report.main, [str(finished)]) == cli.REFUSED
        assert "is not the mixture that models/chosen was trained on" in capsys.readouterr().err
    finally:
        put(path, whole)
        (finished / ".digests.json").write_bytes(ledger)


def test_a_stage_that_was_damaged_redoes_no_more_than_itself(finished, run_file, capsys):
    before = {path: path.stat().st_mtime_ns for path in finished.glob("models/*/model/model.safetensors")}
    flip(finished / "corpora" / "news" / "valid" / "00000.jsonl.zst")
    assert call(run_file, "--dry-run") == 0
    assert "corpora/news: damaged" in capsys.readouterr().out
    assert call(run_file) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_file_that_is_not_the_runs_is_named_before_it_is_read_or_replaced(finished, run_file, capsys):
    strange = finished / "corpora" / "news" / "train" / "00001.jsonl.zst"
    shutil.copy(strange.with_name("00000.jsonl.zst"), strange)
    try:
        assert call(run_file) == cli.REFUSED
        assert f"{strange} is not the run's" in capsys.readouterr().err
    finally:
        strange.unlink()
    mine = finished / "search" / "notes.md"
    mine.write_text("mine")
    flip(finished / "search" / "mixture.yml")
    assert call(run_file) == 0
    assert mine.read_text() == "mine"
    mine.unlink()
    assert call("--verify", finished) == 0


def test_a_stage_never_takes_a_folder_of_the_users(run_file, tmp_path, capsys):
    for name in ("tokenizer", "corpora/news", "data/encyclopedia", "models/chosen"):
        mine = tmp_path / name.replace("/", "_") / name
        mine.mkdir(parents=True)
        (mine / "precious").write_text("mine")
        out = tmp_path / name.replace("/", "_")
        assert call(run_file, "--output-dir", out) == cli.REFUSED
        assert f"{mine} holds files that this run did not make" in capsys.readouterr().err
        assert [path.name for path in mine.iterdir()] == ["precious"]
        assert not (out / "run.yml").exists(), "told before anything is written"


# --- inputs, places, editions -----------------------------------------------------------------------------------------


@pytest.fixture
def copied(finished, run_file, tmp_path):
    """The run and what it reads, in folders of their own: (run file, run folder)."""
    shutil.copytree(run_file.parent / "world", tmp_path / "world")
    shutil.copytree(finished, tmp_path / "out")
    path = tmp_path / "tiny.yml"
    path.write_text(RUN.format(world=tmp_path / "world", out=tmp_path / "out"), encoding="utf-8")
    return path, tmp_path / "out"


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("qa/pairs_dev.jsonl", {"proxies", "screen"}),
        ("qa/pairs_test.jsonl", {"models/chosen", "models/token_share", "decontaminate"}),
        ("qa/jcommonsenseqa-v1.1/valid-v1.1.json", {"scores/chosen", "scores/token_share"}),
    ],
)
def test_a_changed_input_of_the_same_size_and_time_is_redone(copied, capsys, name, stages):
    path, _ = copied
    assert call(path) == 0
    capsys.readouterr()
    source = path.parent / "world" / name
    raw, stat = source.read_bytes(), source.stat()
    # another character of the same number of bytes, in a text
    old = "の".encode()
    assert old in raw
    put(source, raw.replace(old, "に".encode(), 1), stat)
    assert source.stat().st_size == stat.st_size and source.stat().st_mtime_ns == stat.st_mtime_ns
    assert call(path) == 0
    said = capsys.readouterr().err
    assert f"{source} was changed since the last run" in said
    assert stages <= set(re.findall(r"^  ([\w/]+): done in", said, re.MULTILINE))


def test_a_moved_run_goes_on_and_forgets_its_old_place(finished, run_file, tmp_path, capsys):
    shutil.copytree(finished, tmp_path / "elsewhere")
    moved = (tmp_path / "elsewhere").rename(tmp_path / "renamed")
    before = {path: path.stat().st_mtime_ns for path in moved.rglob("model.safetensors")}
    assert call("--verify", moved) == 0
    assert call(run_file, "--output-dir", moved) == 0
    said = capsys.readouterr().err
    assert set(re.findall(r"^  ([\w/]+): done in", said, re.MULTILINE)) == {"configs"}
    assert {path: path.stat().st_mtime_ns for path in moved.rglob("model.safetensors")} == before
    named = [str(path) for path in files_of(moved) if str(finished).encode() in path.read_bytes()]
    assert not named
    config = yaml.safe_load((moved / "configs" / "1-3B.yml").read_text(encoding="utf-8"))
    assert all(Path(each).parent.parent == moved / "data" for each in config["train_data_paths"])
    assert f"pretrained={moved}/models/chosen/model" in (moved / "scores" / "chosen" / "harness.sh").read_text()
    assert call("--verify", moved) == 0 and call(run_file, "--output-dir", moved) == 0
    assert "done in" not in capsys.readouterr().err


def first_edition(run_file, root, monkeypatch):
    """Rewrite a run folder's records into the form that the first edition left: sizes, no seals, no journals."""
    inputs, look = {}, stage.Run._inspect

    def remember(self, each):
        inputs[each.name] = each.wanted_formerly()
        return look(self, each)

    with monkeypatch.context() as patch:
        patch.setattr(stage.Run, "_inspect", remember)
        assert call(run_file, "--output-dir", root, "--dry-run") == 0
    shutil.rmtree(root / "figures")  # its report left none
    for path in files_of(root):
        if path.name in (".haigo", ".haigo.lock"):
            path.unlink()
    for path in [*root.rglob("run.json"), *root.glob("data/*/*_document.json")]:
        content = json.loads(path.read_text(encoding="utf-8"))
        for key in ("seal", "outputs"):
            content.pop(key, None)
        path.write_text(json.dumps(content, indent=2))
    for path in root.rglob(stage.DONE):
        folder, name = path.parent, str(path.parent.relative_to(root))
        marker = json.loads(path.read_text(encoding="utf-8"))
        outputs = {each: (folder / each).stat().st_size for each in marker["outputs"]}
        old = {"inputs": inputs[name], "identity": marker["identity"], "outputs": outputs, "seconds": marker["seconds"]}
        path.write_text(json.dumps(old, indent=2))
        (folder / stage.INPUTS).write_text(inputs[name])
    ledger = json.loads((root / ".digests.json").read_text(encoding="utf-8"))
    old = {name: [row["size"], os.stat(name).st_mtime_ns, row["sha256"]] for name, row in ledger["sources"].items()}
    (root / ".digests.json").write_text(json.dumps(old, indent=2))


def test_a_run_of_the_first_edition_is_read_and_nothing_is_done_again(copied, monkeypatch, capsys):
    path, out = copied
    assert call(path) == 0  # it was copied: its configs are written for this place
    first_edition(path, out, monkeypatch)
    before = {each: (each.read_bytes(), each.stat().st_mtime_ns) for each in files_of(out) if each.parent != out}
    capsys.readouterr()
    assert call("--verify", out) == cli.REFUSED
    assert "kept sizes and no digests" in capsys.readouterr().err
    assert call(path) == 0
    said = capsys.readouterr().err
    assert "done in" not in said and "Traceback" not in said
    for each, kept in before.items():
        if not each.name.startswith("."):
            assert (each.read_bytes(), each.stat().st_mtime_ns) == kept, each
    assert call("--verify", path) == 0
    flip(out / "models" / "chosen" / "model" / "model.safetensors")
    assert call("--verify", out) == cli.REFUSED
    assert call(path) == 0
    assert re.findall(r"^  ([\w/]+): done in", capsys.readouterr().err, re.MULTILINE) == ["models/chosen"]


def test_a_run_of_the_first_edition_that_was_changed_already_is_noticed_where_it_says_so(copied, monkeypatch, capsys):
    path, out = copied
    assert call(path) == 0
    first_edition(path, out, monkeypatch)
    mixture = out / "search" / "mixture.yml"
    whole = mixture.read_text(encoding="utf-8")
    put(mixture, re.sub(r"(?m)^(weights:\n  \w+: 0\.)(\d)", lambda m: m[1] + str((int(m[2]) + 1) % 10), whole).encode())
    assert mixture.read_text(encoding="utf-8") != whole
    flip(out / "data" / "news" / "train_text_document.bin")
    capsys.readouterr()
    assert call(path) == 0
    said = capsys.readouterr().err
    assert "search: " in said and "does not hold what its marker says" in said
    assert set(re.findall(r"^  ([\w/]+): done in", said, re.MULTILINE)) == {"search", "data/news"}
    assert mixture.read_text(encoding="utf-8").split("provenance")[0] == whole.split("provenance")[0]
