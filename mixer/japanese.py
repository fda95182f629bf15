"""A recommendation's words in Japanese: headings, the report's sentences, and the notes, which mixture.yml holds in English."""

from __future__ import annotations

from pathlib import Path

from haigo import phrases

TABLE = Path(__file__).with_name("japanese.yml")
say = phrases.sayer(TABLE)
