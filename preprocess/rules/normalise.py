"""Characters that nobody sees, and half-width kana: what `--normalise` takes out of texts or makes ordinary, and counts.

Invisible characters are kept where they mean something: a joiner inside an emoji, joiners and zero-width blanks in the
scripts that are written with them (Persian, Hindi, Thai, Khmer ...), direction marks in texts with right-to-left letters,
variation selectors everywhere. U+2028, U+2029 and U+FEFF are the business of every profile (`preprocess.rules`).
"""

from __future__ import annotations

import re
import unicodedata

from haigo.cli import HaigoError, nearest

from . import Step, domains

_JOINING = "\u0590-\u109f\u1700-\u18af\u1a20-\u1aaf\ua800-\ua8ff\uaa00-\uabff\U00010a00-\U00011fff"
_EMOJI = (
    "\u200d\ufe0e\ufe0f\u20e3\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u24c2\u25a0-\u27bf\u2934\u2935"
    "\u2b00-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff\U000e0020-\U000e007f"
)
_JOINER = re.compile(
    f"(?<![{_JOINING}])\u200c(?![{_JOINING}])|(?<![{_JOINING}{_EMOJI}])\u200d|(?<=[{_EMOJI}])\u200d(?![{_JOINING}{_EMOJI}])"
)
_SPACE = re.compile(
    f"(?<![{_JOINING}])\u200b(?![{_JOINING}])|[\u180e\u2060-\u2064\u206a-\u206f\u034f\u115f\u1160\u3164\uffa0\ufff9-\ufffb]"
)
_WITHOUT_WIDTH = re.compile(
    "[\u034f\u115f\u1160\u180e\u200b-\u200d\u2060-\u2064\u206a-\u206f\u3164\uffa0\ufff9-\ufffb\U000e0001\U000e0020-\U000e007f]"
)  # all that the three patterns beside it take out, for a quick look at the many texts that have none
_TAGS = re.compile("(?<![\U0001f3f4\U000e0020-\U000e007f])[\U000e0001\U000e0020-\U000e007f]+")
_DIRECTION = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_RIGHT_TO_LEFT = re.compile(
    "[\u0590-\u061b\u061d-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
_HALF_WIDTH = re.compile("[｡-ﾟ]+")
_MARK_ALONE = str.maketrans({"\u3099": "゛", "\u309a": "゜"})


def zero_width(text: str) -> str:
    """Take out characters without width: blanks, joiners, fillers, tags."""
    if text.isascii() or not _WITHOUT_WIDTH.search(text):
        return text
    return _TAGS.sub("", _JOINER.sub("", _SPACE.sub("", text)))


def soft_hyphens(text: str) -> str:
    """Take out hyphens that show only at a line's end."""
    return text.replace("\u00ad", "")


def direction_marks(text: str) -> str:
    """Take out marks of writing direction from texts without letters that run from right to left."""
    if text.isascii() or not _DIRECTION.search(text) or _RIGHT_TO_LEFT.search(text):
        return text
    return _DIRECTION.sub("", text)


def half_width_kana(text: str) -> str:
    """Make ordinary kana and marks of half-width ones; ｶ and its ﾞ become one."""
    return _HALF_WIDTH.sub(lambda run: unicodedata.normalize("NFKC", run[0]).translate(_MARK_ALONE), text)


RULES: dict[str, tuple[Step, ...]] = {
    "invisible": (
        ("zero_width", zero_width),
        ("soft_hyphens", soft_hyphens),
        ("direction_marks", direction_marks),
    ),
    "kana": (("half_width_kana", half_width_kana),),
}


def chosen(asked: str | None, profile: str) -> tuple[str, ...]:
    """Names of RULES.

    Args:
        asked: such as "invisible,kana", "none", or None: the profile's own. Profiles of markup have none.
        profile: as of preprocess.clean.

    Raises:
        HaigoError: a name that is not known.
    """
    if asked is None:
        domain = domains.table().get(profile)
        return () if domain is None else domain.normalise
    names = [name for name in asked.replace(" ", "").split(",") if name and name != "none"]
    for name in names:
        if name not in RULES:
            raise HaigoError(
                f"there is no normalisation '{name}'.{nearest(name, RULES)}", f"use {', '.join(RULES)}, or none"
            )
    return tuple(name for name in RULES if name in names)


def steps(names: tuple[str, ...]) -> tuple[Step, ...]:
    """The rules of these names, in order."""
    return tuple(step for name in names for step in RULES[name])
