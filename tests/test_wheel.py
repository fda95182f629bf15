"""The wheel, installed where no checkout is: every data file is in it, every command answers, the sample world is built."""

import configparser
import importlib.metadata
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from haigo import reference

ROOT = Path(__file__).parent.parent
ROOMS = ("haigo", "neox_configs", "preprocess", "mixer", "eval_harness", "launch", "examples")
ASIDE = shutil.ignore_patterns("__pycache__", "*.pyc", ".haigo*")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder as `pip install haigo.whl` fills it, and nothing of the checkout on the path."""
    source, site = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for room in ROOMS:
        shutil.copytree(ROOT / room, source / room, ignore=ASIDE)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", source / "dist", source]
    subprocess.run(build, check=True, capture_output=True)
    wheel = next((source / "dist").glob("haigo-*.whl"))
    subprocess.run([*pip, "install", "--no-deps", "--target", site, wheel], check=True, capture_output=True)
    return site


@pytest.fixture
def call(site, tmp_path, monkeypatch):
    """Run a command of the installed wheel in an empty folder."""
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.chdir(tmp_path)

    def call(*words):
        done = subprocess.run([sys.executable, "-P", "-m", *words], capture_output=True, text=True)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    return call


def test_every_file_of_the_rooms_is_in_the_wheel(site):
    kept = {".py", ".yml", ".csv", ".html", ".sh", ".js", ".css", ".svg"}
    there = [path for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file()]
    needed = [path.relative_to(ROOT) for path in there if path.suffix in kept and "__pycache__" not in path.parts]
    assert len(needed) > 400
    assert not [path for path in needed if not (site / path).is_file()]


def test_every_command_answers(call):
    names = sorted({name.split()[0] for name, _, _ in reference.verbs()})
    with ThreadPoolExecutor(2) as pool:
        answers = dict(zip(names, pool.map(lambda name: call(name, "--help"), names), strict=True))
    assert len(names) > 40 and all(f"python -m {name}" in answer for name, answer in answers.items())


def test_the_sample_world_and_a_run_file_are_had_without_a_checkout(call, tmp_path):
    call("examples.world", "--output-dir", "world", "--size", "0.02")
    assert (tmp_path / "world" / "news").is_dir()
    call("launch.pipeline", "--init", "my.yml", "news=world/news/*.jsonl.gz", "text=world/english/*.zst")
    assert "corpora" in call("launch.pipeline", "my.yml", "--dry-run")
    assert "raw: to do" in call("launch.pipeline", "mini", "--dry-run") and not (tmp_path / "runs").exists()


def test_a_run_file_that_is_not_there_is_named_with_those_that_come_with_haigo(tmp_path, monkeypatch, capsys):
    from haigo import cli
    from launch.pipeline.__main__ import main

    monkeypatch.chdir(tmp_path)
    assert cli.run(main, ["minni"]) == 2
    assert re.search("no run file minni. Did you mean 'mini'.*fix: .*japanese, mini", capsys.readouterr().err, re.S)
    (tmp_path / "mini").write_text("output: here\n")  # one's own of that name comes first
    assert cli.run(main, ["mini"]) == 2
    assert "mini" in (said := capsys.readouterr().err) and "corpora" in said


def requirements():
    """The names that a wheel asks for, from setup.cfg: an installed copy may be of another version."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return [re.split(r"[\[<>=]", each)[0] for each in config["options"]["install_requires"].split()]


def test_what_is_installed_with_haigo_is_imported_somewhere():
    names = {"pyyaml": "yaml", "scikit-learn": "sklearn"}
    source = "\n".join(path.read_text(encoding="utf-8") for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    for each in requirements():
        module = names.get(each, each.replace("-", "_"))
        assert re.search(rf"^\s*(import|from) {module}\b", source, re.MULTILINE), f"nothing imports {each}"


def test_what_is_installed_with_haigo_stands_in_the_table_of_licences():
    table = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([\w.-]+)`[^|]*\|[^|]+\| ([^|]+) \|$", table, re.MULTILINE))
    assert set(requirements()) <= set(rows)
    for name, licence in rows.items():
        try:
            about = importlib.metadata.metadata(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # an extra that is not installed
        stated = " ".join(
            [about.get("License-Expression") or about.get("License") or "", *(about.get_all("Classifier") or [])]
        )
        assert licence in stated.replace("Python Software Foundation", "PSF"), f"{name} says of itself: {stated[:200]}"
