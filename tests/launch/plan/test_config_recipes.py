"""Recipes that start from a finished model: continued pretraining, finetuning on pairs, longer samples."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from neox_world import LOSSLESS, REPO, World, make_world, sentences, write_weights

from haigo import cli, yamlfile
from haigo.cli import Failed, HaigoError, Refused
from launch import configs, preflight, stretch
from launch.plan import finetune as config_finetune
from launch.plan import recipes as config_recipes
from launch.plan.checks import data as preflight_data
from launch.plan.config import make_config, write_config
from launch.plan.options import ConfigOptions
from neox_configs import reader, shipped
from preprocess import pairs as pairing


def make_pairs(root: Path, length: int = 128, pack: bool = True) -> dict[str, Path]:
    made = {}
    for seed, (split, count) in enumerate((("train", 240), ("valid", 60), ("test", 60))):
        lines = [
            json.dumps({"prompt": text[:20], "response": text[20:60]})
            for text in sentences(10 + seed, count)
            if len(text) > 60
        ]
        (root / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
        made[split] = root / "sft" / f"{split}{'' if pack else '_loose'}"
        pairing.build([root / f"{split}.jsonl"], root / "tokenizer", made[split], seq_length=length, pack=pack)
    return made


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("exact"), **LOSSLESS)


@pytest.fixture(scope="module")
def sft(place: World) -> dict[str, Path]:
    return make_pairs(place.root)


def arguments(place: World, **changes: Any) -> dict[str, Any]:
    made = {
        "model": "0-1M",
        "cluster": "local-cpu",
        "mixture": place.mixture,
        "catalogue": place.catalogue,
        "output": place.root / "run" / "x.yml",
        "tokens": 20 * 8 * 128,
    } | {f"{split}_pairs": prefix for split, prefix in changes.pop("pairs", {}).items()}
    return {**made, **changes}


@pytest.fixture(scope="module")
def base(place: World) -> Path:
    """A save folder as GPT-NeoX leaves it, as far as a recipe looks at it."""
    made = make_config(ConfigOptions(**arguments(place, output=place.root / "base" / "base.yml")))
    folder = place.root / "base" / "checkpoints" / "base"
    for step in (10, 20):
        (folder / f"global_step{step}" / "configs").mkdir(parents=True)
        write_weights(folder / f"global_step{step}")
        yamlfile.write(folder / f"global_step{step}" / "configs" / "base.yml", made.config)
    (folder / "latest").write_text("global_step20")
    return folder


def test_which_checkpoint_is_meant(base: Path, tmp_path: Path) -> None:
    one = config_recipes.base(base)
    assert (one.folder, one.step, one.latest, one.tensor, one.piped) == (base, 20, True, 1, False)
    other = config_recipes.base(base / "global_step10")
    assert (other.folder, other.step, other.latest) == (base, 10, False)
    for wrong in (tmp_path, tmp_path / "nowhere", base / "global_step30"):
        with pytest.raises(HaigoError, match=r"is no folder|holds no global_stepN folder"):
            config_recipes.base(wrong)
    (tmp_path / "latest").write_text("global_step7")
    (tmp_path / "global_step6").mkdir()
    with pytest.raises(HaigoError, match="names 'global_step7', which is not there"):
        config_recipes.base(tmp_path)
    (tmp_path / "global_step7").mkdir()
    with pytest.raises(HaigoError, match="holds no config"):
        config_recipes.base(tmp_path)


def test_continued_pretraining(place: World, base: Path, tmp_path: Path) -> None:
    output = tmp_path / "more.yml"
    write_config(ConfigOptions(**arguments(place, output=output, recipe="continued", start=base)))
    config, again = reader.load(output), reader.load(tmp_path / "more-resume.yml")
    reader.check_keys(config)
    assert config["finetune"] is True and config["load"] == str(base) and "iteration" not in config
    assert config["save"] == str(tmp_path / "checkpoints" / "more") == again["load"]
    assert config["optimizer"]["params"]["lr"] == 4.0e-3 and config["lr_decay_iters"] == config["train_iters"]
    changed = {key for key in {*config, *again} if config.get(key) != again.get(key)}
    assert changed == {"finetune", "load"} and again["finetune"] is False
    older = make_config(ConfigOptions(**arguments(place, recipe="continued", start=base / "global_step10", lr=1e-3)))
    assert older.config["iteration"] == 10 and older.config["optimizer"]["params"]["lr"] == 1e-3
    assert older.config["min_lr"] == pytest.approx(1e-4)
    assert config["optimizer"]["params"]["betas"] == older.config["optimizer"]["params"]["betas"]
    assert "iteration" not in config_recipes.resumed(older.config)
    assert "continued from" in older.header and "step 10" in older.header


def test_finetuning_on_packed_pairs(place: World, base: Path, sft: dict[str, Path], tmp_path: Path) -> None:
    made = make_config(
        ConfigOptions(
            **arguments(
                place, recipe="finetune", start=base, mixture=None, pairs=sft, epochs=2, output=tmp_path / "s.yml"
            )
        )
    )
    config = made.config
    reader.check_keys(config)
    assert reader.type_problems(config) == []
    assert config["pack_impl"] == "packed" and config["eval_iters"] > 0 and config["weight_decay"] == 0.0
    assert config["train_data_paths"] == [f"{sft['train']}_text_document"]
    assert config["valid_label_data_paths"] == [f"{sft['valid']}_text_label_document"]
    rows = json.loads(Path(f"{sft['train']}_text_document.json").read_text())["documents"]
    samples = config["train_iters"] * config["train_batch_size"]
    assert 2 * rows <= samples < 2 * rows + config["train_batch_size"]
    assert made.epochs["pairs"] == pytest.approx(samples / rows)
    assert config["seq_length"] == 128 and config["optimizer"]["params"]["lr"] == 2e-5


def test_finetuning_on_loose_pairs_is_said(place: World, base: Path, tmp_path: Path) -> None:
    loose = make_pairs(place.root, pack=False)
    made = make_config(
        ConfigOptions(**arguments(place, recipe="finetune", start=base, mixture=None, pairs={"train": loose["train"]}))
    )
    assert made.config["pack_impl"] == "pack_until_overflow"
    assert [remark.split(":")[0] for remark in made.remarks] == [
        "the valid set is the training set",
        "the test set is the training set",
        "not packed",
    ]


def test_a_step_reads_so_many_examples_and_not_so_many_rows(
    place: World, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """1,500 pairs in packed rows made 4 steps of 2 epochs, when 64 rows were taken for 64 examples."""
    lines = [json.dumps({"prompt": text[:10], "response": text[10:20]}) for text in sentences(30, 1500)]
    (tmp_path / "many.jsonl").write_text("\n".join(lines) + "\n")
    prefix = tmp_path / "sft" / "many"
    words = [str(tmp_path / "many.jsonl"), "--tokenizer", str(place.root / "tokenizer"), "--output-prefix", str(prefix)]
    assert cli.run(pairing.main, [*words, "--seq-length", "128", "--pack"]) == 0
    facts = json.loads(Path(f"{prefix}_text_document.json").read_text())
    assert facts["examples"] == 1500 and facts["rows"] == facts["documents"] < 500
    assert f"1,500 examples in {facts['rows']:,} rows" in capsys.readouterr().out
    words = ["--model", "0-1M", "--cluster", "local-cpu", "--catalogue", str(place.catalogue), "--recipe", "finetune"]
    words += ["--from", str(base), "--train-pairs", str(prefix), "--epochs", "2"]
    assert cli.run(configs.main, [*words, "--output", str(tmp_path / "a.yml"), "--json"]) == 0
    taken = capsys.readouterr()
    told = json.loads(taken.out)
    assert told["train_iters"] >= 75 and 20 <= told["examples_per_step"] <= 40 and "warning" not in taken.err
    read = told["train_iters"] * told["examples_per_step"]
    assert 3000 <= read < 3000 + 2 * told["examples_per_step"]
    header = (tmp_path / "a.yml").read_text()
    assert (
        f"1,500 examples in {facts['rows']:,} samples" in header
        and f"2 epochs are {told['train_iters']} steps" in header
    )
    few = [*words, "--output", str(tmp_path / "b.yml"), "--global-batch-tokens", str(64 * 128)]
    assert cli.run(configs.main, few) == 0
    taken = capsys.readouterr()
    steps = reader.load(tmp_path / "b.yml")["train_iters"]
    assert steps == -(-2 * facts["rows"] // 64) < config_finetune.FEW_STEPS
    assert f"haigo: warning: only {steps} steps: hardly anything will be learnt" in taken.err
    assert "--epochs" in taken.err and "--global-batch-tokens" in taken.err
    assert cli.run(preflight.main, [str(tmp_path / "b.yml")]) == 0
    assert f"warn finetuning: {steps} steps, each of 64 samples" in capsys.readouterr().out


def test_the_batch_is_chosen_in_examples() -> None:
    def taught(samples: int, examples: int) -> config_finetune.Pairs:
        return config_finetune.Pairs({}, samples, examples, 0, True, [])

    assert config_finetune.rows_a_step(taught(128, 1500), 2) == 3  # 35 examples, 86 steps
    assert config_finetune.rows_a_step(taught(50_000, 50_000), 3) == 64  # one example a row
    assert config_finetune.rows_a_step(taught(10_000, 100_000), 3) == 6
    assert config_finetune.rows_a_step(taught(2, 200), 1) == 1
    assert config_finetune.few_steps(taught(128, 1500), 2, 64, 4, 2048) == [
        "only 4 steps: hardly anything will be learnt. Give --global-batch-tokens 12288 (on few enough GPUs), or --epochs 20, "
        "or more examples."
    ]


def stretchable(folder: Path, length: int) -> Path:
    """A checkpoint file that holds what GPT-NeoX's hold, as far as launch.stretch looks at it."""
    import torch

    state = {
        "module": {"w": torch.ones(3)},
        "optimizer": {"big": torch.ones(9)},
        "args": {"max_position_embeddings": length},
    }
    torch.save(state, folder / "mp_rank_00_model_states.pt")
    return folder


