"""jp-stable's own harness and ours on the same files, side by side, with models, tokenizers, shots and limits drawn by a seed.

Runs where JP_STABLE_PYTHON (an interpreter with torch, transformers 4.46, datasets 2.21 and the harness's packages) and
JP_STABLE_DIR (a checkout of Stability-AI/lm-evaluation-harness, branch jp-stable) are set; JP_STABLE_OLD_DIR is a checkout of
d4bdbfa for the versions of the published rows. HAIGO_JP_SEED draws other jobs.
"""

from __future__ import annotations

import os
import random
import shutil

import pytest
import side_by_side
import synthetic_jglue

from eval_harness import tasks

pytestmark = [pytest.mark.jp_stable, pytest.mark.slow]
SEED = int(os.environ.get("HAIGO_JP_SEED", "1"))


@pytest.mark.parametrize("kind", ["bpe", *side_by_side.KINDS])
def test_contexts_numbers_and_answers_are_jp_stables(kind, tmp_path):
    python, head = os.environ.get("JP_STABLE_PYTHON"), os.environ.get("JP_STABLE_DIR")
    if not python or not head:
        pytest.skip("JP_STABLE_PYTHON and JP_STABLE_DIR are not set")
    from eval_harness.model import load

    rnd = random.Random(f"{SEED} {kind}")
    files, folder = side_by_side.data(tmp_path / "data", SEED), tmp_path / "model"
    if kind == "bpe":
        shutil.copytree(side_by_side.GOLDEN / "bpe", folder)
        size = 500
    else:
        size = side_by_side.tokenizer(kind, folder, files)
    synthetic_jglue.tiny_model(folder, size + 8, rnd.choice([560, 640, 900]), seed=SEED, scale=rnd.choice([0.1, 0.25]))
    jobs = []
    for name in tasks.names():
        if name.startswith(("news_headline", "llmjp_")):
            continue
        shots = 0 if name.startswith("xwinograd") else rnd.choice([0, 1, 2, 3, 5])
        jobs.append(
            {
                "model": str(folder),
                "args": {} if kind == "bpe" else {"use_fast": False},
                "task": name,
                "shots": shots,
                "limit": rnd.choice([3, 4, 0.3]) if name.startswith("mgsm") else rnd.choice([None, 5, 99, 0.5]),
                "data": str(files / rnd.choice(["plain", "hard"])),
                "bootstrap_iters": 1000,
            }
        )
    model = load(f"pretrained={folder}", device="cpu", show_progress=False)
    wrong, compared = {}, 0
    for job, answer in side_by_side.both(jobs, python, head, os.environ.get("JP_STABLE_OLD_DIR")):
        if answer.get("error", "").startswith("TypeError"):  # too long even without shots: jp-stable stops there
            continue
        assert "error" not in answer, (job, answer)
        compared += 1
        if found := side_by_side.differences(job, side_by_side.short(answer), model):
            wrong[job["task"]] = found
    assert not wrong
    assert compared > 35
