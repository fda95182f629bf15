"""preprocess.clean on fetched folders: a broken-off fetch is refused in one sentence, and taken when that is asked for."""

import json

import pytest

from haigo import cli
from preprocess import clean, fetch
from preprocess.fetch import card
from preprocess.fetch.client import Client
from preprocess.fetch.wiki_dump import MediaWikiDump

WORDS = "これは一つの記事です。四十文字は必要なので、もう少し書いておきます。これで足りるはずです。"


@pytest.fixture
def raw(tmp_path):
    """A folder as preprocess.fetch leaves it, of 40 documents."""
    pages = "".join(
        f"<page><title>題{number}</title><ns>0</ns><id>{number}</id><revision><id>{number}</id>"
        f'<text xml:space="preserve">{WORDS}{number}</text></revision></page>'
        for number in range(40)
    )
    dump = tmp_path / "dump.xml"
    dump.write_text(f"<mediawiki><siteinfo></siteinfo>{pages}</mediawiki>", encoding="utf-8")
    fetch.fetch_corpus(MediaWikiDump("jawiki", file=dump, workers=1), tmp_path / "raw", Client("a@example.org"))
    return tmp_path / "raw"


def run(raw, *more, where=""):
    return cli.run(clean.main, [f"{raw}{where}", "--corpus", "c", "--output-dir", str(raw.parent / "out"), *more])


def test_a_whole_folder_is_cleaned_and_its_report_says_nothing_new(raw):
    assert run(raw) == 0
    report = json.loads((raw.parent / "out" / "clean.json").read_text(encoding="utf-8"))
    assert report["documents_in"] == 40 and "unfinished" not in report and "unfinished" not in report["options"]


@pytest.mark.parametrize("where", ["", "/*.jsonl.zst", "/00000.jsonl.zst"])
def test_a_fetch_that_was_broken_off_is_refused(raw, capsys, where):
    (raw / card.JSON).unlink()
    assert run(raw, where=where) == 2
    said = capsys.readouterr().err
    assert f"{raw} was not fetched to its end (DATA_CARD.json, which comes last, is missing)." in said
    assert "--unfinished" in said and "Traceback" not in said and not (raw.parent / "out").exists()
    assert run(raw, "--dry-run", where=where) == 2
    assert run(raw, "--unfinished", where=where) == 0
    report = json.loads((raw.parent / "out" / "clean.json").read_text(encoding="utf-8"))
    assert "not fetched to its end" in report["unfinished"] and report["documents_in"] == 40
    assert capsys.readouterr().out.startswith("unfinished: ")


def damaged(raw, kind):
    """Make the folder and its card differ; what is said."""
    shard, told = raw / "00000.jsonl.zst", json.loads((raw / card.JSON).read_text(encoding="utf-8"))
    if kind == "a shard more":
        (raw / "00001.jsonl.zst").write_bytes(shard.read_bytes())
        return "00001.jsonl.zst is not on the folder's data card"
    if kind == "a cut shard":
        shard.write_bytes(shard.read_bytes()[:-5])
        return "bytes, and its data card says"
    if kind == "a shard less":
        told["shards"].append({**told["shards"][0], "name": "00001.jsonl.zst"})
        (raw / card.JSON).write_text(json.dumps(told))
        return "00001.jsonl.zst is missing, and the data card"
    if kind == "no card":
        (raw / card.JSON).write_text("[]")
        return "DATA_CARD.json is no data card."
    told["documents"] = 41
    (raw / card.JSON).write_text(json.dumps(told))
    return "holds 40 documents, and its data card says 41."


@pytest.mark.parametrize("kind", ["a shard more", "a cut shard", "a shard less", "no card", "a document less"])
def test_what_does_not_fit_its_card_is_refused(raw, capsys, kind):
    wanted = damaged(raw, kind)
    assert run(raw) == 2
    said = capsys.readouterr().err
    assert wanted in said and said.count("haigo: ") == 1 and "Traceback" not in said
    assert not (raw.parent / "out" / "clean.json").exists()


def test_other_folders_are_no_business_of_it(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "00000.jsonl").write_text(json.dumps({"text": WORDS}) + "\n", encoding="utf-8")
    assert card.problem([tmp_path / "a"], [(tmp_path / "a" / "00000.jsonl", "00000.jsonl")]) is None
    assert card.promised([tmp_path / "a"]) is None
