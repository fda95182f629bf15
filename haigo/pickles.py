"""Pickles that came from elsewhere: what to say of one that names what no data need. A pickle is a program: whoever loads
one without a list of what it may name runs what its maker wrote.

Who may load them: `launch.neox.conversion.pickles` (checkpoints of GPT-NeoX), torch's own `weights_only`, and `plain` here.
"""

from __future__ import annotations

import os
import pickle
import re
from typing import Any, NoReturn

from haigo.cli import Refused

_NAMED = re.compile(r"(?:Unsupported global: GLOBAL|Trying to (?:load|call) (?:an )?unsupported \w+|names) ([\w.]+)")


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def plain(path: str | os.PathLike[str]) -> Any:
    """What a pickle of numbers, texts and containers holds; nothing else is ever created.

    Raises:
        pickle.UnpicklingError: it names anything else.
    """
    with open(path, "rb") as handle:
        return _Plain(handle).load()


def refusal(path: str | os.PathLike[str], error: BaseException) -> Refused | None:
    """The refusal where loading `path` failed because of what it names; None where it failed for another reason."""
    named = _NAMED.search(str(error))
    if named is None and "weights_only" not in str(error):
        return None
    if named is None:  # torch's own words end in advice to load it all the same
        return Refused(
            f"{os.fspath(path)} holds a pickle that is more than a model's data: loading it could run code of whoever made it.",
            "do not load this file; get the checkpoint as safetensors, or from a place that you trust",
        )
    return Refused(
        f"{os.fspath(path)} names {named[1].rstrip('.')}, which is no part of a model's data: loading it could run code of"
        " whoever made it.",
        "do not load this file; get the checkpoint from a place that you trust",
    )
