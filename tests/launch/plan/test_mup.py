"""muP in GPT-NeoX: refused, because its layers never hear of it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from launch.plan import preflight
from neox_configs import reader, shipped


def test_it_is_refused_with_the_reason() -> None:
    config = {**reader.load(shipped.find("models", "1-3B")), "use_mup": True, "base_shapes_file": "shapes"}
    said = [check for check in preflight.alone(config, gpus=4) if check.status == "fail" and "muP off" in check.found]
    assert len(said) == 1 and "launch.proxies" in said[0].fix


@pytest.mark.neox
def test_gpt_neox_reads_its_settings_nowhere(neox: Any) -> None:
    """And builds the model with muP off: a checkout where this fails may have it mended, and the rule can go."""
    megatron = neox.root / "megatron"
    texts = {path: path.read_text() for path in megatron.rglob("*.py") if "neox_arguments" not in path.parts}
    for name in ("mup_attn_temp", "mup_output_temp"):
        assert not [path for path, text in texts.items() if name in text]
    model = re.split(r"\ndef ", texts[megatron / "training.py"])
    (building,) = [text for text in model if text.startswith("get_model(")]
    assert (
        building.index("use_mup = False") < building.index("GPT2ModelPipe(") < building.index("use_mup = old_use_mup")
    )
