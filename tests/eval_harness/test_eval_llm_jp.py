"""llm-jp-eval 1.3.0's tasks: prompts, answers and scores are those of its own code (golden/llm_jp_eval.json), and the table."""

from __future__ import annotations

import json
import os
import shutil

import llm_jp_side_by_side
import pytest
import synthetic_llm_jp
from test_eval_table import marks, shown, written

from eval_harness import leaderboard, run, suites, tasks
from haigo import cli

GOLDEN = json.loads(llm_jp_side_by_side.GOLDEN.read_text(encoding="utf-8"))
NAMES = sorted(GOLDEN["models"]["bpe"])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return synthetic_llm_jp.write(tmp_path_factory.mktemp("llm_jp"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}

    def make(kind):
        if kind not in made:
            made[kind] = llm_jp_side_by_side.model(kind, tmp_path_factory.mktemp("models") / kind)
        return made[kind]

    return make


@pytest.mark.parametrize("kind", llm_jp_side_by_side.MODELS)
def test_prompts_answers_and_scores_are_those_of_llm_jp_eval(kind, folders, data, tmp_path):
    wanted = GOLDEN["models"][kind]
    assert len(NAMES) == 19 and len({row["prompts"] for row in wanted.values()}) == 19
    assert llm_jp_side_by_side.ours(folders(kind), data, NAMES, tmp_path) == wanted


def test_without_shots_on_the_test_split(folders, data, tmp_path):
    found = llm_jp_side_by_side.ours(folders("bpe"), data, ["jnli", "jsts"], tmp_path, 0, "test")
    assert found == GOLDEN["no shots"]


def test_figures_of_given_answers():
    for case, wanted in zip(synthetic_llm_jp.answers(), GOLDEN["figures"], strict=True):
        for metric in case["metrics"]:
            name = {"exact_match": "jnli", "char_f1": "niilc", "set_f1": "chabsa"}.get(metric, "jsts")
            rules = tasks.make(f"llmjp_{name}-1.3-dev")
            pairs = zip(case["answers"], case["right"], strict=True)
            rows = [rules.judge({"output": right}, [answer]) for answer, right in pairs]
            assert rules.aggregate(rows, 0)[metric] == pytest.approx(wanted[f"t_{metric}"], abs=1e-12), (metric, case)


def test_prompts_on_jglues_files(shared_jglue, tmp_path):
    """Read as published and split as llm-jp-eval's preprocessing does."""
    folder = llm_jp_side_by_side.raw_jglue(shared_jglue, tmp_path / "flat")
    assert llm_jp_side_by_side.jglue_prompts(folder) == GOLDEN["jglue"]


@pytest.mark.slow
def test_all_of_it_against_llm_jp_eval_itself(shared_jglue):
    python = os.environ.get("LLM_JP_EVAL_PYTHON")
    if not python or not os.environ.get("LLM_JP_EVAL_DIR"):
        pytest.skip("LLM_JP_EVAL_PYTHON and LLM_JP_EVAL_DIR are not set")
    found = llm_jp_side_by_side.golden(python, shared_jglue)
    for key in ("models", "no shots", "figures", "jglue"):
        assert found[key] == GOLDEN[key]


def test_a_suite_beside_llm_jp_evals_own_result(folders, data, tmp_path, capsys):
    """The same columns, the same marks; both programs' figures are the same. What is not there is left out."""
    (tmp_path / "data").mkdir()
    for name in ("jnli", "jsts", "niilc", "chabsa"):
        for split in ("train", "dev"):
            place = tmp_path / "data" / "evaluation" / split
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(data / "evaluation" / split / f"{name}.json", place)
    words = (
        f"--model_args pretrained={folders('bpe')} --data_dir {tmp_path / 'data'} --suite llm-jp --log_samples".split()
    )
    assert cli.run(run.main, [*words, "--output_path", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().err
    assert said.count("haigo: --suite llm-jp without ") == len(suites.SUITES["llm-jp"]) - 4
    result = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert {each["num_fewshot"] for each in result["haigo"]["tasks"].values()} == {4}
    theirs = written(tmp_path / "theirs.json", GOLDEN["file"])
    rows, text = shown(capsys, tmp_path / "out" / "result.json", theirs)
    row, own = rows["bpe (llm-jp-eval 1.3.0)"], rows[f"{folders('bpe')} (this run)"]
    for column in ("jnli exact_match", "jsts pearson", "jsts spearman", "niilc char_f1", "chabsa set_f1"):
        assert own[column].split()[0] == row[column].split()[0], column
        assert own[column].split()[-1] in row[column].split()[-1], column  # theirs also says max_num_samples
    said = marks(text, row["jnli exact_match"])
    assert "llm-jp-eval's own split 'dev' of the data" in said and not [each for each in said if "rules" in each]
    assert "jnli" not in row


def test_the_leaderboards_jnli_keeps_its_column(folders, data, jglue, tmp_path, capsys):
    both = tmp_path / "data"
    shutil.copytree(jglue, both)
    shutil.copytree(data / "evaluation", both / "evaluation")
    words = (
        f"--model_args pretrained={folders('bpe')} --data_dir {both} --tasks jnli-1.1-0.3,llmjp_jnli-1.3-dev".split()
    )
    words += ["--num_fewshot", "1,4", "--log_samples"]
    for name in ("a", "b"):
        assert cli.run(run.main, [*words, "--output_path", str(tmp_path / name)]) == 0
    results = [leaderboard.ours(tmp_path / name / "result.json") for name in ("a", "b")]
    assert list(results[0].cells) == ["jnli", "jnli exact_match"]
    table = leaderboard.compare(results, leaderboard.published())
    assert any("on llmjp_jnli-1.3-dev: " in each and "no test" not in each for each in table.tests)


def test_explained(folders, data, capsys):
    words = f"--model_args pretrained={folders('bpe')} --data_dir {data} --tasks llmjp_jnli-1.3-dev --limit 1 --explain".split()
    assert cli.run(run.main, words) == 0
    assert "cut at a blank line" in capsys.readouterr().out


def test_too_long_contexts_are_said(model_folder, data, tmp_path, capsys):
    words = f"--model_args pretrained={model_folder('bpe')} --data_dir {data} --tasks llmjp_jnli-1.3-dev".split()
    assert cli.run(run.main, [*words, "--output_path", str(tmp_path / "out")]) == 0
    (about,) = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))["haigo"]["tasks"].values()
    assert any(each.startswith("5 contexts are longer than the model takes") for each in about["not_comparable"])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"instruction": "答えて"}, "'instruction' is '答えて', another than llm-jp-eval 1.3.0's"),
        ({"output_length": 9}, "'output_length' is '9', another than"),
        ({"metrics": ["exact_match"]}, "'metrics' is"),
        ({"samples": []}, "holds no sample"),
        ({"samples": [{"input": "x"}]}, "sample 0 has no field 'output'"),
        ({"samples": [{"input": "x", "output": "高い"}]}, "of sample 0 is no number"),
        ({"samples": 3}, "'samples' is int"),
    ],
)
def test_files_of_other_versions_are_refused(change, problem, data, tmp_path, capsys):
    shutil.copytree(data, tmp_path / "data")
    path = tmp_path / "data" / "evaluation" / "dev" / "jsts.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | change), encoding="utf-8")
    words = f"--model_args pretrained=none --data_dir {tmp_path / 'data'} --tasks llmjp_jsts-1.3-dev".split()
    assert cli.run(run.main, words) == 2
    said = capsys.readouterr().err
    assert problem in said and "jsts.json" in said and "fix:" in said


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--tasks", "llmjp_niilc-1.3-dev"], "preprocess it with llm-jp-eval 1.3.0 (NIILC, https://"),
        (["--tasks", "llmjp_jnli-1.3-test"], "preprocess it with llm-jp-eval 1.3.0, or get datasets/jnli-v1.1/"),
        (["--tasks", "llmjp_jnli-1.3-0.3"], "1.3-dev"),
        (["--suite", "llm-jp"], "does not exist"),
    ],
)
def test_what_is_not_there_is_named(words, problem, tmp_path, capsys):
    assert cli.run(run.main, ["--model_args", "pretrained=none", "--data_dir", str(tmp_path), *words]) == 2
    assert problem in capsys.readouterr().err


def test_damaged_scores_of_llm_jp_eval(tmp_path, capsys):
    for score in ("x", "nan"):
        path = written(tmp_path / "x.json", {"scores": {"jnli_exact_match": score}})
        assert "damaged" in shown(capsys, path, code=2)
