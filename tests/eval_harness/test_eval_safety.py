"""What a received model, or a received result, must not be able to do: run code, drive a terminal, write markup."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import sys

import pytest
from safetensors.torch import load_file, save_file

from eval_harness import ask, embed, leaderboard, run
from eval_harness.run import evaluate
from haigo import cli

CODE = """
from pathlib import Path
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM
Path({mark!r}).write_text("ran")
class OwnConfig(GPTNeoXConfig):
    model_type = "own_of_nobody"
class OwnModel(GPTNeoXForCausalLM):
    config_class = OwnConfig
"""
QUESTION = ["--question", "どれか", "--choices", "干し魚,銅の鍵", "--device", "cpu"]
TOY = """task: haigo_own_toy
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: ["はい", "いいえ"]
doc_to_target: 0
metric_list:
  - metric: acc
"""


@pytest.fixture
def own(model_folder, tmp_path, monkeypatch):
    """A model whose configuration is Python code of its own; the file that appears when the code is run."""
    folder, mark = tmp_path / "received" / "own", tmp_path / "ran"
    shutil.copytree(model_folder("bpe"), folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "own_of_nobody",
        "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    weights = load_file(folder / "model.safetensors")  # under another type's name nobody renames the last one
    weights["lm_head.weight"] = weights.pop("embed_out.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "own.py").write_text(CODE.format(mark=str(mark)))
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 9))  # transformers would ask
    return folder, mark


def test_ask_never_reads_options_out_of_a_folders_name(own, model_folder, tmp_path, capsys):
    folder, mark = own
    assert cli.run(ask.main, ["--model", f"{folder},trust_remote_code=True", *QUESTION]) == 2
    assert "own,trust_remote_code=True does not exist" in capsys.readouterr().err and not mark.exists()
    named = tmp_path / "a,trust_remote_code=True"
    shutil.copytree(folder, named)
    assert cli.run(ask.main, ["--model", str(named), *QUESTION]) == 3
    err = capsys.readouterr().err
    assert "Python code of its own" in err and "--trust_remote_code" in err and not mark.exists()
    shutil.copytree(model_folder("spm"), tmp_path / "b,dtype=no")
    assert cli.run(ask.main, ["--model", str(tmp_path / "b,dtype=no"), *QUESTION]) == 0


@pytest.mark.parametrize("verb", ["ask", "run", "theirs", "embed"])
def test_a_models_own_code_is_run_only_by_its_own_flag(own, jglue, tmp_path, capsys, verb):
    pytest.importorskip("datasets")
    folder, mark = own
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "d.json").write_text('{"question": "空は青いか"}\n')
    (tmp_path / "toy" / "t.yaml").write_text(TOY.format(data=tmp_path / "toy" / "d.json"))
    (tmp_path / "s.txt").write_text("空は青い。\n")
    scored = ["--model_args", f"pretrained={folder}", "--device", "cpu", "--limit", "2", "--tasks"]
    main, argv = {
        "ask": (ask.main, ["--model", str(folder), *QUESTION]),
        "run": (run.main, [*scored, "jcommonsenseqa-1.1-0.3", "--data_dir", str(jglue)]),
        "theirs": (run.main, [*scored, "haigo_own_toy", "--include_path", str(tmp_path / "toy")]),
        "embed": (
            embed.main,
            ["--model", str(folder), str(tmp_path / "s.txt"), "--output", str(tmp_path / "v.parquet")],
        ),
    }[verb]
    assert cli.run(main, argv) == 3
    err = capsys.readouterr().err
    assert "Python code of its own" in err and "Traceback" not in err and not mark.exists()
    assert cli.run(main, [*argv, "--trust_remote_code"]) == 0  # in lm-eval's own model too
    assert mark.exists()


def test_the_flag_is_not_hidden_in_the_models_options(own, jglue, capsys):
    folder, mark = own
    for words in (
        f"pretrained={folder},trust_remote_code=True",
        json.dumps({"pretrained": str(folder), "trust_remote_code": 1}),
    ):
        argv = ["--model_args", words, "--tasks", "jcommonsenseqa-1.1-0.3", "--data_dir", str(jglue), "--device", "cpu"]
        assert cli.run(run.main, argv) == 2
        assert "give the flag --trust_remote_code" in capsys.readouterr().err and not mark.exists()


def test_a_folder_with_a_comma_is_scored_and_scored_again(model_folder, jglue, tmp_path, capsys):
    named, out = tmp_path / "a,b=c", tmp_path / "out"
    shutil.copytree(model_folder("spm"), named)
    task = "jcommonsenseqa-1.1-0.3"
    evaluate(named, task, 0, 2, jglue, out, device="cpu", bootstrap_iters=0)
    found = json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert found["haigo"]["model"]["pretrained"] == str(named)
    argv = ["--model_args", found["config"]["model_args"], "--tasks", task, "--data_dir", str(jglue), "--limit", "2"]
    assert cli.run(run.main, [*argv, "--num_fewshot", "0", "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["results"] == found["results"]
    assert cli.run(leaderboard.main, [str(out / "result.json")]) == 0
    assert f"{named} (this run)" in capsys.readouterr().out


class Runs:
    """An object whose pickle runs a command."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def _asked(folder, capsys, *words):
    code = cli.run(ask.main, ["--model", str(folder), *QUESTION, *words])
    err = capsys.readouterr().err
    assert "Traceback" not in err
    return code, err


