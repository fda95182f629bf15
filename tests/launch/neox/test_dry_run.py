"""The dry run: the bytes that the real deepy.py made (golden_commands.json), and what it says it cannot know."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import golden_jobs
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from neox_world import World, decoded

from haigo import cli, yamlfile
from haigo.cli import HaigoError, Refused
from launch import deepy
from launch.neox import checkout
from launch.neox import launch_command as neox_command
from launch.neox import launcher as runner_command
from launch.plan.config import write_config
from launch.plan.options import ConfigOptions

GOLDEN = json.loads((Path(__file__).parent / "golden_commands.json").read_text())


@pytest.mark.parametrize("flavour", runner_command.FLAVOURS)
def test_golden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flavour: str) -> None:
    golden_jobs.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    jobs = golden_jobs.jobs()
    assert len(jobs) == len(GOLDEN[flavour]) == 15
    for job, told in zip(jobs, GOLDEN[flavour], strict=True):
        paths = [Path(name) for name in job["paths"]]
        try:
            made = neox_command.main_arguments(paths, job["overwrite"], job["environ"], job["devices"])
            ran = runner_command.executed(
                made.words,
                job["environ"],
                python="PYTHON",
                folder="FOLDER",
                flavour=flavour,
                device_count=job["devices"],
            )
        except Refused:
            assert "error" in told, job["argv"]
            continue
        assert golden_jobs.shortened(made.words) == told["runner"]
        assert golden_jobs.shortened(ran.command) == told["executes"]


@given(st.dictionaries(st.text(max_size=5), st.one_of(st.text(), st.integers(), st.floats(allow_nan=False), st.none())))
def test_encoding_is_reversible(value: dict[str, Any]) -> None:
    assert decoded(neox_command.encode(value)) == value


@pytest.fixture
def config(world: World) -> Path:
    output = world.root / "run" / "1-3B.yml"
    write_config(
        ConfigOptions(
            output=output,
            model="1-3B",
            cluster="a100-40gb",
            nodes=2,
            seq_length=512,
            mixture=world.mixture,
            catalogue=world.catalogue,
        )
    )
    (output.parent / "hosts").write_text("node1 slots=4\nnode2 slots=4\n")
    return output


def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GPT_NEOX_DIR", "GPT_NEOX_PYTHON", "MASTER_ADDR", "DLTS_HOSTFILE"):
        monkeypatch.delenv(name, raising=False)


def test_without_a_checkout(config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    bare(monkeypatch)
    monkeypatch.setenv("WANDB_API_KEY", "sesame-open")
    words = ["--dry-run", "train.py", str(config), "-H", str(config.parent / "hosts")]
    assert cli.run(deepy.main, words) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0].startswith("cd $GPT_NEOX_DIR && $GPT_NEOX_PYTHON deepy.py train.py ")
    assert "sesame-open" not in out and "WANDB_API_KEY=***" in out
    started = shlex.split(lines[lines.index("# which starts (pdsh, deeperspeed):") + 1])
    assert started[:6] == ["pdsh", "-S", "-f", "1024", "-w", "node1,node2"]
    assert "--master_addr=ADDRESS-OF-node1" in started
    for said in ("set GPT_NEOX_DIR", "set GPT_NEOX_PYTHON", "the address of node1", "which DeepSpeed"):
        assert any(line.startswith("# not known here: ") and said in line for line in lines), said
    assert cli.run(deepy.main, [*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["megatron_config"]["global_num_gpus"] == 8 and told["megatron_config"]["world_size"] == 1
    assert told["megatron_config"]["config_files"] == {"1-3B.yml": config.read_text()}
    assert decoded(told["runner"][-1]) == told["megatron_config"]
    assert decoded(told["runner"][-3]) == told["deepspeed_config"]
    assert told["executes"][-4:] == told["runner"][-4:] and told["hosts"]["node2"] == [0, 1, 2, 3]


def test_what_would_go_wrong_is_said(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare(monkeypatch)
    hosts = str(config.parent / "hosts")
    base = ["--hostfile", hosts, "--master_addr", "m"]

    def traps(*words: str, **environ: str) -> str:
        told = runner_command.executed([*base, *words, "train.py"], environ, python="p", folder="/n", device_count=4)
        return " ".join(told.traps)

    assert "starts on the launching machine" in traps("--include", "node2:0,1")
    assert "expand" in traps(NCCL_X="$HOME")
    assert "leaves out node1" in traps("--include", "node1@node2:0,1")
    assert "OMPI_COMM_WORLD_RANK" in traps("--launcher", "openmpi")
    assert "counts the whole hostfile" in traps("--launcher", "slurm", "--num_nodes", "1", "--force_multi")
    with pytest.raises(Refused, match="without GPU numbers"):
        traps("--include", "node1")
    with pytest.raises(Refused, match="launcher would say"):
        runner_command.executed([*base, "--comment", "x", "t"], {}, python="p", folder="/n", flavour="deepspeed")
    with pytest.raises(HaigoError, match="number of GPUs"):
        runner_command.executed(["t"], {}, python="p", folder="/n")
    away = runner_command.executed(["--hostfile", "none", "t"], {}, python="p", folder="/n", device_count=2)
    assert away.kind == "local" and "does not exist" in away.traps[0]


def test_a_lone_refusal_leaves_the_first_line(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bare(monkeypatch)
    words = ["--dry-run", "train.py", str(config), "-H", str(config.parent / "hosts"), "--autotuning", "tune"]
    assert cli.run(deepy.main, words) == 0
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 2 and "autotuning" in out[1]
    assert out[0].startswith("cd $GPT_NEOX_DIR && $GPT_NEOX_PYTHON deepy.py")  # not quoted: a shell fills them in
    assert cli.run(deepy.main, [*words, "--json"]) == 3
    assert cli.run(deepy.main, ["train.py", str(config), "--json"]) == 2


def test_openmpi_gets_the_variables_that_deepspeed_insists_on() -> None:
    made = checkout.environment("/v/bin/python", {"launcher": "openmpi"}, {"PATH": "/bin"})
    assert made["OMPI_COMM_WORLD_SIZE"] == "1" and made["PATH"] == "/v/bin:/bin"
    assert not any(name.startswith("OMPI") for name in checkout.environment("/v/bin/python", {}, {"PATH": "/bin"}))


def test_numbers_are_read_as_gpt_neox_reads_them(config: Path) -> None:
    content = yamlfile.read(config)
    text = yaml.safe_dump({**content, "min_lr": "TRAP"}).replace("TRAP", "1e-5")
    config.write_text(text)
    made = neox_command.main_arguments([config], {"user_script": "t"}, {}, 8)
    assert made.values["min_lr"] == "1e-5"  # which launch.preflight refuses
