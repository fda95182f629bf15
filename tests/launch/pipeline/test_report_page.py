"""The run report in a real browser: on a run folder written by hand, whose texts, names and answers try to be markup."""

from __future__ import annotations

import csv
import json
import re

import browser
import numpy as np
import page_texts
import pytest

from haigo import cli, yamlfile
from haigo.formats.dataset import manifest
from launch.pipeline import runfile
from launch.pipeline.page import drawn, report
from mixer import search

HOSTILE = (
    "</script></details><img src=x onerror='window.hacked=1'><script>window.hacked=1</script>\x1b[31m\u2028{{7*7}}"
)
CORPORA = ["news", "wiki", "code"]
TASK = "jcommonsenseqa-1.1-0.3"


def table(path, head, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([head, *rows])


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    path.write_text(text, encoding="utf-8")


def searched(root):
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.full(3, 0.8), 24)
    help_ = np.array([[1.0, 0.2, 0.05], [0.2, 1.0, 0.05], [0.05, 0.1, 1.0]])
    losses = 0.6 + 0.8 * (np.power(weights, 0.6) @ help_.T + 0.05) ** -0.35 + 0.01 * rng.standard_normal((24, 3))
    names = [f"p{number:03d}" for number in range(20)] + [f"h{number:03d}" for number in range(4)]
    metrics = [f"{name}_bpb" for name in CORPORA]
    table(root / "design/ratios.csv", ["run", *CORPORA], [[n, *row] for n, row in zip(names, weights, strict=True)])
    table(root / "proxies/metrics.csv", ["run", *metrics], [[n, *row] for n, row in zip(names, losses, strict=True)])
    table(root / "supply.csv", ["corpus", "tokens"], [["news", 1e6], ["wiki", 2e6], ["code", 3e6]])
    given = [
        "--ratios",
        root / "design/ratios.csv",
        "--metrics",
        root / "proxies/metrics.csv",
        "--supply",
        root / "supply.csv",
    ]
    more = [
        "--objective",
        "news_bpb,wiki_bpb",
        "--no-standardise",
        "--target-tokens",
        "2e6",
        "--held-out",
        "h",
        "--bootstrap",
        "10",
    ]
    out = ["--output", root / "search/mixture.yml"]
    assert cli.run(search.main, list(map(str, [*given, *more, *out]))) == 0
    (root / "mixture.yml").write_bytes((root / "search/mixture.yml").read_bytes())
    pair, two = ["news_bpb", "wiki_bpb"], [[1.0, 1.2], [1.1, 1.1]]
    curves = {"weights": yamlfile.read(root / "mixture.yml")["weights"]}
    curves["fit"] = {"news_bpb": {"measured": [1.0, 1.1], "predicted": [1.0, 1.2]}}
    curves["trade_off"] = {"metrics": pair, "curve": two, "marks": {"chosen": [1.2, 1.2]}, "runs": two}
    curves["ceilings"] = {"unit": "sum", "lines": {"wiki_bpb": [[5.0, 0.2], [10.0, None]]}, "given": {"wiki_bpb": 5.0}}
    put(root / "search" / "curves.json", curves)


RUN = {
    "output": "run", "title": HOSTILE, "note": HOSTILE,
    "corpora": {name: {"files": f"{HOSTILE}/{name}.gz"} for name in CORPORA},
    "objective": {"metrics": {"news_bpb": 1.0, "wiki_bpb": 1.0}}, "proxies": {"model": "0-3M", "runs": 20, "held_out": 4},
    "train": {"model": "1M", "tokens": 800000, "compare": ["token_share"]}, "scores": {"tasks": [TASK], "num_fewshot": [3]},
}  # fmt: skip


def models(root):
    weights = {
        "chosen": yamlfile.read(root / "mixture.yml")["weights"],
        "token_share": {"news": 0.2, "wiki": 0.3, "code": 0.5},
    }
    made = {}
    for number, (name, mixture) in enumerate(weights.items()):
        folder = root / "models" / name
        metrics = {f"{corpus}_bpb": 1.2 + 0.2 * number - 0.1 * j for j, corpus in enumerate(CORPORA)}
        yamlfile.write(folder / "mixture.yml", {"weights": mixture})
        points = [
            {"step": s, "tokens": s * 1000, "loss": 5.0, **{m: v + 1 / s for m, v in metrics.items()}}
            for s in (1, 2, 4)
        ]
        put(folder / "log.jsonl", "".join(json.dumps(point) + "\n" for point in points))
        result = {
            "tokens": 800000,
            "steps": 4,
            "loss": 2.0,
            "seed": 1,
            "seconds": 9.0,
            "metrics": metrics,
            "metrics_test": metrics,
        }
        put(folder / "result.json", {**result, "metrics_stderr": dict.fromkeys(metrics, 0.01)})
        about = {"n": 10, "num_fewshot": 3, "data": HOSTILE, "baseline": {"chance": 0.2}, "not_comparable": [HOSTILE]}
        scored = {"acc": 0.25 + 0.1 * number, "acc_stderr": 0.05}
        whole = {**about, "main_metric": "acc", "main_scale": 100.0}
        block = {"results": {"arc_easy": {"acc,none": 0.5, "acc_stderr,none": 0.1}}, "n-shot": {"arc_easy": 0}}
        config = {"model_args": f"pretrained={HOSTILE}"}
        told = {"results": {TASK: scored}, "config": config, "haigo": {"tasks": {TASK: whole}}, "lm_eval": block}
        put(root / "scores" / name / "result.json", told)
        row = {
            "doc_id": 0,
            "id": 7,
            "acc": 0.0,
            "context": HOSTILE,
            "choices": [{"text": HOSTILE}, {"text": "b"}],
            "prediction": 0,
            "target": 1,
        }
        put(root / "scores" / name / f"samples_{TASK}.jsonl", json.dumps(row) + "\n")
        score = {TASK: {**scored, "about": about}}
        made[name] = {
            "objective": 1.15 + 0.2 * number,
            "metrics": metrics,
            "tokens": 800000,
            "weights": mixture,
            "scores": score,
        }
    return made


