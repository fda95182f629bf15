"""The same task on the same files by jp-stable's own harness and by ours, and what differs.

As a script it writes golden/hard.json (JP_STABLE_PYTHON, JP_STABLE_DIR and JP_STABLE_OLD_DIR as in test_eval_jp_stable.py):

    python tests/eval_harness/side_by_side.py
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import synthetic_hard
import synthetic_jglue
import synthetic_others

HERE = Path(__file__).parent
GOLDEN = HERE / "golden"
OLD = ("jnli-1.1", "jaqket_v2-0.1")
"""Versions of the published rows, which jp-stable's head can not name: they run at d4bdbfa."""
SHORT = {"xlsum_ja-1.0-0.0": "xlsum_ja", "mgsm-1.0-0.0": "mgsm", "xwinograd_ja-1.0-0.0": "xwinograd_ja"}
BLANKS = {"remove_extra_whitespaces": False, "byte_fallback": True, "normalization_rule_name": "identity"}
KINDS = {  # model file, trainer's options, tokenizer_config.json
    "t5": ("spiece.model", {"normalization_rule_name": "nmt_nfkc"}, {"extra_ids": 0}),
    "t5_lines": (
        "spiece.model",
        {**BLANKS, "add_dummy_prefix": False, "user_defined_symbols": ["<NL>", "\n"]},
        {"extra_ids": 0},
    ),
    "llama": ("tokenizer.model", {**BLANKS, "model_type": "bpe"}, {"legacy": True}),
    "llama_new": ("tokenizer.model", BLANKS, {"legacy": False}),
}  # fmt: skip


def data(folder: Path, seed: int = 20231123) -> Path:
    """Files of every data set; plain and hard ones in folders of their own."""
    synthetic_others.write(synthetic_jglue.write(folder / "plain"))
    synthetic_hard.write(folder / "hard", seed)
    return folder


def tokenizer(kind: str, folder: Path, data: Path) -> int:
    """Train a SentencePiece model of a kind into a model folder; gives its number of pieces."""
    import sentencepiece

    name, options, config = KINDS[kind]
    texts = []
    for path in sorted(data.rglob("train*.json")):
        for line in path.read_bytes().split(b"\n"):
            texts += synthetic_jglue._strings(json.loads(line)) if line.strip() else []
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(text.replace("\n", " ") for text in texts if text.strip()), model_writer=made, vocab_size=600,
        hard_vocab_limit=False, minloglevel=2, num_threads=1, **options
    )  # fmt: skip
    folder.mkdir(parents=True)
    (folder / name).write_bytes(made.getvalue())
    words = {"tokenizer_class": "T5Tokenizer" if name == "spiece.model" else "LlamaTokenizer"}
    words |= {"eos_token": "</s>", "unk_token": "<unk>", "bos_token": "<s>"} | config
    (folder / "tokenizer_config.json").write_text(json.dumps(words), encoding="utf-8")
    return int(sentencepiece.SentencePieceProcessor(model_proto=made.getvalue()).get_piece_size())


def jp_stable(jobs: list[dict], source: str, python: str) -> list[dict]:
    """What jp-stable's harness answers to jobs (see jp_stable_driver.py)."""
    with tempfile.TemporaryDirectory() as folder:
        asked, answers = Path(folder) / "jobs.json", Path(folder) / "answers.json"
        asked.write_text(
            json.dumps([{**job, "task": SHORT.get(job["task"], job["task"])} for job in jobs]), encoding="utf-8"
        )
        words = [python, str(HERE / "jp_stable_driver.py"), str(asked), str(answers)]
        environment = {**os.environ, "JP_STABLE_DIR": source, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        said = subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True, check=False)
        assert said.returncode == 0, f"jp-stable ended with {said.returncode}: {said.stderr[-2000:]}"
        return json.loads(answers.read_bytes())


def both(jobs: list[dict], python: str, head: str, old: str | None) -> list[tuple[dict, dict]]:
    """Jobs with jp-stable's answers; without a checkout of d4bdbfa, those of the published rows' versions are left out."""
    parts = [[job for job in jobs if job["task"].startswith(OLD) is late] for late in (False, True)]
    found = list(zip(parts[0], jp_stable(parts[0], head, python), strict=True)) if parts[0] else []
    return found + (list(zip(parts[1], jp_stable(parts[1], old, python), strict=True)) if parts[1] and old else [])


