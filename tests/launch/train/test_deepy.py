"""launch.deepy: finding GPT-NeoX, the command, and processes that crash, lie and are stopped."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from neox_world import REPO, World
from shared_data import data_of

from haigo import cli, yamlfile
from launch import deepy
from launch.plan.config import write_config
from launch.plan.options import ConfigOptions
from launch.train.outcome import Seen

DATA = data_of(__file__)

LINE = (
    " samples/sec: 1.0 | iteration {:8d}/{:8d} | learning rate: 1.0E-04 | lm_loss: {} | number of nan iterations:   0 |"
)


@pytest.fixture
def config(world: World) -> Path:
    output = world.root / "run" / "tiny.yml"
    arguments = {"mixture": world.mixture, "catalogue": world.catalogue, "tokens": 20_480}
    write_config(ConfigOptions(output=output, model="0-1M", cluster="local-cpu", **arguments))
    with socket.socket() as one:  # DeepSpeed's own port may be in use on a machine where something trains
        one.bind(("", 0))
        yamlfile.write(output, {**yamlfile.read(output), "master_port": one.getsockname()[1]})
    return output


def log_lines(*losses: str) -> str:
    return "\n".join(LINE.format(step, 20, loss) for step, loss in enumerate(losses, start=1))


def saved(config: Path, tag: str) -> str:
    """Python that writes a checkpoint and `latest` as a run would."""
    folder = config.parent / "checkpoints" / "tiny"
    return (
        f"import pathlib, zipfile; p = pathlib.Path({str(folder)!r}); (p / {tag!r}).mkdir(parents=True); "
        f"zipfile.ZipFile(p / {tag!r} / 'mp_rank_00_model_states.pt', 'w').writestr('archive/data.pkl', 'x'); "
        f"(p / 'latest').write_text({tag!r})"
    )


def start(monkeypatch: pytest.MonkeyPatch, behaviour: str, *words: str) -> int:
    monkeypatch.setenv("FAKE_DEEPY", behaviour)
    return cli.run(deepy.main, ["train.py", *words])


def test_dry_run_prints_the_exact_command(
    fake_neox: Path, world: World, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = tmp_path / "it's a folder; touch x"
    odd.mkdir()
    copy = odd / "a $(b).yml"
    copy.write_text(config.read_text())
    assert cli.run(deepy.main, ["--dry-run", "-d", str(odd), "train.py", "a $(b)", "--wandb_group", "g h"]) == 0
    shown = capsys.readouterr().out.splitlines()[0]
    words = shlex.split(shown)
    assert words == [
        "cd",
        str(fake_neox),
        "&&",
        sys.executable,
        "deepy.py",
        "train.py",
        str(copy),
        "--wandb_group",
        "g h",
    ]
    assert not (tmp_path / "x").exists()


def test_hostfile_and_several_configs_are_handed_on(
    fake_neox: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = yamlfile.read(config)
    seed = content.pop("seed")
    yamlfile.write(config, content)
    yamlfile.write(config.parent / "more.yml", {"seed": seed})
    (config.parent / "hosts").write_text("here slots=1\n")
    monkeypatch.chdir(config.parent)
    assert cli.run(deepy.main, ["--dry-run", "train.py", "tiny", "more.yml", "-H", "hosts"]) == 0
    words = shlex.split(capsys.readouterr().out.splitlines()[0])
    assert words[-4:] == [str(config), str(config.parent / "more.yml"), "--hostfile", str(config.parent / "hosts")]


def test_a_run_that_ends_well(fake_neox: Path, config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    behaviour = f"print({log_lines('3.0', '2.5')!r}); {saved(config, 'global_step20')}"
    assert start(monkeypatch, behaviour, str(config), "--log", str(tmp_path / "log")) == 0
    assert "lm_loss: 2.5" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("behaviour", "code", "said"),
    [
        ("raise SystemExit(7)", 7, "ended with 7"),
        ("raise ValueError('x')", 1, "an exception in GPT-NeoX"),
        ("raise SystemExit(247)", 247, "a rank was killed"),
        ("os.kill(os.getpid(), 9)", 137, "it was killed"),
        ("os.kill(os.getpid(), 15)", 143, "stopped by SIGTERM"),
    ],
)
def test_exit_codes_are_the_childs(
    fake_neox: Path,
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    behaviour: str,
    code: int,
    said: str,
) -> None:
    assert start(monkeypatch, behaviour, str(config)) == code
    assert said in capsys.readouterr().err


def test_nan_is_a_failure_although_gpt_neox_says_0(
    fake_neox: Path, config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    behaviour = f"print({log_lines('3.0', 'NAN', '2.0')!r}); {saved(config, 'global_step20')}"
    assert start(monkeypatch, behaviour, str(config)) == 4
    assert "not a number at step 2" in capsys.readouterr().err


@pytest.mark.parametrize("tag", ["global_step10", None])
def test_a_run_that_did_not_arrive(
    fake_neox: Path, config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tag: str | None
) -> None:
    assert start(monkeypatch, saved(config, tag) if tag else "pass", str(config)) == 4
    assert "and not global_step20" in capsys.readouterr().err


ORPHAN = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
open({pid!r}, "w").write(str(child.pid))
{then}
"""


