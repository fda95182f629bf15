"""lm-eval's own tasks: data looked at first, one failure costs nothing else, results as they come, ids that are the file's."""

from __future__ import annotations

import errno
import functools
import json

import pytest
import synthetic_jglue
import token_cases
import torch

from eval_harness import loading, run, stock
from haigo import cli, files

pytest.importorskip("datasets")

YAML = """task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
fewshot_split: test
output_type: {kind}
doc_to_text: "{{{{q}}}}"
doc_to_choice: choices
doc_to_target: gold
"""
PLAIN = "metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]\n"
SHAKY = "process_results: !function shaky.judge\n" + PLAIN
CODE = """import json, os, sys
from pathlib import Path

HERE = Path(__file__).parent


def judge(doc, results):
    with open(HERE / "calls.txt", "a") as handle:
        handle.write("x")
    if (HERE / "broken").exists():
        raise {error}
    return {{"acc": float(results[0][0] > results[1][0])}}
"""
LINE = "{n}番目の灯台は？㌔ＡＢＣ"


def task(folder, name, rows=4, more=PLAIN, data=None):
    """A YAML task and its rows."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{len(list(folder.iterdir()))}.jsonl" if data is None else data
    if data is None:
        lines = [{"q": LINE.format(n=n), "choices": ["北", "南の㌔"], "gold": n % 2} for n in range(rows)]
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in lines), encoding="utf-8")
    text = YAML.format(name=name, data=path, kind="multiple_choice") + more
    (folder / f"{len(list(folder.iterdir()))}.yaml").write_text(text, encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """lm-eval without its thousands of own YAML files, which take half a minute to read; test_eval_runs.py has them."""
    from lm_eval import tasks

    monkeypatch.setattr(tasks, "TaskManager", functools.partial(tasks.TaskManager, include_defaults=False))


@pytest.fixture
def words(model_folder, tmp_path, monkeypatch):
    """Task names -> the command's words; its tasks and its output lie in tmp_path."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    model = model_folder("bpe")

    def make(*names, output=True, more=()):
        given = ["--model_args", f"pretrained={model},dtype=float32", "--tasks", ",".join(names)]
        given += ["--include_path", str(tmp_path / "t"), "--num_fewshot", "0", *more]
        return [*given, *(["--output_path", str(tmp_path / "out")] if output else [])]

    return make


@pytest.fixture
def counted(monkeypatch):
    """Names of the tasks that were scored, in order."""
    names, real = [], stock._score

    def score(model, one, *more):
        names.append(one.task_name)
        return real(model, one, *more)

    monkeypatch.setattr(stock, "_score", score)
    return names


def found(tmp_path):
    return json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))["lm_eval"]


