"""A model of Hugging Face as a checkpoint that GPT-NeoX starts from (`finetune: true`): the way back of `convert`.

    DIR/latest                        global_step0
    DIR/global_step0/configs/         model.yml: the shape, to be named as --model; layout.yml: how the files are split
    DIR/global_step0/conversion.json  where it is from

One layer is in memory at a time. Without a pipeline GPT-NeoX keeps all layers of a tensor rank in one file: they are gathered
on the disk first. GPT-NeoX pads the vocabulary to a multiple that the config names; the one in layout.yml adds no more rows
than the tensor ranks need, so that the loss stays the published model's. A row that is added is the mean of the others: all
together get no larger share of the probability than is theirs of the rows.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haigo import __version__, files, yamlfile
from haigo.cli import Failed, HaigoError, Refused
from haigo.formats import exported
from haigo.progress import Progress
from launch.neox import checkpoints
from launch.neox.conversion import checkpoint as conversion_checkpoint
from launch.neox.conversion import convert as from_neox
from launch.neox.conversion import layout, published, weights
from launch.neox.conversion.options import ConvertOptions
from launch.neox.conversion.published import Published

if TYPE_CHECKING:
    import torch

TAG = "global_step0"
MODEL = "model.yml"
"""The config with the model's shape, in `configs`."""
_LONGEST = 8192
"""Tokens a sample, where the model has room for more: `--seq-length` of launch.configs says another number."""
_PRECISION = {"float32": "fp32", "float16": "fp16", "bfloat16": "bfloat16"}
_RUN: dict[str, Any] = {
    "output_layer_parallelism": "column",
    "init_method": "small_init",
    "output_layer_init_method": "wang_init",
    "train_batch_size": 512,
    "optimizer": {"type": "Adam", "params": {"lr": 5.0e-5, "betas": [0.9, 0.95], "eps": 1.0e-8}},
    "min_lr": 5.0e-6,
}
"""What a run needs besides the shape. Whoever goes on from published weights takes a lower peak than theirs was."""


