"""Sentences in which the value of a template that is not known would leave a hole: found, counted and dropped.

Where a template stood whose text is not known, `mark` leaves its name between two private signs. `settle` takes away
the marks that are no part of a sentence; `drop` takes out the sentences, or the bracketed asides, that hold one.
"""

from __future__ import annotations

import re
from collections import Counter

_OPEN, _CLOSE = "\U000f3001", "\U000f3002"
_MARK = re.compile(f"{_OPEN}([^{_OPEN}{_CLOSE}]*){_CLOSE}")
_NAME_CHARS = 40
_MOST = 20  # marks in a sentence; with more it is none
_UNSAFE = re.compile(rf"[{_OPEN}{_CLOSE}\[\]{{}}|<>'=*#:;&\n]+")
_BEFORE_ROW = re.compile(rf"(?:{_OPEN}[^{_CLOSE}]*{_CLOSE}[ \t]*+)+(?=$|[|!{{=*#:;]|''')")
_ALONE = re.compile(rf"[ \t*#:;\u3000・]*+(?:(?:{_OPEN}[^{_CLOSE}]*{_CLOSE}|<[^<>]*>)[ \t、,・]*+)+")
_STOP = re.compile(r"[。．！？!?]+[」』）)\"”’]*|\.[\"”’)]*(?=\s+[A-Z0-9(\"“]|\s*$)")
_ABBREVIATED = re.compile(
    r"(?:^|[^\w.])(?:[A-Zcprv]|[A-Za-z](?:\.[A-Za-z])+|Dr|Mr|Mrs|Ms|St|Ste|Nos?|vs|fl|ca|Jr|Sr|Prof|Gen|Col|Lt|Sgt|Capt|Rev|Hon|Mt"
    r"|Ft|Co|Corp|Inc|Ltd|approx|est|[Vv]ols?|pp|eds?|cf|al)$"
)  # a full stop behind it ends no sentence
_OPENING, _CLOSING = "（(「『【〈《“", "）)」』】〉》”"
_LIST = re.compile(r"[ \t]*[*#:;・]+[ \t]*")
_COMPLETE = re.compile(r"[るたいだすうくぐつぬぶむんか](?:[)）」』])*$|[a-z\d]$")  # a predicate, before the full stop
_WANTS_MORE = re.compile(r"(?:[はがをにでとのへもや約、,:：=＝～〜]|から|まで|より|など)$")
# what goes on with a subject or a number that is not there
_PARTICLE = re.compile(
    r"[はがをにでとのへもやか](?![ぁ-ん])|に(?:ある|あり|おい|よ|つい|は|も|な|し)|で(?:ある|あり|あっ|は|も|の)|と(?:い|さ|し|な|は|も|の)|"
    r"の(?:よう|ほか|み|うち|ため|とき)|(?:から|まで|より|など|だっ|だが)|[、。,.％%℃]|[年月日人円件個位回歳度機隻両台倍つ番](?![ぁ-ん]{2})|[kcm]?m\b"
)
_ITEM = re.compile(r"[、，,;；/／・]")


def mark(name: str) -> str:
    """What stands for a template of this name until `drop`."""
    return f"{_OPEN}{_UNSAFE.sub(' ', name).strip()[:_NAME_CHARS]}{_CLOSE}"


def settle(text: str) -> str:
    """Take away marks that stand alone on their line, or before what begins a line."""
    if _OPEN not in text:
        return text
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if _OPEN in line:
            before_row = _BEFORE_ROW.match(line)
            bare = line[before_row.end() :] if before_row else line
            lines[number] = "" if _OPEN in bare and _ALONE.fullmatch(bare) else bare
    return "\n".join(lines)


def lost(text: str) -> Counter[str]:
    """For which templates `drop` takes a sentence or an aside out of this text, and how often."""
    names: Counter[str] = Counter()
    _drop(text, names)
    return names


def show(text: str) -> str:
    """The text with marks written as the templates that they stand for, for samples in a report."""
    return _MARK.sub(r"{{\1}}", text)


def drop(text: str) -> str:
    """Drop the sentences that a mark leaves with a hole; marks elsewhere go alone."""
    return _drop(text, Counter())


def _drop(text: str, names: Counter[str]) -> str:
    if _OPEN not in text:
        return text
    lines = []
    for line in text.split("\n"):
        if _OPEN not in line:
            lines.append(line)
            continue
        kept = _line(line, names)
        if kept.strip(" \t*#:;\u3000・'"):
            lines.append(kept)
    return "\n".join(lines)


def _line(line: str, names: Counter[str]) -> str:
    if line.startswith("=") and line.rstrip().endswith("="):
        names.update(_MARK.findall(line))
        return ""
    listed = _LIST.match(line)
    head = listed[0] if listed else ""
    return head + "".join(_sentence(one, names) for one in _sentences(line[len(head) :]))


def _sentences(text: str) -> list[str]:
    """The sentences of a line; a stop within brackets ends none."""
    depth = 0
    starts = [0]
    depths = []
    for char in text:
        if char in _OPENING:
            depth += 1
        elif char in _CLOSING:
            depth = max(0, depth - 1)
        depths.append(depth)
    for stop in _STOP.finditer(text):
        if text[stop.start()] == "." and _ABBREVIATED.search(text[max(0, stop.start() - 12) : stop.start()]):
            continue
        if depths[stop.end() - 1] == 0 or depth > 0:
            starts.append(stop.end())
    return [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True) if end > start]


def _sentence(text: str, names: Counter[str]) -> str:
    """The sentence, or nothing where a mark leaves a hole in it."""
    marks = _MARK.findall(text)
    if len(marks) > _MOST:
        names.update(marks)
        return ""
    while (mark := _MARK.search(text)) is not None:
        before, after = text[: mark.start()], text[mark.end() :]
        inner = _aside(before, after)
        if inner is not None:
            names.update(_MARK.findall(text)[: len(_MARK.findall(text)) - len(_MARK.findall(inner))])
            text = inner
        elif _needed(_bare(before), _bare(after)):
            names.update(_MARK.findall(text))
            return ""
        else:
            text = before + after
    return text


def _bare(text: str) -> str:
    return _MARK.sub("", text).replace("'''", "").replace("''", "")


def _aside(before: str, after: str) -> str | None:
    """The sentence without the bracketed aside around the mark, or without its item in it; None outside brackets."""
    opened = max(before.rfind("（"), before.rfind("("))
    if opened < 0 or max(before.rfind("）"), before.rfind(")")) > opened:
        return None
    closed = min((at for at in (after.find("）"), after.find(")")) if at >= 0), default=-1)
    if closed < 0:
        return None
    inside_before, inside_after = before[opened + 1 :], after[:closed]
    item_before = _ITEM.split(_bare(inside_before))[-1].strip()
    item_after = _ITEM.split(_bare(inside_after))[0].strip()
    if not item_before and not item_after:
        return before + after
    start, rest = before[:opened], after[closed + 1 :]
    return start + (rest.lstrip(" ") if start.endswith((" ", "\u3000")) or not start else rest)


def _needed(before: str, after: str) -> bool:
    """Whether a sentence lacks something when nothing stands between `before` and `after`."""
    stripped, rest = before.strip(), after.strip()
    if not stripped:
        return _PARTICLE.match(rest) is not None
    if not rest or _STOP.fullmatch(rest):
        if rest:
            return not _COMPLETE.search(before)
        return _WANTS_MORE.search(stripped) is not None
    return True
