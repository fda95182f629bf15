"""The report's page from `page.html`, a Jinja template. No script, no font, no address outside the page.

Every value is escaped for a web page as `haigo.shown` does; the figures alone are markup.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haigo import shown
from haigo.progress import clock
from launch.pipeline.summary import CHOSEN

if TYPE_CHECKING:
    from jinja2 import Template

_EXAMPLE = 80  # characters of a text that is shown


def label(model: str) -> str:
    """A trained model as people call it."""
    return "chosen mixture" if model == CHOSEN else model.replace("_", " ")


def _formatted(value: Any, form: str) -> str:
    return "" if value is None else format(value, form)


def _named(figures: Mapping[str, Any], form: str = "") -> str:
    """`acc 0.51, em 0.20`: figures with their names, without those that are none and standard errors."""
    kept = {name: value for name, value in figures.items() if value is not None and not name.endswith("_stderr")}
    return ", ".join(f"{name} {value:{form}}" for name, value in kept.items())


def template(name: str = "page.html") -> Template:
    """A template of this folder; `f` in it is Python's format."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) else shown.text(value),
    )
    environment.filters |= {
        "f": _formatted,
        "named": _named,
        "millions": lambda count: f"{count / 1e6:.2f} M",
        "start": lambda text: str(text)[:_EXAMPLE],
        "clock": clock,
        "model": label,
        "weight_in": lambda name, weights: weights.get(name, 0.0),
        "or_not_stated": lambda name: name or "not stated",
    }
    environment.globals["chosen"] = CHOSEN
    return environment.get_template(name)
