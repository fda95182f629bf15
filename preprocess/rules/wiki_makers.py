"""What templates make of their arguments, each for the templates that `wiki.yml` names: readings, quantities, dates, lists."""

from __future__ import annotations

import re
from collections.abc import Callable

from .wiki_names import names

Plain = list[str]
Named = dict[str, str]

NUMBER = re.compile(r"[+\-−±~約]?(?:\d+\+)?[\d,.]*\d[\d,.]*(?:[/⁄]\d+)?(?:e[+-]?\d+)?", re.IGNORECASE)
_SUPERSCRIPT = str.maketrans("0123456789+-−n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻ⁿ")
_RAISED = re.compile(r"[+\-−]?\d{1,4}|[+\-−]|n")
_ERAS = (("明治", 1868), ("大正", 1912), ("昭和", 1926), ("平成", 1989), ("令和", 2019))
_ERA_LETTERS = dict(zip("mtshr", (name for name, _ in _ERAS), strict=True))
_BETWEEN = {
    "to": "–", "-": "–", "–": "–", "から": "から", "～": "～", "〜": "〜", "and": "と", "&": "と", "と": "と", "or": "または",
    "または": "または",
    "x": "×", "by": "×", "×": "×", "xx": "×", "*": "×", "+/-": "±", "±": "±", "+-": "±", "to(-)": "–", "、": "、", ",": "、",
}  # fmt: skip
_MONTHS = " January February March April May June July August September October November December"
_UNITS = {"C": "°C", "F": "°F", "C-change": "°C", "F-change": "°F"}
_SMALL_UNITS = frozenset({"in", "oz", "lb", "lbs", "ft", "yd", "pt", "ch", "furlong", "drf", "impoz", "usoz"})


def raised(text: str) -> str:
    """A number as superscript digits; other text as it is."""
    return text.translate(_SUPERSCRIPT) if _RAISED.fullmatch(text) else text


def dated(plain: Plain, sign: str) -> str | None:
    """{{circa|1650|1660}}: c. 1650–1660."""
    return sign + "–".join(filter(None, plain)) if any(plain) else None


def _reading(plain: Plain, named: Named, japanese: bool) -> str | None:
    if not plain:
        return None
    return plain[0] + (f"（{plain[1]}）" if len(plain) > 1 and plain[1] else "")


def _nihongo(plain: Plain, named: Named, japanese: bool) -> str | None:
    if not plain:
        return None
    other = ", ".join(part for part in plain[1:4] if part)
    return f"{plain[0]} ({other})" if plain[0] and other else plain[0] or other


def _convert(plain: Plain, named: Named, japanese: bool) -> str | None:
    """{{convert|10|to|20|km|mi}}: the quantity as it was given, with its unit."""
    text = ""
    at = 0
    while at < len(plain) and NUMBER.fullmatch(plain[at]):
        text += plain[at]
        at += 1
        if at + 1 < len(plain) and plain[at] in _BETWEEN and NUMBER.fullmatch(plain[at + 1]):
            text += _BETWEEN[plain[at]]
            at += 1
    if not text:
        return None
    if at < len(plain):
        text += f" {_UNITS.get(plain[at], plain[at])}"
        if at + 2 < len(plain) and NUMBER.fullmatch(plain[at + 1]) and plain[at + 2] in _SMALL_UNITS:
            text += f" {plain[at + 1]} {plain[at + 2]}"
    return text


def _val(plain: Plain, named: Named, japanese: bool) -> str | None:
    if not plain and "e" not in named:
        return None
    text = plain[0] if plain else ""
    if len(plain) > 2 and plain[2]:
        text += f"+{plain[1].lstrip('+')}−{plain[2].lstrip('-−')}"
    elif len(plain) > 1 and plain[1]:
        text += plain[1] if plain[1].startswith("(") else f"±{plain[1].lstrip('±')}"
    if named.get("e"):
        text += ("×" if text else "") + f"10{raised(named['e'])}"
    text = named.get("p", "") + text + named.get("s", "")
    unit = named.get("u") or named.get("ul") or ""
    below = named.get("up") or named.get("upl") or ""
    return text + (f" {unit}" if unit else "") + (f"/{below}" if below else "")


