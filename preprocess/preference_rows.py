"""Preferences as they come in jsonl: a prompt with a better and a worse answer, or an answer with a judgement.

Pairs have `chosen` and `rejected`, each a text or turns; the prompt stands beside them (a text, or turns) or at the head of
both (turns, or Anthropic's `\\n\\nHuman: ... \\n\\nAssistant: ...`). Judged answers are `{"prompt": ..., "completion": ...,
"label": true}` or `{"messages": [...], "reward": -1}`. Texts are written as preprocess.pairs writes pairs, turns as it writes
chats, and only the last answer counts.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from haigo.cli import HaigoError
from haigo.formats.chat import Template
from haigo.formats.documents import Broken

from . import examples
from .examples import CHAT_KEYS, CONTEXT_KEYS, LEFT_OUT, PAIR_KEYS, Example
from .pair_options import PairOptions

REWARD_KEYS = ("label", "reward")
_SPEAKER = re.compile(r"\n\n(Human|Assistant):[ ]?")
_SPOKEN = {"Human": "user", "Assistant": "assistant"}


@dataclass(frozen=True, slots=True)
class Preference:
    """One line: its answers, chosen before rejected, each with the whole prompt; of a judged answer the one, and 1 or -1."""

    where: str
    answers: tuple[Example, ...]
    reward: int = 1

    @property
    def prompts(self) -> list[str]:
        """The texts before the answers."""
        return ["".join(part.text for part in one.parts if not part.learned) for one in self.answers]

    @property
    def texts(self) -> list[str]:
        """The answers alone."""
        return ["".join(part.text for part in one.parts if part.learned) for one in self.answers]


def read(paths: Sequence[Any], options: PairOptions, broken: Broken, unused: dict[str, int]) -> Iterator[Preference]:
    """The preferences of jsonl files, in order; with `options.preference` kto a pair gives two judged answers.

    Args:
        paths: files, folders or patterns.
        broken: how many lines may be passed over.
        unused: counts what belongs to a prompt and is not read, under its key.

    Raises:
        HaigoError: a line that is no preference, or has no prompt; names file, line and what is wrong.
    """
    shape = Template.read(options.template) if options.template else Template()
    named = {options.prompt_key, options.response_key, options.reward_key} - {None}
    chosen, rejected = options.chosen_key or "chosen", options.rejected_key or "rejected"
    once = {*sum(PAIR_KEYS, ()), *CONTEXT_KEYS, *CHAT_KEYS, *REWARD_KEYS, *named, chosen, rejected}
    for where, row in examples.numbered_rows(paths, broken, once):
        try:
            if chosen in row and rejected in row:
                both = tuple(_answer(row, key, where, options, shape) for key in (chosen, rejected))
                judged = options.preference == "kto"
                found = [Preference(where, (one,), sign) for one, sign in zip(both, (1, -1), strict=True)]
                found = found if judged else [Preference(where, both)]
            elif options.preference == "kto":
                found = [Preference(where, (_judged(row, where, options, shape),), _reward(row, where, options))]
            else:
                there = ", ".join(f"'{key}'" for key in list(row)[:12]) or "none"
                raise HaigoError(
                    f"{where} has no '{chosen}' and '{rejected}'; it has {there}.",
                    "name them with --chosen-key and --rejected-key",
                    option=("chosen_key", "rejected_key"),
                )
        except HaigoError as error:
            broken.note(error)
            continue
        for one in found[0].answers[:1]:
            if one.unused:
                unused[one.unused] = unused.get(one.unused, 0) + 1
        yield from found


def _answer(row: Mapping[str, Any], key: str, where: str, options: PairOptions, shape: Template) -> Example:
    """The prompt with one answer."""
    turns = _turns(row, key, where, options)
    if turns is None:
        parts, unused = examples.pair_parts(row, where, _named(options.prompt_key, key), shape)
        empty = not row[_prompt_key(row, options)].strip()
    else:
        parts = examples.chat_parts({CHAT_KEYS[0]: turns}, where, shape, True)
        roles = [examples.role_of(turn, where) for turn in turns]
        if roles[-1][0] != "assistant":
            raise HaigoError(f"{where} ends with no answer under '{key}'.", "repair or delete that line")
        unused = examples.left_out(row, LEFT_OUT, ())
        empty = not any(role == "user" and text.strip() for role, text in roles[:-1])
    if empty:
        raise HaigoError(f"{where} has an empty prompt.", "repair or delete that line, or give --skip-broken N")
    examples.require_whole(parts, where)
    return Example(where, tuple(part for part in parts if part.text or part.ends), unused, turns is not None)


@functools.cache
def _named(prompt_key: str | None, answer_key: str) -> PairOptions:
    return PairOptions(prompt_key=prompt_key, response_key=answer_key)


def _turns(row: Mapping[str, Any], key: str, where: str, options: PairOptions) -> list[Any] | None:
    """All turns, the answer last; None where prompt and answer are plain texts."""
    answer = row[key]
    asked = row.get(options.prompt_key or PAIR_KEYS[0][0])
    if asked is None and not (isinstance(answer, list) and answer and _is_prompt(answer[0], where)):
        asked = next((row[one] for one in CHAT_KEYS if isinstance(row.get(one), list) and one != key), None)
    if isinstance(answer, str):
        if isinstance(asked, list):
            return [*asked, {"role": "assistant", "content": answer}]
        return None if _prompt_key(row, options) is not None else _spoken(answer, key, where)
    turns = [answer] if isinstance(answer, dict) else answer
    if not isinstance(turns, list) or not turns:
        raise HaigoError(f"{where} has no answer under '{key}' but {type(answer).__name__}.", "repair or delete it")
    if isinstance(asked, list):
        return turns if turns[: len(asked)] == asked else [*asked, *turns]
    if _is_prompt(turns[0], where):
        return turns
    if not isinstance(asked, str):
        raise HaigoError(f"{where} has no prompt beside '{key}'.", _NAME_IT, option="prompt_key")
    return [{"role": "user", "content": asked}, *turns]


def _is_prompt(turn: Any, where: str) -> bool:
    return examples.role_of(turn, where)[0] != "assistant"


def _spoken(text: str, key: str, where: str) -> list[Any]:
    """The turns of a talk in Anthropic's form, whose last is the answer."""
    spoken = _SPEAKER.split(text)
    if len(spoken) < 5 or spoken[0].strip():
        raise HaigoError(f"{where} has no prompt beside '{key}'.", _NAME_IT, option="prompt_key")
    return [{"role": _SPOKEN[who], "content": said} for who, said in zip(spoken[1::2], spoken[2::2], strict=True)]


