import sys
from pathlib import Path

import pytest
from shared_data import needed

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
    return needed("corpora")
