"""The model side of the leaderboard's rules, as a subclass of lm-eval's HFLM.

jp-stable (`hf-causal`) and stock lm-eval differ here, and the differences move scores by whole points:
- context and choice are encoded apart, without special tokens; nothing moves from one to the other. (lm-eval encodes both as
  one text and moves the context's trailing blanks and newlines into the choice.)
- an empty context is the end-of-text token, even where the tokenizer has a beginning-of-text token.
- what is too long loses its beginning; the length is `n_ctx`, else `max_position_embeddings`.
- a generation ends at the last token of the encoded stop string, not at the model's own end token, unless the stop string
  encodes to nothing; special tokens stay in the answer, which is then cut at the stop string. One prompt at a time, greedy.
- a chat template (`chat.Chat`) puts the whole context into one turn of the user's; an answer then also ends at the model's own
  end tokens. No row of the leaderboard was made so.
- weights run in float32 whatever the checkpoint holds, unless `dtype` says otherwise.
- token ids are those of sentencepiece or of `tokenizer.json` itself, not of what transformers makes of them
  (`haigo.formats.tokenizer`).
Import it only where a model is about to run: it brings in torch and lm-eval.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from eval_harness import loading, packed
from eval_harness.chat import Chat
from eval_harness.journal import TRIAL, Journal, key
from eval_harness.loading import CheckedLM, quiet
from eval_harness.model_args import parse_args
from haigo.cli import HaigoError, Refused
from haigo.progress import Progress

Encoded = tuple[tuple[str, str], list[int], list[int]]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What an answer is generated from."""

    ids: list[int]
    budget: int
    """How many tokens the answer may have."""
    ends: list[int]
    """Tokens that end it; the first one pads."""
    penalised: bool
    """Whether the repetition penalty of generation_config.json counts; not by llm-jp-eval's rules."""


