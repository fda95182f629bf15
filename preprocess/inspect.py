"""What an indexed dataset holds, and whether it is still what its manifest says.

    python -m preprocess.inspect PREFIX... [--verify] [--sample N] [--tokenizer FOLDER] [--json]

PREFIX is a path without .bin/.idx, such as data/news/train_text_document. --verify compares both files with the digests
of the manifest and checks the structure and every id. With --tokenizer, samples are decoded, and a dataset that was
made with another vocabulary is refused (exit code 3).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from haigo import cli, files
from haigo.cli import HaigoError, Refused

from . import tokenizer as tokenizers
from .indexed_dataset import MMapReader, bin_path, idx_path

MASKED = -100
_CHUNK_TOKENS = 1 << 24
_SHOWN_TOKENS = 120


def manifest(prefix: str | os.PathLike[str]) -> dict[str, Any]:
    """The manifest beside a dataset.

    Raises:
        HaigoError: there is none, or it is not JSON.
    """
    found = files.read_json(f"{os.fspath(prefix)}.json")
    if not isinstance(found, dict) or "tokens" not in found:
        raise HaigoError(f"{prefix}.json is not the manifest of a dataset.", "make the dataset with preprocess.index")
    return found


def require_tokenizer(prefix: str | os.PathLike[str], model: tokenizers.Tokenizer) -> None:
    """Make sure that a dataset was made with this very tokenizer.

    Raises:
        Refused: it was made with another one.
        HaigoError: the dataset has no manifest, so nobody can tell.
    """
    made_with = manifest(prefix).get("tokenizer_sha256")
    if made_with != model.sha256:
        raise Refused(
            f"{prefix} was made with another tokenizer ({str(made_with)[:12]}…) than {model.path} "
            f"({model.sha256[:12]}…), so its ids mean other pieces.",
            "name the tokenizer it was made with, or make it again with preprocess.index",
        )


def verify(prefix: str | os.PathLike[str]) -> list[str]:
    """Everything that is wrong with a dataset, one sentence each; empty when all is well.

    Raises:
        HaigoError: a file is missing or cut short, or there is no manifest.
    """
    reader, expected = MMapReader(prefix), manifest(prefix)
    found = [f"{idx_path(prefix)}: {problem}" for problem in reader.problems()]
    for path, key in ((bin_path(prefix), "bin_sha256"), (idx_path(prefix), "idx_sha256")):
        if files.sha256_file(path) != expected.get(key):
            found.append(f"{path} is not the file that the manifest describes (sha256 differs)")
    for name, value in (("tokens", len(reader.tokens)), ("documents", reader.documents), ("dtype", str(reader.dtype))):
        if expected.get(name) != value:
            found.append(f"{prefix}: the manifest says {expected.get(name)} {name}, the files hold {value}")
    vocab_size = int(expected.get("vocab_size", 0))
    masks = expected.get("kind") == "labels"  # -100 where the loss does not count
    for start in range(0, len(reader.tokens), _CHUNK_TOKENS):
        part = reader.tokens[start : start + _CHUNK_TOKENS]
        if masks:
            part = part[part != MASKED]
        if len(part) and (int(part.max()) >= vocab_size or int(part.min()) < 0):
            found.append(f"{bin_path(prefix)} holds ids outside the vocabulary of {vocab_size:,} pieces")
            break
    return found


def describe(
    prefix: str | os.PathLike[str], model: tokenizers.Tokenizer | None = None, samples: int = 0
) -> dict[str, Any]:
    """Figures of one dataset.

    Args:
        prefix: path without extension.
        model: decodes the samples.
        samples: documents to show, spread evenly over the dataset.
    """
    reader = MMapReader(prefix)
    sizes = np.asarray(reader.sizes)
    about: dict[str, Any] = {
        "prefix": str(prefix),
        "tokens": len(reader.tokens),
        "documents": reader.documents,
        "sequences": len(reader),
        "dtype": str(reader.dtype),
        "bin_bytes": bin_path(prefix).stat().st_size,
        "tokens_per_document": {
            name: int(value)
            for name, value in zip(
                ("min", "median", "max"), np.percentile(sizes, (0, 50, 100)) if len(sizes) else (0, 0, 0), strict=True
            )
        },
    }
    if Path(f"{os.fspath(prefix)}.json").is_file():
        made = manifest(prefix)
        about["bytes"] = made.get("bytes")
        about["tokenizer_sha256"] = made.get("tokenizer_sha256")
        if made.get("bytes") and about["tokens"]:
            about["bytes_per_token"] = round(made["bytes"] / about["tokens"], 4)
    count = min(samples, len(reader))
    picked = sorted({int(place) for place in np.linspace(0, len(reader) - 1, count)}) if count else []
    about["samples"] = [_sample(reader, number, model) for number in picked]
    return about


def _sample(reader: MMapReader, number: int, model: tokenizers.Tokenizer | None) -> dict[str, Any]:
    ids = [int(token) for token in reader.get(number, 0, _SHOWN_TOKENS)]
    row: dict[str, Any] = {"sequence": number, "tokens": int(reader.sizes[number]), "ids": ids[:20]}
    if model is not None:
        row["text"] = model.decode([token for token in ids if token >= 0])
        row["ends_with_eod"] = int(reader[number][-1]) == model.eod_id
    return row


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser("preprocess.inspect", __doc__)
    parser.add_argument("prefixes", nargs="+", metavar="PREFIX", help="path without .bin or .idx")
    parser.add_argument("--verify", action="store_true", help="check digests, structure and ids")
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="show N documents")
    parser.add_argument("--tokenizer", help="tokenizer folder or model: decodes samples, refuses another vocabulary")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(argv)
    model = tokenizers.load(args.tokenizer) if args.tokenizer else None
    answers = []
    for given in args.prefixes:
        prefix = given[:-4] if given.endswith((".bin", ".idx")) else given
        if model is not None:
            MMapReader(prefix)
            require_tokenizer(prefix, model)
        problems = verify(prefix) if args.verify else []
        if problems:
            raise Refused(f"{problems[0]}." + (f" {len(problems) - 1} more." if problems[1:] else ""), _REMAKE)
        about = describe(prefix, model, args.sample)
        answers.append(about | ({"verified": True} if args.verify else {}))
    if args.json:
        import json

        print(json.dumps(answers, ensure_ascii=False, indent=2))
        return cli.OK
    for about in answers:
        spread = about["tokens_per_document"]
        print(
            f"{about['prefix']}: {about['tokens']:,} tokens, {about['documents']:,} documents, {about['dtype']}, "
            f"{spread['min']:,} to {spread['max']:,} tokens a document (median {spread['median']:,})"
            + (", verified" if args.verify else "")
        )
        for row in about["samples"]:
            shown = row.get("text", " ".join(map(str, row["ids"])))
            print(f"  [{row['sequence']}] {row['tokens']:,} tokens: {shown!r}")
    return cli.OK


_REMAKE = "make the dataset again with preprocess.index"


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