def convert(options: ConvertOptions) -> dict[str, Any]:
    """Write the checkpoint; it appears whole or not at all.

    Returns:
        What `conversion.json` holds.

    Raises:
        HaigoError: a model that GPT-NeoX cannot hold, or that cannot be split so, or too little room.
        Refused: there is something at `out` already. Failed: what was written is not what was read (`--check`).
    """
    options.refuse_idle("--to-neox", "log", "samples", "iteration", "tokenizer", "config", "vocab", "template")
    source, out = published.load(options.checkpoint), Path(options.out or "")
    tensor, pipe = options.tensor_parallel, options.pipe_parallel
    _splits(source, tensor, pipe)
    if trained := [step for step in checkpoints.steps(out) if step]:
        raise Refused(
            f"{out} holds global_step{trained[-1]}, which a run saved there.", "name another folder with --out"
        )
    from_neox.free(out, source.folder, options.force)
    dtype = source.dtype if options.dtype == "auto" else options.dtype
    rows = -(-source.rows // tensor) * tensor
    record: dict[str, Any] = {
        "tool": f"haigo {__version__}",
        "source": str(source.folder.resolve()),
        "architecture": source.content["model_type"],
        "dtype": dtype,
        "vocab_size": source.rows,
        "rows": rows,
        "parameters": source.parameters,
        "tensor_ranks": tensor,
        "pipe": pipe,
        "keys": source.keys,
    }
    whole = source.parameters * (4 if dtype == "float32" else 2)
    need = whole if pipe else whole + whole // tensor
    if options.dry_run:
        return record
    from_neox.say_size(out, whole, need)
    files.require_space(out, need, "the conversion")
    temporary = out.with_name(f".{out.name}.partial")
    with files.owner(temporary), contextlib.ExitStack() as stack:
        stack.callback(files.remove_tree, temporary)
        files.remove_leftovers(temporary)  # of a killed process
        with files.scratch(temporary) as work:
            folder = work / "save" / TAG
            folder.mkdir(parents=True)
            _write_weights(source, folder, record)
            _write_configs(source, folder, record)
            files.write_json(folder / exported.CONVERSION, record)
            files.write_text(work / "save" / "latest", TAG)
            if options.check:
                _compare(source, folder, dtype)
            files.remove_tree(out)
            files.move(work / "save", out)
    return record


def _splits(source: Published, tensor: int, pipe: int) -> None:
    """Refuse what GPT-NeoX does not divide."""
    content = source.content
    heads = content["num_attention_heads"]
    parts = {
        "num_attention_heads": heads,
        "num_key_value_heads": content.get("num_key_value_heads") or heads,
        "intermediate_size": content["intermediate_size"],
    }
    for name, size in parts.items():
        if size % tensor:
            raise HaigoError(
                f"{tensor} tensor ranks do not divide {name} {size} of {source.folder}.",
                f"take a divisor of {math.gcd(*parts.values())}",
                option="tensor_parallel",
            )
    if pipe > source.keys["num_layers"]:
        raise HaigoError(
            f"there are {source.keys['num_layers']} layers for {pipe} stages.", "take fewer", option="pipe_parallel"
        )


def _parts(source: Published, number: int, tensor: int, dtype: torch.dtype) -> Iterator[tuple[str, list[torch.Tensor]]]:
    """The tensors of a layer by GPT-NeoX's names, each as its tensor ranks hold it."""
    outside = layout.OUTSIDE[source.content["model_type"]]
    for one in source.of_layer(number):
        wholes = [source.read(name).to(dtype) for name in one.targets]
        if one.targets[0] in (outside.embedding, outside.output):
            wholes = [_padded(whole, tensor) for whole in wholes]
        yield one.name, one.cut(wholes, tensor)


def _padded(whole: torch.Tensor, multiple: int) -> torch.Tensor:
    import torch

    more = -len(whole) % multiple
    return torch.cat([whole, whole.float().mean(0).to(whole.dtype).expand(more, -1)]) if more else whole


def _write_weights(source: Published, folder: Path, record: dict[str, Any]) -> None:
    import torch

    tensor, pipe, dtype = record["tensor_ranks"], record["pipe"], getattr(torch, record["dtype"])
    try:
        with contextlib.ExitStack() as stack, Progress("write weights", len(source.numbers), "layers") as progress:
            rooms = [stack.enter_context(contextlib.ExitStack()) for _ in range(tensor)]
            rooms_at = [] if pipe else [room.enter_context(files.scratch(folder.parent)) for room in rooms]
            modules: list[dict[str, torch.Tensor]] = [{} for _ in range(tensor)]
            for number in source.numbers:
                layers: list[dict[str, torch.Tensor]] = [{} for _ in range(tensor)]
                for name, parts in _parts(source, number, tensor, dtype):
                    for rank, part in enumerate(parts):
                        if pipe:
                            layers[rank][name] = part.clone(memory_format=torch.contiguous_format)
                        else:
                            whole = f"sequential.{number}.{name}"
                            modules[rank][whole] = _on_disk(part, rooms_at[rank] / whole)
                for rank, layer in enumerate(layers if pipe else ()):
                    torch.save(layer, folder / checkpoints.weights_name(rank, number))
                progress.update()
            for rank in range(tensor * max(1, pipe)):
                torch.save(
                    {"module": None if pipe else modules[rank], **_state(source, record)},
                    folder / checkpoints.weights_name(rank),
                )
                if not pipe:
                    modules[rank].clear()
                    rooms[rank].close()
    except (OSError, RuntimeError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise HaigoError(f"the weights cannot be written to {folder} ({line[:200]}).", "see its disk") from None


def _on_disk(part: torch.Tensor, path: Path) -> torch.Tensor:
    """The same numbers in a file that is mapped: they take room on the disk and none of the memory that others need."""
    import torch

    with files.create(path) as handle:  # the room for it, or a full disk would end the process when it is filled
        os.posix_fallocate(handle.fileno(), 0, part.numel() * part.element_size())
    kept = torch.from_file(str(path), shared=True, size=part.numel(), dtype=part.dtype)
    return kept.copy_(part.flatten()).view(part.shape)


def _state(source: Published, record: dict[str, Any]) -> dict[str, Any]:
    """What else DeepSpeed and GPT-NeoX look for in the file of a rank; `args` are what GPT-NeoX holds against its config."""
    same = ("num_layers", "hidden_size", "num_attention_heads", "max_position_embeddings")
    args = {name: source.keys[name] for name in same}
    return {
        "optimizer": None,
        "lr_scheduler": None,
        "skipped_steps": 0,
        "global_steps": 0,
        "global_samples": 0,
        "iteration": 0,
        "dp_world_size": 1,
        "mp_world_size": record["tensor_ranks"] * max(1, record["pipe"]),
        "args": {**args, "padded_vocab_size": record["rows"], "model_parallel_size": record["tensor_ranks"]},
    }


def _write_configs(source: Published, folder: Path, record: dict[str, Any]) -> None:
    length = min(source.keys["max_position_embeddings"], _LONGEST)
    keys = {**source.keys, "seq_length": length, "mlp_multiple_of": 1, **_RUN}
    name = source.folder.resolve().name
    yamlfile.write(
        folder / "configs" / MODEL, keys, f"the shape of {name}; name this file as --model of launch.configs"
    )
    split = {
        "pipe_parallel_size": record["pipe"],
        "model_parallel_size": record["tensor_ranks"],
        "make_vocab_size_divisible_by": record["rows"] // record["tensor_ranks"],
        "precision": _PRECISION[record["dtype"]],
    }
    why = f"how the weights lie in the files, and the padding that gives {record['rows']:,} rows for its tokenizer"
    yamlfile.write(folder / "configs" / "layout.yml", split, why)


def _compare(source: Published, folder: Path, dtype: str) -> None:
    """Read back what was written, as `launch.convert` reads any checkpoint.

    Raises:
        Failed: a bit differs.
    """
    import torch

    checkpoint = conversion_checkpoint.load(folder)
    same = torch.int32 if dtype == "float32" else torch.int16
    found = weights.tensors(checkpoint, checkpoint.rows or 0, source.rows, getattr(torch, dtype))
    for name, tensor in found:
        wanted = source.read(name).to(tensor.dtype)
        if not torch.equal(tensor.view(same), wanted.view(same)):
            raise Failed(f"{name} was not written as it was read.", "see the disk, and try again")
