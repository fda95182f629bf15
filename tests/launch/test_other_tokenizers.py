"""A tokenizer of another project through all that follows its dataset: configs, preflight, training, conversion, scores."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import convert_world
import other_tokenizers
import pytest
from neox_world import World, sentences
from other_tokenizers import LINES, ODD, Other

from haigo import cli, files, yamlfile
from haigo.formats.tokenizer import load
from launch import configs, convert, preflight, samples
from launch.local.__main__ import main as local
from neox_configs import catalogue, derive, reader
from preprocess import clean, index, tokenizer

KINDS = ("llama", "llama3", "unigram")
TEXTS = [text for text in [*LINES, *ODD] if "</s>" not in text]
_PROBE = """
import json, os, sys
sys.path.insert(0, os.getcwd())
out = os.dup(1)
os.dup2(2, 1)
from megatron.neox_arguments import NeoXArgs
from megatron.tokenizer import build_tokenizer
args = NeoXArgs.from_ymls([sys.argv[1]])
args.rank = 1
made = build_tokenizer(args)
os.write(out, json.dumps([made.eod, made.vocab_size, args.padded_vocab_size]).encode())
"""


@dataclass
class House:
    other: Other
    world: World

    @property
    def folder(self) -> Path:
        return self.world.root / "tokenizer"


@pytest.fixture(scope="module", params=KINDS)
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> House:
    """A tokenizer that was taken in, and two corpora that were indexed with it."""
    root = tmp_path_factory.mktemp(request.param)
    other = other_tokenizers.make(request.param, root / "theirs")
    source = root / "raw.jsonl"
    rows = [json.dumps({"id": str(n), "text": f"{n}. {LINES[n % 6]}" * 9}, ensure_ascii=False) for n in range(20)]
    source.write_text("\n".join(rows), encoding="utf-8")
    clean.clean_corpus("a", [source], root / "clean")
    argv = [str(root / "clean"), "--adopt", str(other.folder), "--eod-piece", other.end]
    assert cli.run(tokenizer.main, [*argv, "--output-dir", str(root / "tokenizer")]) == 0
    sets: dict[str, dict[str, Path]] = {}
    for seed, name in ((1, "news"), (2, "code")):
        for split, count in (("train", 400), ("valid", 60), ("test", 60)):
            source = root / f"{name}-{split}.jsonl"
            rows = [json.dumps({"text": text}, ensure_ascii=False) for text in sentences(seed, count)]
            source.write_text("\n".join(rows), encoding="utf-8")
            index.index([source], root / "tokenizer", root / "data" / name / split)
            sets.setdefault(name, {})[split] = root / "data" / name / f"{split}_text_document"
    catalogue.write(root / "corpora.yml", root / "tokenizer", sets)
    weights = {"code": 0.25, "news": 0.75}
    yamlfile.write(root / "mixture.yml", {"weights": weights, "objective": {"news_bpb": 1.0}})
    return House(other, World(root, root / "corpora.yml", root / "mixture.yml", weights))


def written(house: House, path: Path) -> dict[str, Any]:
    argv = ["--model", "1-3B", "--cluster", "a100-40gb", "--mixture", str(house.world.mixture), "--seq-length", "512"]
    argv += ["--catalogue", str(house.world.catalogue), "--output", str(path)]
    assert cli.run(configs.main, argv) == 0
    return reader.load(path)


def test_the_config_names_what_gpt_neox_reads(house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = written(house, tmp_path / "x.yml")
    model = load(house.folder)
    assert config["tokenizer_type"] == house.other.neox_type and config["vocab_file"] == str(model.path)
    capsys.readouterr()
    assert cli.run(preflight.main, [str(tmp_path / "x.yml"), "--gpus", "4"]) == 0
    told = capsys.readouterr().out
    assert f"{house.other.size:,} pieces, <|endoftext|> is {house.other.end_id}" in told
    yamlfile.write(tmp_path / "y.yml", convert_world.config(house.world, tmp_path / "save"))
    argv = [str(tmp_path / "y.yml"), "--first", "2", "--tokenizer", str(house.folder)]
    assert cli.run(samples.main, argv) == 0 and "sha256" in capsys.readouterr().out


def test_another_tokenizer_of_the_same_size_is_refused(
    house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = written(house, tmp_path / "x.yml")
    if house.other.file.suffix == ".json":
        changed = tmp_path / "tokenizer.json"
        changed.write_bytes(load(house.folder).path.read_bytes() + b"\n")
        yamlfile.write(tmp_path / "y.yml", config | {"vocab_file": str(changed)})
        assert cli.run(preflight.main, [str(tmp_path / "y.yml"), "--gpus", "4"]) == cli.REFUSED
        assert "was made with another tokenizer" in capsys.readouterr().out
        # the makers' own file: GPT-NeoX has other ids with it, and none that ends a document
        yamlfile.write(tmp_path / "z.yml", config | {"vocab_file": str(house.other.file)})
        cli.run(preflight.main, [str(tmp_path / "z.yml"), "--gpus", "4"])
        assert "--adopt" in capsys.readouterr().out


@pytest.mark.neox
@pytest.mark.slow
def test_gpt_neox_s_own_tokenizer_has_the_end_and_the_rows(house: House, tmp_path: Path, neox: Any) -> None:
    made = convert_world.config(
        house.world, tmp_path / "save", tokenizer_type=house.other.neox_type, vocab_file=str(load(house.folder).path)
    )
    yamlfile.write(tmp_path / "x.yml", made)
    done = subprocess.run(
        [str(neox.python), "-c", _PROBE, str(tmp_path / "x.yml")], cwd=neox.root, env=neox.environment,
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    size = house.other.size
    assert json.loads(done.stdout) == [house.other.end_id, size, derive.padded_vocab(made, size)]


def model_of(house: House, folder: Path) -> None:
    """What every model folder must be: the same ids for all who read it, and in what a model is asked."""
    from transformers import AutoTokenizer

    from eval_harness.model import load as load_model

    theirs = AutoTokenizer.from_pretrained(folder)
    scored = load_model(f"pretrained={folder}", device="cpu", show_progress=False)
    for text in TEXTS:
        ids = house.other.ids(text)
        assert theirs.encode(text) == ids and scored.encode(text) == ids == scored.tok_encode(text), text
    assert scored.eot_token_id == theirs.eos_token_id == house.other.end_id
    config = files.read_json(folder / "config.json")
    assert config["eos_token_id"] == house.other.end_id and theirs.model_max_length == config["max_position_embeddings"]


def test_the_engine_trains_and_exports_with_it(house: House, tmp_path: Path) -> None:
    config = convert_world.config(house.world, tmp_path / "save") | {
        "tokenizer_type": house.other.neox_type, "vocab_file": str(load(house.folder).path), "train_iters": 3,
        "eval_interval": 3, "checkpoint_factor": None, "save": None, "load": None, "distributed_backend": None,
        "lr_decay_iters": 3,
    }  # fmt: skip
    yamlfile.write(tmp_path / "x.yml", {key: value for key, value in config.items() if value is not None})
    argv = [str(tmp_path / "x.yml"), "--output-dir", str(tmp_path / "out"), "--device", "cpu"]
    assert cli.run(local, argv) == 0
    model_of(house, tmp_path / "out" / "model")
    again = [
        *argv[:1],
        "--output-dir",
        str(tmp_path / "more"),
        "--device",
        "cpu",
        "--init-from",
        str(tmp_path / "out" / "model"),
    ]
    assert cli.run(local, again) == 0


def test_a_checkpoint_is_converted_with_it(house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = convert_world.config(house.world, tmp_path / "save") | {
        "tokenizer_type": house.other.neox_type, "vocab_file": str(load(house.folder).path)
    }  # fmt: skip
    rows = convert_world.padded(house.other.size, config)
    convert_world.write_checkpoint(tmp_path / "save", config, convert_world.weights(rows))
    argv = [str(tmp_path / "save"), "--out", str(tmp_path / "hf")]
    assert cli.run(convert.main, argv) == 0, capsys.readouterr().err
    model_of(house, tmp_path / "hf")
    assert cli.run(convert.main, [str(tmp_path / "hf"), "--check"]) == 0
    assert f"{house.other.size:,} pieces" in capsys.readouterr().err + ""


def test_a_chat_template_leaves_the_tokenizer_as_it_is(
    house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Turns that end with a line break are encoded apart by byte pairs; where a blank stands before every text, none can be."""
    config = convert_world.config(house.world, tmp_path / "save") | {
        "tokenizer_type": house.other.neox_type, "vocab_file": str(load(house.folder).path)
    }  # fmt: skip
    rows = convert_world.padded(house.other.size, config)
    convert_world.write_checkpoint(tmp_path / "save", config, convert_world.weights(rows))
    text = 'user: "[{content}]\\n"\nassistant: "A:\\n{content}"\n'
    (tmp_path / "t.yml").write_text(text, encoding="utf-8")
    argv = [str(tmp_path / "save"), "--out", str(tmp_path / "hf"), "--template", str(tmp_path / "t.yml")]
    code = cli.run(convert.main, argv)
    said = capsys.readouterr().err
    if house.other.kind == "llama3":
        assert code == 0, said
        assert load(tmp_path / "hf").sha256 == load(house.folder).sha256
        model_of(house, tmp_path / "hf")
        assert "chat_template" in files.read_json(tmp_path / "hf" / "tokenizer_config.json")
    else:
        assert code == cli.REFUSED and "gives other ids" in said and "Traceback" not in said


