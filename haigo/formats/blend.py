"""Blends of Megatron-LM: `--data-path WEIGHT PREFIX ...` in a shell script, or the variable that such a script fills.

Three forms are read, as teams write them:

    export TRAIN_DATA_PATH=( 1281902154 ${ROOT}/ja_wiki_0000_text_document ... )
    TRAIN_DATA_PATH="${TRAIN_DATA_PATH} 1281902154 ${ROOT}/ja/wiki_0000.jsonl_text_document"
    $(calc 8 5139896520 ${ROOT}/en_books_0000_text_document)      # calc: a function of the file, repeats x tokens

Nothing of the script is run: assignments are followed from top to bottom as if no condition stood around them, and of a
function only the arithmetic is taken. Weights are counts of tokens there: what a form with repeats says of tokens is the
supply; elsewhere the weight is taken for it. Datasets that differ in the number at their end are shards of one corpus.

`rewritten` puts other weights into the same text: what keeps its weight keeps its bytes.
"""

from __future__ import annotations

import ast
import math
import operator
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from haigo import files, naming
from haigo.cli import HaigoError
from haigo.formats import shell_words
from haigo.formats.shell_words import Word

ENDINGS = (".sh", ".bash")
"""Files that are read as blends where a mixture or a supply is asked for."""
_VARIABLES = ("TRAIN_DATA_PATH", "DATA_PATH", "TRAIN_DATA", "DATA_BLEND")
_FLAGS = ("--data-path", "--train-data-path")
_FUNCTION = re.compile(r"^[ \t]*(?:function[ \t]+)?(\w+)[ \t]*\(\)[ \t\n]*\{(.*?)^[ \t]*\}", re.M | re.S)
_PARAMETER = re.compile(r"^\s*(?:local\s+)?(\w+)=\"?\$\{?([1-9])\}?\"?", re.M)
_FORMULA = re.compile(r"^\s*\w+ *= *(.*\$\{\w+\}.*)$", re.M)
_HEREDOC = re.compile(r"<<-?[ \t]*(['\"]?)(\w+)\1[^\n]*\n.*?^[ \t]*\2[ \t]*$", re.M | re.S)
_ASSIGNED = re.compile(r"([A-Za-z_]\w*)(\+?)=")
_USED = re.compile(r"\$(?:\{([A-Za-z_]\w*)(?:\[[@*]\])?\}|([A-Za-z_]\w*))")
_ITEM = re.compile(r"\$\{(\w+)\[\$?[\w({$]")
_ENDS = re.compile(r"(\.jsonl)?(_text)?(_document|_sentence)?$")
_SHARD = re.compile(r"([-_.]\d{4,5}){1,2}$")
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
_SUMS: dict[type, Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True)
class Entry:
    """One dataset of a blend."""

    prefix: str
    """Its path without the ending, variables of the file put in; those that it does not set stand as they are."""
    scale: float
    """The number that stands for it: the weight itself, or repeats of its tokens."""
    per_scale: float
    """Weight of a scale of 1."""
    tokens: float
    """As the file says them; the weight where it says only that."""
    number: tuple[int, int]
    """Where the scale stands in the text."""
    words: tuple[int, int]
    """Where the whole entry stands."""
    counted: bool
    """Whether tokens and repeats stand there, and not the weight alone."""

    @property
    def weight(self) -> float:
        return self.scale * self.per_scale