_NAME_IT = "name its key with --prompt-key, or repair that line"


def _prompt_key(row: Mapping[str, Any], options: PairOptions) -> Any:
    """The key of a prompt that is a plain text."""
    known = (options.prompt_key,) if options.prompt_key else tuple(one for one, _ in PAIR_KEYS)
    return next((one for one in known if isinstance(row.get(one), str)), None)


def _judged(row: Mapping[str, Any], where: str, options: PairOptions, shape: Template) -> Example:
    if options.response_key is None:
        turns = next((row[key] for key in CHAT_KEYS if isinstance(row.get(key), list)), None)
        if turns and not any(answer in row for _, answer in PAIR_KEYS):
            return _answer({"chosen": turns}, "chosen", where, options, shape)
    known = [answer for _, answer in PAIR_KEYS] if options.response_key is None else [options.response_key]
    key = next((one for one in known if one in row), None)
    if key is None:
        there = ", ".join(f"'{one}'" for one in list(row)[:12]) or "none"
        raise HaigoError(
            f"{where} has no answer; it has {there}.",
            "name its key with --response-key (or --chosen-key and --rejected-key)",
            option=("response_key", "chosen_key", "rejected_key"),
        )
    return _answer(row, key, where, options, shape)


def _reward(row: Mapping[str, Any], where: str, options: PairOptions) -> int:
    """1 for a wanted answer, -1 for an unwanted one: true and false, 1 and 0 under `label`, or the sign of a number."""
    known = (options.reward_key,) if options.reward_key else REWARD_KEYS
    key = next((one for one in known if one in row), None)
    value = row[key] if key is not None else None
    if isinstance(value, bool) or (key == "label" and value == 0):
        return 1 if value else -1
    if isinstance(value, int | float) and value == value and value:
        return 1 if value > 0 else -1
    raise HaigoError(
        f"{where} does not say whether the answer is wanted"
        + (f" ('{key}' is {value!r:.40})." if key is not None else f"; it has no {' or '.join(map(repr, known))}."),
        "write true or false, or name the key with --reward-key",
        option="reward_key",
    )
