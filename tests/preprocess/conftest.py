import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import hand_model

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory):
    """A tokenizer folder with the hand-made model."""
    folder = tmp_path_factory.mktemp("hand_model")
    (folder / "spm.model").write_bytes(hand_model.model())
    return folder


@pytest.fixture(scope="session")
def corpora():
    """The real corpora of a development machine."""
    shared = Path(os.environ.get("HAIGO_SHARED", ROOT.parent / "shared")) / "corpora"
    if not shared.is_dir():
        pytest.skip("no real corpora here (HAIGO_SHARED)")
    return shared
