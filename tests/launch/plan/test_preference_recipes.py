"""Recipes on preferences: their configs, what preflight says of such configs, and training by GPT-NeoX held against torch."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from neox_world import LOSSLESS, REPO, World, make_world, write_weights
from shared_data import data_of

from haigo import cli, yamlfile
from haigo.cli import HaigoError, Refused
from launch import configs
from launch.local.__main__ import main as local_main
from launch.plan import preference
from launch.plan import preflight as preflights
from launch.plan.checks import preferences as preference_checks
from launch.plan.config import make_config, write_config
from launch.plan.options import ConfigOptions
from neox_configs import reader

preference_world = pytest.importorskip("preference_world")
DATA = data_of(__file__)
RECIPES = {"dpo": "dpo", "kto": "kto", "reward": "rm"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("exact"), **LOSSLESS)


@pytest.fixture(scope="module")
def made(place: World) -> dict[str, dict[str, Path]]:
    return {kind: preference_world.make(place, kind, {"train": 60, "valid": 20}) for kind in ("dpo", "kto", "rm")}


def base_of(place: World, folder: Path, **changes: Any) -> Path:
    """A save folder as GPT-NeoX leaves it, as far as a recipe looks at it."""
    words = {"model": "0-1M", "cluster": "local-cpu", "mixture": place.mixture, "catalogue": place.catalogue}
    config = make_config(ConfigOptions(**words, output=folder / "base.yml", tokens=20 * 8 * 128)).config | changes
    (folder / "global_step20" / "configs").mkdir(parents=True)
    write_weights(folder / "global_step20")
    yamlfile.write(folder / "global_step20" / "configs" / "base.yml", config)
    (folder / "latest").write_text("global_step20")
    return folder


@pytest.fixture(scope="module")
def base(place: World) -> Path:
    return base_of(place, place.root / "base")


def asked(place: World, made: dict[str, Path], base: Path, recipe: str, **changes: Any) -> ConfigOptions:
    words: dict[str, Any] = {
        "model": "0-1M", "cluster": "local-cpu", "catalogue": place.catalogue, "output": place.root / "run" / f"{recipe}.yml",
        "recipe": recipe, "start": base, "train_pairs": made["train"], "valid_pairs": made["valid"],
        "test_pairs": made["valid"],
    }  # fmt: skip
    return ConfigOptions(**(words | changes))


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_config_of_each(recipe: str, place: World, base: Path, made: Any, tmp_path: Path) -> None:
    options = asked(place, made[RECIPES[recipe]], base, recipe, output=tmp_path / "x.yml", lr=1e-4)
    written = make_config(options)
    config = written.config
    reader.check_keys(config)
    assert reader.type_problems(config) == []
    assert (config["train_impl"], config["pack_impl"], config["allow_chopped"]) == (RECIPES[recipe], "unpacked", False)
    assert config["finetune"] is True and config["load"] == str(base) and config["eval_iters"] >= 1
    assert config["pipe_parallel_size"] == 0 and config["optimizer"]["params"]["lr"] == 1e-4
    facts = json.loads(
        Path(f"{config['pos_train_data_paths' if recipe != 'kto' else 'train_data_paths'][0]}.json").read_text()
    )
    steps = -(-facts["examples"] // config["train_batch_size"])
    assert config["train_iters"] == steps  # preferences are read once
    assert make_config(asked(place, made[RECIPES[recipe]], base, recipe, epochs=3)).config["train_iters"] > 2 * steps
    said = config["deepspeed_extra_args"].get("reference_model")
    assert said == (None if recipe == "reward" else {"load": str(base), "iteration": 20})
    failed = [check for check in preflights.preflight([], gpus=1, config=dict(config)).checks if check.status == "fail"]
    assert [check.name for check in failed] == []
    write_config(options)
    again = reader.load(tmp_path / "x-resume.yml")
    assert again["finetune"] is False and again["load"] == config["save"]
    assert again["deepspeed_extra_args"] == config["deepspeed_extra_args"]


def test_the_strength_of_the_pull_back(place: World, base: Path, made: Any) -> None:
    for recipe in ("dpo", "kto"):
        assert make_config(asked(place, made[recipe], base, recipe, beta=0.3)).config[f"{recipe}_beta"] == 0.3
        assert make_config(asked(place, made[recipe], base, recipe)).config[f"{recipe}_beta"] == 0.1


def test_the_reference_has_its_room(place: World, made: Any, tmp_path: Path) -> None:
    """1.3B on one A100: weights of two models; the micro batch counts pairs."""
    wide = base_of(place, tmp_path / "wide")
    config = {**reader.load(reader.__file__.replace("reader.py", "models/1-3B.yml")), "pipe_parallel_size": 0}
    yamlfile.write(
        wide / "global_step20" / "configs" / "base.yml", {**config, "model_parallel_size": 1, "seq_length": 128}
    )
    words = {"model": "1-3B", "cluster": "a100-40gb", "nodes": 1}
    plain = make_config(asked(place, made["rm"], wide, "reward", **words))
    both = make_config(asked(place, made["dpo"], wide, "dpo", **words))
    assert 2.4e9 < plain.plan.memory_bytes - both.plan.memory_bytes < 4e9
    assert "the reference model takes" in both.header and "the reference model" not in plain.header
    for one in (plain, both):
        micro, accumulation = one.config["train_micro_batch_size_per_gpu"], one.config["gradient_accumulation_steps"]
        assert one.config["train_batch_size"] == 4 * micro * accumulation and micro >= 1
    assert plain.config["train_micro_batch_size_per_gpu"] >= 2  # GPT-NeoX ends on one pair


def test_what_cannot_be_trained_is_refused(place: World, base: Path, made: Any, tmp_path: Path) -> None:
    def refused(kind: type[HaigoError], words: str, recipe: str, start: Path | None = base, **changes: Any) -> None:
        with pytest.raises(kind, match=words):
            make_config(asked(place, made[RECIPES[recipe]], base, recipe, **({"start": start} | changes)))

    refused(HaigoError, "needs a checkpoint to start from", "dpo", None)
    refused(HaigoError, "the recipe kto needs preferences", "kto", train_pairs=None)
    refused(HaigoError, "chosen_document.idx does not exist", "dpo", train_pairs=tmp_path / "none")
    refused(Refused, "was made for rm, and this is dpo", "dpo", train_pairs=made["rm"]["train"])
    refused(Refused, "made for samples of 128 tokens, and the config has 64", "kto", seq_length=64)
    refused(Refused, "is a pipeline's", "dpo", base_of(place, tmp_path / "piped", pipe_parallel_size=2))
    tied = base_of(place, tmp_path / "tied", no_weight_tying=False)
    yamlfile.write(
        tmp_path / "tied.yml", {**reader.load(REPO / "neox_configs/proxies/0-1M.yml"), "no_weight_tying": False}
    )
    refused(Refused, "has its embedding for a head", "reward", tied, model=tmp_path / "tied.yml")
    torn = tmp_path / "torn"
    shutil.copytree(made["dpo"]["train"].parent, torn)
    for ending in ("bin", "idx", "json"):
        for key in ("rejected", "rejected_label"):
            shutil.copy(torn / f"valid_{key}_document.{ending}", torn / f"train_{key}_document.{ending}")
    refused(Refused, "have other numbers of rows", "dpo", train_pairs=torn / "train")


@pytest.mark.parametrize("case", DATA["rules"], ids=str)
def test_what_preflight_says(case: Any, place: World, base: Path, made: Any) -> None:
    recipe, changes, status, said = case
    config = dict(make_config(asked(place, made[RECIPES[recipe]], base, recipe)).config)
    for key, value in changes.items():
        config |= {key: value}
        if value is None:
            config.pop(key)
    found = preference_checks.checks(config, Path("/"))
    assert [(check.status, said in check.found) for check in found if said in check.found] == [(status, True)]
    assert all(check.fix for check in found)


def test_a_checkout_that_calls_what_it_has_not(tmp_path: Path) -> None:
    script = tmp_path / "megatron" / "training.py"
    script.parent.mkdir()
    (tmp_path / "train.py").touch()
    config = {"train_impl": "dpo"}
    for text, lacks in (
        ("a, b = get_pos_neg_logp(x)\n", "get_pos_neg_logp"),
        ("def get_pos_neg_logp(x): ...\na = get_pos_neg_logp(x)\n", None),
        ("from megatron.utils import (\n    a,\n    get_pos_neg_logp,\n)\na = get_pos_neg_logp(x)\n", None),
        ("from m import get_pos_neg_logp, b\na = get_pos_neg_logp(x)\n", None),
        ("a = something_newer(x)\n", None),
    ):
        script.write_text(text)
        assert preference.lacking(config, tmp_path) == lacks
        found = preference_checks.script(config, tmp_path, "train.py")
        assert [check.status for check in found] == (["fail"] if lacks else [])
        assert preference_checks.script(config, tmp_path, str(preference.SCRIPT)) == []
    assert preference.lacking({"train_impl": "rm"}, tmp_path) is None


def test_the_command_names_the_script(
    place: World, base: Path, made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for recipe, kind in RECIPES.items():
        words = ["--model", "0-1M", "--cluster", "local-cpu", "--catalogue", str(place.catalogue), "--recipe", recipe]
        words += [
            "--from",
            str(base),
            "--train-pairs",
            str(made[kind]["train"]),
            "--output",
            str(tmp_path / f"{recipe}.yml"),
        ]
        assert cli.run(configs.main, words) == 0
        script = "train.py" if recipe == "reward" else str(preference.SCRIPT)
        assert f"python -m launch.deepy {script} " in capsys.readouterr().out
        assert cli.run(local_main, [str(tmp_path / f"{recipe}.yml"), "--output-dir", str(tmp_path / "m")]) == 2
        assert f"train_impl: {kind} is training on preferences" in capsys.readouterr().err
    assert preference.SCRIPT.is_file()


def losses(log: Path) -> list[float]:
    return [float(loss) for loss in re.findall(r"\| lm_loss: (\S+)", log.read_text())]


def train(neox: Any, script: str, path: Path, log: Path, code: int = 0) -> list[float]:
    environment = {**neox.environment, "GPT_NEOX_DIR": str(neox.root), "GPT_NEOX_PYTHON": str(neox.python)}
    environment["PYTHONPATH"] = os.pathsep.join([environment["PYTHONPATH"], str(REPO)])
    done = subprocess.run(
        [sys.executable, "-m", "launch.deepy", script, str(path), "--log", str(log)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
        cwd=path.parent,
    )
    assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
    return losses(log) if log.is_file() else []


@pytest.fixture(scope="module")
def pretrained(neox: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Path, Path]:
    """A model of 20 steps by GPT-NeoX: its world, its save folder, and it as a Hugging Face folder."""
    from launch.neox.conversion.convert import convert
    from launch.neox.conversion.options import ConvertOptions

    place = make_world(tmp_path_factory.mktemp("pretrained"), **LOSSLESS)
    words = {"model": "0-1M", "cluster": "local-cpu", "mixture": place.mixture, "catalogue": place.catalogue}
    write_config(ConfigOptions(**words, output=place.root / "run" / "base.yml", tokens=20 * 8 * 128))
    train(neox, "train.py", place.root / "run" / "base.yml", place.root / "run" / "base.log")
    folder = place.root / "run" / "checkpoints" / "base"
    convert(ConvertOptions(checkpoint=str(folder), out=str(place.root / "hf")))
    return place, folder, place.root / "hf"


STEPS = {"dpo": 12, "kto": 40, "reward": 12}


def prepared(recipe: str, pretrained: Any) -> tuple[Path, Path]:
    """The recipe's config with a constant rate, which torch can follow, and the prefix of its training set."""
    place, folder, _ = pretrained
    made = preference_world.make(place, RECIPES[recipe], {"train": 150, "valid": 30})
    path = place.root / "run" / f"{recipe}.yml"
    write_config(asked(place, made, folder, recipe, output=path, lr=5e-4))
    steady = {
        "lr_decay_style": "constant",
        "warmup": 0.0,
        "train_iters": STEPS[recipe],
        "lr_decay_iters": STEPS[recipe],
    }
    saved = {"checkpoint_factor": 5, "extra_save_iters": [0], "eval_interval": 6}
    yamlfile.write(path, {**reader.load(path), **steady, **saved})
    return path, made["train"]