@dataclass(frozen=True)
class Blend:
    """A blend as its file gives it."""

    source: str
    text: str
    corpora: dict[str, list[Entry]]
    """corpus -> its datasets, in the order of the file."""

    @property
    def total(self) -> float:
        """Sum of all weights."""
        return math.fsum(entry.weight for entries in self.corpora.values() for entry in entries)

    def weights(self) -> dict[str, float]:
        """corpus -> share of the samples, summing to 1."""
        total = self.total
        return {name: math.fsum(each.weight for each in entries) / total for name, entries in self.corpora.items()}

    def tokens(self) -> dict[str, float]:
        """corpus -> tokens that there are of it."""
        return {name: math.fsum(each.tokens for each in entries) for name, entries in self.corpora.items()}

    @property
    def counted(self) -> bool:
        """Whether the tokens of every dataset stand in the file beside its repeats; otherwise weights are taken for them."""
        return all(entry.counted for entries in self.corpora.values() for entry in entries)

    @property
    def shares(self) -> bool:
        """Whether weights that are no whole numbers stand there alone: of tokens they say nothing."""
        return any(
            not entry.counted and not entry.weight.is_integer()
            for entries in self.corpora.values()
            for entry in entries
        )


def is_blend(path: Any) -> bool:
    """Whether a file is read as a blend, by its ending."""
    return isinstance(path, str | os.PathLike) and str(path).endswith(ENDINGS)


def read(path: str | os.PathLike[str]) -> Blend:
    """Read the blend of a shell script.

    Raises:
        HaigoError: no such file, no blend in it, or one whose weights cannot be told without running it.
    """
    files.read_text(path)  # says what is wrong with it
    return parse(Path(path).read_bytes().decode("utf-8"), str(path))  # with its own line ends, to be written again


def parse(text: str, source: str = "the blend") -> Blend:
    """As `read`, from text."""
    try:
        entries = _Reader(text, source).entries()
    except RecursionError:
        raise HaigoError(f"{source} nests too deep.", "give the plain list of weights and prefixes") from None
    if not entries:
        raise HaigoError(
            f"{source} holds no blend: no WEIGHT PREFIX after --data-path or in {', '.join(_VARIABLES[:2])}.",
            "give the script that lists the datasets",
        )
    total = math.fsum(entry.weight for entry in entries)
    if not 0 < total < math.inf:
        raise HaigoError(f"{source}: the weights sum to {total:g}.", "give weights above 0")
    return Blend(source, text, _by_corpus(entries, source))


def rewritten(blend: Blend, weights: Mapping[str, float]) -> str:
    """The file's text with other weights, whose sum stays what it was; shards of a corpus keep their shares of it.

    A dataset of a corpus that gets the weight 0 goes, because Megatron-LM takes weights above 0 only: its line becomes a
    comment where nothing else stands on it.

    Args:
        weights: of exactly the blend's corpora, summing to 1.
    """
    before, edits = blend.weights(), []
    for name, entries in blend.corpora.items():
        if math.isclose(weights[name], before[name], rel_tol=1e-9):
            continue
        amounts = [entry.weight if before[name] > 0 else entry.tokens for entry in entries]
        for entry, amount in zip(entries, amounts, strict=True):
            if weights[name] == 0 and not entry.counted:
                edits.append(_left_out(blend.text, entry))
                continue
            value = weights[name] * blend.total * amount / math.fsum(amounts) / entry.per_scale
            whole = blend.text[slice(*entry.number)].isdigit() and value >= 1e6  # a count of tokens stays one
            edits.append((*entry.number, str(round(value)) if whole else f"{value:.9g}"))
    text = blend.text
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _left_out(text: str, entry: Entry) -> tuple[int, int, str]:
    start, end = entry.words
    begin = text.rfind("\n", 0, start) + 1
    stop = text.find("\n", end)
    stop = len(text) if stop < 0 else stop
    rest = (text[begin:start] + text[end:stop]).strip()
    alone = not rest or re.fullmatch(r"[A-Za-z_]\w*=\"?\$\{?\w+\}?\s*\"?", rest)
    return (begin, begin, "# ") if alone else (start, end, "")