def test_without_a_device_the_cpu_is_taken(words, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    task(tmp_path / "t", "haigo_灯台")
    assert cli.run(run.main, words("haigo_灯台")) == 0
    assert "haigo_灯台 (lm-eval's own)" in capsys.readouterr().out
    result = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert result["config"]["device"] == "cpu" and result["haigo"]["tokenizer"]["read_by"] == "tokenizers"
    assert not (tmp_path / "out" / stock.NAME).exists()


def test_missing_data_are_named_before_anything_is_loaded(words, tmp_path, capsys, monkeypatch):
    task(tmp_path / "t", "haigo_good")
    task(tmp_path / "t", "haigo_gone", data=tmp_path / "nowhere.jsonl")
    empty = task(tmp_path / "t", "haigo_empty")
    empty.write_text("")
    odd = task(tmp_path / "t", "haigo_odd")
    odd.write_text('{"other": 1}\n')
    monkeypatch.setattr(loading, "load", lambda *_, **__: pytest.fail("a model was loaded"))
    assert cli.run(run.main, words("haigo_good", "haigo_gone", "haigo_empty", "haigo_odd")) == 2
    told = capsys.readouterr().err
    assert all(name in told for name in ("3 of lm-eval's tasks", "haigo_gone", "haigo_empty", "haigo_odd", "fix:"))
    assert "haigo_good" not in told and "Traceback" not in told
    assert not (tmp_path / "out" / "result.json").exists()


@pytest.mark.parametrize("error", ["ValueError('no such label')", "SystemExit(9)", "MemoryError()"])
def test_a_task_that_fails_in_the_middle_costs_no_other(words, counted, tmp_path, capsys, error):
    folder = tmp_path / "t"
    task(folder, "haigo_a")
    task(folder, "haigo_shaky", more=SHAKY)
    task(folder, "haigo_z")
    (folder / "shaky.py").write_text(CODE.format(error=error))
    (folder / "broken").touch()
    argv = words("haigo_a", "haigo_shaky", "haigo_z")
    assert cli.run(run.main, argv) == 4
    told = capsys.readouterr()
    assert "1 of lm-eval's tasks failed: haigo_shaky" in told.err and "Traceback" not in told.err
    assert "haigo_a (lm-eval's own)" in told.out and "haigo_z (lm-eval's own)" in told.out
    first = found(tmp_path)
    assert set(first["results"]) == {"haigo_a", "haigo_z"} and set(first["failed"]) == {"haigo_shaky"}
    (folder / "broken").unlink()
    counted.clear()
    assert cli.run(run.main, argv) == 0
    assert counted == ["haigo_shaky"] and "2 of lm-eval's tasks are done already" in capsys.readouterr().err
    last = found(tmp_path)
    assert set(last["results"]) == {"haigo_a", "haigo_shaky", "haigo_z"} and not {"failed", "unfinished"} & set(last)
    assert last["results"]["haigo_a"] == first["results"]["haigo_a"]
    assert not (tmp_path / "out" / stock.NAME).exists()


def test_without_an_output_folder_a_failure_is_told_and_the_rest_shown(words, tmp_path, capsys):
    folder = tmp_path / "t"
    task(folder, "haigo_shaky", more=SHAKY)
    task(folder, "haigo_z")
    (folder / "shaky.py").write_text(CODE.format(error="KeyError('x')"))
    (folder / "broken").touch()
    assert cli.run(run.main, words("haigo_shaky", "haigo_z", output=False)) == 4
    told = capsys.readouterr()
    assert "haigo_shaky" in told.err and "--output_path" in told.err and "haigo_z (lm-eval's own)" in told.out


def test_an_interrupted_run_goes_on_with_the_next_task(words, tmp_path, capsys, monkeypatch):
    names = ["haigo_a", "haigo_b", "haigo_c"]
    for name in names:
        task(tmp_path / "t", name)
    real, scored = stock._score, []

    def score(model, one, *more):
        if scored == ["haigo_a"]:
            raise KeyboardInterrupt
        scored.append(one.task_name)
        return real(model, one, *more)

    monkeypatch.setattr(stock, "_score", score)
    assert cli.run(run.main, words(*names)) == 130
    assert found(tmp_path)["unfinished"] == ["haigo_b", "haigo_c"] and set(found(tmp_path)["results"]) == {"haigo_a"}
    scored[:] = ["haigo_a", "again"]
    assert cli.run(run.main, words(*names)) == 0
    assert scored[2:] == ["haigo_b", "haigo_c"] and set(found(tmp_path)["results"]) == set(names)


def test_a_full_disk_between_two_tasks(words, counted, tmp_path, capsys, monkeypatch):
    for name in ("haigo_a", "haigo_b"):
        task(tmp_path / "t", name)
    real, times = files.write_json, []

    def write(path, value):
        times.append(path)
        if len(times) == 2:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        real(path, value)

    monkeypatch.setattr(files, "write_json", write)
    assert cli.run(run.main, words("haigo_a", "haigo_b")) in (2, 4)
    told = capsys.readouterr().err
    assert "result.json" in told and "Traceback" not in told
    assert set(found(tmp_path)["results"]) == {"haigo_a"}
    counted.clear()
    assert cli.run(run.main, words("haigo_a", "haigo_b")) == 0
    assert counted == [] and set(found(tmp_path)["results"]) == {"haigo_a", "haigo_b"}


def test_changed_documents_settings_and_weights_are_scored_anew(words, counted, model_folder, tmp_path, capsys):
    folder = tmp_path / "t"
    data = task(folder, "haigo_a")
    task(folder, "haigo_shaky", more=SHAKY)
    (folder / "shaky.py").write_text(CODE.format(error="ValueError('x')"))
    (folder / "broken").touch()
    argv = words("haigo_a", "haigo_shaky")
    for change in (
        lambda: None,
        lambda: data.write_text(data.read_text(encoding="utf-8").replace("番", "号"), encoding="utf-8"),
    ):
        change()
        counted.clear()
        assert cli.run(run.main, argv) == 4
        assert "haigo_a" in counted
    counted.clear()
    assert cli.run(run.main, argv) == 4 and counted == ["haigo_shaky"]
    counted.clear()
    assert cli.run(run.main, [*argv, "--limit", "2"]) == 4 and "haigo_a" in counted
    capsys.readouterr()


def test_the_leaderboards_tasks_are_not_lost_with_one_of_lm_evals(words, jglue, tmp_path, capsys):
    folder, ours = tmp_path / "t", "jcommonsenseqa-1.1-0.3"
    task(folder, "haigo_shaky", more=SHAKY)
    (folder / "shaky.py").write_text(CODE.format(error="ValueError('x')"))
    (folder / "broken").touch()
    argv = words(ours, "haigo_shaky", more=["--data_dir", str(jglue), "--limit", "3,all", "--log_samples"])
    assert cli.run(run.main, argv) == 4
    first = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert first["results"][ours] and (tmp_path / "out" / f"samples_{ours}.jsonl").is_file()
    (folder / "broken").unlink()
    capsys.readouterr()
    assert cli.run(run.main, argv) == 0
    assert "goes on after 3 answers" in capsys.readouterr().err
    last = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert last["results"] == first["results"] and "haigo_shaky" in last["lm_eval"]["results"]


GROUP = "group: {name}\ntask: [haigo_a, haigo_shaky]\naggregate_metric_list: [{{metric: acc, weight_by_size: true}}]\n"


def test_a_group_has_lm_evals_figures_once_all_of_it_is_there(words, counted, model_folder, tmp_path, capsys):
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    folder = tmp_path / "t"
    task(folder, "haigo_a", rows=6)
    task(folder, "haigo_shaky", more=SHAKY)
    (folder / "group.yaml").write_text(GROUP.format(name="haigo_group"))
    (folder / "shaky.py").write_text(CODE.format(error="ValueError('x')"))
    (folder / "broken").touch()
    argv = words("haigo_group")
    assert cli.run(run.main, argv) == 4
    assert set(found(tmp_path)["results"]) == {"haigo_a"} and set(found(tmp_path)["failed"]) == {"haigo_shaky"}
    (folder / "broken").unlink()
    assert cli.run(run.main, argv) == 0
    model = HFLM(str(model_folder("bpe")), dtype="float32", device="cpu", batch_size=1)
    manager = TaskManager(include_path=str(folder))
    theirs = simple_evaluate(model=model, tasks=["haigo_group"], num_fewshot=0, task_manager=manager, log_samples=False)
    for part in ("results", "versions", "n-shot"):
        assert found(tmp_path)[part] == json.loads(json.dumps(theirs[part]))
    assert capsys.readouterr().err.count("Traceback") == 0


@pytest.mark.parametrize("kind", ["nfkc_neox", "unigram_llama", "split_qwen2", "template_llama", "cut_and_padded"])
def test_lm_evals_scores_are_those_of_the_files_ids(kind, tmp_path, words):
    """Context and answer as one text, special tokens as the file says, ids of tokenizers itself."""
    from tokenizers import Tokenizer
    from transformers import AutoModelForCausalLM

    place = token_cases.folder(kind, tmp_path / "m")
    synthetic_jglue.tiny_model(place, token_cases.vocabulary(place) + 2, 512)
    task(tmp_path / "t", "haigo_a", rows=5, more="process_results: !function said.scores\n" + PLAIN)
    (tmp_path / "t" / "said.py").write_text(
        "import json\nfrom pathlib import Path\n\n\ndef scores(doc, results):\n"
        "    with open(Path(__file__).parent / 'said.jsonl', 'a') as handle:\n"
        "        handle.write(json.dumps([score for score, _ in results]) + '\\n')\n    return {'acc': 0.0}\n"
    )
    assert cli.run(run.main, ["--model_args", f"pretrained={place},dtype=float32", *words("haigo_a")[2:]]) == 0
    fast = Tokenizer.from_file(str(place / "tokenizer.json"))
    fast.no_truncation()
    fast.no_padding()
    model = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32)
    said = [json.loads(line) for line in (tmp_path / "t" / "said.jsonl").read_text().splitlines()]
    for number, scores in enumerate(said):
        for score, choice in zip(scores, ("北", "南の㌔"), strict=True):
            first = fast.encode(LINE.format(n=number)).ids
            whole = fast.encode(LINE.format(n=number) + " " + choice).ids
            with torch.no_grad():
                logs = model(torch.tensor([first + whole[len(first) :]])).logits[0].log_softmax(-1)
            wanted = sum(float(logs[place - 1, whole[place]]) for place in range(len(first), len(whole)))
            assert score == pytest.approx(wanted, abs=2e-3)


