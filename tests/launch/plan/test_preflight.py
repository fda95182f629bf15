"""launch.preflight: every trap has a name and a fix, and a sound config passes."""

from __future__ import annotations

import json
import os
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from neox_world import World, sentences, train_tokenizer, write_weights
from shared_data import data_of

from haigo import cli, yamlfile
from haigo.cli import HaigoError
from haigo.formats.dataset.indexed import MMapReader, MMapWriter
from launch.neox import data_order, hostfile
from launch.plan import preflight
from launch.plan.config import make_config
from launch.plan.options import ConfigOptions
from launch.preflight import main as preflight_main
from neox_configs import neox_args

DATA = data_of(__file__)


def sound(world: World, **changes: Any) -> Path:
    """A config for one process here, with some keys changed (None takes a key away)."""
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
    config = {key: value for key, value in {**made.config, **changes}.items() if value is not None}
    path = world.root / "run" / "tiny.yml"
    yamlfile.write(path, config)
    return path


def test_a_sound_config_passes(shared_world: World) -> None:
    report = preflight.preflight([sound(shared_world)])
    assert [check.status for check in report.checks] == ["ok"] * len(report.checks)
    names = [check.name for check in report.checks]
    assert {"keys", "types", "world size", "batch", "model", "tokenizer", "data", "epochs"} <= set(names)
    report.refuse("x")


TRAPS: list[tuple[dict[str, Any], str, str]] = DATA["traps"]


@pytest.mark.parametrize(("changes", "name", "said"), TRAPS)
def test_traps(shared_world: World, changes: dict[str, Any], name: str, said: str) -> None:
    report = preflight.preflight([sound(shared_world, **changes)])
    failed = {check.name: check for check in report.failed}
    assert name in failed, report.checks
    assert said in " ".join(check.found for check in report.failed)
    assert all(check.fix for check in report.failed)


def test_warnings_do_not_stop_anything(shared_world: World) -> None:
    for changes, name in (
        ({"checkpoint_factor": 10}, "checkpoints"),
        ({"train_iters": 2000, "lr_decay_iters": 2000}, "epochs"),
        ({"save": None, "load": None}, "checkpoints"),
        ({"train_data_weights": None}, "weights"),
    ):
        report = preflight.preflight([sound(shared_world, **changes)])
        assert not report.failed
        assert [check.name for check in report.checks if check.status == "warn"] == [name]


def test_numbers_that_gpt_neox_reads_as_text(shared_world: World) -> None:
    path = sound(shared_world)
    path.write_text(path.read_text().replace("eps: 1.0e-08", "eps: 1e-8"))
    (check,) = preflight.preflight([path]).failed
    assert check.name == "numbers read as text" and "optimizer.params.eps" in check.found


