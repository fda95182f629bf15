"""The scores of documents, a hundred thousand characters at a time: by a model, by a library, by lists of words."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from haigo.cli import HaigoError, nearest
from haigo.formats import documents
from haigo.formats.documents import Document

from . import hashed, normal_form, quality_model
from .score_options import ScoreOptions

Rows = list[dict[str, Any]]
EXCERPT = 2000
"""Characters of a longer document that are looked at where no model says how many."""
_LESS = 2  # of which perplexity reads, which takes three times as long: it says as much by then
_INVALID = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")  # what cld2 refuses
_JAPANESE = 0.03  # of the letters are kana: no other language has any
_EXTRA = "pip install -c constraints.txt -e '.[data]'"


class Scorer:
    """Scores documents as the options ask.

    Raises:
        HaigoError: a model that cannot be read, or a library that is not installed.
    """

    def __init__(self, options: ScoreOptions) -> None:
        self._models = {
            name: quality_model.read(folder)
            for name, folder in (("quality", options.quality), ("perplexity", options.perplexity))
            if folder
        }
        self._words = {name: _pattern(name) for name in ("spam", "adult") if getattr(options, name)}
        self._language: Callable[[str], tuple[str, float]] | None = detector() if options.language else None

    def score(self, texts: Sequence[str]) -> Rows:
        """What stands in each document's meta under `scores`."""
        rows: Rows = [{} for _ in texts]
        for name, model in self._models.items():
            most = model.excerpt if name == "quality" else model.excerpt // _LESS
            short = [hashed.shortened(text, most) for text in texts]
            for row, value in zip(rows, getattr(model, name)(short), strict=True):
                row[name] = value
        if not self._language and not self._words:
            return rows
        for row, text in zip(rows, texts, strict=True):
            short_text = hashed.shortened(text, EXCERPT)
            if self._language:
                row["language"], row["language_probability"] = self._language(short_text)
            for name, pattern in self._words.items():
                hits = sum(1 for _ in pattern.finditer(short_text))
                row[name] = float(f"{1000 * hits / max(1, len(short_text)):.6g}")
        return rows


def lots(stream: Iterable[Document]) -> Iterator[list[Document]]:
    """Documents in lots of which about a hundred thousand characters are read."""
    return documents.batches(stream, quality_model.BATCH, lambda document: min(EXCERPT, len(document.text)))


def detector(asked: str = "--language") -> Callable[[str], tuple[str, float]]:
    """What tells the language of a text, see `language`.

    Args:
        asked: the option that wants to know.

    Raises:
        HaigoError: pycld2 is not installed.
    """
    try:
        import pycld2
    except ImportError:
        raise HaigoError(f"{asked} needs the package pycld2, which is not installed.", _EXTRA) from None
    return functools.partial(language, pycld2.detect)


def require_languages(codes: Iterable[str], option: str) -> None:
    """Make sure that pycld2 can tell these languages: of a mistyped one no document would be left.

    Raises:
        HaigoError: a code that it never gives, or it is not installed.
    """
    detector(f"--{option}")
    import pycld2

    known = {code.partition("-")[0] for _, code in pycld2.LANGUAGES} | {"un"}
    for code in codes:
        if code not in known:
            raise HaigoError(
                f"--{option} has '{code}', which is no language that pycld2 tells.{nearest(code, known)}",
                "give ISO codes of two letters, such as ja,en",
                option=option,
            )


def language(detect: Callable[..., Any], text: str) -> tuple[str, float]:
    """ISO code of a text's main language ('un' where it cannot be told), and the share of the text that is in it.

    A text of which one letter in 33 is kana is Japanese, however much code or English stands in it.

    Args:
        detect: pycld2's.
    """
    codes = normal_form.code_points(text)
    letters = int(((codes >= 0x80) | ((codes | 0x20) - ord("a") < 26)).sum())  # no unsigned number is below 0
    if not letters:
        return "un", 0.0
    kana = int(((codes >= 0x3041) & (codes <= 0x30FE)).sum()) / letters
    try:
        _, _, found = detect(text, isPlainText=True, bestEffort=True)
    except Exception:  # pycld2's own error has no other parent: control characters, halves of surrogate pairs
        _, _, found = detect(_INVALID.sub(" ", text), isPlainText=True, bestEffort=True)
    shares = {code.partition("-")[0]: percent / 100 for _, code, percent, _ in found if code != "un"}
    if kana >= _JAPANESE:
        return "ja", max(shares.get("ja", 0.0), round(min(1.0, kana), 2))
    best = max(shares, key=lambda code: shares[code], default="un")
    return best, shares.get(best, 0.0)


def _pattern(name: str) -> re.Pattern[str]:
    """The words of a list of HojiChar's."""
    try:
        from hojichar.filters import document_filters
    except ImportError:
        raise HaigoError(f"--{name} needs the package hojichar, which is not installed.", _EXTRA) from None
    made: Any = document_filters.DiscardAds() if name == "spam" else document_filters.DiscardAdultContentJa()
    pattern: re.Pattern[str] = made.keyword_pat
    return pattern
