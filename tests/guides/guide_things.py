"""What the readers of guides have before they begin, and no command of the guides can make.

What servers send, what GPUs trained (in GPT-NeoX's own layout, by `convert_world`), benchmark files that are fetched by hand.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import guide_web
import yaml

from haigo import cli
from launch import stretch


@contextlib.contextmanager
def given(name: str, folder: Path) -> Iterator[None]:
    """The things of guide `name`, in `folder`, while it is walked."""
    if name == "corpora":
        with guide_web.internet() as web:
            yield
        assert {request.headers["User-Agent"].split()[-1] for request in web.requests} == {"you@example.org)"}
        return
    if name in MAKERS:
        MAKERS[name](folder)
    yield


def raw(folder: Path) -> None:
    """News, with one article twice, and a MediaWiki dump."""
    from examples.world.build import build

    build(folder / "raw", 7, 0.4, lambda line: None)
    (folder / "raw" / "encyclopedia").rename(folder / "raw" / "wiki")
    news = folder / "raw" / "news" / "news.jsonl.gz"
    longest = max(gzip.decompress(news.read_bytes()).splitlines(), key=len)
    again = json.dumps({**json.loads(longest), "id": "again"}, ensure_ascii=False)
    news.write_bytes(news.read_bytes() + gzip.compress(f"{again}\n".encode()))


def losses(folder: Path, ratios: str, metrics: str, names: list[str], sizes: dict[str, float] | None = None) -> None:
    """A table of runs that somebody trained: losses that fall with the share of each corpus, and a little with the others'."""
    rng = random.Random(4)
    header, *body = (folder / ratios).read_text().splitlines()
    columns = header.split(",")[1:]
    text = "run," + ",".join(f"{name}_bpb" for name in names) + ",size,tokens,seed\n"
    for line in body:
        run, *shares = line.split(",")
        of = dict(zip(columns, map(float, shares), strict=True))
        made = [1 + 0.5 * (of[name] + 0.02) ** -0.15 + 0.1 * of[columns[0]] + rng.gauss(0, 0.001) for name in names]
        text += f"{run}," + ",".join(f"{each:.5f}" for each in made) + ",1122144,300000,1\n"
    (folder / metrics).write_text(text)


def catalogue(folder: Path, names: list[str], tokenizer: str = "tok") -> None:
    corpora = {
        name: {split: f"data/{name}/{split}_text_document" for split in ("train", "valid", "test")} for name in names
    }
    (folder / "corpora.yml").write_text(yaml.safe_dump({"tokenizer": tokenizer, "corpora": corpora}))


def trained(
    folder: Path, save: str, log: str, tok: str = "tok", corpora: tuple[str, ...] = ("news", "wiki"), step: int = 4
) -> None:
    """A run that GPUs have trained: a checkpoint of GPT-NeoX's, and a log that tells the loss of its weights."""
    import convert_world
    from neox_world import World
    from test_convert import log_of

    from haigo.formats import tokenizer

    first, *_ = [folder / f"data/{name}/train_text_document" for name in corpora]
    paths = {
        "train_data_paths": [str(folder / f"data/{name}/train_text_document") for name in corpora],
        "valid_data_paths": [str(first)],
        "test_data_paths": [str(first)],
    }
    world = World(folder, folder / "corpora.yml", folder / "mixture.yml", {})
    length = {"seq_length": 512, "max_position_embeddings": 512, "train_iters": step + 2, "lr_decay_iters": step + 2}
    vocabulary = str(folder / tok / "spm.model")
    config = convert_world.config(world, folder / save, **paths, **length, vocab_file=vocabulary)
    rows = convert_world.padded(tokenizer.load(folder / tok).vocab_size, config)
    convert_world.write_checkpoint(folder / save, config, convert_world.weights(rows), step)
    measured = folder / "measured"
    told = convert_world.converted(folder / save, measured, check=True)
    (loss,) = told["losses"]
    (folder / log).parent.mkdir(parents=True, exist_ok=True)
    text = log_of(folder / log, {5: float(loss["text"].split()[0])}).read_text()
    here = f"{step + 1:8d}/{step + 2:8d}"
    lines = [
        line.replace(f"{5:8d}/{6:8d}", here) for line in text.splitlines() if f"{5:8d}/" in line or "start" in line
    ]
    (folder / log).write_text("".join(f"{line}\n" for line in lines))
    shutil.rmtree(measured)


def readme(folder: Path) -> None:
    """Raw text, a supply, a blend, a hostfile, the leaderboard's files."""
    import synthetic_jglue

    raw(folder)
    (folder / "supply.csv").write_text("corpus,tokens,min,max,max_epochs,group\nnews,8e9,,,4,\nwiki,21e9,0.05,,,\n")
    (folder / "train_data.sh").write_text(
        "DATA_PATH=(\n  300 data/news_text_document\n  100 data/wiki_text_document\n)\n"
    )
    (folder / "hostfile").write_text("node01 slots=4\nnode02 slots=4\n")
    synthetic_jglue.write(folder / "JGLUE")


