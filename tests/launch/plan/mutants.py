"""Configs with something changed, drawn by seed: what NeoXArgs makes of each is asked of the real one, and held against
launch.preflight.

    python tests/launch/plan/mutants.py --count 5000 --seed 1          # a search for differences, with GPT_NEOX_DIR ... set
    python tests/launch/plan/mutants.py --golden                       # writes golden_verdicts.json

`wild` changes anything: types, ranges, missing and conflicting keys, other names, nested blocks. `right` changes what somebody
may well change, to values that train as they read.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[2]), str(HERE.parents[1]), str(HERE.parent)]

from mutant_bases import Config, bases, dumped  # noqa: E402
from neox_world import LOSSLESS, make_world  # noqa: E402
from right_changes import right  # noqa: E402

from haigo import cli  # noqa: E402
from launch.plan import preflight  # noqa: E402
from neox_configs import keys, spellings  # noqa: E402

GOLDEN = HERE.parent / "golden_verdicts.json"


class Mutant(NamedTuple):
    """A changed config, and how."""

    base: str
    config: Config
    how: str


def wild(rng: random.Random, name: str, base: Config) -> Mutant:
    """One to three changes of any kind."""
    config = copy.deepcopy(base)
    how = [rng.choice(_WAYS)(rng, config) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
    return Mutant(name, config, "; ".join(how))


def _other(rng: random.Random, value: Any) -> Any:
    """A value of another type or size."""
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else rng.choice((0, 1, 2.5, 64))
    return rng.choice((
        str(value), "", "auto", "none", "1e-4", None, True, False, [], {}, [value], {"enabled": True}, {"type": "Adam"},
        0, 1, 2, 3, -1, 0.5, 1.0, 1.5, float(number), int(number), -number, number * 2, number * 7, number / 3, 10**12, 1e30,
        ["a", "b"], [1.0], [["global"], 2], [[["global"], "all"]],
    ))  # fmt: skip


def _type(rng: random.Random, config: Config) -> str:
    key = rng.choice([*config])
    config[key] = _other(rng, config[key])
    return f"{key} = {config[key]!r}"


def _added(rng: random.Random, config: Config) -> str:
    """Any key that GPT-NeoX knows, with a value that may be of its type."""
    key = rng.choice([*keys.SHIPPED])
    known = keys.SHIPPED[key]
    own: dict[str, tuple[Any, ...]] = {
        "int": (0, 1, 2, 3, 8, 1000), "float": (0.0, 0.1, 0.5, 1.0, 2.0), "bool": (True, False),
        "str": ("a", "", "x/y"), "list": ([], ["a"], [1], [0.5]), "dict": ({}, {"enabled": True}, {"enabled": False}),
    }  # fmt: skip
    pool = [value for kind in known.kind.split("|") for value in own.get(kind, ())] + known.choices
    config[key] = rng.choice(pool) if pool and rng.random() < 0.8 else _other(rng, known.default)
    return f"{key} = {config[key]!r}"


def _missing(rng: random.Random, config: Config) -> str:
    key = rng.choice([*config])
    del config[key]
    return f"without {key}"


def _renamed(rng: random.Random, config: Config) -> str:
    """Another name: of another program, of an old edition, mistyped, or with hyphens (which is the same key)."""
    key = rng.choice([*config])
    others = [one for one, meant in spellings.ELSEWHERE.items() if meant == key]
    others += [one for one, gone in keys.GONE.items() if gone.successor == key]
    at = rng.randrange(len(key))
    name = rng.choice(
        [*others, key[:at] + key[at + 1 :], key[:at] + rng.choice("aex_") + key[at:], key.replace("_", "-")]
    )
    config[name] = config.pop(key)
    return f"{key} -> {name}"


_CONFLICTS: tuple[Config, ...] = (
    {"fp16": {"enabled": True}}, {"bf16": {"enabled": True}}, {"precision": "fp16"}, {"fp16": {"loss_scale": 0}},
    {"fp16": {"enabled": True}, "precision": "fp16"}, {"bf16": {"enabled": False}}, {"train_epochs": 1},
    {"train_epochs": 1, "train_iters": None}, {"data_path": "data/news/train_text_document"},
    {"valid_data_paths": None}, {"train_data_weights": [1.0]}, {"test_data_weights": [0.5, 0.25, 0.25]},
    {"expansion_factor": 4.0, "intermediate_size": 8192}, {"num_kv_heads": 3}, {"num_kv_heads": 2, "sparsity_config": {"a": 1}},
    {"num_unique_layers": 5}, {"model_parallel_size": 3}, {"pipe_parallel_size": 3}, {"pipe_parallel_size": 2, "eval_iters": 0},
    {"train_batch_size": 7}, {"train_micro_batch_size_per_gpu": None}, {"gradient_accumulation_steps": None},
    {"train_batch_size": None, "train_micro_batch_size_per_gpu": None}, {"min_lr": 1.0}, {"max_position_embeddings": 16},
    {"seq_length": 4096}, {"hidden_size": 100}, {"num_attention_heads": 7}, {"override_lr_scheduler": True,
    "use_checkpoint_lr_scheduler": True}, {"checkpoint_factor": None}, {"checkpoint_factor": None, "extra_save_iters": [5]},
    {"use_mup": True}, {"optimizer": {"type": "OneBitAdam", "params": {"lr": 1.0e-4}}, "zero_optimization": {"stage": 0}},
    {"optimizer": {"type": "OneBitAdam", "params": {"lr": 1.0e-4}}, "train_iters": None}, {"fp16_lm_cross_entropy": True},
    {"train_label_data_paths": ["data/news/train_text_document"]}, {"train_impl": "dpo", "pipe_parallel_size": 2},
    {"train_impl": "kto", "train_micro_batch_size_per_gpu": 1}, {"norm": "non_parametric_layernorm", "layernorm_fusion": True},
    {"activation": "gelu", "onnx_safe": True, "bias_gelu_fusion": True}, {"adlr_autoresume": True}, {"deepspeed": False},
    {"moe_num_experts": 4}, {"moe_num_experts": 4, "zero_optimization": {"stage": 3}}, {"autotuning": {"enabled": True}},
    {"autotuning": {"enabled": True}, "train_batch_size": "auto"}, {"zero_optimization": {"stage": "auto"}},
    {"deepspeed_slurm": True, "launcher": "slurm"}, {"deepspeed_mpi": True}, {"global_num_gpus": 6},
    {"train_impl": "normal"}, {"train_impl": "rm"}, {"train_impl": "kto"}, {"train_impl": "dpo"}, {"pack_impl": "packed"},
    {"allow_chopped": True, "pack_impl": "unpacked"}, {"neg_train_data_paths": None}, {"pos_valid_label_data_paths": None},
    {"train_reward_data_paths": None}, {"precompute_model_name": "other"}, {"dpo_reference_free": True}, {"exit_interval": 3},
    {"override_lr_scheduler": False}, {"iteration": 3}, {"lr_decay_iters": 1}, {"train_iters": 7}, {"seed": 7},
    {"tokenizer_type": "HFTokenizer"}, {"tokenizer_type": "SPMTokenizer"}, {"tokenizer_type": "GPT2BPETokenizer"},
    {"vocab_file": "tokenizer/spm.model"}, {"vocab_file": None}, {"vocab_file": "gpt2/theirs/tokenizer.json"},
)  # fmt: skip


def _conflicting(rng: random.Random, config: Config) -> str:
    changes = rng.choice(_CONFLICTS)
    config.update(copy.deepcopy(changes))
    return f"{changes}"


_BLOCKS = {
    "optimizer": ("type", "params", "lr", "betas"),
    "optimizer.params": ("lr", "betas", "eps", "weight_decay", "momentum", "max_grad_norm"),
    "zero_optimization": ("stage", "overlap_comm", "reduce_bucket_size", "offload_optimizer", "cpu_offload", "stages"),
    "fp16": ("enabled", "loss_scale", "initial_scale_power", "hysteresis", "type", "min_loss_scale"),
    "bf16": ("enabled", "immediate_grad_update"),
    "data_types": ("grad_accum_dtype", "dtype"),
    "deepspeed_extra_args": ("gradient_clipping", "bf16", "train_batch_size", "zero_allow_untested_optimizer"),
    "scheduler": ("type", "params"),
    "flops_profiler": ("enabled", "profile_step"),
    "amp": ("enabled", "opt_level"),
    "attention_config": (),
}


def _nested(rng: random.Random, config: Config) -> str:
    """Something inside a block: changed, taken out, added, or the whole block of another shape."""
    name = rng.choice([*_BLOCKS])
    block: Any = config
    for part in name.split("."):
        block = block.get(part) if isinstance(block, dict) else None
    if name == "attention_config":
        layers = config.get("num_layers")
        layers = layers if isinstance(layers, int) else 4
        config[name] = rng.choice((
            [[["global"], layers]], [[["global"], layers + 1]], [[["global"], "all"]], [[["global", "local"], "all"]],
            ["global"],
            ["global"] * min(layers, 99), [[["flash"], layers]], [[["glob"], layers]], [["global", layers]], [[["global"]]],
            [[]],
            [[["global"], str(layers)]], [[["sparse_fixed"], "all"]], [[["mamba"], "all"]], [[["rwkv"], layers]], [1, 2],
            [[["gmlp"], layers]], [[["global"], layers - 1], [["local"], 1]], [[["global"], 0]], [[["global", "flash"], "al"]],
        ))  # fmt: skip
        return f"{name} = {config[name]!r}"[:90]
    if not isinstance(block, dict):
        if "." in name:
            return _type(rng, config)
        block = config[name] = {}
    key = rng.choice([*block, *_BLOCKS[name]])
    if key in block and rng.random() < 0.3:
        del block[key]
        return f"without {name}.{key}"
    block[key] = _other(rng, block.get(key, rng.choice((True, 1, "x", 0.1))))
    return f"{name}.{key} = {block[key]!r}"


_WAYS: tuple[Callable[[random.Random, Config], str], ...] = (
    *(_type, _type, _added, _added, _missing, _renamed, _conflicting, _conflicting, _nested, _nested),
)


def drawn(kind: str, made: Mapping[str, Config], count: int, seed: int) -> Iterator[Mutant]:
    """`count` mutants, `wild` or `right`."""
    rng = random.Random(seed)
    names = sorted(made)
    for _ in range(count):
        name = rng.choice(names)
        if kind == "wild":
            yield wild(rng, name, made[name])
        else:
            config, how = right(rng, made[name])
            yield Mutant(name, config, how)


def written(mutants: list[Mutant], folder: Path) -> list[Path]:
    """A file for each."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number}.yml" for number in range(len(mutants))]
    for path, mutant in zip(paths, mutants, strict=True):
        path.write_text(dumped(mutant.config), encoding="utf-8")
    return paths