class LeaderboardLM(CheckedLM):
    """lm-eval's Hugging Face model with jp-stable's rules.

    Args:
        pretrained: a model folder, or a name on the Hugging Face hub.
        dtype: "float32" (as most published rows), "float16", "bfloat16" or "auto" for the checkpoint's.
        batch_size: contexts a forward pass; None and lm-eval's auto let their lengths decide.
        share_context: score the choices of a question in one pass over its context; None tries it out on a few questions and
            keeps it when the numbers agree (`packed.trial`).
        more: HFLM's other arguments.
    """

    answers_at_once = 1
    """How many answers are generated together."""

    def __init__(
        self,
        pretrained: str,
        dtype: str = "float32",
        device: str = "cpu",
        batch_size: int | str | None = None,
        share_context: bool | None = None,
        **more: Any,
    ) -> None:
        self.contexts_per_pass = batch_size if isinstance(batch_size, int) else None
        self.share_context = share_context
        self._begin()
        with quiet():
            super().__init__(
                pretrained=pretrained, dtype=dtype, device=device, batch_size=self.contexts_per_pass or 1, **more
            )

    def _begin(self) -> None:
        """What is kept beside the model."""
        self.sharing: packed.Trial | None = None
        self.truncated = 0
        self.show_progress = True
        self.journal: Journal | None = None
        self._encoded: dict[str, list[int]] = {}

    @property
    def max_length(self) -> int:
        """Tokens of context and choice that one pass sees; jp-stable's order of the config's names."""
        if self._max_length:
            return int(self._max_length)
        config = self.model.config
        return int(getattr(config, "n_ctx", None) or getattr(config, "max_position_embeddings", None) or 2048)

    @property
    def window(self) -> int:
        """Tokens of context and choice together: the last one is predicted, and needs no place."""
        return self.max_length + 1

    @property
    def eot_token_id(self) -> int:
        """Id of the end-of-text token.

        Raises:
            HaigoError: the tokenizer names none.
        """
        number = self.tokenizer.eos_token_id
        if number is None:
            raise HaigoError(
                f"{self.tokenizer_place}: the tokenizer names no end-of-text token, and this task needs one.",
                "name it as eos_token in tokenizer_config.json",
            )
        return int(number)

    @property
    def end_of_text(self) -> str:
        """The end-of-text token as it is spelled; raises as `eot_token_id`."""
        return str(self.tokenizer.eos_token) if self.eot_token_id is not None else ""

    def encode(self, text: str) -> list[int]:
        """Token ids of a text by itself, without special tokens."""
        known = self._encoded.get(text)
        if known is None:
            try:
                known = self.opened.ids(text)
            except (TypeError, UnicodeEncodeError, RuntimeError):  # transformers' and sentencepiece's
                raise HaigoError(
                    f"the text {text[:40]!r} is not valid Unicode (half of a surrogate pair).", "mend the data file"
                ) from None
            if known and max(known) >= self.rows:
                raise HaigoError(
                    f"the tokenizer gives the id {max(known):,} for {text[:40]!r}, and the model embeds {self.rows:,}.",
                    "use the tokenizer that the model was trained with",
                )
            if len(text) < 64:  # choices and answers come back again and again, contexts do not
                self._encoded[text] = known
        return known

    def ask_by(self, chat: Chat) -> None:
        super().ask_by(chat)
        self._encoded.clear()

    def context_ids(self, context: str) -> list[int]:
        """The tokens before an answer: of the context, or of the chat that puts it; the end-of-text token where it is empty."""
        if self.chat is not None:
            return self.chat.ids(self, context)
        return self.encode(context) if context else [self.eot_token_id]

    def shown(self, context: str) -> str:
        """The context as the model gets it."""
        return context if self.chat is None else "".join(self.chat.texts(self, context))

    @property
    def room(self) -> int:
        """Tokens that are left of `max_length` beside what a chat template puts around a context."""
        around = 0 if self.chat is None else max(0, len(self.chat.ids(self, "a")) - len(self.encode("a")))
        return self.max_length - around

    def ends(self) -> list[int]:
        """The tokens that end an answer in a chat: all that the model or its tokenizer names."""
        named = getattr(self.model.generation_config, "eos_token_id", None)
        return sorted({self.eot_token_id, *(named if isinstance(named, list) else [] if named is None else [named])})

    def decode(self, ids: list[int]) -> str:
        """The text of token ids, without special tokens."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    def pieces(self, text: str) -> list[str]:
        """The tokens of a text as strings."""
        return list(self.tokenizer.tokenize(text))

    def tok_encode(self, string: str, *args: Any, **more: Any) -> list[int]:
        """lm-eval's name for `encode`; its options about special tokens do not apply."""
        return self.encode(string)

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Summed log-probability (nats) of each choice after its context, and whether greedy decoding gives it."""
        encoded: list[Encoded] = []
        last: tuple[str | None, list[int]] = (None, [])
        for context, choice in (request.args for request in requests):
            if context != last[0]:
                last = (context, self.context_ids(context))
            choice_ids = self.encode(choice)
            if not choice_ids:
                raise HaigoError(
                    f"the tokenizer encodes the choice {choice!r} to nothing.", "use another tokenizer or prompt"
                )
            if len(choice_ids) >= self.window:
                raise HaigoError(
                    f"the choice {choice[:40]!r} has {len(choice_ids):,} tokens and the model takes {self.window - 1:,}.",
                    "use a model with a longer context",
                )
            encoded.append(((context, choice), last[1], choice_ids))
        return self._loglikelihood_tokens(encoded, disable_tqdm=disable_tqdm)

    def _loglikelihood_tokens(
        self, requests: Sequence[Encoded], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        # What is too long loses its beginning, by the length of its own choice. Choices of one length still share a context.
        window = self.window
        keys = [(tuple(context[-(window - len(choice)) :]), tuple(choice)) for _, context, choice in requests]
        cut = {
            id(context) for (kept, _), (_, context, _) in zip(keys, requests, strict=True) if len(kept) < len(context)
        }
        self._say_truncated(len(cut))
        groups: dict[tuple[int, ...], dict[tuple[int, ...], None]] = {}
        for context, choice in keys:
            groups.setdefault(context, {})[choice] = None
        found: dict[tuple[tuple[int, ...], tuple[int, ...]], tuple[float, bool]] = {}
        questions = []
        for c, choices in groups.items():
            question = packed.Question(context=c, choices=tuple(choices))
            old = self.journal.known.get(key(c, question.choices)) if self.journal else None
            if old is None:
                questions.append(question)
            else:
                found |= {(c, choice): (score, greedy) for choice, (score, greedy) in zip(choices, old, strict=True)}
        with self._progress("scoring", len(questions), "contexts") as progress, quiet():
            if self.share_context is None:
                self._try_sharing(questions)
            for question, answers in self._score(questions, progress):
                if any(math.isnan(score) for score, _ in answers):
                    raise _no_number(self.model.dtype)
                if self.journal:
                    self.journal.add(key(question.context, question.choices), answers)
                for choice, answer in zip(question.choices, answers, strict=True):
                    found[question.context, choice] = answer
        return [found[key] for key in keys]

    def _try_sharing(self, questions: list[packed.Question]) -> None:
        """See whether contexts may be shared; a run that goes on keeps to what it saw at first."""
        known = self.journal.known if self.journal else {}
        if TRIAL in known:
            self.sharing = packed.Trial(**known[TRIAL]) if known[TRIAL] else None
        elif questions:
            self.sharing = packed.trial(self.model, questions, self._plain)
            if self.journal:
                self.journal.add(TRIAL, dataclasses.asdict(self.sharing) if self.sharing else None)
        else:
            return
        self.share_context = self.sharing is not None and self.sharing.holds

    def _score(
        self, questions: list[packed.Question], progress: Progress
    ) -> Iterator[tuple[packed.Question, list[tuple[float, bool]]]]:
        begun = packed.prefix(self.model, questions) if self.share_context else None
        known = [] if begun is None else [begun]
        for batch in packed.batches(questions, self.contexts_per_pass, self.device.type, sum(p.length for p in known)):
            shared = packed.score(self.model, batch, *known) if self.share_context else None
            yield from zip(batch, shared or map(self._plain, batch), strict=True)
            progress.update(len(batch))

    def _plain(self, question: packed.Question) -> list[tuple[float, bool]]:
        """Every choice with a pass of its own, by lm-eval's code."""
        requests = [(("", ""), list(question.context), list(choice)) for choice in question.choices]
        return super()._loglikelihood_tokens(requests, disable_tqdm=True)

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Greedy continuations, cut at the stop strings."""
        found: dict[tuple[str, tuple[str, ...], int], str] = {}
        order = []
        # jp-stable answers equal contexts once, with the first one's stop strings and length
        first: dict[object, tuple[str, tuple[str, ...], int]] = {}
        for context, wanted in (request.args for request in requests):
            asked = (context, tuple(wanted["until"]), int(wanted["max_gen_toks"]))
            order.append(first.setdefault(context if asked[1] else asked, asked))
        truncated = set()
        distinct = list(dict.fromkeys(order))
        known = self.journal.known if self.journal else {}
        with self._progress("generating", len(distinct), "answers") as progress, quiet():
            for asked in distinct:
                if (old := known.get(key(*asked))) is not None:
                    found[asked], cut = old
                    truncated |= {asked[0]} if cut else set()
                    progress.update()
            waiting = [asked for asked in distinct if asked not in found]
            for start in range(0, len(waiting), self.answers_at_once):
                batch = waiting[start : start + self.answers_at_once]
                for asked, (answer, cut) in zip(batch, self._generated(batch), strict=True):
                    found[asked] = answer
                    if self.journal:
                        self.journal.add(key(*asked), [answer, cut])
                    truncated |= {asked[0]} if cut else set()
                    progress.update()
        self._say_truncated(len(truncated))
        return [found[asked] for asked in order]

    def _generate(self, context: str, stops: tuple[str, ...], budget: int) -> tuple[str, bool]:
        return self._generated([(context, stops, budget)])[0]

    def _generated(self, batch: Sequence[tuple[str, tuple[str, ...], int]]) -> list[tuple[str, bool]]:
        """The answer to each context with its stop strings and its most tokens, and whether the context was cut."""
        prompts: list[Prompt] = []
        cut: list[bool] = []
        chat_ends = self.ends() if self.chat is not None else []
        for context, stops, budget in batch:
            room = self.max_length - budget
            if room <= 0:
                raise HaigoError(
                    f"an answer may have {budget:,} tokens and the model takes {self.max_length:,} in all.",
                    "use a model with a longer context",
                )
            ids = self.context_ids(context)
            stop_ids = [] if not stops or stops[0] == self.tokenizer.eos_token else self.encode(stops[0])
            end = stop_ids[-1] if stop_ids else self.eot_token_id
            prompts.append(Prompt(ids[-room:], budget, [end, *chat_ends], penalised=bool(stops)))
            cut.append(len(ids) > room)
        # every right answer is empty where there are no tokens for it; jp-stable stops with an error there
        asked = [prompt for prompt in prompts if prompt.budget > 0]
        continued = iter(self._continue(asked) if asked else [])
        answers = []
        for prompt, (_, stops, _) in zip(prompts, batch, strict=True):
            # a model's vocabulary may be padded beyond the tokenizer's: such ids have no text
            tokens = next(continued) if prompt.budget > 0 else []
            written = [token for token in tokens if token < len(self.tokenizer)]
            written = written[: next((at for at, token in enumerate(written) if token in chat_ends), None)]
            if not stops and prompt.budget > 0:
                answers.append(self._continuation(prompt.ids, written))
                continue
            answer = str(self.tokenizer.decode(written, skip_special_tokens=False)) if written else ""
            for stop in stops:
                answer = answer.split(stop)[0]
            answers.append(answer)
        return list(zip(answers, cut, strict=True))

    def _continue(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """The tokens that greedy decoding puts after each prompt, the one that ends it among them."""
        made = []
        for prompt in prompts:
            ids = torch.tensor([prompt.ids], device=self.device)
            with torch.no_grad():
                found = self.model.generate(
                    ids,
                    attention_mask=torch.ones_like(ids),
                    max_length=ids.shape[1] + prompt.budget,
                    eos_token_id=prompt.ends if len(prompt.ends) > 1 else prompt.ends[0],
                    pad_token_id=prompt.ends[0],
                    do_sample=False,
                    output_logits=True,
                    return_dict_in_generate=True,
                    **({} if prompt.penalised else {"repetition_penalty": 1.0}),
                )
            whole = getattr(found, "sequences", found)  # a model's own code may give the ids alone
            if whole is not found and torch.isnan(found.logits[0]).any():
                raise _no_number(self.model.dtype)
            made.append(whole[0, ids.shape[1] :].tolist())
        return made

    def _continuation(self, prompt: list[int], written: list[int]) -> str:
        """What an answer adds to the text, as transformers' text-generation pipeline takes it (4.38)."""
        how = {"skip_special_tokens": True, "clean_up_tokenization_spaces": True}
        before, whole = (str(self.tokenizer.decode(ids, **how)) for ids in (prompt, prompt + written))
        return whole[len(before) :]

    def as_lm_eval(self, batch_size: int | str | None, own: bool, auto: bool) -> CheckedLM | None:
        """The same weights behind lm-eval's own way of asking and scoring; None where they would have to be read anew.

        Args:
            batch_size: as `loading.load` takes it.
            own: nobody needs this model in its precision any more.
            auto: the precision is to be the checkpoint's, as lm-eval's own default is; else this model's.
        """
        wanted = self.config.dtype if auto else self.model.dtype
        if wanted != self.model.dtype and not (own and loading.can_round(self.model, wanted)):
            return None
        if wanted != self.model.dtype:
            loading.round_weights(self.model, wanted)
        plain = copy.copy(self)
        plain.__class__ = CheckedLM
        plain.set_batch_size(batch_size or 1)
        return plain

    def _progress(self, label: str, total: int, unit: str) -> Progress:
        return Progress(label, total, unit, quiet=not self.show_progress)

    def _say_truncated(self, count: int) -> None:
        if count:
            self.truncated += count
            print(
                f"haigo: {count:,} contexts with their answers are longer than the model's {self.max_length:,} tokens; their "
                "beginning is cut off, as on the leaderboard.",
                file=sys.stderr,
            )


def load(
    model_args: str | Mapping[str, Any],
    batch_size: int | str | None = None,
    device: str | None = None,
    share_context: bool | None = None,
    show_progress: bool = True,
    trust_remote_code: bool = False,
) -> LeaderboardLM:
    """The model that lm-eval's `--model_args` names: `pretrained=DIR[,dtype=float32][,tokenizer=DIR][,max_length=N]...`.

    Args:
        model_args: as `parse_args` takes them.
        trust_remote_code: run Python code that the model's folder or repository brings along.

    Raises:
        HaigoError: no `pretrained`, an option that does not exist, or a model that can not be loaded.
    """
    more = {"share_context": share_context, "trust_remote_code": trust_remote_code}
    model = loading.load(LeaderboardLM, parse_args(model_args), batch_size, device, **more)
    model.show_progress = show_progress
    return model


def _no_number(dtype: torch.dtype) -> HaigoError:
    return Refused(
        "the model's log-likelihoods are no numbers (NaN).",
        "check the weights; they may be damaged, or of a run that diverged"
        + ("" if dtype == torch.float32 else f", or too large for {dtype}: try dtype=float32".replace("torch.", "")),
    )
