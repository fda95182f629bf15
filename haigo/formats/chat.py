"""A finetuning template: how the turns of a chat are written as plain text (`preprocess.pairs --template`)."""

from __future__ import annotations

import dataclasses
import os

from haigo import yamlfile
from haigo.cli import HaigoError, nearest


@dataclasses.dataclass(frozen=True, slots=True)
class Template:
    """How roles are written. Every value holds `{content}` once; what stands before it in `assistant` is given, not learned.

    Attributes:
        system, user, assistant: one turn each.
        pair: the given part of a pair.
        after: between an answer, which ends with the end piece, and the next turn.
    """

    system: str = "{content}\n\n"
    user: str = "ユーザー: {content}\n"
    assistant: str = "アシスタント: {content}"
    pair: str = "{content}"
    after: str = "\n"

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Template:
        """A YAML file with any of the attributes.

        Raises:
            HaigoError: an unknown key, or a turn without `{content}`; names the file.
        """
        content = yamlfile.read(path)
        known = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(content, dict):
            raise HaigoError(f"{path} is not a template.", f"write any of {', '.join(sorted(known))}, one a line")
        for key, value in content.items():
            if key not in known:
                raise HaigoError(
                    f"{path}: there is no '{key}'.{nearest(str(key), known)}", f"use {', '.join(sorted(known))}"
                )
            if not isinstance(value, str) or (key != "after" and value.count("{content}") != 1):
                raise HaigoError(f"{path}: '{key}' does not hold {{content}} once.", "write where the text is to stand")
        return cls(**content)

    @property
    def of_pairs(self) -> bool:
        """Whether it speaks of pairs alone."""
        usual = type(self)()
        return self.pair != usual.pair and (self.user, self.assistant) == (usual.user, usual.assistant)

    def turn(self, role: str, content: str) -> tuple[str, str]:
        """What of a turn is given, and what is learned: nothing but in an answer, which the end piece follows."""
        before, behind = getattr(self, role).split("{content}")
        return (before, content + behind) if role == "assistant" else (before + content + behind, "")

    def asked(self, question: str) -> list[str]:
        """The texts that a model is given to answer a question; each is encoded by itself, as for training.

        A template that speaks of pairs alone is of a model that was finetuned on pairs: nothing stands before its answer.
        """
        if self.of_pairs:
            return [self.pair.replace("{content}", question)]
        return [text for text in (self.turn("user", question)[0], self.turn("assistant", "")[0]) if text]