def _fraction(plain: Plain, named: Named, japanese: bool) -> str | None:
    parts = [part for part in plain if part]
    if not 1 <= len(parts) <= 3:
        return None
    return {1: "1/{0}", 2: "{0}/{1}", 3: "{0} {1}/{2}"}[len(parts)].format(*parts)


def _numbers(plain: Plain) -> list[int] | None:
    """The leading numbers among the arguments, also of one that is written 1991-01-02 or 1991年1月2日."""
    numbers: list[int] = []
    for part in plain:
        pieces = re.findall(r"\d{1,4}", part)
        if not pieces or re.sub(r"[\d年月日/.\- ]", "", part):
            break
        numbers += map(int, pieces)
    return numbers or None


def _written(numbers: list[int], japanese: bool) -> str | None:
    if not 1 <= len(numbers) <= 3:
        return None
    if japanese:
        return "".join(f"{number}{unit}" for number, unit in zip(numbers, "年月日", strict=False))
    return "-".join(f"{number:02}" for number in numbers)


def _date(plain: Plain, named: Named, japanese: bool) -> str | None:
    numbers = _numbers(plain)
    if numbers is None:  # {{birth date|df=yes}} without numbers, or a date in words
        return plain[0] if plain and plain[0] else None
    return _written(numbers[:3], japanese)


def _years(plain: Plain, named: Named, japanese: bool) -> str | None:
    """Whole years between two dates; to today they are not known."""
    numbers = _numbers(plain) or []
    if len(numbers) == 2 and numbers[0] > 31 and numbers[1] > 31:
        return str(numbers[1] - numbers[0])
    if len(numbers) != 6:
        return None
    years = numbers[3] - numbers[0] - (numbers[4:] < numbers[1:3])
    return str(years) if years >= 0 else None


def _died(plain: Plain, named: Named, japanese: bool) -> str | None:
    numbers = _numbers(plain) or []
    years = _years(plain, named, japanese)
    if years is None:
        return _written(numbers[:3], japanese) if 1 <= len(numbers) <= 3 else None
    when = sorted((numbers[:3], numbers[3:]))[1]
    return (_written(when, japanese) or "") + (f"（{years}歳没）" if japanese else f" (aged {years})")


def _age_at_death(plain: Plain, named: Named, japanese: bool) -> str | None:
    years = _years(plain, named, japanese)
    return None if years is None else f"（{years}歳没）"


def _era(plain: Plain, named: Named, japanese: bool) -> str | None:
    """{{和暦|1991}}: 1991年（平成3年）. Before 1868 the year alone."""
    if not plain or not plain[0]:
        return None
    starts = dict(_ERAS)
    era = _ERA_LETTERS.get(plain[0].lower(), plain[0])
    if era in starts and len(plain) > 1 and plain[1].isdecimal():
        count = int(plain[1])
        return f"{starts[era] + count - 1}年（{era}{'元' if count == 1 else count}年）"
    numbers = _numbers(plain)
    if numbers is None or len(numbers) > 3:
        return None
    year = numbers[0]
    eras = [f"{name}{'元' if year == first else year - first + 1}年" for name, first in _ERAS if first <= year]
    both = [*eras[-2:]] if year in (1912, 1926, 1989, 2019) else eras[-1:]
    return f"{year}年" + (f"（{'/'.join(both)}）" if both else "") + (_written(numbers, True) or "").partition("年")[2]


def _raised(plain: Plain, named: Named, japanese: bool) -> str | None:
    return raised(plain[0]) if plain else ""


def _power(plain: Plain, named: Named, japanese: bool) -> str | None:
    return "×10" + raised(plain[0]) if plain else None


def _ten(plain: Plain, named: Named, japanese: bool) -> str | None:
    return "10" + raised(plain[0]) if plain else None


def _joined(plain: Plain, named: Named, japanese: bool) -> str | None:
    return "".join(plain)


