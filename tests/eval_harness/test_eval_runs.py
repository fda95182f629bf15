"""Runs as users make them: resumed, of two models, explained, without contaminated documents, with lm-eval's own tasks."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from eval_harness import exclude, harness, journal, leaderboard, run, significance, tasks
from eval_harness.result import summary
from eval_harness.run import evaluate, evaluate_models
from haigo import cli, flags
from haigo.cli import HaigoError

NAME = "jcommonsenseqa-1.1-0.3"


def test_a_killed_run_goes_on(model_folder, jglue, tmp_path, capsys, monkeypatch):
    from eval_harness.model import LeaderboardLM, load

    words = f"pretrained={model_folder('spm')}"
    options = {"num_fewshot": 1, "data_dir": jglue, "model_args": words, "bootstrap_iters": 0}
    model = load(words, batch_size=2, device="cpu", show_progress=False)
    whole = evaluate("", NAME, output_path=tmp_path / "whole", model=model, **options)
    score, seen = LeaderboardLM._score, []

    def stopped(self, questions, progress):
        for number, pair in enumerate(score(self, questions, progress)):
            seen.append(len(questions))
            if number == 7:
                raise KeyboardInterrupt
            yield pair

    monkeypatch.setattr(LeaderboardLM, "_score", stopped)
    with pytest.raises(KeyboardInterrupt):
        evaluate("", NAME, output_path=tmp_path / "stopped", model=model, **options)
    partial = tmp_path / "stopped" / journal.NAME
    assert partial.is_file() and not (tmp_path / "stopped" / "result.json").exists()
    with open(partial, "a", encoding="utf-8") as handle:
        handle.write('["cut off by the k')
    monkeypatch.setattr(LeaderboardLM, "_score", lambda s, q, p: (seen.append(len(q)), score(s, q, p))[1])
    again = evaluate("", NAME, output_path=tmp_path / "stopped", model=model, **options)
    assert "goes on after 7 answers" in capsys.readouterr().err and seen[-1] == seen[0] - 7
    assert again["results"] == whole["results"] and not partial.exists()
    one, other = (
        [json.loads(x) for x in (tmp_path / n / f"samples_{NAME}.jsonl").read_text(encoding="utf-8").splitlines()]
        for n in ("whole", "stopped")
    )
    for before, after in zip(one, other, strict=True):  # other batches round otherwise in the last digit
        assert before["context"] == after["context"] and before["prediction"] == after["prediction"]
        for x, y in zip(before["choices"], after["choices"], strict=True):
            assert x["loglikelihood"] == pytest.approx(y["loglikelihood"], abs=1e-4)


def test_two_runs_do_not_share_a_folder(tmp_path):
    first = journal.Journal(tmp_path / "j", {"model": 1})
    first.add("a", 1)
    with pytest.raises(HaigoError, match="in use by another run"):
        journal.Journal(tmp_path / "j", {"model": 1})
    first.close(done=False)
    assert journal.Journal(tmp_path / "j", {"model": 1}).known == {"a": 1}


def test_answers_of_another_model_do_not_count(tmp_path):
    one = journal.Journal(tmp_path / "j", {"model": 1})
    one.add("a", [1.5, True])
    one.close(done=False)
    assert journal.Journal(tmp_path / "j", {"model": 1}).known == {"a": [1.5, True]}
    assert journal.Journal(tmp_path / "j", {"model": 2}).known == {}


@pytest.fixture(scope="module")
def two(model_folder, jglue, tmp_path_factory):
    """Two models scored in one call."""
    folder = tmp_path_factory.mktemp("two")
    models = [f"pretrained={model_folder(kind)}" for kind in ("spm", "bpe")]
    found = evaluate_models(
        models, folder, tasks=[NAME, "jnli-1.1-0.2"], num_fewshot=0, data_dir=jglue, bootstrap_iters=0, device="cpu"
    )
    return folder, found


def test_two_models_in_the_leaderboards_layout(two):
    folder, found = two
    assert len(found) == 2
    for name, result in found.items():
        assert name.count("/") == 1
        place = folder / "models" / name
        assert json.loads((place / "result.json").read_text(encoding="utf-8")) == result
        script = (place / "harness.sh").read_text(encoding="utf-8")
        assert f'TASK="{NAME},jnli-1.1-0.2"' in script and 'NUM_FEWSHOT="0,0"' in script
        assert subprocess.run(["bash", "-n", str(place / "harness.sh")], check=False).returncode == 0


def test_the_written_script_gives_the_result_again(model_folder, jglue, tmp_path, monkeypatch):
    monkeypatch.setenv("DYNAMIC_MAX_LENGTH", "false")
    model = shutil.copytree(model_folder("bpe"), tmp_path / 'a "$HOME" `id` (b)')
    ids = tmp_path / "the ids.txt"
    ids.write_text("41\n", encoding="utf-8")
    names = [NAME, "jnli-1.1-0.2", "jsquad-1.1-0.2"]
    options = {"limit": [5, None, 3], "num_fewshot": [2, 0, 0], "bootstrap_iters": 10, "seed": 7, "exclude_ids": ids}
    words = f"pretrained={model},dtype=float32"
    first = evaluate("", names, data_dir=jglue, output_path=tmp_path / "o", model_args=words, device="cpu", **options)
    said = (tmp_path / "o" / "result.json").rename(tmp_path / "first.json").read_text(encoding="utf-8")
    monkeypatch.delenv("DYNAMIC_MAX_LENGTH")
    root = Path(run.__file__).parents[1]
    path = os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]])
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    again = subprocess.run(
        ["bash", str(tmp_path / "o" / "harness.sh")],
        env={**os.environ, "DATA_DIR": str(jglue), "PATH": path, "PYTHONPATH": f"{root}:{':'.join(sys.path)}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert again.returncode == 0, again.stderr
    second = json.loads((tmp_path / "o" / "result.json").read_text(encoding="utf-8"))
    assert second["haigo"].pop("seconds") >= 0 and first["haigo"].pop("seconds") >= 0
    assert second == json.loads(json.dumps(first)) and json.loads(said)["results"] == first["results"]


def test_the_script_names_lm_evals_own_tasks_and_their_options(two):
    _, found = two
    result = next(iter(found.values()))
    words = harness.script(result, run.RunOptions(include_path="my tasks"), [("haigo_toy", None, 0.5)])
    assert f'TASK="{NAME},jnli-1.1-0.2,haigo_toy"' in words and 'NUM_FEWSHOT="0,0,own"' in words
    assert "--limit all,all,0.5 " in words and "--include_path 'my tasks' " in words
    given = re.findall(r"--(?:limit|include_path) \S+", words)[0].split()
    parsed = flags.parse("x", None, run.RunOptions, [*given, "--num_fewshot", "own,3"])
    assert parsed.limit == [None, None, 0.5] and parsed.num_fewshot == [None, 3]


def test_the_table_tests_the_difference_of_two_models(two):
    folder, _ = two
    rows = [leaderboard.ours(path) for path in sorted(folder.rglob("result.json"))]
    table = leaderboard.compare(rows, leaderboard.published())
    assert len(table.tests) == 2 and all("exact McNemar test, 16 documents" in line for line in table.tests)
    last = dict(table.rows)
    assert last["chance"] == ["20.00", "33.33"] and float(last["always the commonest answer"][1]) > 33
    assert all("±" in cell for name, cells in table.rows[2:5] for cell in cells)  # published rows have errors too
    assert table.tests[0] in table.text() and "McNemar" in table.html()


def test_mcnemar_and_the_paired_test():
    assert significance.mcnemar(0, 5) == pytest.approx(2 / 32)
    assert significance.mcnemar(9, 1) == pytest.approx(2 * 11 / 1024)
    assert significance.mcnemar(3, 3) == 1.0
    stats = pytest.importorskip("scipy.stats")
    assert significance.mcnemar(700, 610) == pytest.approx(stats.binomtest(610, 1310).pvalue, rel=1e-6)
    gap = significance.paired([0.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0])
    assert (gap.points, gap.p, gap.documents) == (50.0, 0.5, 4)
    assert significance.paired([0.1, 0.2, 0.5], [0.2, 0.4, 0.6]).test == "paired z test"
    assert significance.paired([0.1, 0.2], [0.1, 0.2]).p == 1.0


def test_scores_without_contaminated_documents(loaded, jglue, tmp_path):
    ids = tmp_path / "ids.jsonl"
    ids.write_text('{"task": "jcommonsenseqa", "id": 41}\n{"task": "jnli", "id": "3"}\n{"id": 43}\n', encoding="utf-8")
    found = evaluate("", NAME, 0, None, jglue, tmp_path / "o", model=loaded("spm"), exclude_ids=ids)
    rest = found["haigo"]["tasks"][NAME]["without_excluded"]
    rows = [json.loads(x) for x in (tmp_path / "o" / f"samples_{NAME}.jsonl").read_text(encoding="utf-8").splitlines()]
    kept = [row["acc"] for row in rows if row["id"] not in (41, 43)]
    assert rest["excluded"] == 2 and len(kept) == 14
    assert rest["results"]["acc"] == pytest.approx(sum(kept) / 14)
    assert found["results"][NAME]["acc"] == pytest.approx(sum(row["acc"] for row in rows) / 16)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("41\n42\n", {"": {"41", "42"}}),
        ('["a", 2]', {"": {"a", "2"}}),
        ('{"jnli": ["1"], "jsquad": []}', {"jnli": {"1"}, "jsquad": set()}),
        ('{"id": 7}', {"": {"7"}}),
    ],
)
def test_forms_of_the_ids_file(tmp_path, text, ids):
    (tmp_path / "ids").write_text(text, encoding="utf-8")
    assert exclude.read(tmp_path / "ids") == ids


def test_ids_that_exclude_nothing_are_told(loaded, jglue, tmp_path, capsys):
    ids = tmp_path / "ids"
    ids.write_text('{"jcommonsense": [41]}', encoding="utf-8")
    with pytest.raises(HaigoError) as refused:
        evaluate("", NAME, 0, None, jglue, model=loaded("spm"), exclude_ids=ids)
    assert "'jcommonsense' is no task: its 1 ids exclude nothing. Did you mean 'jcommonsenseqa'?" in str(refused.value)
    for content, said in (
        ({"jcommonsenseqa": [41, 9041]}, "1 ids are of no document of jcommonsenseqa (9041): other data?"),
        ([9041, 9042], "2 ids are of no document of the tasks (9041, 9042): other data?"),
        ({"jcommonsenseqa": [41], "jnli": [7]}, ""),
        ([41, 9041], ""),  # of another task, which is not scored now
    ):
        ids.write_text(json.dumps(content), encoding="utf-8")
        evaluate("", NAME, 0, None, jglue, model=loaded("spm"), exclude_ids=ids)
        told = capsys.readouterr().err
        assert said in told and bool(said) == ("--exclude" in told)
    ids.write_text('{"jcommonsenseqa": [9041]}', encoding="utf-8")
    evaluate("", NAME, 0, 3, jglue, model=loaded("spm"), exclude_ids=ids)  # the others are not looked at
    assert "--exclude" not in capsys.readouterr().err


def test_ids_of_no_document_are_counted_in_the_result(loaded, jglue, tmp_path):
    ids = tmp_path / "ids"
    ids.write_text(json.dumps({"jcommonsenseqa": [41, 9041], NAME: [9042], "jnli": [9043]}), encoding="utf-8")
    for limit in (None, 3):
        found = evaluate("", NAME, 0, limit, jglue, model=loaded("spm"), exclude_ids=ids)
        assert found["haigo"]["tasks"][NAME]["without_excluded"]["unknown_ids"] == 2
    assert "2 ids are of no document" in summary(found)


def test_what_decontamination_found_in_files_of_ones_own_is_no_mistake(loaded, jglue, tmp_path):
    (tmp_path / "decontaminate.json").write_text("{}", encoding="utf-8")
    ids = tmp_path / "contaminated.jsonl"
    ids.write_text('{"task": "my_quiz", "id": "7"}\n{"task": "jcommonsenseqa", "id": "41"}\n', encoding="utf-8")
    found = evaluate("", NAME, 0, None, jglue, model=loaded("spm"), exclude_ids=ids)
    rest = found["haigo"]["tasks"][NAME]["without_excluded"]
    assert (rest["excluded"], rest["unknown_ids"]) == (1, 0)


@pytest.mark.parametrize(("limit", "partial"), [(16, False), (999, False), (1.0, False), (15, True), (0.9, True)])
def test_a_limit_that_leaves_nothing_out_is_no_limit(loaded, jglue, limit, partial):
    found = evaluate("", NAME, 0, limit, jglue, model=loaded("spm"), bootstrap_iters=0)
    said = found["haigo"]["tasks"][NAME]
    assert said["n_available"] == 16 and any("--limit" in each for each in said["not_comparable"]) == partial


def test_a_document_that_is_not_there_can_not_be_explained(loaded, jglue, tmp_path, capsys):
    argv = ["--model_args", "pretrained=/nowhere", "--tasks", NAME, "--data_dir", str(jglue), "--num_fewshot", "0"]
    for number, limit, count in (("999", [], 16), ("3", ["--limit", "3"], 3)):
        assert cli.run(run.main, [*argv, "--explain", number, *limit]) == 2  # before the model is looked for
        assert f"--explain {number}: {NAME} scores {count} documents" in capsys.readouterr().err


def test_a_model_whose_answers_never_differ_is_told(model_folder, jglue, tmp_path, capsys):
    """Weights that are all zero: every choice is equally likely, and every answer the same."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(model_folder("spm"), tmp_path / "m")
    path = tmp_path / "m" / "model.safetensors"
    save_file({name: 0 * weight for name, weight in load_file(path).items()}, path, metadata={"format": "pt"})
    names = [NAME, "jsquad-1.1-0.3"]
    found = evaluate(tmp_path / "m", names, 0, None, jglue, tmp_path / "o", device="cpu", bootstrap_iters=0)
    told = capsys.readouterr().err
    assert f"{NAME}: the model gave all 16 documents one answer, the first choice, all being equally likely" in told
    assert "jsquad-1.1-0.3: the model gave all" in told
    assert summary(found).count("the answers never differ") == 2
    assert cli.run(leaderboard.main, [str(tmp_path / "o" / "result.json")]) == 0
    assert "one answer to all documents: the first choice" in capsys.readouterr().out
    evaluate(model_folder("spm"), NAME, 0, None, jglue, device="cpu", bootstrap_iters=0)
    assert "one answer" not in capsys.readouterr().err


