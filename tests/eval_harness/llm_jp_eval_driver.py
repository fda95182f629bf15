"""Run llm-jp-eval 1.3.0's own code on files, models and answers; what weighs much and changes no figure is replaced by nothing.

    LLM_JP_EVAL_DIR=... python llm_jp_eval_driver.py jobs.json answers.json

Runs in an interpreter with transformers 4.38, langchain 0.0.300, fuzzywuzzy, python-Levenshtein, scipy, scikit-learn, rhoknp
and xmltodict. A job is {"evaluate": config}, {"score": {answers, right, metrics}}, {"save": [TASK, samples]}, {"preprocess":
[TASK, folder]} or {"prompts": [TASK, examples, inputs]}.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import sys
import tempfile
import types
from pathlib import Path


class _Nothing(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **more: _Nothing(name)


class _Table:
    """wandb's table, whose rows hold every prompt."""

    def __init__(self, *args, **more):
        self.rows = []

    def add_data(self, *row):
        self.rows.append(row)

    def add_column(self, **more):
        pass


class Config(dict):
    """What OmegaConf makes of a YAML file, as far as it is asked."""

    def __getattr__(self, name):
        if name not in self:
            raise AttributeError(name)
        value = self[name]
        return Config(value) if isinstance(value, dict) else value


def _called(config, torch_dtype=None, **more):
    import transformers

    words = {key: value for key, value in config.items() if not key.startswith("_")}
    words |= {} if torch_dtype is None else {"torch_dtype": torch_dtype}
    return getattr(transformers, config["_target_"]).from_pretrained(**words)


def _replace() -> None:
    import langchain.chains  # noqa: F401  # before: it and transformers look for what they may use
    import sklearn.metrics  # noqa: F401
    import transformers.pipelines  # noqa: F401

    for name in ("wandb", "wandb.sdk", "wandb.sdk.wandb_run", "comet", "bert_score", "sacrebleu", "hydra", "omegaconf", "peft",
                 "openai"):  # fmt: skip
        sys.modules[name] = _Nothing(name)
    sys.modules["wandb"].Table = _Table
    sys.modules["wandb.sdk.wandb_run"].Run = object
    sys.modules["hydra"].utils = types.SimpleNamespace(call=lambda config, **more: _called(config, **{
        key: value for key, value in more.items() if key == "torch_dtype"}))  # fmt: skip
    sys.modules["omegaconf"].DictConfig = dict
    sys.modules["omegaconf"].OmegaConf = types.SimpleNamespace(to_container=lambda config, **more: dict(config))
    sys.path.insert(0, str(Path(os.environ["LLM_JP_EVAL_DIR"]) / "src"))


def evaluate(config: dict) -> dict:
    """What `evaluate_llm.py` writes, and every prompt."""
    from llm_jp_eval import evaluator

    tables: list = []
    evaluator.wandb.Table = lambda *args, **more: tables.append(_Table()) or tables[-1]
    scores, outputs = evaluator.evaluate(Config(config))
    return {"scores": scores, "outputs": outputs, "prompts": [row[9] for row in tables[0].rows], "config": config}


class _Chain:
    def __init__(self, answers):
        prompt = types.SimpleNamespace(format_prompt=lambda input: types.SimpleNamespace(text=input))
        self.chains, self.left = [types.SimpleNamespace(prompt=prompt)], list(answers)

    def __call__(self, inputs):
        return {"output": self.left.pop(0)}


def score(job: dict) -> dict:
    """llm-jp-eval's figures of answers."""
    from llm_jp_eval.utils import get_evaluation_result

    samples = [{"input": "", "output": right} for right in job["right"]]
    info = {"basemodel_name": "", "num_few_shots": 0, "data_type": "dev"}
    return get_evaluation_result("", _Chain(job["answers"]), samples, -1, "t", job["metrics"], info, "t", _Table())[0]


def _processors() -> dict:
    from llm_jp_eval.datasets.base import BaseDatasetProcessor

    found = {}
    folder = Path(os.environ["LLM_JP_EVAL_DIR"]) / "src/llm_jp_eval/datasets"
    for path in sorted(folder.rglob("*.py")):
        name = ".".join(path.relative_to(folder).with_suffix("").parts)
        if name.endswith("__init__") or name in ("alt", "wikicorpus"):  # translation, whose metrics are models
            continue
        for each in vars(importlib.import_module(f"llm_jp_eval.datasets.{name}")).values():
            if inspect.isclass(each) and issubclass(each, BaseDatasetProcessor) and hasattr(each, "data_name"):
                found[each.data_name] = each
    return found


def save(name: str, samples: list) -> str:
    """A preprocessed file, as text."""
    from llm_jp_eval.datasets.base import Sample

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.json"
        _processors()[name](Path(folder), "1.3.0")._save_evaluation_data([Sample(**each) for each in samples], path)
        return path.read_text(encoding="utf-8")


def preprocess(name: str, folder: str) -> dict:
    """Samples of every split that llm-jp-eval makes of the files in FOLDER/raw_files."""
    _processors()[name](Path(folder), "1.3.0").preprocess_evaluation_data()
    paths = Path(folder, "1.3.0", "evaluation").glob(f"*/{name}.json")
    return {path.parent.name: json.loads(path.read_text(encoding="utf-8"))["samples"] for path in paths}


def prompts(task: str, shots: list, inputs: list) -> list:
    """The prompt of each input after the first four examples."""
    from llm_jp_eval.datasets.base import Sample
    from llm_jp_eval.utils import get_evaluation_prompt

    with tempfile.TemporaryDirectory() as folder:
        instruction = _processors()[task](Path(folder), "1.3.0").output_info.instruction
    prompt = get_evaluation_prompt(instruction, [Sample(**each) for each in shots[:4]])
    return [prompt.format_prompt(input=text).to_string() for text in inputs]


def main() -> None:
    """The command."""
    _replace()
    found = []
    for job in json.loads(Path(sys.argv[1]).read_bytes()):
        ((kind, what),) = job.items()
        doers = {"save": lambda w: save(*w), "preprocess": lambda w: preprocess(*w), "score": score,
                 "evaluate": evaluate, "prompts": lambda w: prompts(*w)}  # fmt: skip
        found.append(doers[kind](what))
    Path(sys.argv[2]).write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main()
