"""GPT-NeoX's sample order: its rules one by one, golden digests of what its own loader gave, and the loader itself."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from shared_data import data_of

from haigo import yamlfile
from haigo.cli import HaigoError
from haigo.formats.dataset.indexed import MMapWriter
from launch import samples as samples_verb
from launch.neox import data_order, samples

DATA = data_of(__file__)

SEQ = 16


def write_dataset(prefix: Path, seed: int, documents: int, longest: int) -> str:
    """Random documents; no tokenizer needed."""
    random = np.random.RandomState(seed)
    with MMapWriter(prefix, np.uint16) as writer:
        for _ in range(documents):
            writer.add(random.randint(2, 500, size=random.randint(1, longest)))
            writer.end_document()
    return str(prefix)


@pytest.fixture(scope="module")
def prefixes(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = tmp_path_factory.mktemp("order")
    return [
        write_dataset(root / "one" / "train_text_document", 1, 40, 60),
        write_dataset(root / "two" / "train_text_document", 2, 15, 90),
    ]


def config(prefixes: list[str], **changes: object) -> dict[str, object]:
    made: dict[str, object] = {
        "train_iters": 70,
        "seq_length": SEQ,
        "train_micro_batch_size_per_gpu": 4,
        "seed": 1234,
        "train_data_paths": prefixes,
        "train_data_weights": [0.65, 0.35],
        "data_impl": "mmap",
    }
    return {**made, **changes}


def test_windows_overlap_by_one_token_and_cover_the_shuffled_documents(prefixes):
    data = data_order.Dataset(prefixes[0], 100, SEQ, 7)
    stream = np.concatenate([data.reader[document] for document in data.order])
    assert len(stream) == data.epochs * data.tokens_per_epoch
    place = np.argsort(data.shuffle)  # which sample holds window k
    for window in range(data.count):
        assert np.array_equal(data[int(place[window])], stream[window * SEQ : window * SEQ + SEQ + 1])


def test_pieces_name_where_the_tokens_come_from(prefixes):
    data = data_order.Dataset(prefixes[1], 50, SEQ, 7)
    for index in range(20):
        parts = [data.reader.get(document, offset, count) for document, offset, count in data.pieces(index)]
        assert np.array_equal(np.concatenate(parts), data[index])


def test_all_epochs_are_shuffled_as_one(prefixes):
    data = data_order.Dataset(prefixes[1], 200, SEQ, 7)
    documents = len(data.reader)
    assert data.epochs > 1
    assert np.array_equal(np.bincount(data.order), [data.epochs] * documents)
    assert len(set(data.order[:documents].tolist())) < documents  # an epoch is not kept together


@pytest.mark.parametrize("tokens,seq,samples", [(100, 10, 9), (100, 10, 10), (100, 10, 19), (101, 10, 10), (7, 3, 50)])
def test_epochs_are_the_smallest_number_that_is_enough(tokens, seq, samples):
    found = data_order.epochs_needed(tokens, seq, samples)
    assert (found * tokens - 1) // seq >= samples
    assert found == 1 or ((found - 1) * tokens - 1) // seq < samples


def test_each_dataset_is_asked_for_half_a_percent_more():
    assert data_order.normalised([3.0, 1.0], 1000) == ([0.75, 0.25], [754, 252])


def test_length_is_one_less_than_the_windows_and_indices_wrap(prefixes):
    data = data_order.Dataset(prefixes[0], 10, SEQ, 7)
    assert len(data) == data.count - 1
    assert data.window(data.count) == data.window(data.count % len(data))
    blend = data_order.Blend([data, data_order.Dataset(prefixes[1], 10, SEQ, 7)], [0.5, 0.5])
    assert blend.locate(len(blend) + 3) == blend.locate(3)


def test_blending_is_greedy_and_the_first_wins_ties(prefixes):
    sets = [data_order.Dataset(prefixes[0], 100, SEQ, 7), data_order.Dataset(prefixes[1], 100, SEQ, 7)]
    even = data_order.Blend(sets, [0.5, 0.5])
    assert [even.locate(index) for index in range(4)] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    uneven = data_order.Blend(sets, [0.6, 0.4])
    taken = [uneven.locate(index)[0] for index in range(50)]
    assert taken.count(0) == 30


def test_blending_is_quick():
    blend = data_order.Blend.__new__(data_order.Blend)
    blend.weights = np.random.RandomState(0).dirichlet([1.0] * 7).tolist()
    blend._taken, blend._which, blend._index, blend._size = [0] * 7, [], [], 10**9
    begin = time.process_time()
    blend.locate(99_999)
    assert time.process_time() - begin < 2.0


def test_split_bounds_follow_neox():
    assert data_order.split_bounds("969, 30, 1", 1000) == [0, 969, 999, 1000]
    assert data_order.split_bounds("8/1/1", 7) == [0, 5, 6, 7]
    with pytest.raises(HaigoError, match="not a list of numbers"):
        data_order.split_bounds("most", 10)


@pytest.mark.parametrize("changes,words", DATA["bad_data_keys_are_told"])
def test_bad_data_keys_are_told(prefixes, changes, words):
    with pytest.raises(HaigoError, match=words):
        data_order.source(config(prefixes, **changes), 4).open()


def test_a_truncated_bin_is_told(tmp_path):
    prefix = write_dataset(tmp_path / "cut", 3, 10, 50)
    with open(f"{prefix}.bin", "rb+") as handle:
        handle.truncate(100)
    with pytest.raises(HaigoError, match=r"cut\.bin .*cut short"):
        data_order.Dataset(prefix, 5, SEQ, 7)


def test_no_cache_files_are_written(prefixes):
    data_order.source(config(prefixes), 4).open()
    names = {path.name for prefix in prefixes for path in Path(prefix).parent.iterdir()}
    assert {Path(name).suffix for name in names if name != ".haigo"} == {".bin", ".idx"}


# What GPT-NeoX (commit ea7aefd) gave for these configs; made by test_equals_neox below.
GOLDEN = json.loads((Path(__file__).parent / "golden_order.json").read_text())


CASES = {
    "weighted, several epochs": {},
    "equal weights": {"train_data_weights": None, "train_iters": 20},
    "one dataset split": {"train_data_paths": None, "train_data_weights": None, "data_path": 0, "split": "8, 1, 1"},
    "another seed": {"seed": 99},
}


def case(prefixes: list[str], name: str) -> dict[str, object]:
    made = config(prefixes, **CASES[name])
    if "data_path" in made:
        made["data_path"] = prefixes[0]
    return {key: value for key, value in made.items() if value is not None}


@pytest.mark.parametrize("name", CASES)
def test_golden_order(prefixes, name):
    found = samples.first_samples(case(prefixes, name), 100)
    assert samples.digest([sample["tokens"] for sample in found]) == GOLDEN[name]


@pytest.mark.neox
@pytest.mark.parametrize("name", CASES)
def test_equals_neox(prefixes, name, tmp_path, neox):
    ours = case(prefixes, name)
    theirs = {
        **ours,
        "num_layers": 1,
        "hidden_size": 8,
        "num_attention_heads": 2,
        "max_position_embeddings": SEQ,
        "optimizer": {"type": "Adam", "params": {"lr": 0.001}},
        "global_num_gpus": 1,
        "eval_iters": 1,
        "zero_optimization": {"stage": 0},
        "tokenizer_type": "SPMTokenizer",
        "vocab_file": "none",
    }
    if "train_data_paths" in theirs:
        theirs |= {"valid_data_paths": prefixes, "test_data_paths": prefixes}
    yamlfile.write(tmp_path / "neox.yml", theirs)
    done = subprocess.run(
        [
            str(neox.python),
            str(Path(__file__).parent / "neox_loader.py"),
            str(tmp_path / "neox.yml"),
            "train",
            "100",
        ],
        cwd=neox.root,
        env=neox.environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    given = json.loads(done.stdout)
    found = [sample["tokens"] for sample in samples.first_samples(ours, 100)]
    assert found == given["samples"]
    assert len(data_order.source(ours, 4).open()) == given["length"]
    for leftover in Path(prefixes[0]).parent.parent.rglob("*_indexmap_*"):
        leftover.unlink()
    assert samples.digest(found) == GOLDEN[name]


def test_command_prints_samples(prefixes, tmp_path, capsys):
    yamlfile.write(tmp_path / "c.yml", config(prefixes))
    assert samples_verb.main([str(tmp_path / "c.yml"), "--first", "5", "--json", "--tokens"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [sample["corpus"] for sample in printed] == ["one", "two", "one", "two", "one"]
    assert len(printed[0]["tokens"]) == SEQ + 1
    assert samples_verb.main([str(tmp_path / "c.yml"), "--first", "100"]) == 0
    assert GOLDEN["weighted, several epochs"] in capsys.readouterr().out
