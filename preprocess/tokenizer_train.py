"""Training a SentencePiece model that gives every text back unchanged.

    python -m preprocess.tokenizer CLEANED_DIR... --vocab-size 50000 --output-dir TOKENIZER

Options: identity normalisation, byte fallback, digits split, no dummy prefix, blanks kept, `\\n` a piece of its own,
`<|endoftext|>` and `<|padding|>` as control symbols (no text can spell them). U+2581 and lone surrogates are the only
text that SentencePiece cannot give back; cleaning takes these out. The same seed gives the same bytes as long as the
number of threads and the version of sentencepiece are the same.
"""

from __future__ import annotations

import io
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from haigo import files, pool
from haigo.cli import HaigoError
from haigo.formats import documents
from haigo.formats.documents import Document
from haigo.formats.documents.keyed import keyed_hash
from haigo.formats.tokenizer.model import EOD_PIECE, PAD_PIECE
from haigo.progress import Progress

from . import sample as samples
from . import tokenizer_compare, tokenizer_cost, tokenizer_folder
from .sample_shards import LINE_CHARS, training_lines

_BLANK = "\u2581"  # SentencePiece's sign for it
_REPEAT_CHARS = 20  # exact repeats of lines this long count once (committee openings, licence headers)
_DOCUMENTS_AT_LEAST = 30
_LEAST_EXCERPT = 2000


def train(
    corpora: Mapping[str, str | os.PathLike[str]],
    output_dir: str | os.PathLike[str],
    *,
    vocab_size: int = 50000,
    chars_per_corpus: int | Mapping[str, int] = 3_000_000,
    model_type: str = "unigram",
    seed: int = 1234,
    threads: int = 1,
    sample: str | os.PathLike[str] | None = None,
    unseen: Mapping[str, str | os.PathLike[str]] | None = None,
    compare: Sequence[str | os.PathLike[str]] = (),
    check_chars: int | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Train on the train splits, check on all splits, write the tokenizer folder.

    A model that an earlier run trained from the same text with the same options is not trained again, only checked.

    Args:
        corpora: corpus name -> folder written by preprocess.clean.
        output_dir: tokenizer folder; `meta.json` is written last.
        vocab_size: pieces; fewer when the text does not hold that many (the true number is recorded).
        chars_per_corpus: training text of each corpus, in characters; one number, or one a corpus.
        model_type: "unigram" or "bpe".
        seed: key of the draw.
        threads: training threads; part of the recipe, since it changes the result.
        sample: a folder written by preprocess.sample; its text is trained on, and `chars_per_corpus` is not used.
        unseen: further corpora, only checked.
        compare: other tokenizers, measured beside this one (see `tokenizer_compare`).
        check_chars: check a random part of each corpus with this many characters; None checks all of it.
        force: train even if the memory seems not to be enough.

    Returns:
        What `meta.json` holds.

    Raises:
        HaigoError: no text, or a vocabulary too small or too large for it.
        Refused: a document does not come back from decode(encode(text)), or the training will not fit in memory.
    """
    if not corpora:
        raise HaigoError("there is no corpus to train a tokenizer on.", "name at least one cleaned corpus")
    twice = [name for name in unseen or {} if name in corpora]
    if twice:
        raise HaigoError(f"the corpus '{twice[0]}' is both trained on and called unseen.", "name it once")
    tokenizer_folder.own(Path(output_dir), [*corpora.values(), *(unseen or {}).values(), *([sample] if sample else [])])
    options = trainer_options(vocab_size, model_type, threads)
    others = [tokenizer_compare.contender(each) for each in compare]  # a mistyped name is told before hours of training
    del others
    budgets: dict[str, int] | str
    if sample is not None:
        drawn = samples.read(sample)
        recipe, amount = str(drawn["recipe"]), int(drawn["characters"])
        budgets = "sample"
    else:
        budgets = {
            name: chars_per_corpus if isinstance(chars_per_corpus, int) else chars_per_corpus[name] for name in corpora
        }
        amount = sum(min(budget, _characters(corpora[name])) for name, budget in budgets.items())
        recipe = files.digest(
            {name: [files.sha256_file(path) for path in documents.shards(place)] for name, place in corpora.items()}
        )
    recipe = files.digest([recipe, options, budgets, seed])
    model, used = tokenizer_folder.trained(output_dir, recipe)
    if model is None:
        cost = tokenizer_cost.require(amount, model_type, force=force)
        lines, used = (_sampled(sample), _sample_rows(sample)) if sample is not None else _drawn(corpora, budgets, seed)
        with Progress(f"train {vocab_size:,} pieces on {amount:,} characters ({cost})", None):
            model = train_model(lines, options, seed)
            if not _keeps_blanks(model):
                lines = _sampled(sample) if sample is not None else lines
                model = train_model(lines, options | {"required_chars": _BLANK}, seed)
    tokenizer_folder.keep(output_dir, model, recipe, used)
    return tokenizer_folder.write(
        model,
        output_dir,
        corpora,
        options=options | {"chars_per_corpus": budgets},
        seed=seed,
        training=used,
        unseen=unseen,
        compare=compare,
        check_chars=check_chars,
        recipe=recipe,
    )


def _drawn(
    corpora: Mapping[str, str | os.PathLike[str]], budgets: Any, seed: int
) -> tuple[list[str], dict[str, dict[str, int]]]:
    """Lines of a random part of every corpus, and what they come to."""
    used: dict[str, dict[str, int]] = {}
    with Progress("training text", len(corpora), "corpora") as progress:
        sentences: list[str] = []
        seen: set[int] = set()
        for name, place in corpora.items():
            sample = documents.draw(_excerpts(documents.read(place), budgets[name], seed), budgets[name], seed)
            mine = list(_fresh(training_lines(sample), seen))
            used[name] = {"documents": len(sample), "characters": sum(map(len, mine))}
            sentences += mine
            progress.update(1, name)
    return sentences, used


def _sample_rows(folder: str | os.PathLike[str]) -> dict[str, dict[str, int]]:
    rows = samples.read(folder)["corpora"]
    return {name: {key: row[key] for key in ("documents", "characters")} for name, row in rows.items()}


def _sampled(folder: str | os.PathLike[str]) -> Iterator[str]:
    """Lines of a sample, read while they are handed on: SentencePiece holds them itself."""
    for name in samples.read(folder)["corpora"]:
        if "train" in documents.splits(Path(folder) / name):
            yield from training_lines(documents.read(Path(folder) / name))


def _characters(folder: str | os.PathLike[str]) -> int:
    """Characters of a corpus' train split, as its report has them; very many where it has none."""
    split = documents.report(folder).get("splits", {}).get("train", {})
    return int(split.get("characters", 1 << 62))


def trainer_options(vocab_size: int, model_type: str = "unigram", threads: int = 1) -> dict[str, Any]:
    """The options given to SentencePiece's trainer, all but the text and where the model goes."""
    if model_type not in ("unigram", "bpe"):
        raise HaigoError(f"there is no model type '{model_type}'.", "use unigram or bpe")
    return {
        "vocab_size": vocab_size,
        "model_type": model_type,
        "normalization_rule_name": "identity",
        "byte_fallback": True,
        "split_digits": True,
        "add_dummy_prefix": False,
        "remove_extra_whitespaces": False,
        "allow_whitespace_only_pieces": True,
        "user_defined_symbols": ["\n"],
        "character_coverage": 0.9995,
        "max_sentence_length": 16 * LINE_CHARS,
        "hard_vocab_limit": False,
        "unk_id": 0,
        "eos_id": 1,
        "eos_piece": EOD_PIECE,
        "pad_id": 2,
        "pad_piece": PAD_PIECE,
        "bos_id": -1,
        "num_threads": threads,
    }


def train_model(sentences: Iterable[str], options: Mapping[str, Any], seed: int) -> bytes:
    """The bytes of a SentencePiece model.

    Raises:
        HaigoError: SentencePiece refuses the text or the size.
    """
    import sentencepiece

    lines = iter(sentences)
    first = next(lines, None)
    if first is None:
        raise HaigoError(
            "there is no text to train a tokenizer on.",
            "give a larger corpus or --chars-per-corpus",
            option="chars_per_corpus",
        )

    def run() -> bytes:
        sentencepiece.set_random_generator_seed(seed)
        target = io.BytesIO()
        text = itertools.chain([first], lines)
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=text, model_writer=target, minloglevel=2, **options
            )
        except RuntimeError as error:
            raise _refusal(str(error), int(options["vocab_size"])) from None
        return target.getvalue()

    return bytes(pool.interruptible(run))