def test_ids_files_that_are_none(tmp_path):
    (tmp_path / "ids").write_text('{"doc": 1}\n{"id": 2}\n', encoding="utf-8")
    for path in (tmp_path / "ids", tmp_path / "none"):
        with pytest.raises(HaigoError):
            exclude.read(path)


def test_explain_shows_what_is_scored(loaded, jglue, tmp_path, capsys):
    names = ["jnli-1.1-0.3", "jcommonsenseqa-1.1-0.2"]
    found = evaluate("", names, [1, 0], 2, jglue, tmp_path, model=loaded("bpe"), explain=1, bootstrap_iters=0)
    said = capsys.readouterr().out
    for name in names:
        row = json.loads((tmp_path / f"samples_{name}.jsonl").read_text(encoding="utf-8").splitlines()[1])
        assert row["context"] in said
        for number, choice in enumerate(row["choices"]):
            star = "*" if number == row["target"] else " "
            assert f"{star} {choice['text']}: {choice['loglikelihood']:.4f}" in said
    assert "moves the blanks and line ends" in said  # prompt 0.3 ends in a line break
    assert found["results"]


def test_lm_evals_own_tasks_run_by_their_names(model_folder, tmp_path, capsys):
    rows = [{"q": f"{n}番目の灯台は？", "choices": ["北", "南"], "gold": n % 2} for n in range(4)]
    (tmp_path / "rows.json").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    yaml = f"""task: haigo_toy
dataset_path: json
dataset_kwargs: {{data_files: {{test: {tmp_path / "rows.json"}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{q}}}}"
doc_to_choice: choices
doc_to_target: gold
metric_list: [{{metric: acc}}]
"""
    (tmp_path / "toy.yaml").write_text(yaml, encoding="utf-8")
    argv = [
        "--model_args",
        f"pretrained={model_folder('bpe')},dtype=float32",
        "--tasks",
        "haigo_toy",
        "--device",
        "cpu",
    ]
    argv += ["--include_path", str(tmp_path), "--output_path", str(tmp_path / "out")]
    assert cli.run(run.main, argv) == 0
    assert "haigo_toy (lm-eval's own)" in capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert 0.0 <= found["lm_eval"]["results"]["haigo_toy"]["acc,none"] <= 1.0 and found["results"] == {}


