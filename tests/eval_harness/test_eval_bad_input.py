"""What a user may get wrong, and the sentence that answers it."""

from __future__ import annotations

import csv
import json
import shutil

import pytest
import synthetic_jglue

from eval_harness import data, run
from haigo import cli


@pytest.fixture
def fails(capsys):
    def check(*argv: str, code: int = 2) -> str:
        assert cli.run(run.main, [str(word) for word in argv]) == code
        err = capsys.readouterr().err
        lines = [line for line in err.splitlines() if line.startswith(("haigo:", "  fix:"))]
        assert "Traceback" not in err and len(lines) == 2, err
        return "\n".join(lines)

    return check


def words(model="nowhere", tasks="jcommonsenseqa-1.1-0.3", data=".", *more):
    return ["--model_args", f"pretrained={model}", "--tasks", tasks, "--data_dir", data, "--device", "cpu", *more]


def test_unknown_tasks_and_prompts(fails, jglue):
    assert "Did you mean 'jcommonsenseqa'" in fails(*words(tasks="jcommonsensqa", data=jglue))
    said = fails(*words(tasks="jnli-1.1-0.6", data=jglue))
    assert "1.1-0.2, 1.1-0.3, 1.1-0.4, 1.1-0.5, 1.3-0.2" in said and "Did you mean 'jnli-1." in said
    assert "jsquad has the versions" in fails(*words(tasks="jsquad", data=jglue))


def test_missing_files_are_named_with_where_to_get_them(fails, jglue, tmp_path):
    shutil.copytree(jglue, tmp_path / "d", ignore=shutil.ignore_patterns("train*"))
    said = fails(*words(tasks="jnli-1.1-0.3", data=tmp_path / "d"))
    assert "jnli-v1.1/train-v1.1.json does not exist" in said
    assert "github.com/yahoojapan/JGLUE" in said and "--fewshot_pool test" in said
    assert "not a folder" in fails(*words(data=tmp_path / "none"))
    said = fails(*words(data=jglue), "--data_version", "v1.3")
    assert "valid-v1.3.json does not exist" in said and "--data_version v1.1" in said
    assert "'v9'" in fails(*words(data=jglue), "--data_version", "v9")
    assert "'dev'" in fails(*words(data=jglue), "--fewshot_pool", "dev")


def test_more_shots_than_examples(fails, jglue):
    said = fails(*words(data=jglue), "--num_fewshot", "41")
    assert "41 shots are asked for" in said and "has 40 examples" in said


def test_numbers_that_are_none(fails, jglue):
    assert "'x' is not a whole number" in fails(*words(data=jglue), "--num_fewshot", "x")
    assert "3 values for 1 tasks" in fails(*words(data=jglue), "--num_fewshot", "1,2,3")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{broken", "line 3 is not valid JSON"),
        ('{"question": "x"}', "line 3 has no field 'label'"),
        ('["x"]', "line 3 is not a JSON object"),
    ],
)
def test_broken_lines_are_named(fails, tmp_path, line, problem):
    synthetic_jglue.write(tmp_path)
    path = tmp_path / "jcommonsenseqa-v1.1" / "valid-v1.1.json"
    rows = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*rows[:2], line, *rows[2:]]), encoding="utf-8")
    assert problem in fails(*words(data=tmp_path))


def test_a_key_given_twice_is_named(fails, tmp_path):
    """The last label would win in silence."""
    synthetic_jglue.write(tmp_path)
    path = tmp_path / "jcommonsenseqa-v1.1" / "valid-v1.1.json"
    path.write_text(path.read_text("utf-8").replace('{"q_id"', '{"label": 0, "q_id"', 1), encoding="utf-8")
    assert "the key 'label' is given twice" in fails(*words(data=tmp_path), "--num_fewshot", "0")
    (tmp_path / "ids.json").write_text('{"jnli": ["1"], "jnli": ["2"]}')
    assert "ids.json line 1 is not valid JSON" in fails(*words(data=tmp_path), "--exclude", tmp_path / "ids.json")


def test_documents_under_one_id_are_refused_with_the_line(fails, tmp_path):
    """A file that was joined twice gives the same score with an error that is too small."""
    synthetic_jglue.write(tmp_path)
    path = tmp_path / "jcommonsenseqa-v1.1" / "valid-v1.1.json"
    rows = path.read_text("utf-8").splitlines()
    path.write_text("\n".join([*rows, "", *rows[:3]]) + "\n", encoding="utf-8")
    told = fails(*words(data=tmp_path), "--num_fewshot", "0")
    first, count = json.loads(rows[0])["q_id"], len(rows)
    assert f"valid-v1.1.json line {count + 2} has the id {first} of line 1; 3 of {count + 3} documents" in told
    nested = tmp_path / "jsquad-v1.1" / "valid-v1.1.json"
    content = json.loads(nested.read_text("utf-8"))
    content["data"].append(content["data"][0])
    nested.write_text(json.dumps(content), encoding="utf-8")  # all on one line
    told = fails(*words(data=tmp_path, tasks="jsquad-1.1-0.3"), "--num_fewshot", "0")
    assert "jsquad-v1.1/valid-v1.1.json document " in told and "of document 1;" in told


