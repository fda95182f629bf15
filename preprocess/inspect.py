"""What an indexed dataset holds, and whether it is still what its manifest says; or what is in the parts of a partition.

    python -m preprocess.inspect PREFIX... [--verify] [--sample N] [--tokenizer FOLDER] [--json]
    python -m preprocess.inspect OUT... --domains [--sample 10] [--json]

PREFIX is a path without .bin/.idx, such as data/news/train_text_document. --verify compares both files with the digests
of the manifest and checks the structure and every id. With --tokenizer, samples are decoded, and a dataset that was
made with another vocabulary is refused (exit code 3). Datasets that GPT-NeoX or Megatron-LM made have no manifest: their
structure and their smallest and largest id are told, and every id is held against the tokenizer's vocabulary.
--domains: OUT is a folder of preprocess.partition; of each part the words that tell it and ten documents are shown.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from haigo import cli, files, flags
from haigo.cli import Refused
from haigo.formats import tokenizer as tokenizers
from haigo.formats.dataset import belongs, ids, manifest
from haigo.formats.dataset.indexed import VERSION, MMapReader, bin_path, idx_path

from . import domains
from .options import InspectCommand

_SHOWN_TOKENS = 120


def verify(prefix: str | os.PathLike[str]) -> list[str]:
    """Everything that is wrong with a dataset, one sentence each; empty when all is well.

    Of a dataset without a manifest only the structure can be wrong, and an id below 0.

    Raises:
        HaigoError: a file is missing or cut short.
    """
    reader, expected = MMapReader(prefix), manifest.find(prefix)
    problems = [f"{idx_path(prefix)}: {problem}" for problem in reader.problems(documents=expected is not None)]
    if expected is None:
        return problems + _foreign(prefix, reader)
    for path, key in ((bin_path(prefix), "bin_sha256"), (idx_path(prefix), "idx_sha256")):
        if files.sha256_file(path) != expected.get(key):
            problems.append(f"{path} is not the file that the manifest describes (sha256 differs)")
    for name, value in (("tokens", len(reader.tokens)), ("documents", reader.documents), ("dtype", str(reader.dtype))):
        if expected.get(name) != value:
            problems.append(f"{prefix}: the manifest says {expected.get(name)} {name}, the files hold {value}")
    vocab_size = int(expected.get("vocab_size", 0))
    # labels are -100 where the loss does not count
    if ids.outside(reader, vocab_size, labels=expected.get("kind") == "labels"):
        problems.append(f"{bin_path(prefix)} holds ids outside the vocabulary of {vocab_size:,} pieces")
    return problems


def _foreign(prefix: str | os.PathLike[str], reader: MMapReader) -> list[str]:
    """What no vocabulary is needed to see: a number below 0 that is no mask."""
    if reader.dtype.kind != "i":
        return []
    wrong = ids.outside(reader, 1 << 62, labels=True)
    if wrong is None:
        return []
    return [f"{bin_path(prefix)} holds the id {wrong.value:,} (token {wrong.offset:,} of sequence {wrong.sequence:,})"]


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
    noted = manifest.find(prefix)
    if noted is None:
        about["remarks"] = _remarks(reader)
    else:
        about["bytes"] = noted.get("bytes")
        about["tokenizer_sha256"] = noted.get("tokenizer_sha256")
        if noted.get("bytes") and about["tokens"]:
            about["bytes_per_token"] = round(noted["bytes"] / about["tokens"], 4)
    count = min(samples, len(reader))
    picked = sorted({int(place) for place in np.linspace(0, len(reader) - 1, count)}) if count else []
    about["samples"] = [_sample(reader, number, model) for number in picked]
    return about


def _remarks(reader: MMapReader) -> list[str]:
    """What is worth knowing of a dataset of other origin."""
    remarks = ["no manifest: made by another program"]
    if reader.version != VERSION:
        remarks.append(f"its index has version {reader.version}, and GPT-NeoX reads version {VERSION} only")
    if reader.dtype.kind == "f":
        remarks.append(f"it holds {reader.dtype} values, no tokens")
    return [*remarks, *(f"{problem} (GPT-NeoX does not use it)" for problem in reader.document_problems())]


def _sample(reader: MMapReader, number: int, model: tokenizers.Tokenizer | None) -> dict[str, Any]:
    shown = [int(token) for token in reader.get(number, 0, _SHOWN_TOKENS)]
    row: dict[str, Any] = {"sequence": number, "tokens": int(reader.sizes[number]), "ids": shown[:20]}
    if model is not None:
        row["text"] = model.decode([token for token in shown if token >= 0])
        row["ends_with_eod"] = int(reader[number][-1]) == model.eod_id
    return row


def _span(prefix: str) -> dict[str, int]:
    reader = MMapReader(prefix)
    if reader.dtype.kind == "f":
        return {}
    span = ids.span(reader)
    return {"least_id": span.least, "most_id": span.most}


def table(answers: Sequence[dict[str, Any]]) -> str:
    """The figures as lines to read."""
    lines = []
    for about in answers:
        spread = about["tokens_per_document"]
        lines.append(
            f"{about['prefix']}: {about['tokens']:,} tokens, {about['documents']:,} documents, {about['dtype']}, "
            f"{spread['min']:,} to {spread['max']:,} tokens a document (median {spread['median']:,})"
            + (f", ids {about['least_id']:,} to {about['most_id']:,}" if "most_id" in about else "")
            + (", verified" if about.get("verified") else "")
        )
        lines += [f"  {remark}" for remark in about.get("remarks", [])]
        for row in about["samples"]:
            shown = row.get("text", " ".join(map(str, row["ids"])))
            lines.append(f"  [{row['sequence']}] {row['tokens']:,} tokens: {shown!r}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    options = flags.parse("preprocess.inspect", __doc__, InspectCommand, argv)
    if options.domains:
        found = [domains.describe(each, options.sample or domains.USUAL) for each in options.prefixes]
        cli.show(found, domains.table, options.json)
        return cli.OK
    model = tokenizers.load(options.tokenizer) if options.tokenizer else None
    answers = []
    for given in options.prefixes:
        prefix = given[:-4] if given.endswith((".bin", ".idx")) else given
        if model is not None:
            MMapReader(prefix).of_tokens()  # says what is missing or cut short
            belongs.require(prefix, model)
        problems = verify(prefix) if options.verify else []
        if problems:
            more = f" {len(problems) - 1} more." if problems[1:] else ""
            raise Refused(f"{problems[0]}.{more}", "make the dataset again with preprocess.index")
        about = describe(prefix, model, options.sample)
        if options.verify or about.get("remarks"):
            about |= _span(prefix)
        answers.append(about | ({"verified": True} if options.verify else {}))
    cli.show(answers, table, options.json)
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
