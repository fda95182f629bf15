"""Mail addresses, telephone numbers, postal addresses: found in the written set, and what only looks like them is left."""

import json
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from shared_data import data_of

from haigo import cli
from preprocess import clean
from preprocess.rules import personal

ROOT = Path(__file__).parent.parent.parent
TEXTS = data_of(__file__)


def test_precision_and_recall_of_the_written_set():
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "pii.py", "--json"], capture_output=True, text=True, check=True
    )
    result = json.loads(done.stdout[done.stdout.index("{") :])
    assert set(result) == set(TEXTS) and sum(row["texts"] for row in result.values()) >= 150
    for row in result.values():
        for kind, figures in row["haigo"].items():
            assert figures["labelled"] >= 8 and min(figures["precision"], figures["recall"]) >= 0.95, (kind, figures)


@given(st.text(st.sampled_from("03-1 @.a市区丁目番〒+()東京都北条大字 \n－０"), max_size=60))
def test_passages_lie_in_the_text_in_order(text):
    for kind in personal.RULES:
        at = 0
        for first, last in personal.spans(kind, text):
            assert at <= first < last <= len(text)
            at = last


def test_brackets_without_end_take_no_time():
    text = "(" * 200_000 + "at)" * 20_000 + " 03-1234-5678"
    assert [text[slice(*span)] for kind in personal.RULES for span in personal.spans(kind, text)] == ["03-1234-5678"]


def test_the_command_masks_what_is_asked_for_and_tells_only_its_shape(tmp_path, capsys):
    text = "配合株式会社の所在地は〒100-0005 東京都千代田区丸の内１－２－３、電話は03-1234-5678、"
    text += "メールはtaro@example.co.jpである。"
    (tmp_path / "in.jsonl").write_text(json.dumps({"text": text}), encoding="utf-8")
    words = [str(tmp_path / "in.jsonl"), "--corpus", "c", "--min-chars", "1", "--output-dir", str(tmp_path / "out")]
    assert cli.run(clean.main, [*words, "--pii", "mail,phone,address"]) == cli.OK
    report = (tmp_path / "out/clean.json").read_text(encoding="utf-8")
    rules = json.loads(report)["rules"]
    assert rules["pii_address"]["samples"] == ["000-0000 xxxxxxxxxx0－0－0"] and rules["pii_mail"]["documents"] == 1
    assert "taro" not in report and "丸の内" not in report and "1234-5678" not in report
    (made,) = clean.documents.read(tmp_path / "out", clean.documents.splits(tmp_path / "out")[0])
    assert made.text == "配合株式会社の所在地は〒<address>、電話は<phone>、メールは<mail>である。"
