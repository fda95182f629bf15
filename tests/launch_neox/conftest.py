"""Fixtures of the launch tests: the small world of neox_world, a fake GPT-NeoX, and the real one where it is at hand."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from neox_world import REPO, NeoX, World, make_world


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
    return root


@pytest.fixture(scope="session")
def neox() -> NeoX:
    """The real GPT-NeoX, with the CPU shim."""
    root, python = os.environ.get("GPT_NEOX_DIR"), os.environ.get("GPT_NEOX_PYTHON")
    if not root or not python:
        pytest.skip("GPT_NEOX_DIR and GPT_NEOX_PYTHON are not set")
    shim = Path(os.environ.get("HAIGO_NEOX_CPU") or REPO.parent / "shared" / "neox_cpu")
    if not (shim / "sitecustomize.py").is_file():
        pytest.skip("no CPU shim for GPT-NeoX (HAIGO_NEOX_CPU)")
    environment = {
        **os.environ,
        "FAKE_CUDA": "1",
        "DS_ACCELERATOR": "cpu",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(shim.resolve()),
        "PATH": f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}",
    }
    return NeoX(Path(root), Path(python), environment)