def _by_corpus(entries: Sequence[Entry], source: str) -> dict[str, list[Entry]]:
    named = [(_corpus(entry.prefix), PurePosixPath(entry.prefix).parent.name) for entry in entries]
    places: dict[str, set[str]] = {}
    for name, place in named:
        places.setdefault(name, set()).add(place)
    made: dict[str, list[Entry]] = {}
    for entry, (name, place) in zip(entries, named, strict=True):
        # ja/wiki_0000 and en/wiki_0000 are two corpora; the folder's name goes before
        whole = f"{place}_{name}" if len(places[name]) > 1 and naming.problem(f"{place}_{name}") == "" else name
        made.setdefault(whole, []).append(entry)
    for name in made:
        naming.check(name, "corpus", source)
    return made


def _corpus(prefix: str) -> str:
    name = _ENDS.sub("", PurePosixPath(prefix).name)
    return _SHARD.sub("", name) or name


class _Reader:
    """Follows the assignments of one script."""

    def __init__(self, text: str, source: str) -> None:
        self.text, self.source = text, source
        self.variables: dict[str, str] = {}
        self.functions: dict[str, str] = {match[1]: match[2] for match in _FUNCTION.finditer(text)}
        blank = text
        for pattern in (_FUNCTION, _HEREDOC):
            blank = pattern.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), blank)
        self.words = [*shell_words.words(blank)]

    def entries(self) -> list[Entry]:
        lists, argued = self._lists()
        named = [words for name, words in lists.items() if name in _VARIABLES]
        for words in [*argued, *named]:
            listed = self._listed(words, lists)
            if not all(_names_only(word.text) for word in listed):  # else its list stands in another file
                return self._taken(listed)
        return []

    def _listed(self, words: Sequence[Word], lists: Mapping[str, list[Word]], depth: int = 4) -> list[Word]:
        """The words with those of the lists that they name, `${LIST[@]}` as a whole, or item by item in a loop."""
        made: list[Word] = []
        for word in words:
            item = _ITEM.search(word.text)
            name = item[1] if item else next(iter(_names(word.text)), "") if _names_only(word.text) else ""
            if not (depth and len(lists.get(name, [])) > 1):
                made.append(word)
            elif item is None:
                made += self._listed(lists[name], lists, depth - 1)
            else:
                return self._listed(lists[name], lists, depth - 1)
        return made

    def _lists(self) -> tuple[dict[str, list[Word]], list[list[Word]]]:
        """Words of every list variable, and what stands after --data-path."""
        lists: dict[str, list[Word]] = {}
        argued: list[list[Word]] = []
        position = 0
        while position < len(self.words):
            word = self.words[position]
            position += 1
            head = None if word.operator else _ASSIGNED.match(word.text)
            if word.text in _FLAGS and not word.operator:
                stop = next((i for i, each in enumerate(self.words[position:]) if each.operator), len(self.words))
                argued.append(_before_flag(self.words[position : position + stop]))
            if head is None:
                continue
            name, appended = head[1], bool(head[2])
            following = self.words[position] if position < len(self.words) else None
            if head.end() == len(word.text) and following is not None and following.text == "(":
                position += 1
                stop = next((i for i, each in enumerate(self.words[position:]) if each == (")", each.start, True)), 0)
                given, position = self.words[position : position + stop], position + stop
                given = [each for each in given if not each.operator]
                inside = [index + 1 for index, each in enumerate(given) if each.text in _FLAGS]
                mine = _before_flag(given[inside[0] :] if inside else given)
                if inside and name not in _VARIABLES:  # a list of all arguments
                    argued.append(mine)
            else:
                mine = [*shell_words.split(Word(word.text[head.end() :], word.start + head.end()))]
                if len(mine) <= 1:
                    self.variables[name] = self._put_in(word.text[head.end() :])
            goes_on = appended or any(name in _names(each.text) for each in mine)
            kept = [each for each in mine if name not in _names(each.text)]
            lists[name] = [*(lists.get(name, []) if goes_on else []), *kept]
        return lists, argued

    def _taken(self, words: Sequence[Word]) -> list[Entry]:
        made, waiting = [], None
        for word in words:
            if waiting is None and word.text.startswith("$(") and not word.text.startswith("$(("):
                made.append(self._called(word))
            elif waiting is None:
                waiting = word
            else:
                weight, whole = self._number(waiting.text, waiting.start), (waiting.start, word.end)
                number = (waiting.start, waiting.end)
                made.append(Entry(self._put_in(word.text), weight, 1.0, weight, number, whole, False))
                waiting = None
        if waiting is not None:
            raise HaigoError(f"{self._where(waiting.start)} is a weight without a prefix, or a prefix without a weight: "
                             f"{waiting.text[:60]!r}.", "write WEIGHT PREFIX for every dataset")  # fmt: skip
        return [entry for entry in made if entry.weight > 0 or entry.counted]

    def _called(self, word: Word) -> Entry:
        """An entry that a function of the file makes: `$(calc REPEATS TOKENS PREFIX)`."""
        call, *rest = [one for one in shell_words.words(word.text[2:-1]) if not one.operator]
        body = self.functions.get(call.text)
        parameters = [match[1] for match in _PARAMETER.finditer(body or "")]
        formula = _FORMULA.search(body or "")
        if body is None or formula is None or len(parameters) != len(rest) or len(rest) < 3:
            raise HaigoError(
                f"{self._where(word.start)}: `{word.text[:60]}` is no function REPEATS TOKENS PREFIX of this file.",
                "write out its weights, or give the list that the script comes to",
            )
        known = dict(zip(parameters, (self._put_in(one.text) for one in rest), strict=True))
        scale, tokens = (self._number(known[name], word.start) for name in parameters[:2])

        def weight(repeats: float) -> float:
            named = {**known, parameters[0]: repr(repeats)}
            return self._number(
                _USED.sub(lambda match: named.get(match[1] or match[2], match[0]), formula[1]), word.start
            )

        one, two = weight(1.0), weight(2.0)
        if not math.isclose(two, 2 * one, rel_tol=1e-9) or one <= 0:
            raise HaigoError(f"{self._where(word.start)}: what {call.text} gives is not proportional to its first number.",
                             "write out its weights")  # fmt: skip
        start = word.start + 2 + rest[0].start
        span = (start, start + len(rest[0].text))
        return Entry(known[parameters[-1]], scale, one, tokens, span, (word.start, word.end), True)

    def _number(self, text: str, start: int) -> float:
        try:
            value = _sum(ast.parse(self._put_in(text).strip(), mode="eval").body)
        except (SyntaxError, ValueError, ZeroDivisionError, OverflowError, MemoryError):
            value = math.nan
        if not 0 <= value < math.inf:
            raise HaigoError(
                f"{self._where(start)}: {text.strip()[:60]!r} is no weight.",
                "give WEIGHT PREFIX pairs, weights of at least 0",
            )
        return value

    def _put_in(self, word: str) -> str:
        bare = re.sub(r"(?<!\\)[\"']", "", word)
        return _USED.sub(lambda match: self.variables.get(match[1] or match[2], match[0]), bare)

    def _where(self, start: int) -> str:
        line = self.text.count("\n", 0, start) + 1
        return f"{self.source} line {line}" if start else self.source


def _sum(node: ast.expr) -> float:
    """Numbers and + - * / alone."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return node.value
    if isinstance(node, ast.BinOp) and type(node.op) in _SUMS:
        return float(_SUMS[type(node.op)](_sum(node.left), _sum(node.right)))
    raise ValueError


def _before_flag(words: Sequence[Word]) -> list[Word]:
    stop = next((index for index, each in enumerate(words) if each.text.startswith("--")), len(words))
    return list(words[:stop])


def _names(word: str) -> list[str]:
    return [match[1] or match[2] for match in _USED.finditer(word)]


def _names_only(word: str) -> bool:
    return not _USED.sub("", word).strip("\"' ")
