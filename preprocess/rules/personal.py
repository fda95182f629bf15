"""Mail addresses and Japanese telephone numbers: two rules that are off unless asked for (`--pii mail,phone`).

Digits alone are dates, laws and prices as often as telephone numbers: a number counts only with separators in it, with
+81, or as a mobile or toll-free number of full length. Names are never masked: minutes and news name public persons.
"""

from __future__ import annotations

import re
from collections.abc import Callable

MAIL_MASK, PHONE_MASK = "<mail>", "<phone>"
_MAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}[@＠](?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9-])"
)
_BETWEEN = r"[-‐‑‒–−－ー ()（）.・]"
_DIGIT = "[0-9０-９]"
_PHONE = re.compile(
    rf"(?<![0-9０-９A-Za-z/.-])(?:"
    rf"[+＋](?:81|８１){_BETWEEN}{{0,2}}(?:[(（][0０][)）])?{_DIGIT}{{1,4}}{_BETWEEN}{{0,2}}{_DIGIT}{{1,4}}{_BETWEEN}{{0,2}}{_DIGIT}{{3,4}}"
    rf"|[(（]?[0０]{_DIGIT}{{1,4}}{_BETWEEN}{{1,2}}{_DIGIT}{{1,4}}{_BETWEEN}{{1,2}}{_DIGIT}{{3,4}}"
    rf"|[0０][5-9５-９][0０]{_DIGIT}{{8}}|[0０][1１][2２][0０]{_DIGIT}{{6}}"
    rf")(?![0-9０-９A-Za-z]|[-‐−－]{_DIGIT})"
)
_NATIONAL = (10, 11)


def mail(text: str) -> str:
    """Put `<mail>` in the place of mail addresses."""
    return _MAIL.sub(MAIL_MASK, text) if "@" in text or "＠" in text else text


def phone(text: str) -> str:
    """Put `<phone>` in the place of Japanese telephone numbers."""
    return _PHONE.sub(_masked, text)


def _masked(match: re.Match[str]) -> str:
    shown = match[0]
    digits = "".join(str(int(char)) for char in shown if char.isdecimal())
    if shown[0] in "+＋":
        digits = "0" + digits[2:].removeprefix("0")
    grouped = digits.startswith(("0120", "0570", "0800", "0990"))
    last = re.search(r"[0-9０-９]+$", shown)
    whole = len(digits) in _NATIONAL and (grouped or (last is not None and len(last[0]) >= 4))
    return PHONE_MASK if whole else shown


RULES: dict[str, tuple[str, Callable[[str], str]]] = {"mail": ("pii_mail", mail), "phone": ("pii_phone", phone)}


def shape(asked: str, text: str) -> str:
    """What the first thing that a rule masks looks like, with every letter an x and every digit a 0: for the report."""
    mask = RULES[asked][1]
    for match in (_MAIL if asked == "mail" else _PHONE).finditer(text):
        if mask(match[0]) != match[0]:
            return re.sub(r"[^\W\d_]", "x", re.sub(r"\d", "0", match[0]))
    return ""
