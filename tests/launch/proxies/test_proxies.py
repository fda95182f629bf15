"""Tables of proxy runs: what is trained, what is skipped, what happens to a failing one and after a kill."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from haigo import cli, files, yamlfile
from haigo.cli import Failed, HaigoError, Refused
from launch import proxies
from launch.engine import log
from launch.local.train import train
from launch.proxies.merge import merge
from launch.proxies.options import EVAL_TOKENS
from launch.proxies.proxy import proxy_config
from mixer import design
from neox_configs import catalogue as catalogues

ROOT = Path(__file__).resolve().parents[3]
TABLE = {"a": {"plain": 0.8, "rhyme": 0.2}, "b": {"plain": 0.0, "rhyme": 1.0}, "c": {"plain": 0.5, "rhyme": 0.5}}


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv", encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def test_a_table_is_trained_once(catalogue, base, tmp_path):
    first = proxies.run(TABLE, catalogue, base, tmp_path, tokens=2600, workers=2, show=False)
    assert sorted(first.trained) == ["a", "b", "c"] and list(first.results) == ["a", "b", "c"]
    table = rows(tmp_path)
    assert [row["run"] for row in table] == ["a", "b", "c"]
    assert list(table[0]) == ["run", "plain_bpb", "rhyme_bpb", "size", "tokens", "seed", "seconds"]
    assert {row["tokens"] for row in table} == {"2560"} and {row["seed"] for row in table} == {"1234"}
    assert float(table[1]["rhyme_bpb"]) < float(table[0]["rhyme_bpb"])
    assert float(table[1]["plain_bpb"]) > float(table[0]["plain_bpb"])
    stamps = {name: (tmp_path / "runs" / name / "result.json").stat().st_mtime_ns for name in TABLE}
    more = {"d": {"plain": 0.3, "rhyme": 0.7}, **TABLE}
    second = proxies.run(more, catalogue, base, tmp_path, tokens=2600, workers=1, show=False)
    assert second.trained == ["d"]
    assert [row["run"] for row in rows(tmp_path)] == ["d", "a", "b", "c"]
    assert stamps == {name: (tmp_path / "runs" / name / "result.json").stat().st_mtime_ns for name in TABLE}
    # another mixture under an old name is another run
    third = proxies.run({**TABLE, "a": TABLE["c"]}, catalogue, base, tmp_path, tokens=2600, workers=1, show=False)
    assert third.trained == ["a"]
    assert third.results["a"]["metrics"] == third.results["c"]["metrics"]  # common random numbers: the same run


def test_a_failing_proxy_is_tried_twice_and_does_not_stop_the_rest(world, catalogue, base, tmp_path, capsys):
    out = tmp_path / "out"
    (out / "runs").mkdir(parents=True)
    (out / "runs" / "b").write_text("a file where a folder must be")
    yamlfile.write(tmp_path / "base.yml", base)
    (tmp_path / "ratios.csv").write_text("run,plain,rhyme\na,0.8,0.2\nb,0,1\nc,0.5,0.5\n")
    words = ["--ratios", tmp_path / "ratios.csv", "--catalogue", world.root / "corpora.yml", "--tokens", "1300"]
    words += ["--config", tmp_path / "base.yml", "--output-dir", out, "--workers", "1"]
    assert cli.run(proxies.main, [str(word) for word in words]) == cli.FAILED
    told = capsys.readouterr()
    assert "b failed and is tried again" in told.err and "b failed again" in told.err
    assert "1 proxies failed twice" in told.err and "2 proxies of" in told.out
    assert [row["run"] for row in rows(out)] == ["a", "c"]
    (out / "runs" / "b").unlink()
    assert cli.run(proxies.main, [str(word) for word in words]) == cli.OK
    assert "2 of 3 proxies are there already" in capsys.readouterr().err
    assert [row["run"] for row in rows(out)] == ["a", "b", "c"]
    # what a worker made is the command's too: no other one replaces it
    for name in ("swarm.json", "runs/a/result.json"):
        before = (out / name).read_bytes()
        assert cli.run(design.main, ["--corpora", "x,y", "--runs", "3", "--output", str(out / name)]) == cli.REFUSED
        assert "was made by launch.proxies" in capsys.readouterr().err
        assert (out / name).read_bytes() == before


def test_all_failing_is_an_error(catalogue, base, tmp_path):
    config = {**base, "optimizer": {"type": "Adam", "params": {"lr": 1e30}}, "warmup": 0.0}
    with pytest.raises(Failed, match="all 1 proxies failed; a: the loss became"):
        proxies.run({"a": TABLE["a"]}, catalogue, config, tmp_path, tokens=2600, workers=1, show=False)


def test_kill_loses_only_what_was_running(world, catalogue, base, tmp_path):
    yamlfile.write(tmp_path / "base.yml", base)
    lines = [f"p{number},{number / 10},{1 - number / 10}" for number in range(1, 9)]
    (tmp_path / "ratios.csv").write_text("run,plain,rhyme\n" + "\n".join(lines) + "\n")
    words = [sys.executable, "-m", "launch.proxies", "--ratios", "ratios.csv", "--config", "base.yml"]
    words += ["--catalogue", str(world.root / "corpora.yml"), "--tokens", "12800"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    whole = [*words, "--output-dir", "whole", "--workers", "2"]
    assert subprocess.run(whole, cwd=tmp_path, env=environment, capture_output=True).returncode == 0
    words += ["--output-dir", "out"]
    out, finished = tmp_path / "out", dict[str, int]()
    for count in (0, 3):  # before anything is there, then between
        running = subprocess.Popen([*words, "--workers", "1"], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while not (out / "swarm.json").is_file() or (
            count and (not (out / "metrics.csv").is_file() or len(rows(out)) < count)
        ):
            assert running.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        running.send_signal(signal.SIGKILL)
        running.wait()
        now = {path.parent.name: path.stat().st_mtime_ns for path in out.glob("runs/*/result.json")}
        assert count <= len(now) < 8 and finished.items() <= now.items()
        finished = now
    done = subprocess.run([*words, "--workers", "2"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{len(finished)} of 8 proxies are there already" in done.stderr
    assert [row["run"] for row in rows(out)] == [f"p{number}" for number in range(1, 9)]
    for name, stamp in finished.items():
        assert (out / "runs" / name / "result.json").stat().st_mtime_ns == stamp
    # but for the seconds that the runs took, the table is that of a swarm that was not killed
    assert [{**row, "seconds": ""} for row in rows(out)] == [{**row, "seconds": ""} for row in rows(tmp_path / "whole")]


def test_a_time_budget_gives_all_proxies_the_same_tokens(catalogue, base, tmp_path):
    summary = proxies.run(TABLE, catalogue, base, tmp_path, seconds=0.6, workers=2, show=False)
    assert {result["tokens"] for result in summary.results.values()} == {summary.tokens}
    again = proxies.run(TABLE, catalogue, base, tmp_path, seconds=0.6, workers=2, show=False)
    assert again.trained == []


def test_stopped_proxies_say_what_whole_ones_said_there(catalogue, base, tmp_path):
    part = proxies.run(TABLE, catalogue, base, tmp_path / "part", tokens=2600, stop_after=0.7, workers=1, show=False)
    step = part.tokens // 14  # 20 steps make the whole
    assert part.tokens == 14 * step and {row["tokens"] for row in rows(tmp_path / "part")} == {str(part.tokens)}
    valid = {name: str(splits["valid"]) for name, splits in catalogue.corpora.items()}
    whole = train(
        proxy_config(base, TABLE["a"], catalogue, 1234),
        tmp_path / "whole",
        tokenizer=str(catalogue.tokenizer),
        valid=valid,
        tokens=2600,
        eval_every=14,
        eval_tokens=EVAL_TOKENS,
        export=False,
    )
    there = next(entry for entry in log.read(tmp_path / "whole" / "log.jsonl") if "plain_bpb" in entry)
    assert there["step"] == 14 and part.results["a"]["metrics"] == {name: there[name] for name in whole["metrics"]}
    again = proxies.run(TABLE, catalogue, base, tmp_path / "part", tokens=2600, stop_after=0.7, workers=1, show=False)
    assert again.trained == []
    assert {row["schedule_tokens"] for row in rows(tmp_path / "part")} == {str(20 * step)}
    # the whole ones are other runs, and tables of both are not one table
    proxies.run(TABLE, catalogue, base, tmp_path / "all", tokens=2600, workers=1, show=False)
    with pytest.raises(Refused, match="lr_decay_iters"):
        merge([tmp_path / "part", tmp_path / "all"], tmp_path / "both")
    assert "schedule_tokens" not in rows(tmp_path / "all")[0]


def test_stopping_early_hides_no_missing_budget(catalogue, base, tmp_path):
    with pytest.raises(HaigoError, match="less than one step"):
        proxies.run(TABLE, catalogue, base, tmp_path, tokens=5, stop_after=0.5, workers=1, show=False)
    with pytest.raises(HaigoError, match="nothing says how long"):
        proxies.run(TABLE, catalogue, base, tmp_path, stop_after=0.5, workers=1, show=False)
    with pytest.raises(HaigoError, match="stop"):
        proxies.run(TABLE, catalogue, base, tmp_path, tokens=2600, stop_after=1.5, workers=1, show=False)


@pytest.mark.parametrize(
    "text,words",
    [
        ("", "it is empty"),
        ("run,plain,rhime\na,0.5,0.5\n", "corpus 'rhime'.*Did you mean 'rhyme'"),
        ("plain,rhyme\n0.5,0.5\n", "has no column 'run'"),
        ("run,plain,rhyme\na,0.5\n", "line 2: 2 cells, and the header has 3"),
        ("run,plain,rhyme\na,0.5,x\n", "line 2: run 'a' has 'x' for the corpus 'rhyme'"),
        ("run,plain,rhyme\na,1.5,-0.5\n", "run a gives 'rhyme' the negative weight -0.5"),
        ("run,plain,rhyme\na,0.5,0.4\n", r"do not sum to 1: a \(0.9\)"),
        ("run,plain,rhyme\na,0.5,0.5\na,1,0\n", r"has the run 'a' more than once \(lines 2, 3\)"),
        ("run,plain,rhyme\n../x,0.5,0.5\n", "cannot be a run's name"),
        ("run,plain,rhyme\n", "has no rows"),
        ("run,plain,rhyme\na," + "1" * 200_000 + ",0\n", "is not a CSV table: field larger"),
        ("run,plain,rhyme\n" + "a" * 300 + ",1,0\n", "the run's name has 300 letters"),
    ],
)
def test_bad_tables_are_told(tmp_path, text, words):
    (tmp_path / "ratios.csv").write_text(text)
    with pytest.raises(HaigoError, match=words):
        proxies.read_ratios(tmp_path / "ratios.csv", ["plain", "rhyme"])


def test_proxies_and_mixer_take_the_same_sums(tmp_path):
    """Rounding stays as it is written, for a run is known by its weights; up to 1 % is scaled, and more is refused, by both."""
    from mixer.proxies import read_ratios

    path = tmp_path / "ratios.csv"
    path.write_text("run,plain,rhyme\na,0.3333,0.6666\nb,0.5,0.505\n")
    made, (runs, corpora, weights, notes) = proxies.read_ratios(path), read_ratios(path)
    assert list(made["a"].values()) == [0.3333, 0.6666] and list(made["b"].values()) == list(weights[1])
    assert runs == list(made) and corpora == list(made["a"]) and "2 run(s) did not sum to exactly 1" in notes[0]
    path.write_text("run,plain,rhyme\na,0.5,0.52\nb,0.5,0.5\n")
    for reader in (proxies.read_ratios, read_ratios):
        with pytest.raises(HaigoError, match=r"do not sum to 1: a \(1.02\)"):
            reader(path)


def test_bad_input_is_told_before_anything_is_trained(world, catalogue, base, tmp_path):
    def says(**changes: object) -> str:
        given = {"ratios": TABLE, "catalogue": catalogue, "config": base, "output_dir": tmp_path, "tokens": 1300}
        with pytest.raises(HaigoError) as error:
            proxies.run(**{**given, **changes})
        return str(error.value)

    assert "gives train_data_paths" in says(config={**base, "train_data_paths": ["x"]})
    assert "Did you mean 'hidden_size'" in says(config={**base, "hiden_size": 3})
    assert "does not exist" in says(catalogue=tmp_path / "none.yml")
    assert "has no corpus 'web'" in says(ratios={"a": {"web": 1.0}})
    assert "less than one step" in says(tokens=5)
    assert not (tmp_path / "runs").exists()
    cut = world.root / "cut"
    cut.mkdir()
    for ending in ("bin", "idx"):
        blob = Path(f"{world.prefix('plain')}.{ending}").read_bytes()
        (cut / f"t.{ending}").write_bytes(blob[:-10] if ending == "bin" else blob)
    short = catalogues.Catalogue(catalogue.tokenizer, {"plain": {"train": cut / "t", "valid": cut / "t"}})
    assert "cut short" in says(ratios={"a": {"plain": 1.0}}, catalogue=short)


def test_weight_zero_is_left_out(catalogue, base):
    made = proxies.proxy_config(base, TABLE["b"], catalogue, seed=3)
    assert len(made["train_data_paths"]) == 1 and made["train_data_weights"] == [1.0] and made["seed"] == 3
    assert files.digest(base) != files.digest(made)
