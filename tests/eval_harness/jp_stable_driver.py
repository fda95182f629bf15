"""Runs jp-stable's own harness, unchanged, on local files: `JP_PYTHON jp_stable_driver.py JOBS.json ANSWERS.json`.

This file is run by the interpreter of that harness (transformers 4.46, datasets 2.21), so it knows nothing of Haigo. Only the
loading of data is put aside: what the hub's loading scripts would give is made from files in the published formats. A job:
`{"model", "task", "shots", "limit", "data", "args"}`, where `args` are further words of the harness's `--model_args`. An
answer: `{"requests": [[context, ...], ...], "answers": [...], "results": {...}}` in the harness's order of documents, or
`{"error": ...}`. JP_STABLE_DIR names the checkout.
"""

import ast
import csv
import json
import os
import sys
import traceback
from pathlib import Path

os.environ["HF_DATASETS_TRUST_REMOTE_CODE"] = "1"
os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, os.environ["JP_STABLE_DIR"])

import datasets
import torch

torch.set_num_threads(1)
JGLUE = {"JCommonsenseQA": "jcommonsenseqa", "JNLI": "jnli", "JSQuAD": "jsquad", "MARC-ja": "marc_ja"}
LABELS = {"jnli": ["entailment", "contradiction", "neutral"], "marc_ja": ["positive", "negative"]}
POOL = "train"
FOLDER = Path()


def find(*names):
    for name in names:
        if (FOLDER / name).is_file():
            return FOLDER / name
    raise FileNotFoundError(f"none of {names} in {FOLDER}")


def lines(path):
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line.strip()]


def jglue(name, split):
    version = "v1.0" if name == "marc_ja" else "v1.1"
    if split == "train" and POOL == "test":
        split, version = "test", "v1.3"
    found = find(
        f"{name}-v1.1/{split}-{version}.json",
        f"{name}-{version}/{split}-{version}.json",
        f"{name}-{split}-{version}.json",
    )
    if name == "jsquad":
        rows = []
        for article in json.loads(found.read_bytes())["data"]:
            for paragraph in article["paragraphs"]:
                for qa in paragraph["qas"]:
                    answers = {key: [a[key] for a in qa["answers"]] for key in ("text", "answer_start")}
                    rows.append({"id": qa["id"], "title": article["title"], "context": paragraph["context"],
                                 "question": qa["question"], "answers": answers})  # fmt: skip
        return rows
    rows = lines(found)
    if name in LABELS:
        rows = [dict(row, label=LABELS[name].index(row["label"])) for row in rows]
    return rows


def jaqket(split, contexts):
    rows = []
    for row in json.loads(find(f"{'train' if split == 'train' else 'dev'}_jaqket_59.350.json").read_bytes()):
        if not any(c["has_answer"] for c in row["ctxs"][: contexts or 5]):
            continue
        shown = row["ctxs"][:contexts]
        rows.append(
            {
                "qid": row["qid"],
                "question": row["question"],
                "answers": {"text": row["answers"], "answer_start": [-1] * len(row["answers"])},
                "ctxs": {key: [c[key] for c in shown] for key in ("id", "title", "text", "has_answer")},
            }
        )
    return rows


def mgsm(split):
    if split == "test":
        with open(find("mgsm/mgsm_ja.tsv"), encoding="utf-8") as handle:
            rows = list(csv.reader(handle, quotechar='"', delimiter="\t"))
        return [{"question": q, "answer": None, "answer_number": int(n.replace(",", ""))} for q, n in rows]
    tree = ast.parse(find("mgsm/exemplars.py").read_text(encoding="utf-8"))
    table = next(ast.literal_eval(n.value) for n in tree.body if isinstance(n, ast.Assign))["ja"]
    return [{"question": row["q"], "answer": row["a"], "answer_number": 0} for row in table.values()]


def load_dataset(path, name=None, num_contexts=None, **_):
    """What jp-stable's calls of datasets.load_dataset would give, from the local files."""
    if path == "shunk031/JGLUE":
        return {split: jglue(JGLUE[name], place) for split, place in (("train", "train"), ("validation", "valid"))}
    if path == "kumapo/JAQKET":
        return {split: jaqket(split, num_contexts) for split in ("train", "validation")}
    if path == "juletxara/mgsm":
        return {split: mgsm(split) for split in ("train", "test")}
    if path == "mkshing/xlsum_ja":
        files = {split: str(find(f"xlsum_ja/data/{split}.csv")) for split in ("train", "validation", "test")}
        return real_load_dataset("csv", data_files=files)
    if path == "polm-stability/xwinograd-ja":
        return {"test": lines(find("xwinograd_ja/test/xwinograd-ja.json", "xwinograd-ja.json"))}
    raise KeyError(path)


real_load_dataset = datasets.load_dataset
datasets.load_dataset = load_dataset

from lm_eval import evaluator, tasks  # noqa: E402
from lm_eval.models import gpt2  # noqa: E402

models = {}


def model(job):
    wanted = (job["model"], json.dumps(job.get("args") or {}, sort_keys=True))
    if wanted not in models:
        models.clear()
        models[wanted] = gpt2.HFLM(device="cpu", pretrained=job["model"], **(job.get("args") or {}))
    return models[wanted]


class Recorder:
    """Keeps what the harness asks of a model and what it gets."""

    def __init__(self, inner):
        self.inner, self.requests, self.answers = inner, [], []

    def __enter__(self):
        for name in ("loglikelihood", "greedy_until"):
            setattr(self.inner, name, self.wrap(name))
        return self

    def __exit__(self, *_):
        for name in ("loglikelihood", "greedy_until"):
            delattr(self.inner, name)

    def wrap(self, name):
        asked = getattr(self.inner, name)

        def call(requests):
            found = asked(requests)
            self.requests += [list(r) for r in requests]
            self.answers += [list(a) if isinstance(a, tuple) else a for a in found]
            return found

        return call


def work(job):
    global FOLDER, POOL
    FOLDER, POOL = Path(job["data"]), job.get("pool", "train")
    lm = model(job)
    with Recorder(lm) as seen:
        found = evaluator.simple_evaluate(
            model=lm,
            tasks=[job["task"]],
            num_fewshot=[job["shots"]],
            limit=[job["limit"]],
            bootstrap_iters=job.get("bootstrap_iters", 2),
            no_cache=True,
        )
    return {"requests": seen.requests, "answers": seen.answers, "results": found["results"][job["task"]]}


def main(jobs, answers):
    tasks.get_task_dict  # noqa: B018
    done = []
    for job in json.loads(Path(jobs).read_bytes()):
        try:
            done.append(work(job))
        except Exception as error:
            traceback.print_exc()
            done.append({"error": f"{type(error).__name__}: {error}"})
        Path(answers).write_text(json.dumps(done, ensure_ascii=False), encoding="utf-8")


main(*sys.argv[1:])
