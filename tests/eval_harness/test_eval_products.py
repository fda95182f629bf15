"""Linear layers by the faster library against the model's own."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM

from eval_harness import products

SHAPE = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
}


@pytest.mark.parametrize("kind", ["linear", "conv1d"])
def test_logits_are_the_models_own_and_layers_really_go_another_way(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    config, made = (GPTNeoXConfig, GPTNeoXForCausalLM) if kind == "linear" else (GPT2Config, GPT2LMHeadModel)
    model: Any = made(config(**SHAPE)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    fast = copy.deepcopy(model)
    products.by_the_faster_library(fast)
    calls: list[int] = []

    def counted(left: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        calls.append(len(left))
        return real(left, *rest)

    real = products.product
    monkeypatch.setattr(products, "product", counted)
    tokens = torch.arange(60).view(2, 30) % 40
    with torch.no_grad():
        torch.testing.assert_close(fast(tokens).logits, model(tokens).logits, rtol=1e-5, atol=1e-5)
        assert calls == [60] * 9  # four layers each, and the output layer
        assert torch.equal(fast(tokens[:1, :4]).logits, model(tokens[:1, :4]).logits)
        half, plain = fast.to(torch.bfloat16), model.to(torch.bfloat16)
        assert torch.equal(half(tokens).logits, plain(tokens).logits)
    assert len(calls) == 9
    fast.float()(tokens).logits.sum().backward()
    assert all(weight.grad is not None for weight in fast.parameters())


def test_layers_that_are_made_otherwise_stay_as_they_are() -> None:
    class Other(torch.nn.Linear):
        pass

    model = torch.nn.Sequential(Other(2, 2), torch.nn.Linear(2, 2))
    products.by_the_faster_library(model)
    assert type(model[0]) is Other and type(model[1]) is not torch.nn.Linear
