"""One rule for names that a user gives to corpora, pairs files, groups and runs: told at the door, before anything is trained.

Such a name becomes a folder, a column of a CSV, a word of `--objective NAME=1,OTHER=2` and a label in a figure, and has to
live through all of them. Columns of tables that others made (RegMix's, Olmix's: `train_the_pile_arxiv`, `dclm:science`) need
only be readable: `column`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from haigo.cli import HaigoError

_COLUMNS = ("bytes", "corpus", "epochs_matched", "group", "index", "name", "run", "run_id", "seconds", "seed", "size")
RESERVED = frozenset((*_COLUMNS, "schedule_tokens", "step", "tokens", "chosen"))
"""Columns of Haigo's own tables, and the name of the mixture that is found."""
LONGEST = 128
"""Bytes of UTF-8: a folder is named so, and files within it carry more."""
_FIX = "use letters, digits, `_`, `-` and `.`, beginning with a letter or digit"


def problem(name: str, reserved: Iterable[str] = RESERVED) -> str:
    """Why a name cannot be one, as the end of a sentence that begins with `it`; empty when it can."""
    wrong = (letter for letter in name if not (letter.isalnum() or _mark(letter) or letter in "_-."))
    return _problem(name, reserved) or next((f"has {_shown(letter)}" for letter in wrong), "")


def check(name: str, what: str, source: str, reserved: Iterable[str] = RESERVED) -> str:
    """The name, when it can be one.

    Args:
        name: what the user gave.
        what: what it names: `corpus`, `run` ...
        source: the file or option that it stands in, for the message.
        reserved: names that mean something already.

    Raises:
        HaigoError: it cannot.
    """
    return _told(name, problem(name, reserved), what, source)


def check_all(names: Iterable[str], what: str, source: str, reserved: Iterable[str] = RESERVED) -> None:
    """See that all can be names, and that no two are one where upper and lower case are the same.

    Raises:
        HaigoError: as `check`, or for two such names.
    """
    known: dict[str, str] = {}
    for name in names:
        check(name, what, source, reserved)
        folded = unicodedata.normalize("NFKC", name).casefold()
        if known.setdefault(folded, name) != name:
            raise HaigoError(
                f"{source}: the names {known[folded]!r} and {name!r} are the same but for upper and lower case.",
                "rename one of them: their folders may be one",
            )


def column(name: str, what: str, source: str) -> str:
    """The name of a column of somebody's table, when it can be used: in options, in a mixture.yml, in a figure.

    Raises:
        HaigoError: it cannot.
    """
    wrong = _problem(name, ()) or next((f"has {_shown(letter)}" for letter in name if letter in ",=$"), "")
    return _told(name, wrong, what, source)


def _told(name: str, wrong: str, what: str, source: str) -> str:
    if len(name.encode("utf-8", "surrogatepass")) > LONGEST:
        raise HaigoError(f"{source}: the {what}'s name has {len(name)} letters.", "shorten it")
    if wrong:
        raise HaigoError(f"{source}: {name!r} cannot be a {what}'s name: it {wrong}.", _FIX)
    return name


def _problem(name: str, reserved: Iterable[str]) -> str:
    if not name.strip():
        return "is empty"
    if len(name.encode("utf-8", "surrogatepass")) > LONGEST:
        return f"is longer than {LONGEST} bytes"
    if name != name.strip():
        return "begins or ends with a blank"
    if name[0] in "-.":
        return f"begins with `{name[0]}`"
    if name in reserved:
        return "means something of its own here"
    hidden = [letter for letter in name if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")]
    return f"has {_shown(hidden[0])}" if hidden else ""


def _mark(letter: str) -> bool:
    return unicodedata.category(letter) in ("Mn", "Mc")  # dakuten of decomposed kana, vowels of other scripts


def _shown(letter: str) -> str:
    if letter == " ":
        return "a blank"
    return f"`{letter}`" if letter.isprintable() else f"the character U+{ord(letter):04X}"