def _keeps_blanks(model: bytes) -> bool:
    """Whether a blank comes back. Text with next to none leaves SentencePiece without a piece for it, and the bytes that it
    falls back to are those of its own sign for a blank."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    return bool(processor.decode(processor.encode("a b")) == "a b")


def _refusal(said: str, vocab_size: int) -> HaigoError:
    """SentencePiece's complaint without the part that speaks of its own source files."""
    reason = said.splitlines()[-1].rsplit("] ", 1)[-1].strip()
    least = re.search(r"smaller than required_chars\. \d+ vs (\d+)", reason)
    if least:
        return HaigoError(
            f"a tokenizer of {vocab_size:,} pieces is too small for this text: its characters, the bytes and the symbols "
            f"alone take {int(least[1]):,}.",
            f"give a --vocab-size above {int(least[1]):,}",
            option="vocab_size",
        )
    return HaigoError(
        f"a tokenizer of {vocab_size:,} pieces cannot be trained on this text{': ' if reason else ''}{reason[:200]}.",
        "choose another --vocab-size (byte pieces, symbols and every common character need one piece each)",
        option="vocab_size",
    )


def _excerpts(population: Iterable[Document], budget: int, seed: int) -> Iterator[Document]:
    """Documents with the long ones cut to an excerpt, so that a few novels do not take the whole budget."""
    most = max(_LEAST_EXCERPT, budget // _DOCUMENTS_AT_LEAST)
    for document in population:
        spare = len(document.text) - most
        if spare <= 0:
            yield document
        else:
            start = keyed_hash(document, seed, b"excerpt") % (spare + 1)
            yield Document(document.id, document.text[start : start + most])


def _fresh(lines: Iterable[str], seen: set[int]) -> Iterator[str]:
    import zlib

    for line in lines:
        if len(line) >= _REPEAT_CHARS:
            packed = line.encode()
            # Python's own hash() differs from run to run; two checksums make a chance collision negligible
            key = zlib.crc32(packed) << 32 | zlib.adler32(packed)
            if key in seen:
                continue
            seen.add(key)
        yield line
