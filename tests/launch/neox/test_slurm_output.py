"""A job script never takes the place of a config that it is to run."""

from __future__ import annotations

from pathlib import Path

import pytest
from neox_world import World

from haigo import cli
from launch import slurm
from launch.plan.config import write_config
from launch.plan.options import ConfigOptions


@pytest.mark.parametrize(
    ("name", "output"), [("a.yml", "a.yml"), ("a-launcher.yml", "a.sbatch"), ("a.yml", "link.yml")]
)
def test_a_config_is_not_written_over(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, output: str
) -> None:
    config = tmp_path / name
    write_config(
        ConfigOptions(
            output=config,
            model="1-3B",
            cluster="a100-40gb",
            nodes=1,
            seq_length=512,
            mixture=world.mixture,
            catalogue=world.catalogue,
        )
    )
    (tmp_path / "link.yml").symlink_to(config)
    before = config.read_bytes()
    words = [str(config), "--nodes", "1", "--time", "1:00:00", "--output"]
    assert cli.run(slurm.main, [*words, str(tmp_path / output)]) == cli.REFUSED
    err = capsys.readouterr().err
    assert name in err and "fix: " in err and config.read_bytes() == before
    assert cli.run(slurm.main, [*words, str(tmp_path / "b.sbatch")]) == 0