@pytest.mark.neox
@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_gpt_neox_trains_what_the_papers_say(recipe: str, neox: Any, pretrained: Any) -> None:
    """Losses of 12 steps as torch reckons them; the first of DPO is ln 2, of KTO 1/2; all fall."""
    import torch
    from transformers import AutoModelForCausalLM

    _, _, exported = pretrained
    path, prefix = prepared(recipe, pretrained)
    config = reader.load(path)
    found = train(neox, preference.script(recipe), path, path.with_suffix(".log"))
    some = STEPS[recipe] // 3
    assert len(found) == STEPS[recipe] and sum(found[-some:]) < sum(found[:some])
    model = AutoModelForCausalLM.from_pretrained(exported).float()
    reference = AutoModelForCausalLM.from_pretrained(exported).float().eval()
    trained = list(model.parameters())
    head = torch.zeros(0)
    if recipe == "reward":
        step = Path(config["save"]) / "global_step0" / "mp_rank_00_model_states.pt"
        state = torch.load(step, weights_only=False)["module"]
        head = next(value for name, value in state.items() if "rm_linear" in name)[0].float().requires_grad_()
        trained = [*model.gpt_neox.parameters(), head]
    adam = torch.optim.AdamW(trained, lr=5e-4, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0)
    made = preference_world.batches(prefix, RECIPES[recipe], config["train_micro_batch_size_per_gpu"])
    assert config["gradient_accumulation_steps"] == 1
    reckoned = []
    for batch in made[:12]:
        if recipe == "reward":
            loss = preference_world.reward(model.gpt_neox, head, batch)
        else:
            loss = getattr(preference_world, recipe)(model, reference, batch)
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        adam.step()
        reckoned.append(loss.item())
    assert found[:12] == pytest.approx(reckoned, abs=2e-4)
    if recipe == "dpo":
        assert found[0] == pytest.approx(0.6931472, abs=1e-6)
    if recipe == "kto":
        assert found[0] == pytest.approx(0.5, abs=1e-6)
        signs = torch.cat([batch[2][:, :-1].mean(-1) for batch in made])
        assert (signs.abs() - 1).abs().max() < 0.05  # beta is what the config says


