"""Postal addresses down to a number: Japanese ones (a town, then 1丁目2番3号, 36番地, 1-2-3 or 大字 and a number), or in Latin.

A town alone is no one's address, and many numbers behind a town are none of an address: 横浜市は2-1で勝った, 新宿区の1-3月期,
大阪市北区で3日. So no particle may stand between town and number, and two numbers with a dash count only where no month, age,
score or share follows. What is looked for first are the numbers: they are few.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

Span = tuple[int, int]
_KANJI = "一-龠々ヶケ"
_NUMBER = r"(?:\d{1,4}|[一二三四五六七八九十百]{1,5})"
_KANA_TOWNS = (
    "さいたま|つくば(?:みらい)?|いわき|ひたちなか|かすみがうら|みどり|みやま|うるま|えびの|あきる野|あわら|かほく|にかほ|つがる|むつ"
    "|おいらせ|さくら|いすみ|ふじみ野|みよし|いなべ|たつの|さぬき|東かがわ|うきは|みやこ|あさぎり|えりも|せたな|ニセコ|南アルプス"
)
_PREFECTURE = rf"(?:北海道|東京都|(?:大阪|京都)府|[{_KANJI}]{{2,3}}県)"
_PLACE = rf"(?:(?:[{_KANJI}]{{1,6}}?|{_KANA_TOWNS})[市区郡町村])"
_TOWN = rf"[{_KANJI}ノァ-ヴーぁ-ん]{{0,12}}?"
_CHAIN = re.compile(
    rf"(?:\d{{3}}-\d{{4}} ?)?(?:{_PREFECTURE} ?)?{_PLACE}{{0,3}}({_PLACE}) ?({_TOWN})(?:{_NUMBER}番町)? ?\Z"
)
_PARTICLE = re.compile(r"[はがをで]|^[のとやにも]|[のとにへも]$")
_LOT = re.compile(
    rf"(?P<sure>[東西南北]{_NUMBER}条[東西南北]?{_NUMBER}丁目|{_NUMBER}丁目(?:{_NUMBER}番地?(?:{_NUMBER}号)?)?"
    rf"|{_NUMBER}番(?:地|{_NUMBER}号)|大?字[{_KANJI}]{{1,8}}\d{{1,5}}|\d{{1,4}}(?:-\d{{1,4}}){{2,3}}(?![\d-]))"
    r"|(?P<two>\d{1,5}-\d{1,4})(?![\d-])"
)
_MORE = re.compile(
    rf"(?:-?\d{{1,4}}(?:-\d{{1,4}}){{0,2}}|の\d{{1,4}})?"
    rf"(?: ?[{_KANJI}ァ-ヴーA-Za-z]{{1,15}}(?:ビル|タワー|マンション|ハイツ|コーポ|荘)(?: ?\d{{1,3}}(?:階|F|号室))?"
    r"|\d{1,4}号室)?"
)
_NO_LOT = re.compile(r"[月年歳才人日時分秒回点位対割倍度話巻号戦件億万円%％]|か月|カ月|ヶ月|[\dA-Za-z.]")
_REACH, _AHEAD = 48, 60
_HINT = re.compile("丁(?=目)|番|字|-|－|−|‐|‑|‒|–")
_LATIN_HINTS = (
    " St", " Av", " Road", " Rd", " Lane", " Ln", " Dr", " Boulevard", " Blvd", " Court", " Ct", " Pl", " Terrace", " Way",
    " Sq", "-ku", "-shi", "-gun", "-cho", "-machi", "-mura", "-son",
)  # fmt: skip

_STREET = r"(?:Street|St|Avenue|Ave|Road|Rd|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Place|Pl|Terrace|Way|Square|Sq)"
_CITY = r"[A-Z][A-Za-z.'-]+(?: [A-Z][A-Za-z.'-]+){0,2}"
_LATIN = re.compile(
    rf"(?<![\w-])(?:\d{{1,4}}(?:-\d{{1,4}}){{1,3}},? {_CITY}, (?:[A-Z][A-Za-z]+-(?:ku|shi|gun|cho|machi|mura|son),? )+"
    rf"(?:{_CITY})?(?: \d{{3}}-\d{{4}})?(?:, Japan)?"
    rf"|\d{{1,5}}[A-Z]? (?:[A-Z][A-Za-z.'-]*\.? ){{1,3}}{_STREET}\b\.?(?: [NS]?[EW]?)?,\s{_CITY}"
    r"(?:,? [A-Z]{2} \d{5}(?:-\d{4})?| [A-Z]{1,2}\d[0-9A-Z]? \d[A-Z]{2})?)",
    re.ASCII,
)


def spans(text: str, narrow: Mapping[int, int | str]) -> Iterator[Span]:
    """Where addresses stand in a text, in order.

    Args:
        narrow: makes full-width digits and dashes ordinary, one for one.
    """
    found = [match.span() for match in _LATIN.finditer(text)] if any(word in text for word in _LATIN_HINTS) else []
    done = 0
    for hint in _HINT.finditer(text):
        at = hint.start()
        dash = hint[0] not in ("丁", "番", "字")
        if at < done or (dash and not (text[at - 1 : at].isdigit() and text[at + 1 : at + 2].isdigit())):
            continue
        start, done = max(0, at - _REACH - 12), at + 12
        found += [
            (start + first, start + last) for first, last in _japanese(text[start : at + _AHEAD].translate(narrow))
        ]
    end = 0
    for first, last in sorted(found):
        if first >= end:
            end = last
            yield first, last


def _japanese(part: str) -> Iterator[Span]:
    for lot in _LOT.finditer(part):
        reach = max(0, lot.start() - _REACH)
        chain = _CHAIN.search(part[reach : lot.start()])
        if chain is not None and _is_address(lot, chain[1], chain[2], part[lot.end() : lot.end() + 2]):
            more = _MORE.match(part, lot.end())
            yield reach + chain.start(), more.end() if more else lot.end()


def _is_address(lot: re.Match[str], place: str, town: str, behind: str) -> bool:
    """Whether what stands between a place and its number, and behind it, is what addresses have."""
    if town and _PARTICLE.search(town):
        return False
    digits = lot[0]
    if not digits[0].isdigit() or "-" not in digits:  # 丁目, 番地, 番号, 大字
        return True
    if not town and place[-1] not in "町村":
        return False
    alone = lot["two"] is not None and len(digits) == 3  # 2-1
    return not (_NO_LOT.match(behind) or (alone and behind[:1] in ("で", "と", "の")))
