"""Hard documents (synthetic_hard.py) against what jp-stable's own harness gave for the same files and models."""

from __future__ import annotations

import json

import pytest
import side_by_side

from eval_harness import tasks

ROWS = json.loads((side_by_side.GOLDEN / "hard.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def hard(tmp_path_factory):
    return side_by_side.data(tmp_path_factory.mktemp("files")) / "hard"


@pytest.fixture(scope="module")
def golden_models(tmp_path_factory):
    from eval_harness.model import load

    made = {}

    def make(kind):
        if kind not in made:
            folder = side_by_side.golden_model(kind, tmp_path_factory.mktemp("models") / kind)
            made[kind] = load(f"pretrained={folder}", device="cpu", show_progress=False)
        return made[kind]

    return make


def test_every_task_is_there():
    assert [row["task"] for row in ROWS] == [
        name for name in tasks.names() if not name.startswith(("news_headline", "news_cloze", "llmjp_"))
    ]


@pytest.mark.parametrize("row", ROWS, ids=[row["task"] for row in ROWS])
def test_hard_documents_are_scored_as_by_jp_stable(row, hard, golden_models):
    if row["task"].startswith(("jsquad", "jaqket")):
        pytest.importorskip("fugashi", reason="needs haigo[ja]")
    job = {**row, "data": hard, "bootstrap_iters": 1000}
    assert "error" not in row["wanted"]
    assert side_by_side.differences(job, row["wanted"], golden_models(row["model"])) == []