def test_weights_of_the_makers_are_known_by_their_own_name(house: House, tmp_path: Path) -> None:
    """A published model's folder calls the end otherwise: that is no other tokenizer."""
    from launch.engine import vocabulary

    vocabulary.check_model(house.other.folder, load(house.folder))
    different = other_tokenizers.make("gpt2", tmp_path / "else")
    with pytest.raises(cli.Refused, match="gives other ids"):
        vocabulary.check_model(different.folder, load(house.folder))


def test_a_file_that_gpt_neox_reads_as_it_is_needs_no_folder(house: House, tmp_path: Path) -> None:
    """As GPT-NeoX's own 20B_tokenizer.json: nothing is added to a text, and `<|endoftext|>` is there."""
    bare = other_tokenizers.make("gpt2", tmp_path / "theirs")
    path = bare.file.rename(tmp_path / "20B_tokenizer.json")
    more = {"tokenizer_type": "HFTokenizer", "vocab_file": str(path)}
    config = convert_world.config(house.world, tmp_path / "save") | more
    convert_world.write_checkpoint(
        tmp_path / "save", config, convert_world.weights(convert_world.padded(bare.size, config))
    )
    assert cli.run(convert.main, [str(tmp_path / "save"), "--out", str(tmp_path / "hf")]) == 0
    model_of(House(bare, house.world), tmp_path / "hf")


