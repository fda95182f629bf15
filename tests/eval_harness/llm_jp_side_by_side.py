"""llm-jp-eval 1.3.0 and ours on the same files and models, and what differs.

As a script it writes golden/llm_jp_eval.json. LLM_JP_EVAL_PYTHON is an interpreter as llm_jp_eval_driver.py says,
LLM_JP_EVAL_DIR llm-jp-eval's folder (of swallow-llm/swallow-evaluation), HAIGO_SHARED holds JGLUE's files:

    python tests/eval_harness/llm_jp_side_by_side.py
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import side_by_side
import synthetic_jglue
import synthetic_llm_jp

HERE = Path(__file__).parent
GOLDEN = side_by_side.GOLDEN / "llm_jp_eval.json"
MODELS = ("bpe", "t5_lines", "llama_new")
JGLUE = ("jcommonsenseqa", "jnli", "jsquad", "jsts")
LIMIT = 30


def model(kind: str, folder: Path) -> Path:
    """A tiny model whose context holds four shots, and whose weights are so large that answers depend on the document."""
    shutil.copytree(side_by_side.GOLDEN / kind, folder)
    pieces = {"bpe": 500, "t5_lines": 600, "llama_new": 600}[
        kind
    ]  # no more: slow tokenizers have no text for other ids
    return synthetic_jglue.tiny_model(folder, pieces, 4096, seed=17, scale=0.5)


def _tokenizer(folder: Path) -> dict:
    """A tokenizer as transformers 4.38 reads it: tokenizer.json's merges are texts there, not pairs."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        return {"pretrained_model_name_or_path": str(folder), "use_fast": False}
    content = json.loads(path.read_bytes())
    content["model"]["merges"] = [
        each if isinstance(each, str) else " ".join(each) for each in content["model"]["merges"]
    ]
    old = folder / "old"
    old.mkdir(exist_ok=True)
    (old / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    shutil.copy(folder / "tokenizer_config.json", old)
    return {"pretrained_model_name_or_path": str(old), "use_fast": True}


def theirs(jobs: list[dict], python: str) -> list:
    """llm-jp-eval's answers to the driver's jobs."""
    with tempfile.TemporaryDirectory() as place:
        asked, answers = Path(place) / "jobs.json", Path(place) / "answers.json"
        asked.write_text(json.dumps(jobs), encoding="utf-8")
        words = [python, str(HERE / "llm_jp_eval_driver.py"), str(asked), str(answers)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": ""}
        said = subprocess.run(words, env=environment, cwd=place, capture_output=True, text=True, check=False)
        assert said.returncode == 0, f"llm-jp-eval ended with {said.returncode}: {said.stderr[-3000:]}"
        return json.loads(answers.read_bytes())


def config(folder: Path, data: Path, tasks: list[str], shots: int = 4, split: str = "dev") -> dict:
    """llm-jp-eval's configuration, by its template."""
    return {
        "openapi": False,
        "dataset_dir": str(data / "evaluation" / split),
        "strict": True,
        "target_dataset": tasks,
        "torch_dtype": "fp32",
        "model": {"_target_": "AutoModelForCausalLM", "pretrained_model_name_or_path": str(folder)},
        "tokenizer": {"_target_": "AutoTokenizer", **_tokenizer(folder)},
        "wandb": {"log": False, "launch": False, "run_name": "x"},
        "metainfo": {
            "version": "1.3.0", "basemodel_name": folder.name, "data_type": split, "num_few_shots": shots,
            "max_num_samples": 100,
        },
        "generator": {"top_p": 1.0, "repetition_penalty": 1.0},
    }  # fmt: skip


def short(outcome: dict) -> dict:
    """Task -> digest of the prompts, answers and scores; `file` is the result as llm-jp-eval writes it."""
    found, at = {}, 0
    for task, rows in outcome["outputs"].items():
        prompts = outcome["prompts"][at : at + len(rows)]
        at += len(rows)
        own = {key.removeprefix(f"{task}_"): s for key, s in outcome["scores"].items() if key.startswith(f"{task}_")}
        found[task] = {
            "prompts": side_by_side.digest(prompts),
            "answers": [row["pred"] for row in rows],
            "scores": own,
        }
    return found


def ours(folder: Path, data: Path, tasks: list[str], output: Path, shots: int = 4, split: str = "dev") -> dict:
    """The same of `eval_harness.run`."""
    from eval_harness.run import evaluate

    names = [f"llmjp_{task}-1.3-{split}" for task in tasks]
    outcome = evaluate(folder, names, shots, None, data, output)
    found = {}
    for task, name in zip(tasks, names, strict=True):
        lines = (output / f"samples_{name}.jsonl").read_bytes().split(b"\n")
        rows = [json.loads(line) for line in lines if line]
        figures = {key: f"{s:.4f}" for key, s in outcome["results"][name].items() if not key.endswith("_stderr")}
        found[task] = {
            "prompts": side_by_side.digest([row["context"] for row in rows]),
            "answers": [row["prediction"] for row in rows],
            "scores": figures,
        }
    return found


def jglue_prompts(folder: Path) -> dict[str, str]:
    """split of a task -> digest of the prompts of its first documents by ours, on JGLUE's files."""
    from eval_harness import engine
    from eval_harness.sources import read_sources

    found = {}
    for task in JGLUE:
        for split in ("dev", "test"):
            (source,) = read_sources([f"llmjp_{task}-1.3-{split}"], [4], [LIMIT], folder, "train", "v1.1")
            found[f"{task} {split}"] = side_by_side.digest(engine.prepare(source).contexts)
    return found


def raw_jglue(shared: Path, folder: Path) -> Path:
    """JGLUE's files under the flat names; where the train file can not be had the test file stands in, JSTS by its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for task in JGLUE:
        train = next(
            path
            for name in (f"{task}-train-v1.1.json", f"{task}-test-v1.3.json", f"{task}-valid-v1.1.json")
            if (path := shared / name).is_file()
        )
        shutil.copy(train, folder / f"{task}-train-v1.1.json")
        shutil.copy(shared / f"{task}-valid-v1.1.json", folder / f"{task}-valid-v1.1.json")
    return folder


def their_jglue_prompts(shared: Path, python: str) -> dict[str, str]:
    """As `jglue_prompts`, by llm-jp-eval's preprocessing and prompts."""
    with tempfile.TemporaryDirectory() as place:
        folder = raw_jglue(shared, Path(place) / "flat")
        raw = Path(place) / "raw_files"
        raw.mkdir()
        for task in JGLUE:
            shutil.copy(folder / f"{task}-train-v1.1.json", raw / f"{task}_train.json")
            shutil.copy(folder / f"{task}-valid-v1.1.json", raw / f"{task}_test.json")
        made = theirs([{"preprocess": [task, place]} for task in JGLUE], python)
        jobs = [
            {"prompts": [task, samples["train"], [each["input"] for each in samples[split][:LIMIT]]]}
            for task, samples in zip(JGLUE, made, strict=True)
            for split in ("dev", "test")
        ]
        keys = [f"{task} {split}" for task in JGLUE for split in ("dev", "test")]
        return {key: side_by_side.digest(texts) for key, texts in zip(keys, theirs(jobs, python), strict=True)}


def golden(python: str, shared: Path) -> dict:
    """What golden/llm_jp_eval.json holds."""
    with tempfile.TemporaryDirectory() as place:
        data = synthetic_llm_jp.write(Path(place) / "data")
        tasks = sorted(path.stem for path in (data / "evaluation/dev").iterdir())
        paths = sorted(data.glob("evaluation/*/*.json"))
        made = theirs([{"save": [path.stem, json.loads(path.read_bytes())["samples"]]} for path in paths], python)
        assert made == [path.read_text(encoding="utf-8") for path in paths]  # they are what llm-jp-eval writes
        folders = [model(kind, Path(place) / kind) for kind in MODELS]
        runs = theirs([{"evaluate": config(folder, data, tasks)} for folder in folders], python)
        some = theirs([{"evaluate": config(folders[0], data, ["jnli", "jsts"], 0, "test")}], python)[0]
    cases = synthetic_llm_jp.answers()
    return {
        "models": {kind: short(run) for kind, run in zip(MODELS, runs, strict=True)},
        "no shots": short(some),
        "file": {
            "scores": runs[0]["scores"],
            "config": {
                "metainfo": runs[0]["config"]["metainfo"],
                "model": {"pretrained_model_name_or_path": "bpe"},
            },
        },
        "figures": theirs([{"score": case} for case in cases], python),
        "jglue": their_jglue_prompts(shared, python),
    }


if __name__ == "__main__":
    shared = Path(os.environ["HAIGO_SHARED"]) / "jglue"
    made = golden(os.environ["LLM_JP_EVAL_PYTHON"], shared)
    GOLDEN.write_text(json.dumps(made, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    sys.exit(0)
