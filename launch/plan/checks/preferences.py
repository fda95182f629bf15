"""The checks of `launch.preflight` on training on preferences: its keys, and whether its datasets belong together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from haigo.cli import HaigoError
from launch.plan import preference
from launch.plan.checks import rules
from launch.plan.checks.check import Check


def checks(config: Mapping[str, Any], base: Path) -> list[Check]:
    """All checks of this page; only those that say no, or beware.

    Args:
        config: what `reader.load` gave.
        base: where relative paths start.
    """
    return [*rules.checks(config, "preferences"), *_sets(config, base), *_precomputed(config, base)]


def _precomputed(config: Mapping[str, Any], base: Path) -> Iterator[Check]:
    """The reference's log-probabilities, which GPT-NeoX's generate.py writes beside the tokens and never writes anew."""
    name, kind = config.get("precompute_model_name"), config.get("train_impl")
    if not name or kind not in ("dpo", "kto") or config.get("text_gen_type") == "precompute":
        return
    sides = ("pos_", "neg_") if kind == "dpo" else ("",)
    fix = "run GPT-NeoX's generate.py with text_gen_type: precompute on this config first"
    for path in (
        each for split in rules.SPLITS for side in sides for each in config.get(f"{side}{split}_data_paths") or []
    ):
        tokens, scores = (base / f"{each}.bin" for each in (path, f"{path}_{name}"))
        if not scores.is_file():
            yield Check("preferences", "fail", f"{scores} is missing: the reference has not scored {path}.", fix)
        elif tokens.is_file() and scores.stat().st_mtime < tokens.stat().st_mtime:
            found = f"{scores} is older than {tokens}, whose tokens it may not be of."
            yield Check("preferences", "fail", found, f"remove it and its .idx, and {fix}")


def script(config: Mapping[str, Any], root: Path, user_script: str) -> list[Check]:
    """Whether GPT-NeoX's own train.py can train so: since May 2025 it calls functions that it has no more.

    Args:
        root: GPT-NeoX's checkout.
        user_script: what deepy.py is to start.
    """
    place = (root / user_script).resolve()
    lack = preference.lacking(config, root) if place == (root / "train.py").resolve() else None
    if lack is None:
        return []
    found = (
        f"train_impl {config['train_impl']}: {root} calls {lack} and has it no more; the first batch is a NameError."
    )
    return [Check("preferences", "fail", found, f"start it with launch.deepy {preference.SCRIPT}")]


def _sets(config: Mapping[str, Any], base: Path) -> Iterator[Check]:
    kind = str(config.get("train_impl"))
    if kind not in preference.KINDS.values():
        return
    paired = ("pos_{}", "pos_{}_label", "neg_{}", "neg_{}_label")
    for split in rules.SPLITS:
        names = [name.format(split) for name in (("{}", "{}_label", "{}_reward") if kind == "kto" else paired)]
        for paths in zip_longest(*(config.get(f"{name}_data_paths") or [] for name in names)):
            if not all(isinstance(path, str) for path in paths):
                continue  # told by the rules
            try:
                preference.check_set([base / path for path in paths], kind, config.get("seq_length"))
            except HaigoError as error:
                yield Check("preferences", "fail", error.problem, error.fix)