def test_a_run_file_names_it_and_its_end(house: House, tmp_path: Path) -> None:
    """What the pipeline's stages make of it; that no end is named is said before the first of them."""
    from launch.pipeline import actions, ahead, runfile

    text = "output: runs/x\ncorpora:\n  news: {files: [raw.jsonl]}\n  code: {files: [raw.jsonl]}\n"
    text += f"objective: {{metrics: {{news_bpb: 1}}}}\ntokenizer: {{path: {json.dumps(str(house.other.folder))}"
    for name in ("news", "code"):
        (tmp_path / "corpora").mkdir(exist_ok=True)
        (tmp_path / "corpora" / name).symlink_to(house.world.root / "clean")
    (tmp_path / "run.yml").write_text(f"{text}, eod_piece: {json.dumps(house.other.end)}}}\n", encoding="utf-8")
    made = runfile.read(tmp_path / "run.yml")
    digest = actions.tokenizer(tmp_path, made)
    assert digest == actions.tokenizer_digest(tmp_path) == load(house.folder).sha256
    actions.index(tmp_path, made, "news", "news", ("train",))
    assert (tmp_path / "data" / "news" / "train_text_document.bin").is_file()
    (tmp_path / "bad.yml").write_text(f"{text}}}\n", encoding="utf-8")
    with pytest.raises(cli.HaigoError, match="which of its pieces ends a document"):
        ahead.check(runfile.read(tmp_path / "bad.yml"), tmp_path / "bad.yml")
