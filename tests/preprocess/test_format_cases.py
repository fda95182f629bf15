"""The shared small inputs that went wrong once, each with its right outcome, through the commands."""

import json

import pytest
from cleaned_files import cleaned
from shared_data import needed

from haigo import cli
from haigo.formats import documents
from haigo.formats.dataset.indexed import MMapReader
from preprocess import dedup, index, pairs


@pytest.fixture(scope="module")
def cases():
    return needed("cases/formats")


@pytest.mark.parametrize("name", ["diet_api.xml", "rss_saved.xml", "table.csv", "arr.json", "array.json"])
def test_structured_files_are_refused_with_the_hint(tmp_path, capsys, cases, name):
    assert cleaned(tmp_path, cases / name)[0] == cli.BAD_INPUT
    said = capsys.readouterr().err
    assert name in said and "--format txt" in said


@pytest.mark.parametrize("name", ["lines_text.txt", "plain.jsonl.txt"])
def test_json_lines_are_read(tmp_path, cases, name):
    code, found = cleaned(tmp_path, cases / name)
    wanted = [json.loads(line)["text"] for line in (cases / name).read_text(encoding="utf-8").splitlines()]
    assert code == 0 and found == list(dict.fromkeys(wanted))


@pytest.mark.parametrize("name", ["ascii_then_sjis.txt", "iso2022_cp932.txt"])
def test_encodings_that_are_right(tmp_path, model_dir, cases, name):
    code, found = cleaned(tmp_path, cases / name)
    text = "".join(found)
    assert code == 0 and "株式会社の製品を紹介します" in text and not set("\ufffd\x1b") & set(text)
    assert name.startswith("ascii") or "①②㈱" in text
    words = [str(cases / name), "--tokenizer", str(model_dir), "--output-prefix", str(tmp_path / "o")]
    assert cli.run(index.main, words) == 0 and len(MMapReader(tmp_path / "o_text_document")) == len(found)


@pytest.mark.parametrize(("name", "place"), [("utf8_then_sjis.txt", "byte 103,200"), ("latin1.txt", "byte 0")])
def test_encodings_that_are_refused(tmp_path, model_dir, capsys, cases, name, place):
    assert cleaned(tmp_path, cases / name)[0] == cli.BAD_INPUT and place in capsys.readouterr().err
    words = [str(cases / name), "--tokenizer", str(model_dir), "--output-prefix", str(tmp_path / "o")]
    assert cli.run(index.main, words) == cli.BAD_INPUT and place in capsys.readouterr().err


def test_a_skippable_frame(tmp_path, cases):
    code, found = cleaned(tmp_path, cases / "skippable.jsonl.zst")
    assert code == 0 and len(found) == 1


@pytest.mark.parametrize("name", ["null.jsonl", "nullrow.parquet"])
def test_rows_without_text(tmp_path, cases, name):
    assert cleaned(tmp_path, cases / name)[0] == cli.BAD_INPUT
    code, found = cleaned(tmp_path, cases / name, "--skip-broken", "5")
    assert code == 0 and found
    report = documents.report(tmp_path / "out")["broken_rows"]
    assert report["count"] == 1 and name in report["rows"][0]


@pytest.mark.parametrize("method", ["minhash", "exact"])
@pytest.mark.parametrize("name", ["short.jsonl", "roads.jsonl"])
def test_short_and_templated_texts_survive(tmp_path, cases, name, method):
    code, found = cleaned(tmp_path, cases / name)
    given = [json.loads(line)["text"] for line in (cases / name).read_text(encoding="utf-8").splitlines()]
    assert code == 0 and set(found) == {text.strip() for text in given if text}
    words = [str(tmp_path / "out"), "--output-dir", str(tmp_path / "dedup"), "--method", method]
    assert cli.run(dedup.main, words) == 0
    assert {one.text for one in documents.read(tmp_path / "dedup" / "c")} == set(found)


def test_pairs(tmp_path, model_dir, capsys, cases):
    words = ["--tokenizer", str(model_dir), "--output-prefix", str(tmp_path / "o")]
    keys = ["--prompt-key", "instruction", "--response-key", "output", "--context-key", "input"]
    for more in ([], keys):
        assert cli.run(pairs.main, [str(cases / "dolly_ja.jsonl"), *words, *more]) == 0
    for name in ("alpaca.json", "ichikara.json"):
        assert cli.run(pairs.main, [str(cases / name), *words]) == cli.BAD_INPUT
        said = capsys.readouterr().err
        assert f"{name} is one JSON array" in said and "jq" in said