def mixture(folder: Path) -> None:
    """The answer of a search over other people's runs."""
    weights = {"news": 0.08, "wiki": 0.6083, "books": 0.1094, "code": 0.2023}
    (folder / "mixture.yml").write_text(yaml.safe_dump({"weights": weights, "objective": {"news_bpb": 1.0}}))


def milestone(folder: Path, config: str, step: int) -> None:
    """A checkpoint that GPUs have left of the run of `config`, kept for good."""
    from neox_world import write_weights

    run = yaml.safe_load((folder / config).read_text())
    place = Path(run["save"]) / "milestones" / f"global_step{step}"
    write_weights(place)
    (place / "configs").mkdir()
    shutil.copy(folder / config, place / "configs")


def regmix(folder: Path) -> None:
    """Two tables in RegMix's form: its names of columns, losses of our own."""
    names = [f"train_the_pile_{name}" for name in ("pile_cc", "arxiv", "wikipedia_en", "github")]
    rng, shares, losses = (
        random.Random(2),
        "index," + ",".join(names) + "\n",
        "index,metric/the_pile_pile_cc_val_loss\n",
    )
    for run in range(40):
        drawn = [rng.expovariate(1) for _ in names]
        part = [each / sum(drawn) for each in drawn]
        shares += f"{run}," + ",".join(f"{each:.6f}" for each in part) + "\n"
        losses += f"{run},{4 + 0.8 * (part[0] + 0.05) ** -0.2 + 0.1 * part[1] + rng.gauss(0, 0.002):.5f}\n"
    (folder / "train_mixture_1m.csv").write_text(shares)
    (folder / "train_pile_loss_1m.csv").write_text(losses)


def small_models(folder: Path) -> None:
    jsts(folder / "jglue" / "jsts-valid-v1.1.json")


def jsts(place: Path) -> None:
    """JSTS's pairs of sentences."""
    one, other = "川の水が増えた。", "駅で人が待つ。"
    rows = [{"sentence_pair_id": str(n), "sentence1": one * (1 + n % 2), "sentence2": other * (1 + n % 3), "label": n % 5}
            for n in range(8)]  # fmt: skip
    place.parent.mkdir(parents=True)
    place.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def benchmarks(folder: Path) -> None:
    """Benchmark files of ours in the published forms, held-out articles, and models that GPUs trained."""
    import convert_world
    import synthetic_jglue
    import synthetic_llm_jp
    import synthetic_others
    from neox_world import World
    from test_eval_cloze import story

    from haigo.formats import tokenizer

    synthetic_others.write(synthetic_jglue.write(folder / "bench"))
    jsts(folder / "bench" / "jsts-v1.1" / "valid-v1.1.json")
    synthetic_llm_jp.write(folder / "dataset" / "1.3.0")
    rng = random.Random(5)
    articles = [{"id": f"n{n}", "title": f"市場の便り第{n}号", "text": story(rng)} for n in range(120)]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in articles)
    (folder / "news.jsonl").write_text(lines, encoding="utf-8")
    config = folder / "models" / "1-3B" / "config.json"  # as long as the real one; positions are rotary
    config.write_text(json.dumps({**json.loads(config.read_text()), "max_position_embeddings": 2048}))
    for name in ("13B", "1-3B-sft"):
        shutil.copytree(folder / "models" / "1-3B", folder / "models" / name)
    chat = "{% for turn in messages %}{{ turn.role }}: {{ turn.content }}\n{% endfor %}assistant: "
    (folder / "models" / "1-3B-sft" / "chat_template.jinja").write_text(chat)
    length = {"seq_length": 512, "max_position_embeddings": 512}
    for seed, name in enumerate(("x", "y")):
        save = folder / "checkpoints" / name
        world = World(folder, folder / "corpora.yml", folder / "mixture.yml", {})
        config = convert_world.config(world, save, vocab_file=str(folder / "tok" / "spm.model"), **length)
        rows = convert_world.padded(tokenizer.load(folder / "tok").vocab_size, config)
        for step in (10000, 20000):
            convert_world.write_checkpoint(save, config, convert_world.weights(rows, seed=seed), step)


def swarms(folder: Path) -> None:
    """JGLUE's files."""
    import synthetic_jglue

    synthetic_jglue.write(folder / "JGLUE")


