"""`--model vllm`: the leaderboard's rules on lm-eval's vLLM backend, for models that want many GPUs or many answers at a time.

Contexts, token ids, stops and the cutting of answers are those of `eval_harness.model`; lm-eval's `VLLM` gives the
log-likelihoods of tokens (`_loglikelihood_tokens`) and continues tokens (`_model_generate`), as in its own tasks. What differs:
vLLM wants room for one more token behind a choice, so that a context which fills the model's length loses two tokens more.
Import it only where a model is about to run: it brings in torch and lm-eval.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import torch
from lm_eval.api.model import TemplateLM

from eval_harness import loading, packed
from eval_harness.loading import first_line, own_code, quiet
from eval_harness.model import Encoded, LeaderboardLM, Prompt
from eval_harness.model_args import written
from haigo.cli import HaigoError
from haigo.progress import Progress

_AT_ONCE = 1024
"""Questions or answers that vLLM gets together: it makes its own batches, and what is done is kept between them."""


class VllmLM(LeaderboardLM):
    """lm-eval's vLLM model with jp-stable's rules.

    Args:
        pretrained: a model folder, or a name on the Hugging Face hub.
        dtype: as of `LeaderboardLM`.
        batch_size: None and lm-eval's auto leave it to vLLM.
        max_length: None for the config's.
        more: VLLM's other arguments, and those of vLLM's `LLM` (tensor_parallel_size, gpu_memory_utilization, ...).
    """

    answers_at_once = _AT_ONCE

    def __init__(
        self,
        pretrained: str,
        dtype: str = "float32",
        batch_size: int | str | None = None,
        tokenizer: str | None = None,
        max_length: int | None = None,
        trust_remote_code: bool = False,
        **more: Any,
    ) -> None:
        TemplateLM.__init__(self)
        self._begin()
        self.share_context = False
        loading.check_folder(pretrained)
        places = {word: more[word] for word in ("revision",) if word in more}
        trusted = {**places, "trust_remote_code": trust_remote_code}
        self._create_tokenizer(pretrained, tokenizer, **trusted)
        self._get_config(pretrained, **trusted)
        self._device, self._max_length = torch.device("cuda"), max_length
        self.rows = int(self.config.get_text_config().vocab_size)
        kind = self.config.dtype if dtype == "auto" else getattr(torch, dtype)
        # what is asked of a model beside its answers
        self._model = SimpleNamespace(config=self.config, dtype=kind, generation_config=_generation(pretrained, places))
        self.asked = {
            "dtype": dtype,
            "batch_size": batch_size or "auto",
            "max_model_len": self.max_length,
            "trust_remote_code": trust_remote_code,
            **({"tokenizer": tokenizer} if tokenizer is not None else {}),
            **more,
        }
        try:
            with quiet():
                from lm_eval.models.vllm_causallms import VLLM

                self.backend = VLLM(pretrained=pretrained, **self.asked)
        except HaigoError:
            raise
        except Exception as error:  # vLLM, Ray and CUDA have errors of their own
            raise own_code(pretrained, error) or HaigoError(
                f"vLLM can not load {pretrained}: {first_line(error)}", "check --model_args, or use --model hf"
            ) from None

    @property
    def parameters(self) -> None:  # type: ignore[override]
        """Not known here: the weights are vLLM's."""

    @property
    def window(self) -> int:
        return self.max_length - 1

    def placement(self) -> dict[str, Any]:
        return {"backend": "vllm", "vllm": version("vllm"), "arguments": self.asked}

    def _score(
        self, questions: list[packed.Question], progress: Progress
    ) -> Iterator[tuple[packed.Question, list[tuple[float, bool]]]]:
        for start in range(0, len(questions), _AT_ONCE):
            batch = questions[start : start + _AT_ONCE]
            asked = [(("", ""), list(each.context), list(choice)) for each in batch for choice in each.choices]
            answers = iter(self._of_tokens(asked))
            for question in batch:
                yield question, [next(answers) for _ in question.choices]
            progress.update(len(batch))

    def _of_tokens(self, requests: list[Encoded]) -> list[tuple[float, bool]]:
        found = self.backend._loglikelihood_tokens(requests, disable_tqdm=True)
        return [(float(score), bool(greedy)) for score, greedy in found]

    def _continue(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        from vllm import SamplingParams

        # transformers takes it from the model's folder by itself
        penalty = float(getattr(self.model.generation_config, "repetition_penalty", None) or 1.0)
        asked = [
            SamplingParams(
                temperature=0,
                max_tokens=prompt.budget,
                stop_token_ids=prompt.ends,
                ignore_eos=True,
                repetition_penalty=penalty if prompt.penalised else 1.0,
                detokenize=False,
            )
            for prompt in prompts
        ]
        outputs = self.backend._model_generate(
            requests=[prompt.ids for prompt in prompts], generate=True, sampling_params=asked
        )
        return [_tokens(output.outputs[0]) for output in outputs]


def _tokens(answer: Any) -> list[int]:
    """All tokens of an answer; the one that ended it too, where vLLM names it apart."""
    tokens = [int(token) for token in answer.token_ids]
    end = getattr(answer, "stop_reason", None)
    return [*tokens, end] if isinstance(end, int) and tokens[-1:] != [end] else tokens


def _generation(pretrained: str, places: Mapping[str, Any]) -> Any:
    """The model's settings of generation; none where it has no such file."""
    from transformers import GenerationConfig

    try:
        return GenerationConfig.from_pretrained(pretrained, **places)
    except OSError:
        return GenerationConfig()


def load(options: Mapping[str, Any], batch_size: int | str | None, trust_remote_code: bool) -> VllmLM:
    """The model that `--model_args` names, behind vLLM.

    Raises:
        HaigoError: an option that does not exist, or a model that can not be loaded.
    """
    loading.check_options(options)
    try:
        return VllmLM(**options, batch_size=batch_size, trust_remote_code=trust_remote_code)
    except TypeError as error:
        raise HaigoError(
            f"--model_args {written(options)}: {first_line(error)}", "see lm-eval's `vllm` model"
        ) from None