@pytest.mark.neox
@pytest.mark.slow
def test_scores_computed_beforehand_train_the_same(neox: Any, pretrained: Any) -> None:
    """One model in memory instead of two, by GPT-NeoX's own generate.py."""
    path, _ = prepared("kto", pretrained)
    two = train(neox, str(preference.SCRIPT), path, path.with_suffix(".log"))
    config = {**reader.load(path), "precompute_model_name": "ref", "save": f"{reader.load(path)['save']}-one"}
    yamlfile.write(path.with_name("one.yml"), config)
    yamlfile.write(path.with_name("one-scores.yml"), {**config, "text_gen_type": "precompute"})
    train(neox, str(preference.SCRIPT), path.with_name("one.yml"), path.with_name("refused.log"), code=3)
    train(neox, "generate.py", path.with_name("one-scores.yml"), path.with_name("scores.log"))
    one = train(neox, str(preference.SCRIPT), path.with_name("one.yml"), path.with_name("one.log"))
    assert one == pytest.approx(two, abs=1e-6)


@pytest.mark.neox
@pytest.mark.slow
def test_the_reference_stays_after_a_break(neox: Any, pretrained: Any) -> None:
    """The file that goes on trains the steps of the unbroken run; GPT-NeoX's own way would hold the policy against itself."""
    path, _ = prepared("dpo", pretrained)
    whole = train(neox, str(preference.SCRIPT), path, path.with_suffix(".log"))
    config = reader.load(path)
    save = Path(config["save"])
    for step in save.glob("global_step*"):
        if step.name != "global_step5":
            shutil.rmtree(step)
    (save / "latest").write_text("global_step5")
    shutil.rmtree(save / "haigo", ignore_errors=True)
    (save / "haigo_run.json").unlink(missing_ok=True)
    again = path.with_name("again.yml")
    yamlfile.write(again, {**config, "finetune": False, "load": config["save"]})
    log = path.with_name("again.log")
    words = [str(preference.SCRIPT), str(again), "--log", str(log), "--no-supervise"]
    environment = {**neox.environment, "GPT_NEOX_DIR": str(neox.root), "GPT_NEOX_PYTHON": str(neox.python)}
    environment["PYTHONPATH"] = os.pathsep.join([environment["PYTHONPATH"], str(REPO)])
    argv = [sys.executable, "-m", "launch.deepy", *words]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert losses(log) == whole[5:]


