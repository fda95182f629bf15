"""Mail addresses, telephone numbers and postal addresses: rules that are off unless asked for (`--pii mail,phone,address`).

Much looks like them. image@2x.png, react@18.2.0, git@github.com:org/repo and the prompt of a shell are no mail; digits alone
are dates, laws and prices as often as telephone numbers: a number counts only with separators in it and a prefix that
Japan's numbers have, with +81 and the like, as a mobile or toll-free number of full length, or behind a word such as 電話.
Names are never masked: minutes and news name public persons.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from . import addresses

MAIL_MASK, PHONE_MASK, ADDRESS_MASK = "<mail>", "<phone>", "<address>"
Span = tuple[int, int]

# full-width letters, digits and signs, one for one: places in a text stay what they are
NARROW = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | dict.fromkeys(map(ord, "‐‑‒–−"), "-") | {0x3000: " "}

# searches begin with what they look for, one of few characters: all that costs more is done around what they find
_AT = re.compile(r"[@＠(\[](?:(?<=[@＠])|at[)\]])")
_LOCAL = re.compile(r"(?<![A-Za-z0-9._%+@-])[A-Za-z0-9](?:[A-Za-z0-9._%+'-]*[A-Za-z0-9_.+-])?\Z", re.ASCII)
_DOMAIN = re.compile(r"((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8})([A-Za-z]{2,24})(?![A-Za-z0-9-])")
# what stands behind the host of a login, a copy or a prompt, and before it
_OF_HOST = re.compile(r":[/~.\w-]|:\d| [~/][^\]\n]{0,80}\]|/\S", re.ASCII)
_LOGIN = re.compile(r"(?:\b(?:ssh|scp|sftp|rsync|mosh)\b[^\n]{0,60}|//[!-~]*)\Z")
_SOURCE_FILES = frozenset({"md", "ps", "py", "rs", "sh", "so"})
"""Endings of files that are countries' too: behind one name alone they are no domain."""
_DOMAINS = re.compile(
    "a(?:cademy|ero|gency|pp|rpa|rt|sia)|b(?:eauty|erlin|est|i[zo]|log|usiness)|c(?:afe|at|enter|loud|lub|om|ompany|oop)"
    "|de(?:sign|v)|digital|e(?:arth|du|mail|nergy|vents|xpert)|fun|g(?:ames?|lobal|ov|roup|uru)|h(?:ealth|elp|ost|ouse)|i(?:nc|nfo|nt)"
    "|jobs|kyoto|l(?:aw|egal|ife|ink|ive|ondon|ove)|m(?:arketing?|edia|il|obi|oe|useum)|n(?:agoya|ame|et|etwork|ews|yc)"
    "|o(?:kinawa|ne|nline|rg|saka)|p(?:age|aris|hotos?|lus|ress|ro|ub)|re(?:d|port|view)|ryukyu|s(?:chool|cience|ervices|hop|ite|ocial"
    "|oftware|olutions|pace|tore|tudio|ystems)|t(?:eam|ech|el|ips|oday|okyo|op|own|ravel)|university|vip|w(?:ebsite|iki|ork|orks|orld)"
    "|xyz|yokohama|zone"
)
"""Top-level domains of more than two letters in which mail is read; those of two are countries'."""

_BETWEEN = r"[- ().・ー]"
_JAPAN = (
    rf"\+81(?: ?\(0\))?(?:{_BETWEEN}{{0,2}}\d{{1,4}}){{2}}{_BETWEEN}{{0,2}}\d{{3,4}}"
    rf"|\(?0\d{{1,4}}{_BETWEEN}{{1,2}}\d{{1,4}}{_BETWEEN}{{1,2}}\d{{3,4}}"
    r"|0[5-9]0\d{8}|0120\d{6}"
)
_ABROAD = r"\+(?!81)[1-9]\d{0,2}(?:[-. ]?\(?\d{1,4}\)?){2,6}"
_AMERICA = r"(?:\+?1[-. ])?(?:\([2-9]\d\d\) ?|[2-9]\d\d[-.])[2-9]\d\d[-.]\d{4}"
# possessive: thousands of brackets without a figure behind them are not gone through again from each of them
_DIGITS = re.compile(r"[+＋(（0-9０-９][0-9０-９ \u3000.()（）・ー－‐‑‒–−-]{8,}+")
_PHONE = re.compile(
    rf"(?:(?<![0-9A-Za-z/.-])(?:({_JAPAN})|({_AMERICA})|({_ABROAD}))|(?<![0-9/.-])(0[1-9]\d{{8}}))(?![0-9A-Za-z]|-\d)",
    re.ASCII,
)
_LABEL = re.compile(
    r"(?:(?:電話|携帯)(?:番号)?|[℡☎]|TEL|[Tt]el|FAX|[Ff]ax|[Pp]hone)[^0-9\n]{0,6}(?<![-/.])\Z", re.ASCII
)
_MOBILE = ("020", "050", "060", "070", "080", "090")
_GROUPED = ("0120", "0570", "0800", "0990")


