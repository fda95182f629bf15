"""Contexts and draws against what jp-stable's own harness wrote for the same files."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
import sys

import pytest
import synthetic_jglue

from eval_harness import datasets, fewshot, origins, tasks
from eval_harness.run import read_sources
from haigo.cli import HaigoError

JGLUE = [name for name in tasks.names() if name.split("-")[0] in ("jcommonsenseqa", "jnli", "jsquad")]


def contexts(folder, name, shots, limit=None, pool="train"):
    (source,) = read_sources([name], [shots], [limit], folder, pool, "v1.1")
    order, generator = fewshot.shuffled(source.docs)
    kept = fewshot.take(order, limit)
    stratum = source.rules.target if source.rules.stratified else None
    drawn = fewshot.draws(len(kept), source.pool_docs, shots, generator, stratum)
    return [source.rules.context(doc, examples) for doc, examples in zip(kept, drawn, strict=True)]


def digest(texts):
    return hashlib.sha256("\x1e".join(texts).encode()).hexdigest()


def test_every_task_has_a_golden_digest(golden):
    assert sorted(golden["contexts"]) == sorted(JGLUE)


@pytest.mark.parametrize("name", JGLUE)
def test_contexts_are_those_of_jp_stable(golden, jglue, name):
    wanted = golden["contexts"][name]
    made = contexts(jglue, name, wanted["shots"])
    assert len(made) == wanted["documents"]
    assert digest(made) == wanted["contexts_sha256"]


def test_contexts_of_real_data(golden, shared_jglue):
    for name, wanted in golden["jglue_with_test_pool"].items():
        assert (
            digest(contexts(shared_jglue, name, wanted["shots"], wanted["limit"], "test")) == wanted["contexts_sha256"]
        )


def test_draws_are_the_golden_ones(golden):
    wanted = golden["draws"]
    order, generator = fewshot.shuffled(range(wanted["documents"]))
    assert order[:6] == wanted["first"]
    assert list(fewshot.draws(6, range(wanted["pool"]), 3, generator)) == wanted["shots"]


def test_limit_does_not_change_earlier_documents(jglue):
    name = "jcommonsenseqa-1.1-0.3"
    assert contexts(jglue, name, 3, 5) == contexts(jglue, name, 3)[:5]
    assert contexts(jglue, name, 3, 0.25) == contexts(jglue, name, 3)[:4]


def test_three_stratified_shots_of_jnli_are_one_of_each_class():
    pool = ["neutral"] * 55 + ["contradiction"] * 30 + ["entailment"] * 15
    for drawn in fewshot.draws(20, pool, 3, random.Random(0), str):
        assert sorted(drawn) == ["contradiction", "entailment", "neutral"]


def test_what_is_missing_goes_to_the_smallest_class():
    pool = ["a"] * 90 + ["b"] * 9 + ["c"]
    assert [number for _, number in fewshot.strata(pool, 3, str)] == [2, 1, 0]
    assert [number for _, number in fewshot.strata(pool, 11, str)] == [9, 1, 1]


def test_stratified_shots_need_enough_of_a_class():
    with pytest.raises(HaigoError, match="2 shots with the answer 'c'"):
        list(fewshot.draws(1, ["a", "a", "a", "b", "b", "b", "c"], 6, random.Random(0), str))


def test_the_two_layouts_read_the_same(jglue, tmp_path):
    flat = synthetic_jglue.write(tmp_path / "flat", flat=True)
    clone = tmp_path / "clone"
    shutil.copytree(jglue, clone / "datasets")
    for name in ("jcommonsenseqa-1.1-0.3", "jnli-1.3-0.3", "jsquad-1.2-0.3"):
        assert contexts(flat, name, 2) == contexts(jglue, name, 2) == contexts(clone, name, 2)


def test_zero_shots_need_no_train_file(jglue, tmp_path):
    shutil.copytree(jglue / "jnli-v1.1", tmp_path / "jnli-v1.1", ignore=shutil.ignore_patterns("train*"))
    assert len(contexts(tmp_path, "jnli-1.1-0.3", 0)) == 16


def test_releases_are_told_by_content(shared_jglue, jglue):
    known = datasets.find(shared_jglue, "jcommonsenseqa", "valid", "v1.1")
    assert known.releases == origins.VERSIONS
    assert datasets.label([known], "v1.1") == "JGLUE v1.1"
    newer = datasets.find(shared_jglue, "jnli", "valid", "v1.3")
    assert datasets.label([newer], "v1.3") == "JGLUE v1.3"
    custom = datasets.find(jglue, "jcommonsenseqa", "valid", "v1.1")
    assert datasets.label([known, custom], "v1.1") == "custom"


def test_renaming_does_not_make_data_jglue(jglue):
    file = datasets.find(jglue, "jcommonsenseqa", "valid", "v1.1")
    assert file.releases == () and datasets.label([file], "v1.1") == "custom"


def test_the_system_prompt_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("SYSTEM_PROMPT", "短く答えよ。")
    assert "<<SYS>>\n短く答えよ。\n<</SYS>>" in tasks.make("jsquad-1.1-0.6").prompt.description


def test_help_and_tasks_import_no_torch():
    code = "import sys, eval_harness.run, eval_harness.leaderboard, eval_harness.ask; sys.exit(any(m in sys.modules for m in "
    code += "('torch', 'transformers', 'lm_eval', 'pandas', 'sklearn', 'scipy')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_digits_only_in_the_shots_of_prompt_02():
    doc = {"question": "問", "choices": ["甲", "乙", "丙", "丁", "戊"], "gold": 3}
    assert tasks.make("jcommonsenseqa-1.1-0.2").context(doc, [doc]).count("回答:3\n\n") == 1
    assert tasks.make("jcommonsenseqa-1.1-0.3").context(doc, [doc]).count("### 応答:\n丁\n\n") == 1
    assert json.dumps(tasks.make("jnli-1.1-0.3").prompt.description)  # plain text
