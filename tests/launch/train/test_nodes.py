"""A run whose nodes are started one by one: who does what, told by options and environment; crashes, ends and waits."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from shared_data import data_of
from test_supervise import EVERY, ITERS, Run, run  # noqa: F401 - a fixture

from haigo import cli, yamlfile
from haigo.cli import HaigoError
from launch.neox import ports
from launch.train import nodes
from launch.train.options import DeepyOptions

DATA = data_of(__file__)

LAUNCH = '''"""Stands in for DeepSpeed's launcher on a node: the first trains, the others end as it ends."""
import json, os, pathlib, sys, time
rank = int(next(word for word in sys.argv if word.startswith("--node_rank="))[12:])
plan = json.loads(os.environ["FAKE_TRAINING"])
print("ranks of node", rank, os.environ.get("RANK"), flush=True)
if rank == 0:
    sys.argv = ["deepy.py", "train.py", str(pathlib.Path(plan["save"]).parents[1] / "tiny.yml")]
    exec(compile(pathlib.Path("deepy.py").read_text(), "deepy.py", "exec"), {"__name__": "__main__"})
    raise SystemExit(0)
save = pathlib.Path(plan["save"])
calls = save.parent / (save.name + ".calls.jsonl")
before = len(calls.read_text().splitlines()) if calls.exists() else 0
end = time.monotonic() + 120
while time.monotonic() < end:
    time.sleep(0.05)
    last = json.loads(calls.read_text().splitlines()[-1]) if calls.exists() and calls.read_text() else None
    if last is None:
        continue
    if (save / "latest").is_file() and (save / "latest").read_text() == f"global_step{plan['iters']}":
        raise SystemExit(0)
    if not os.path.exists(f"/proc/{last['pid']}"):
        time.sleep(1)
        raise SystemExit(1)
raise SystemExit(9)
'''
WORDS = ("--every-node", "--nnodes", "2", "--nproc-per-node", "1")


@pytest.fixture
def two(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:  # noqa: F811
    """The run on two nodes, which DeepSpeed's launcher would start."""
    launcher = run.root / "site" / "deepspeed" / "launcher"
    launcher.mkdir()
    (launcher / "__init__.py").write_text("")
    (launcher / "launch.py").write_text(LAUNCH)
    config = {key: value for key, value in yamlfile.read(run.config).items() if key not in ("num_gpus", "master_port")}
    yamlfile.write(run.config, {**config, "train_micro_batch_size_per_gpu": config["train_batch_size"] // 2})
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(ports.free()))
    monkeypatch.setenv("RANK", "7")  # an operator's, which is none of the ranks'
    return run


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    said = process.communicate(timeout=240)[1]
    return process.returncode, said


def test_the_others_do_what_the_first_does(two: Run) -> None:
    two.plan(pause=0.5)
    other = two.start(*WORDS, "--node-rank", "1")
    assert two.go(*WORDS, "--node-rank", "0") == cli.OK
    code, said = ended(other)
    assert code == cli.OK and "node 1 of 2 started (start 1" in said and "the first node ended with 0" in said
    log = two.save / "haigo" / "nodes" / "1" / "output.log"
    assert "ranks of node 1 None" in log.read_text() and "ranks of node 0 None" in two.log
    assert two.latest() == f"global_step{ITERS}"


def test_a_crash_starts_all_of_them_again(two: Run) -> None:
    two.plan({"kind": "exit", "at": EVERY + 2, "code": 1}, pause=0.5)
    other = two.start(*WORDS, "--node-rank", "1")
    assert two.go(*WORDS, "--node-rank", "0") == cli.OK
    code, said = ended(other)
    assert code == cli.OK and "started (start 1" in said and "started (start 2" in said
    assert two.steps().count(EVERY) == 1 and two.steps().count(EVERY + 1) == 2


def test_the_end_of_an_earlier_job_ends_nobody(two: Run) -> None:
    two.plan({"kind": "exit", "at": EVERY + 2, "code": 1}, None, pause=0.3)
    assert two.go(*WORDS, "--node-rank", "0", "--max-restarts", "0") == 1
    assert nodes.state(two.save / "haigo") == {**(nodes.state(two.save / "haigo") or {}), "kind": "end", "code": 1}
    other = two.start(*WORDS, "--node-rank", "1")
    assert two.go(*WORDS, "--node-rank", "0") == cli.OK
    assert ended(other)[0] == cli.OK


def test_a_check_that_fails_is_told_to_all(two: Run, capsys: pytest.CaptureFixture[str]) -> None:
    two.plan()
    yamlfile.write(two.config, {**yamlfile.read(two.config), "hostfile": "/nowhere"})
    assert two.go(*WORDS, "--node-rank", "0") == cli.REFUSED
    assert two.go(*WORDS, "--node-rank", "1") == cli.REFUSED
    assert "hostfile, which --every-node decides itself" in capsys.readouterr().err


def test_a_first_node_that_never_comes(two: Run, capsys: pytest.CaptureFixture[str]) -> None:
    two.plan()
    assert two.go(*WORDS, "--node-rank", "1", "--hang-pause", "1") == cli.FAILED
    assert "the first node started nothing" in capsys.readouterr().err


def test_the_dry_run_shows_every_node(two: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert two.go(*WORDS, "--node-rank", "0", "--dry-run", "--json") == cli.OK
    shown = json.loads(capsys.readouterr().out)
    assert [words[5] for words in shown["nodes"]] == ["--node_rank=0", "--node_rank=1"]
    assert shown["torchrun"][1][:4] == ["torchrun", "--nnodes=2", "--node-rank=1", "--nproc-per-node=1"]
    assert shown["nodes"][0][-5:] == shown["nodes"][1][-5:] == shown["torchrun"][0][-5:]
    assert shown["megatron_config"]["global_num_gpus"] == 2 and not shown["megatron_config"].get("rank")
    assert two.go(*WORDS, "--node-rank", "0", "--dry-run") == cli.OK
    assert "--node_rank=$NODE_RANK" in capsys.readouterr().out and not two.save.exists()


@pytest.mark.parametrize("case", DATA["found"], ids=lambda case: case["name"])
def test_what_operators_say(case: dict[str, Any]) -> None:
    options = DeepyOptions(user_script="train.py", conf_file=["x"], every_node=True, **case.get("options", {}))
    found = nodes.find(options, case["environment"])
    assert found is not None
    assert [found.count, found.rank, found.gpus, found.address, found.port] == case["nodes"]


@pytest.mark.parametrize("case", DATA["refused"], ids=lambda case: case["said"])
def test_what_is_missing_is_named(case: dict[str, Any]) -> None:
    given = {"every_node": True, "nproc_per_node": 8, **case.get("options", {})}
    with pytest.raises(HaigoError) as error:
        nodes.find(DeepyOptions(user_script="train.py", conf_file=["x"], **given), case["environment"])
    assert case["said"] in error.value.problem and error.value.fix


def test_without_the_option_nothing_changes() -> None:
    options = DeepyOptions(user_script="train.py", conf_file=["x"])
    assert nodes.find(options, {"NNODES": "2", "RANK": "1", "MASTER_ADDR": "a"}) is None
