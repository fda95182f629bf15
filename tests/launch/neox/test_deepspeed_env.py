"""`.deepspeed_env`: values survive DeepSpeed's reader and a shell, secrets stay out."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haigo import cli
from haigo.cli import HaigoError, Refused
from launch import deepspeed_env
from launch.neox import launcher as runner_command

VALUE = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=30
)


@settings(max_examples=40, deadline=None)
@given(VALUE, st.sampled_from(runner_command.FLAVOURS))
def test_values_survive_the_launcher_and_a_shell(value: str, flavour: str) -> None:
    try:
        content = deepspeed_env.text({"NAME": value}, "pdsh", flavour)
    except Refused:
        assert "%" in value or value != value.strip()
        return
    (line,) = content.splitlines()
    name, _, read = line.partition("=")  # as DeepSpeed reads it
    export = f'export {name}={runner_command.written(read, flavour)}; printf %s "$NAME"'
    done = subprocess.run(["bash", "-c", export], capture_output=True, timeout=300, check=True)
    assert done.stdout.decode() == value


def test_what_cannot_be_handed_on() -> None:
    for value in ("a\nb", " a", "50%n", "\udcff"):
        with pytest.raises(Refused):
            deepspeed_env.text({"A": value})
    with pytest.raises(Refused, match="through slurm"):
        deepspeed_env.text({"A": "x"}, "slurm")
    assert deepspeed_env.text({"A": "x"}, "slurm", "deepspeed") == "A=x\n"
    for value in ("x,y", "x y"):
        with pytest.raises(Refused):
            deepspeed_env.text({"A": value}, "slurm", "deepspeed")
    with pytest.raises(Refused):
        deepspeed_env.text({"A": "x y"}, "openmpi", "deepspeed")
    with pytest.raises(HaigoError, match="not set"):
        deepspeed_env.choose({"HF_HOME": "x"}, ["HF_HOMES"])
    with pytest.raises(HaigoError, match="not a variable"):
        deepspeed_env.choose({}, ["A;B"])


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in {"FI_A": "1", "FI_TOKEN": "sesame", "OMP_X": "a b"}.items():
        monkeypatch.setenv(name, value)
    output = tmp_path / ".deepspeed_env"
    assert cli.run(deepspeed_env.main, [str(output), "--names", "OMP_X", "--prefixes", "FI_"]) == 0
    told = capsys.readouterr()
    assert output.read_text() == "FI_A=1\nOMP_X=a b\n"
    assert "FI_TOKEN" in told.err and "sesame" not in told.out + told.err
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    assert cli.run(deepspeed_env.main, [str(output), "--prefixes", "FI_", "--secrets"]) == 0
    assert "FI_TOKEN=sesame" in output.read_text() and "sesame" not in capsys.readouterr().out
    assert cli.run(deepspeed_env.main, [str(output), "--names", ""]) == 2
    # and the dry run reads it as the launcher does
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "hosts").write_text("a slots=1\nb slots=1\n")
    ran = runner_command.executed(
        ["--hostfile", str(tmp_path / "hosts"), "--master_addr", "a", "t"],
        dict(os.environ),
        python=sys.executable,
        folder="/n",
    )
    assert ran.exports["FI_A"] == '"1"' and "sesame" not in " ".join(ran.shown())
