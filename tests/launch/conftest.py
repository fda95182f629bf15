"""Fixtures of the launch tests: the small world of neox_world and a fake GPT-NeoX."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from neox_world import World, make_world

# tests of several folders take fixtures of others (`from test_supervise import run`)
sys.path[:0] = [str(Path(__file__).parent / name) for name in ("neox", "train")]


@pytest.fixture(scope="session")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Made once; tests that change it take `world`."""
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def world(shared_world: World, tmp_path: Path) -> World:
    root = tmp_path / "world"
    shutil.copytree(shared_world.root, root)
    return World(root, root / "corpora.yml", root / "mixture.yml", shared_world.weights)


@pytest.fixture
def fake_neox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose deepy.py does what FAKE_DEEPY says, run by this Python: for the launcher's own behaviour."""
    root = tmp_path / "fake-neox"
    (root / "megatron").mkdir(parents=True)
    (root / "train.py").write_text("")
    (root / "deepy.py").write_text("import os\nexec(os.environ['FAKE_DEEPY'])\n")
    for package in ("torch", "deepspeed", "transformers", "sentencepiece", "yaml", "numpy"):
        (root / "site" / package).mkdir(parents=True)
        (root / "site" / package / "__init__.py").write_text("")
    monkeypatch.setenv("GPT_NEOX_DIR", str(root))
    monkeypatch.setenv("GPT_NEOX_PYTHON", sys.executable)
    monkeypatch.setenv("PYTHONPATH", str(root / "site"))
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(root / "extensions"))  # not this user's own, which may hold locks
    return root
