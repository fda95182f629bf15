"""Shows which tokens a run reads first: for each sample its corpus, its documents and a digest of its tokens.

    python -m launch.samples CONFIG.yml [MORE.yml] [--first 100] [--split train|valid|test] [--tokens]
           [--tokenizer FOLDER] [--json]

The order is GPT-NeoX's own for that config (`launch.neox.data_order`), computed from the `.bin`/`.idx` files alone: nothing is
trained and nothing is written. The last line is one digest over all samples shown. `--tokens` adds the token ids,
`--tokenizer` the text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from haigo import cli, memory
from haigo.cli import HaigoError, Refused
from launch.neox import data_order

_TEXT_SHOWN = 60
_BYTES = 40  # of a token in a list


def first_samples(config: Mapping[str, Any], first: int = 100, split: str = "train") -> list[dict[str, Any]]:
    """The first samples of a split, in the order in which they are trained on.

    Args:
        config: GPT-NeoX keys, as `neox_configs.reader.load` gives them.
        first: how many.
        split: train, valid or test.

    Returns:
        One dict a sample: sample (its number), step (from 0), corpus (the prefix's folder), prefix, index (its number
        within the dataset), documents [[document, offset, tokens], ...], sha256 (of the tokens as little-endian int64)
        and tokens (seq_length + 1 ids).

    Raises:
        HaigoError: as `launch.neox.data_order` and `launch.local.settings`.
    """
    from launch.local.settings import batch_sizes

    _, batch = batch_sizes(config)
    source = data_order.source(config, batch, split)
    held = first * source.seq_length * _BYTES
    if held > memory.available():
        raise HaigoError(
            f"{first:,} samples of {source.seq_length:,} tokens take at least {held / 1e9:,.0f} GB of memory.",
            "show fewer with --first",
        )
    data = source.open()
    found = []
    for number in range(first):
        if isinstance(data, data_order.Blend):
            which, index = data.locate(number)
            dataset = data.datasets[which]
        else:
            dataset, index = data, number
        tokens = dataset[index]
        found.append(
            {
                "sample": number,
                "step": number // batch,
                "corpus": Path(dataset.prefix).resolve().parent.name,
                "prefix": dataset.prefix,
                "index": index,
                "documents": [list(piece) for piece in dataset.pieces(index)],
                "sha256": digest([tokens]),
                "tokens": tokens.tolist(),
            }
        )
    return found


def digest(samples: Sequence[Sequence[int] | np.ndarray]) -> str:
    """sha256 of samples' tokens, as little-endian int64 one after the other."""
    return hashlib.sha256(np.asarray(samples, dtype="<i8").tobytes()).hexdigest()


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser("launch.samples", __doc__)
    parser.add_argument("configs", nargs="+", metavar="CONFIG.yml", help="GPT-NeoX configs, as deepy.py takes them")
    parser.add_argument("--first", type=cli.few, default=100, help="how many samples (default 100)")
    parser.add_argument("--split", choices=("train", "valid", "test"), default="train")
    parser.add_argument("--tokens", action="store_true", help="show the token ids")
    parser.add_argument("--tokenizer", metavar="FOLDER", help="show the beginning of each sample's text")
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    args = parser.parse_args(argv)
    from neox_configs import reader

    config = reader.load(args.configs)
    reader.check_keys(config)
    samples = first_samples(config, args.first, args.split)
    text = None
    if args.tokenizer:
        from haigo.formats import tokenizer
        from haigo.formats.dataset import belongs

        text = tokenizer.load(args.tokenizer)
        for prefix in dict.fromkeys(sample["prefix"] for sample in samples):
            if Path(f"{prefix}.json").is_file():  # a dataset made by GPT-NeoX's own tool has no manifest
                belongs.require(prefix, text)
        held = [token for sample in samples for token in sample["tokens"]]
        odd = max(held) if max(held) >= text.vocab_size else min(held)
        if not 0 <= odd < text.vocab_size:
            raise Refused(
                f"{args.tokenizer} has {text.vocab_size:,} pieces, and the samples hold the id {odd:,}.",
                "name the tokenizer that the datasets were made with",
            )
    if args.json:
        for sample in samples:
            if text is not None:
                sample["text"] = text.decode(sample["tokens"])
            if not args.tokens:
                del sample["tokens"]
        print(json.dumps(samples, ensure_ascii=False, indent=1))
        return cli.OK
    for sample in samples:
        places = " ".join(f"{document}[{offset}+{count}]" for document, offset, count in sample["documents"])
        print(f"{sample['sample']:6d} step {sample['step']:5d} {sample['corpus']} {sample['sha256'][:16]} {places}")
        if args.tokens:
            print("       " + " ".join(map(str, sample["tokens"])))
        if text is not None:
            shown = text.decode(sample["tokens"]).replace("\n", "\\n")
            print(f"       {shown[:_TEXT_SHOWN]}{'...' if len(shown) > _TEXT_SHOWN else ''}")
    print(f"{len(samples)} samples, sha256 {digest([sample['tokens'] for sample in samples])}")
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
