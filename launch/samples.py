"""Shows which tokens a run reads first: for each sample its corpus, its documents and a digest of its tokens.

    python -m launch.samples CONFIG.yml [MORE.yml] [--first 100] [--split train|valid|test] [--tokens]
           [--tokenizer FOLDER] [--json]

The order is GPT-NeoX's own for that config (`launch.neox.data_order`), computed from the `.bin`/`.idx` files alone: nothing is
trained and nothing is written. Of a list of phases they are those of the run, from the first phase on. The last line is one
digest over all samples shown. `--tokens` adds the token ids, `--tokenizer` the text.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haigo import cli, flags
from haigo.cli import Refused
from haigo.formats.dataset import manifest
from haigo.options import Options, few, option
from launch.neox import samples as samples_of
from neox_configs import phases, reader

_TEXT_SHOWN = 60


@dataclass(frozen=True, kw_only=True)
class SamplesOptions(Options):
    """What `launch.samples` shows."""

    configs: list[str] = option("GPT-NeoX configs, as deepy.py takes them", positional=True, metavar="CONFIG.yml")
    first: int = few("how many samples", 100)
    split: str = option("which data", "train", among=("train", "valid", "test"))
    tokens: bool = option("show the token ids", False)
    tokenizer: str | None = option("show the beginning of each sample's text", None, metavar="FOLDER")
    json: bool = option("print a JSON list", False)


def main(argv: Sequence[str] | None = None) -> int:
    options = flags.parse("launch.samples", __doc__, SamplesOptions, argv)
    samples: list[dict[str, Any]] = []
    for paths in phases.expand(options.configs):
        config = reader.load(paths)
        reader.check_keys(config)
        left = options.first - len(samples)
        whole = samples_of.of_phase(config) if options.split == "train" else None
        samples += samples_of.first_samples(config, left if whole is None else min(left, whole), options.split)
        if whole is None or len(samples) == options.first:
            break
    shown = list(dict.fromkeys(sample["prefix"] for sample in samples))
    for path in [each for prefix in shown for each in manifest.wrong(prefix, manifest.find(prefix) or {})]:
        print(f"haigo: {path} was changed since the dataset was made: launch.local would refuse it.", file=sys.stderr)
    text = None
    if options.tokenizer:
        from haigo.formats import tokenizer
        from haigo.formats.dataset import belongs

        text = tokenizer.load(options.tokenizer)
        for prefix in shown:
            if Path(f"{prefix}.json").is_file():  # a dataset made by GPT-NeoX's own tool has no manifest
                belongs.require(prefix, text)
        held = [token for sample in samples for token in sample["tokens"]]
        odd = max(held) if max(held) >= text.vocab_size else min(held)
        if not 0 <= odd < text.vocab_size:
            raise Refused(
                f"{options.tokenizer} has {text.vocab_size:,} pieces, and the samples hold the id {odd:,}.",
                "name the tokenizer that the datasets were made with",
            )
    if options.json:
        for sample in samples:
            if text is not None:
                sample["text"] = text.decode(sample["tokens"])
            if not options.tokens:
                del sample["tokens"]
        print(json.dumps(samples, ensure_ascii=False, indent=1))
        return cli.OK
    for sample in samples:
        places = " ".join(f"{document}[{offset}+{count}]" for document, offset, count in sample["documents"])
        print(f"{sample['sample']:6d} step {sample['step']:5d} {sample['corpus']} {sample['sha256'][:16]} {places}")
        if options.tokens:
            print("       " + " ".join(map(str, sample["tokens"])))
        if text is not None:
            start = text.decode(sample["tokens"]).replace("\n", "\\n")
            print(f"       {start[:_TEXT_SHOWN]}{'...' if len(start) > _TEXT_SHOWN else ''}")
    print(f"{len(samples)} samples, sha256 {samples_of.digest([sample['tokens'] for sample in samples])}")
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