def test_longer_samples(place: World, base: Path, tmp_path: Path) -> None:
    import torch

    stretchable(base / "global_step20", 128)
    (base / "global_step20" / "layer_00-model_00-model_states.pt").write_bytes(b"weights")
    wanted = arguments(place, recipe="long-context", start=base, seq_length=512, tokens=100_000)
    with pytest.raises(Refused, match="only with its max_position_embeddings 128") as caught:
        make_config(ConfigOptions(**wanted))
    assert "launch.stretch" in caught.value.fix
    copy = stretch.stretch(base, 512, tmp_path / "copy", Path(sys.executable))
    state = torch.load(copy / "global_step20" / "mp_rank_00_model_states.pt", weights_only=True)
    assert state["args"] == {"max_position_embeddings": 512} and state["optimizer"] is None
    assert torch.equal(state["module"]["w"], torch.ones(3))
    layer = Path("global_step20", "layer_00-model_00-model_states.pt")
    assert (copy / layer).read_bytes() == b"weights"
    (copy / layer).write_bytes(b"trained on")  # as torch.save does it
    assert (base / layer).read_bytes() == b"weights"
    assert config_recipes.base(copy).config["max_position_embeddings"] == 512
    with pytest.raises(HaigoError, match="exists already"):
        stretch.stretch(base, 512, tmp_path / "copy", Path(sys.executable))
    flipped = bytearray((base / "global_step20" / "mp_rank_00_model_states.pt").read_bytes())
    flipped[flipped.index(torch.ones(3).numpy().tobytes())] ^= 1
    (base / "global_step20" / "mp_rank_00_model_states.pt").write_bytes(flipped)
    with pytest.raises(Failed, match="could not be rewritten: it is damaged"):
        stretch.stretch(base, 512, tmp_path / "other", Path(sys.executable))
    (base / "global_step20" / "mp_rank_00_model_states.pt").write_bytes(b"PK torn")
    with pytest.raises(Failed, match="could not be rewritten"):
        stretch.stretch(base, 512, tmp_path / "other", Path(sys.executable))
    assert not list(tmp_path.glob(".other*")) and not (tmp_path / "other").exists()
    write_weights(base / "global_step20")
    (base / "global_step20" / "layer_00-model_00-model_states.pt").unlink()
    made = make_config(ConfigOptions(**{**wanted, "start": copy}))
    config = made.config
    reader.check_keys(config)
    assert reader.type_problems(config) == []
    assert config["seq_length"] == config["max_position_embeddings"] == 512
    # heads of 16, all rotary: 10,000 x 4^(16/14)
    assert config["rotary_emb_base"] == round(10_000 * 4 ** (16 / 14)) and config["finetune"] is True
    with pytest.raises(HaigoError, match="is not longer than the checkpoint's 128"):
        make_config(ConfigOptions(**arguments(place, recipe="long-context", start=base, seq_length=128)))