def theirs(
    paths: list[Path], root: Path, python: str, checkout: Path, environ: Mapping[str, str], place: Path
) -> list[str]:
    """What the real NeoXArgs says of each: nothing, or its error."""
    fake = root / "site" / "flash_attn-2.7.4.dist-info"
    fake.mkdir(parents=True, exist_ok=True)
    (fake / "METADATA").write_text("Metadata-Version: 2.1\nName: flash-attn\nVersion: 2.7.4\n")
    inside = os.pathsep.join([environ.get("PYTHONPATH", ""), str(checkout), str(fake.parent)])
    done = subprocess.run(
        [python, str(HERE.parent / "neox_verdicts.py")],
        input="\n".join(map(str, paths)),
        env={**environ, "PYTHONPATH": inside, "HOME": str(root)},
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        timeout=3600,
    )
    lines = [line.removeprefix("VERDICT ") for line in done.stdout.splitlines() if line.startswith("VERDICT ")]
    assert len(lines) == len(paths), done.stderr[-3000:]
    return [json.loads(line) for line in lines]


def ours(path: Path, base: Path) -> tuple[int, list[str]]:
    """Exit code of launch.preflight --gpus 8, and what says no."""
    said: list[str] = []

    def run(argv: Any = None) -> int | None:
        report = preflight.preflight([path], gpus=8, base=base)
        said.extend(f"{check.name}: {check.found}" for check in report.failed)
        report.refuse(str(path))
        return None

    with contextlib.redirect_stderr(io.StringIO()) as err:
        code = cli.run(run, [])
    return code, said or [err.getvalue().strip().replace("\n", " ")[:300]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bases", nargs="+", help="of these alone")
    parser.add_argument("--golden", action="store_true")
    parser.add_argument("--show", type=int, default=40)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        world = make_world(root / "world", **LOSSLESS)
        made = bases(world)
        checkout, python = Path(os.environ["GPT_NEOX_DIR"]), os.environ["GPT_NEOX_PYTHON"]
        os.chdir(world.root)
        if options.golden:
            golden(made, root, python, checkout)
            return
        made = {name: config for name, config in made.items() if name in (options.bases or made)}
        for kind in ("wild", "right"):
            mutants = [*drawn(kind, made, options.count, options.seed)]
            paths = written(mutants, root / kind)
            verdicts = theirs(paths, root, python, checkout, os.environ, world.root)
            report(kind, mutants, paths, verdicts, world.root, options.show)


def golden(made: Mapping[str, Config], root: Path, python: str, checkout: Path) -> None:
    """Writes GOLDEN: the bases, wild mutants that NeoXArgs refuses (`theirs`: why), and right ones that it takes."""
    kept: dict[str, list[str]] = {}
    for kind, count, most in (("wild", 460, 250), ("right", 160, 160)):
        mutants = [*drawn(kind, made, count, 7)]
        verdicts = theirs(written(mutants, root / kind), root, python, checkout, os.environ, Path.cwd())
        rows = []
        for mutant, verdict in zip(mutants, verdicts, strict=True):
            base = made[mutant.base]
            changes = {
                key: value for key, value in mutant.config.items() if key not in base or not _same(base[key], value)
            }
            gone = [key for key in base if key not in mutant.config]
            said = verdict.splitlines()[0][:60] if verdict else ""
            row = {"base": mutant.base, "set": changes, "drop": gone, "theirs": said}
            if bool(verdict) == (kind == "wild"):
                rows.append(json.dumps(row))
        kept[kind] = rows[:most]
    lists = ",\n".join(f'"{kind}": [\n' + ",\n".join(rows) + "\n]" for kind, rows in kept.items())
    GOLDEN.write_text(f'{{"bases": {json.dumps(made)},\n{lists}}}\n', encoding="utf-8")
    print({kind: len(rows) for kind, rows in kept.items()}, GOLDEN.stat().st_size)


def _same(one: Any, other: Any) -> bool:
    return json.dumps(one) == json.dumps(other)  # 1 is not true here, nor 1.0


def report(kind: str, mutants: list[Mutant], paths: list[Path], verdicts: list[str], base: Path, show: int) -> None:
    """Where they differ."""
    table: Counter[tuple[bool, int]] = Counter()
    alarms: Counter[str] = Counter()
    shown = 0
    for mutant, path, verdict in zip(mutants, paths, verdicts, strict=True):
        code, said = ours(path, base)
        table[bool(verdict), code] += 1
        missed, alarm = bool(verdict) and code not in (2, 3), not verdict and code != 0
        if code >= 70 or missed or (kind == "right" and alarm):
            shown += 1
            if shown <= show:
                print(f"-- {mutant.base}: {mutant.how[:300]}\n   theirs: {verdict[:160]!r}")
                print(f"   ours: {code} {' | '.join(said)[:200]}")
        elif alarm:
            alarms[said[0].partition(":")[0]] += 1
            if os.environ.get("ALARMS") and os.environ["ALARMS"] in said[0]:
                print(f"-- {mutant.base}: {mutant.how}\n   ours: {code} {' | '.join(said)[:250]}")
        elif kind == "right" and verdict:
            alarms[verdict.splitlines()[0][:100]] += 1
    print(
        kind,
        "(refused by NeoXArgs, our code):",
        dict(sorted(table.items())),
        "accepted and refused by:",
        dict(alarms.most_common()),
    )


if __name__ == "__main__":
    main()