def gone(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] in "ZX"


def test_ranks_left_behind_are_stopped_and_told(
    fake_neox: Path,
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    # what happens when the launcher is killed: deepy.py says 0 and the ranks train on
    behaviour = ORPHAN.format(pid=str(tmp_path / "pid"), then=saved(config, "global_step20"))
    assert start(monkeypatch, behaviour, str(config)) == 4
    assert "ranks were still training" in capsys.readouterr().err
    assert gone(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_reaches_every_rank(fake_neox: Path, config: Path, tmp_path: Path, number: int, code: int) -> None:
    pid = tmp_path / "pid"
    behaviour = ORPHAN.format(pid=str(pid), then="signal = __import__('signal').pause()")
    environment = {**os.environ, "FAKE_DEEPY": behaviour}
    environment["PYTHONPATH"] = os.pathsep.join([environment["PYTHONPATH"], str(REPO)])
    # stubs for GPT-NeoX's packages stand on PYTHONPATH; Haigo itself must not see them
    code_here = (
        f"import sys; sys.path.remove({str(fake_neox / 'site')!r}); sys.argv = ['x']; from haigo import cli; "
        f"from launch import deepy; raise SystemExit(cli.run(deepy.main, ['train.py', {str(config)!r}]))"
    )
    haigo = subprocess.Popen([sys.executable, "-c", code_here], env=environment, cwd=REPO, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 240
        while not (pid.exists() and pid.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.2)
        haigo.send_signal(number)
        assert haigo.wait(timeout=300) == code
    finally:
        haigo.kill()
    assert gone(int(pid.read_text()))


def test_what_is_missing_is_told_in_one_sentence(
    fake_neox: Path,
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    def told() -> str:
        assert cli.run(deepy.main, ["--dry-run", "train.py", str(config)]) == 2
        return capsys.readouterr().err.splitlines()[-2]

    monkeypatch.setenv("GPT_NEOX_PYTHON", str(tmp_path / "none"))
    assert "is not a program" in told()
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -S -E "$@"\n')
    bare.chmod(0o755)
    monkeypatch.setenv("GPT_NEOX_PYTHON", str(bare))
    assert "has no package torch" in told()
    bare.write_text("#!/bin/sh\nexit 3\n")
    assert "does not start as a Python" in told()
    monkeypatch.setenv("GPT_NEOX_DIR", str(tmp_path))
    assert "has no deepy.py" in told()
    monkeypatch.delenv("GPT_NEOX_DIR")
    assert cli.run(deepy.main, ["train.py", str(config)]) == 2
    assert "GPT_NEOX_DIR is not set" in capsys.readouterr().err


def test_flash_attention_must_be_installed(fake_neox: Path, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    yamlfile.write(config, {**yamlfile.read(config), "attention_config": [[["flash"], 3]]})
    assert cli.run(deepy.main, ["--dry-run", "train.py", str(config)]) == 2
    assert "has no package flash_attn" in capsys.readouterr().err


def test_checks_come_first(
    fake_neox: Path, config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    yamlfile.write(config, {**yamlfile.read(config), "data_impl": "infer"})
    assert start(monkeypatch, "raise SystemExit(9)", str(config)) == 3
    assert "data_impl" in capsys.readouterr().err
    assert start(monkeypatch, "raise SystemExit(9)", str(config), "--no-preflight") == 9


@pytest.mark.parametrize(("words", "said"), DATA["bad_words"])
def test_bad_words(
    fake_neox: Path, config: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert cli.run(deepy.main, [str(config) if word == "CONFIG" else word for word in words]) in (2, 3)
    assert said in capsys.readouterr().err


def test_other_scripts_are_not_judged_as_training(
    fake_neox: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (fake_neox / "eval.py").write_text("")
    monkeypatch.setenv("FAKE_DEEPY", "pass")
    assert cli.run(deepy.main, ["eval.py", str(config), "--iteration", "10"]) == 0


def test_reading_the_log() -> None:
    seen = Seen()
    for line in log_lines("2.0E+00", "1.5E+00").splitlines():
        seen.take(line)
    assert (seen.iteration, seen.loss, seen.nan_at) == (2, 1.5, None)
    seen.take(" iteration       3/      20 | lm_loss: inf |")
    assert seen.nan_at == 3
