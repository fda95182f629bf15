"""One proxy as a GPT-NeoX run: config, training, conversion, and the same scores as the embedded engine's.

GPT-NeoX blends its validation sets by weight into one loss, so it cannot say bits per byte of each corpus. The trained model
is therefore converted (`launch.convert`) and read by the embedded engine's evaluator: the same windows of the same
validation sets, so that a row means the same whoever trained it.

Each run reads its datasets through links of its own: GPT-NeoX writes its sample indices beside a dataset, and proxies
that start together would read each other's half-written ones.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haigo import digests, files, yamlfile
from haigo.cli import Failed, HaigoError, Refused
from haigo.formats.tokenizer import model_path
from launch.engine import checkpoint
from launch.engine import device as devices
from launch.engine import evaluate as evaluation
from launch.engine import job as jobs
from launch.neox import checkout, checkpoints, ports
from launch.neox import log as neox_log
from launch.proxies import scores
from launch.proxies.proxy import Proxy
from launch.train.options import DeepyOptions
from launch.train.start import start
from neox_configs import keys

ENGINE = "gpt-neox"
_LOGGED_STEPS = 200
_SAVES = 10  # of one run: as GPT-NeoX writes all weights and moments each time


class Work:
    """What submitit calls in a job; queued again by itself when the job is preempted or out of time."""

    def __call__(self, proxy: Proxy) -> tuple[dict[str, Any], dict[str, Any]]:
        return train(proxy)

    def checkpoint(self, proxy: Proxy) -> Any:
        """submitit's word for a job that has to leave: GPT-NeoX goes on from its own last checkpoint."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, proxy)


def train(proxy: Proxy) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train, convert and score one proxy, or go on with it (in a job).

    Returns:
        What result.json holds, and the scores of tasks.

    Raises:
        HaigoError, Failed: as launch.deepy and launch.convert.
    """
    folder = proxy.folder
    with files.owner(folder):
        digests.learn(proxy.digests)
        same = checkpoint.same(folder, proxy.identity)
        result = checkpoint.finished(folder) if same else None
        if not same or (result is None and (folder / checkpoint.RESULT).is_file()):
            checkpoint.clear(folder)
            _clear(folder / "neox")
            files.remove_tree(folder / "model")
        checkpoint.claim(folder, proxy.identity)
        result = result or _train(proxy)
        return result, scores.score(folder, proxy.tasks, proxy.tasks_key, result) if proxy.tasks else {}


def _train(proxy: Proxy) -> dict[str, Any]:
    begin, folder, steps = time.monotonic(), proxy.folder, proxy.steps
    config = write_config(proxy)
    repair(folder / "neox" / "save", yamlfile.read(config))
    if checkpoints.latest(folder / "neox" / "save") != f"global_step{steps}":
        _run(folder, config)
    if not (folder / "model").is_dir():
        from launch.neox.conversion.convert import convert
        from launch.neox.conversion.options import ConvertOptions

        options = ConvertOptions(
            checkpoint=str(folder / "neox" / "save"),
            out=str(folder / "model"),
            iteration=steps,
            config=[str(config)],
            tokenizer=str(proxy.options.tokenizer),
            dtype="float32",
        )
        convert(options)
    result = evaluate(proxy)
    result["seconds"] = round(_spent(folder) + time.monotonic() - begin, 3)
    files.write_json(folder / checkpoint.RESULT, result)
    _clear(folder / "neox")
    if not proxy.options.export:
        files.remove_tree(folder / "model")
    checkpoint.close(folder)
    return result


def _clear(folder: Path) -> None:
    """Remove a run's folder with the checkpoints that GPT-NeoX wrote there for us."""
    save = folder / "save"
    files.adopt([save / "latest"])
    for saved in save.glob("global_step*"):
        files.adopt_tree(saved)
    files.remove_tree(folder)


def repair(save: Path, config: Mapping[str, Any]) -> None:
    """Let `latest` name a whole checkpoint, or take all away where none is: GPT-NeoX writes `latest` last, so that a run killed
    in its first save has a folder and no `latest`, and dies of a torn file at every start. It then starts anew, which
    launch.preflight rightly leaves for a person to decide in a large run."""
    try:
        choice = checkpoints.decide(save, config, gpus=1)
    except Refused:
        _clear(save.parent)
        return
    checkpoints.repair(save, choice)


