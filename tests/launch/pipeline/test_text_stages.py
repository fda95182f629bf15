"""Dedup and decontamination as stages of a run: off unless asked for, skipped, redone and reported."""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from shared_data import data_of

from haigo import cli, yamlfile
from haigo.cli import HaigoError
from haigo.formats import documents
from launch.pipeline import ahead, runfile
from launch.pipeline.__main__ import main as pipeline_main
from launch.pipeline.page import html, report
from launch.pipeline.stages import Chain

DATA = data_of(__file__)

ROOT = Path(__file__).parents[3]
LETTERS = [chr(code) for code in range(0x4E00, 0x4F00)] + list("のにはをがとでもからしていたこと")
RUN = """
output: {place}/out
corpora:
  news: {{files: "{place}/news.jsonl"}}
  wiki: {{files: "{place}/wiki.jsonl"}}
split: [0.6, 0.2, 0.2]
data_seed: 3
objective: {{metrics: {{news_bpb: 1}}}}
"""
_DIE = """
import os, signal, sys
from haigo import cli
from launch.pipeline.__main__ import main as pipeline_main
left = int(sys.argv[1])
def hook(event, arguments):
    global left
    if event == "os.rename":
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
raise SystemExit(cli.run(pipeline_main, sys.argv[2:]))
"""
ON = """
dedup: {method: minhash, priority: [wiki]}
decontaminate: {against: [items.json]}
"""


def invented(rng, size):
    return "".join(rng.choices(LETTERS, k=size))


@pytest.fixture
def place(tmp_path):
    """Two corpora, ten documents in both, and three evaluation items of which two stand in the news."""
    rng = random.Random(1)
    both = [invented(rng, 300) for _ in range(10)]
    asked = [invented(rng, 40) for _ in range(3)]
    lots = {name: [invented(rng, 300) for _ in range(60)] for name in ("news", "wiki")}
    lots["wiki"] += both
    lots["news"] += [f"{text}追記" for text in both] + [f"問い「{text}」" + invented(rng, 200) for text in asked[:2]]
    for name, texts in lots.items():
        rows = [{"id": f"{name}{number}", "text": text} for number, text in enumerate(texts)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    rows = [
        {"q_id": number, "question": text, "label": 0, "choice0": "一", "choice1": "二"}
        for number, text in enumerate(asked)
    ]
    (tmp_path / "items.json").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "run.yml").write_text(RUN.format(place=tmp_path) + ON, encoding="utf-8")
    return tmp_path


def chain(place, *overrides, dry_run=False):
    run = runfile.read(place / "run.yml", [*overrides, "workers=1"])
    return Chain(run, place / "run.yml", place / "out", dry_run=dry_run)


def text(made):
    """Run the stages of the text; (what each did, the identities of the text, the digest of the ids)."""
    if made.run.decontaminate.against:
        ahead.evaluation_items(made.run, made.path)
    cleaned, contaminated = made._decontaminate(made._dedup(made._clean()))
    return {name: state for state, name in made.stages.states}, cleaned, contaminated


def held(folder):
    return [one.text for split in documents.SPLITS for one in documents.read(folder, split)]


def test_what_repeats_and_what_is_asked_goes(place):
    made = chain(place)
    states, cleaned, contaminated = text(made)
    assert set(states.values()) == {"to do"} and set(cleaned) == {"corpora/news", "corpora/wiki"} and contaminated
    out = place / "out"
    cut = json.loads((out / "dedup" / "dedup.json").read_text(encoding="utf-8"))
    assert cut["documents_in"] == 142 and cut["documents_out"] == 132
    news, wiki = (held(out / "decontaminate" / name) for name in ("news", "wiki"))
    assert not any("問い" in one for one in news) and len(news) + len(wiki) == 130
    rows = (out / "decontaminate" / "contaminated.jsonl").read_text(encoding="utf-8").splitlines()
    found = json.loads((out / "decontaminate" / "decontaminate.json").read_text(encoding="utf-8"))
    assert found["tasks"]["jcommonsenseqa"]["found"] == 2
    assert len(rows) == found["tasks"]["jcommonsenseqa"]["found_in_training"]
    parts, remove = html.template("text.html").module, made.file.decontaminate.remove
    page = parts.repeated(report.dedup(out, made.file)) + parts.evaluation(report.contaminated(out, made.file), remove)
    assert "10 of 142 documents were taken out" in page and "jcommonsenseqa" in page and "Looked for in 1 files" in page


def test_done_once_and_redone_when_asked_otherwise(place):
    _, first, ids = text(chain(place))
    states, again, _ = text(chain(place))
    assert set(states.values()) == {"unchanged"} and again == first
    states, _, _ = text(chain(place, "decontaminate.remove=none"))
    assert [name for name, state in states.items() if state != "unchanged"] == ["decontaminate"]
    text(chain(place))
    (place / "items.json").write_text((place / "items.json").read_text(encoding="utf-8").splitlines()[2] + "\n")
    states, _, others = text(chain(place))
    assert [name for name, state in states.items() if state != "unchanged"] == ["decontaminate"] and others != ids
    states, _, _ = text(chain(place, "dedup.priority=[news]"))
    assert states["dedup"] == "changed" and states["corpora/news"] == "unchanged"
    states, _, _ = text(chain(place, dry_run=True))
    assert states["dedup"] == "changed" and not (place / "out" / "tokenizer").exists()


