"""No password, key or token in what is shown or written of a start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from neox_world import World, decoded

from haigo import cli, files
from launch import deepspeed_env, deepy
from launch.pipeline.__main__ import main as pipeline_main
from launch.plan.config import write_config
from launch.plan.options import ConfigOptions
from launch.train import event_log, process, record

SECRETS = {
    "WANDB_API_KEY": "sesame",
    "NCCL_AUTH": "sesame",
    "UCX_SOME_TOKEN": "sesame open",
    "MLFLOW_TRACKING_PASSWORD": "sesame",
    "MLFLOW_TRACKING_URI": "https://user:sesame@mlflow.example/x",
    "PYTHON_INDEX": "http://sesame@pypi.example/simple?api_key=sesame",
    "AZUREML_BLOB_ACCOUNT_KEY": "sesame",
    "NCCL_PLAIN": "eth0",
}


@pytest.fixture
def config(world: World, tmp_path: Path) -> Path:
    """A config for two nodes in which somebody put what does not belong there."""
    output = tmp_path / "1-3B.yml"
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
    output.write_text(output.read_text() + "\n# my_token: sesame\nwandb_host: https://u:sesame@w.example\n")
    (tmp_path / "hosts").write_text("node1 slots=4\nnode2 slots=4\n")
    return output


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GPT_NEOX_DIR", "GPT_NEOX_PYTHON", "MASTER_ADDR", "DLTS_HOSTFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("launcher", ["pdsh", "slurm", "openmpi"])
def test_the_dry_run(config: Path, launcher: str, capsys: pytest.CaptureFixture[str]) -> None:
    more = config.with_name("launcher.yml")
    extra = {"slurm": ", deepspeed_slurm: true, no_ssh_check: true", "openmpi": ", deepspeed_mpi: true"}.get(
        launcher, ""
    )
    more.write_text(f"{{launcher: {launcher}{extra}}}")
    words = ["--dry-run", "train.py", str(config), str(more), "-H", str(config.parent / "hosts"), "--no-preflight"]
    for flags in ([], ["--json"]):
        assert cli.run(deepy.main, [*words, *flags]) == 0
        said = capsys.readouterr()
        assert "sesame" not in said.out + said.err
        assert all(name in said.out for name in SECRETS) and "NCCL_AUTH=***" in said.out
        assert "https://***@mlflow.example/x" in said.out and "eth0" in said.out
    told = json.loads(said.out)
    for word in (*told["runner"][-3::2], *told["executes"][-3::2]):
        assert "sesame" not in json.dumps(decoded(word)) and "***" in json.dumps(told)
    assert decoded(told["runner"][-1]) == told["megatron_config"]
    assert told["megatron_config"]["wandb_host"] == "https://***@w.example"


@pytest.mark.usefixtures("bare")
def test_a_deepspeed_env_leaves_them_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "env"
    assert cli.run(deepspeed_env.main, [str(output), "--prefixes", "NCCL_,UCX_,MLFLOW_,PYTHON_"]) == 0
    said = capsys.readouterr()
    assert output.read_text() == "NCCL_PLAIN=eth0\n" and "sesame" not in said.out + said.err
    assert all(name in said.err for name in ("NCCL_AUTH", "MLFLOW_TRACKING_URI", "UCX_SOME_TOKEN"))


def test_what_is_written_of_a_start(tmp_path: Path) -> None:
    words = ["python", "deepy.py", "--wandb-token", "sesame", "--x_auth=sesame", "http://u:sesame@h/"]
    record.note_start(tmp_path, {"corpora": []}, 0, 1, words)
    event_log.note(tmp_path, "started", command=" ".join(words[3:]).replace("sesame --", "--"), api_key="sesame")
    written = "".join(path.read_text() for path in tmp_path.rglob("*.json*"))
    assert "sesame" not in written and written.count("***") >= 4
    assert files.read_json(tmp_path / record.NAME)["starts"][0]["command"][3] == "***"


def test_what_the_launcher_tells_of_its_exports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = 'cmd = pdsh export WANDB_API_KEY="sesame"; export X_URL="http://u:sesame@h/"; cd /x\n'
    words = ["printf", "%s", told]
    ran = process.foreground(words, tmp_path, {"PATH": "/usr/bin:/bin"}, tmp_path / "log", lambda line: None)
    assert ran.code == 0
    said = capsys.readouterr().out + (tmp_path / "log").read_text()
    assert "sesame" not in said and said.count('X_URL="http://***@h/"') == 2


def test_the_pipelines_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OWN_TOKEN", "sesame")
    [(tmp_path / f"{name}.jsonl").write_text('{"text": "x"}\n') for name in "ab"]
    assert cli.run(pipeline_main, ["--init", "run.yml", "a=a.jsonl", "b=b.jsonl"]) == 0
    argv: list[Any] = ["run.yml", "--set", "title=http://u:sesame@h/", "--set", "note=api_key=sesame"]
    cli.run(pipeline_main, [*argv, "--set", "clean.profile=none-of-these"])
    cli.run(pipeline_main, argv)
    said = capsys.readouterr()
    found = [path for path in tmp_path.rglob("*") if path.name in ("command.txt", "env.json")]
    assert {path.name for path in found} == {"command.txt", "env.json"}
    assert "sesame" not in said.out + said.err + "".join(path.read_text() for path in found)
    assert "http://***@h/" in next(path for path in found if path.name == "command.txt").read_text()