def _as_of(plain: Plain, named: Named, japanese: bool) -> str | None:
    """{{as of|2010|3|lc=y}}: as of March 2010."""
    numbers = _numbers(plain)
    if named.get("alt") or numbers is None or not 1 <= len(numbers) <= 3 or not 1 <= [*numbers, 1][1] <= 12:
        return named.get("alt")
    begun = "since" if named.get("since") else "as of"
    written = [*map(str, numbers[2:]), *(_MONTHS.split(" ")[month] for month in numbers[1:2]), str(numbers[0])]
    return " ".join((begun if named.get("lc") else begun.capitalize(), *written))


def _coordinates(plain: Plain, named: Named, japanese: bool) -> str | None:
    """{{coord|35|41|N|139|45|E}}: 35°41′N 139°45′E, unless it is shown beside the title only."""
    if named.get("display", "inline").replace(" ", "") in ("title", "t"):
        return ""
    text, units = "", iter("°′″")
    for part in plain[:8]:
        if part.upper() in ("N", "S", "E", "W"):
            text += f"{part.upper()} "
            units = iter("°′″")
        elif part and NUMBER.fullmatch(part):
            text += part + next(units, " ")
    return text.strip() or None


def _first(plain: Plain, named: Named, japanese: bool) -> str | None:
    return next((part for part in plain if part), None)


def _listed(plain: Plain, named: Named, japanese: bool) -> str | None:
    return ("、" if japanese else ", ").join(part for part in plain if part)


def _foreign(plain: Plain, named: Named, japanese: bool) -> str | None:
    """{{ill|Title|fr|Titre}} or {{ill|fr|Titre|Title}}."""
    if named.get("label") or named.get("lt"):
        return named.get("label") or named.get("lt")
    if len(plain) >= 2 and plain[0] in names().languages:
        return plain[2] if len(plain) > 2 and plain[2] else plain[1]
    return plain[0] if plain else None


def _named_values(plain: Plain, named: Named, japanese: bool) -> str | None:
    """{{zh|s=…|t=…|p=…}}, {{Korean|hangul=…}}: what is given, whatever it is called."""
    shown = [
        *plain[:1],
        *(text for key, text in named.items() if key not in ("links", "labels", "label", "first", "lk")),
    ]
    return _listed([text for text in shown if text], named, japanese)


def _audio(plain: Plain, named: Named, japanese: bool) -> str | None:
    """The label of a recording: often the foreign name itself."""
    label = next((part for part in plain[1:2] + plain[3:4] if part), "")
    return "" if label in ("聞く", "発音", "listen", "Listen", "ヘルプ", "音声", "試聴") else label


def _spoken(plain: Plain, named: Named, japanese: bool) -> str | None:
    """{{IPAc-en|t|e|s|t}} is given sound by sound."""
    return "".join(part for part in plain if part.lower() not in ("lang", "pron", "us", "uk", "icon")) or ""


def _harvard(plain: Plain, named: Named, japanese: bool) -> str | None:
    return " ".join(filter(None, plain)) or None


def _after_names(plain: Plain, named: Named, japanese: bool) -> str | None:
    return ", ".join(filter(None, plain))


def _keys(plain: Plain, named: Named, japanese: bool) -> str | None:
    return "+".join(plain)


def _right_ascension(plain: Plain, named: Named, japanese: bool) -> str | None:
    return " ".join(f"{one}{unit}" for one, unit in zip(plain, "hms", strict=False))


def _declination(plain: Plain, named: Named, japanese: bool) -> str | None:
    return " ".join(f"{one}{unit}" for one, unit in zip(plain, "°′″", strict=False))


def _ship_class(plain: Plain, named: Named, japanese: bool) -> str | None:
    return f"{plain[0]}級{plain[1]}" if japanese and len(plain) > 1 else None


MAKERS: dict[str, Callable[[Plain, Named, bool], str | None]] = {
    maker.__name__[1:]: maker
    for maker in (
        _reading, _nihongo, _convert, _val, _fraction, _date, _years, _died, _age_at_death, _era, _as_of, _raised, _power, _ten,
        _joined, _listed, _harvard, _foreign, _named_values, _spoken, _coordinates, _first, _audio, _after_names, _keys,
        _right_ascension, _declination, _ship_class,
    )
}  # fmt: skip
"""By the names that `wiki.yml` has for them."""