def test_a_stage_that_takes_nothing_away_redoes_nothing_after_it(place):
    (place / "wiki.jsonl").write_text(
        "".join((place / "wiki.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)[:60]), encoding="utf-8"
    )
    off = ["dedup.method=none", "decontaminate.against=[]"]
    _, plain, nothing = text(chain(place, *off))
    assert nothing is None and not (place / "out" / "dedup").exists()
    _, same, _ = text(chain(place, "decontaminate.against=[]"))
    assert same == plain


def test_off_it_depends_on_nothing_new(place):
    made = chain(place, "dedup.method=none", "decontaminate.against=[]")
    given = {"corpora/news": 1}
    assert made._dedup(given) is given and made._decontaminate(given) == (given, None)
    assert made.file.text_folder() == "corpora" and made.stages.states == []


@pytest.mark.parametrize(("change", "sentence"), DATA["bad_keys_are_told_before_anything_runs"])
def test_bad_keys_are_told_before_anything_runs(place, change, sentence):
    more = ["decontaminate.keys=[question]"] if "news.jsonl" in change else []
    with pytest.raises(HaigoError) as caught:
        made = chain(place, change, *more)
        ahead.evaluation_items(made.run, made.path)
    assert sentence in caught.value.problem and "--" not in caught.value.fix
    assert not (place / "out" / "corpora").exists()


def test_a_split_that_is_left_without_documents_is_told(place):
    rng = random.Random(2)
    shared = [invented(rng, 300) for _ in range(40)]
    for name in ("news", "wiki"):
        rows = [{"id": f"{number}", "text": text} for number, text in enumerate(shared)]
        (place / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(HaigoError, match="after dedup corpus 'news' has no document in its"):
        text(chain(place))


def made(out):
    """Path -> bytes of the text, the tokenizer, the datasets and the design of a run, and the mixture without its paths."""
    found = {}
    for part in ("corpora", "dedup", "decontaminate", "tokenizer", "data", "design"):
        for path in sorted((out / part).rglob("*")) if (out / part).is_dir() else [out / part]:
            if path.is_file() and path.name not in (".done.json", ".inputs", ".haigo", ".haigo.lock"):
                found[str(path.relative_to(out))] = path.read_bytes()
    found["mixture"] = {key: value for key, value in yamlfile.read(out / "mixture.yml").items() if key != "provenance"}
    return found


@pytest.mark.slow
def test_the_whole_chain_hands_the_ids_to_the_scores(tmp_path):
    world = tmp_path / "world"
    words = [sys.executable, "-m", "examples.world", "--output-dir", str(world), "--seed", "3", "--size", "0.08"]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    scored = next((world / "qa").rglob("*valid*.json"))
    item = json.loads(scored.read_text(encoding="utf-8").splitlines()[0])
    whole = item["question"] + "\n" + "\n".join(f"{each}. {item[f'choice{each}']}" for each in range(5))
    rows = [{"id": f"q{number}", "text": f"第{number}回。{whole}\n" + "解説です。" * number} for number in range(1, 40)]
    (tmp_path / "quiz.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "run.yml").write_text(
        f"""
output: {tmp_path}/out
corpora:
  encyclopedia: {{files: "{world}/encyclopedia/*.bz2"}}
  news: {{files: ["{world}/news/*.gz", "{tmp_path}/quiz.jsonl"]}}
split: [0.8, 0.1, 0.1]
dedup: {{method: exact}}
decontaminate: {{against: ["{scored}"]}}
tokenizer: {{vocab_size: 1700, chars_per_corpus: 60000}}
objective: {{metrics: {{news_bpb: 1.0}}}}
proxies: {{model: 0-1M, runs: 4, held_out: 0, tokens: 2100, eval_tokens: 500}}
search: {{bootstrap: 4, force: true, max_epochs: 400}}
train: {{model: 0-1M, tokens: 2100, evaluations: 1, eval_tokens: 500, test_tokens: 500, compare: []}}
scores: {{tasks: [jcommonsenseqa-1.1-0.3], num_fewshot: [0], limit: 4, data_dir: "{world}/qa"}}
configs: {{models: []}}
""",
        encoding="utf-8",
    )
    # one worker in all runs: how many threads a proxy gets would show in the last digits of its losses
    call = [str(tmp_path / "run.yml"), "--set", "workers=1"]
    assert cli.run(pipeline_main, call) == 0
    out = tmp_path / "out"
    ids = [json.loads(line) for line in (out / "decontaminate" / "contaminated.jsonl").read_text().splitlines()]
    assert {"task": "jcommonsenseqa", "id": str(item["q_id"])} in ids
    about = json.loads((out / "scores" / "chosen" / "result.json").read_text(encoding="utf-8"))["haigo"]["tasks"]
    assert "without_excluded" in about["jcommonsenseqa-1.1-0.3"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Repeated documents" in page and "Evaluation items in the text" in page
    assert "found in training text" in page
    before = {path: path.stat().st_mtime_ns for path in out.rglob(".done.json")}
    assert cli.run(pipeline_main, call) == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob(".done.json")} == before
    killed = [*call, "--output-dir", str(tmp_path / "killed")]
    for moment in random.Random(4).sample(range(1, 45), 3):  # a rename is where a file, or a folder, becomes real
        words = [sys.executable, "-B", "-c", _DIE, str(moment), *killed]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=600)
        assert done.returncode == -signal.SIGKILL, done.stderr
    assert cli.run(pipeline_main, killed) == 0
    whole, resumed = made(out), made(tmp_path / "killed")
    assert whole.keys() == resumed.keys() and "dedup/news/train/00000.jsonl.zst" in whole
    assert {name: resumed[name] for name in whole if whole[name] != resumed[name]} == {}
    assert cli.run(pipeline_main, [*call, "--set", "decontaminate.against=[]"]) == 0
    about = json.loads((out / "scores" / "chosen" / "result.json").read_text(encoding="utf-8"))["haigo"]["tasks"]
    assert "without_excluded" not in about["jcommonsenseqa-1.1-0.3"]