@pytest.fixture
def received(model_folder, tmp_path):
    """A copy of a model folder; what changes its config.json."""
    folder = tmp_path / "got"
    shutil.copytree(model_folder("bpe"), folder)

    def change(**keys):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **keys}))

    return folder, change


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation", "experts_implementation"])
def test_compiled_code_of_the_hub_is_not_fetched_for_a_models_config(received, capsys, key):
    folder, change = received
    change(**{key: "someone/kernel"})
    code, err = _asked(folder, capsys)
    assert code == 3 and "names code of the hub" in err and "someone/kernel" in err


def test_a_config_with_fewer_layers_than_the_weights_is_no_model(received, capsys):
    folder, change = received
    change(num_hidden_layers=1)
    code, err = _asked(folder, capsys)
    assert code == 2 and "are whole layers" in err and "fix: " in err


def test_weights_that_are_passed_over_are_told(received, capsys):
    folder, _ = received
    weights = load_file(folder / "model.safetensors")
    save_file(weights | {"head.extra": weights["gpt_neox.final_layer_norm.bias"] + 1}, folder / "model.safetensors",
              metadata={"format": "pt"})  # fmt: skip
    code, err = _asked(folder, capsys)
    assert code == 0 and "holds 1 weights" in err and "head.extra" in err


def test_an_old_pickle_is_refused_without_torchs_advice(received, tmp_path, capsys):
    folder, _ = received
    mark = tmp_path / "ran"
    (folder / "model.safetensors").unlink()
    for protocol in (0, 4):  # torch's words differ
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Runs(f"touch {mark}"), protocol))
        code, err = _asked(folder, capsys)
        assert code == 3 and not mark.exists() and "weights_only" not in err and "do not load this file" in err


HOSTILE = (
    "ev\x1b]0;owned\x07il\x9b2J\u202eabc|<script>alert(1)</script>[x](javascript:a)\n| forged | 99.99 |`c`**b**\rover"
)


@pytest.fixture
def hostile(loaded, jglue, tmp_path):
    """A received result whose names and sentences are not what they should be."""
    evaluate("x/y", "jcommonsenseqa-1.1-0.3", 0, 2, jglue, tmp_path, model=loaded("spm"), bootstrap_iters=0)
    path = tmp_path / "result.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["haigo"]["model"]["pretrained"] = HOSTILE
    task = content["haigo"]["tasks"]["jcommonsenseqa-1.1-0.3"]
    task["not_comparable"] = [HOSTILE]
    content["results"][f"own{HOSTILE}-1.0"] = content["results"]["jcommonsenseqa-1.1-0.3"]
    content["haigo"]["tasks"][f"own{HOSTILE}-1.0"] = task
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def controls(text):
    return sorted({c for c in text if (ord(c) < 32 and c not in "\n") or 127 <= ord(c) < 160 or c in "\u202e\u2066"})


def test_the_leaderboard_shows_a_hostile_name_and_obeys_none(hostile, tmp_path, capsys):
    assert cli.run(leaderboard.main, [str(hostile)]) == 0
    out = capsys.readouterr().out
    assert "ev\\u001b]0;owned\\u0007il" in out and controls(out) == []
    assert not [line for line in out.splitlines() if line.lstrip().startswith("| forged")]
    argv = [str(hostile), "--markdown", str(tmp_path / "t.md"), "--html", str(tmp_path / "t.html")]
    assert cli.run(leaderboard.main, argv) == 0
    text, page = ((tmp_path / name).read_text(encoding="utf-8") for name in ("t.md", "t.html"))
    assert controls(text) == [] == controls(page)
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert "\\<script\\>" in text and "\\[x\\](javascript" in text and "\\`c\\`" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    width = rows[0].replace("\\|", "").count("|")
    assert all(row.replace("\\|", "").count("|") == width for row in rows)
    assert len([row for row in rows if "ev\\\\u001b" in row]) == 2  # the head, and one row
    assert not [row for row in rows if row.startswith("| forged")]


def test_what_a_command_prints_cannot_drive_a_terminal(capsys):
    told = "a\x1b[2Jb\x07\x9b\u202ec\rd\te\n"

    def main(argv):
        print(told, end="")
        sys.stdout.write(json.dumps({"x": told}, ensure_ascii=False) + "\n")
        raise cli.HaigoError(told)

    assert cli.run(main, []) == 2
    out, err = capsys.readouterr()
    assert controls(out) == ["\t"] == controls(err)
    first, second, _ = out.split("\n")
    assert first == "a\\u001b[2Jb\\u0007\\u009b\\u202ec\\u000dd\te" and json.loads(second) == {"x": told}
    assert sys.stdout.write is not None and not hasattr(sys.stdout, "raw")


def test_explain_and_ask_show_such_texts_too(model_folder, tmp_path, capsys):
    argv = [
        "--model",
        str(model_folder("spm")),
        "--question",
        "a\x1b[31mb",
        "--choices",
        "x\x9b,y\u202e",
        "--device",
        "cpu",
    ]
    assert cli.run(ask.main, argv) == 0
    out = capsys.readouterr().out
    assert controls(out) == [] and "a\\u001b[31mb" in out and "y\\u202e" in out
