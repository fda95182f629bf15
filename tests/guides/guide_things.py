"""What the readers of guides have before they begin, and no command of the guides can make.

What servers send, what GPUs trained (in GPT-NeoX's own layout, by `convert_world`), benchmark files that are fetched by hand.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import guide_web
import yaml

from haigo import cli


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


def trained(folder: Path, save: str, log: str, tok: str = "tok", corpora: tuple[str, ...] = ("news", "wiki")) -> None:
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
    length = {"seq_length": 512, "max_position_embeddings": 512, "vocab_file": str(folder / tok / "spm.model")}
    config = convert_world.config(world, folder / save, **paths, **length)
    rows = convert_world.padded(tokenizer.load(folder / tok).vocab_size, config)
    convert_world.write_checkpoint(folder / save, config, convert_world.weights(rows))
    measured = folder / "measured"
    told = convert_world.converted(folder / save, measured, check=True)
    (loss,) = told["losses"]
    (folder / log).parent.mkdir(parents=True, exist_ok=True)
    lines = log_of(folder / log, {5: float(loss["text"].split()[0])}).read_text().splitlines()
    (folder / log).write_text("".join(f"{line}\n" for line in lines if "validation" not in line))
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


def meanwhile(name: str, line: str, folder: Path) -> None:
    """What the reader does between two lines of a guide: train the runs of a table, wait for the GPUs."""
    if name == "README" and "--metrics metrics.csv" in line:
        losses(folder, "ratios.csv", "metrics.csv", ["news", "wiki"])
    if name == "README" and "launch.configs" in line:
        index_all(folder, ["news", "wiki"])
        catalogue(folder, ["news", "wiki"])
    if name == "README" and "launch.convert" in line:
        trained(folder, "checkpoints/1-3B", "train.log")


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


MAKERS: dict[str, Any] = {"README": readme}
