"""`--model_args`: lm-eval's words for a model and its options, and the mapping that they stand for.

Everything inside hands the mapping on: words that are joined and split again would read a folder's name as options.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haigo.cli import HaigoError

_WORDS = {"torch_dtype": "dtype", "use_fast": "use_fast_tokenizer"}  # jp-stable's words for lm-eval's


def parse_args(model_args: str | Mapping[str, Any]) -> dict[str, Any]:
    """The options of a model as a mapping, jp-stable's words put into lm-eval's; `pretrained` must be there.

    Args:
        model_args: a mapping; or lm-eval's `a=b,c=d`, or a JSON object for what holds a comma.

    Raises:
        HaigoError: no model is named, or its own code is asked for, which is a flag of its own.
    """
    try:
        options: dict[str, Any] = dict(_split(model_args) if isinstance(model_args, str) else model_args)
    except (ValueError, IndexError, RecursionError):
        options = {}
    if not options.get("pretrained"):
        raise HaigoError(f"--model_args '{model_args}' names no model.", "write --model_args pretrained=MODEL_FOLDER")
    if options.pop("trust_remote_code", None) not in (None, False):
        raise HaigoError(
            "--model_args asks for trust_remote_code, which runs the model's own code.",
            "leave it out there and give the flag --trust_remote_code, if you trust that code",
        )
    options = {_WORDS.get(word, word): value for word, value in options.items()}
    return {**options, "pretrained": str(options["pretrained"])}


def _split(words: str) -> Mapping[str, Any]:
    from lm_eval.utils import simple_parse_args_string

    if words.lstrip().startswith("{"):
        found: Mapping[str, Any] = json.loads(words)
        return found
    split: Mapping[str, Any] = simple_parse_args_string(words)
    return split


def written(options: Mapping[str, Any]) -> str:
    """The options as `--model_args` takes them: `a=b,c=d`, or JSON where a value would be split."""
    if any(set(str(value)) & set(",=") or str(value).strip() != str(value) for value in options.values()):
        return json.dumps(dict(options), ensure_ascii=False)
    return ",".join(f"{word}={value}" for word, value in options.items())


def folders(options: Mapping[str, Any]) -> list[Path]:
    """Folders with weights or files of their own that the options name beside the model's (an adapter, a tokenizer)."""
    named = [Path(str(options[word])) for word in ("peft", "delta", "tokenizer") if options.get(word)]
    return [place for place in named if place.is_dir()]