def texts(root):
    rule = {"documents": 3, "characters": 90, "samples": [HOSTILE, "a", {"b": HOSTILE}, "fourth"]}
    clean = {
        "documents_in": 100,
        "documents_out": 97,
        "characters_in": 9000,
        "characters_out": 8900,
        "bytes_out": 20000,
    }
    corpora = {}
    for name in CORPORA:
        put(root / "corpora" / name / "clean.json", {**clean, "rules": {HOSTILE: rule}})
        (root / "data" / name).mkdir(parents=True)
        manifest.write(root / "data" / name / "train_text_document", {"tokens": 1000, "bin_sha256": "ab" * 32})
        corpora[name] = {"characters_per_token": 1.7, "documents": 97, "lossless": 97}
    measured = {name: {"characters_per_token": 1.7, "bytes_per_token": 3.25} for name in CORPORA}
    others = {name: {"vocab_size": 4096, "corpora": measured} for name in ("tokenizer (this one)", HOSTILE)}
    meta = {"vocab_size": 4096, "sha256": "cd" * 32, "corpora": corpora, "compared": {"tokenizers": others}}
    put(root / "tokenizer" / "meta.json", meta)
    row = {"model": "1-3B", "layout": HOSTILE, "file": "configs/1-3B.yml", "nodes": 1, "memory_gb": 37.1, "epochs": 2.0}
    row |= {"tokens_per_s": [1.0, 2.0], "days": [3.0, 4.0]}
    put(root / "configs" / "plan.json", {"configs": [row], "tokens": 2e10, "cluster": "a100-40gb", "notes": [HOSTILE]})
    put(root / "env.json", {"platform": HOSTILE, "cores": 2, "packages": {"numpy": "2"}})
    put(root / "command.txt", HOSTILE)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "run"
    folder.mkdir()
    searched(folder)
    made = models(folder)
    texts(folder)
    yamlfile.write(folder / "run.yml", RUN)
    summary = {
        "headline": "x",
        "weights": made["chosen"]["weights"],
        "models": made,
        "ceilings": {},
        "seconds": {"search": 2.0},
    }
    put(folder / "summary.json", summary)
    for language in ("ja", "en"):
        page = report.write(folder, runfile.read(folder / "run.yml"), language)
        (folder.parent / f"{language}.html").write_bytes(page.read_bytes())
    return folder


@pytest.fixture(scope="module")
def shown():
    with browser.started() as made:
        yield made


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize(("width", "dark"), [(1500, False), (480, True)])
def test_the_report_in_a_browser(root, shown, language, width, dark):
    file = (root.parent / f"{language}.html").as_uri()
    shown.open(file, width=width, dark=dark)
    assert shown.complaints() == [] and shown.asked_for() == [file] and shown.overflow() == 0
    assert shown.run("document.querySelectorAll('img').length") == 0 and shown.run("window.hacked") is None
    assert shown.run("document.querySelectorAll('script:not([type])').length") == 2
    headings = shown.run("[...document.querySelectorAll('section > h2')].map(e => e.textContent)")
    assert (
        headings[:3]
        == {"en": ["The mixture", "The mixer", "The trained models"], "ja": ["配合", "ミキサー", "学習したモデル"]}[
            language
        ]
    )
    assert len(headings) == 8 and shown.run("document.querySelectorAll('nav a').length") == 8
    assert shown.run(
        "[...document.querySelectorAll('nav a')].every(a => document.querySelector(a.getAttribute('href')))"
    )
    text = shown.run("document.body.textContent")
    assert text.count("onerror='window.hacked=1'") > 15 and "\x1b" not in text and "{{7*7}}" in text
    shown.run("(s => { s.value = 0.4; s.dispatchEvent(new Event('input')); })(document.getElementById('weight2'))")
    assert shown.run("mixer.weights[2]") == pytest.approx(0.4) and shown.complaints() == []


