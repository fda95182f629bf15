"""Code and English that every machine with Python has: its standard library, and what its docstrings say.

Files are parsed, never imported. A docstring of several lines goes to the English corpus and leaves only its first
line in the code, so that neither corpus holds the other's text. The result depends on the Python version alone, which
the sample's `world.json` records.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import os
import sysconfig
import textwrap
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from haigo.cli import HaigoError

_SKIPPED = frozenset(
    {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "lib2to3", "config"}
)
_LONGEST = 150_000  # characters of one file; longer ones are tables
_SHORTEST_DOC = 300


def standard_library() -> Path:
    """The folder of the running interpreter's standard library."""
    return Path(sysconfig.get_path("stdlib"))


def modules(folder: Path) -> Iterator[tuple[str, str]]:
    """Relative path and source of the modules below `folder`, in an order that mixes packages and never changes."""
    names = []
    for parent, folders, here in os.walk(folder):
        folders[:] = [
            name for name in folders if name not in _SKIPPED
        ]  # what is skipped is not walked: packages are many
        names += [(Path(parent) / name).relative_to(folder).as_posix() for name in here if name.endswith(".py")]
    names = [name for name in names if not name.startswith(("config-", "_sysconfigdata"))]
    for name in sorted(names, key=lambda name: (hashlib.sha256(name.encode()).digest(), name)):
        try:
            with tokenize.open(folder / name) as handle:
                source = handle.read()
        except (OSError, SyntaxError, UnicodeDecodeError):
            continue  # a file in an encoding of its own, there to test the parser
        yield name, source


def split(source: str) -> tuple[str, list[tuple[str, str]]]:
    """Part a module into code and docstrings.

    Returns:
        The source with every docstring of several lines cut to its first one, and those docstrings with the names of
        what they describe (`""` for the module itself), in the order of the file.

    Raises:
        SyntaxError: `source` is not Python of this version.
    """
    lines = source.splitlines(keepends=True)
    documented: list[tuple[int, int, int, str, str]] = []

    def visit(node: ast.AST, trail: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                note(child, f"{trail}{child.name}")
                visit(child, f"{trail}{child.name}.")

    def note(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> None:
        text = ast.get_docstring(node, clean=False)
        first = node.body[0] if node.body else None
        if text is None or first is None or first.end_lineno is None or "\n" not in text:
            return
        ending = lines[first.end_lineno - 1].rstrip()
        if ending.endswith(('"""', "'''")):  # nothing follows on the line, so that whole lines can be cut
            documented.append((first.lineno, first.end_lineno, first.col_offset, name, inspect.cleandoc(text)))

    tree = ast.parse(source)
    note(tree, "")
    visit(tree, "")
    for start, end, indent, _, text in sorted(documented, reverse=True):
        summary = text.strip().splitlines()[0] if text.strip() else ""
        summary = summary.replace("\\", "\\\\").replace('"', "'")
        lines[start - 1 : end] = [f'{" " * indent}"""{summary}"""\n']
    return "".join(lines), [(name, text) for _, _, _, name, text in sorted(documented)]


def corpora(
    code_characters: int, english_characters: int, folder: Path | None = None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Code `{"path", "text"}` and English `{"id", "text"}`, each as far as its characters or the library go.

    Raises:
        HaigoError: there is no source in the library (some systems ship it compiled only).
    """
    library = folder or standard_library()
    code: list[dict[str, Any]] = []
    english: list[dict[str, Any]] = []
    sizes = [0, 0]
    for name, source in modules(library):
        if sizes[0] >= code_characters and sizes[1] >= english_characters:
            break
        try:
            stripped, documents = split(source)
        except (SyntaxError, ValueError, RecursionError):
            continue
        if name == "pydoc_data/topics.py":  # a book in one module: a dictionary of chapters
            documents = _topics(source)
        elif sizes[0] < code_characters and 200 < len(stripped) <= _LONGEST:
            code.append({"path": name, "text": stripped})
            sizes[0] += len(stripped)
        if sizes[1] < english_characters:
            for text in _joined(name, documents):
                english.append(text)
                sizes[1] += len(text["text"])
    if not code:
        raise HaigoError(
            f"{library} holds no Python sources.", "use a Python whose standard library is installed as .py files"
        )
    return sorted(code, key=lambda row: row["path"]), sorted(english, key=lambda row: row["id"])


def _joined(name: str, documents: list[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    """Docstrings of one module in pieces of a readable length."""
    module = name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
    piece: list[str] = []
    number = 0
    for at, (inner, text) in enumerate(documents):
        piece.append(textwrap.dedent(f"{module}.{inner}\n\n{text}" if inner else f"{module}\n\n{text}").strip())
        if sum(map(len, piece)) > 2500 or at == len(documents) - 1:
            whole = "\n\n".join(piece)
            if len(whole) >= _SHORTEST_DOC:
                yield {"id": f"{module}#{number}", "text": whole}
                number += 1
            piece = []


def _topics(source: str) -> list[tuple[str, str]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Dict):
            return [
                (str(key.value), str(value.value))
                for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant) and isinstance(value, ast.Constant)
            ]
    return []
