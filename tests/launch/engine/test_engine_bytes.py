"""The embedded engine and swarms go by bytes: a changed dataset, checkpoint or result is named, never used in silence."""

import csv
import json
import re
from pathlib import Path

import pytest
from damage import flip

from eval_harness.model import LeaderboardLM
from haigo import cli, digests, files, sealed, yamlfile
from haigo.formats.dataset import manifest
from launch import preflight, proxies, screen
from launch.engine import checkpoint
from launch.local import __main__ as local
from launch.local.train import train
from neox_configs import catalogue as catalogues


@pytest.fixture
def command(world, tmp_path):
    """launch.local on a config of its own, in this process; gives its exit code."""
    yamlfile.write(tmp_path / "c.yml", world.config(train_iters=6))

    def run(*more):
        words = [str(tmp_path / "c.yml"), "--output-dir", str(tmp_path / "out"), "--tokenizer", str(world.tokenizer)]
        return cli.run(local.main, [*words, *more])

    return run


FINISHED = ["result.json", "log.jsonl", "run.json", "model/model.safetensors", "model/config.json", "model/spm.model"]


@pytest.mark.parametrize("name", FINISHED)
def test_a_changed_file_of_a_finished_run_is_named_and_the_run_trained_anew(command, tmp_path, capsys, name):
    out = tmp_path / "out"
    assert command() == 0
    path = out / name
    whole, model = path.read_bytes(), (out / "model" / "model.safetensors").read_bytes()
    stamp = (out / "result.json").stat().st_mtime_ns
    assert command() == 0 and (out / "result.json").stat().st_mtime_ns == stamp
    # a digit of a figure, where there is one: the file stays what it is by its form
    text = whole.decode("utf-8", "replace")
    figure = re.search(r"0\.\d{3}(\d)|: (\d)", text) if name.endswith((".json", ".jsonl")) else None
    flip(path, None if figure is None else len(text[: figure.end() - 1].encode()))
    capsys.readouterr()
    assert command() == 0
    assert f"{path} was changed since" in capsys.readouterr().err
    assert (out / "model" / "model.safetensors").read_bytes() == model
    assert files.read_json(out / "result.json")["metrics"] == json.loads((out / "result.json").read_text())["metrics"]
    if name.startswith("model/"):
        assert path.read_bytes() == whole


def test_a_flipped_byte_of_a_trained_model_is_not_scored_or_trained_on(command, world, tmp_path, capsys):
    assert command() == 0
    model, more = tmp_path / "out" / "model", ["--output-dir", str(tmp_path / "more"), "--init-from"]
    whole = LeaderboardLM(pretrained=str(model), device="cpu")
    assert whole.parameters and "was changed" not in capsys.readouterr().err
    flip(model / "model.safetensors", (model / "model.safetensors").stat().st_size - 100)
    with pytest.raises(cli.Refused, match=r"model\.safetensors was changed since it was written"):
        LeaderboardLM(pretrained=str(model), device="cpu")
    assert command(*more, str(model)) == cli.REFUSED
    assert "model.safetensors was changed since it was written" in capsys.readouterr().err


def stopped(world, folder, at):
    def stop(tick):
        if tick.step == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        words = {"tokenizer": world.tokenizer, "test_tokens": None, "checkpoint_every_s": 0}  # as the command has them
        train(world.config(train_iters=6), folder, progress=stop, **words)


@pytest.mark.parametrize("where", [0.02, 0.3, 0.5, 0.7, 0.999])
def test_a_changed_checkpoint_is_named_and_never_resumed(world, command, tmp_path, capsys, where):
    whole = train(world.config(train_iters=6), tmp_path / "whole", tokenizer=world.tokenizer)
    out = tmp_path / "out"
    stopped(world, out, 4)
    path = out / checkpoint.NAME
    flip(path, int(where * path.stat().st_size))
    assert command() == 0
    assert f"{path} was changed since it was written: the training starts anew" in capsys.readouterr().err
    broken = files.read_json(out / "result.json")
    assert broken["metrics"] == whole["metrics"] and broken["loss"] == whole["loss"]


@pytest.mark.parametrize("name", ["close", "remove"])
def test_a_kill_just_after_the_end_leaves_no_checkpoint_for_good(world, command, tmp_path, monkeypatch, name):
    out = tmp_path / "out"
    stopped(world, out, 4)

    def die(folder):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, name, die)
        assert command() == cli.INTERRUPTED
    assert (out / checkpoint.NAME).is_file() and (out / checkpoint.RESULT).is_file()
    assert command() == 0 and not (out / checkpoint.NAME).exists()


