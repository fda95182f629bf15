"""HojiChar's filters as steps of cleaning: `--hojichar DiscardAdultContentJa` or `NAME:key=value,key=value`.

HojiChar is optional (`pip install 'haigo[data]'`) and is imported when a filter is asked for. A filter that changes the
text and one that drops the document are both reported, as `hojichar_NAME`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from haigo import yamlfile
from haigo.cli import HaigoError, nearest

Filter = Callable[[str, Mapping[str, Any]], str | None]
"""Text and meta -> the text that is left, or None when the document is dropped."""

# these read or write what is not a text, or wait
_NOT_STEPS = frozenset(
    {"JSONLoader", "JSONDumper", "Sleep", "ApplyDiscard", "DiscardAll", "NgWordsFilterJa", "NgWordsFilterEn"}
)


def make(spec: str, seed: int) -> tuple[str, Filter]:
    """A step and its name in the report.

    Args:
        spec: `NAME` or `NAME:key=value,...`; values are read as YAML.
        seed: for filters that draw.

    Raises:
        HaigoError: HojiChar is not installed, has no such filter, or the filter does not take these values.
    """
    name, _, given = spec.partition(":")
    known = _filters()
    if name not in known:
        raise HaigoError(
            f"HojiChar has no document filter '{name}'.{nearest(name, known)}", f"use one of {', '.join(sorted(known))}"
        )
    options: dict[str, Any] = {}
    for part in filter(None, given.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise HaigoError(
                f"--hojichar {spec}: '{part}' has no value.", "write NAME:key=value,key=value", option="hojichar"
            )
        options[key] = yamlfile.loads(value, f"--hojichar {name}:{key}")
    takes = {key for key in inspect.signature(known[name]).parameters if key not in ("args", "kwargs")} | {"p"}
    for key in options:
        if key not in takes:
            raise HaigoError(
                f"HojiChar's {name} takes no '{key}'.{nearest(key, takes)}", f"it takes {', '.join(sorted(takes))}"
            )
    try:
        hojichar_filter = known[name](**options, random_state=seed)
    except Exception as error:  # whatever a filter of another project says to its values
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        problem = f"HojiChar's {name} cannot be made: {reason}."
        raise HaigoError(problem, "mend the values of --hojichar", option="hojichar") from None
    from hojichar import Document

    def step(text: str, meta: Mapping[str, Any]) -> str | None:
        document = Document(text, extras=dict(meta))
        try:
            document = hojichar_filter.apply(document)
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise HaigoError(f"HojiChar's {name} failed on a document: {reason}.", "leave it out, or mend it") from None
        return None if document.is_rejected else str(document.text)

    return f"hojichar_{name}", step


def _filters() -> dict[str, Any]:
    try:
        from hojichar import Filter as Base
        from hojichar.filters import document_filters
    except ImportError as error:
        missing = getattr(error, "name", None) or "hojichar"
        raise HaigoError(
            f"HojiChar cannot be used here: the package {missing.split('.')[0]} is not installed.",
            "pip install -c constraints.txt -e '.[data]'",
        ) from None
    return {
        name: each
        for name, each in vars(document_filters).items()
        if inspect.isclass(each)
        and issubclass(each, Base)
        and each is not Base
        and name not in _NOT_STEPS
        and not name.startswith("Example")
    }
