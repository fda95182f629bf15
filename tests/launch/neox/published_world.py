"""Small models of Hugging Face that were made by nobody's training, and real GPT-NeoX runs that start from them.

    PYTHONPATH=.:tests:tests/launch:tests/launch/neox python -m published_world        writes golden_published.json, with
                                                                        GPT_NEOX_DIR, GPT_NEOX_PYTHON, HAIGO_SHARED set

The golden file holds for every set-up of data/published_world.yml the loss that GPT-NeoX logs at its first step, and a digest
of the checkpoint that it had loaded: what CI holds the conversion against where GPT-NeoX is not.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import torch
from shared_data import data_of

from haigo import files, yamlfile
from haigo.formats.dataset.indexed import MMapWriter
from launch.neox.conversion import loss as convert_loss
from launch.neox.conversion import pickles, to_neox
from launch.neox.conversion.options import ConvertOptions

HERE = Path(__file__).parent
DATA = data_of(__file__)
SETUPS: dict[str, dict[str, Any]] = DATA["setups"]
"""Name -> {config: fields of transformers' config, tensor, pipe, dtype}."""
GOLDEN = HERE / "golden_published.json"
SEQ, BATCH, VOCAB = 32, 4, 512
IDS = 512
"""Of GPT-NeoX's tokenizer of characters, which needs no file."""


def model(name: str, folder: Path, shard: str = "5GB") -> dict[str, torch.Tensor]:
    """A model folder as transformers writes it; its weights are numpy's, which stay the same for ever."""
    from transformers import AutoConfig, AutoModelForCausalLM

    setup = SETUPS[name]
    config = AutoConfig.for_model(**{**DATA["config"], **setup["config"]})
    made = AutoModelForCausalLM.from_config(config)
    random = np.random.RandomState(3)
    with torch.no_grad():
        for key, weight in sorted(made.named_parameters()):
            drawn = torch.from_numpy(random.standard_normal(tuple(weight.shape)).astype(np.float32))
            weight.copy_(1 + 0.1 * drawn if "norm" in key and key.endswith("weight") else 0.15 * drawn)
    made.to(getattr(torch, setup.get("dtype", "float32"))).save_pretrained(folder, max_shard_size=shard)
    from safetensors.torch import load_file

    return {key: value for path in folder.glob("*.safetensors") for key, value in load_file(path).items()}


def dataset(root: Path) -> Path:
    """Documents of ids that are no text."""
    prefix, random = root / "ids_text_document", np.random.RandomState(5)
    with MMapWriter(prefix, np.uint16) as writer:
        for length in random.randint(20, 90, size=60):
            writer.add(random.randint(0, IDS, size=length).tolist())
            writer.end_document()
    return prefix


def checkpoint(name: str, hf: Path, save: Path, **options: Any) -> dict[str, Any]:
    """What `launch.convert --to-neox` makes of a model."""
    setup = SETUPS[name]
    split = {"tensor_parallel": setup.get("tensor", 1), "pipe_parallel": setup.get("pipe", 0)}
    return to_neox.convert(ConvertOptions(checkpoint=str(hf), out=str(save), to_neox=True, **{**split, **options}))


def digest(save: Path) -> str:
    """Of the tensors of a checkpoint: files, names, types, shapes and bits."""
    found = hashlib.sha256()
    for path in sorted((save / to_neox.TAG).glob("*.pt")):
        state = pickles.load(str(path), pickles.Reader)
        for key, value in (state["module"] or {} if "module" in state else state).items():
            found.update(f"{path.name} {key} {value.dtype} {tuple(value.shape)}\n".encode())
            found.update(value.contiguous().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def run(save: Path, data: Path, folder: Path, setup: dict[str, Any]) -> dict[str, Any]:
    """The config of two steps of GPT-NeoX from a checkpoint."""
    kept = [yamlfile.read(path) for path in sorted((save / to_neox.TAG / "configs").glob("*.yml"))]
    keys = {key: value for config in kept for key, value in config.items() if key != "train_batch_size"}
    ranks = max(1, setup.get("pipe", 0)) * setup.get("tensor", 1)
    lists = {f"{part}_data_paths": [str(data)] for part in ("train", "valid", "test")}
    lists |= {f"{part}_data_weights": [1.0] for part in ("train", "valid", "test")}
    return {**keys, **DATA["run"], **lists, "load": str(save), "save": str(folder / "save"), "num_gpus": ranks}


def transformers_loss(hf: Path, config: dict[str, Any], pads: int = 0) -> float:
    """transformers' own cross entropy on GPT-NeoX's first batch.

    Args:
        pads: rows that the conversion added, each the mean of the others.
    """
    from transformers import AutoModelForCausalLM

    inputs, labels = convert_loss.rows(config, BATCH, "train", 0, BATCH, 0, Path())
    model = AutoModelForCausalLM.from_pretrained(hf, dtype=torch.float32).eval()
    with torch.no_grad():
        logits = model(torch.from_numpy(np.ascontiguousarray(inputs))).logits.flatten(0, 1)
    more = logits.mean(1, keepdim=True).expand(-1, pads)
    return float(torch.nn.functional.cross_entropy(torch.cat([logits, more], 1), torch.from_numpy(labels).flatten()))


def train(root: Path, checkout: Path, python: Path, environment: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Every set-up converted and started by GPT-NeoX.

    Returns:
        Name -> {loss: of the first step, digest, ours: transformers' loss}.
    """
    data, jobs, made = dataset(root), [], {}
    for number, (name, setup) in enumerate(SETUPS.items()):
        folder = root / re.sub(r"\W+", "_", name)
        model(name, folder / "hf")
        record = checkpoint(name, folder / "hf", folder / "base")
        config = run(folder / "base", data, folder, setup)
        yamlfile.write(folder / "run.yml", config)
        job = {"config": str(folder / "run.yml"), "ranks": config["num_gpus"], "log": str(folder / "log")}
        jobs.append({**job, "port": 29811 + number})
        made[name] = {"digest": digest(folder / "base"), "folder": folder}
        made[name]["ours"] = transformers_loss(folder / "hf", config, record["rows"] - record["vocab_size"])
    files.write_json(root / "jobs.json", jobs)
    path = f"{environment.get('PYTHONPATH', '')}{os.pathsep}{HERE / 'flash_stub'}"
    done = subprocess.run(
        [str(python), str(HERE / "neox_train.py"), str(root / "jobs.json")],
        cwd=checkout, env=environment | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=1800, check=False,
    )  # fmt: skip
    for name, one in made.items():
        text = (one["folder"] / "log").read_text()
        found = re.search(r"iteration +1/.*lm_loss: ([\d.E+-]+)", text)
        assert found and "successfully loaded" in text, f"{name}\n{text[-3000:]}"
        one["loss"] = float(found[1])
    assert done.returncode == 0, done.stderr[-3000:]
    return made


if __name__ == "__main__":
    import tempfile

    shim = Path(os.environ.get("HAIGO_NEOX_CPU") or Path(os.environ["HAIGO_SHARED"]) / "neox_cpu")
    python = Path(os.environ["GPT_NEOX_PYTHON"])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    environment |= {"FAKE_CUDA": "1", "DS_ACCELERATOR": "cpu", "PYTHONPATH": str(shim)}
    with tempfile.TemporaryDirectory() as place:
        found = train(Path(place), Path(os.environ["GPT_NEOX_DIR"]), python, environment)
    kept = {name: {"loss": one["loss"], "digest": one["digest"]} for name, one in found.items()}
    for name, one in found.items():
        print(f"{name}: GPT-NeoX {one['loss']:.6f}, transformers {one['ours']:.6f}")
    GOLDEN.write_text(json.dumps(kept, indent=1) + "\n")
