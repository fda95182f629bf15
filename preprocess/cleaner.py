"""Cleaning a lot of documents: what one process does, and all that it needs to know for it.

Dropping repeated documents and writing is the parent's (`preprocess.clean`): that needs to see them all, in order.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from haigo.cli import HaigoError, nearest
from haigo.formats import documents
from haigo.formats.documents import Document

from . import domains, hojichar_steps, normalise, personal, rules, split
from .facts import Facts

PROFILES = ("auto", *dict.fromkeys([*rules.PROFILES, *domains.DOMAINS]))
MARKUPS = ("auto", *rules.PROFILES)
LOT_CHARS = 500_000

_LETTER = "0-9A-Za-z\u00c0-\u04ff０-９Ａ-Ｚａ-ｚ"
_NO_WORD_BREAK = re.compile(f" (?![{_LETTER}])|(?<![{_LETTER}]) ")


def _without_blanks(text: str) -> str:
    """What makes documents equal: all but blanks, save those that part words and numbers (1 2 is not 12)."""
    return _NO_WORD_BREAK.sub("", " ".join(text.split()))


@dataclasses.dataclass(frozen=True, slots=True)
class Recipe:
    """What happens to documents; the same for every lot of a corpus.

    `profile` is "auto", a markup of `rules.PROFILES` or a domain of `domains.DOMAINS` (a name that is both is the domain);
    `markup` is "auto" or that of all documents, where the profile leaves it open; `pii` names rules of `personal.RULES`;
    `filters` are HojiChar's, see `hojichar_steps`; `normalise` is as of `normalise.chosen`.
    """

    profile: str = "auto"
    min_chars: int | None = None
    seed: int = 1234
    pii: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    markup: str = "auto"
    normalise: str | None = None

    def check(self) -> None:
        """Refuse names that are not known, and filters that cannot be had.

        Raises:
            HaigoError: with the nearest name.
        """
        if self.profile not in PROFILES:
            raise HaigoError(
                f"there is no profile '{self.profile}'.{nearest(self.profile, PROFILES)}",
                f"use one of {', '.join(PROFILES)}",
            )
        if self.markup not in MARKUPS:
            raise HaigoError(
                f"there is no markup '{self.markup}'.{nearest(self.markup, MARKUPS)}",
                f"use one of {', '.join(MARKUPS)}",
            )
        named = _markup(self)
        if self.markup != "auto" and named not in ("auto", self.markup):
            raise HaigoError(
                f"profile '{self.profile}' is for the markup '{named}', and the markup is given as '{self.markup}'.",
                "give one of the two",
            )
        for name in self.pii:
            if name not in personal.RULES:
                raise HaigoError(
                    f"there is no rule for '{name}' in personal information.{nearest(name, personal.RULES)}",
                    f"use one of {', '.join(personal.RULES)}",
                )
        normalise.chosen(self.normalise, self.profile)
        for spec in self.filters:
            hojichar_steps.make(spec, self.seed)


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


def lots(stream: Iterable[Document], chars: int = LOT_CHARS) -> Iterator[list[Document]]:
    """Documents in lots of about so many characters."""
    return documents.batches(stream, chars, lambda document: len(document.text))


def clean_lot(recipe: Recipe, lot: Sequence[Document]) -> Lot:
    """Clean one lot of documents."""
    account = rules.Account()
    profiles: dict[str, int] = {}
    filters = _filters(recipe)
    kept = []
    for raw in lot:
        document = _clean(raw, recipe, account, profiles, filters)
        if document is not None:
            key = hashlib.blake2b(_without_blanks(document.text).encode(), digest_size=16).digest()
            kept.append(Kept(key, split.number(raw, recipe.seed), documents.line(document)))
    for asked in recipe.pii:  # other rules' samples may show what is masked in the text
        for row in account.rules.values():
            row["samples"] = [personal.RULES[asked][1](sample) for sample in row["samples"]]
    return Lot(kept, account.rules, profiles)


@functools.lru_cache(maxsize=1)
def _filters(recipe: Recipe) -> list[tuple[str, hojichar_steps.Filter]]:
    return [hojichar_steps.make(spec, recipe.seed) for spec in recipe.filters]


def _markup(recipe: Recipe) -> str:
    """The markup that the profile is for, or "auto"."""
    domain = domains.DOMAINS.get(recipe.profile)
    return recipe.profile if domain is None else domain.markup or "auto"


def _clean(
    raw: Document,
    recipe: Recipe,
    account: rules.Account,
    profiles: dict[str, int],
    filters: Sequence[tuple[str, hojichar_steps.Filter]],
) -> Document | None:
    domain = domains.DOMAINS.get(recipe.profile)
    markup = recipe.markup if recipe.markup != "auto" else _markup(recipe)
    kind = rules.profile_for(raw) if markup == "auto" else markup
    profiles[kind] = profiles.get(kind, 0) + 1
    profile = rules.PROFILES[kind]
    document = rules.apply(raw, profile, account)
    text = rules.run(document.text, normalise.steps(normalise.chosen(recipe.normalise, recipe.profile)), account)
    shortest = max(1, profile.min_chars if recipe.min_chars is None else recipe.min_chars)
    if domain is not None:
        text = rules.run(text, domain.steps, account)
        if recipe.min_chars is None:
            shortest = domain.min_chars
        if len(text) >= shortest:
            found = Facts(text)
            for name, drops in domain.drops:
                if drops(found):
                    account.note(name, len(text), rules.opening(text))
                    return None
    for name, step in filters:
        after = step(text, document.meta)
        if after is None:
            account.note(name, len(text), rules.opening(text))
            return None
        if after != text:
            # it may do what later steps rely on not finding
            after = rules.lone_surrogates(after)
            sample = rules.difference(text, after) if account.open_for_samples(name) else ""
            account.note(name, len(text) - len(after), sample)
            text = after
    for asked in recipe.pii:
        name, mask = personal.RULES[asked]
        after = mask(text)
        if after != text:
            sample = personal.shape(asked, text) if account.open_for_samples(name) else ""
            account.note(name, len(text) - len(after), sample)
            text = after
    if len(text) < shortest:
        account.note("too_short", len(text), rules.opening(text))
        return None
    return Document(document.id, text, document.meta)
