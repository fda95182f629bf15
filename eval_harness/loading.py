"""A Hugging Face model for lm-eval's HFLM: the folder, the tokenizer's ids and the weights are checked while it loads.

`CheckedLM` asks and scores as lm-eval does (`eval_harness.stock`); `eval_harness.model` puts jp-stable's rules on it.
Import it only where a model is about to run: it brings in torch and lm-eval.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from lm_eval.models.huggingface import HFLM

from eval_harness.chat import Chat
from eval_harness.model_args import written
from eval_harness.products import by_the_faster_library
from haigo import files, memory, shown
from haigo.cli import HaigoError, Refused
from haigo.formats import exported
from haigo.pickles import refusal
from haigo.progress import Progress

_WEIGHTS = ("*.safetensors", "pytorch_model*.bin", "model*.safetensors.index.json")

_NUMBER = re.compile(r"\.\d+\.")
_SIZES = {
    "vocab_size": (1, 10**8),
    "hidden_size": (1, 10**6),
    "n_embd": (1, 10**6),
    "num_hidden_layers": (1, 10**4),
    "n_layer": (1, 10**4),
    "num_attention_heads": (1, 10**5),
    "n_head": (1, 10**5),
    "n_ctx": (2, 10**10),
    "max_position_embeddings": (2, 10**10),
}
"""What numbers of config.json lie between in any model there is."""


class _Watched:
    """A class of transformers' that keeps what a checkpoint lacks, or has too much (its own warning is held back)."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.missing: list[str] = []
        self.unused: list[str] = []
        self.used: set[str] = set()

    def from_pretrained(self, *args: Any, **more: Any) -> Any:
        model, said = self.inner.from_pretrained(*args, **more, output_loading_info=True)
        self.missing, self.unused = sorted(said["missing_keys"]), sorted(said["unexpected_keys"])
        self.used = set(model.state_dict())
        return model


class CheckedLM(HFLM):
    """lm-eval's Hugging Face model, with token ids that are proved and weights that are all there.

    Args:
        pretrained: a model folder, or a name on the Hugging Face hub.
        more: HFLM's other arguments.
    """

    truncated = 0
    """How many contexts were cut so far; counted by `eval_harness.model` only."""
    share_context: bool | None = None
    chat: Chat | None = None
    """How the model is asked, where that is by a chat template."""

    def __init__(self, pretrained: str, **more: Any) -> None:
        check_folder(pretrained)
        try:
            with quiet():
                super().__init__(pretrained=pretrained, **more)
        except (ValueError, KeyError, AttributeError, ImportError) as error:  # between the parts that are caught below
            raise HaigoError(
                f"{pretrained} could not be loaded: {first_line(error)}", "check config.json and --model_args"
            ) from None
        self.rows = int(self.model.get_input_embeddings().weight.shape[0])
        if self.tokenizer.vocab_size > self.rows:  # tokens added to it (a padding token) need not be embedded
            raise HaigoError(
                f"{pretrained}: the tokenizer has {self.tokenizer.vocab_size:,} pieces and the model embeds {self.rows:,}.",
                "use the tokenizer that the model was trained with",
            )
        if self.device.type == "cpu":
            memory.keep_freed()
            by_the_faster_library(self.model)

    def _create_tokenizer(self, pretrained: Any, tokenizer: Any = None, **more: Any) -> None:
        from haigo.formats.tokenizer import open_hf

        self.tokenizer_place = str(tokenizer or pretrained)
        known = ("revision", "trust_remote_code", "gguf_file", "add_bos_token", "subfolder")
        given = {word: more[word] for word in known if more.get(word) not in (None, "")}
        try:
            self.opened = open_hf(self.tokenizer_place, **given)
        except HaigoError as error:
            raise own_code(self.tokenizer_place, error.__context__ or error) or error from None
        self.tokenizer, self.tokenizer_kind = self.opened.tokenizer, self.opened.kind
        for warning in self.opened.warnings:
            print(f"haigo: {warning}", file=sys.stderr)

    def _get_config(self, pretrained: str, **more: Any) -> None:
        try:
            super()._get_config(pretrained, **more)
        except Exception as error:  # config classes check their fields with errors of their own
            raise own_code(pretrained, error) or HaigoError(
                f"{pretrained} is no model that transformers can read: {first_line(error)}",
                "check --model_args pretrained=: a model folder, or a name on the Hugging Face hub",
            ) from None
        if not more.get("trust_remote_code"):
            _check_kernels(pretrained, self.config)

    def _create_model(self, pretrained: Any, *args: Any, **more: Any) -> None:
        loader: Any = self.AUTO_MODEL_CLASS  # type: ignore[has-type]
        watched = _Watched(loader)
        try:
            self.AUTO_MODEL_CLASS = watched
            super()._create_model(pretrained, *args, **more)
        except (MemoryError, HaigoError, TypeError):
            raise
        except Exception as error:  # every kind of weights file has errors of its own
            raise (
                own_code(pretrained, error)
                or refusal(pretrained, error)
                or HaigoError(
                    f"{pretrained} could not be loaded as a causal language model: {first_line(error)}",
                    "check the folder, or convert the checkpoint again",
                )
            ) from None
        finally:
            self.AUTO_MODEL_CLASS = loader
        if watched.missing:
            raise HaigoError(
                f"{pretrained} lacks {len(watched.missing)} of the model's weights, {watched.missing[0]} first; transformers "
                "would fill them with random numbers.",
                "convert the checkpoint again, or see that config.json is of the same model",
            )
        _check_unused(pretrained, watched)

    def tokenizer_record(self) -> dict[str, Any]:
        """Which files the token ids come from and how they were proved (`haigo.formats.tokenizer`)."""
        asked = {} if self.chat is None else {"chat_template": self.chat.record()}
        return {"read_by": self.opened.kind, "folder": self.tokenizer_place, **self.opened.record, **asked}

    def ask_by(self, chat: Chat) -> None:
        """Ask in the words of a chat template from here on; special tokens in it are read as such."""
        if self.chat is chat:
            return
        from haigo.formats.tokenizer import reading_special

        self.chat = chat
        if isinstance(chat.template, str):
            self.opened = reading_special(self.opened)
            self.tokenizer.chat_template = chat.template

    def set_batch_size(self, batch_size: int | str) -> None:
        """As HFLM's own argument: a number, `auto` or `auto:N`."""
        kind, _, schedule = str(batch_size).partition(":")
        self.batch_size_per_gpu = kind if kind == "auto" else int(kind)
        self.batch_schedule = float(schedule or 1)

    def placement(self) -> dict[str, Any]:
        """What runs the model, and, where accelerate has spread it, how many of its modules are where."""
        spread = Counter(str(place) for place in _device_map(self.model).values())
        return {"backend": "hf", **({"modules_on": dict(spread)} if len(spread) > 1 else {})}

    @property
    def parameters(self) -> int:
        """How many numbers the model has."""
        return sum(weight.numel() for weight in self.model.parameters())