def test_what_does_not_go_together(place: World, base: Path, sft: dict[str, Path], tmp_path: Path) -> None:
    def refused(kind: type[HaigoError], words: str, **changes: Any) -> None:
        with pytest.raises(kind, match=words):
            make_config(ConfigOptions(**arguments(place, **changes)))

    refused(HaigoError, r"--recipe is 'finetuning'\. Did you mean 'finetune'", recipe="finetuning")
    refused(HaigoError, "needs a checkpoint to start from", recipe="continued")
    refused(HaigoError, "starts from nothing", start=base)
    refused(Refused, "hidden_size is 96, and the checkpoint", recipe="continued", start=base, model="0-3M")
    refused(HaigoError, "needs examples", recipe="finetune", start=base, mixture=None)
    refused(HaigoError, "no mixture is given", recipe="continued", start=base, mixture=None)
    refused(HaigoError, "--epochs is 0", recipe="finetune", start=base, pairs=sft, epochs=0)
    refused(HaigoError, "--lr is", recipe="continued", start=base, lr=-1.0)
    refused(Refused, "packed for samples of 128 tokens", recipe="finetune", start=base, pairs=sft, seq_length=64)
    refused(Refused, "where it starts from", recipe="continued", start=base, save=base)
    refused(HaigoError, "does not exist", recipe="finetune", start=base, pairs={"train": tmp_path / "none"})
    mixed = {"train": sft["train"], "valid": make_pairs(place.root, pack=False)["valid"]}
    refused(Refused, "not packed, unlike the training set", recipe="finetune", start=base, pairs=mixed)


