"""The phrases of the sample world are data files: all of them are whole, and a slip in one is named with its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.world import phrases
from haigo import files
from haigo.cli import HaigoError

FILES = sorted(path.stem for path in (Path(phrases.__file__).parent / "phrases").glob("*.yml"))


@pytest.mark.parametrize("name", FILES)
def test_every_phrase_is_whole(name: str) -> None:
    assert phrases.load(name)


@pytest.mark.parametrize("slip", ["{t}の[朝|夜", "{t}の朝]", "{tの朝", "t}の朝"])
def test_a_bracket_left_open_is_named_with_its_file_and_phrase(
    slip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write_text(tmp_path / "news.yml", f"frame: |\n  よい朝。\n  {slip}\n")
    monkeypatch.setattr(phrases, "_FOLDER", tmp_path)
    with pytest.raises(HaigoError, match=r"news\.yml: unbalanced bracket") as error:
        phrases.load("news")
    assert slip in str(error.value)


def test_a_dash_alone_is_the_phrase_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write_text(tmp_path / "news.yml", "frame: |\n  -\n  よい朝。\n  -\nshort: [訂正。]\n")
    monkeypatch.setattr(phrases, "_FOLDER", tmp_path)
    assert phrases.load("news") == {"frame": ("", "よい朝。", ""), "short": ["訂正。"]}
