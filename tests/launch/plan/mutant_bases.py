"""Sound configs of every kind that launch.configs writes, in a small world: what mutants.py changes."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import other_tokenizers
import yaml
from neox_world import World, sentences, write_weights

from haigo import cli, yamlfile
from haigo.cli import Refused
from launch.plan import phases
from launch.plan.config import Written, make_config
from launch.plan.options import ConfigOptions
from launch.train import record
from neox_configs import catalogue, reader, shipped
from preprocess import clean, index, pairs, tokenizer

Config = dict[str, Any]
_PHASES = [
    {"tokens": 40960, "weights": {"news": 0.75, "code": 0.25}},
    {"tokens": 20480, "weights": {"news": 0.3, "code": 0.7}, "schedule": "decay"},
]


class Bases:
    """The configs by name; paths start in the world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.made: dict[str, Config] = {}
        self.small: Config = {"model": "0-1M", "cluster": "local-cpu"}
        self.common = {"mixture": world.mixture, "catalogue": world.catalogue, "seq_length": 128, "tokens": 20_480_000}

    def add(self, name: str, **options: Any) -> Config:
        output = self.world.root / "run" / f"{name}.yml"
        written = make_config(ConfigOptions(**{"output": output, **options}))
        return self.keep(name, written, options.get("nodes", 1))

    def keep(self, name: str, written: Written, nodes: int = 1) -> Config:
        hosts = self.world.root / f"hosts-{name}"
        hosts.write_text("".join(f"node{number} slots={written.gpus // nodes}\n" for number in range(nodes)))
        more = {"hostfile": hosts.name} if len(self.made) % 2 else {"global_num_gpus": written.gpus}
        self.made[name] = _inside(self.world.root, written.config) | more
        return written.config

    def models(self) -> None:
        """Every shipped model, on some kinds of machines."""
        for model in sorted(shipped.names("models"), key=lambda name: ("-" in name, name)):
            try:
                self.add(model, **self.common, model=model, cluster="a100-40gb", nodes=8)
            except Refused:  # no formula for it yet: its shape in the place of another
                self.made[model] = self.made["7B"] | reader.load(shipped.find("models", model))
                del self.made[model]["train_batch_size"]
        self.add("13B-few", **self.common, model="13B", cluster="a100-40gb", nodes=2)
        self.add("2-7B-flash", **self.common, model="2-7B", cluster="h100-80gb", nodes=2, attention="flash")

    def recipes(self) -> None:
        """Every recipe, from checkpoints that look right, as preflight sees them."""
        root, common = self.world.root, {**self.common, **self.small}
        small = self.add("0-1M", **common)
        for name, length in (("start", 128), ("long", 256)):
            _checkpoint(root / name, {**small, "max_position_embeddings": length}, 10)
        self.add("continued", recipe="continued", start=root / "start", **common)
        self.add("long-context", recipe="long-context", **{**common, "seq_length": 256, "start": root / "long"})
        examples = {**self.small, "catalogue": self.world.catalogue, "seq_length": 128, "start": root / "start"}
        for recipe, made in {"finetune": "sft", "dpo": "dpo", "kto": "kto", "reward": "rm"}.items():
            sets = {f"{split}_pairs": _pairs(self.world, made, split) for split in ("train", "valid")}
            self.add(recipe, recipe=recipe, **examples, **sets)
            if recipe == "dpo":
                config = self.add("dpo-scores", recipe=recipe, reference="before", **examples, **sets)
                for each in (paths for key, paths in config.items() if key.endswith("_data_paths")):
                    Path(f"{each[0]}_before.bin").touch()

    def schedules(self) -> None:
        """A constant rate, its decay, and a run in phases."""
        root, common = self.world.root, {**self.common, **self.small}
        stable = self.add("wsd", **{**common, "tokens": 60 * 8 * 128, "schedule": "wsd"})
        folder = Path(stable["save"])
        _checkpoint(folder, stable, 40)
        record.note_start(folder, record.stream(stable, ".", 8), 0, 1, ["x"])
        self.add("decay", recipe="decay", start=folder, decay=1 / 3)
        mixture, output = root / "phases.yml", root / "run" / "phases.yml"
        yamlfile.write(mixture, {"phases": _PHASES})
        planned = phases.plan(
            ConfigOptions(**self.small, catalogue=self.world.catalogue, mixture=mixture, output=output)
        )
        phases.write(planned, output)
        for number, written in enumerate(planned.configs, 1):
            self.keep(f"phase-{number}", written)
        _checkpoint(Path(planned.configs[0].config["save"]), planned.configs[0].config, 40)

    def tokenizers(self) -> None:
        """A tokenizer of another project, and data that were indexed with it."""
        for kind in ("gpt2", "unigram"):
            known = _adopted(self.world.root / kind, kind)
            self.add(f"adopted-{kind}", **{**self.common, **self.small, "catalogue": known})
        self.add("adopted-1-3B", **{**self.common, "catalogue": known}, model="1-3B", cluster="a100-40gb")


