"""A free question to a finetuned model, in the words that it was taught: its chat template, or the template of its finetuning.

A Jinja template (`chat_template.jinja`, or `chat_template` of tokenizer_config.json) is rendered by transformers, in its
sandbox. A YAML template is `preprocess.pairs`' own; its texts are encoded one by one, as for training. The answer is greedy
and ends at any end token that the model or its tokenizer names.
"""

from __future__ import annotations

from dataclasses import dataclass
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


def read(model: str, tokenizer_folder: str | None, template: Path | None) -> Chat:
    """The template of a model, or the one that is named instead.

    Args:
        model: its folder, or its name on the hub.
        tokenizer_folder: of its tokenizer, where that is another; the template stands beside the tokenizer.

    Raises:
        HaigoError: there is none, or it can not be read.
    """
    if template is not None:
        if not template.is_file():
            raise HaigoError(f"--template {template} is no file.", "name a Jinja or YAML file")
        if template.suffix in (".yml", ".yaml"):
            return Chat(Template.read(template), str(template))
        return Chat(files.read_text(template), str(template))
    for place in dict.fromkeys((tokenizer_folder or model, model)):
        if (found := tokenizer.chat_template(place)) is not None:
            return Chat(found, place)
    raise HaigoError(
        f"{model} has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json).",
        "name the one that it was finetuned with: --template FILE",
        option="template",
    )


def answer(model: LeaderboardLM, chat: Chat, question: str, most: int) -> str:
    """The greedy answer to a question, at most `most` tokens, without special tokens.

    Raises:
        HaigoError: the question leaves no room for an answer.
    """
    import torch

    ids = [number for text in chat.texts(model, question) for number in model.encode(text)]
    room = model.max_length - len(ids)
    if not ids or room < 1:
        raise HaigoError(
            f"the question has {len(ids):,} tokens and the model takes {model.max_length:,}.", "ask a shorter one"
        )
    named = getattr(model.model.generation_config, "eos_token_id", None)
    ends = {model.eot_token_id, *(named if isinstance(named, list) else [] if named is None else [named])}
    prompt = torch.tensor([ids], device=model.device)
    with torch.no_grad():
        found = model.model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=min(most, room),
            eos_token_id=sorted(ends),
            pad_token_id=model.eot_token_id,
            do_sample=False,
        )
    written = [token for token in found[0, len(ids) :].tolist() if token < len(model.tokenizer)]
    return model.decode(written).strip()