def test_figures_that_are_no_numbers_leave_result_json_readable_and_are_told(words, tmp_path, capsys):
    code = "def judge(doc, results):\n    return {'acc': float('nan')}\n"
    task(tmp_path / "t", "haigo_nan", more=SHAKY)
    (tmp_path / "t" / "shaky.py").write_text(code)
    assert cli.run(run.main, words("haigo_nan")) == 0
    assert found(tmp_path)["results"]["haigo_nan"]["acc,none"] is None
    assert "haigo_nan: acc came out as no number" in capsys.readouterr().err


@pytest.mark.parametrize(
    "names, more, told",
    [
        (("haigo_a", "haigo_a"), [], "haigo_a twice"),
        (("haigo_b",), [], "haigo_b"),
        (("haigo_a", "haigo_two"), ["--num_fewshot", "0,1"], "haigo_a and haigo_two both hold it"),
        (("haigo_a",), ["--batch_size", "0"], "--batch_size"),
    ],
)
def test_names_and_numbers_that_can_not_be_run(words, tmp_path, capsys, names, more, told):
    task(tmp_path / "t", "haigo_a")
    task(tmp_path / "t", "haigo_c")
    (tmp_path / "t" / "two.yaml").write_text("group: haigo_two\ntask: [haigo_a, haigo_c]\n")
    assert cli.run(run.main, words(*names, more=more)) == 2
    err = capsys.readouterr().err
    assert told in err and "fix:" in err and "Traceback" not in err