def mail(text: str) -> str:
    """Put `<mail>` in the place of mail addresses."""
    return _masked("mail", MAIL_MASK, text)


def phone(text: str) -> str:
    """Put `<phone>` in the place of telephone numbers: Japan's, America's, and any that begin with + and a country."""
    return _masked("phone", PHONE_MASK, text)


def address(text: str) -> str:
    """Put `<address>` in the place of postal addresses down to a number; a town alone stays."""
    return _masked("address", ADDRESS_MASK, text)


def spans(asked: str, text: str) -> list[Span]:
    """Where a rule masks, in order.

    Args:
        asked: of `RULES`.
    """
    return list(_FINDERS[asked](text))


def _mails(text: str) -> Iterator[Span]:
    if not any(sign in text for sign in ("@", "＠", "at)", "at]")):
        return
    end = 0
    for at in _AT.finditer(text):
        start = max(end, at.start() - 144)
        before, behind = (
            part.translate(NARROW) for part in (text[start : at.start()], text[at.end() : at.end() + 400])
        )
        gap = 0
        if len(at[0]) > 1:  # (at), perhaps between blanks
            before, gap = before.removesuffix(" "), len(behind) - len(behind.removeprefix(" "))
        local, domain = _LOCAL.search(before, max(0, len(before) - 64)), _DOMAIN.match(behind, gap)
        if local is None or domain is None or not _reads_mail(domain):
            continue
        if _OF_HOST.match(behind, domain.end()) or _LOGIN.search(before[: local.start()]):
            continue
        end = at.end() + domain.end()
        yield start + local.start(), end


def _reads_mail(domain: re.Match[str]) -> bool:
    ending = domain[2].lower()
    if len(ending) > 2:
        return _DOMAINS.fullmatch(ending) is not None
    return not (ending in _SOURCE_FILES and domain[1].count(".") == 1)


def _phones(text: str) -> Iterator[Span]:
    for run in _DIGITS.finditer(text):
        start = max(0, run.start() - 1)
        for match in _PHONE.finditer(text[start : run.end() + 2].translate(NARROW)):
            first, last = start + match.start(), start + match.end()
            if _is_whole(match) or (match[4] and _LABEL.search(text[max(0, first - 16) : first].translate(NARROW))):
                yield first, last


def _is_whole(match: re.Match[str]) -> bool:
    """Whether a number has the digits that its country's have."""
    digits = re.sub(r"\D", "", match[0])
    if match[2] or match[4]:  # the latter only where a word such as 電話 stands before it
        return match[2] is not None
    if match[3]:
        return 9 <= len(digits) <= 15 and len(re.sub(r"\D", "", match[0].split(" ")[-1])) >= 2
    if match[0].startswith("+"):
        digits = "0" + digits[2:].removeprefix("0")
    elif len(digits) == 11 and not digits.startswith((*_MOBILE, "0800")):
        return False
    last = re.search(r"\d+\Z", match[0])
    return (
        len(digits) in (10, 11)
        and digits[1] != "0"
        and (digits.startswith(_GROUPED) or (last is not None and len(last[0]) >= 4))
    )


_FINDERS: dict[str, Callable[[str], Iterator[Span]]] = {
    "mail": _mails, "phone": _phones, "address": lambda text: addresses.spans(text, NARROW),
}  # fmt: skip
RULES: dict[str, tuple[str, Callable[[str], str]]] = {
    "mail": ("pii_mail", mail), "phone": ("pii_phone", phone), "address": ("pii_address", address),
}  # fmt: skip


def _masked(asked: str, mask: str, text: str) -> str:
    pieces, at = [], 0
    for first, last in _FINDERS[asked](text):
        pieces += [text[at:first], mask]
        at = last
    return "".join([*pieces, text[at:]]) if pieces else text


def shape(asked: str, text: str) -> str:
    """What the first thing that a rule masks looks like, with every letter an x and every digit a 0: for the report."""
    for first, last in _FINDERS[asked](text):
        return re.sub(r"[^\W\d_]", "x", re.sub(r"\d", "0", text[first:last]))
    return ""
