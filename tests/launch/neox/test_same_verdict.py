"""What a start over pdsh must not hand to a shell, a dry run refuses too; what is fine for one is fine for the other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from neox_world import World
from shared_data import data_of

from haigo import cli
from launch import deepspeed_env, deepy
from launch.neox import checkout
from launch.neox import launcher as runner_command
from launch.plan.checks import machine as place
from launch.plan.checks.check import Check
from launch.plan.config import write_config
from launch.plan.options import ConfigOptions

DATA = data_of(__file__)


@pytest.fixture
def verdicts(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Environment and further words -> exit code and message of the dry run, and of the start."""
    neox, config = tmp_path / "neox", tmp_path / "1-3B.yml"
    (neox / "megatron").mkdir(parents=True)
    for name in ("deepy.py", "train.py"):
        (neox / name).write_text(f"open({str(tmp_path / 'started')!r}, 'w').close()\n")
    write_config(
        ConfigOptions(
            output=config,
            model="1-3B",
            cluster="a100-40gb",
            nodes=2,
            seq_length=512,
            mixture=world.mixture,
            catalogue=world.catalogue,
        )
    )
    (tmp_path / "hosts").write_text("node1 slots=4\nnode2 slots=4\n")
    for name in ("MASTER_ADDR", "DLTS_HOSTFILE", "GPT_NEOX_PYTHON"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GPT_NEOX_DIR", str(neox))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(checkout, "interpreter", lambda extra=(): Path(sys.executable))
    # this machine reaches no node1: what remains is what was asked of the command itself
    monkeypatch.setattr(place, "checks", lambda *given, **more: [Check("place", "ok", "")])

    def call(environ: dict[str, str], config_text: str = "{}", *words: str) -> list[tuple[int, str]]:
        (tmp_path / "more.yml").write_text(config_text)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        argv = [
            "train.py",
            str(config),
            str(tmp_path / "more.yml"),
            "-H",
            str(tmp_path / "hosts"),
            "--no-supervise",
            *words,
        ]
        found = []
        for first in (["--dry-run"], []):
            found.append((cli.run(deepy.main, [*first, *argv]), capsys.readouterr().err))
        return found

    return call


@pytest.mark.parametrize("environ", DATA["what_a_shell_elsewhere_would_run"])
def test_what_a_shell_elsewhere_would_run(environ: dict[str, str], verdicts: Any, tmp_path: Path) -> None:
    (dry, first), (real, second) = verdicts(environ)
    assert dry == real == 3 and "launcher: " in first and not (tmp_path / "started").exists()
    assert first.splitlines()[-2:] == second.splitlines()[-2:]
    assert next(iter(environ)) in first or "m;id" in first
    assert verdicts({}, "{}", "--no-preflight")[0][0] == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{include: "node1@node2:0,1,2,3"}', "leaves out node1"),
        ("{launcher: openmpi}", "without deepspeed_mpi"),
        ('{include: "nobody"}', "nobody"),
    ],
)
def test_what_the_launcher_itself_gets_wrong(
    text: str, said: str, verdicts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "checks", lambda config, base, hostfile: place.named_hosts(config, hostfile))
    (dry, first), (real, second) = verdicts({}, text)
    assert dry == real == 3 and said in first and said in second


def test_what_is_harmless_starts(verdicts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"NCCL_X": "eth0,eth1 a=b", "UCX_A": "a b", "MLFLOW_A": "日本"}
    assert verdicts(given)[0][0] == 0
    monkeypatch.setenv("OWN_A", 'a "b" $HOME `id` \\ c')
    assert cli.run(deepspeed_env.main, [str(tmp_path / ".deepspeed_env"), "--names", "OWN_A"]) == 0
    (dry, first), _ = verdicts(given)
    assert dry == 0, first  # escaped there, it arrives as it is
    told = runner_command.executed(
        ["--hostfile", str(tmp_path / "hosts"), "--master_addr", "m", "train.py"],
        {"HOME": str(tmp_path)},
        python="p",
        folder="/n",
    )
    shown = subprocess.run(
        ["bash", "-c", f'{told.command[6]} printf %s "$OWN_A"'],
        capture_output=True,
        text=True,
        check=True,
        env={"HOME": "/h"},
    )
    assert shown.stdout == 'a "b" $HOME `id` \\ c' and told.harm == []
    (tmp_path / ".deepspeed_env").write_text("OWN_A=a$(id)\n")
    assert [code for code, _ in verdicts(given)] == [3, 3]


def test_folders_with_blanks_are_named(verdicts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "neox").rename(tmp_path / "my neox")
    monkeypatch.setenv("GPT_NEOX_DIR", str(tmp_path / "my neox"))
    (dry, first), (real, _) = verdicts({})
    assert dry == real == 3 and "my neox" in first and "take it apart" in first
