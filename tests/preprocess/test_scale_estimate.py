"""What preprocess.scale --estimate says of a run, against what the run takes; how repeats of a sample become those of all."""

import json
import random

import pytest

from haigo import cli, yamlfile
from haigo.formats import documents
from preprocess import scale, scale_estimate


def lines(count, seed=1):
    rng = random.Random(seed)
    for number in range(count):
        text = "".join(rng.choices("日本の山は雨である質問。川海空木火土金水", k=rng.randrange(200, 900)))
        yield json.dumps({"id": number, "text": text}, ensure_ascii=False) + "\n"


def write_run(place, model_dir, inputs):
    keys = {"corpus": "x", "inputs": [str(each) for each in inputs], "output": str(place / "out")}
    yamlfile.write(place / "run.yml", keys | {"tokenizer": str(model_dir), "clean": {"min_chars": 10}})
    return str(place / "run.yml")


@pytest.mark.parametrize("kind", ["one", "many"])
def test_counts_and_disk_are_those_of_the_run(kind, model_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scale_estimate, "LEAST_BYTES", 600_000)
    (tmp_path / "raw").mkdir()
    for number in range(40 if kind == "many" else 1):
        path = tmp_path / "raw" / f"{number:02d}.jsonl"
        path.write_text("".join(lines(50 if kind == "many" else 2000, seed=number)))
    path = write_run(tmp_path, model_dir, [tmp_path / "raw"])
    assert cli.run(scale.main, [path, "--estimate", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert not (tmp_path / "out").exists() and 0.1 < said["share"] < 0.5
    assert scale.main([path]) == 0
    manifest = json.loads((tmp_path / "out" / "train_text_document.json").read_text())
    assert said["run"]["tokens"] == pytest.approx(manifest["tokens"], rel=0.15)
    assert said["run"]["documents"] == pytest.approx(2000, rel=0.15)
    cleaned = sum(one.stat().st_size for one in (tmp_path / "out" / "clean").rglob("*.jsonl.zst"))
    assert said["run"]["disk_gb"]["clean"] == pytest.approx(cleaned / 1e9, rel=0.25, abs=0.001)
    assert said["run"]["cpu_hours"]["all"] > 0 and not said["run"]["extrapolated"]
    assert documents.SPLITS[0] == "train"


def test_so_many_tokens_are_labelled(model_dir, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(scale_estimate, "LEAST_BYTES", 100_000)
    (tmp_path / "a.jsonl").write_text("".join(lines(200)))
    path = write_run(tmp_path, model_dir, [tmp_path / "a.jsonl"])
    assert cli.run(scale.main, [path, "--estimate", "--tokens", "2e11"]) == 0
    out = capsys.readouterr().out
    assert "so many tokens:" in out and ("199,9" in out or "200,0" in out)
    assert out.count("extrapolation: estimates were held against runs of up to") == 1
    assert cli.run(scale.main, [path, "--tokens", "2e11"]) == cli.BAD_INPUT
    assert "--tokens says nothing without --estimate" in capsys.readouterr().err


@pytest.mark.parametrize(("copied", "copies"), [(0.3, 2), (0.4, 5), (0.2, 50)])
def test_repeats_of_a_sample_tell_those_of_all(copied, copies):
    """A population of which a share stands in clusters, sampled at 5 %: what would go in all is worked out."""
    rng, count = random.Random(7), 400_000
    clusters = [number // copies if number < copied * count else number for number in range(count)]
    measured = []
    for share in (0.0125, 0.05):
        drawn = [one for one in clusters if rng.random() < share]
        measured.append({"cleaned": len(drawn), "kept": len(set(drawn))})
    wanted = len(set(clusters)) / count
    found = scale_estimate.stays(measured, 20)
    assert found.least - 0.01 <= wanted <= found.most + 0.01 and found.likely == pytest.approx(wanted, abs=0.15)


def test_of_too_few_repeats_nothing_is_worked_out():
    measured = [{"cleaned": 100, "kept": 100}, {"cleaned": 400, "kept": 397}]
    assert scale_estimate.stays(measured, 100) == (397 / 400, 0.0, 397 / 400)