def test_the_curve_of_a_resumed_run_is_the_checkpoints_own(world, command, tmp_path):
    out = tmp_path / "out"
    stopped(world, out, 4)
    lines = (out / "log.jsonl").read_text().splitlines()
    (out / "log.jsonl").write_text("\n".join(line.replace('"loss": ', '"loss": 9') for line in lines) + "\n")
    assert command() == 0
    assert (out / "log.jsonl").read_text().splitlines()[:3] == lines[:3]


def test_a_checkpoint_of_the_first_edition_is_resumed_and_its_own_sums_are_looked_at(world, command, tmp_path, capsys):
    whole = train(world.config(train_iters=6), tmp_path / "whole", tokenizer=world.tokenizer)
    out = tmp_path / "out"
    stopped(world, out, 4)
    run = sealed.read(out / "run.json")[0]
    (out / "run.json").write_text(json.dumps({"identity": run["identity"]}))
    blob = (out / checkpoint.NAME).read_bytes()
    flip(out / checkpoint.NAME)
    assert command() == 0
    assert "the training starts anew" in capsys.readouterr().err
    assert files.read_json(out / "result.json")["metrics"] == whole["metrics"]
    for name in ("result.json", "log.jsonl"):
        (out / name).unlink()
    (out / "run.json").write_text(json.dumps({"identity": run["identity"]}))
    (out / checkpoint.NAME).write_bytes(blob)
    files.adopt([out / checkpoint.NAME])
    assert command() == 0 and "anew" not in capsys.readouterr().err
    assert files.read_json(out / "result.json")["metrics"] == whole["metrics"]


def test_a_result_of_the_first_edition_is_taken_and_its_digests_are_noted(command, tmp_path, capsys):
    out = tmp_path / "out"
    assert command() == 0
    run = sealed.read(out / "run.json")[0]
    (out / "run.json").write_text(json.dumps({"identity": run["identity"]}))
    stamp = (out / "result.json").stat().st_mtime_ns
    assert command() == 0 and (out / "result.json").stat().st_mtime_ns == stamp
    flip(out / "model" / "model.safetensors")
    capsys.readouterr()
    assert command() == 0
    assert "model.safetensors was changed since the training ended" in capsys.readouterr().err


# --- datasets ---------------------------------------------------------------------------------------------------------


def copied(world, folder):
    """The world's datasets and catalogue in a folder of their own."""
    sets = {}
    for name in ("plain", "rhyme"):
        (folder / name).mkdir(parents=True)
        for split in ("train", "valid"):
            sets.setdefault(name, {})[split] = str(folder / name / f"{split}_text_document")
            for ending in ("bin", "idx"):
                data = Path(f"{world.prefix(name, split)}.{ending}").read_bytes()
                Path(f"{sets[name][split]}.{ending}").write_bytes(data)
            made = {
                **json.loads(Path(f"{world.prefix(name, split)}.json").read_text()),
                **manifest.sums(sets[name][split]),
            }
            manifest.write(sets[name][split], made)
    return catalogues.write(folder / "corpora.yml", world.tokenizer, sets)


@pytest.mark.parametrize("ending", ["bin", "idx", "json"])
@pytest.mark.parametrize("name", ["plain/train", "rhyme/valid"])
def test_a_changed_dataset_is_named_by_whoever_trains_on_it(world, tmp_path, capsys, ending, name):
    copied(world, tmp_path / "data")
    data = {"train_data_paths": [str(tmp_path / "data" / each / "train_text_document") for each in ("plain", "rhyme")]}
    data["valid_data_paths"] = [str(tmp_path / "data" / each / "valid_text_document") for each in ("plain", "rhyme")]
    base = {name: value for name, value in world.config(train_iters=None).items() if "_data_" not in name}
    yamlfile.write(tmp_path / "c.yml", world.config(train_iters=4, **data))
    yamlfile.write(tmp_path / "base.yml", base)
    (tmp_path / "r.csv").write_text("run,plain,rhyme\na,0.5,0.5\n")
    calls = {
        "local": (local.main, [str(tmp_path / "c.yml"), "--tokenizer", str(world.tokenizer)]),
        "proxies": (
            proxies.main,
            [
                "--ratios",
                str(tmp_path / "r.csv"),
                "--catalogue",
                str(tmp_path / "data" / "corpora.yml"),
                "--tokens",
                "700",
                "--config",
                str(tmp_path / "base.yml"),
                "--workers",
                "1",
            ],
        ),
    }
    for verb, (main, words) in calls.items():
        assert cli.run(main, [*words, "--output-dir", str(tmp_path / verb)]) == 0
    path = tmp_path / "data" / f"{name}_text_document.{ending}"
    flip(path)
    capsys.readouterr()
    for verb, (main, words) in calls.items():
        for folder in (verb, f"{verb}-new"):
            assert cli.run(main, [*words, "--output-dir", str(tmp_path / folder)]) in (cli.BAD_INPUT, cli.REFUSED)
            assert str(path) in capsys.readouterr().err


