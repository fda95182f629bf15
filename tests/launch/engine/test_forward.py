"""The engine's own layers and loss on a CPU against transformers and torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from haigo import matmul
from haigo.formats.dataset.ids import MASKED
from launch.engine import forward, settings
from launch.engine import model as models
from launch.engine.loss import fused_cross_entropy, token_nats
from neox_configs import reader

PROXY = Path(models.__file__).parents[2] / "neox_configs" / "proxies" / "0-3M.yml"


def small(**changed: Any) -> Any:
    config = reader.load(PROXY) | {"num_layers": 2, "hidden_size": 32, "train_iters": 4, "max_position_embeddings": 640}
    model = models.build(settings.resolve(config | changed), 50, 1)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():  # biases and norms start at values that would hide a mistake
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return model


def tokens(batch: int, length: int) -> torch.Tensor:
    return torch.randint(50, (batch, length), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("length", [1, 37, 64, 130])
@pytest.mark.parametrize(
    "changed", [{}, {"rotary_pct": 0.5}, {"gpt_j_residual": True}, {"use_bias_in_attn_linear": False}], ids=str
)
def test_hidden_states_and_gradients_are_those_of_transformers(changed: dict[str, Any], length: int) -> None:
    model, batch = small(**changed), tokens(3, length)
    assert forward.takes(model, batch)
    weights = torch.randn(3 * length, 32, generator=torch.Generator().manual_seed(3))
    seen = []
    for hidden in (models.body(model, batch), model.base_model(input_ids=batch).last_hidden_state.flatten(0, 1)):
        model.zero_grad()
        (hidden * weights).sum().backward()
        seen.append([hidden.detach(), *(weight.grad.clone() for weight in model.base_model.parameters())])
    for own, theirs in zip(*seen, strict=True):
        torch.testing.assert_close(own, theirs, rtol=1e-4, atol=1e-4 * max(1.0, float(theirs.abs().max())))


def test_the_same_batch_gives_the_same_bytes() -> None:
    model, batch = small(), tokens(2, 100)
    seen = []
    for _ in range(2):
        model.zero_grad()
        models.body(model, batch).square().sum().backward()
        seen.append([weight.grad.clone() for weight in model.base_model.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*seen, strict=True))


def test_what_the_own_layers_do_not_take() -> None:
    model = small()
    assert not forward.takes(model, tokens(1, forward.LONGEST + 1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not forward.takes(model, tokens(1, 8))


@pytest.mark.parametrize("chunk", [None, 7, 64])
def test_loss_and_gradients_are_those_of_torch(chunk: int | None) -> None:
    generator = torch.Generator().manual_seed(4)
    hidden = torch.randn(40, 16, generator=generator, requires_grad=True)
    weight = torch.randn(90, 16, generator=generator, requires_grad=True)
    labels = torch.randint(90, (40,), generator=generator)
    labels[::5] = MASKED
    own = fused_cross_entropy(hidden, weight, labels, chunk)
    stock = torch.nn.functional.cross_entropy(hidden @ weight.t(), labels, ignore_index=MASKED)
    torch.testing.assert_close(own, stock)
    for factor in (1.0, 0.5):
        for mine, theirs in zip(
            torch.autograd.grad(own * factor, (hidden, weight), retain_graph=True),
            torch.autograd.grad(stock * factor, (hidden, weight), retain_graph=True),
            strict=True,
        ):
            torch.testing.assert_close(mine, theirs)
    torch.testing.assert_close(
        token_nats(hidden, weight, labels, chunk).sum() / (labels != MASKED).sum(), stock.detach()
    )


def test_a_chance_below_the_smallest_float_has_its_loss() -> None:
    hidden, weight = torch.ones(2, 1), torch.tensor([[0.0], [300.0]])
    assert fused_cross_entropy(hidden, weight, torch.tensor([0, 1])).item() == pytest.approx(150.0)


def test_products_are_those_of_torch_with_and_without_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(5)
    left, right, bias = (torch.randn(size, generator=generator) for size in ((5, 7), (7, 3), (3,)))
    asked = [matmul.product(left, right, bias), matmul.product(left, right.t().contiguous().t())]
    monkeypatch.setattr(matmul, "_onednn", lambda: None)
    for done, expected in zip(asked, [matmul.product(left, right, bias), matmul.product(left, right)], strict=True):
        torch.testing.assert_close(done, expected)