def test_short_ids_are_the_leaderboards():
    assert tasks.select(["xwinograd_ja", "mgsm-1.0", "xlsum_ja"]) == [
        "xwinograd_ja-1.0-0.0",
        "mgsm-1.0-0.0",
        "xlsum_ja-1.0-0.0",
    ]
    assert tasks.make("mgsm").name == "mgsm-1.0-0.0"


def test_damaged_answers_are_asked_again(tmp_path):
    """A flipped byte, lines of other shapes, lines run together and what is not UTF-8."""
    one = journal.Journal(tmp_path / "j", {"model": 1})
    for number in range(4):
        one.add(f"q{number}", [[-1.5 * number - 1, True]])
    one.close(done=False)
    lines = (tmp_path / "j").read_bytes().split(b"\n")
    lines[2] = lines[2].replace(b"-2.5", b"-2.4")
    lines[3] += lines[4]
    del lines[4]
    lines[2:2] = [
        b"3",
        b'["q9", 1]',
        b"[[1], 2, 3]",
        b"[" * 100_000,
        b"\xff\xfe",
        b"null",
        b'{"a": 1, "b": 2, "c": 3}',
        b"",
    ]
    (tmp_path / "j").write_bytes(b"\n".join(lines))
    assert journal.Journal(tmp_path / "j", {"model": 1}).known == {"q0": [[-1.0, True]]}


def test_weights_of_other_bytes_with_the_same_size_and_time(model_folder, tmp_path):
    place = tmp_path / "m"
    shutil.copytree(model_folder("spm"), place)
    before, path = journal.fingerprint(f"pretrained={place}", None, {}), place / "model.safetensors"
    at, content = path.stat(), bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(at.st_atime_ns, at.st_mtime_ns))
    after = journal.fingerprint(f"pretrained={place}", None, {})
    beside = journal.fingerprint(f"pretrained=nowhere,tokenizer={place}", None, {})
    assert after != before and beside["files"] == after["files"] != []
