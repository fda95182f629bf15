"""Supervised examples as they come in jsonl, and the parts of each: text the model is given, text that it is to learn.

Pairs, one a line: `{"prompt": ..., "response": ...}`; context/target, instruction (with input)/output, instruction (with
context)/response and question/answer are known too. Chats: `{"messages": [{"role": ..., "content": ...}, ...]}`; GPT-NeoX's
`conversation` and ShareGPT's `conversations` with from/value are known too. How a chat is written as plain text is a
`haigo.formats.chat.Template`.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from haigo import files
from haigo.cli import HaigoError, Refused, nearest
from haigo.formats.chat import Template
from haigo.formats.dataset.ids import MASKED
from haigo.formats.documents import Broken
from haigo.formats.documents.containers import entries, lines, readable
from haigo.formats.documents.jsonl import rows

from .pair_options import PairOptions
from .sources import input_files, tell_twice

if TYPE_CHECKING:
    from haigo.formats.tokenizer import Tokenizer

PAIR_KEYS = (
    ("prompt", "response"),
    ("prompt", "completion"),
    ("context", "target"),
    ("instruction", "output"),
    ("instruction", "response"),
    ("question", "answer"),
)
CONTEXT_KEYS = ("input", "context")
"""Of what stands below an instruction, where a row has it."""
LEFT_OUT = ("history", "system", "tools")
"""Of what belongs to an example and is not read: only turns under CHAT_KEYS are."""
CHAT_KEYS = ("messages", "conversation", "conversations")
ANSWER_KEYS = tuple(dict.fromkeys(answer for _, answer in PAIR_KEYS))
UNLEARNED_KEYS = ("weight", "train", "loss")
"""Of a turn that is given and not learned: 0 or false; 1 or true says nothing new."""
ROLES = {"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant", "developer": "system"}


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """A stretch of text; `learned` says whether the loss counts its tokens; `ends` puts the end piece after it."""

    text: str
    learned: bool = False
    ends: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Example:
    """One example: where it stands (file and line), its parts, the key of what belongs to it and no part holds, and whether it
    was turns of a chat."""

    where: str
    parts: tuple[Part, ...]
    unused: str = ""
    chat: bool = False


def read(
    paths: Sequence[str | os.PathLike[str]], options: PairOptions | None = None, broken: Broken | None = None
) -> Iterator[Example]:
    """The examples of jsonl files, also packed ones, in order.

    Args:
        paths: files, folders or patterns.
        options: what a line is; "auto" looks at every one. Keys of a pair stand instead of those in PAIR_KEYS.
        broken: how many lines may be passed over.

    Raises:
        HaigoError: a line that is no example; names file, line and what is wrong.
    """
    options = options or PairOptions()
    shape = Template.read(options.template) if options.template else Template()
    named = {options.prompt_key, options.response_key, options.context_key} - {None}
    once = {*sum(PAIR_KEYS, ()), *CONTEXT_KEYS, *CHAT_KEYS, *named}
    form, broken = options.form, broken or Broken()
    there = False
    for where, row in numbered_rows(paths, broken, once):
        chat = form == "chat" or (form == "auto" and any(isinstance(row.get(k), list) for k in CHAT_KEYS))
        unused = ""
        try:
            if chat:
                parts = chat_parts(row, where, shape, options.only_last)
                taken = next(k for k in CHAT_KEYS if isinstance(row.get(k), list))
                unused = left_out(row, (*LEFT_OUT, *ANSWER_KEYS, *CHAT_KEYS), (taken,))
            else:
                parts, unused = pair_parts(row, where, options, shape)
            require_whole(parts, where)
        except HaigoError as error:
            broken.note(error)
            continue
        there = there or options.context_key in row
        yield Example(where, tuple(part for part in parts if part.text or part.ends), unused, chat)
    if options.context_key and not there:
        fix = "give the --context-key that the lines have"
        raise HaigoError(f"no line has the key '{options.context_key}'.", fix, option="context_key")


def numbered_rows(
    paths: Sequence[str | os.PathLike[str]], broken: Broken, once: set[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every line of jsonl files with where it stands (file and line).

    Args:
        paths: files, folders or patterns.
        broken: how many lines may be passed over.
        once: keys that a line may have only once.
    """
    for path, key in input_files(paths):
        for entry in entries(path, key):
            with readable(entry.name):
                numbered = lines(cast(BinaryIO, entry.stream), entry.name, broken)
                for number, row in rows(numbered, entry.name, broken, once):
                    yield f"{entry.name} (line {number})", row


def digests(paths: Sequence[str | os.PathLike[str]]) -> list[dict[str, str]]:
    """The input files with their sha256, as manifests note them; one that is given twice is said."""
    found = input_files(paths)
    noted = [{"file": key, "sha256": files.sha256_file(path)} for path, key in found]
    tell_twice((path, row["sha256"]) for (path, _), row in zip(found, noted, strict=True))
    return noted


def template_note(options: PairOptions, chats: int) -> dict[str, str] | None:
    """The words around the examples, for their manifest: of turns where any example was a chat, else of a pair; None
    where there are none. `launch.convert` gives the model that was taught them a chat template of these."""
    template = Template.read(options.template) if options.template else Template()
    if chats:
        return {**dataclasses.asdict(template), "pair": Template().pair}
    return {"pair": template.pair} if template.pair != Template().pair else None


