"""Ids above the vocabulary in a dataset of other origin: named before anything trains, by every command that reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from neox_world import World

from haigo import cli, yamlfile
from haigo.formats.dataset.indexed import MMapReader, MMapWriter
from launch import preflight
from launch.local.__main__ import main as local
from launch.plan.config import make_config
from launch.plan.options import ConfigOptions


def sound(world: World) -> Path:
    made = make_config(
        ConfigOptions(
            model="0-1M",
            cluster="local-cpu",
            mixture=world.mixture,
            catalogue=world.catalogue,
            output=world.root / "run" / "tiny.yml",
            tokens=20_480,
        )
    )
    path = world.root / "run" / "tiny.yml"
    yamlfile.write(path, made.config)
    return path


def replace(prefix: Path, kind: str, odd: int | None = None) -> None:
    """The same tokens as another program would have left them: another type, no manifest, one odd id."""
    rows = [np.array(row, dtype=kind) for row in MMapReader(prefix)]
    if odd is not None:
        rows[3][2] = odd
    Path(f"{prefix}.json").unlink()
    with MMapWriter(prefix, kind) as writer:
        for row in rows:
            writer.add(row)
            writer.end_document()


@pytest.mark.parametrize("kind", ["uint16", "int32", "int64", "int16"])
def test_foreign_data_pass(world: World, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = sound(world)
    for split in ("train", "valid", "test"):
        replace(world.prefix("news", split), kind)
    assert cli.run(preflight.main, [str(path)]) == 0, capsys.readouterr().out
    sound(world)  # launch.configs too


@pytest.mark.parametrize("odd", [300, 50_256, -1])
def test_an_id_outside_is_named_by_preflight_configs_and_the_engine(
    world: World, tmp_path: Path, odd: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = sound(world)
    replace(world.prefix("news"), "int32", odd)
    wanted = f"news/train_text_document.bin holds the id {odd:,} (token 2 of sequence 3)"
    assert cli.run(preflight.main, [str(path)]) == cli.REFUSED
    assert wanted in capsys.readouterr().out
    words = [str(path), "--output-dir", str(tmp_path / "out"), "--tokenizer", str(world.root / "tokenizer")]
    assert cli.run(local, words) == cli.REFUSED
    said = capsys.readouterr().err
    assert wanted in said and "fix: " in said and "Traceback" not in said
    with pytest.raises(cli.Refused, match="holds the id"):
        sound(world)


def test_a_version_that_gpt_neox_ends_on(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    path, index = sound(world), Path(f"{world.prefix('news')}.idx")
    raw = bytearray(index.read_bytes())
    raw[9] = 2
    index.write_bytes(bytes(raw))
    assert cli.run(preflight.main, [str(path)]) == cli.REFUSED
    assert "has version 2, and GPT-NeoX ends on any but 1" in capsys.readouterr().out


def test_other_tokenizers_are_counted(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A tokenizer.json has its vocabulary and what was added; a vocab.json its pieces."""
    import json

    path = sound(world)
    config: dict[str, Any] = yamlfile.read(path)
    pieces = {f"p{number}": number for number in range(100)}
    whole = tmp_path / "tokenizer.json"
    for split in ("train", "valid", "test"):
        for corpus in ("news", "code"):
            Path(f"{world.prefix(corpus, split)}.json").unlink()
    for size, code in ((400, 0), (100, cli.REFUSED)):
        vocabulary = {f"p{number}": number for number in range(size - 1)}
        whole.write_text(json.dumps({"model": {"vocab": vocabulary}, "added_tokens": [{"id": size, "content": "<e>"}]}))
        yamlfile.write(path, {**config, "tokenizer_type": "HFTokenizer", "vocab_file": str(whole)})
        assert cli.run(preflight.main, [str(path)]) == code
        assert f"HFTokenizer, {size} pieces" in capsys.readouterr().out
    vocab, merges = tmp_path / "vocab.json", tmp_path / "merges.txt"
    vocab.write_text(json.dumps(pieces))
    merges.write_text("")
    more = {"tokenizer_type": "GPT2BPETokenizer", "vocab_file": str(vocab), "merge_file": str(merges)}
    yamlfile.write(path, {**config, **more})
    assert cli.run(preflight.main, [str(path)]) == cli.REFUSED
    assert "has 100 pieces" in capsys.readouterr().out
