"""What stands beside a model's vocabulary in a folder of transformers, in the forms of versions 4 and 5."""

from __future__ import annotations

import json

import pytest

from haigo.cli import HaigoError
from haigo.formats.tokenizer import beside

TOKEN = {"content": "<sep>", "lstrip": True, "rstrip": False, "special": True}


def folder(place, **tables):
    for name, content in tables.items():
        (place / f"{name}.json").write_text(json.dumps(content))
    return place


def test_files_of_older_versions(tmp_path):
    found = beside.read(
        folder(
            tmp_path,
            tokenizer_config={"tokenizer_class": "T5TokenizerFast", "eos_token": "</s>"},
            special_tokens_map={"sep_token": TOKEN, "additional_special_tokens": ["<a>", "<b>"]},
            added_tokens={"<c>": 7},
        )
    )
    assert found.kind == "T5Tokenizer" and found.config["eos_token"] == "</s>"
    assert {role: token.content for role, token in found.roles.items()} == {"eos_token": "</s>", "sep_token": "<sep>"}
    assert [token.content for token in found.more] == ["<a>", "<b>"] and found.added[7].content == "<c>"
    assert [token.content for token in found.spoken_of if token.lstrip] == ["<sep>"]


@pytest.mark.parametrize("extra", [["<a>", "<b>"], {"first": "<a>", "second": "<b>"}])
def test_files_of_version_5(tmp_path, extra):
    config = {"extra_special_tokens": extra, "added_tokens_decoder": {"9": TOKEN}}
    found = beside.read(folder(tmp_path, tokenizer_config=config, special_tokens_map={"eos_token": "</s>"}))
    assert [token.content for token in found.more] == ["<a>", "<b>"] and found.added[9].lstrip
    assert not found.roles  # the older file counts only where the newer table is not there


def test_no_files_say_nothing(tmp_path):
    assert beside.read(tmp_path) == beside.Beside()


@pytest.mark.parametrize(
    "config",
    [[], {"added_tokens_decoder": {"x": "<a>"}}, {"eos_token": 7}, {"additional_special_tokens": [["<a>"]]},
     {"added_tokens_decoder": {"1": {}}}],
)  # fmt: skip
def test_other_shapes_are_named(tmp_path, config):
    with pytest.raises(HaigoError, match="are not what transformers writes"):
        beside.read(folder(tmp_path, tokenizer_config=config))