def test_what_it_says_of_the_models(root, shown):
    shown.open((root.parent / "en.html").as_uri())
    first = [
        shown.run(f"document.getElementById('{name}').selectedOptions[0].textContent") for name in ("across", "up")
    ]
    drawn_pair = json.loads((root / "search" / "curves.json").read_text(encoding="utf-8"))["trade_off"]["metrics"]
    assert first == drawn_pair  # the page begins with what stands in figures/
    changes = shown.run("[...document.querySelectorAll('.gains tr')].map(e => e.querySelector('b').textContent)")
    assert changes == ["-16.7%", "-15.4%", "-14.3%"]
    assert shown.run("document.querySelectorAll('.gains .range').length") == 3
    assert shown.run("document.querySelectorAll('#models .chart .line').length") == 6
    scores = shown.run("document.querySelector('#scores .board').textContent")
    assert "chosen mixture (this run)" in scores and "25.00" in scores and "arc_easy" in scores and "llama2" in scores
    assert "jcommonsenseqa" in scores and "chance" in scores
    assert shown.run("document.querySelectorAll('#scores sup').length") > 2
    shown.run("document.querySelectorAll('details').forEach(e => { e.open = true; })")
    assert shown.run("document.querySelectorAll('#text blockquote').length") == 9  # three samples a rule
    assert shown.overflow() == 0


def test_on_paper(root, shown, tmp_path):
    shown.open((root.parent / "ja.html").as_uri(), width=760, dark=True, media="print")
    assert shown.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert shown.run("getComputedStyle(document.querySelector('nav')).display") == "none" and shown.overflow() == 0
    assert len(shown.ask("Page.printToPDF", printBackground=True)["data"]) > 50_000
    shown.picture(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 50_000


def test_the_same_bytes_again_and_every_figure_as_files(root):
    before = {path: path.read_bytes() for path in (root / drawn.FOLDER).iterdir() if path.suffix}
    page = (root.parent / "en.html").read_bytes()
    assert report.write(root, runfile.read(root / "run.yml"), "en").read_bytes() == page
    assert {path: path.read_bytes() for path in before} == before
    names = {path.name for path in before} - {".haigo"}
    assert names == {f"{name}.{kind}" for name in drawn.NAMES for kind in ("svg", "png", "csv")}
    with (root / drawn.FOLDER / "changes.csv").open(newline="", encoding="utf-8") as handle:
        rows = list(csv.reader(handle))
    assert rows[0][0] == "metric" and len(rows) == 4 and float(rows[1][1]) < 0
    with (root / drawn.FOLDER / "fit.csv").open(newline="", encoding="utf-8") as handle:
        assert next(csv.reader(handle)) == ["metric", "how", "predicted (bits per byte)", "measured (bits per byte)"]


def test_a_run_of_an_earlier_search_says_what_is_missing(root):
    curves = root / "search" / "curves.json"
    kept = curves.read_bytes()
    text = (root.parent / "en.html").read_text(encoding="utf-8")
    curves.unlink()
    try:
        page = report.write(root, runfile.read(root / "run.yml"), "en").read_text(encoding="utf-8")
    finally:
        curves.write_bytes(kept)
    assert "left no search/curves.json" in page and "left no search/curves.json" not in text


def test_what_binds_and_the_report_card_have_units(root):
    said = page_texts.texts(root.parent / "en.html")
    (row,) = [n for n, text in enumerate(said) if text == "objective" and said[n + 1] in ("very well", "well")]
    assert said[row + 4].endswith(" bits per byte")
    assert all("(bits per byte)" in text for text in said if "would improve" in text)
    assert any(re.search(r"in the objective \(bits per byte\);", text) for text in said)


def test_ceilings_that_the_trained_model_does_not_keep_are_named(root):
    paths = [root / "summary.json", root / "mixture.yml"]
    kept = [path.read_bytes() for path in paths]
    summary, mixture = json.loads(kept[0]), yamlfile.read(paths[1])
    summary["models"]["token_share"]["metrics"] |= {"code_bpb": 0.8, "wiki_bpb": 1.08}  # chosen: 1.0 and 1.1
    mixture["objective"]["ceilings"] = {"code_bpb": "+10%", "wiki_bpb": "+5%", "news_bpb": 0.1}
    try:
        put(paths[0], summary)
        paths[1].unlink()
        yamlfile.write(paths[1], mixture)
        page = report.write(root, runfile.read(root / "run.yml"), "en").read_text(encoding="utf-8")
    finally:
        for path, content in zip(paths, kept, strict=True):
            path.write_bytes(content)
    assert "Above the ceiling that was asked for: code_bpb +25.0% (+10%)." in page
    assert "Above the ceiling" not in (root.parent / "en.html").read_text(encoding="utf-8")


def test_a_run_without_a_law_has_no_mixer(root, shown, tmp_path):
    law = root / "search" / "mixture.law.json"
    kept = law.read_bytes()
    law.unlink()
    try:
        page = report.write(root, runfile.read(root / "run.yml"))
        shown.open(page.as_uri())
        assert shown.run("document.querySelectorAll('script').length") == 0
        assert "What is predicted" in shown.run("document.body.innerText") and shown.complaints() == []
    finally:
        law.write_bytes(kept)
