"""The stages between cleaning and the tokenizer, both off unless the run file asks for them: what each depends on.

A run without them has the stages and identities that it had before there were any. Identities of the text keep the names
of the stages that cleaned it (`corpora/NAME`): where a stage takes nothing away, nothing after it is redone.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launch.pipeline import inputs, text_actions, words
from launch.pipeline.stage import Stage

if TYPE_CHECKING:
    from launch.pipeline.stages import Chain


def check(chain: Chain) -> None:
    """Read the evaluation files once, before anything is run.

    Raises:
        HaigoError: one is missing or is no evaluation file.
    """
    from preprocess import evaluation_items

    options = chain.file.decontaminate
    for path in _against(chain) if options.against else ():
        words.within("decontaminate", partial(evaluation_items.read, path, options.keys))


def dedup(chain: Chain, cleaned: dict[str, Any]) -> dict[str, Any]:
    """The corpora without repeated documents, if that is asked for; identities under the names of `cleaned`."""
    options = chain.file.dedup
    if options.method == "none":
        return cleaned
    seed = chain.file.data_seed
    folders = [str(chain.root / name) for name in cleaned]
    action = partial(text_actions.dedup, folders, str(chain.root / "dedup"), options, seed, chain.workers)
    stated = [inputs.stated(options), list(cleaned), cleaned, seed]  # the order says whose copy stays
    made = chain.stages.do(Stage(name="dedup", inputs=stated, action=action, exact=True))
    return {name: made and made[Path(name).name] for name in cleaned}


def decontaminate(chain: Chain, cleaned: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """The corpora without evaluation texts, if any are named, and the digest of the ids of the items that were found."""
    options = chain.file.decontaminate
    if not options.against:
        return cleaned, None
    from preprocess import evaluation_items

    paths = _against(chain)
    source = chain.root / ("dedup" if chain.file.dedup.method != "none" else "corpora")
    folders = [str(source / name) for name in chain.file.corpora]
    target = str(chain.root / "decontaminate")
    action = partial(text_actions.decontaminate, folders, list(map(str, paths)), target, options, chain.workers)
    given = [evaluation_items.labels(paths), chain.digests.of(paths)]
    stated = [inputs.stated(options) | {"against": None}, given, list(cleaned), cleaned]
    made = chain.stages.do(Stage(name="decontaminate", inputs=stated, action=action, exact=True))
    return {name: made and made["corpora"][Path(name).name] for name in cleaned}, made and made["contaminated"]


def _against(chain: Chain) -> list[Path]:
    from preprocess import evaluation_items

    named = [chain.expand(each) for each in chain.file.decontaminate.against]
    return evaluation_items.find(inputs.find_files(named, "", chain.path.parent, "decontaminate.against"))
