"""The options of `preprocess.pairs`; see `preprocess.options`."""

from __future__ import annotations

from dataclasses import dataclass

from haigo.cli import HaigoError
from haigo.options import count, option, seed

from .options import SEED, TOKENIZER, Printed, RowOptions

PREFERENCES = ("dpo", "kto", "rm")


@dataclass(frozen=True, kw_only=True)
class PairOptions(RowOptions):
    """What `pairs.build` can be told."""

    form: str = option("what a line is", "auto", among=("auto", "pairs", "chat"), flags=("--format",))
    prompt_key: str | None = option("key of what is given", None)
    response_key: str | None = option("key of what is learned", None)
    context_key: str | None = option("key of a text that stands below the prompt, where it is", None)
    template: str | None = option("YAML: system, user, assistant, pair, after; each with {content}", None)
    only_last: bool = option("of a chat, learn the last answer alone", False)
    seq_length: int | None = count("leave longer examples out", None)
    preference: str | None = option(
        "preferences instead of examples: chosen and rejected answers, or judged ones (kto)", None, among=PREFERENCES
    )
    chosen_key: str | None = option("key of the better answer (default: chosen)", None)
    rejected_key: str | None = option("key of the worse answer (default: rejected)", None)
    reward_key: str | None = option("kto: key of what says whether an answer is wanted (default: label, reward)", None)
    pack: bool = option("rows of exactly --seq-length tokens of whole examples", False)
    seed: int = seed("order of packed rows", SEED)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pack and not self.seq_length:
            raise HaigoError(
                "--pack needs to know how long a row is.",
                "give --seq-length, as in the training config",
                option=("pack", "seq_length"),
            )
        if self.preference is None:
            for name in self.given("chosen_key", "rejected_key", "reward_key"):
                flag = f"--{name.replace('_', '-')}"
                raise HaigoError(
                    f"{flag} is for preferences.", f"give --preference {'|'.join(PREFERENCES)}", option=name
                )
            return
        self.refuse_idle(f"--preference {self.preference}", "pack", "form", "only_last", "context_key")
        if self.preference != "kto":
            self.refuse_idle(f"--preference {self.preference}", "response_key", "reward_key")
        if not self.seq_length:
            raise HaigoError(
                "--preference needs to know how long a sample is: GPT-NeoX leaves longer rows out without a word.",
                "give --seq-length, as in the training config",
                option=("preference", "seq_length"),
            )


@dataclass(frozen=True, kw_only=True)
class PairCommand(PairOptions, Printed):
    """`preprocess.pairs`."""

    inputs: list[str] = option("jsonl, also compressed; folders", positional=True, metavar="FILE")
    tokenizer: str = option(TOKENIZER)
    output_prefix: str = option("prefix of both datasets")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.form == "chat":
            self.refuse_idle("--format chat", "prompt_key", "response_key", "context_key")
        if self.form == "pairs":
            self.refuse_idle("--format pairs", "only_last")
