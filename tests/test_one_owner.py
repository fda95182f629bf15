"""Nobody but `haigo.files` removes, replaces, moves or opens for writing: the source is walked."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("haigo", "neox_configs", "preprocess", "mixer", "launch", "eval_harness", "examples")
OWNERS = {"haigo/files.py", "haigo/ownership.py"}
ALONE = {
    # run by other interpreters, which have no Haigo; its folder is claimed before it starts (training_child.start)
    "launch/train/runner.py",
}
# names that remove, move or write whatever they are called on; `open` and `replace` are looked at more closely
HARMFUL = {
    "rmtree", "unlink", "rmdir", "removedirs", "rename", "renames", "write_text", "write_bytes", "touch",
    "symlink_to", "hardlink_to", "symlink", "link", "copyfile", "copy2", "copytree", "mkstemp", "mkdtemp",
    "to_pickle", "tofile",
}  # fmt: skip
OF_MODULES = {
    ("os", "remove"), ("os", "replace"), ("os", "open"), ("os", "link"), ("os", "truncate"), ("shutil", "move"),
    ("shutil", "copy"),
}  # fmt: skip
LIBRARY_OPENS = {"open", "fdopen"}  # builtins, io, gzip, bz2, lzma, tarfile, zipfile, Path.open


def harm(node: ast.Call) -> str | None:
    """What a call does that only the owner may, or None."""
    call = node.func
    name = call.attr if isinstance(call, ast.Attribute) else call.id if isinstance(call, ast.Name) else ""
    base = call.value.id if isinstance(call, ast.Attribute) and isinstance(call.value, ast.Name) else ""
    if base == "files":
        return None
    if (base, name) == ("os", "open") and ast.unparse(node.args[0]) == "os.devnull":
        return None
    if (base, name) == ("tarfile", "open") and any(each.arg == "fileobj" for each in node.keywords):
        return None  # into memory, or a file that the owner opened
    if (base, name) in OF_MODULES or name in HARMFUL:
        return name
    if name == "replace" and isinstance(call, ast.Attribute) and len(node.args) == 1 and not node.keywords:
        return "replace"  # of a path: a text's takes two
    if name in LIBRARY_OPENS:
        given = [*node.args, *(each.value for each in node.keywords if each.arg in ("mode", None))]
        words = [each.value for each in given if isinstance(each, ast.Constant) and isinstance(each.value, str)]
        if any(len(word) <= 4 and set(word) & set("wax+") and set(word) <= set("wax+rbt") for word in words):
            return f"{name} for writing"
    return None


def calls(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    return [
        f"{name}:{node.lineno} {found}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and (found := harm(node))
    ]


def test_only_the_owner_removes_replaces_and_writes():
    found = []
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            if str(path.relative_to(ROOT)) not in OWNERS | ALONE:
                found += calls(path)
    assert not found


@pytest.mark.parametrize(
    "line",
    [
        "shutil.rmtree(x)", "rmtree(x)", "x.unlink()", "os.unlink(x)", "os.remove(x)", "os.replace(a, b)", "x.replace(y)",
        "x.rename(y)", "os.rename(a, b)", "shutil.move(a, b)", "x.write_text('')", "x.write_bytes(b'')", "open(x, 'w')",
        "open(x, mode='ab')", "gzip.open(x, 'wt')", "x.open('r+')", "os.open(x, flags)", "tarfile.open(x, mode='w')",
        "x.touch()", "shutil.copyfile(a, b)", "array.tofile(x)",
    ],
)  # fmt: skip
def test_the_walk_sees(line, tmp_path):
    (tmp_path / "a.py").write_text(line)
    assert calls(tmp_path / "a.py")


@pytest.mark.parametrize(
    "line", ["text.replace('a', 'b')", "open(x)", "open(x, 'rb')", "files.remove(x)", "found.remove(x)"]
)
def test_the_walk_does_not_see(line, tmp_path):
    (tmp_path / "a.py").write_text(line)
    assert not calls(tmp_path / "a.py")
