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
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from haigo import files, pool
from haigo.cli import HaigoError
from haigo.formats.tokenizer.model import EOD_PIECE, PAD_PIECE
from haigo.progress import Progress

from . import tokenizer_compare, tokenizer_cost, tokenizer_folder, training_text
from .options import TokenizerOptions
from .sample_shards import LINE_CHARS
from .tokenizer_folder import Made

_BLANK = "\u2581"  # SentencePiece's sign for it


def train(
    corpora: Mapping[str, str | os.PathLike[str]],
    output_dir: str | os.PathLike[str],
    options: TokenizerOptions | None = None,
    *,
    unseen: Mapping[str, str | os.PathLike[str]] | None = None,
    **given: Any,
) -> dict[str, Any]:
    """Train on the train splits, check on all splits, write the tokenizer folder.

    A model that an earlier run trained from the same text with the same options is not trained again, only checked.

    Args:
        corpora: corpus name -> folder written by preprocess.clean.
        output_dir: tokenizer folder; `meta.json` is written last.
        options: or its fields by name.
        unseen: further corpora, only checked.

    Returns:
        What `meta.json` holds.

    Raises:
        HaigoError: no text, or a vocabulary too small or too large for it.
        Refused: a document does not come back from decode(encode(text)), or the training will not fit in memory.
    """
    options, unseen = options or TokenizerOptions(**given), unseen or {}
    if not corpora:
        raise HaigoError("there is no corpus to train a tokenizer on.", "name at least one cleaned corpus")
    twice = [name for name in unseen if name in corpora]
    if twice:
        raise HaigoError(f"the corpus '{twice[0]}' is both trained on and called unseen.", "name it once")
    reads = [*corpora.values(), *unseen.values(), *([options.sample] if options.sample else [])]
    tokenizer_folder.own(Path(output_dir), reads)
    trainer = trainer_options(options.vocab_size, options.model_type, options.threads)
    for each in options.compare:  # a mistyped name is told before hours of training
        tokenizer_compare.contender(each)
    with files.owner(output_dir):
        return _train(corpora, output_dir, options, unseen, trainer)


def _train(
    corpora: Mapping[str, str | os.PathLike[str]],
    output_dir: str | os.PathLike[str],
    options: TokenizerOptions,
    unseen: Mapping[str, str | os.PathLike[str]],
    trainer: dict[str, Any],
) -> dict[str, Any]:
    if options.sample:
        text = training_text.of_sample(options.sample)
    else:
        text = training_text.of_corpora(corpora, options.chars_per_corpus, options.seed)
    recipe = files.digest([text.recipe, trainer, text.asked, options.seed])
    model, used = tokenizer_folder.trained(output_dir, recipe)
    if model is None:
        cost = tokenizer_cost.require(text.characters, options.model_type, force=options.force)
        lines, used = text.read()
        label = f"train {options.vocab_size:,} pieces on {text.characters:,} characters ({cost})"
        with Progress(label, None) as progress, progress.beating():
            model = train_model(lines, trainer, options.seed)
            if not _keeps_blanks(model):
                lines = lines if isinstance(lines, list) else text.read()[0]
                model = train_model(lines, trainer | {"required_chars": _BLANK}, options.seed)
    tokenizer_folder.keep(output_dir, model, recipe, used)
    beside = {}
    for size in options.compare_sizes:
        with Progress(f"train {size:,} pieces to compare", None) as progress, progress.beating():
            name = f"{size:,} pieces"
            try:
                beside[name] = train_model(text.read()[0], trainer | {"vocab_size": size}, options.seed)
            except HaigoError as error:
                fix = error.fix.replace("--vocab-size", "--compare-sizes")
                raise HaigoError(error.problem, fix, option="compare_sizes") from None
    made = Made(model, trainer | {"chars_per_corpus": text.asked}, training=used, recipe=recipe, beside=beside)
    return tokenizer_folder.write(made, output_dir, corpora, options, unseen)


def trainer_options(vocab_size: int, model_type: str = "unigram", threads: int = 1) -> dict[str, Any]:
    """The options given to SentencePiece's trainer, all but the text and where the model goes."""
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
