"""The options of `launch.convert`."""

from __future__ import annotations

from dataclasses import dataclass

from haigo.options import Options, count, few, option


@dataclass(frozen=True, kw_only=True)
class ConvertOptions(Options):
    """What `launch.convert` makes of a checkpoint, or checks."""

    checkpoint: str = option(
        "save folder or global_stepN; with --check alone, or with --to-neox: a model",
        positional=True,
        metavar="CHECKPOINT",
    )
    out: str | None = option(
        "the Hugging Face folder to make; with --to-neox: the save folder",
        None,
        flags=("--out", "--output-dir"),
        metavar="DIR",
    )
    to_neox: bool = option("the other way: make a checkpoint for GPT-NeoX of a model of Hugging Face", False)
    tensor_parallel: int = few("--to-neox: split every layer over so many GPUs (model_parallel_size)", 1)
    pipe_parallel: int = few("--to-neox: stages (pipe_parallel_size); 0: no pipeline", 0, least=0)
    iteration: int | None = count("take this step of the save folder, not `latest`", None)
    config: list[str] = option("instead of the checkpoint's own configs", [], nargs="+", metavar="FILE")
    tokenizer: str | None = option("tokenizer folder (default: the config's vocab_file)", None, metavar="FOLDER")
    dtype: str = option(
        "type of the weights written, auto: as trained or published",
        "auto",
        among=("auto", "float32", "bfloat16", "float16"),
    )
    vocab: str = option(
        "the rows that pad the vocabulary: keep (GPT-NeoX's probabilities to the digit) or cut",
        "keep",
        among=("keep", "cut"),
    )
    template: str | None = option(
        "chat template: preprocess.pairs' YAML (default: as the datasets of a finetuned model note it)",
        None,
        metavar="FILE",
    )
    check: bool = option(
        "measure the loss, or check a folder that is there; with --to-neox: read back what was written", False
    )
    log: str | None = option("GPT-NeoX's log: the loss must be the one that it tells", None, metavar="FILE")
    samples: int | None = count("measure the loss on no more than so many samples", None, metavar="N")
    force: bool = option("replace the model that is at DIR", False)
    dry_run: bool = option("check everything, start nothing", False)
    json: bool = option("print the result as JSON", False)
