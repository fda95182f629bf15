"""Who may know whom (docs/architecture.md), and that nothing heavy happens on import or for `--help`."""

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import house_size

ROOT = Path(__file__).parent.parent
MAY_KNOW = {
    "haigo": set(),
    "neox_configs": {"haigo"},
    "preprocess": {"haigo", "neox_configs"},
    "mixer": {"haigo", "neox_configs"},
    "eval_harness": {"haigo", "neox_configs"},
    "launch": {"haigo", "neox_configs", "preprocess", "mixer", "eval_harness"},
}
ROOMS = set(MAY_KNOW)


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {f"{node.module}.{each.name}" for each in node.names}
    return names


@pytest.mark.parametrize("room", sorted(MAY_KNOW))
def test_a_room_knows_only_what_it_may(room):
    allowed = MAY_KNOW[room] | {room}
    wrong = []
    for path in sorted((ROOT / room).rglob("*.py")):
        for name in imported(path):
            if name.split(".")[0] in ROOMS and not any(name == each or name.startswith(each + ".") for each in allowed):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong


def test_what_knows_gpt_neox_knows_nothing_else_of_launch():
    """All but launch.neox.conversion, which builds models with the embedded engine and asks the checks of launch.plan."""
    modules = [each for each in (ROOT / "launch" / "neox").rglob("*.py") if each.parent.name != "conversion"]
    named = {(path.name, name) for path in modules for name in imported(path) if name.startswith("launch.")}
    assert not [each for each in named if not each[1].startswith("launch.neox")]


def test_no_module_imports_itself_by_way_of_others():
    """Not inside a room either, nor in a function: those two are one module, or share one that stands below both."""
    modules = {name: each for room in ROOMS for name, each in house_size.parsed(room).items()}
    graph = {name: house_size.imports(name, path, tree, set(modules)) for name, (path, _, tree) in modules.items()}
    assert house_size.circles(graph) == []


def test_mixer_never_imports_torch():
    named = [
        path.name
        for path in (ROOT / "mixer").rglob("*.py")
        if any(name.split(".")[0] == "torch" for name in imported(path))
    ]
    assert not named


def commands() -> list[str]:
    found = []
    for room in sorted(ROOMS - {"haigo"}):
        for path in sorted((ROOT / room).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            if "cli.run(main)" in text:
                parts = list(path.relative_to(ROOT).with_suffix("").parts)
                found.append(".".join(parts[:-1] if parts[-1] == "__main__" else parts))
    return found


@pytest.mark.parametrize("module", commands())
def test_help_is_quick_and_light(module):
    """`--help` works and loads none of the heavy packages (a second holds on a quiet machine only: the modules are tested)."""
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['x', '--help']\n"
        "try:\n"
        f"    runpy.run_module({module!r}, run_name='__main__', alter_sys=True)\n"
        "except SystemExit as error:\n"
        "    heavy = {'torch', 'transformers', 'lm_eval', 'pandas', 'scipy', 'sklearn', 'lightgbm', 'matplotlib'}\n"
        "    print('HEAVY', sorted(heavy & set(sys.modules)))\n"
        "    sys.exit(error.code)\n"
    )
    start = time.process_time()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert f"python -m {module}" in done.stdout
    assert "HEAVY []" in done.stdout, done.stdout[-200:]
    assert time.process_time() - start < 5


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_every_room_says_what_belongs_there(room):
    docstring = ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text(encoding="utf-8")))
    assert docstring and len(docstring) > 80


def test_files_hold_one_idea():
    long = {}
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            lines = len(path.read_text(encoding="utf-8").splitlines())
            if lines > 500:
                long[str(path.relative_to(ROOT))] = lines
            assert path.name not in ("utils.py", "helpers.py", "common.py", "misc.py")
    assert not long
