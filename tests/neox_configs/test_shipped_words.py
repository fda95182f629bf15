"""neox_configs.shipped.files: what a command line may give as a config."""

import pytest

from haigo.cli import HaigoError
from neox_configs import shipped


def test_a_file_or_a_shipped_name(tmp_path):
    own = tmp_path / "base"
    own.write_text("num_layers: 2\n")
    assert shipped.files([own, "0-3M"]) == [own, shipped.find("proxies", "0-3M")]


def test_neither_is_told_with_the_nearest():
    with pytest.raises(HaigoError, match="there is no model '0-4M'"):
        shipped.files(["0-4M"])