def test_world_size_from_a_hostfile(shared_world: World, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hostfile.write(hosts, {"a": 2, "b": 2})
    path = sound(shared_world, num_gpus=None, train_batch_size=None)
    report = preflight.preflight([path], hostfile=hosts)
    assert "4 GPUs" in next(check.found for check in report.checks if check.name == "world size")
    assert preflight.world_size({"hostfile": str(hosts), "num_nodes": 1}) == (2, f"{hosts}, 1 hosts")
    assert preflight.world_size({}, gpus=6) == (6, "--gpus")


def test_truncated_and_missing_data(world: World) -> None:
    path = sound(world)
    data = Path(f"{world.prefix('news')}.bin")
    data.write_bytes(data.read_bytes()[:-10])
    Path(f"{world.prefix('code', 'test')}.bin").unlink()
    found = " ".join(check.found for check in preflight.preflight([path]).failed)
    assert "cut short" in found and "code/test_text_document.bin does not exist" in found


def test_data_of_another_tokenizer_and_no_eod(world: World) -> None:
    path = sound(world)
    train_tokenizer(world.root / "tokenizer", sentences(3, 400))
    failed = preflight.preflight([path]).failed
    assert len(failed) == 6 and all("another tokenizer" in check.found for check in failed)
    train_tokenizer(world.root / "tokenizer", sentences(1, 400), eod="</s>")
    (check,) = preflight.preflight([path]).failed
    assert check.name == "tokenizer" and "no piece <|endoftext|>" in check.found


def test_stale_index_caches(world: World) -> None:
    path = sound(world)
    data = world.prefix("news")
    cache = Path(f"{data}_train_0_indexmap_121ns_128sl_1234s_packedpi_ac_doc_idx.npy")
    cache.write_bytes(b"x")
    assert not preflight.preflight([path]).failed
    old = time.time() - 1000
    os.utime(cache, (old, old))
    (check,) = preflight.preflight([path]).failed
    assert check.name == "index caches" and "older than its tokens" in check.found and "delete" in check.fix


def write_order(prefix: Path, asked: int = 121, length: int = 128) -> str:
    """The three files that GPT-NeoX would write beside this dataset; their common stem."""
    made = data_order.Dataset(prefix, asked, length, 1234)
    ends = np.cumsum(MMapReader(prefix).sizes[made.order], dtype=np.int64)
    starts = np.arange(made.count + 1) * length
    at = np.searchsorted(ends, starts, side="right")
    stem = f"{prefix}_train_0_indexmap_{asked}ns_{length}sl_1234s_packedpi_ac"
    np.save(f"{stem}_doc_idx.npy", made.order)
    np.save(f"{stem}_sample_idx.npy", np.stack([at, starts - np.concatenate([[0], ends])[at]], 1).astype(np.int32))
    np.save(f"{stem}_shuffle_idx.npy", made.shuffle)
    return stem


def rewritten(prefix: Path, change: Any) -> None:
    """The dataset with other rows, its files as old as before (as `cp -p` or rsync leaves them)."""
    rows, then = [np.array(row) for row in MMapReader(prefix)], Path(f"{prefix}.bin").stat()
    Path(f"{prefix}.json").unlink()
    with MMapWriter(prefix, np.uint16) as writer:
        for row in change(rows):
            writer.add(row)
            writer.end_document()
    os.utime(f"{prefix}.bin", (then.st_atime, then.st_mtime))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows, None),
        (lambda rows: rows[:-1], "names document 499 of 499"),
        (lambda rows: [*rows, rows[0]], "does not read all 501 documents"),
        (lambda rows: [rows[0][:-1], *rows[1:]], "counts other documents than there are"),
    ],
    ids=["the same", "less", "more", "a document changed"],
)
def test_orders_of_other_data_are_found_by_what_they_hold(
    world: World, change: Any, said: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    stem = write_order(world.prefix("news"))
    rewritten(world.prefix("news"), change)
    code = cli.run(preflight_main, [str(sound(world)), "--gpus", "1"])
    err = capsys.readouterr().err
    assert code == (cli.REFUSED if said else cli.OK), err
    assert said is None or (said in err and f"delete {stem}_*.npy" in err)


class Touch:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return Path.touch, (self.file,)


@pytest.mark.parametrize("part", ["doc_idx", "sample_idx", "shuffle_idx"])
def test_orders_that_are_pickles_or_cut_short(
    world: World, tmp_path: Path, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path(f"{write_order(world.prefix('news'))}_{part}.npy")
    whole = file.read_bytes()
    for content in (pickle.dumps(Touch(tmp_path / "ran")), whole[:-4], b""):
        file.write_bytes(content)
        assert cli.run(preflight_main, [str(sound(world)), "--gpus", "1"]) == cli.REFUSED
        assert "is no sample order, or cut short" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()


def test_resuming(world: World) -> None:
    path = sound(world)
    folder = world.root / "run" / "checkpoints" / "tiny"
    for step in (9, 10):
        write_weights(folder / f"global_step{step}")
    (check,) = preflight.preflight([path]).failed
    assert check.name == "resume" and "start from step 0" in check.found and "global_step10" in check.fix
    (folder / "latest").write_text("global_step10")
    assert "goes on from global_step10" in preflight.text(preflight.preflight([path]))
    (folder / "latest").write_text("global_step11")
    (check,) = preflight.preflight([path]).failed
    assert "names global_step11" in check.found


def test_the_command(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    path = sound(world)
    assert cli.run(preflight_main, [str(path)]) == 0
    assert "ok   batch: 8 = micro 8" in capsys.readouterr().out
    path = sound(world, data_impl="infer")
    assert cli.run(preflight_main, [str(path), "--json"]) == 3
    taken = capsys.readouterr()
    assert any(check["status"] == "fail" for check in json.loads(taken.out))
    assert "data_impl" in taken.err and "fix: write data_impl: mmap" in taken.err
    assert cli.run(preflight_main, [str(world.root / "none.yml")]) == 2


def test_what_cannot_be_one_config_is_told(tmp_path: Path) -> None:
    with pytest.raises(HaigoError, match="does not exist"):
        preflight.preflight([tmp_path / "none.yml"])


def found_by(path: Path, name: str, **more: Any) -> tuple[str, str]:
    """(status, sentence) of the one check of that name that is not content."""
    (check,) = [one for one in preflight.preflight([path], **more).checks if one.name == name and one.status != "ok"]
    assert check.fix
    return check.status, check.found


MORE_TRAPS: list[tuple[dict[str, Any], str, str, str]] = DATA["more_traps"]


@pytest.mark.parametrize(("changes", "name", "status", "said"), MORE_TRAPS)
def test_more_traps(shared_world: World, changes: dict[str, Any], name: str, status: str, said: str) -> None:
    told = found_by(sound(shared_world, **changes), name)
    assert told[0] == status and said in told[1]


def test_clipping_that_is_no_default_is_handed_on(shared_world: World) -> None:
    path = sound(shared_world, deepspeed_extra_args=None, gradient_clipping=0.5)
    assert not [check for check in preflight.preflight([path]).checks if check.name == "clipping"]
    got = neox_args.values(neox_args.raw([path]), 1)
    assert neox_args.deepspeed_config(got)["gradient_clipping"] == 0.5
    path = sound(shared_world, deepspeed_extra_args=None)
    assert "gradient_clipping" not in neox_args.deepspeed_config(neox_args.values(neox_args.raw([path]), 1))


def test_accumulation_counts_as_one(shared_world: World) -> None:
    changes = {"gradient_accumulation_steps": None, "num_gpus": None, "train_batch_size": 32}
    path = sound(shared_world, **changes, distributed_backend=None)
    for more in ({}, {"gpus": 2}):
        told = found_by(path, "accumulation", **more)
        assert told[0] == "warn" and "starts on 4 copies of the model only" in told[1]
    names = [check.name for check in preflight.preflight([path], gpus=2).failed]
    assert names == ["batch"]
    assert not [
        check for check in preflight.preflight([path], gpus=4).checks if check.name in ("accumulation", "num_gpus")
    ]


def test_num_gpus_below_what_is_visible(shared_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sound(shared_world, num_gpus=1, distributed_backend=None)
    monkeypatch.setattr(preflight, "world_size", lambda *words: (4, "the cards of this machine"))
    told = found_by(path, "num_gpus")
    assert told[0] == "fail" and "for the 4 GPUs that it sees" in told[1]


@pytest.fixture
def labelled(world: World) -> dict[str, Any]:
    """Keys of label datasets, aligned with the texts."""
    keys: dict[str, Any] = {"eval_iters": 5}
    for split in ("train", "valid", "test"):
        keys[f"{split}_label_data_paths"] = []
        for corpus in ("news", "code"):
            text = MMapReader(world.prefix(corpus, split))
            prefix = world.prefix(corpus, split).with_name(f"{split}_label_document")
            with MMapWriter(prefix, np.int32) as writer:
                for row in range(len(text)):
                    writer.add([-100, *map(int, text[row][1:])])
                    writer.end_document()
            keys[f"{split}_label_data_paths"].append(str(prefix))
    return keys


def test_label_datasets(world: World, labelled: dict[str, Any]) -> None:
    path = sound(world, **labelled)
    assert not [check for check in preflight.preflight([path]).checks if check.status != "ok"]
    two = labelled["train_label_data_paths"]
    for changes, said in (
        ({"valid_label_data_paths": None}, "valid_label_data_paths is missing"),
        ({"train_label_data_paths": two[:1]}, "1 train label datasets for 2 of text"),
        ({"train_label_data_paths": two[::-1]}, "labels in 500 rows"),
        ({"train_label_data_paths": [two[0], str(world.root / "none")]}, "none.idx does not exist"),
        ({"train_label_data_paths": [two[0], str(world.prefix("code"))]}, "holds uint16, which cannot say -100"),
    ):
        report = preflight.preflight([sound(world, **{**labelled, **changes})])
        assert {check.name for check in report.failed} == {"labels"}, report.checks
        assert said in " ".join(check.found for check in report.failed), report.failed
    # without an evaluation nobody reads the labels of the other sets
    path = sound(world, **{**labelled, "valid_label_data_paths": None, "test_label_data_paths": None, "eval_iters": 0})
    assert not preflight.preflight([path]).failed
    gone = {f"{split}_data_paths": None for split in ("train", "valid", "test")}
    path = sound(world, **labelled, **gone, data_path=str(world.prefix("news")))
    assert "labels" in [check.name for check in preflight.preflight([path]).failed]


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (lambda row: [-100, *row[:-1]], "is not the token there, nor -100"),
        (lambda row: [-100] * len(row), "is -100 throughout"),
    ],
    ids=["another's labels", "nothing to learn"],
)
def test_labels_that_are_not_their_tokens(
    world: World, labelled: dict[str, Any], label: Any, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text, prefix = MMapReader(world.prefix("news")), Path(labelled["train_label_data_paths"][0])
    with MMapWriter(prefix, np.int32) as writer:
        for row in range(len(text)):
            writer.add(label(list(map(int, text[row]))))
            writer.end_document()
    assert cli.run(preflight_main, [str(sound(world, **labelled)), "--gpus", "1"]) == cli.REFUSED
    err = capsys.readouterr().err
    assert said in err and str(prefix) in err and "fix:" in err


def test_rows_packed_for_another_length(
    world: World, labelled: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = Path(f"{world.prefix('news')}.json")
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "packed": True, "seq_length": 48}))
    assert cli.run(preflight_main, [str(sound(world, **labelled)), "--gpus", "1"]) == cli.REFUSED
    assert "was packed for samples of 48 tokens" in capsys.readouterr().err


def test_packing_until_overflow(world: World, labelled: dict[str, Any]) -> None:
    told = found_by(sound(world, **labelled, pack_impl="pack_until_overflow"), "packing")
    assert told[0] == "warn" and "RecursionError" in told[1]
    told = found_by(sound(world, **{**labelled, "pack_impl": "pack_until_overflow", "eval_iters": 0}), "packing")
    assert told[0] == "fail" and "negative length" in told[1]


def test_finetuning_over_ones_own_checkpoints(world: World) -> None:
    path = sound(world, finetune=True, load=str(world.root / "base"))
    folder = world.root / "run" / "checkpoints" / "tiny"
    folder.mkdir(parents=True)
    (folder / "latest").write_text("global_step5")
    told = found_by(path, "resume")
    assert told[0] == "fail" and "starts again from" in told[1]


def test_files_that_gpt_neox_does_not_join(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    path = sound(world)
    twin = world.root / "tiny.yml"
    twin.write_text("seed: 2\n")
    assert cli.run(preflight_main, [str(path), str(twin)]) == 2
    assert "have the same file name, which GPT-NeoX refuses" in capsys.readouterr().err
    other = world.root / "other.yml"
    other.write_text('"train-iters": 7\n')
    assert cli.run(preflight_main, [str(path), str(other)]) == 2
    assert "the key 'train_iters' is given in" in capsys.readouterr().err


SETS = (("125M.yml", "local_setup.yml"), ("125M.yml", "local_setup.yml", "text_generation.yml"), ("20B.yml",),
        ("pythia/1-4B.yml", "local_setup.yml"), ("slurm_125M.yml", "slurm_local.yml"))  # fmt: skip


@pytest.mark.neox
def test_gpt_neoxs_own_configs_are_read(neox: Any) -> None:
    """Every shipped file alone and the sets of its documentation: nothing crashes, every fault has a name and a fix."""
    folder = neox.root / "configs"
    alone = [(path,) for path in sorted(folder.rglob("*.yml"))]
    named = [tuple(folder / name for name in one) for one in SETS]
    both = [(path[0], folder / "local_setup.yml") for path in alone if path[0].parent.name in ("configs", "pythia")]
    seen: dict[str, int] = {}
    for paths in [*alone, *named, *both]:
        try:
            report = preflight.preflight(paths, gpus=8, base=neox.root)
        except HaigoError as error:
            assert len(paths) > 1 and ("given in" in error.problem or "same file name" in error.problem), paths
            continue
        for check in report.checks:
            assert check.found and (check.status == "ok" or check.fix), (paths, check)
            seen[f"{check.status} {check.name}"] = seen.get(f"{check.status} {check.name}", 0) + 1
    assert len(alone) >= 50 and seen["fail evaluation"] > 50 and seen["warn clipping"] > 50, seen
    complete = preflight.preflight([folder / "1-3B.yml", folder / "local_setup.yml"], gpus=8, base=neox.root)
    names = {check.name for check in complete.failed}
    assert names <= {"evaluation", "data", "tokenizer"}, complete.failed
