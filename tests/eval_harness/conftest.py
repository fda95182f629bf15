"""Data and models that the tests of this folder share."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import synthetic_jglue
from shared_data import needed

GOLDEN = Path(__file__).with_name("golden")
SIZES = {"bpe": (500, 512), "spm": (600, 1024), "spm_prefix": (600, 1024)}  # vocabulary, context of the golden models


@pytest.fixture(scope="session")
def jglue(tmp_path_factory):
    return synthetic_jglue.write(tmp_path_factory.mktemp("jglue"))


@pytest.fixture(scope="session")
def shared_jglue():
    return needed("jglue")


@pytest.fixture(scope="session")
def golden():
    return json.loads((GOLDEN / "contexts.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """kind of tokenizer -> a tiny model with it, as the golden files were made with."""
    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in made:
            folder = tmp_path_factory.mktemp("models") / kind
            shutil.copytree(GOLDEN / kind, folder)
            made[kind] = synthetic_jglue.tiny_model(folder, *SIZES[kind])
        return made[kind]

    return make


@pytest.fixture(scope="session")
def loaded(model_folder):
    """kind of tokenizer -> the model, loaded once for the whole session."""
    from eval_harness.model import load

    made: dict[str, object] = {}

    def make(kind: str):
        if kind not in made:
            made[kind] = load(f"pretrained={model_folder(kind)}", device="cpu", show_progress=False)
        return made[kind]

    return make
