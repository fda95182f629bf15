"""Node lists of Slurm and PBS without either (test_cluster.py compares with the real scontrol)."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haigo import cli
from haigo.cli import HaigoError
from launch import hostfile as hostfile_verb
from launch.neox import hostfile, nodelist

STEM = st.from_regex(r"[a-z][a-z0-9-]{0,4}[a-z]", fullmatch=True)


@given(STEM, st.integers(0, 2000), st.integers(0, 300), st.integers(1, 6))
def test_ranges_keep_their_zeros(stem: str, first: int, more: int, width: int) -> None:
    text = f"{stem}[{first:0{width}}-{first + more}]"
    hosts = nodelist.expand(text)
    assert hosts == [f"{stem}{number:0{max(width, len(str(first)))}}" for number in range(first, first + more + 1)]


@given(st.text(max_size=30))
def test_any_text_gives_host_names_or_a_sentence(text: str) -> None:
    try:
        hosts = nodelist.expand(text)
    except HaigoError:
        return
    assert hosts and all(nodelist.NAME.fullmatch(host) for host in hosts)


@pytest.mark.parametrize(
    "text",
    ["", "a,,b", "a[1-2", "a]1[", "a[[1]]", "a[2-1]", "a[x]", "a[1-99999999]", "a[0-65535]b[0-9]", "-oProxyCommand=x", "a b",
     "a;reboot", "$(id)", "a\nb", "a,a", "a[1,1]", "ａ1", "a[²]"],
)  # fmt: skip
def test_what_is_no_list_of_hosts_is_refused(text: str) -> None:
    with pytest.raises(HaigoError):
        nodelist.expand(text)


def test_counts() -> None:
    assert nodelist.counts("4,2,1(x2)") == [4, 2, 1, 1]
    assert nodelist.counts("8(x3)") == [8, 8, 8]
    for text in ("", "4(2)", "x", "1(x99999999)"):
        with pytest.raises(HaigoError):
            nodelist.counts(text)


def test_gpus_of_a_slurm_job() -> None:
    job = {"SLURM_JOB_NODELIST": "n[1-2]"}
    assert nodelist.slurm({**job, "SLURM_GPUS_ON_NODE": "4"}) == {"n1": 4, "n2": 4}
    assert nodelist.slurm({**job, "SLURM_GPUS_PER_NODE": "a100:8"}) == {"n1": 8, "n2": 8}
    assert nodelist.slurm({**job, "SLURM_JOB_GPUS": "0,1,2"}) == {"n1": 3, "n2": 3}
    assert nodelist.slurm({**job, "SLURM_TASKS_PER_NODE": "4,2"}) == {"n1": 4, "n2": 2}
    assert nodelist.slurm({**job, "SLURM_GPUS_ON_NODE": "4"}, 2) == {"n1": 2, "n2": 2}
    for wrong in ({}, job, {**job, "SLURM_TASKS_PER_NODE": "4"}, {**job, "SLURM_GPUS_ON_NODE": "none"}):
        with pytest.raises(HaigoError):
            nodelist.slurm(wrong)


def test_pbs_and_named_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes, output = tmp_path / "nodes", tmp_path / "hosts"
    nodes.write_text("a\na\nb\nb\n\n")
    monkeypatch.setenv("PBS_NODEFILE", str(nodes))
    monkeypatch.delenv("SLURM_JOB_NODELIST", raising=False)
    assert cli.run(hostfile_verb.main, [str(output), "--from", "job"]) == 0
    assert hostfile.read(output) == {"a": 2, "b": 2}
    assert cli.run(hostfile_verb.main, [str(output), "--from", "g[08-09]", "--gpus-per-node", "4"]) == 0
    assert output.read_text() == "g08 slots=4\ng09 slots=4\n"
    assert cli.run(hostfile_verb.main, [str(output), "--from", "g[08-09]"]) == 2
    assert cli.run(hostfile_verb.main, [str(output), "--from", "slrum"]) == 2
    assert "Did you mean 'slurm'" in capsys.readouterr().err
    assert cli.run(hostfile_verb.main, [str(output), "--from", "g;x", "--gpus-per-node", "4"]) == 2
    nodes.write_text("a;reboot\n")
    assert cli.run(hostfile_verb.main, [str(output), "--from", "pbs"]) == 2
    assert output.read_text() == "g08 slots=4\ng09 slots=4\n"
    assert "host name" in capsys.readouterr().err