@pytest.mark.parametrize(
    "text", ["task: [", "task: haigo_a\ndataset_path: !function nowhere.x\n", "\x00", "- a\n", "task: haigo_a\n"]
)
def test_broken_yaml_is_told(words, tmp_path, capsys, text):
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "a.yaml").write_text(text)
    assert cli.run(run.main, words("haigo_a")) == 2
    err = capsys.readouterr().err
    assert "fix:" in err and "Traceback" not in err


@pytest.fixture
def loads(monkeypatch):
    """How often weights were read."""
    times, real = [], loading.CheckedLM._create_model

    def create(self, *args, **more):
        times.append(1)
        return real(self, *args, **more)

    monkeypatch.setattr(loading.CheckedLM, "_create_model", create)
    return times


@pytest.mark.parametrize("checkpoint", ["float32", "bfloat16"])
def test_one_model_answers_the_leaderboards_tasks_and_lm_evals(checkpoint, words, model_folder, jglue, loads, tmp_path):
    """Rounded to the checkpoint's precision in between, as lm-eval would have read it; its figures are the same."""
    import shutil

    from transformers import AutoModelForCausalLM

    place, ours = tmp_path / "m", "jcommonsenseqa-1.1-0.3"
    shutil.copytree(model_folder("bpe"), place)
    AutoModelForCausalLM.from_pretrained(place, dtype=getattr(torch, checkpoint)).save_pretrained(place)
    said = "process_results: !function said.scores\n" + PLAIN
    task(tmp_path / "t", "haigo_a", rows=6, more=said)
    (tmp_path / "t" / "said.py").write_text(
        "import json\nfrom pathlib import Path\n\n\ndef scores(doc, results):\n"
        "    with open(Path(__file__).parent / 'said.jsonl', 'a') as handle:\n"
        "        handle.write(json.dumps([score for score, _ in results]) + '\\n')\n    return {'acc': 0.0}\n"
    )
    alone = ["--model_args", f"pretrained={place}", *words("haigo_a", output=False)[2:]]
    assert cli.run(run.main, alone) == 0
    both = ["--model_args", f"pretrained={place}", *words(ours, "haigo_a", more=["--data_dir", str(jglue)])[2:]]
    loads.clear()
    assert cli.run(run.main, both) == 0
    assert len(loads) == 1
    lines = (tmp_path / "t" / "said.jsonl").read_text().splitlines()
    assert len(lines) == 12 and lines[:6] == lines[6:]
    result = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert result["haigo"]["model"]["dtype"] == "float32" and result["lm_eval"]["dtype"] == checkpoint


def test_a_model_of_the_callers_is_left_as_it_is(words, model_folder, jglue, tmp_path, monkeypatch):
    """It may be asked again: nothing of it is rounded."""
    from eval_harness.model import load

    lm = load(f"pretrained={model_folder('bpe')}", device="cpu", show_progress=False)
    lm.config.dtype = torch.bfloat16
    assert lm.as_lm_eval(None, own=False, auto=True) is None and lm.model.dtype == torch.float32
    assert lm.as_lm_eval(None, own=False, auto=False).model is lm.model