def write_config(proxy: Proxy) -> Path:
    """Write the run's GPT-NeoX config, `neox/config.yml`, and link its datasets to `neox/data`.

    One process on one device: the one that CUDA_VISIBLE_DEVICES names, through `include`, because DeepSpeed drops that
    variable and takes device 0 as soon as it is told a number of GPUs.
    """

    folder, steps = proxy.folder.resolve(), proxy.steps
    config = {name: value for name, value in proxy.config.items() if value is not None}
    for name in ("hostfile", "include", "num_gpus", "num_nodes", "global_num_gpus", "launcher"):
        config.pop(name, None)
    device = os.environ.get("CUDA_VISIBLE_DEVICES", "").strip()
    if device and not device.isdigit():
        raise HaigoError(
            f"CUDA_VISIBLE_DEVICES={device} does not name one GPU by its number.", "give each job one GPU (--gpus 1)"
        )
    config |= {"include": f"localhost:{device}"} if device else {"num_gpus": 1}
    config.pop("lr_decay_fraction", None)
    train_sets = [Path(prefix) for prefix in config["train_data_paths"]]
    held = [Path(prefix) for prefix in (proxy.options.valid or {}).values()] or train_sets
    data = folder / "neox" / "data"
    linked = {
        prefix: _link(prefix, data / f"{number}") for number, prefix in enumerate(dict.fromkeys([*train_sets, *held]))
    }
    config["train_data_paths"] = [str(linked[prefix]) for prefix in train_sets]
    for part in ("valid", "test"):
        config[f"{part}_data_paths"] = [str(linked[prefix]) for prefix in held]
        config[f"{part}_data_weights"] = [1.0 / len(held)] * len(held)
    config |= {
        "train_iters": steps,
        "lr_decay_iters": proxy.decay,
        "vocab_file": str(vocabulary := model_path(proxy.options.tokenizer)),
        "tokenizer_type": "HFTokenizer" if vocabulary.suffix == ".json" else "SPMTokenizer",
        "data_impl": "mmap",
        "save": str(folder / "neox" / "save"),
        "load": str(folder / "neox" / "save"),
        "checkpoint_factor": max(1, -(-steps // _SAVES)),
        "keep_last_n_checkpoints": 2,
        "eval_iters": 0,
        "eval_interval": steps + 1,
        "log_interval": max(1, steps // _LOGGED_STEPS),
        "master_port": ports.free(),
    }
    unknown = [name for name in config if name not in keys.edition().known]
    if unknown:
        raise HaigoError(f"unknown key '{unknown[0]}': GPT-NeoX has no such key.", "mend or remove it")
    path = folder / "neox" / "config.yml"
    yamlfile.write(path, config, "one proxy of launch.proxies --engine neox")
    return path


def _link(prefix: Path, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    linked = folder / prefix.name
    for ending in ("bin", "idx", "json"):
        source, link = Path(f"{prefix}.{ending}"), Path(f"{linked}.{ending}")
        if source.exists():
            files.symlink(link, source.resolve())
    return linked


def _run(folder: Path, config: Path) -> None:
    if not os.environ.get("CUDA_VISIBLE_DEVICES", "").strip():
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)  # submitit's empty word for "no GPU asked for"
    begin = time.monotonic()
    try:
        # not supervised: a run that fails is tried again by the swarm, in a new job
        options = DeepyOptions(
            user_script="train.py",
            conf_file=[str(config)],
            gpus=1,
            log=str(folder / "train.log"),
            no_supervise=True,
        )
        code = start(options, checkout.find(), [config.resolve()])
    finally:
        spent = _spent(folder) + time.monotonic() - begin
        files.write_json(folder / "neox" / "spent.json", {"seconds": round(spent, 3)})
    if code:
        raise Failed(f"GPT-NeoX ended with {code}; see {folder / 'train.log'}.", "mend what its last lines say")


def _spent(folder: Path) -> float:
    """Seconds of earlier starts of this run."""
    path = folder / "neox" / "spent.json"
    with contextlib.suppress(HaigoError):  # none yet, or a damaged one: it is only told
        return float(files.read_record(path, {"seconds": float})["seconds"])
    return 0.0


def evaluate(proxy: Proxy) -> dict[str, Any]:
    """Score the converted model as the embedded engine scores its own.

    Returns:
        result.json but for `seconds`.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from haigo.formats import tokenizer as tokenizers

    tokenizer = tokenizers.load(proxy.options.tokenizer)
    options = proxy.options.replaced(tokens=None, precision_override="fp32", device="cpu")
    job = jobs.prepare({**proxy.config, "train_iters": proxy.steps}, options, tokenizer)
    device = devices.resolve("auto")
    model: Any = AutoModelForCausalLM.from_pretrained(proxy.folder / "model", dtype=torch.float32)
    if device != "cpu":
        torch.nn.Module.to(model, torch.device(device))
    tasks = evaluation.tasks(job.valid, job.pairs, tokenizer, job.plan, options.eval_tokens)
    scored = {name: evaluation.score(model, each, device) for name, each in tasks.items()}
    losses = [loss for _, loss in logged(proxy.folder / "train.log")]
    return {**job.result(job.plan, model, scored, losses), "engine": ENGINE, **(proxy.about or {})}


def logged(log: Path) -> list[tuple[int, float]]:
    """(step, loss) of every logged step; of a step that was trained twice, after a kill, the second."""
    losses = dict(neox_log.losses(log))
    if not losses:
        raise Failed(f"{log} tells no loss.", "look at what GPT-NeoX wrote there")
    return sorted(losses.items())


def steps_done(folder: Path) -> int:
    """The last step that a run's log tells of; 0 before the first."""
    return neox_log.last_step(folder / "train.log")