def digest(texts: list[str]) -> str:
    """Of texts that must be equal byte for byte."""
    return hashlib.sha256("\x1e".join(texts).encode()).hexdigest()


def short(answer: dict) -> dict:
    """jp-stable's answer without its texts, as golden files hold it."""
    if "error" in answer:
        return answer
    generated = answer["answers"] and isinstance(answer["answers"][0], str)
    texts = [text for request in answer["requests"] for text in request[: 1 if generated else 2]]
    numbers = (
        {"generations": answer["answers"]} if generated else {"scores": [round(a[0], 5) for a in answer["answers"]]}
    )
    return {"asked": len(answer["requests"]), "texts": digest(texts), **numbers, "results": answer["results"]}


def differences(job: dict, wanted: dict, model: object) -> list[str]:
    """What our scorer does otherwise than `short(jp-stable's answer)`; nothing when all agrees.

    Args:
        model: the job's model, loaded.
    """
    from eval_harness.run import evaluate

    with tempfile.TemporaryDirectory() as folder:
        options = {"model": model, "bootstrap_iters": job.get("bootstrap_iters", 2)}
        found = evaluate("", [job["task"]], [job["shots"]], [job["limit"]], job["data"], folder, **options)
        (name,) = found["results"]
        rows = [json.loads(x) for x in (Path(folder) / f"samples_{name}.jsonl").read_bytes().split(b"\n") if x]
    wrong = []
    if "generations" in wanted:
        texts, given = [row["context"] for row in rows], [row["prediction"] for row in rows]
        if given != wanted["generations"]:
            wrong.append(f"generations {given} are not {wanted['generations']}")
    else:
        pairs = [(row["context"], choice) for row in rows for choice in row["choices"]]
        texts = [text for context, choice in pairs for text in (context, choice["text"])]
        scores = [choice["loglikelihood"] for _, choice in pairs]
        if (
            len(scores) != wanted["asked"]
            or max(abs(a - b) for a, b in zip(scores, wanted["scores"], strict=True)) > 1e-4
        ):
            wrong.append(f"log-likelihoods {scores} are not {wanted['scores']}")
    if digest(texts) != wanted["texts"]:
        wrong.append("the contexts or choices are others")
    for metric, value in wanted["results"].items():
        mine = found["results"][name].get(metric)
        if value is not None and value == value and (mine is None or abs(mine - value) > 1e-9):
            wrong.append(f"{metric} {mine} is not {value}")
    return wrong


def golden_jobs() -> list[dict]:
    """What golden/hard.json holds: every task with a prompt of every frame in turn."""
    from eval_harness import tasks

    jobs = []
    for place, name in enumerate(n for n in tasks.names() if not n.startswith(("news_headline", "llmjp_"))):
        kind = ("bpe", "t5_lines", "llama_new")[place % 3]
        shots = 0 if name.startswith("xwinograd") else (2, 1, 4, 3)[place % 4]
        jobs.append({"model": kind, "task": name, "shots": shots, "limit": 5})
    return jobs


def golden_model(kind: str, folder: Path) -> Path:
    """A tiny model with a tokenizer of the golden folder; its weights are the same on every machine."""
    import shutil

    shutil.copytree(GOLDEN / kind, folder)
    return synthetic_jglue.tiny_model(folder, 700, 640, seed=17)


def _write() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        files = data(folder / "data")
        for kind in ("t5_lines", "llama_new"):
            if not (GOLDEN / kind).is_dir():
                tokenizer(kind, GOLDEN / kind, files)
        jobs = golden_jobs()
        models = {kind: golden_model(kind, folder / kind) for kind in {job["model"] for job in jobs}}
        full = [
            {**job, "model": str(models[job["model"]]), "data": str(files / "hard"), "bootstrap_iters": 1000,
             "args": {} if job["model"] == "bpe" else {"use_fast": False}}
            for job in jobs
        ]  # fmt: skip
        found = both(full, os.environ["JP_STABLE_PYTHON"], os.environ["JP_STABLE_DIR"], os.environ["JP_STABLE_OLD_DIR"])
        answers = {job["task"]: short(answer) for job, answer in found}
    rows = [{**job, "wanted": answers[job["task"]]} for job in jobs]
    (GOLDEN / "hard.json").write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(f"{len(rows)} jobs, {sum('error' in row['wanted'] for row in rows)} with errors")


if __name__ == "__main__":
    sys.path[:0] = [str(HERE), str(HERE.parents[1])]
    _write()