@pytest.mark.parametrize("size", ["auto", "auto:2", "3"])
def test_batch_sizes_are_lm_evals(size, words, jglue, tmp_path, capsys):
    task(tmp_path / "t", "haigo_a", rows=6)
    for number, names in enumerate((["haigo_a"], ["jcommonsenseqa-1.1-0.3", "haigo_a"])):
        argv = words(*names, more=["--data_dir", str(jglue), "--limit", "4", "--batch_size", size], output=False)
        assert cli.run(run.main, [*argv, "--json"]) == 0
        result = json.loads(capsys.readouterr().out)  # what lm-eval prints of it is held back
        assert result["config"]["batch_size"] == (size if number < 0 or size != "3" else 3)
        assert result["lm_eval"]["n-samples"]["haigo_a"] == {"original": 6, "effective": 4}
    for wrong in ("auto:x", "many", "0", "-1"):
        assert cli.run(run.main, [*words("haigo_a", output=False), "--batch_size", wrong]) == 2
        assert "--batch_size" in capsys.readouterr().err


def test_progress_is_one_bar_over_all_tasks(words, tmp_path, capsys):
    for name, rows in (("haigo_a", 4), ("haigo_b", 6)):
        task(tmp_path / "t", name, rows=rows)
    assert cli.run(run.main, words("haigo_a", "haigo_b", output=False)) == 0
    told = capsys.readouterr().err
    bars = [line for line in told.splitlines() if "documents" in line or "it/s" in line or "%|" in line]
    assert bars and all(line.startswith("lm-eval's tasks") for line in bars), told
    assert "lm-eval's tasks: 10 documents done in" in bars[-1]


@pytest.mark.parametrize(
    ("name", "meant"), [("haigo_grup", "haigo_group"), ("haigo_gr", "haigo_group"), ("haigo_c", "haigo_a")]
)
def test_a_misspelt_group_gets_the_nearest_name(name, meant, words, tmp_path, capsys):
    task(tmp_path / "t", "haigo_a")
    task(tmp_path / "t", "haigo_shaky")
    (tmp_path / "t" / "group.yaml").write_text(GROUP.format(name="haigo_group"))
    assert cli.run(run.main, words(name)) == 2
    assert f"task '{name}' is unknown. Did you mean '{meant}'?" in capsys.readouterr().err


def test_a_tag_runs_and_goes_on_by_its_tasks(words, counted, tmp_path, capsys):
    folder = tmp_path / "t"
    task(folder, "haigo_a", more="tag: haigo_tag\n" + PLAIN)
    task(folder, "haigo_shaky", more="tag: haigo_tag\n" + SHAKY)
    (folder / "shaky.py").write_text(CODE.format(error="ValueError('x')"))
    (folder / "broken").touch()
    assert cli.run(run.main, words("haigo_tag")) == 4 and set(found(tmp_path)["results"]) == {"haigo_a"}
    (folder / "broken").unlink()
    counted.clear()
    assert cli.run(run.main, words("haigo_tag")) == 0 and counted == ["haigo_shaky"]
    assert found(tmp_path)["asked"] == {"haigo_tag": ["haigo_a", "haigo_shaky"]}


def test_a_model_that_gives_every_document_one_answer_is_told(words, model_folder, tmp_path, capsys):
    import shutil

    from safetensors.torch import load_file, save_file

    place = tmp_path / "m"
    shutil.copytree(model_folder("bpe"), place)
    weights = {name: 0 * weight for name, weight in load_file(place / "model.safetensors").items()}
    save_file(weights, place / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "t").mkdir()
    # choices of as many tokens as each other, or zero weights would tell them apart
    data = tmp_path / "t" / "rows.jsonl"
    data.write_text("".join(json.dumps({"q": f"{n}", "choices": ["x", "y"], "gold": n % 2}) + "\n" for n in range(9)))
    task(tmp_path / "t", "haigo_a", data=data)
    assert cli.run(run.main, ["--model_args", f"pretrained={place}", *words("haigo_a")[2:]]) == 0
    assert "haigo_a: the model gave all documents one answer, every choice equally likely" in capsys.readouterr().err
    assert cli.run(run.main, words("haigo_a", output=False)) == 0
    assert "one answer" not in capsys.readouterr().err