def test_labels_out_of_range(fails, tmp_path):
    synthetic_jglue.write(tmp_path)
    path = tmp_path / "jcommonsenseqa-v1.1" / "train-v1.1.json"
    row = json.loads(path.read_text(encoding="utf-8").splitlines()[0]) | {"label": 5}
    path.write_text(json.dumps(row), encoding="utf-8")
    assert "label 5 is not 0 to 4" in fails(*words(data=tmp_path), "--num_fewshot", "1")
    path.write_text("", encoding="utf-8")
    assert "train-v1.1.json is empty" in fails(*words(data=tmp_path))


def test_broken_jsquad(fails, tmp_path):
    pytest.importorskip("fugashi", reason="needs haigo[ja]")
    synthetic_jglue.write(tmp_path)
    path = tmp_path / "jsquad-v1.1" / "valid-v1.1.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    del whole["data"][0]["paragraphs"][0]["qas"][1]["answers"]
    path.write_text(json.dumps(whole), encoding="utf-8")
    assert "question v0p0q1 has no field 'answers'" in fails(*words(tasks="jsquad-1.1-0.3", data=tmp_path))
    path.write_text("[1, 2", encoding="utf-8")
    assert "is not valid JSON" in fails(*words(tasks="jsquad-1.1-0.3", data=tmp_path))


def test_models_that_are_none(fails, jglue, model_folder, tmp_path):
    assert "does not exist" in fails(*words(model=tmp_path / "none", data=jglue))
    assert "no config.json" in fails(*words(model=tmp_path, data=jglue))
    bare = tmp_path / "bare"
    shutil.copytree(model_folder("bpe"), bare, ignore=shutil.ignore_patterns("*.safetensors"))
    assert "has no weights" in fails(*words(model=bare, data=jglue))
    (bare / "model.safetensors").write_bytes(b"short")
    assert "could not be loaded" in fails(*words(model=bare, data=jglue))
    assert "names no model" in fails("--model_args", "dtype=float32", "--tasks", "jnli-1.1-0.3", "--data_dir", jglue)
    said = fails(*words(model=f"{model_folder('bpe')},no_such_option=1", data=jglue))
    assert "no_such_option" in said


def test_devices_and_batches(fails, jglue, model_folder, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    argv = words(model_folder("bpe"), "jnli-1.1-0.3", jglue)
    assert "no CUDA device" in fails(*argv, "--device", "cuda:0")
    assert "--device gpu is unknown" in fails(*argv, "--device", "gpu")
    assert "--batch_size is 0" in fails(*argv, "--batch_size", "0")
    assert "--limit 0 leaves no document" in fails(*argv, "--limit", "0")
    assert "--num_fewshot -1" in fails(*argv, "--num_fewshot=-1")


def test_a_broken_config(fails, jglue, model_folder, tmp_path):
    shutil.copytree(model_folder("bpe"), tmp_path / "m")
    (tmp_path / "m" / "config.json").write_text("{", encoding="utf-8")
    assert "no model that transformers can read" in fails(*words(model=tmp_path / "m", data=jglue))


def test_a_tokenizer_larger_than_the_model(fails, jglue, model_folder, tmp_path):
    shutil.copytree(model_folder("bpe"), tmp_path / "m")
    synthetic_jglue.tiny_model(tmp_path / "m", 400)
    assert "the tokenizer has 500 pieces and the model embeds 400" in fails(*words(model=tmp_path / "m", data=jglue))


def test_no_tokenizer(fails, jglue, model_folder, tmp_path):
    shutil.copytree(model_folder("bpe"), tmp_path / "m", ignore=shutil.ignore_patterns("tokenizer*"))
    assert "tokenizer" in fails(*words(model=tmp_path / "m", data=jglue))


def test_truncation_is_said_once(loaded, jglue, capsys):
    run.evaluate("", "jcommonsenseqa-1.1-0.3,jcommonsenseqa-1.1-0.6", 3, 4, jglue, model=loaded("bpe"))
    assert capsys.readouterr().err.count("their beginning is cut off") == 1


def test_prompt_02_is_warned_of(loaded, jglue, capsys):
    run.evaluate("", "jcommonsenseqa-1.1-0.2", 1, 2, jglue, model=loaded("bpe"))
    assert "0.2.1 or 0.3" in " ".join(capsys.readouterr().err.split())


def test_the_command_scores_and_prints(model_folder, jglue, tmp_path, capsys):
    argv = words(model_folder("spm"), "jcommonsenseqa-1.1-0.3", jglue, "--limit", "2", "--output_path", tmp_path / "o")
    assert cli.run(run.main, [str(word) for word in argv]) == 0
    out = capsys.readouterr().out
    assert "jcommonsenseqa-1.1-0.3  n=2" in out and "not comparable with published rows" in out
    assert (tmp_path / "o" / "result.json").is_file() and not list((tmp_path / "o").glob("samples*"))


def test_a_table_of_long_texts_leaves_the_limit_of_others_alone(tmp_path):
    """The longest cell is a setting of the process: ratios.csv is read by the same one."""
    usual = csv.field_size_limit()
    assert data.table("a,b\n" + "x" * 2 * usual + ",1\n", tmp_path)[1][0] == "x" * 2 * usual
    with pytest.raises(cli.HaigoError, match="can not be read as a table"):
        data.table("a,b\n" + "x" * 2**28 + ",1\n", tmp_path)
    assert csv.field_size_limit() == usual