def test_the_middle_of_a_dataset_without_a_manifest_counts_too(world, tmp_path, monkeypatch, capsys):
    """The first edition told such a dataset by its first and last megabyte."""
    from haigo.formats.dataset.indexed import MMapWriter

    prefix = tmp_path / "foreign"
    with MMapWriter(prefix, "uint16") as writer:
        for _ in range(1300):
            writer.add([5] * 1000)
            writer.end_document()
    new, old = manifest.fingerprint(str(prefix)), manifest.fingerprint(str(prefix), former=True)
    flip(Path(f"{prefix}.bin"))
    assert manifest.fingerprint(str(prefix)) != new and manifest.fingerprint(str(prefix), former=True) == old


def test_above_four_gib_a_file_goes_by_inode_ctime_and_size(world, tmp_path, monkeypatch):
    """The limit is set to a few bytes here."""
    monkeypatch.setattr(digests, "BIG_BYTES", 10)
    copied(world, tmp_path / "data")
    prefix = tmp_path / "data" / "plain" / "train_text_document"
    read = []
    once = digests.sha256
    monkeypatch.setattr(digests, "sha256", lambda path, *more: (read.append(str(path)), once(path, *more))[1])
    assert manifest.check(prefix) is not None and manifest.check(prefix) is not None
    assert not read  # `copied` read them when it wrote the manifest, and noted what they were
    assert f"{prefix}.bin" in digests.believed()
    flip(Path(f"{prefix}.bin"))
    with pytest.raises(cli.Refused, match="was changed since the dataset was made"):
        manifest.check(prefix)


# --- swarms -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def swarm(world, tmp_path):
    """launch.proxies on a table of two, in this process; gives its exit code."""
    sets = {name: {split: world.prefix(name, split) for split in ("train", "valid")} for name in ("plain", "rhyme")}
    catalogues.write(tmp_path / "corpora.yml", world.tokenizer, sets)
    base = {name: value for name, value in world.config(train_iters=None).items() if "_data_" not in name}
    yamlfile.write(tmp_path / "base.yml", base)
    (tmp_path / "r.csv").write_text("run,plain,rhyme\na,0.5,0.5\nb,0.2,0.8\n")

    def run(folder, *more):
        words = ["--ratios", str(tmp_path / "r.csv"), "--catalogue", str(tmp_path / "corpora.yml"), "--workers", "1"]
        words += [
            "--config",
            str(tmp_path / "base.yml"),
            "--tokens",
            "700",
            "--output-dir",
            str(tmp_path / folder),
            *more,
        ]
        return cli.run(proxies.main, words)

    return run


def table(folder):
    with open(folder / "metrics.csv", encoding="utf-8", newline="") as handle:
        return [{key: cell for key, cell in row.items() if key != "seconds"} for row in csv.DictReader(handle)]


def bump(path, key):
    """Change the first digit after the point of a figure in a JSON file."""
    text = path.read_text(encoding="utf-8")
    new = re.sub(rf'("{key}": \d+\.)(\d)', lambda m: m[1] + str((int(m[2]) + 1) % 10), text, count=1)
    assert new != text
    path.write_text(new, encoding="utf-8")


def test_a_changed_figure_of_a_proxy_is_never_in_the_table(swarm, tmp_path, capsys):
    assert swarm("out") == 0
    out = tmp_path / "out"
    before = table(out)
    kept = (out / "runs" / "b" / "result.json").stat().st_mtime_ns
    # in the run's own result: named, and that run alone trained anew
    bump(out / "runs" / "a" / "result.json", "plain_bpb")
    capsys.readouterr()
    assert swarm("out") == 0
    said = capsys.readouterr().err
    assert f"{out / 'runs' / 'a' / 'result.json'} was changed since the training ended" in said
    assert table(out) == before and (out / "runs" / "b" / "result.json").stat().st_mtime_ns == kept
    # in what the run is made from
    bump(out / "runs" / "a" / "run.json", "lr")
    assert swarm("out") == 0
    assert "run.json was changed since it was written" in capsys.readouterr().err and table(out) == before
    # in the table: written anew from the results
    text = (out / "metrics.csv").read_text()
    (out / "metrics.csv").write_text(text.replace(before[0]["plain_bpb"], "1.000000"))
    assert swarm("out") == 0 and table(out) == before


