"""The table beside others' results (jp-stable, lm-eval, llm-jp-eval), with lm-eval's own tasks, in any order."""

from __future__ import annotations

import functools
import json
import re

import pytest
from page_texts import english, texts
from test_eval_stock import GROUP, PLAIN, SHAKY, task

from eval_harness import leaderboard, page, result, run, significance
from eval_harness.rows import Cell
from eval_harness.run import evaluate
from eval_harness.tasks import TASKS
from haigo import cli

NAME, NLI = "jcommonsenseqa-1.1-0.3", "jnli-1.1-0.3"


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    """lm-eval without its own YAML files, as in test_eval_stock.py."""
    from lm_eval import tasks

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tasks, "TaskManager", functools.partial(tasks.TaskManager, include_defaults=False))


@pytest.fixture(scope="module")
def scored(loaded, jglue, tmp_path_factory):
    """A result of ours."""
    folder = tmp_path_factory.mktemp("scored")
    evaluate("some/model", [NAME, NLI], [3, 3], None, jglue, folder, model=loaded("spm"), bootstrap_iters=0)
    return folder / "result.json"


def written(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def shown(capsys, *words, code=0):
    """The table's rows (name -> texts) and the sentences under it."""
    assert cli.run(leaderboard.main, [str(word) for word in words]) == code
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    if code:
        return told.err
    lines = [re.split(r" {2,}", line) for line in told.out.splitlines()]
    columns = lines[0][1:]
    rows = {each[0]: dict(zip(columns, each[1:], strict=True)) for each in lines[1:] if len(each) == len(lines[0])}
    return rows, told.out


def marks(text, row):
    """What the letters of a figure say."""
    letters = row.split(" ")[-1]
    return [line[3:] for line in text.splitlines() if line[1:3] == ": " and line[0] in letters]


def lm_eval(words, tmp_path, *names):
    given = ["--model_args", words, "--tasks", ",".join(names), "--include_path", str(tmp_path / "t")]
    return [*given, "--num_fewshot", "0", "--output_path", str(tmp_path / "out"), "--device", "cpu"]


def test_lm_evals_own_scores_stand_in_the_table(model_folder, tmp_path, capsys):
    words = f"pretrained={model_folder('bpe')}"
    task(tmp_path / "t", "haigo_a", more="tag: haigo_tag\n" + PLAIN)
    task(tmp_path / "t", "haigo_shaky", more="tag: haigo_tag\n" + SHAKY)
    (tmp_path / "t" / "shaky.py").write_text("def judge(doc, results):\n    return {'acc': 1.0}\n")
    (tmp_path / "t" / "group.yaml").write_text(GROUP.format(name="haigo_group"))
    assert cli.run(run.main, lm_eval(words, tmp_path, "haigo_group")) == 0
    capsys.readouterr()
    rows, _ = shown(capsys, tmp_path / "out" / "result.json")
    ((name, row),) = rows.items()
    assert name.endswith("(this run)") and list(row) == ["haigo_group"] and re.match(r"\d+\.\d\d ±", row["haigo_group"])
    assert cli.run(run.main, [*lm_eval(words, tmp_path, "haigo_tag"), "--limit", "3"]) == 0
    capsys.readouterr()
    rows, text = shown(capsys, tmp_path / "out" / "result.json")
    ((_, row),) = rows.items()
    assert list(row) == ["haigo_a", "haigo_shaky"] and row["haigo_shaky"].startswith("100.00")
    assert marks(text, row["haigo_shaky"]) == ["only a part of the documents was scored (--limit)"]


def test_a_task_that_failed_is_named_under_the_table(model_folder, tmp_path, capsys):
    task(tmp_path / "t", "haigo_a")
    task(tmp_path / "t", "haigo_shaky", more=SHAKY)
    (tmp_path / "t" / "shaky.py").write_text("def judge(doc, results):\n    raise ValueError('no judge')\n")
    words = lm_eval(f"pretrained={model_folder('bpe')}", tmp_path, "haigo_a", "haigo_shaky")
    assert cli.run(run.main, words) == 4
    capsys.readouterr()
    _, text = shown(capsys, tmp_path / "out" / "result.json")
    assert "has no figure of haigo_shaky (no judge)" in text


def test_lm_evals_own_file_says_the_same_of_the_same_model(model_folder, tmp_path, capsys):
    import lm_eval as program
    from lm_eval import tasks
    from lm_eval.loggers import EvaluationTracker

    for name in ("haigo_a", "haigo_shaky"):
        task(tmp_path / "t", name, rows=6)
    (tmp_path / "t" / "group.yaml").write_text(GROUP.format(name="haigo_group"))
    words = f"pretrained={model_folder('bpe')},dtype=float32"
    assert cli.run(run.main, lm_eval(words, tmp_path, "haigo_group")) == 0
    for limit in (None, 4):
        tracker = EvaluationTracker(output_path=str(tmp_path / f"theirs{limit}"))
        outcome = program.simple_evaluate(
            model="hf", model_args=words, tasks=["haigo_group"], num_fewshot=0, limit=limit, device="cpu",
            task_manager=tasks.TaskManager(include_path=str(tmp_path / "t")), evaluation_tracker=tracker,
        )  # fmt: skip
        tracker.save_results_aggregated(results=outcome, samples=outcome.pop("samples"))
    capsys.readouterr()
    (whole,), (part,) = (list((tmp_path / f"theirs{limit}").rglob("results_*.json")) for limit in (None, 4))
    rows, text = shown(capsys, tmp_path / "out" / "result.json", whole)
    own, theirs = rows.values()
    assert own == theirs and list(own) == ["haigo_group"] and marks(text, theirs["haigo_group"]) == []
    rows, text = shown(capsys, tmp_path / "out" / "result.json", part)
    assert marks(text, list(rows.values())[1]["haigo_group"]) == ["only a part of the documents was scored (--limit)"]


def test_results_of_jp_stable_are_by_the_same_rules(scored, tmp_path, capsys):
    ours = json.loads(scored.read_bytes())
    kept = {key: ours[key] for key in ("results", "versions", "config")}
    kept["config"] |= {"model_args": "pretrained=other/model", "num_fewshot": [3, 3]}
    for figures in kept["results"].values():
        figures["details"] = [{"question": "q"}]  # as --verbose has it
    path = written(tmp_path / "jp" / "result.json", kept)
    rows, text = shown(capsys, scored, path)
    assert (
        rows["other/model (jp-stable)"]["jcommonsenseqa"].split(" ±")[0]
        == (rows["some/model (this run)"]["jcommonsenseqa"].split(" ±")[0])
    )
    assert marks(text, rows["other/model (jp-stable)"]["jnli"]) == []
    assert "other/model against" not in text  # no samples, no test
    kept["config"] |= {"num_fewshot": [3, 2], "limit": 10, "model_args": "pretrained=other/model,torch_dtype=auto"}
    written(path, kept)
    rows, text = shown(capsys, scored, path)
    assert marks(text, rows["other/model (jp-stable)"]["jnli"]) == [
        "ran in the checkpoint's precision (torch_dtype=auto)",
        "only a part of the documents was scored (--limit)",
        "the number of shots is not recorded",
    ]
    # the order of the shots is that of --tasks, which stands in harness.sh alone
    (path.parent / "harness.sh").write_text(f'MODEL_ARGS="x"\nTASK="{NLI},{NAME}"\npython main.py --tasks $TASK\n')
    rows, text = shown(capsys, scored, path)
    assert "2 shots, not 3" in marks(text, rows["other/model (jp-stable)"]["jcommonsenseqa"])
    assert not [each for each in marks(text, rows["other/model (jp-stable)"]["jnli"]) if "shots" in each]


def test_results_of_llm_jp_eval_are_marked(scored, tmp_path, capsys):
    content = {
        "scores": {
            "jcommonsenseqa_exact_match": 0.84,
            "jemhopqa_char_f1": 0.4,
            "NLI": 0.5,
            "AVG": 0.6,
            "jsts_pearson": 0.3,
        },
        "outputs": {},
        "config": {
            "metainfo": {"version": "1.3.0", "num_few_shots": 4, "max_num_samples": 100, "data_type": "dev"},
            "model": {"pretrained_model_name_or_path": "other/model"},
        },
    }
    rows, text = shown(capsys, scored, written(tmp_path / "x.json", content))
    row = rows["other/model (llm-jp-eval 1.3.0)"]
    assert row["jcommonsenseqa"].startswith("84.00 ") and row["jemhopqa char_f1"].startswith("40.00")
    assert "NLI" not in row and "AVG" not in row and row["jsts pearson"].startswith("30.00")
    said = marks(text, row["jcommonsenseqa"])
    assert any(each.startswith("by llm-jp-eval 1.3.0, exact_match of a generated answer") for each in said)
    assert "at most 100 documents of a task were scored (max_num_samples)" in said


@pytest.mark.parametrize(
    "content",
    [
        {"results": {}},
        {"scores": {"a_exact_match": "x"}},
        {"scores": [1]},
        {"results": {"a": {"acc,none": 1}}, "n-shot": 3, "config": {}},
        {
            "results": {"a": 1},
            "versions": {},
            "config": {"model": "hf", "model_args": "", "num_fewshot": [1], "limit": None},
        },
        [],
    ],
)
def test_files_that_are_no_results(content, tmp_path, capsys):
    told = shown(capsys, written(tmp_path / "x.json", content), code=2)
    assert "x.json" in told and "fix:" in told


def test_rows_in_the_order_that_is_asked_for(scored, tmp_path, capsys):
    def figures(order, column):
        rows, _ = shown(capsys, scored, *order)
        rows = {name: row for name, row in rows.items() if name not in ("always the commonest answer", "chance")}
        return list(rows), [float(row[column].split(" ")[0]) for row in rows.values() if row[column] != "-"]

    names, plain = figures([], "jcommonsenseqa")
    assert names[0] == "some/model (this run)" and plain[1:] == sorted(plain[1:], reverse=True)
    for column in ("jcommonsenseqa", "jnli"):
        _, found = figures(["--sort", column], column)
        assert found == sorted(found, reverse=True) and sorted(found) != found
    names, _ = figures(["--sort", "name"], "jnli")
    assert names == sorted(names, key=str.lower)
    assert "Did you mean 'jnli'" in shown(capsys, scored, "--sort", "jnly", code=2)
    assert "average" not in shown(capsys, scored, "--sort", "average", code=2).split("fix:")[1]  # six tasks are missing


def test_the_average_stays_in_sight(tmp_path, capsys):
    """Beside any number of columns: it sticks to the right edge, the model's name to the left one."""
    figures = {
        task: {"acc": 0.5} for task in ("jcommonsenseqa-1.1-0.3", "jnli-1.1-0.3", "marc_ja-1.1-0.3", "xwinograd_ja")
    }
    figures |= {"jsquad-1.1-0.3": {"exact_match": 50}, "jaqket_v2-0.1-0.3": {"exact_match": 50}}
    figures |= {"xlsum_ja-1.0-0.3": {"rouge2": 10}, "mgsm-1.0-0.3": {"acc": 0.1}}
    config = {"model": "hf-causal", "model_args": "pretrained=m", "num_fewshot": [1] * 8, "limit": None}
    path = written(tmp_path / "result.json", {"results": figures, "versions": {}, "config": config})
    _, text = shown(capsys, path, "--sort", "average")
    assert text.splitlines()[0].split()[-1] == "average" and "none later than 2023-11-21" in text
    assert cli.run(leaderboard.main, [str(path), "--html", str(tmp_path / "t.html")]) == 0
    page = (tmp_path / "t.html").read_text(encoding="utf-8")
    assert '<th class="n average">average</th>' in page and page.count('<td class="n average">') >= 18
    assert ".average { position: sticky; right: 0;" in page


def notes():
    """Every sentence that a letter may stand for."""
    found = {note for row in leaderboard.published(every=True) for cell in row.cells.values() for note in cell.notes}
    for kind in TASKS:
        for version in kind.versions:
            rules = kind(version, next(iter(kind.prompts(version))))
            for data in ("custom", "unverified (7 documents)", "JGLUE v1.3"):
                asked = {"data": data, "pool": "valid", "shots": 9, "limit": 5, "seed": 7, "dtype": "float16"}
                found |= {*result.reservations(rules, **asked, chat=True)}
    one = Cell(percent=1.0, error=None, task=NAME, shots=3, notes=())
    others = [
        (NLI, 3, ""),
        (NAME, 2, ""),
        (NAME, None, ""),
        ("jcommonsenseqa", 3, ""),
        ("jcommonsenseqa-1.2-0.4", 3, ""),
    ]
    others += [(NAME, 3, "lm-eval 0.4"), (NAME, 3, "llm-jp-eval 1.3, acc of a generated answer")]
    for asked_task, shots, by in others:
        other = Cell(percent=1.0, error=None, task=asked_task, shots=shots, rules=by, notes=())
        found |= {*leaderboard.differences(other, one), *leaderboard.differences(one, other)}
    tests = [significance.paired(*pair) for pair in (([0, 1.0], [1, 1.0]), ([0.5, 2], [1, 1.5]), ([0.5, 2], [0.5, 2]))]
    return found | {f"b against a on {NAME}: {each}" for each in tests} | {result.VLLM}


def test_every_sentence_of_the_table_is_said_in_japanese():
    found = notes()
    assert len(found) > 40
    assert {note for note in found if not re.search("[ぁ-ん]", page.say(note))} == set()
    for note in found:  # with its numbers
        assert {*re.findall(r"\d+\.\d+", note)} <= {*re.findall(r"\d+\.\d+", page.say(note))}, note


def test_the_page_in_japanese(scored, tmp_path):
    place = tmp_path / "t.html"
    assert cli.run(leaderboard.main, [str(scored), str(scored), "--html", str(place), "--lang", "ja"]) == 0
    assert english(place) == [] and any("JGLUE のものではない" in each for each in texts(place))
