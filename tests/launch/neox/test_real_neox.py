"""Against the real GPT-NeoX, where GPT_NEOX_DIR and GPT_NEOX_PYTHON are set (and the CPU shim is at hand).

`HAIGO_WRITE_GOLDEN=1` rewrites golden_configs.json from what the real NeoXArgs says: numbers only, none of its code.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from neox_world import REPO, World, make_world

from haigo import files, yamlfile
from haigo.cli import Refused
from launch.neox import hostfile
from launch.plan import calibrate as plan_calibrate
from launch.plan import stacks as plan_stacks
from launch.plan.config import deepspeed_path, write_config
from launch.plan.options import ConfigOptions
from neox_configs import reader, shipped
from neox_configs.keys import KEYS

pytestmark = pytest.mark.neox
GOLDEN = Path(__file__).parents[1] / "golden_configs.json"
SIZES = ("1-3B", "2-7B", "7B", "13B")


def probe(neox: Any, jobs: list[list[str]], folder: Path) -> dict[str, Any]:
    """What NeoXArgs makes of configs, run by GPT-NeoX's interpreter; flash-attn is made to look installed."""
    fake = folder / "site" / "flash_attn-2.7.4.dist-info"
    fake.mkdir(parents=True, exist_ok=True)
    (fake / "METADATA").write_text("Metadata-Version: 2.1\nName: flash-attn\nVersion: 2.7.4\n")
    paths = os.pathsep.join([neox.environment["PYTHONPATH"], str(neox.root), str(fake.parent)])
    done = subprocess.run(
        [str(neox.python), str(Path(__file__).parents[1] / "neox_args_probe.py")],
        input=json.dumps(jobs),
        env={**neox.environment, "PYTHONPATH": paths},
        cwd=neox.root,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("PROBE ")]
    assert lines, done.stderr[-3000:]
    return json.loads(lines[-1].removeprefix("PROBE "))


