"""Pages that Haigo writes: one style, one table of sentences, and what lets text of unknown origin stand on a page.

A page is one file: no script, font or address outside it (its Content-Security-Policy says so to the browser, and names the
digests of the scripts that may run). Light and dark as the reader's system is, printable, from a phone's width up.

    page = page.environment("en", Path(__file__).parent).get_template("page.html").render(...)

Templates extend `base.html`, take tables and marks from `parts.html`, and say every sentence through `t`: English stands in the
template, Japanese in `japanese.yml`. Values are escaped as `haigo.shown` does; `data` gives a script its numbers.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import haigo
from haigo import shown, yamlfile
from haigo.page import charts
from haigo.progress import clock

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

HERE = Path(__file__).parent
LANGUAGES = ("en", "ja")
_EXAMPLE = 80  # characters of a text that is shown in a table
_POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'unsafe-inline'; connect-src {own}; "
    "script-src {allowed}"
)


@cache
def sentences() -> dict[str, str]:
    """English -> Japanese, of all pages."""
    return dict(yamlfile.read(HERE / "japanese.yml"))


def speaker(language: str, also: Callable[[str], str] = str) -> Callable[..., str]:
    """A sentence of a page, with `{name}` filled in, in the page's language.

    Args:
        also: what else knows sentences in Japanese.
    """

    def say(sentence: str, **values: Any) -> str:
        if language == "ja":
            sentence = sentences().get(sentence) or also(sentence)
        return sentence.format(**values) if values else sentence

    return say


def environment(language: str, *folders: Path, also: Callable[[str], str] = str) -> Environment:
    """Templates of these folders and of this one; `f` in them is Python's format."""
    import jinja2
    from markupsafe import Markup

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, HERE]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) else shown.text(value),
    )
    made.filters |= {
        "f": formatted,
        "named": named,
        "millions": lambda count: f"{count / 1e6:.2f} M",
        "start": lambda text: str(text)[:_EXAMPLE],
        "clock": clock,
        "said": speaker(language, also),
    }
    source = _sources([*folders, HERE])
    made.globals |= {
        "t": speaker(language, also),
        "language": language,
        "version": haigo.__version__,
        "source": source,
        "policy": lambda scripts, own="'none'": _policy(map(source, scripts), own),
        "data": _data,
        "unit": unit,
        "panel": charts.panel,
    }
    return made


def formatted(value: Any, form: str) -> str:
    """As Python's format; nothing of None."""
    return "" if value is None else format(value, form)


def named(figures: Mapping[str, Any], form: str = "", say: Callable[[str], str] = str) -> str:
    """`acc 0.51, em 0.20`: figures with their names, without those that are none and standard errors."""
    kept = {name: value for name, value in figures.items() if value is not None and not name.endswith("_stderr")}
    return ", ".join(f"{say(name)} {value:{form}}" for name, value in kept.items())


def unit(metric: str) -> str:
    """What a metric is counted in, as far as its name says."""
    kinds = {"bpb": "bits per byte", "loss": "loss", "nll": "nats", "ppl": "perplexity"}
    return next((said for ending, said in kinds.items() if metric.lower().endswith(ending)), "score")


def _sources(folders: Iterable[Path]) -> Callable[[str], Markup]:
    from markupsafe import Markup

    def source(name: str) -> Markup:
        path = next(folder / name for folder in folders if (folder / name).is_file())
        return Markup(path.read_text(encoding="utf-8"))

    return source


def _policy(scripts: Iterable[str], own: str) -> str:
    """The page's Content-Security-Policy: only these scripts run, and nothing is fetched but from `own`."""
    digests = [hashlib.sha256(each.encode()).digest() for each in scripts]
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests) or "'none'"
    return _POLICY.format(own=own, allowed=allowed)


def _data(name: str, value: Any) -> Markup:
    """Numbers and names for the page's scripts, under an id: text in it can neither end the element nor become markup."""
    from markupsafe import Markup

    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    text = shown.text(text).replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return Markup('<script type="application/json" id="{}">{}</script>').format(name, Markup(text))
