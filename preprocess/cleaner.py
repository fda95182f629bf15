"""Cleaning a lot of documents: what one process does, and all that it needs to know for it.

Dropping repeated documents and writing is the parent's (`preprocess.clean`): that needs to see them all, in order.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from haigo.cli import HaigoError
from haigo.formats import documents
from haigo.formats.documents import Document

from . import hashed, rules, scores, split
from .account import Account, difference, opening
from .options import CleanOptions
from .rules import domains, hojichar_steps, normalise, personal
from .rules.facts import Facts, together
from .site_lines import Page

LOT_CHARS = 500_000

_LETTER = "0-9A-Za-z\u00c0-\u04ff０-９Ａ-Ｚａ-ｚ"
_NO_WORD_BREAK = re.compile(f" (?:(?![{_LETTER}])|(?<![{_LETTER}] ))")


def text_key(text: str) -> bytes:
    """16 bytes, equal for texts that are equal but for blanks."""
    return hashlib.blake2b(_without_blanks(text).encode(errors="surrogatepass"), digest_size=16).digest()


def _without_blanks(text: str) -> str:
    """What makes documents equal: all but blanks, save those that part words and numbers (1 2 is not 12)."""
    return _NO_WORD_BREAK.sub("", " ".join(text.split()))


def check(options: CleanOptions) -> None:
    """Refuse a profile and a markup that contradict each other, and filters and normalisations that cannot be had.

    Raises:
        HaigoError: with the nearest name.
    """
    named = _markup(options.profile)
    if options.markup != "auto" and named not in ("auto", options.markup):
        raise HaigoError(
            f"profile '{options.profile}' is for the markup '{named}', and the markup is given as '{options.markup}'.",
            "give one of the two",
            option=("profile", "markup"),
        )
    normalise.chosen(options.normalise, options.profile)
    if options.languages:
        scores.require_languages(options.languages, "languages")
    _filters(tuple(options.filters), options.seed)


class Kept(NamedTuple):
    """A cleaned document: equal `key` means equal text, blanks apart; `value` decides its split."""

    key: bytes
    value: int
    line: documents.Line


class Lot(NamedTuple):
    """What became of a lot of documents."""

    kept: list[Kept]
    account: dict[str, dict[str, Any]]
    profiles: dict[str, int]


class _Read(NamedTuple):
    """A document as text, and what it was written in."""

    markup: str
    document: Document


def lots(stream: Iterable[Document], chars: int = LOT_CHARS) -> Iterator[list[Document]]:
    """Documents in lots of about so many characters."""
    return documents.batches(stream, chars, lambda document: len(document.text))


def clean_lot(options: CleanOptions, lot: Sequence[Document]) -> Lot:
    """Clean one lot of documents."""
    account = Account()
    profiles: dict[str, int] = {}
    kept = []
    read: Iterable[_Read] = (_read(raw, options, account, profiles) for raw in lot)
    domain = domains.table().get(options.profile)
    known: Iterable[Facts | None] = itertools.repeat(None)
    if domain is not None and domain.first:  # many texts at once: see `wording`
        read = list(read)
        known = together([each.document.text for each in read])
    for raw, taken, about in zip(lot, read, known, strict=False):
        document = _clean(taken, domain, about, options, account)
        if document is not None:
            key = text_key(document.text)
            kept.append(Kept(key, split.number(raw, options.seed), documents.line(document)))
    for asked in options.pii:  # other rules' samples may show what is masked in the text
        for row in account.rules.values():
            row["samples"] = [personal.RULES[asked][1](sample) for sample in row["samples"]]
    return Lot(kept, account.rules, profiles)


@functools.lru_cache(maxsize=1)
def _filters(specs: tuple[str, ...], seed: int) -> list[tuple[str, hojichar_steps.Filter]]:
    return [hojichar_steps.make(spec, seed) for spec in specs]


def site_pages(options: CleanOptions) -> int:
    """On how many pages of a host a line must stand to be taken out; 0: on any number."""
    domain = domains.table().get(options.profile)
    return options.site_pages if options.site_pages is not None else domain.site_pages if domain else 0


@functools.cache
def _language() -> Callable[[str], tuple[str, float]]:
    return scores.detector("--languages")


def _markup(profile: str) -> str:
    """The markup that a profile is for, or "auto"; a name that is both is the domain."""
    domain = domains.table().get(profile)
    return profile if domain is None else domain.markup or "auto"


def _read(raw: Document, options: CleanOptions, account: Account, profiles: dict[str, int]) -> _Read:
    """A document without its markup, its characters made ordinary."""
    kind = options.markup if options.markup != "auto" else _markup(options.profile)
    kind = rules.markup_of(raw) if kind == "auto" else kind
    profiles[kind] = profiles.get(kind, 0) + 1
    if isinstance(raw, Page) and raw.repeated:
        text, whole = raw.own_lines(), raw.text
        account.note("site_lines", len(whole) - len(text), difference(whole, text))
        raw = Document(raw.id, text, raw.meta)
    document = rules.apply(raw, rules.MARKUPS[kind], account)
    text = rules.run(document.text, normalise.steps(normalise.chosen(options.normalise, options.profile)), account)
    return _Read(kind, Document(document.id, text, document.meta))


def _clean(
    read: _Read, domain: domains.Domain | None, known: Facts | None, options: CleanOptions, account: Account
) -> Document | None:
    document, text, markup = read.document, read.document.text, rules.MARKUPS[read.markup]
    of_kind = markup.min_chars if domain is None or domain.min_chars is None else domain.min_chars
    shortest = max(1, of_kind if options.min_chars is None else options.min_chars)
    if domain is not None:
        rule = domain.dropped_first_by(known) if known is not None and len(text) >= shortest else None
        if rule is None:
            text = rules.run(text, domain.steps, account)
            about = known if known is not None and text is document.text else Facts(text)
            rule = domain.dropped_by(about) if len(text) >= shortest else None
        if rule is not None:
            account.note(rule, len(text), opening(text))
            return None
    if options.languages and len(text) >= shortest:
        code, _ = _language()(hashed.shortened(text, scores.EXCERPT))
        if code not in options.languages:
            account.note(f"language_{code}", len(text), opening(text))
            return None
    for name, step in _filters(tuple(options.filters), options.seed):
        after = step(text, document.meta)
        if after is None:
            account.note(name, len(text), opening(text))
            return None
        if after != text:
            # it may do what later steps rely on not finding
            after = rules.lone_surrogates(after)
            sample = difference(text, after) if account.open_for_samples(name) else ""
            account.note(name, len(text) - len(after), sample)
            text = after
    for asked in options.pii:
        name, mask = personal.RULES[asked]
        after = mask(text)
        if after != text:
            sample = personal.shape(asked, text) if account.open_for_samples(name) else ""
            account.note(name, len(text) - len(after), sample)
            text = after
    if len(text) < shortest:
        account.note("too_short", len(text), opening(text))
        return None
    return Document(document.id, text, document.meta)