def test_a_merge_refuses_a_table_that_its_runs_contradict(swarm, tmp_path, capsys):
    assert swarm("one") == 0
    one = tmp_path / "one"
    merge = ["--merge", str(one), "--output-dir", str(tmp_path / "all")]
    assert cli.run(proxies.main, merge) == 0
    whole, facts = (one / "metrics.csv").read_text(), (one / "swarm.json").read_text()
    (one / "metrics.csv").write_text(whole.replace(table(one)[0]["plain_bpb"], "1.000000"))
    assert cli.run(proxies.main, merge) == cli.REFUSED
    assert "says plain_bpb 1.000000 of 'a', and the run's own result says" in capsys.readouterr().err
    (one / "metrics.csv").write_text(whole)
    (one / "swarm.json").write_text(
        facts.replace('"plain": 0.2', '"plain": 0.3').replace('"rhyme": 0.8', '"rhyme": 0.7')
    )
    assert cli.run(proxies.main, merge) == cli.REFUSED
    assert "notes another mixture of 'b' than it was trained on" in capsys.readouterr().err


def test_a_cut_dataset_that_was_changed_is_cut_again(swarm, tmp_path, capsys):
    words = ["--match-epochs", "70000"]
    assert swarm("out", *words) == 0
    before = table(tmp_path / "out")
    (data,) = (tmp_path / "out" / "matched" / "plain").glob("*/train_text_document.bin")
    whole = data.read_bytes()
    flip(data)
    assert swarm("out", *words) == 0
    assert f"{data} was changed since the dataset was made" in capsys.readouterr().err
    assert data.read_bytes() == whole and table(tmp_path / "out") == before


def test_preflight_names_a_changed_dataset(world, tmp_path, capsys):
    copied(world, tmp_path / "data")
    data = {
        f"{part}_data_paths": [str(tmp_path / "data" / "plain" / "valid_text_document")]
        for part in ("train", "valid", "test")
    }
    weights = {f"{part}_data_weights": [1.0] for part in ("train", "valid", "test")}
    more = {"tokenizer_type": "SPMTokenizer", "vocab_file": str(world.tokenizer / "spm.model")}
    yamlfile.write(tmp_path / "c.yml", world.config(**data, **weights, **more))
    path = tmp_path / "data" / "plain" / "valid_text_document.bin"
    flip(path)
    cli.run(preflight.main, [str(tmp_path / "c.yml")])
    said = capsys.readouterr()
    assert f"{path} was changed since the dataset was made" in said.out + said.err


def test_one_commands_table_never_replaces_anothers(swarm, tmp_path, capsys):
    """Both write metrics.csv, and a swarm's took its time."""
    words = ["--ratios", str(tmp_path / "r.csv"), "--catalogue", str(tmp_path / "corpora.yml"), "--tokens", "700"]

    def screened(folder):
        return cli.run(screen.main, [*words, "--mixtures", "2", "--output-dir", str(tmp_path / folder)])

    assert swarm("one") == 0 and swarm("two") == 0 and screened("screen") == 0
    merge = ["--merge", str(tmp_path / "one"), str(tmp_path / "two"), "--output-dir"]
    assert cli.run(proxies.main, [*merge, str(tmp_path / "merged")]) == 0
    before = {path: path.read_bytes() for path in tmp_path.glob("*/*.csv")}
    assert len(before) == 6 and swarm("three") == 0
    capsys.readouterr()
    assert [screened("one"), screened("merged"), swarm("screen")] == [cli.REFUSED] * 3
    assert capsys.readouterr().err.count("would replace it") == 3
    assert cli.run(proxies.main, [*merge, str(tmp_path / "three")]) == cli.REFUSED
    assert {path: path.read_bytes() for path in before} == before
    assert (
        swarm("one") == 0 and screened("screen") == 0 and cli.run(proxies.main, [*merge, str(tmp_path / "merged")]) == 0
    )
