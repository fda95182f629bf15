"""docs/neox-bugs.md: every fault has a reproduction that runs and a cure whose file is there."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from shared_data import data_of
from test_traps import config, write

from launch.neox import ports

REPO = Path(__file__).resolve().parents[3]
PAGE = (REPO / "docs" / "neox-bugs.md").read_text(encoding="utf-8")
TRAPS = {one["name"]: one for one in data_of(str(Path(__file__).with_name("test_traps.py")))["runs"]}


class Block(NamedTuple):
    fault: str
    language: str
    text: str


def blocks(*languages: str) -> list[Block]:
    found = []
    for section in re.split(r"(?m)^### ", PAGE)[1:]:
        title = section.partition("\n")[0]
        found += [Block(title, *one) for one in re.findall(r"(?s)```(\w+)\n(.*?)```", section)]
    return [one for one in found if one.language in languages]


def test_every_fault_has_its_reproduction_and_its_cure() -> None:
    sections = re.split(r"(?m)^### ", PAGE)[1:]
    assert len(sections) >= 25
    for section in sections:
        title, cure = section.partition("\n")[0], section.rpartition("Cure:")[2]
        assert "```" in section and "Cure:" in section, title
        files = [name for name in re.findall(r"`([\w./-]+\.(?:py|yml|csv))`", cure) if "/" in name]
        assert files and all((REPO / name).is_file() for name in files), (title, files)
        assert all(len(text.splitlines()) <= 40 for text in re.findall(r"(?s)```\w+\n(.*?)```", section)), title


@pytest.mark.parametrize("block", blocks("yaml"), ids=lambda one: one.fault[:40])
def test_keys_that_a_real_run_was_made_with(block: Block) -> None:
    """`# NAME` names a run of tests/launch/plan/data/traps.yml, which test_traps.py makes and judges."""
    name = block.text.partition("\n")[0].removeprefix("# ")
    assert yaml.safe_load(block.text) == TRAPS[name]["changes"], name


@pytest.fixture
def around(neox: Any, tmp_path: Path) -> dict[str, str]:
    paths = os.pathsep.join([neox.environment.get("PYTHONPATH", ""), str(neox.root)])
    more = {"PYTHONPATH": paths, "HOME": str(tmp_path), "OUT": str(tmp_path), "GPT_NEOX_PYTHON": str(neox.python)}
    return {**neox.environment, **more}


def inside(neox: Any, folder: Path) -> Path:
    """A folder in which the checkout's files are seen, and what a block writes stays out of it."""
    for path in neox.root.iterdir():
        (folder / path.name).symlink_to(path)
    return folder


@pytest.mark.neox
@pytest.mark.parametrize("block", blocks("python"), ids=lambda one: one.fault[:40])
def test_python(block: Block, neox: Any, around: dict[str, str], tmp_path: Path) -> None:
    script = tmp_path / "block.py"
    script.write_text(block.text)
    folder = tmp_path / "checkout"
    folder.mkdir()
    done = subprocess.run(
        [str(neox.python), str(script)],
        cwd=inside(neox, folder),
        env=around,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.mark.neox
@pytest.mark.slow
@pytest.mark.parametrize("block", blocks("bash"), ids=lambda one: one.fault[:40])
def test_bash(block: Block, neox: Any, around: dict[str, str], shared_world: Any, tmp_path: Path) -> None:
    made = config(
        shared_world, {"train_iters": 500, "lr_decay_iters": 500, "master_port": ports.free()}, 1, tmp_path / "s"
    )
    folder = tmp_path / "checkout"
    folder.mkdir()
    done = subprocess.run(
        ["bash", "-c", block.text],
        cwd=inside(neox, folder),
        env={**around, "CONFIG": str(write(tmp_path / "run.yml", made))},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    if "kill -9" in block.text:
        assert done.stdout.split("\n")[-3:-1] == ["exit code 0", "the rank is alive"], done.stdout
