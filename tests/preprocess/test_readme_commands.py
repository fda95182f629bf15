"""The text commands of the README and of the guide, run as they stand: each reads what the one before it wrote."""

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from haigo import files

ROOT = Path(__file__).parent.parent.parent
LETTERS = "いろはにほへとちりぬるをわかよたれそつねならむうゐのおくやまけふこえてあさきゆめみしゑひもせす山川雨雪国会"
# what a scratch folder has not: servers, Slurm, files of tasks
_NOT_HERE = ("preprocess.fetch", "preprocess.scale")


def text(rng, sentences=5):
    return (
        "。".join("".join(rng.choices(LETTERS, k=rng.randint(12, 40))) for _ in range(sentences))
        + "。 And a line of English."
    )


def scratch(folder):
    """Raw corpora with a repeated text and an evaluation item in them."""
    rng = random.Random(1)
    asked = text(rng, 4)
    page = {"qid": "q1", "question": asked, "ctxs": [], "answers": ["山"]}
    for name in ("raw/diet", "raw/wiki", "news", "wiki", "JGLUE"):
        (folder / name).mkdir(parents=True)
    rows = [{"id": f"d{number}", "text": text(rng)} for number in range(400)]
    more = [{"id": f"w{number}", "text": text(rng)} for number in range(400)]
    more += [{"id": "again", "text": rows[5]["text"]}, {"id": "test", "text": text(rng) + asked + text(rng)}]
    for name, found in (("raw/diet/a", rows), ("raw/wiki/a", more), ("news/a", rows)):
        body = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found)
        (folder / f"{name}.jsonl").write_text(body, encoding="utf-8")
    subprocess.run(["gzip", str(folder / "news/a.jsonl")], check=True)
    pages = "".join(
        f"<page><title>{row['id']}</title><ns>0</ns><id>{row['id']}</id><revision><text>{row['text']}</text></revision></page>"
        for row in more
    )
    (folder / "wiki/a.xml").write_text(f"<mediawiki>{pages}</mediawiki>", encoding="utf-8")
    subprocess.run(["bzip2", str(folder / "wiki/a.xml")], check=True)
    (folder / "JGLUE/asked.jsonl").write_text(json.dumps(page, ensure_ascii=False) + "\n", encoding="utf-8")
    chat = {"messages": [{"role": "user", "content": "山は？"}, {"role": "assistant", "content": "川です。"}]}
    (folder / "chat.jsonl").write_text(json.dumps(chat, ensure_ascii=False) + "\n", encoding="utf-8")


def commands(page):
    body = (ROOT / page).read_text(encoding="utf-8")
    if page.startswith("README"):
        part = body[body.index("| `python -m preprocess.fetch") :].split("\n\n")[0]
        found = re.findall(r"\| `((?:python|for) [^`]*)` \|", part)
    else:
        found = [block for block in re.findall(r"```\n(.*?)```", body, re.DOTALL)[:2] if "preprocess." in block]
    assert len(found) >= 2
    return [each for each in found if not any(name in each for name in _NOT_HERE)]


@pytest.mark.parametrize("page", ["README.md", "README.ja.md"])
def test_the_commands_run_one_after_the_other(tmp_path, page):
    scratch(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for command in commands(page):
        # as it stands, but for a vocabulary that so little text has pieces for
        line = command.replace("--vocab-size 50000", "--vocab-size 400").replace("python -m", f"{sys.executable} -m")
        done = subprocess.run(["bash", "-ec", line], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    folders = sorted(path.name for path in (tmp_path / "final").iterdir() if (path / "clean.json").is_file())
    data = sorted(path.relative_to(tmp_path / "data").as_posix() for path in (tmp_path / "data").rglob("*.json"))
    made = {name for name in data if name.endswith("_text_document.json")}
    indexed = [name for name in folders if f"{name}/train_text_document.json" in made]
    assert indexed and (page.startswith("README") or indexed == folders)
    for name in indexed:
        report = files.read_json(tmp_path / "final" / name / "clean.json")
        for split in ("train", "valid", "test"):
            manifest = files.read_json(tmp_path / "data" / name / f"{split}_text_document.json")
            assert manifest["documents"] == report["splits"][split]["documents"] > 0
    everything = [files.read_json(tmp_path / "final" / name / "clean.json")["rules"] for name in folders]
    assert any("exact_duplicate" in rules for rules in everything)  # deduplicated, and
    assert any("contaminated" in rules for rules in everything)  # decontaminated