def test_a_run_on_precomputed_scores(
    place: World, base: Path, made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--model", "0-1M", "--cluster", "local-cpu", "--catalogue", str(place.catalogue), "--recipe", "dpo"]
    words += ["--from", str(base), "--train-pairs", str(made["dpo"]["train"]), "--output", str(tmp_path / "x.yml")]
    assert cli.run(configs.main, [*words, "--reference", "base-20"]) == 0
    said = capsys.readouterr().out
    assert f"launch.deepy generate.py {tmp_path / 'x-scores.yml'}" in said and "the reference model takes" not in said
    config, scores = reader.load(tmp_path / "x.yml"), reader.load(tmp_path / "x-scores.yml")
    assert config["precompute_model_name"] == "base-20" and "reference_model" not in config["deepspeed_extra_args"]
    assert scores == {**config, "text_gen_type": "precompute"}
    assert cli.run(configs.main, [*words, "--reference", "../x"]) == 2
    assert "is no name" in capsys.readouterr().err
    reward = [*words[:6], "--recipe", "reward", *words[8:]]
    assert cli.run(configs.main, [*reward, "--beta", "0.2"]) == 2
    assert "--beta has no effect with --recipe reward" in capsys.readouterr().err


def test_precomputed_scores_are_looked_for(place: World, base: Path, made: Any, tmp_path: Path) -> None:
    """GPT-NeoX skips a file that is there, whatever tokens it is of."""
    folder = tmp_path / "data"
    shutil.copytree(made["kto"]["train"].parent, folder)
    sets = {"train": folder / "train", "valid": folder / "valid"}
    config = {**make_config(asked(place, sets, base, "kto")).config, "precompute_model_name": "ref"}
    found = preference_checks.checks(config, Path("/"))
    assert len(found) == 3 and all("the reference has not scored" in check.found for check in found)
    for split in sets:
        for ending in ("bin", "idx"):
            tokens = folder / f"{split}_messages_document.{ending}"
            scores = folder / f"{split}_messages_document_ref.{ending}"
            shutil.copy(tokens, scores)
            os.utime(scores, (tokens.stat().st_mtime + 1,) * 2)
    assert preference_checks.checks(config, Path("/")) == []
    os.utime(folder / "train_messages_document_ref.bin", (1, 1))
    (stale,) = preference_checks.checks(config, Path("/"))
    assert stale.status == "fail" and "is older than" in stale.found
    scoring = {**config, "text_gen_type": "precompute"}
    assert preference_checks.checks(scoring, Path("/")) == []
