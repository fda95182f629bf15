"""The run report's page from `page.html`, on the style and sentences of all pages (`haigo.page`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from eval_harness.page import HERE as SCORES
from haigo import page
from launch.pipeline.summary import CHOSEN
from mixer import japanese
from mixer.page import HERE as MIXTURE

if TYPE_CHECKING:
    from jinja2 import Template


def label(model: str) -> str:
    """A trained model as people call it."""
    return "chosen mixture" if model == CHOSEN else model.replace("_", " ")


def template(name: str = "page.html", language: str = "en") -> Template:
    """A template of this folder; `f` in it is Python's format."""
    say = page.speaker(language, japanese.say)
    made = page.environment(language, Path(__file__).parent, MIXTURE, SCORES, also=japanese.say)
    made.filters |= {
        "model": lambda model: say(label(model)),
        "weight_in": lambda name, weights: weights.get(name, 0.0),
        "or_not_stated": lambda name: name or say("not stated"),
    }
    made.globals["chosen"] = CHOSEN
    return made.get_template(name)
