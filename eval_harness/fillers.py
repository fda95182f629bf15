"""Who, where and when in a Japanese sentence, told by surface form alone: precise rather than complete.

Dates by their characters; persons by a surname or katakana before a title (首相, 選手 ...); organisations and foreign places by
a list; places of Japan by the names of prefectures and a suffix behind them. The lists stand in `fillers.yml`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from haigo import yamlfile

KINDS = ("who", "where", "when")
_KANJI, _KATAKANA = "一-龥々〆ヶ", "ァ-ヴー"
_SCRIPTS = str.maketrans({**dict.fromkeys("0123456789", "0"), **dict.fromkeys("０１２３４５６７８９", "０")})
_LONE_TITLES = "氏|首相|外相|容疑者|被告|大統領|国務長官|書記長|議長|国王"
"""Before these a word in katakana is a name even without a first name: no trade, sport or firm has them."""
_NO_NAME = "関[係連東西空心与節税]|原[発告子因油則爆案]|森林|菅[轄区]|堀割"
_NO_GIVEN = (
    "県市区町村府都道国党州省庁社第前元新旧現両同各故会長部副教議監首相軍労総政警校院"
    "署税調係告発審判員団組局課民選挙球戦代表対側派建設防衛准"
)


@dataclass(frozen=True, slots=True)
class Filler:
    """A part of a text that a question may ask for."""

    kind: str
    """who, where or when."""
    text: str
    start: int
    """Its first character's place in the text."""
    shape: str
    """Fillers of one shape can stand for each other: kind, script and length are the same."""
    traces: tuple[str, ...]
    """What in a text gives it away: itself, its other names, a person's surname."""

    def named_in(self, text: str) -> bool:
        """Whether a text gives it away."""
        return any(trace in text for trace in self.traces)


def find(text: str) -> Iterator[Filler]:
    """The fillers of a text, in the order of their rules; they do not overlap within a rule."""
    for kind, name, pattern in _rules():
        for match in pattern.finditer(text):
            found = match["it"]
            pieces = _pieces(name, found, match)
            if name == "foreigner" and not _places().isdisjoint(pieces):
                continue  # エジプト・ムバラク大統領
            traces = (found, *_aliases().get(found, ()), *pieces)
            yield Filler(kind, found, match.start("it"), f"{name} {_template(found)}", traces)


def _pieces(name: str, found: str, match: re.Match[str]) -> tuple[str, ...]:
    if name == "person":
        return (match["surname"],)
    if name == "foreigner":
        return tuple(part for part in re.split("[・＝=]", found) if len(part) > 1)
    if name in ("prefecture", "city") and found != "北海道" and len(found) > 2:
        return (found[:-1],)
    return ()


def _template(found: str) -> str:
    """The scripts of a filler, a character each; digits stay apart from what stands between them."""
    kana = re.sub(f"[{_KATAKANA}]", "カ", found.translate(_SCRIPTS))
    last = found[-1] if found[-1] in "党省庁所院年月日" else ""
    return re.sub("[一-龥々ヶ]", "漢", kana) + last


@functools.cache
def _lists() -> dict[str, list[list[str]]]:
    """Every list of fillers.yml: its entries, each with all its names."""
    content = yamlfile.read(Path(__file__).with_name("fillers.yml"))
    return {
        key: [entry.split() for entry in (value if isinstance(value, list) else value.split())]
        for key, value in content.items()
    }


@functools.cache
def _aliases() -> dict[str, list[str]]:
    return {name: entry for entries in _lists().values() for entry in entries if len(entry) > 1 for name in entry}


@functools.cache
def _places() -> frozenset[str]:
    """What stands beside a name without being one."""
    keys = ("countries", "cities", "regions", "callings")
    return frozenset(name for key in keys for entry in _lists()[key] for name in entry)


def _one_of(key: str) -> str:
    """Pattern of all names of a list, longest first."""
    return "|".join(sorted((name for entry in _lists()[key] for name in entry), key=lambda name: (-len(name), name)))


@functools.cache
def _rules() -> tuple[tuple[str, str, re.Pattern[str]], ...]:
    """Kind, name and pattern of each rule."""
    countries, cities, prefectures = map(_one_of, ("countries", "cities", "prefectures"))
    titles = f"(?:前|元)?(?:{_one_of('titles')})(?![{_KANJI}])"
    places = "|".join(sorted(_places()))
    bound = f"(?<![{_KANJI}{_KATAKANA}A-Za-zＡ-Ｚ・「『])"
    digit, day = "[0-9０-９]", "[0-9０-９]{1,2}月[0-9０-９]{1,2}日"
    year = f"(?:(?<!{digit})(?:19|20|１９|２０){digit}{{2}}|(?:平成|昭和|令和){digit}{{1,2}})年"
    rest = "(?![間代度余々分号期内以])"
    return tuple(
        (kind, name, re.compile(pattern))
        for kind, name, pattern in (
            (
                "who",
                "person",
                f"{bound}(?!{_NO_NAME})(?P<it>(?P<surname>{_one_of('surnames')})(?:(?![{_NO_GIVEN}])[{_KANJI}]){{0,3}}?)(?={titles})",
            ),
            (
                "who",
                "foreigner",
                f"{bound}(?P<it>(?!(?:{places}))[{_KATAKANA}]{{3,}}(?={_LONE_TITLES})|[{_KATAKANA}]{{2,}}"
                f"(?:[・＝=][{_KATAKANA}]{{2,}}){{1,3}}(?={titles}))",
            ),
            ("who", "organisation", f"{bound}(?P<it>{_one_of('institutions')})(?![{_KANJI}{_KATAKANA}・])"),
            ("where", "country", f"{bound}(?P<it>{countries})(?![{_KANJI}{_KATAKANA}・])"),
            ("where", "foreign city", f"{bound}(?P<it>{cities})(?![{_KANJI}{_KATAKANA}・])"),
            ("where", "prefecture", f"{bound}(?P<it>{prefectures})(?!庁|警|議|知事|立|新聞|日本ハム)"),
            ("where", "city", f"(?:{prefectures})(?P<it>[{_KANJI}]{{1,4}}?市)(?![{_KANJI}])"),
            ("when", "date", f"(?P<it>{year}{day}){rest}"),
            ("when", "day", f"(?<!年)(?<!{digit})(?P<it>{day}){rest}"),
            ("when", "month of a year", f"(?P<it>{year}{digit}{{1,2}}月)(?!{digit}){rest}"),
            ("when", "year", f"(?P<it>{year})(?!{digit}){rest}"),
            ("when", "month", f"(?<!年)(?<!{digit})(?P<it>{digit}{{1,2}}月)(?!{digit}){rest}"),
            ("when", "weekday", "(?P<it>[月火水木金土日]曜日)"),
        )
    )