def test_a_layout_that_cannot_load_the_checkpoint_is_not_taken(place: World, base: Path, tmp_path: Path) -> None:
    split = tmp_path / "split"
    (split / "global_step5" / "configs").mkdir(parents=True)
    (split / "latest").write_text("global_step5\n")
    config = {**reader.load(shipped.find("models", "7B")), "model_parallel_size": 2, "pipe_parallel_size": 0}
    yamlfile.write(split / "global_step5" / "configs" / "7B.yml", config)
    wide = {"model": "7B", "cluster": "a100-40gb", "nodes": 4, "seq_length": 128, "recipe": "continued"}
    made = make_config(ConfigOptions(**arguments(place, **wide, start=split)))
    assert made.config["model_parallel_size"] == 2 and made.config["pipe_parallel_size"] == 0
    yamlfile.write(split / "global_step5" / "configs" / "7B.yml", {**config, "model_parallel_size": 8})
    with pytest.raises(Refused, match="split over 8 GPUs with no pipeline"):
        make_config(ConfigOptions(**arguments(place, **wide, start=split)))


def test_starting_again_over_its_own_checkpoints_is_refused(place: World, base: Path, tmp_path: Path) -> None:
    made = make_config(ConfigOptions(**arguments(place, recipe="continued", start=base, output=tmp_path / "more.yml")))
    assert not [check for check in preflight_data.checks(made.config, Path("/")) if check.status == "fail"]
    save = Path(made.config["save"])
    (save / "global_step5").mkdir(parents=True)
    (save / "latest").write_text("global_step5")
    failed = [check for check in preflight_data.checks(made.config, Path("/")) if check.status == "fail"]
    assert [check.name for check in failed] == ["resume"] and "NAME-resume.yml" in failed[0].fix
    again = preflight_data.checks(config_recipes.resumed(made.config), Path("/"))
    assert not [check for check in again if check.status == "fail"]


