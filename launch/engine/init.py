"""Weight initialisation by GPT-NeoX's names.

Embeddings, query_key_value and dense_h_to_4h take `init_method`, as does the untied output layer; attention.dense and
dense_4h_to_h take `output_layer_init_method`. Biases start at 0, norms at weight 1 and bias 0. In a Llama, query, key and value
are one matrix to GPT-NeoX, and so are gate and value of the MLP.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from launch.engine.settings import Settings

INITS = (
    "normal",
    "scaled_normal",
    "single_residual_scaled_normal",
    "small_init",
    "wang_init",
    "xavier_normal",
    "xavier_uniform",
)


def std(name: str, shape: tuple[int, int], *, hidden: int, layers: int, sigma: float) -> float:
    """Standard deviation of the named init for a matrix of `shape` (rows, columns).

    Args:
        name: one of INITS. small_init: Nguyen & Salazar 2019; wang_init: 2 / (layers * sqrt(hidden)).
        hidden, layers: the model's sizes.
        sigma: GPT-NeoX's init_method_std.
    """
    return {
        "normal": sigma,
        "scaled_normal": sigma / math.sqrt(2.0 * layers),
        "single_residual_scaled_normal": sigma / math.sqrt(layers),
        "small_init": math.sqrt(2 / (5 * hidden)),
        "wang_init": 2 / layers / math.sqrt(hidden),
        "xavier_normal": math.sqrt(2.0 / (shape[0] + shape[1])),
        "xavier_uniform": math.sqrt(2.0 / (shape[0] + shape[1])),
    }[name]


def initialise(model: PreTrainedModel, settings: Settings) -> None:
    """Fill every weight from the run's own generator (`settings.seed`): same seed, same weights, whatever ran before."""
    import torch

    generator = torch.Generator().manual_seed(settings.seed)

    def fill(weight: torch.Tensor, name: str, rows: int | None = None) -> None:
        wide = std(
            name,
            (rows or weight.shape[0], weight.shape[1]),
            hidden=settings.hidden_size,
            layers=settings.num_layers,
            sigma=settings.init_method_std,
        )
        if name == "xavier_uniform":
            bound = math.sqrt(3.0) * wide
            weight.uniform_(-bound, bound, generator=generator)
        else:
            weight.normal_(0.0, wide, generator=generator)

    table: Any = model.get_input_embeddings()
    head: Any = model.get_output_embeddings()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(".bias"):
                weight.zero_()
            elif weight.dim() == 1:  # of a norm
                weight.fill_(1.0)
        fill(table.weight, settings.init_method)
        layers: Any = model.base_model.layers
        for layer in layers:
            first, last = _gpt(layer) if settings.gpt else _llama(layer)
            for pair, out in zip(first, last, strict=True):
                rows = sum(part.shape[0] for part in pair)
                for part in pair:
                    fill(part, settings.init_method, rows)
                fill(out, settings.output_layer_init_method)
        if not settings.tied:
            fill(head.weight, settings.init_method)


def _gpt(layer: Any) -> tuple[list[list[torch.Tensor]], list[torch.Tensor]]:
    """Of attention and MLP the matrices that are one to GPT-NeoX, and the matrix after them."""
    attention, mlp = layer.attention, layer.mlp
    first = [[attention.query_key_value.weight], [mlp.dense_h_to_4h.weight]]
    return first, [attention.dense.weight, mlp.dense_4h_to_h.weight]


def _llama(layer: Any) -> tuple[list[list[torch.Tensor]], list[torch.Tensor]]:
    """As `_gpt`, in GPT-NeoX's order."""
    attention, mlp = layer.self_attn, layer.mlp
    together = [attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight]
    return [together, [mlp.up_proj.weight, mlp.gate_proj.weight]], [attention.o_proj.weight, mlp.down_proj.weight]
