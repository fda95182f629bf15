"""A package `vllm` that computes with transformers: what lm-eval's backend asks of vLLM, by vLLM's names and rules.

It refuses words that vLLM's `LLM` and `SamplingParams` do not have, prompts without room for a token, and texts: so a test can
hold the arguments at vLLM's edge, and the numbers behind it, against Haigo's own engine where there is no GPU.
"""

from __future__ import annotations

from pathlib import Path

_VLLM = """
import torch
from dataclasses import dataclass
from types import SimpleNamespace
from transformers import AutoConfig, AutoModelForCausalLM

LOADED, ASKED = [], []


@dataclass(kw_only=True)
class SamplingParams:
    temperature: float
    max_tokens: int
    prompt_logprobs: int | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool = False
    repetition_penalty: float = 1.0
    detokenize: bool = True

    def __post_init__(self):
        assert self.temperature == 0 and self.max_tokens >= 1 and not self.detokenize and self.repetition_penalty == 1.0


def TokensPrompt(*, prompt_token_ids):
    return {"prompt_token_ids": prompt_token_ids}


class LLM:
    def __init__(self, *, model, revision=None, dtype="auto", tokenizer=None, tokenizer_mode="auto", tokenizer_revision=None,
                 trust_remote_code=False, tensor_parallel_size=1, max_model_len=None, max_num_seqs=None, quantization=None,
                 seed=None, enable_lora=False, max_lora_rank=16, gpu_memory_utilization=0.9):
        LOADED.append({k: v for k, v in locals().items() if k not in ("self", "__class__")})
        assert max_model_len <= AutoConfig.from_pretrained(model).max_position_embeddings
        self.inner = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype)).eval()
        self.length = max_model_len
        self.llm_engine = SimpleNamespace(model_config=SimpleNamespace(max_model_len=max_model_len))

    @torch.no_grad()
    def generate(self, prompts, *, sampling_params, use_tqdm, lora_request):
        assert lora_request is None and len(prompts) == len(sampling_params)
        return [self._one(p["prompt_token_ids"], s) for p, s in zip(prompts, sampling_params)]

    def _one(self, ids, params):
        if len(ids) + 1 > self.length or len(ids) + params.max_tokens > self.length:
            raise ValueError("the prompt is too long")
        ASKED.append((list(ids), params))
        logprobs = self.inner(torch.tensor([ids])).logits[0].float().log_softmax(-1)
        of_prompt = [None]
        if params.prompt_logprobs is not None:
            for row, token in zip(logprobs[:-1], ids[1:]):
                best = int(row.argmax())
                of_prompt.append({t: SimpleNamespace(logprob=float(row[t])) for t in {best, token}})
        made, reason = [], None
        while len(made) < params.max_tokens and reason is None:
            made.append(int(self.inner(torch.tensor([[*ids, *made]])).logits[0, -1].argmax()))
            if made[-1] in (params.stop_token_ids or []):
                reason = made[-1]
        answer = SimpleNamespace(token_ids=made, stop_reason=reason)
        return SimpleNamespace(prompt_logprobs=of_prompt, outputs=[answer])
"""

_TOKENIZERS = """
from transformers import AutoTokenizer


def get_tokenizer(name, *, tokenizer_mode, trust_remote_code, revision):
    return AutoTokenizer.from_pretrained(name)
"""


def write(folder: Path) -> Path:
    """The package and its version, in a folder for sys.path."""
    texts = {
        "vllm/__init__.py": _VLLM,
        "vllm/tokenizers.py": _TOKENIZERS,
        "vllm/lora/__init__.py": "",
        "vllm/lora/request.py": "class LoRARequest:\n    pass\n",
        "vllm-0.8.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: vllm\nVersion: 0.8.0\n",
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder
