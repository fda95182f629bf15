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
