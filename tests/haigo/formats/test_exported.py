"""A model folder of ours goes by the bytes that were written, wherever it is carried."""

import shutil

import pytest
from damage import flip

from haigo import files
from haigo.cli import Refused
from haigo.formats import exported

NAMES = ("config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def written(folder, fill=b"w"):
    with files.scratch(folder.parent) as place:
        for name in NAMES:
            (place / name).write_bytes(fill * 300)
        exported.note(place)
        files.remove_tree(folder)
        files.move(place, folder)
    return folder


def test_bytes_that_changed_are_named(tmp_path, capsys):
    folder = written(tmp_path / "model")
    exported.check(folder)
    copied = shutil.copytree(folder, tmp_path / "copy")
    shutil.rmtree(folder)
    exported.check(copied)
    flip(copied / "config.json")
    exported.check(copied)
    assert capsys.readouterr().err == f"haigo: {copied / 'config.json'} was changed since it was written.\n"
    flip(copied / NAMES[2])
    with pytest.raises(Refused, match=f"{NAMES[2]} was changed since it was written"):
        exported.check(copied)


def test_nothing_is_known_of_what_others_wrote(tmp_path, capsys):
    folder = written(tmp_path / "model")
    (folder / ".haigo").unlink()
    flip(folder / NAMES[1])
    exported.check(folder)
    assert not capsys.readouterr().err


def test_a_model_in_the_place_of_an_older_one_beside_a_file_of_the_users(tmp_path, capsys):
    folder = written(tmp_path / "model")
    (folder / "notes.txt").write_text("mine")
    exported.check(written(folder, b"x"))
    assert (folder / "notes.txt").read_text() == "mine" and (folder / NAMES[1]).read_bytes() == b"x" * 300
    assert not capsys.readouterr().err
    flip(folder / NAMES[1])
    with pytest.raises(Refused):
        exported.check(folder)
