"""Damaged models and files, results of every kind in the table, and what several models lose to a kill: nothing."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil

import numpy as np
import pytest
import synthetic_jglue

from eval_harness import ask, datasets, embed, headlines, journal, leaderboard, origins, result, run, tasks
from eval_harness.run import evaluate, evaluate_models
from haigo import cli
from haigo.cli import HaigoError

NAME = "jcommonsenseqa-1.1-0.3"


@pytest.fixture
def damaged(model_folder, tmp_path):
    """A copy of the golden model with changed weights."""
    from safetensors.numpy import load_file, save_file

    def make(change) -> str:
        folder = tmp_path / "damaged"
        shutil.copytree(model_folder("spm"), folder)
        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return str(folder)

    return make


def _nan(weights):
    weights["gpt_neox.final_layer_norm.weight"][3] = np.nan


@pytest.mark.parametrize("task", ["jnli-1.1-0.2", "jsquad-1.1-0.2"])
def test_weights_that_are_no_numbers_give_no_score(damaged, jglue, task, tmp_path):
    pytest.importorskip("fugashi", reason="needs haigo[ja]")
    words = f"pretrained={damaged(_nan)}"
    with pytest.raises(HaigoError, match="no numbers") as error:
        evaluate("", task, 0, 2, jglue, tmp_path / "o", model_args=words, device="cpu")
    assert error.value.code == cli.REFUSED and not (tmp_path / "o" / "result.json").exists()


def test_weights_that_are_no_numbers_give_no_embedding(damaged):
    from eval_harness.model import load

    model = load(f"pretrained={damaged(_nan)}", device="cpu", show_progress=False)
    with pytest.raises(HaigoError, match="no numbers"):
        embed.embed(model, ["港の市場"])


def test_missing_weights_are_not_drawn_at_random(damaged):
    from eval_harness.model import load

    lost = "gpt_neox.layers.1.mlp.dense_h_to_4h.weight"
    with pytest.raises(HaigoError, match=f"lacks 1 of the model's weights, {lost}"):
        load(f"pretrained={damaged(lambda weights: weights.pop(lost))}", device="cpu")


def test_tied_weights_are_not_missing(model_folder, tmp_path):
    from transformers import GPT2Config, GPT2LMHeadModel

    from eval_harness.model import load

    shutil.copytree(model_folder("bpe"), tmp_path / "m", ignore=shutil.ignore_patterns("*.safetensors", "config.json"))
    config = GPT2Config(vocab_size=500, n_embd=16, n_layer=1, n_head=2, n_positions=64, tie_word_embeddings=True)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "m")
    assert load(f"pretrained={tmp_path / 'm'}", device="cpu", show_progress=False).max_length == 64


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("max_length=x", "max_length=x is not a whole number"),
        ("max_length=0", "max_length=0 is not a whole number"),
        ("dtype=float33", "dtype=float33 is unknown"),
    ],
)
def test_model_args_that_are_none(model_folder, more, problem):
    from eval_harness.model import load

    with pytest.raises(HaigoError, match=problem):
        load(f"pretrained={model_folder('spm')},{more}", device="cpu")


def test_a_broken_sentencepiece_model_and_config(model_folder, tmp_path):
    from eval_harness.model import load

    shutil.copytree(model_folder("spm"), tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_bytes())
    (tmp_path / "m" / "config.json").write_text(json.dumps(config | {"num_attention_heads": "x"}), encoding="utf-8")
    with pytest.raises(HaigoError, match="no model that transformers can read"):
        load(f"pretrained={tmp_path / 'm'}", device="cpu")
    (tmp_path / "m" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (tmp_path / "m" / "spm.model").write_bytes((tmp_path / "m" / "spm.model").read_bytes()[:3000])
    with pytest.raises(HaigoError, match="not a SentencePiece model"):
        load(f"pretrained={tmp_path / 'm'}", device="cpu")


def test_half_a_surrogate_pair_is_told_with_sentencepiece_too(loaded):
    with pytest.raises(HaigoError, match="not valid Unicode"):
        loaded("spm").encode("半分\ud83d")


@pytest.mark.parametrize("limit", ["nan", "inf", "0.001", "-1"])
def test_limits_that_leave_nothing(limit, jglue, capsys):
    argv = ["--model_args", "pretrained=none", "--tasks", NAME, "--data_dir", str(jglue), f"--limit={limit}"]
    assert cli.run(run.main, argv) == 2
    assert f"--limit {limit}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("task", "name", "content", "problem"),
    [
        ("jnli-1.1-0.3", "jnli-valid-v1.1.json", "\n\n", "is empty"),
        ("jnli-1.1-0.3", "jnli-valid-v1.1.json", "[" * 200_000, "nested too deeply"),
        ("jsquad-1.1-0.3", "jsquad-valid-v1.1.json", "[" * 200_000, "nested too deeply"),
        ("xwinograd_ja", "xwinograd-ja.json", "[]", "is empty"),
        ("mgsm", "mgsm_ja.tsv", '"' + "問\t1\n" * 100_000, "not a question, a tab and a number"),
        ("xlsum_ja", "xlsum_ja-test.csv", 'text,summary\n"本文\n', "has no field 'summary'"),
        (
            "jaqket_v2-0.1-0.3",
            "dev_jaqket_59.350.json",
            '[{"qid":"1","question":"q","answers":[null],"ctxs":[{"title":"t","text":"c","has_answer":true}]}]',
            "is not a JSON object",
        ),
    ],
)
def test_files_that_are_none(tmp_path, task, name, content, problem):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(HaigoError, match=problem):
        rules = tasks.make(task)
        rules.read(datasets.find(tmp_path, rules.dataset, rules.scored_split, "v1.1").path)


def test_a_label_that_is_true_is_no_number(tmp_path):
    row = {"question": "q", "label": True, **{f"choice{n}": "c" for n in range(5)}}
    (tmp_path / "x.json").write_text(json.dumps(row), encoding="utf-8")
    with pytest.raises(HaigoError, match="'label' is bool"):
        tasks.make(NAME).read(tmp_path / "x.json")


def test_sentences_and_pairs_that_are_none(loaded, tmp_path):
    (tmp_path / "s.txt").write_bytes("港の市場".encode("shift_jis"))
    with pytest.raises(HaigoError, match="not UTF-8"):
        embed.sentences(tmp_path / "s.txt")
    row = json.dumps({"sentence1": "港の市場", "sentence2": "赤い糸", "label": float("nan")}) + "\n"
    (tmp_path / "j.json").write_text(row * 6, encoding="utf-8")
    with pytest.raises(HaigoError, match="correlation does not exist"):
        embed.jsts(loaded("spm"), tmp_path / "j.json")


def test_news_files_that_are_none(tmp_path):
    import zstandard

    rows = b'{"title": "x", "text": "y"}\n' * 500
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(rows)[:-20])
    (tmp_path / "no.jsonl.gz").write_bytes(rows)
    (tmp_path / "no.jsonl.zst").write_bytes(rows)
    (tmp_path / "sjis.jsonl").write_bytes('{"title": "港"}'.encode("shift_jis"))
    (tmp_path / "list.jsonl").write_bytes(rows + b'["x", "y"]\n')
    for name in ("cut.jsonl.gz", "sjis.jsonl", "list.jsonl"):
        with pytest.raises(HaigoError, match=name):
            list(headlines.articles(tmp_path / name, "test"))
    for name in ("no.jsonl.gz", "no.jsonl.zst"):  # told by their bytes, not by their names
        assert len(list(headlines.rows(tmp_path / name, "test"))) == 500
    two = zstandard.ZstdCompressor().compress(rows) * 2  # frames one after the other are one file
    (tmp_path / "two.jsonl.zst").write_bytes(two)
    assert len(list(headlines.rows(tmp_path / "two.jsonl.zst", "test"))) == 1000


def _file(split, *releases):
    return datasets.DataFile(path=None, split=split, sha256="", releases=releases)  # type: ignore[arg-type]


def test_jglue_releases_are_told_apart(shared_jglue):
    content = (shared_jglue / "jnli-valid-v1.3.json").read_bytes()
    assert hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest().startswith("bd1cf766")
    found = datasets.find(shared_jglue, "jnli", "valid", "v1.3")
    assert found.releases == ("v1.2", "v1.3")  # v1.2 has the same bytes
    assert datasets.label([found], "v1.2") == "JGLUE v1.2" and datasets.label([found], "v1.1") == "JGLUE v1.2"


def test_shots_of_another_release_are_no_published_rows():
    valid, train = _file("valid", *origins.VERSIONS), _file("train", "v1.3")
    rules = tasks.make("jsquad-1.1-0.3")
    about = {"pool": "train", "shots": 2, "limit": None, "seed": 42, "dtype": "float32"}
    for version, label in (("v1.1", "JGLUE v1.3"), ("v1.3", "JGLUE v1.3")):
        kind = datasets.label([valid, train], version)
        assert kind == label
        (said,) = result.reservations(rules, data=kind, **about)
        assert "shots are from v1.1" in said
    old = _file("train", "v1.1", "v1.2")
    assert not result.reservations(rules, data=datasets.label([valid, old], "v1.2"), **about)
    assert datasets.label([_file("valid", "v1.1"), train], "v1.1") == "JGLUE v1.1 with shots from v1.3"


@pytest.fixture(scope="module")
def scored(loaded, jglue, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scored")
    evaluate("some/model", f"{NAME},jnli-1.1-0.2", 3, 5, jglue, folder, model=loaded("spm"))
    return folder / "result.json"


def test_the_table_has_every_published_row(scored):
    table = leaderboard.compare([leaderboard.ours(scored)], leaderboard.published(every=True))
    assert len(table.rows) > 40
    row = next(cells for name, cells in table.rows if name.startswith("stablelm-jp-3b") and "36.44" in cells[1])
    assert table.notes["the task's version and prompt are not recorded"] in row[1]


def test_rows_without_a_number_of_shots_say_so():
    row = next(
        row for row in leaderboard.published(every=True) if "mgsm" in row.cells and row.cells["mgsm"].shots is None
    )
    other = leaderboard.Cell(percent=1.0, error=None, task="mgsm-1.0-0.0", shots=5, notes=())
    assert "the number of shots is not recorded" in leaderboard.differences(row.cells["mgsm"], other)
    assert all(
        r.cells["xwinograd_ja"].shots == 0 for r in leaderboard.published(every=True) if "xwinograd_ja" in r.cells
    )


def _row(name, cells):
    made = {
        column: leaderboard.Cell(percent=percent, error=None, task=f"{column}-1.0-0.3", shots=0, notes=())
        for column, percent in cells.items()
    }
    return leaderboard.Row(name=name, ours=True, cells=made)


def test_tasks_of_ones_own_stand_beside_the_average():
    eight = dict(zip(leaderboard._COLUMNS, range(10, 90, 10), strict=True))
    table = leaderboard.compare(
        [_row("all", eight | {"news_headline": 99.0}), _row("news", {"news_headline": 50.0})], []
    )
    assert table.columns[-2:] == ["news_headline", "average"]
    assert [cells[-2:] for _, cells in table.rows] == [["99.00", "45.00"], ["50.00", "-"]]
    with pytest.raises(HaigoError, match="none of the results"):
        leaderboard.compare([_row("nothing", {})], [])


def test_other_data_are_not_tested(scored, tmp_path):
    shutil.copytree(scored.parent, tmp_path / "b")
    content = json.loads(scored.read_bytes())
    content["haigo"]["tasks"][NAME]["data"] = "JGLUE v1.3"
    (tmp_path / "b" / "result.json").write_text(json.dumps(content), encoding="utf-8")
    rows = [leaderboard.ours(path) for path in (scored, tmp_path / "b" / "result.json")]
    first, second = leaderboard.compare(rows, []).tests
    assert "no test, the data are custom and JGLUE v1.3" in first and "p = 1" in second


@pytest.mark.parametrize(
    "text", ['{"results": {"x": {}}, "haigo": {}, "config": {}}', '{"results": [1], "haigo": 1, "config": 1}']
)
def test_damaged_results(tmp_path, text):
    (tmp_path / "r.json").write_text(text, encoding="utf-8")
    with pytest.raises(HaigoError, match="damaged result"):
        leaderboard.ours(tmp_path / "r.json")


def test_a_kill_in_the_second_model_does_not_ask_the_first_again(model_folder, jglue, tmp_path, monkeypatch, capsys):
    from eval_harness.model import LeaderboardLM

    models = [f"pretrained={model_folder(kind)}" for kind in ("spm", "bpe")]
    options = {"tasks": [NAME], "num_fewshot": 0, "limit": 6, "data_dir": jglue, "bootstrap_iters": 0, "device": "cpu"}
    score, asked = LeaderboardLM._score, []

    def stopped(self, questions, progress):
        asked.append(len(questions))
        if len(asked) == 2:
            raise KeyboardInterrupt
        yield from score(self, questions, progress)

    monkeypatch.setattr(LeaderboardLM, "_score", stopped)
    with pytest.raises(KeyboardInterrupt):
        evaluate_models(models, tmp_path, **options)
    found = evaluate_models(models, tmp_path, **options)
    assert asked == [6, 6, 0, 6] and len(found) == 2
    assert not list(tmp_path.rglob(journal.NAME)) and len(list(tmp_path.rglob("result.json"))) == 2
    assert "goes on after 6 answers" in capsys.readouterr().err


def test_json_stays_json_when_an_example_is_explained(model_folder, jglue, capsys):
    argv = [
        "--model_args",
        f"pretrained={model_folder('spm')}",
        "--tasks",
        NAME,
        "--data_dir",
        str(jglue),
        "--limit",
        "1",
    ]
    assert cli.run(run.main, [*argv, "--device", "cpu", "--explain", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["results"][NAME] and "--- context" in said.err
    assert cli.run(run.main, [*argv, "--log_samples"]) == 2
    assert "--output_path is missing" in capsys.readouterr().err
    assert cli.run(run.main, [*argv, "--layout", "models"]) == 2
    assert "--layout models writes files, and --output_path is missing" in capsys.readouterr().err


def test_typed_questions(model_folder, monkeypatch, capsys):
    import io
    import sys

    typed = io.StringIO("首都は？\n東京, *京都\n川は？\n一つ\n山は？\n富士山,浅間山\n\n")
    monkeypatch.setattr(typed, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", typed)
    assert cli.run(ask.main, ["--model", str(model_folder("spm")), "--device", "cpu"]) == 0
    said = capsys.readouterr()
    assert (
        "* 京都: -" in said.out
        and said.out.count("Answer: ") == 2
        and said.out.count("(right)") + said.out.count("(wrong)") == 1
    )
    assert "1 choices are given" in said.err  # and the session went on
    with pytest.raises(HaigoError, match="2 choices are marked"):
        ask.marked("*a,*b")


def test_the_data_of_the_tests_are_none_of_jglues(jglue):
    assert synthetic_jglue.PLACES and not datasets.find(jglue, "jnli", "valid", "v1.1").releases


def test_what_the_table_leaves_out_is_said(loaded, jglue, tmp_path):
    evaluate("some/model", "jnli-1.1-0.3,jnli-1.3-0.3", 0, 3, jglue, tmp_path, model=loaded("spm"), bootstrap_iters=0)
    (said,) = leaderboard.compare([leaderboard.ours(tmp_path / "result.json")], []).tests
    assert "not shown of some/model: jnli-1.3-0.3" in said


def test_explain_names_lm_evals_own_task(loaded, jglue, capsys):
    from lm_eval.tasks import TaskManager

    known = TaskManager().all_tasks
    assert all(f"ja_leaderboard_{name}" in known for name in filter(None, (task.lm_eval_name for task in tasks.TASKS)))
    evaluate("", "jnli-1.1-0.3", 0, 1, jglue, model=loaded("spm"), explain=0, bootstrap_iters=0)
    assert "ja_leaderboard_jnli, has other prompts" in capsys.readouterr().out