def test_the_command(
    place: World, base: Path, sft: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--model", "0-1M", "--cluster", "local-cpu", "--catalogue", str(place.catalogue), "--recipe", "finetune"]
    words += ["--from", str(base), "--train-pairs", str(sft["train"]), "--valid-pairs", str(sft["valid"])]
    words += ["--output", str(tmp_path / "sft.yml"), "--epochs", "1"]
    assert cli.run(configs.main, words) == 0
    said = capsys.readouterr().out
    assert "sft-resume.yml goes on after a break" in said and "finetune from" in said
    assert (tmp_path / "sft.yml").is_file() and (tmp_path / "sft-resume.yml").is_file()
    assert cli.run(configs.main, [*words, "--dry-run"]) == 0


@pytest.mark.neox
@pytest.mark.slow
def test_a_finished_model_is_finetuned_and_stretched_by_gpt_neox(neox: Any, tmp_path: Path) -> None:
    """Pretrain, finetune on packed pairs, go on after a break, read longer samples: all by GPT-NeoX itself."""
    place = make_world(tmp_path / "world", **LOSSLESS)
    sft = make_pairs(place.root)

    def train(path: Path) -> list[float]:
        environment = {**neox.environment, "GPT_NEOX_DIR": str(neox.root), "GPT_NEOX_PYTHON": str(neox.python)}
        environment["PYTHONPATH"] = os.pathsep.join([environment["PYTHONPATH"], str(REPO)])
        log = path.with_suffix(".log")
        done = subprocess.run(
            [sys.executable, "-m", "launch.deepy", "train.py", str(path), "--log", str(log)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=400,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return [float(loss) for loss in re.findall(r"lm_loss: (\S+)", log.read_text())]

    first = tmp_path / "run" / "base.yml"
    write_config(ConfigOptions(**arguments(place, output=first)))
    begun = train(first)
    start = tmp_path / "run" / "checkpoints" / "base"
    second = tmp_path / "run" / "sft.yml"
    made = write_config(
        ConfigOptions(
            **arguments(
                place, output=second, recipe="finetune", start=start, mixture=None, pairs=sft, epochs=4, lr=1e-3
            )
        )
    )
    taught = train(second)
    assert len(taught) == made["train_iters"] and taught[0] < begun[0] and taught[-1] < taught[0]
    # the file that goes on finds a finished run: it trains nothing more
    save = Path(made["config"]["save"])
    assert (save / "latest").read_text() == f"global_step{made['train_iters']}"
    third = tmp_path / "run" / "long.yml"
    start = stretch.stretch(start, 256, tmp_path / "run" / "checkpoints" / "base-256", neox.python)
    write_config(
        ConfigOptions(
            **arguments(place, output=third, recipe="long-context", start=start, seq_length=256, tokens=10 * 8 * 256)
        )
    )
    longer = train(third)
    assert len(longer) == 20 and longer[0] < begun[0]
