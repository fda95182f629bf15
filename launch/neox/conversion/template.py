"""The chat template of a converted model: the words that stood around the examples which it was taught."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haigo.cli import HaigoError, Refused
from haigo.formats.chat import Template
from haigo.formats.dataset import manifest

if TYPE_CHECKING:
    from haigo.formats.tokenizer import Tokenizer


@dataclass(frozen=True)
class Words:
    """A template, and whether the command names it (else the run's datasets do)."""

    template: Template
    named: bool

    def write(self, folder: Path, vocabulary: Tokenizer) -> None:
        """Give the tokenizer's files the chat template; one that nobody named and that cannot be proved is left out, and said.

        Raises:
            Refused: see `chats.write`.
        """
        from haigo.formats.tokenizer import chats

        try:
            chats.write(folder, self.template, vocabulary)
        except Refused as error:
            if self.named:
                raise
            print(f"haigo: warning: no chat template is written: {error.problem}", file=sys.stderr)


_TAUGHT = ("train_data_paths", "pos_train_data_paths")


def of(config: Mapping[str, Any], given: str | None) -> Words | None:
    """The template that is named, else the one that the manifests of the run's datasets note (`preprocess.pairs`); None where
    there is none, or where they note several.

    Args:
        config: GPT-NeoX's.
        given: a YAML file.

    Raises:
        HaigoError: the file is no template.
    """
    if given is not None:
        return Words(Template.read(given), True)
    noted = [_noted(path) for key in _TAUGHT for path in config.get(key) or []]
    first = noted[0] if noted else None
    return Words(first, False) if first is not None and all(one == first for one in noted) else None


def _noted(path: Any) -> Template | None:
    try:
        found = (manifest.find(Path(str(path))) or {}).get("template")
    except HaigoError:  # a model is not refused for the data that it was trained on long ago
        return None
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        return None
    known = Template.__dataclass_fields__
    return Template(**found) if {*found} <= {*known} else None
