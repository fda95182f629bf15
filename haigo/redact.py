"""Passwords, keys and tokens in what is shown or written down: `***` stands in their place.

By name (`*_TOKEN`, `*_KEY`, `*_AUTH`, `*PASSWORD*` ...) for variables, options and keys, and by place for addresses
(`https://user:password@host`, `?access_token=...`). What is done is never changed, only what is told of it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

HIDDEN = "***"
_NAME = re.compile(
    r"TOKEN(?!I[SZ])|SECRET|PASSW|PASSPHRASE|CREDENTIAL|KEY|AUTHORI[SZ]ATION|[A-Z]AUTH$"
    r"|WEBHOOK|SSHPASS|(?:^|[^A-Z])(?:AUTH|PASS|PWD|PW|PAT|CREDS?|COOKIES?|BEARER|JWT|DSN)(?:$|[^A-Z])",
    re.IGNORECASE,
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NO_SECRET = frozenset(
    {"PWD", "OLDPWD", "XAUTHORITY", "SSH_AUTH_SOCK"}
    | {f"{each}_KEY" for each in ("TEXT", "JSON", "PROMPT", "RESPONSE", "CONTEXT")}
    | {"KEYS"}
)
_IN_QUERY = re.compile(r"([?&;#])([\w.%-]+)=([^&;#\s\"'<>]+)")
_SIGNED = re.compile(r"^(?:sig|signature|x-amz-signature|x-goog-signature|code)$", re.IGNORECASE)
_URL = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>\\]+")
# up to the last @ before the path; a password may hold a slash that nobody escaped, but a port is no password
_USER = re.compile(r"(://)(?:[^\s/?#]*|[^\s/?#@:]*:(?!\d+(?:[/?#]|$))[^\s@]*)@")
_GIVEN = re.compile(r"(?<![\w?&;#.%-])(-{0,2}[A-Za-z_][\w-]*)(\s?=\s?)(\"[^\"]*\"|'[^']*'|[^\s\"',;]+)")
_SHAPED = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abeprs]-[\w-]{10,}"
    r"|sk-(?:proj-|ant-\w+-)?[A-Za-z0-9]{20,}|AKIA[A-Z0-9]{16}|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]+)|(?<=hooks\.slack\.com/services/)[\w/-]+"
)
"""Keys that are known by their form, wherever they stand."""
_BEARER = re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/-]{8,}=*")
_LINE = re.compile(r"^(\s*(?:# *)?(?:- )?[\"']?([A-Za-z_][\w.-]*)[\"']?\s*:\s+)(\S.*)$", re.MULTILINE)
_PLAIN = re.compile(r"[-+]?\d[\d_.,]*(?:[eE][-+]?\d+)?|true|false|null|none|~|", re.IGNORECASE)


def secret(name: str) -> bool:
    """Whether what goes by this name (of a variable, an option, a key) is nobody's business."""
    words = _CAMEL.sub("_", name.strip().lstrip("-"))
    return words.upper().replace("-", "_") not in _NO_SECRET and _NAME.search(words) is not None


def urls(text: str) -> str:
    """Addresses without user, password and secret values of their query."""
    return _URL.sub(lambda found: _url(found[0]), text) if "://" in text else text


def values(text: str) -> str:
    """What is secret by itself, whatever its name: `urls`, and keys of a known form."""
    return _SHAPED.sub(HIDDEN, urls(text))


def _url(address: str) -> str:
    def value(match: re.Match[str]) -> str:
        hidden = secret(match[2]) or _SIGNED.match(match[2])
        return f"{match[1]}{match[2]}={HIDDEN}" if hidden else match[0]

    return _IN_QUERY.sub(value, _USER.sub(rf"\1{HIDDEN}@", address, count=1))


def value(name: str, held: Any) -> Any:
    """What may be shown of what goes by `name`: strings of a secret name not at all, containers piece by piece."""
    if isinstance(held, Mapping):
        return {key: value(str(key), one) for key, one in held.items()}
    if isinstance(held, list | tuple):
        return [value(name, one) for one in held]
    if not isinstance(held, str):
        return held
    return HIDDEN if held and secret(name) else text(held)


def text(held: str) -> str:
    """A line of a log or a message: addresses, `NAME=value` and `--option=value` of secret names."""

    def given(match: re.Match[str]) -> str:
        if not secret(match[1]):  # `--set token=...` is one inside another
            return f"{match[1]}{match[2]}{_GIVEN.sub(given, match[3])}"
        return match[0] if _PLAIN.fullmatch(match[3]) else f"{match[1]}{match[2]}{HIDDEN}"

    return _BEARER.sub(rf"\1 {HIDDEN}", _GIVEN.sub(given, values(held)))


def config(held: str) -> str:
    """The text of a YAML or JSON file: `text`, and the strings of keys with a secret name."""

    def line(match: re.Match[str]) -> str:
        kept = match[3].rstrip(" ,")
        plain = _PLAIN.fullmatch(kept) or kept[:1] in "{[|>&*" or not secret(match[2])
        return match[0] if plain else f"{match[1]}{HIDDEN}"

    return _LINE.sub(line, text(held))


def words(given: Iterable[str]) -> list[str]:
    """A command's words, among them values that follow a secret option (`--api-key VALUE`)."""
    shown: list[str] = []
    after = False
    for word in given:
        hide = after and not word.startswith("-") and not _PLAIN.fullmatch(word)
        shown.append(HIDDEN if hide else text(word))
        after = word.startswith("-") and "=" not in word and secret(word)
    return shown


def command(given: Iterable[str]) -> str:
    """The words as one line for a shell."""
    return shlex.join(words(given))