def can_round(model: Any, dtype: torch.dtype | None) -> bool:
    """Whether the weights of a model, rounded, are those that transformers reads from the same files in `dtype`."""
    kept = (getattr(model, name, None) for name in ("_keep_in_fp32_modules", "_keep_in_fp32_modules_strict"))
    plain = not any(kept) and getattr(model, "hf_quantizer", None) is None and not hasattr(model, "peft_config")
    # accelerate brings weights that lie elsewhere anew for every pass
    plain = plain and len(set(map(str, _device_map(model).values()))) < 2
    return plain and model.dtype == torch.float32 and dtype in (torch.float16, torch.bfloat16)


def round_weights(model: Any, dtype: torch.dtype) -> None:
    """Round what a checkpoint holds of a model; what it computes by itself (rotary frequencies) stays as exact as it is."""
    there = set(model.state_dict())
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if name in there and tensor.is_floating_point():
            tensor.data = tensor.data.to(dtype)
    model.config.dtype = dtype


def _device_map(model: Any) -> dict[str, Any]:
    """Module -> where accelerate put it; empty where it did nothing."""
    return getattr(model, "hf_device_map", None) or {}


Loaded = TypeVar("Loaded", bound=CheckedLM)


def device_for(name: str | None) -> str:
    """The device for `--device`; CUDA where there is one and none is named."""
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(name).type
    except RuntimeError:
        raise HaigoError(f"--device {name} is unknown.", "use cpu, cuda or cuda:N") from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise HaigoError(f"--device {name}: this machine has no CUDA device that torch can use.", "use --device cpu")
    return name


def load(
    kind: type[Loaded], options: Mapping[str, Any], batch_size: int | str | None, device: str | None, **more: Any
) -> Loaded:
    """A model as one of the classes on lm-eval's HFLM.

    Args:
        options: lm-eval's `--model_args` as a mapping.
        device: None takes CUDA where there is one.
        more: further arguments of the class.

    Raises:
        HaigoError: an option that does not exist, or a model that can not be loaded.
    """
    if isinstance(batch_size, int) and batch_size < 1:
        raise HaigoError(f"--batch_size {batch_size} is below 1.", "leave it out, or give 1 or more")
    number = device_for(device)
    check_options(options)
    try:
        with Progress("loading the model", None, after=5.0) as progress, progress.beating():
            return kind(**options, batch_size=batch_size, device=number, **more)
    except TypeError as error:
        raise HaigoError(f"--model_args {written(options)}: {first_line(error)}", "see lm-eval's `hf` model") from None