def bases(world: World) -> dict[str, Config]:
    """Configs that launch.configs writes, of every shipped model, recipe, schedule, tokenizer and kind of machine."""
    every = Bases(world)
    with contextlib.redirect_stdout(io.StringIO()):
        for make in (every.models, every.recipes, every.schedules, every.tokenizers):
            make()
    return every.made


def _checkpoint(folder: Path, config: Config, step: int) -> None:
    place = folder / f"global_step{step}"
    write_weights(place)
    (place / "configs").mkdir()
    (place / "configs" / "config.yml").write_text(dumped(config))
    (folder / "latest").write_text(place.name)


def _pairs(world: World, kind: str, split: str) -> Path:
    """Examples to finetune on, or preferences: the rejected answer is the chosen one backwards."""
    source, prefix = world.root / f"{kind}-{split}.jsonl", world.root / kind / split
    texts = [one for one in sentences({"train": 11, "valid": 12}[split], 200) if len(one) > 60]
    rows: list[dict[str, str]] = [{"prompt": one[:20], "response": one[20:60]} for one in texts]
    if kind != "sft":
        rows = [{"prompt": one[:20], "chosen": one[20:60], "rejected": one[60:19:-1]} for one in texts]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    how: dict[str, Any] = {"pack": True} if kind == "sft" else {"preference": kind}
    pairs.build([source], world.root / "tokenizer", prefix, seq_length=128, **how)
    return prefix


def _adopted(root: Path, kind: str) -> Path:
    """The catalogue of data that were indexed with a tokenizer.json of that kind."""
    other = other_tokenizers.make(kind, root / "theirs")
    source, sets = root / "raw.jsonl", dict[str, dict[str, Path]]()
    source.write_text("".join(json.dumps({"id": str(n), "text": one}) + "\n" for n, one in enumerate(sentences(3, 20))))
    clean.clean_corpus("a", [source], root / "clean")
    argv = [str(root / "clean"), "--adopt", str(other.folder), "--eod-piece", other.end]
    with contextlib.redirect_stderr(io.StringIO()):
        assert cli.run(tokenizer.main, [*argv, "--output-dir", str(root / "tokenizer")]) == 0
    for seed, name in ((1, "news"), (2, "code")):
        for split, count in (("train", 100), ("valid", 30), ("test", 30)):
            source = root / f"{name}-{split}.jsonl"
            source.write_text("".join(json.dumps({"text": one}) + "\n" for one in sentences(seed, count)))
            index.index([source], root / "tokenizer", root / "data" / name / split)
            sets.setdefault(name, {})[split] = root / "data" / name / f"{split}_text_document"
    catalogue.write(root / "corpora.yml", root / "tokenizer", sets)
    return root / "corpora.yml"


def _inside(root: Path, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _inside(root, each) for key, each in value.items()}
    if isinstance(value, list):
        return [_inside(root, each) for each in value]
    return value.replace(f"{root}/", "") if isinstance(value, str) else value


def dumped(config: Mapping[str, Any]) -> str:
    """The config as YAML in which PyYAML reads every number as one."""
    return yaml.dump(dict(config), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """With a dot in every float, and text that only looks like a number as it came."""


def _float(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    text = yaml.SafeDumper.represent_float(dumper, value).value
    mantissa, e, exponent = text.partition("e")
    return dumper.represent_scalar(
        "tag:yaml.org,2002:float", mantissa + (".0" if e and "." not in mantissa else "") + e + exponent
    )


_Dumper.add_representer(float, _float)
