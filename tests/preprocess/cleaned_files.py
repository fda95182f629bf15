"""Files cleaned by the command, as a user would: what is left of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from haigo import cli, files
from haigo.formats.documents import Document, read
from preprocess import clean


def cleaned_documents(folder: Path, path: Path, *words: str) -> tuple[int, list[Document]]:
    """Exit code of `preprocess.clean` with everything kept for training, and the documents that it left."""
    out = folder / "out"
    always = ["--corpus", "c", "--output-dir", str(out), "--min-chars", "1", "--split", "1,0,0"]
    code = cli.run(clean.main, [str(path), *always, *words])
    return code, [] if code else list(read(out))


def cleaned(folder: Path, path: Path, *words: str) -> tuple[int, list[str]]:
    """Exit code, and the texts that are left."""
    code, found = cleaned_documents(folder, path, *words)
    return code, [one.text for one in found]


def with_report(folder: Path, path: Path, *words: str) -> tuple[list[Document], dict[str, Any]]:
    """The documents that are left, and the report; the command must do its work."""
    code, found = cleaned_documents(folder, path, *words)
    assert code == 0
    return found, files.read_json(folder / "out" / "clean.json")