def finetune(folder: Path) -> None:
    """A trained 1-3B, examples to finetune on, and Haigo's checkout beside."""
    from launch import configs

    mixture(folder)
    (folder.parent / "haigo").symlink_to(Path(__file__).parent.parent.parent)
    for name in ("train", "valid"):
        chats = [{"prompt": f"{n}番の駅は？", "response": f"{n}番は川沿いの駅です。" * 20} for n in range(800)]
        pairs = [{"prompt": f"{n}の次は？", "chosen": f"{n + 1}です。", "rejected": f"{n}です。"} for n in range(300)]
        for kind, rows in (("sft", chats), ("dpo", pairs)):
            path = folder / kind / f"{name}.jsonl"
            path.parent.mkdir(exist_ok=True)
            path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    words = ["--model", "1-3B", "--cluster", "a100-40gb", "--tokens", "20e9", "--mixture", str(folder / "mixture.yml"),
             "--catalogue", str(folder / "corpora.yml"), "--save", str(folder / "checkpoints" / "1-3B"),
             "--output", str(folder / "base.yml")]  # fmt: skip
    assert cli.run(configs.main, words) == cli.OK
    checkpoint(folder, "base.yml", 100)


def published(folder: Path) -> None:
    """A model of Hugging Face with its tokenizer, as `hf download` brings it."""
    from neox_world import LOSSLESS, sentences, train_tokenizer
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    train_tokenizer(folder / "rinna", sentences(1, 400), eod="</s>", **LOSSLESS)
    (folder / "rinna" / "spm.model").rename(folder / "rinna" / "spiece.model")
    shape = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 256}
    ids = {"vocab_size": 300, "bos_token_id": 1, "eos_token_id": 1}
    GPTNeoXForCausalLM(GPTNeoXConfig(**shape, **ids, max_position_embeddings=2048)).save_pretrained(folder / "rinna")


def cluster(folder: Path) -> None:
    """What PBS tells a job, and the part of a checkout of GPT-NeoX in which its keys stand."""
    (folder / "nodes.txt").write_text("node01\nnode02\n")
    arguments = folder / "gpt-neox" / "megatron" / "neox_arguments"
    arguments.mkdir(parents=True)
    (arguments / "neox_args.py").write_text("class NeoXArgsModel:\n    num_layers: int = None\n    lr: float = 0.1\n")


def checkpoint(folder: Path, config: str, step: int) -> None:
    """A checkpoint that GPUs have left of the run of `config`."""
    from test_config_recipes import stretchable

    run = yaml.safe_load((folder / config).read_text())
    place = Path(run["save"]) / f"global_step{step}"
    (place / "configs").mkdir(parents=True)
    stretchable(place, run["max_position_embeddings"])
    shutil.copy(folder / config, place / "configs")
    (place.parent / "latest").write_text(place.name)


def meanwhile(name: str, line: str, folder: Path) -> None:
    """What the reader does between two lines of a guide: train the runs of a table, wait for the GPUs."""
    if name == "README" and "--metrics metrics.csv" in line:
        losses(folder, "ratios.csv", "metrics.csv", ["news", "wiki"])
    if name == "README" and "launch.configs" in line:
        index_all(folder, ["news", "wiki"])
        catalogue(folder, ["news", "wiki"])
    if name == "README" and "launch.convert" in line:
        trained(folder, "checkpoints/1-3B", "train.log")

    if name == "a100" and "--recipe decay" in line:
        milestone(folder, "configs/1-3B-wsd.yml", 17167)
    if name == "a100" and line.startswith("python -m launch.convert configs"):
        trained(folder, "configs/checkpoints/1-3B", "train.log")
    if name == "finetune" and "--adopt rinna" in line:
        published(folder)
    if name == "finetune" and "--recipe dpo" in line:
        checkpoint(folder, "configs/1-3B-sft.yml", 100)
    if name == "finetune" and "--recipe long-context" in line:
        stretch.stretch(folder / "checkpoints" / "1-3B", 4096, folder / "checkpoints" / "1-3B-4k", Path(sys.executable))
    if name == "finetune" and "launch.convert configs" in line:
        shutil.rmtree(folder / "configs" / "checkpoints")
        trained(folder, "configs/checkpoints/1-3B-sft", "train.log")
    if name == "neox-cpu" and "launch.convert" in line:
        trained(folder, "neox/checkpoints/small", "neox/train.log", step=19)


def index_all(folder: Path, names: list[str]) -> None:
    """The datasets that a guide leaves to its reader: "and the other splits and corpora"."""
    from preprocess import index

    for name in names:
        for split in ("train", "valid", "test"):
            prefix = folder / "data" / name / split
            if not Path(f"{prefix}_text_document.idx").exists():
                words = [
                    str(folder / "final" / name / split),
                    "--tokenizer",
                    str(folder / "tok"),
                    "--output-prefix",
                    str(prefix),
                ]
                assert cli.run(index.main, words) == cli.OK


MAKERS: dict[str, Any] = {
    "README": readme,
    "a100": mixture,
    "neox-cpu": mixture,
    "mixture": regmix,
    "small-models": small_models,
    "eval": benchmarks,
    "swarms": swarms,
    "finetune": finetune,
    "cluster": cluster,
}