def check_mask(example: Example, tokens: Sequence[int], labels: Sequence[int], model: Tokenizer) -> bool:
    """Decode what is learned and all of it; both must be the texts of the example, unless the tokenizer changes any text. Gives
    whether they are.

    Raises:
        Refused: the tokenizer does not give the text back.
    """
    wanted = "".join(part.text for part in example.parts if part.learned)
    whole = "".join(part.text for part in example.parts)
    # without a prompt the first token of the answer is not learned, so the rest of it is no whole text
    learned = wanted if example.parts[0].learned else model.decode([label for label in labels if label != MASKED])
    same = learned == wanted and model.decode(tokens) == whole
    if not same and model.exact:
        raise Refused(
            f"{example.where}: what the tokenizer gives back is not the text, so its mask cannot be checked.",
            "use a tokenizer that loses nothing (preprocess.tokenizer), or take U+2581 out of the text",
        )
    return same


def say_changed(model: Tokenizer, changed: int, of: int) -> None:
    """Warn that so many masks were not checked, as the tokenizer changes texts."""
    if changed:
        print(
            f"haigo: {model.path} changes texts (a normaliser, or a blank before each): {changed:,} of {of:,} "
            "examples do not come back as they were, so their masks are not checked by decoding.",
            file=sys.stderr,
        )


def require_whole(parts: Sequence[Part], where: str) -> None:
    """Refuse half a surrogate pair, which no file can hold."""
    try:
        "".join(part.text for part in parts).encode()
    except UnicodeEncodeError:
        raise HaigoError(f"{where} holds half a surrogate pair.", "mend or delete that line") from None


def pair_parts(row: Mapping[str, Any], where: str, options: PairOptions, template: Template) -> tuple[list[Part], str]:
    """The parts of a pair, and the key of what belongs to it and none of them holds."""
    known = [(options.prompt_key or one, options.response_key or two) for one, two in PAIR_KEYS]
    named = next(((one, two) for one, two in known if one in row and two in row), None)
    if named is None:
        there = ", ".join(f"'{key}'" for key in list(row)[:12]) or "none"
        raise HaigoError(
            f"{where} has no keys of a pair; it has {there}.",
            "name them with --prompt-key and --response-key (and --context-key)",
            option=("prompt_key", "response_key", "context_key"),
        )
    given, learned = (_text(row, key, where) for key in named)
    others = [key for key in CONTEXT_KEYS if key not in named and row.get(key)]
    context = options.context_key or (others[0] if named[0] == "instruction" and others else None)
    # a context may be missing or null: not every instruction needs one
    more = _text(row, context, where) if context and row.get(context) is not None else ""
    if more:
        given = f"{given}\n{more}"
    unused = left_out(row, (*others, *LEFT_OUT, *ANSWER_KEYS, *CHAT_KEYS), (context, *named))
    return [Part(template.pair.replace("{content}", given)), Part(learned, learned=True, ends=True)], unused


def left_out(row: Mapping[str, Any], names: Sequence[str], taken: Sequence[str | None]) -> str:
    return next((key for key in names if row.get(key) and key not in taken), "")


def _text(row: Mapping[str, Any], key: str, where: str) -> str:
    value = row[key]
    if not isinstance(value, str):
        raise HaigoError(f"{where} has no text under '{key}' but {type(value).__name__}.", "mend or delete that line")
    return value


def chat_parts(row: Mapping[str, Any], where: str, template: Template, only_last: bool) -> list[Part]:
    """The parts of the turns under one of CHAT_KEYS, up to the last that is learned."""
    turns = next((row[key] for key in CHAT_KEYS if isinstance(row.get(key), list)), None)
    if not turns:
        there = ", ".join(f"'{key}'" for key in list(row)[:12]) or "none"
        raise HaigoError(f"{where} has no turns; it has {there}.", f"write them under '{CHAT_KEYS[0]}'")
    parts: list[Part] = []
    for number, turn in enumerate(turns, 1):
        role, content = role_of(turn, f"{where}, turn {number}")
        given, answer = template.turn(role, content)
        made = [Part(given)]
        if role == "assistant":
            made.append(Part(answer, learned=True, ends=True))
        parts += (
            made
            if _is_learned(turn, f"{where}, turn {number}")
            else [dataclasses.replace(part, learned=False) for part in made]
        )
        if role == "assistant" and number < len(turns):
            parts.append(Part(template.after))
    learned = [number for number, part in enumerate(parts) if part.learned]
    for number in learned[:-1] if only_last else []:
        parts[number] = dataclasses.replace(parts[number], learned=False)
    if learned:
        del parts[learned[-1] + 1 :]  # a question without an answer at the end teaches nothing
    return parts


def _is_learned(turn: Mapping[str, Any], where: str) -> bool:
    said = [(key, turn[key]) for key in UNLEARNED_KEYS if turn.get(key) is not None]
    for key, value in said:
        if value not in (0, 1):
            raise HaigoError(
                f"{where} has {value!r:.40} for '{key}'.", "write 0 or false for a turn that is not learned"
            )
    return all(value for _, value in said)


def role_of(turn: Any, where: str) -> tuple[str, str]:
    role = turn.get("role", turn.get("from")) if isinstance(turn, dict) else None
    content = turn.get("content", turn.get("value")) if isinstance(turn, dict) else None
    if not isinstance(role, str) or not isinstance(content, str):
        raise HaigoError(f'{where} is not {{"role": ..., "content": text}}.', "mend or delete that line")
    role = ROLES.get(role, role)
    if role not in ("system", "user", "assistant"):
        raise HaigoError(
            f"{where} has the role '{role}'.{nearest(role, ('system', 'user', 'assistant'))}",
            "use system, user and assistant",
        )
    return role, content
