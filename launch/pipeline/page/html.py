"""The run report's page from `page.html`, on the style and sentences of all pages (`haigo.page`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from eval_harness.page import HERE as SCORES
from eval_harness.page import TABLE as OF_SCORES
from haigo import page, phrases
from launch.pipeline.summary import CHOSEN
from mixer import japanese
from mixer.page import HERE as MIXTURE

if TYPE_CHECKING:
    from jinja2 import Template


HERE = Path(__file__).parent
known = phrases.sayer(HERE / "japanese.yml", japanese.TABLE, OF_SCORES)
"""Sentences that a run's files hold in English, in Japanese."""


def label(model: str) -> str:
    """A trained model as people call it."""
    return "chosen mixture" if model == CHOSEN else model.replace("_", " ")


def template(name: str = "page.html", language: str = "en") -> Template:
    """A template of this folder; `f` in it is Python's format."""
    say = page.speaker(language, known)
    made = page.environment(language, HERE, MIXTURE, SCORES, also=known)
    made.filters |= {
        "model": lambda model: say(label(model)),
        "weight_in": lambda name, weights: weights.get(name, 0.0),
        "or_not_stated": lambda name: name or say("not stated"),
    }
    made.globals["chosen"] = CHOSEN
    return made.get_template(name)
