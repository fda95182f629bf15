"""Questions to a finetuned model in the words that it was taught: its chat template, or the template of its finetuning.

A Jinja template (`chat_template.jinja`, or `chat_template` of tokenizer_config.json) is rendered by transformers, in its
sandbox. A YAML template is `preprocess.pairs`' own; its texts are encoded one by one, as for training. The answer is greedy
and ends at any end token that the model or its tokenizer names. Tasks are put the same way: all that a task would show a base
model is one turn of the user's, as in lm-eval, and the answer's tokens are those behind it.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from haigo import files
from haigo.cli import HaigoError
from haigo.formats import tokenizer
from haigo.formats.chat import Template

if TYPE_CHECKING:
    from eval_harness.model import LeaderboardLM


@dataclass(frozen=True, slots=True)
class Chat:
    """How a model is asked freely."""

    template: Template | str
    """`preprocess.pairs`' or a Jinja template."""
    source: str
    """Where it stands, for messages."""

    def record(self) -> dict[str, str]:
        """What result.json says of it."""
        text = self.template if isinstance(self.template, str) else repr(sorted(asdict(self.template).items()))
        return {"source": self.source, "sha256": hashlib.sha256(text.encode()).hexdigest()}

    def ids(self, model: LeaderboardLM, question: str) -> list[int]:
        """The tokens before the answer."""
        return [number for text in self.texts(model, question) for number in model.encode(text)]

    def texts(self, model: LeaderboardLM, question: str) -> list[str]:
        """What the model is given, in parts that are encoded by themselves.

        Raises:
            HaigoError: the Jinja template can not be rendered.
        """
        if isinstance(self.template, Template):
            return self.template.asked(question)
        try:
            rendered = model.tokenizer.apply_chat_template(
                [{"role": "user", "content": question}],
                chat_template=self.template,
                tokenize=False,
                add_generation_prompt=True,
            )
        except Exception as error:  # a template is a program, and fails in as many ways
            why = " ".join(str(error).split())[:160] or type(error).__name__
            raise HaigoError(f"{self.source}: the chat template can not be rendered: {why}", "repair it") from None
        return [str(rendered)]


def read(model: str, tokenizer_folder: str | None, template: Path | None, option: str = "template") -> Chat:
    """The template of a model, or the one that is named instead.

    Args:
        model: its folder, or its name on the hub.
        tokenizer_folder: of its tokenizer, where that is another; the template stands beside the tokenizer.
        option: which names a template.

    Raises:
        HaigoError: there is none, or it can not be read.
    """
    if template is not None:
        if not template.is_file():
            raise HaigoError(f"--{option} {template} is no file.", "name a Jinja or YAML file")
        if template.suffix in (".yml", ".yaml"):
            return Chat(Template.read(template), str(template))
        return Chat(files.read_text(template), str(template))
    for place in dict.fromkeys((tokenizer_folder or model, model)):
        if (found := tokenizer.chat_template(place)) is not None:
            return Chat(found, place)
    raise HaigoError(
        f"{model} has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json).",
        f"name the one that it was finetuned with: --{option} FILE",
        option=option,
    )


def answer(model: LeaderboardLM, chat: Chat, question: str, most: int) -> str:
    """The greedy answer to a question, at most `most` tokens, without special tokens.

    Raises:
        HaigoError: the question leaves no room for an answer.
    """
    import torch

    model.ask_by(chat)
    ids = model.context_ids(question)
    room = model.max_length - len(ids)
    if not ids or room < 1:
        raise HaigoError(
            f"the question has {len(ids):,} tokens and the model takes {model.max_length:,}.", "ask a shorter one"
        )
    prompt = torch.tensor([ids], device=model.device)
    with torch.no_grad():
        found = model.model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=min(most, room),
            eos_token_id=model.ends(),
            pad_token_id=model.eot_token_id,
            do_sample=False,
        )
    written = [token for token in found[0, len(ids) :].tolist() if token < len(model.tokenizer)]
    return model.decode(written).strip()
