"""What the pipeline has to know of a model before it is trained: what its YAML says, and how long samples and steps are."""

from __future__ import annotations

from typing import Any

from haigo import files


def identity(name: str) -> Any:
    """What a model's YAML says: a stage depends on that, not on the file's name."""
    from neox_configs import reader, shipped

    return [name, files.digest(reader.load(shipped.find_model(name)))]


def seq_length(model: str, given: int | None) -> int:
    """Tokens of a sample: `given`, or the model's own."""
    from neox_configs import reader, shipped

    return given or int(reader.load(shipped.find_model(model)).get("seq_length", 2048))


def step(model: str, length: int | None) -> int:
    """Tokens of one step on this machine; where another length is asked for, the batch stays as large as it can."""
    from neox_configs import reader, shipped

    config = reader.load(shipped.find_model(model))
    own, batch = seq_length(model, None), int(config.get("train_batch_size") or 1)
    wanted = length or own
    return max(1, round(batch * own / wanted)) * wanted