def check_options(options: Mapping[str, Any]) -> None:
    """Raise where an option of the model has a value that it can not have."""
    length, dtype = options.get("max_length"), options.get("dtype", "auto")
    if length is not None and (type(length) is not int or length < 2):
        raise HaigoError(f"--model_args max_length={length} is not a whole number above 1.", "leave it out")
    if dtype != "auto" and not isinstance(getattr(torch, str(dtype), None), torch.dtype):
        raise HaigoError(f"--model_args dtype={dtype} is unknown.", "use float32, float16, bfloat16 or auto")


def check_folder(pretrained: str) -> None:
    """Raise where a model's folder is none that can be loaded; names on the hub pass."""
    folder = Path(pretrained)
    if not folder.exists():
        if pretrained.count("/") <= 1 and not pretrained.startswith((".", "/", "~")):
            if folder.parent != Path() and folder.parent.is_dir():
                print(f"haigo: there is no {folder.name} in {folder.parent} here; taken for a name on the Hugging Face hub.",
                      file=sys.stderr)  # fmt: skip
            return  # a name on the hub
        raise HaigoError(f"the model folder {pretrained} does not exist.", "check --model_args pretrained=")
    if not (folder / "config.json").is_file():
        raise HaigoError(f"{pretrained} has no config.json: it is not a Hugging Face model folder.",
                         "name the folder that launch.convert or launch.local wrote")  # fmt: skip
    if not any(any(folder.glob(pattern)) for pattern in _WEIGHTS):
        raise HaigoError(f"{pretrained} has no weights (model.safetensors).", "export the model again")
    _check_numbers(folder / "config.json")
    exported.check(folder)


def _check_numbers(path: Path) -> None:
    """Raise where config.json has a size that no model has: transformers would build it for hours, or fail far from here."""
    bad = None
    try:
        config = files.read_json(path)
    except HaigoError as error:
        config, bad = {}, error.problem.rstrip(".")
    if not isinstance(config, dict):
        config, bad = {}, f"{path.name} holds no object"
    for name, (least, most) in _SIZES.items():
        value = config.get(name)
        if value is not None and not (type(value) is int and least <= value <= most):
            bad = f"{path.name} says {name} {str(value)[:40]}, which no model has"
    if bad is not None:
        raise HaigoError(f"{path.parent} is no model that transformers can read: {bad}.", "export the model again")


def _check_kernels(pretrained: object, config: Any) -> None:
    """Raise where a model's own config names a repository of the hub whose compiled code transformers would fetch and run."""
    for kind in ("attn", "experts"):
        named = getattr(config, f"_{kind}_implementation_internal", None)
        if any("/" in str(one) for one in (named.values() if isinstance(named, dict) else [named])):
            raise Refused(
                f"{pretrained} names code of the hub as its {kind}_implementation ({named}), which is not run unasked.",
                f"take {kind}_implementation out of config.json, or give --trust_remote_code if you trust it",
            )


def _check_unused(pretrained: object, watched: _Watched) -> None:
    """Tell of weights that are passed over; refuse layers that are: config.json then is of a smaller model."""
    if not watched.unused:
        return
    problem = f"{pretrained} holds {len(watched.unused)} weights that the model of config.json has no place for"
    shapes = {_NUMBER.sub(".0.", name) for name in watched.used}
    layers = [name for name in watched.unused if _NUMBER.search(name) and _NUMBER.sub(".0.", name) in shapes]
    if layers:
        raise HaigoError(
            f"{problem}: {layers[0]} and others are whole layers.",
            "give config.json the number of layers of the weights",
        )
    print(f"haigo: {problem}, {watched.unused[0]} first; they are not used.", file=sys.stderr)


def own_code(pretrained: object, error: BaseException) -> HaigoError | None:
    """What to say when transformers will not load a model without its own code."""
    if "trust_remote_code" not in str(error):
        return None
    return Refused(
        f"{pretrained} brings Python code of its own, which is not run unasked.",
        "read that code, and give --trust_remote_code if you trust it",
    )


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextlib.contextmanager
def quiet(bars: bool = True) -> Iterator[None]:
    """Hold back the remarks and bars of transformers and lm-eval, which would stand between Haigo's own lines.

    Args:
        bars: one line of a bar every ten seconds is shown; False: none.
    """
    import transformers

    loggers = [logging.getLogger(name) for name in ("lm_eval", "transformers", "accelerate")]
    levels = [logger.level for logger in loggers]
    theirs = transformers.utils.logging.is_progress_bar_enabled()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    transformers.utils.logging.disable_progress_bar()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        with contextlib.redirect_stderr(shown.FilteredBars(shown.raw(sys.stderr), shows=bars)):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if theirs:
            transformers.utils.logging.enable_progress_bar()
