"""Hostfiles: DeepSpeed's form, and what its filters leave."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared_data import data_of

from haigo import cli
from haigo.cli import HaigoError
from launch import hostfile as hostfile_verb
from launch.neox import hostfile

DATA = data_of(__file__)

HOSTS = {"node-a": 4, "node-b": 4, "gpu003.cluster": 2}


def test_round_trip(tmp_path: Path) -> None:
    hostfile.write(tmp_path / "hosts", HOSTS)
    assert (tmp_path / "hosts").read_text().splitlines()[0] == "node-a slots=4"
    assert hostfile.read(tmp_path / "hosts") == HOSTS
    assert hostfile.parse("# comment\n\n  a slots=2  # here\n") == {"a": 2}


@pytest.mark.parametrize(("text", "said"), DATA["other_forms_are_refused"])
def test_other_forms_are_refused(text: str, said: str) -> None:
    with pytest.raises(HaigoError, match=said):
        hostfile.parse(text)


@given(st.text(max_size=40))
def test_any_text_gives_hosts_or_a_sentence(text: str) -> None:
    try:
        hosts = hostfile.parse(text)
    except HaigoError:
        return
    assert all(slots > 0 and not set(host) & set(" ;|&$`'\"\\\n<>()") for host, slots in hosts.items())


@pytest.mark.parametrize(("options", "left"), DATA["filters"])
def test_filters(options: dict, left: dict[str, int]) -> None:
    assert {host: len(gpus) for host, gpus in hostfile.select(HOSTS, **options).items()} == left


@pytest.mark.parametrize(("options", "said"), DATA["filters_that_fail"])
def test_filters_that_fail(options: dict, said: str) -> None:
    with pytest.raises(HaigoError, match=said):
        hostfile.select(HOSTS, **options)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hostfile.write(tmp_path / "hosts", HOSTS)
    assert cli.run(hostfile_verb.main, [str(tmp_path / "hosts"), "--include", "node-a"]) == 0
    assert "1 hosts, 4 GPUs" in capsys.readouterr().out
    assert cli.run(hostfile_verb.main, [str(tmp_path / "none")]) == 2
    (tmp_path / "marked").write_text("a slots=4\n", encoding="utf-8-sig")  # DeepSpeed would ask ssh for "\ufeffa"
    assert cli.run(hostfile_verb.main, [str(tmp_path / "marked")]) == 2
    assert "marked begins with a byte order mark" in capsys.readouterr().err