def test_neox_args_accepts_every_size_and_number_of_nodes(neox: Any, shared_world: World, tmp_path: Path) -> None:
    jobs, entries = [], []
    wanted = [(c, a, m, n) for c in ("a100-40gb", "a100-80gb", "h100-80gb") for a in ("global", "flash") for m in SIZES
              for n in (1, 2, 4, 8, 16)]  # fmt: skip
    for cluster, attention, model, nodes in wanted:
        output = tmp_path / f"{cluster}-{attention}-{model}-{nodes}.yml"
        try:
            made = write_config(
                ConfigOptions(
                    output=output,
                    model=model,
                    cluster=cluster,
                    nodes=nodes,
                    attention=attention,
                    seq_length=512,
                    mixture=shared_world.mixture,
                    catalogue=shared_world.catalogue,
                )
            )
        except Refused:
            assert (model, nodes, cluster) == ("13B", 1, "a100-40gb")
            continue
        hosts = tmp_path / f"hosts-{cluster}-{nodes}"
        hostfile.write(hosts, {f"node{number}": made["gpus"] // nodes for number in range(nodes)})
        jobs.append([str(output), str(hosts)])
        entries.append({"model": model, "cluster": cluster, "nodes": nodes, "attention": attention, **made})
    answer = probe(neox, jobs, tmp_path)
    for entry, told in zip(entries, answer["configs"], strict=True):
        assert "error" not in told, (entry["file"], told)
        config = entry["config"]
        assert told["gpus"] == entry["gpus"]
        assert told["train_batch_size"] == entry["train_batch_size"]
        assert told["precision"] == "bfloat16" and told["deepspeed"]["bf16"] == {"enabled": True}
        assert told["zero_stage"] == config["zero_optimization"]["stage"]
        assert told["deepspeed"]["data_types"] == {"grad_accum_dtype": "fp32"}
        # what is written beside the config for reading is what GPT-NeoX itself tells DeepSpeed
        assert json.loads(deepspeed_path(entry["file"]).read_text()) == told["deepspeed"], entry["file"]
    assert len(entries) >= 118
    if os.environ.get("HAIGO_WRITE_GOLDEN"):
        _write_golden(entries, answer["configs"])


def _write_golden(entries: list[dict[str, Any]], answers: list[dict[str, Any]]) -> None:
    golden: dict[str, Any] = {"keys": {}, "configs": []}
    for entry in entries:
        known = golden["keys"].setdefault(entry["attention"], [])
        known[:] = sorted({*known, *entry["config"]})
    for entry, told in zip(entries, answers, strict=True):
        kept = {key: entry[key] for key in ("model", "cluster", "nodes", "attention", "gpus")}
        if lacks := [key for key in golden["keys"][entry["attention"]] if key not in entry["config"]]:
            kept["lacks"] = lacks
        kept["neox"] = {key: value for key, value in told.items() if key not in ("deepspeed", "gpus")}
        kept["neox"]["deepspeed"] = files.digest(told["deepspeed"])
        golden["configs"].append(kept)
    rows = ",\n".join(f"  {json.dumps(one)}" for one in golden["configs"])
    text = f'{{\n "keys": {json.dumps(golden["keys"])},\n "configs": [\n{rows}\n ]\n}}\n'
    GOLDEN.write_text(text, encoding="utf-8")


def test_shipped_proxies_and_bad_configs(neox: Any, tmp_path: Path) -> None:
    jobs, names = [], shipped.names("proxies")
    hosts = tmp_path / "hosts"
    hostfile.write(hosts, {"here": 1})
    for name in names:
        jobs.append([str(shipped.find("proxies", name)), str(hosts)])
    text = shipped.find("proxies", "0-1M").read_text()
    for number, (old, new) in enumerate(
        [
            ("num_layers", "num_layer"),
            ("seed: 1234", "seed: 1234.5"),
            ("lr: 4.0e-3", "lr: 4e-3"),
            ("train_batch_size: 8", "train_batch_size: 12"),
        ]
    ):
        (tmp_path / f"bad{number}.yml").write_text(text.replace(old, new))
        jobs.append([str(tmp_path / f"bad{number}.yml"), str(hosts)])
    answer = probe(neox, jobs, tmp_path)
    for name, told in zip(names, answer["configs"], strict=False):
        assert told["train_batch_size"] == reader.load(shipped.find("proxies", name))["train_batch_size"]
    # what our checks refuse, GPT-NeoX refuses too
    assert all("error" in told for told in answer["configs"][len(names) :])


def test_our_list_of_keys_is_theirs(neox: Any, tmp_path: Path) -> None:
    assert sorted(probe(neox, [], tmp_path)["keys"]) == sorted(KEYS)


def deepy(neox: Any, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**neox.environment, "GPT_NEOX_DIR": str(neox.root), "GPT_NEOX_PYTHON": str(neox.python)}
    # Haigo itself must not run under the shim's sitecustomize, its child must: PYTHONPATH reaches both, which is harmless
    environment["PYTHONPATH"] = os.pathsep.join([environment["PYTHONPATH"], str(REPO)])
    return subprocess.run(
        [sys.executable, "-m", "launch.deepy", *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
        cwd=neox.root.parent,
    )


@pytest.mark.slow
def test_twenty_steps_on_a_two_corpus_mixture(neox: Any, tmp_path: Path) -> None:
    world = make_world(tmp_path)
    output = tmp_path / "run" / "tiny.yml"
    write_config(
        ConfigOptions(
            output=output,
            model="0-1M",
            cluster="local-cpu",
            mixture=world.mixture,
            catalogue=world.catalogue,
            tokens=20 * 8 * 128,
        )
    )
    done = deepy(neox, "train.py", str(output), "--log", str(tmp_path / "log.txt"))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    losses = [float(loss) for loss in re.findall(r"lm_loss: (\S+)", (tmp_path / "log.txt").read_text())]
    assert len(losses) == 20 and losses[-1] < losses[0] - 1
    (row,) = plan_calibrate.read(tmp_path / "log.txt", plan_stacks.STACKS["gpt-neox"])
    assert (row.micro, row.accumulation, row.split.data, row.shape.seq_length) == (
        8,
        1,
        1,
        128,
    ) and row.tokens_per_s > 0
    folder = tmp_path / "run" / "checkpoints" / "tiny"
    assert (folder / "latest").read_text() == "global_step20"
    # both corpora were read, in the proportion of their weights (GPT-NeoX's index caches tell how many samples each gave)
    asked = {}
    for corpus in ("news", "code"):
        cache = next(world.prefix(corpus).parent.glob("train*_doc_idx.npy")).name
        asked[corpus] = int(cache.partition("indexmap_")[2].partition("ns_")[0])
    assert asked == {"news": 121, "code": 41}  # ceil(160 * weight * 1.005)


@pytest.mark.slow
def test_a_config_that_fails_inside_gpt_neox_gives_its_exit_code(neox: Any, tmp_path: Path) -> None:
    world = make_world(tmp_path)
    output = tmp_path / "run" / "tiny.yml"
    made = write_config(
        ConfigOptions(
            output=output,
            model="0-1M",
            cluster="local-cpu",
            mixture=world.mixture,
            catalogue=world.catalogue,
            tokens=20_480,
        )
    )
    bad = {**made["config"], "norm": "layernorm", "init_method": "small_init", "num_layers": 0}
    yamlfile.write(output, bad)
    done = deepy(neox, "train.py", str(output), "--no-preflight")
    assert done.returncode == 1
    assert "GPT-NeoX ended with 1" in done.stderr
    bad["no_such_key"] = 1
    yamlfile.write(output, bad)
    done = deepy(neox, "train.py", str(output))
    assert done.returncode == 3 and "no_such_key" in done.stderr
