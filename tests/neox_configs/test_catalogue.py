"""The catalogue of datasets: written relative, read absolute."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from shared_data import data_of

from haigo.cli import HaigoError
from neox_configs import catalogue

DATA = data_of(__file__)


def test_round_trip_in_order_and_movable(tmp_path: Path) -> None:
    home = tmp_path / "run"
    corpora = {
        name: {split: home / "data" / name / f"{split}_text_document" for split in ("test", "train", "valid")}
        for name in ("news", "code", "books")
    }
    written = catalogue.write(home / "corpora.yml", home / "tokenizer", corpora)
    assert written == catalogue.read(home / "corpora.yml")
    assert list(written.corpora) == ["news", "code", "books"]
    assert list(written.corpora["news"]) == ["train", "valid", "test"]
    assert written.prefix("code", "valid") == home / "data/code/valid_text_document"
    assert str(tmp_path) not in (home / "corpora.yml").read_text()
    shutil.move(home, tmp_path / "moved")
    assert catalogue.read(tmp_path / "moved/corpora.yml").tokenizer == tmp_path / "moved/tokenizer"


def test_relative_paths_are_taken_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written = catalogue.write("run/corpora.yml", "tok", {"a": {"train": "data/a"}})
    assert written.tokenizer == tmp_path / "tok"
    assert written.corpora == {"a": {"train": tmp_path / "data/a"}}


@pytest.mark.parametrize(("text", "said"), DATA["other_forms_are_refused"])
def test_other_forms_are_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "corpora.yml").write_text(text)
    with pytest.raises(HaigoError, match=said):
        catalogue.read(tmp_path / "corpora.yml")


def test_what_is_not_there(tmp_path: Path) -> None:
    written = catalogue.write(tmp_path / "corpora.yml", tmp_path / "t", {"news": {"train": tmp_path / "n"}})
    with pytest.raises(HaigoError, match=r"no corpus 'new'\. Did you mean 'news'"):
        written.prefix("new", "train")
    with pytest.raises(HaigoError, match="no valid dataset"):
        written.prefix("news", "valid")


def test_parts_are_measured_on_the_whole(tmp_path):
    parts = {"news.t0": {"train": tmp_path / "0"}, "news.t1": {"train": tmp_path / "1", "valid": tmp_path / "v1"}}
    whole = {"news": {"valid": tmp_path / "v", "test": tmp_path / "t"}}
    corpora = {**parts, "wiki": {"train": tmp_path / "w", "valid": tmp_path / "wv"}}
    known = catalogue.write(tmp_path / "c.yml", tmp_path / "tok", corpora, dict.fromkeys(parts, "news"), whole)
    assert known == catalogue.read(tmp_path / "c.yml") and list(known.corpora) == list(corpora)
    assert known.prefix("news.t0", "valid") == tmp_path / "v" and known.prefix("news.t1", "valid") == tmp_path / "v1"
    assert known.measured("valid") == {"news": tmp_path / "v", "news.t1": tmp_path / "v1", "wiki": tmp_path / "wv"}
    assert known.measured("test") == {"news": tmp_path / "t"}
    with pytest.raises(HaigoError, match="'wiki' has no test dataset"):
        known.prefix("wiki", "test")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "corpora: {n: {train: a, part_of: m}}\nwhole: {news: {valid: b}}",
            "'n' is part of 'm', which `whole` does not have",
        ),
        ("corpora: {n: {train: a, part_of: m}}", "'n' is part of 'm', which `whole` does not have"),
        ("corpora: {n: {part_of: m}}\nwhole: {m: {valid: b}}", "the corpus 'n' has no train dataset"),
        ("corpora: {n: {train: a}}\nwhole: {m: {train: b}}", "'m' has an unknown split 'train'"),
        ("corpora: {n: {train: a}}\nwhole: {m: {valid: 3}}", "a dataset of 'm' is not a path"),
        ("corpora: {n: {train: a, part_of: [m]}}", "a dataset of the corpus 'n' is not a path"),
        ("corpora: {n: {train: a}}\nwhole: {N: {valid: b}}", "the same but for upper and lower case"),
        ("corpora: {n: {train: a}}\nwhole: {n: {valid: b}}", "'n' is a corpus, and stands in `whole` too"),
        ("corpora: {n: {train: a}}\nwhole: [m]", "`whole` is no map"),
    ],
)
def test_parts_and_wholes_that_do_not_fit_are_named(tmp_path, text, sentence):
    (tmp_path / "c.yml").write_text(f"tokenizer: t\n{text}\n")
    with pytest.raises(HaigoError) as caught:
        catalogue.read(tmp_path / "c.yml")
    assert sentence in str(caught.value)
