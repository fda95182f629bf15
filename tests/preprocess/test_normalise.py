"""Invisible characters go and are counted, and stay where a script or an emoji needs them; half-width kana become ordinary."""

import json
import random

import pytest
from cleaned_files import with_report
from shared_data import data_of

from haigo import cli
from haigo.formats import documents
from preprocess import clean
from preprocess.rules import normalise

DATA = data_of(__file__)

BODY = "これは試験のために書いた文章で、四十文字を超えるようにもう一つ文を足してあります。"


def cleaned(folder, text, *words):
    (folder / "x.jsonl").write_text(json.dumps({"text": text}) + "\n", encoding="utf-8")
    (document,), report = with_report(folder, folder / "x.jsonl", *words)
    return document.text, report


@pytest.mark.parametrize(("before", "after", "rule"), DATA["what_nobody_sees_goes"])
def test_what_nobody_sees_goes(tmp_path, before, after, rule):
    text, report = cleaned(tmp_path, BODY + before, "--normalise", "invisible")
    assert text == BODY + after
    assert report["rules"][rule] | {"samples": 0} == {
        "documents": 1, "characters": len(before) - len(after), "samples": 0,
    }  # fmt: skip
    assert cleaned(tmp_path, BODY + before, "--normalise", "none")[0] == BODY + before


@pytest.mark.parametrize("text", DATA["what_is_needed_stays"])
def test_what_is_needed_stays(text):
    kept = text if not text.startswith("ｱ") else "ｱ"
    assert normalise.direction_marks(normalise.soft_hyphens(normalise.zero_width(text))) == kept


def test_half_width_kana(tmp_path):
    text, report = cleaned(tmp_path, BODY + "｢ｶﾞｷﾞﾊﾟﾋﾟｯｬｰ､ﾃｽﾄ｡｣ か\u3099 ＡＢＣ ㈱ ﾞ", "--normalise", "kana")
    assert text == BODY + "「ガギパピッャー、テスト。」 か\u3099 ＡＢＣ ㈱ ゛"
    assert report["rules"]["half_width_kana"]["documents"] == 1


@pytest.mark.parametrize(("profile", "gone"), DATA["profiles_have_their_own"])
def test_profiles_have_their_own(tmp_path, profile, gone):
    sample = "春\u200bの\u00ad日のｶである。"
    rng = random.Random(1)
    letters = "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめも山川雨"
    body = "".join("".join(rng.choices(letters, k=20)) + "である。\n" for _ in range(20))
    text, report = cleaned(tmp_path, body + sample, "--profile", profile)
    assert all((char in text) == (char not in gone) for char in "\u200b\u00adｶ")
    assert report["options"]["normalise"] == list(normalise.chosen(None, profile))
    assert cleaned(tmp_path, body + sample, "--profile", profile, "--normalise", "none")[0].endswith(sample)


def test_names_are_checked(tmp_path, capsys):
    (tmp_path / "x.jsonl").write_text('{"text": "a"}\n', encoding="utf-8")
    words = [str(tmp_path / "x.jsonl"), "--corpus", "c", "--dry-run", "--normalise", "invisble"]
    assert cli.run(clean.main, words) == cli.BAD_INPUT
    assert "Did you mean 'invisible'?" in capsys.readouterr().err


def test_the_run_file_has_both_keys(tmp_path):
    from launch.pipeline import runfile

    text = """
output: o
corpora:
  a: {files: [a.jsonl], normalise: [invisible, kana], skip_broken: 3}
  b: {files: [b.jsonl], normalise: none}
objective: {metrics: {a_bpb: 1}}
"""
    (tmp_path / "run.yml").write_text(text, encoding="utf-8")
    run = runfile.read(tmp_path / "run.yml")
    assert run.corpora["a"].normalise == ["invisible", "kana"] and run.corpora["a"].skip_broken == 3
    assert run.corpora["b"].normalise == ["none"] and run.corpora["b"].skip_broken == 0
    (tmp_path / "run.yml").write_text(text.replace("kana]", "kna]"), encoding="utf-8")
    with pytest.raises(cli.HaigoError, match="normalise"):
        runfile.read(tmp_path / "run.yml")


def test_the_pipeline_cleans_with_them(tmp_path):
    """What the run file says reaches the stage: the options as the chain makes them."""
    from launch.pipeline import actions, runfile

    rows = [{"text": f"{BODY}{number}番の半角ｶﾅ\u200bである。"} for number in range(60)] + [{"text": None}]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    x = runfile.Corpus(files=[str(tmp_path / "x.jsonl")], normalise=["invisible", "kana"], skip_broken=1)
    objective = runfile.Objective(metrics={"x_bpb": 1.0})
    run = runfile.RunFile(output="o", corpora={"x": x}, split=[0.8, 0.1, 0.1], data_seed=1, objective=objective)
    actions.clean(tmp_path, run, "x", x.files)
    report = documents.report(tmp_path / "corpora" / "x")
    assert report["broken_rows"]["count"] == 1 and report["rules"]["half_width_kana"]["documents"] == 60
    assert all("カナである" in one.text for one in documents.read(tmp_path / "corpora" / "x"))
