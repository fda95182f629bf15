"""The Jinja template that a finetuned model's folder gives its chats, of the words that `preprocess.pairs` wrote around them.

`preprocess.pairs` encodes every turn by itself, with the end piece's id behind an answer; whoever asks the model renders a
whole chat and encodes that. The two give the same ids where the end piece is read out of a text, and no piece reaches from what
stands before an answer into it (as it may where that ends with a blank: `アシスタント: `). So tokenizer.json is told of both,
and the result is proved on chats before the folder is put in place.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haigo import files
from haigo.cli import Refused
from haigo.formats.chat import Template

from .model import CHAT_TEMPLATE, EOD_PIECE

if TYPE_CHECKING:
    from .model import Tokenizer

CONFIG, JSON = "tokenizer_config.json", "tokenizer.json"
_SAID = (
    "山の天気は?",
    " 二つ ",
    "雨。\n東京も雨。",
    "def f(a):\n    return a",
    "1 + 1 =",
    "ok",
    "「国会」とは何ですか",
)
"""Contents of the chats that it is proved on."""


def jinja(template: Template) -> str:
    """The template in Jinja, one line; `eos_token` stands behind each answer, `after` between an answer and the next turn."""

    after = _quoted(template.after)

    def around(role: str) -> tuple[str, str]:
        before, behind = getattr(template, role).split("{content}")
        return _quoted(before), _quoted(behind)

    if template.of_pairs:
        before, behind = (_quoted(text) for text in template.pair.split("{content}"))
        return (
            "{% for m in messages %}"
            "{% if m['role'] == 'user' and loop.first %}{{ " + f"{before} + m['content'] + {behind}" + " }}"
            "{% elif m['role'] == 'assistant' and loop.index == 2 %}{{ m['content'] + eos_token }}"
            "{% else %}{{ raise_exception('this model was taught single questions with an answer each') }}"
            "{% endif %}{% endfor %}"
        )
    turns = ""
    for word, role in (("if", "system"), ("elif", "user"), ("elif", "assistant")):
        before, behind = around(role)
        turns += f"{{% {word} m['role'] == '{role}' %}}{{{{ {before} + m['content'] + {behind}"
        turns += " }}" if role != "assistant" else " + eos_token }}{% if not loop.last %}{{ " + after + " }}{% endif %}"
    return (
        "{% for m in messages %}"
        + turns
        + "{% else %}{{ raise_exception('use system, user and assistant, not ' + m['role']) }}{% endif %}{% endfor %}"
        + "{% if add_generation_prompt %}{{ "
        + around("assistant")[0]
        + " }}{% endif %}"
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def ids(template: Template, chat: list[dict[str, str]], model: Tokenizer, asks: bool = False) -> list[int]:
    """The ids of a chat as `preprocess.pairs` writes it, every stretch encoded by itself.

    Args:
        chat: turns of role and content.
        asks: put what stands before an answer behind it, as for `add_generation_prompt`.
    """
    found: list[int] = []
    for number, turn in enumerate(chat, 1):
        if template.of_pairs:
            given, learned = (template.pair.replace("{content}", turn["content"]), "")
            if turn["role"] == "assistant":
                given, learned = "", turn["content"]
        else:
            given, learned = template.turn(turn["role"], turn["content"])
        found += model.encode(given)
        if turn["role"] == "assistant":
            found += [*model.encode(learned), model.eod_id]
            found += model.encode(template.after) if number < len(chat) and not template.of_pairs else []
    if asks and not template.of_pairs:
        found += model.encode(template.turn("assistant", "")[0])
    return found


def write(folder: Path, template: Template, model: Tokenizer) -> bool:
    """Give the tokenizer's files of a model folder the template, and prove it. Gives False where there is no tokenizer.json (it
    would give other ids, see `preprocess.tokenizer --exact-json`): then the template stands there unproved.

    Args:
        folder: with tokenizer_config.json, and nothing in it that must stay as it is.
        template: as `preprocess.pairs` was given it.
        model: the tokenizer that it was given.

    Raises:
        Refused: transformers gives other ids for a chat than those that were trained on.
    """
    before = {
        name: files.read_text(folder / name) for name in (CONFIG, JSON, CHAT_TEMPLATE) if (folder / name).is_file()
    }
    config = files.read_json(folder / CONFIG)
    if not isinstance(config, dict):
        raise Refused(f"{folder / CONFIG} is not what transformers writes.", "make the tokenizer's folder again")
    # the end piece of an answer is to be read out of the rendered chat, as everywhere among Hugging Face's models
    config |= {"chat_template": jinja(template), "split_special_tokens": False}
    files.write_json(folder / CONFIG, config)
    files.remove(folder / CHAT_TEMPLATE)  # of an adopted tokenizer: its makers' words, which would come first
    if JSON not in before:
        return False
    # a tokenizer.json that is the tokenizer itself stays as it is: it reads the end piece out of text already
    wrong = _differs(folder, template, model) if model.kind == "tokenizers" else _told(folder, template, model)
    if wrong is not None:
        for name, text in before.items():
            files.write_text(folder / name, text)
        raise Refused(
            f"with this chat template transformers gives other ids for {wrong!r:.60} than those that were trained on.",
            "let every turn of the template end with a line break, and train with that; or leave --template out",
            option="template",
        )
    return True


def _told(folder: Path, template: Template, model: Tokenizer) -> str | None:
    """Tell the tokenizer.json beside a spm.model of end pieces and what stands before answers; gives what `_differs` gives."""
    import tokenizers

    fast = tokenizers.Tokenizer.from_file(str(folder / JSON))
    fast.add_special_tokens([tokenizers.AddedToken(EOD_PIECE, special=True, normalized=False)])
    files.write_text(folder / JSON, fast.to_str(pretty=False))
    if (wrong := _differs(folder, template, model)) is not None:
        _part_before_answers(fast, template)
        files.write_text(folder / JSON, fast.to_str(pretty=False))
        wrong = _differs(folder, template, model)
    return wrong


def _part_before_answers(fast: Any, template: Template) -> None:
    """Let no piece reach over the end of what stands before an answer, where it stands behind another turn or at the start."""
    from tokenizers import Regex, pre_tokenizers

    def written(text: str) -> str:  # as the model's normalizer leaves it
        return re.escape(text.replace(" ", "\u2581"))

    pattern = written(template.pair.split("{content}")[1])
    if not template.of_pairs:
        behind = {getattr(template, role).split("{content}")[1] for role in ("system", "user")} | {template.after}
        anchors = ["^", *(f"(?<={written(text)})" for text in sorted(behind) if text)]
        pattern = f"(?:{'|'.join(anchors)}){written(template.assistant.split('{content}')[0])}"
    parted = pre_tokenizers.Split(Regex(pattern), "isolated")
    own = fast.pre_tokenizer
    fast.pre_tokenizer = pre_tokenizers.Sequence([parted] if own is None else [parted, own])


def _differs(folder: Path, template: Template, model: Tokenizer) -> str | None:
    """The last words of a chat whose ids are not those of training; None where all are."""
    from transformers import AutoTokenizer

    read = AutoTokenizer.from_pretrained(str(folder))
    for chat in proving(template):
        for asks in (False, True):
            rendered = read.apply_chat_template(chat, add_generation_prompt=asks, tokenize=True, return_dict=False)
            if list(rendered) != ids(template, chat, model, asks):
                return str(chat[-1]["content"])
    return None


def proving(template: Template) -> list[list[dict[str, str]]]:
    """Chats that the template must render as training did: with and without a system's turn, one question and several."""

    def turn(role: str, number: int) -> dict[str, str]:
        return {"role": role, "content": _SAID[number % len(_SAID)]}

    made = []
    for number in range(len(_SAID)):
        asked, answered = turn("user", number), turn("assistant", number + 1)
        made += [[asked], [asked, answered]]
        if not template.of_pairs:
            more = [turn("user", number + 2), turn("assistant", number + 3)]
            made += [
                [turn("system", number + 4), asked],
                [asked, answered, *more],
                [turn("system", 5), asked, answered, *more],
            ]
    return made
