"""The `tokenizer.json` of a SentencePiece model, for programs that know nothing else.

Of unigram models it has the same pieces and scores, of byte-pair models the merges that the scores stand for; around them what
the model file says of normalisation, blanks and bytes. It differs from sentencepiece where two cuts of a unigram model are
equally likely (`adapter`), and where rules of nfkc meet several marks on one letter: the library applies them grapheme by
grapheme. How often is counted by `preprocess.tokenizer_folder`.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

from . import spm_file
from .spm_file import ModelFile

if TYPE_CHECKING:
    import sentencepiece
    import tokenizers

_NEVER = 10_000.0
"""How far below every other score those of pieces lie that are never read out of text."""
_BLANK = "\u2581"
_KANA = (*range(0x3041, 0x3100), *range(0xFF66, 0xFF9E))
_VOICED = ("\u3099", "\u309a", "\uff9e", "\uff9f")


def can_be_written(model: ModelFile) -> bool:
    """Whether a tokenizer.json can stand for the model: no words or characters, no blanks behind words, and in byte-pair models
    no symbols of several letters."""
    long_symbols = any(piece.kind == spm_file.USER_DEFINED and len(piece.text) > 1 for piece in model.pieces)
    return not model.suffix and (model.kind == spm_file.UNIGRAM or (model.kind == spm_file.BPE and not long_symbols))


def fast_tokenizer(processor: sentencepiece.SentencePieceProcessor) -> tokenizers.Tokenizer:
    """The same pieces as a `tokenizers` object.

    Byte pieces, control symbols and the unknown piece get a score below every other, so that a text which spells one is cut as
    text here too. One of whose characters has no piece is parted there, which no piece crosses: an unknown character would cost
    as much as they do. None is an added token: the library reads those out of text before the model sees it.
    """
    import tokenizers
    from tokenizers import decoders, normalizers, pre_tokenizers

    model = spm_file.read(processor.serialized_model_proto())
    never = [piece.kind not in (spm_file.NORMAL, spm_file.USER_DEFINED) for piece in model.pieces]
    make = _unigram if model.kind == spm_file.UNIGRAM else _byte_pairs
    fast = tokenizers.Tokenizer(make(model, never, processor.unk_id()))
    steps = [*_rules(model, processor), normalizers.Replace(" ", _BLANK)]
    if model.dummy_prefix:
        steps.append(normalizers.Prepend(_BLANK))
    fast.normalizer = normalizers.Sequence(steps) if len(steps) > 1 else steps[0]
    if model.kind == spm_file.UNIGRAM and model.byte_fallback:  # without, unknown characters side by side are one piece
        known = {one.text for one, out in zip(model.pieces, never, strict=True) if not out and len(one.text) == 1}
        spelled = {sign for one, out in zip(model.pieces, never, strict=True) if out for sign in one.text}
        parted = [pre_tokenizers.Split(sign, "isolated") for sign in sorted(spelled - known)]
        if parted:
            fast.pre_tokenizer = pre_tokenizers.Sequence(parted)
    back: list[Any] = [decoders.Replace(_BLANK, " "), decoders.ByteFallback(), decoders.Fuse()]
    if model.dummy_prefix:
        back.append(decoders.Strip(" ", 1, 0))
    fast.decoder = decoders.Sequence(back)
    if not model.dummy_prefix:
        symbols = [one.text for one in model.pieces if one.kind == spm_file.USER_DEFINED]
        fast.add_tokens([tokenizers.AddedToken(text, normalized=False, special=False) for text in symbols])
    return fast


def _rules(model: ModelFile, processor: sentencepiece.SentencePieceProcessor) -> list[Any]:
    from tokenizers import Regex, normalizers

    steps: list[Any] = []
    if model.charsmap:
        # the library's own form of the rules leaves graphemes of six bytes and more alone: kana with a mark of their own
        for letter in (chr(base) + mark for base in _KANA for mark in _VOICED):
            whole = unicodedata.normalize("NFKC", letter)
            if len(whole) == 1 and processor.encode(letter) == processor.encode(whole):
                steps.append(normalizers.Replace(letter, whole))
        steps.append(normalizers.Precompiled(model.charsmap))
    if model.remove_extra:
        steps += [normalizers.Replace(Regex(r"\A +| +\z"), ""), normalizers.Replace(Regex(" {2,}"), " ")]
    return steps


def _unigram(model: ModelFile, never: list[bool], unknown: int) -> Any:
    from tokenizers import models

    low = min(piece.score for piece in model.pieces) - _NEVER
    best = max((piece.score for piece in model.pieces if piece.kind == spm_file.NORMAL), default=0.0)
    rows = []
    for piece, out in zip(model.pieces, never, strict=True):
        score = low if out else piece.score
        if piece.kind == spm_file.USER_DEFINED and model.dummy_prefix:
            # as an added token it would end a part of the text, and a prefix would stand before the next one; sentencepiece
            # reckons with this score
            score = len(piece.text.encode()) * best - 0.1
        rows.append((piece.text, score))
    return models.Unigram(rows, unk_id=unknown, byte_fallback=model.byte_fallback)


def _byte_pairs(model: ModelFile, never: list[bool], unknown: int) -> Any:
    """sentencepiece joins the two neighbours whose whole has the best score: a merge for each way to make a piece of two."""
    from tokenizers import models

    numbers = {piece.text: number for number, piece in enumerate(model.pieces)}
    scores = {one.text: one.score for one, out in zip(model.pieces, never, strict=True) if not out}
    ranked = sorted(
        (-score, numbers[text[:at]], numbers[text[at:]])
        for text, score in scores.items()
        for at in range(1, len(text))
        if text[:at] in scores and text[at:] in scores
    )
    merges = [(model.pieces[left].text, model.pieces[right].text) for _, left, right in ranked]
    spelled = model.pieces[unknown].text
    return models.BPE(numbers, merges, unk_token=spelled, fuse_unk=True, byte_fallback=model.byte_fallback)
