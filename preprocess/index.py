"""Documents to GPT-NeoX's indexed dataset: PREFIX_text_document.bin, .idx and a manifest .json.

    python -m preprocess.index FILE... --tokenizer FOLDER_OR_MODEL --output-prefix PREFIX
           [--json-key text] [--workers N] [--append-eod] [--skip-broken N]

Reads jsonl (plain, gz, zst, xz, bz2), parquet and txt. The bytes are those that GPT-NeoX's preprocess_data writes for
the same documents and model with --append-eod, for any number of workers: `<|endoftext|>` ends every document (that is
the default), a document with an empty text is left out, and one that encodes to nothing becomes the end piece alone.
A killed run goes on with the shards that were not finished. The disk that it takes is said before it starts (measured on the
beginnings of a few files), and a run for which there is no room is refused.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from haigo import __version__, cli, digests, files, flags, pool
from haigo.cli import HaigoError
from haigo.formats import tokenizer
from haigo.formats.dataset import manifest as manifests
from haigo.formats.dataset.indexed import (
    MMapReader,
    MMapWriter,
    bin_path,
    idx_path,
    put_sample_orders_aside,
    take_over,
    token_dtype,
)
from haigo.formats.documents import Broken
from haigo.formats.documents.broken import broken_lines

from . import index_room, sources
from .options import IndexCommand, IndexOptions
from .shard import LOOKED_AT, Unit, Work, hold, make_shard

SPLIT_BYTES = 64 << 20
_LEAST_SPLIT = 4 << 20


def index(
    inputs: Sequence[str | os.PathLike[str]],
    tokenizer_path: str | os.PathLike[str],
    output_prefix: str | os.PathLike[str],
    options: IndexOptions | None = None,
    **given: Any,
) -> dict[str, Any]:
    """Tokenise documents into `{output_prefix}_{json_key}_document.{bin,idx,json}`.

    A dataset that is already there, made from the same bytes with the same model and options, is left as it is. A
    rebuilt one takes GPT-NeoX's stale `*_indexmap_*.npy` caches beside it away.

    Args:
        inputs: files, folders or patterns, read in the given order.
        tokenizer_path: tokenizer folder or SentencePiece model file.
        output_prefix: as GPT-NeoX's --output-prefix.
        options: or its fields by name.

    Returns:
        The manifest: tokens, documents, bytes (UTF-8, of the texts), dtype, eod_id, vocab_size and digests, and under
        `broken_rows` what was passed over.

    Raises:
        HaigoError: unreadable input, broken lines, a wrong key, no documents at all.
    """
    options = options or IndexOptions(**given)
    model = tokenizer.load(tokenizer_path)
    prefix = dataset_prefix(output_prefix, options.json_key)
    found = sources.input_files(inputs)
    read = [{"file": key, "sha256": digests.sha256(path), "bytes": path.stat().st_size} for path, key in found]
    sources.tell_twice((path, str(row["sha256"])) for (path, _), row in zip(found, read, strict=True))
    take_over(prefix)
    for path in (bin_path(prefix), idx_path(prefix), manifests.path_of(prefix)):
        files.check_output(path, [each for each, _ in found], [Path(each) for each in inputs if Path(each).is_dir()])
    recipe = {
        "format": 1,
        "input_sha256": files.digest([row["sha256"] for row in read]),
        "tokenizer_sha256": model.sha256,
        "json_key": options.json_key,
        "append_eod": options.append_eod,
        "documents_rule": options.txt_documents,
    }
    parts = parts_folder(prefix)
    files.remove_leftovers(prefix.parent, below=False)
    manifest = _finished(prefix, recipe, options.skip_broken)
    if manifest is not None:
        if parts.is_dir():  # a run was killed while it tidied up
            with files.owner(parts):
                files.remove_tree(parts)
        return manifest
    with files.owner(parts):
        index_room.require(found, model, prefix, parts, options.json_key)
        work = works(found, [str(row["sha256"]) for row in read], model, parts, options)
        hold(model)  # forked workers have it too
        total, broken = _make_shards(work, f"index {prefix.name}", options)
        if not total["documents"]:
            more = f" ({total['empty']:,} texts are empty)" if total["empty"] else ""
            named = str(found[0][0]) if len(found) == 1 else f"{found[0][0]} and {len(found) - 1} more files"
            raise HaigoError(f"{named}: there is no document in the input{more}.", "check the input files")
        files.remove(manifests.path_of(prefix))
        with MMapWriter(prefix, token_dtype(model.vocab_size)) as writer:
            for one in work:
                writer.merge(one.prefix)
        put_sample_orders_aside(prefix)
        manifest = {
            **{key: total[key] for key in ("tokens", "documents", "bytes")},
            "dtype": str(token_dtype(model.vocab_size)),
            "eod_id": model.eod_id,
            "vocab_size": model.vocab_size,
            **recipe,
            **manifests.sums(prefix),
            "empty_texts_left_out": total["empty"],
            **broken.report(),
            "input": read,
            "tool": f"haigo {__version__}",
        }
        manifest = manifests.write(prefix, manifest)
        files.remove_tree(parts)
    return manifest


def _make_shards(work: list[Work], label: str, options: IndexOptions) -> tuple[dict[str, int], Broken]:
    """What all shards hold together, and the rows that were passed over in them."""
    pieces = {one.prefix: partial(make_shard, one) for one in work}
    sizes = {one.prefix: one.unit.size() for one in work}
    fork = threading.active_count() == 1 and "torch" not in sys.modules
    counts = pool.run_shown(label, pieces, options.workers, "bytes", sizes, fork=fork).values()
    broken = Broken(options.skip_broken)
    for rows in (count["broken_rows"] for count in counts if "broken_rows" in count):
        broken.take(rows["count"], rows["rows"])
    _tell_changed(sum(count.get("changed", 0) for count in counts))
    _tell_spelled(sum(count.get("spelled_ends", 0) for count in counts))
    return {name: sum(count[name] for count in counts) for name in ("documents", "tokens", "bytes", "empty")}, broken


def dataset_prefix(output_prefix: str | os.PathLike[str], json_key: str = "text") -> Path:
    """`PREFIX_text_document`: what a GPT-NeoX config names, without extension."""
    return Path(f"{os.fspath(output_prefix)}_{json_key}_document")


def parts_folder(prefix: Path) -> Path:
    """Where the shards of a dataset lie until they are joined."""
    return prefix.with_name(f".{prefix.name}.parts")


def works(
    inputs: list[tuple[Path, str]],
    digests: list[str],
    model: tokenizer.Tokenizer,
    parts: Path,
    options: IndexOptions,
    first: int = 0,
) -> list[Work]:
    """What has to be done for some files, a shard each or several; the first shard has the number `first`."""
    units = enumerate(_units(inputs, digests, options.split_bytes), first)
    return [Work(unit, str(model.path), model.sha256, str(parts / f"{number:05d}"), options) for number, unit in units]


def _finished(prefix: Path, recipe: dict[str, Any], skip_broken: int) -> dict[str, Any] | None:
    """The manifest at `prefix` when it was made by this very recipe and the files are whole."""
    try:
        manifest = manifests.find(prefix)
        reader = MMapReader(prefix)
        wrong = [str(path) for path in manifests.wrong(prefix, manifest or {})]
    except HaigoError as error:
        if manifests.path_of(prefix).is_file():
            _tell(error.problem.removesuffix("."))
        return None
    if (
        manifest is None
        or not {"documents", "dtype"} <= set(manifest)
        or any(manifest.get(key) != value for key, value in recipe.items())
    ):
        return None
    if manifest.get("broken_rows", {}).get("count", 0) > skip_broken:
        return None
    if manifest.get("tokens") != len(reader.tokens):
        wrong = wrong or [str(manifests.path_of(prefix))]
    for path in wrong:
        _tell(f"{path} was changed since the dataset was made")
    return None if wrong else manifest


def _tell_changed(count: int) -> None:
    if count:
        print(
            f"haigo: the tokenizer gives {count:,} documents back changed (the first {LOOKED_AT} of each piece were looked"
            " at, and all with U+2581): line ends, blanks or signs are lost to the model. preprocess.clean takes U+2581"
            " out; a tokenizer of preprocess.tokenizer loses nothing",
            file=sys.stderr,
            flush=True,
        )


def _tell_spelled(count: int) -> None:
    if count:
        print(
            f"haigo: {count:,} documents spell <|endoftext|>, which this tokenizer.json reads as the end of a document, as "
            "GPT-NeoX does: each is parted there",
            file=sys.stderr,
            flush=True,
        )


def _tell(what: str) -> None:
    print(f"haigo: {what}: it is made again.", file=sys.stderr, flush=True)


def _units(inputs: list[tuple[Path, str]], digests: list[str], split_bytes: int | None) -> Iterator[Unit]:
    """Pieces of work: a file each, or a byte range of a large plain jsonl file."""
    for (path, key), sha256 in zip(inputs, digests, strict=True):
        size = path.stat().st_size
        # told by the file alone: shards of a killed run fit another number of workers too
        piece = split_bytes or min(SPLIT_BYTES, max(_LEAST_SPLIT, -(-size // 32)))
        if path.suffix == ".jsonl" and size > piece and _is_plain(path):
            cuts = list(range(0, size, piece))
            for start, end in zip(cuts, [*cuts[1:], size], strict=True):
                yield Unit(str(path), key, sha256, start, end)
        else:
            yield Unit(str(path), key, sha256)


def _is_plain(path: Path) -> bool:
    with open(path, "rb") as handle:
        return handle.read(8).lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{")


def table(manifest: dict[str, Any]) -> str:
    """The manifest as a few lines to read."""
    counts = f"{manifest['documents']:,} documents, {manifest['tokens']:,} tokens, {manifest['dtype']}"
    return "\n".join([counts, *broken_lines(manifest)])


def main(argv: Sequence[str] | None = None) -> int:
    options = flags.parse("preprocess.index", __doc__, IndexCommand, argv)
    manifest = index(options.inputs, options.tokenizer, options.output_prefix, options)
    prefix = dataset_prefix(options.output_prefix, options.json_key)
    cli.show(manifest, lambda made: f"{prefix}: {table(made)}", options.json)
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
