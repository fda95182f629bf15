"""Weight initialisation by GPT-NeoX's names.

Embeddings, query_key_value and dense_h_to_4h take `init_method`, as does the untied output layer; attention.dense and
dense_4h_to_h take `output_layer_init_method`. Biases start at 0, layer norms at weight 1 and bias 0.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import GPTNeoXForCausalLM

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


def initialise(model: GPTNeoXForCausalLM, settings: Settings) -> None:
    """Fill every weight from the run's own generator (`settings.seed`): same seed, same weights, whatever ran before."""
    import torch

    generator = torch.Generator().manual_seed(settings.seed)

    def fill(weight: torch.Tensor, name: str) -> None:
        wide = std(
            name,
            (weight.shape[0], weight.shape[1]),
            hidden=settings.hidden_size,
            layers=settings.num_layers,
            sigma=settings.init_method_std,
        )
        if name == "xavier_uniform":
            bound = math.sqrt(3.0) * wide
            weight.uniform_(-bound, bound, generator=generator)
        else:
            weight.normal_(0.0, wide, generator=generator)

    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.LayerNorm):
                module.weight.fill_(1.0)
                module.bias.zero_()
            elif isinstance(module, torch.nn.Linear) and module.bias is not None:
                module.bias.zero_()
        body = model.gpt_neox
        fill(body.embed_in.weight, settings.init_method)
        layers: Any = body.layers
        for layer in layers:
            fill(layer.attention.query_key_value.weight, settings.init_method)
            fill(layer.attention.dense.weight, settings.output_layer_init_method)
            fill(layer.mlp.dense_h_to_4h.weight, settings.init_method)
            fill(layer.mlp.dense_4h_to_h.weight, settings.output_layer_init_method)
        if not settings.tied:
            fill(model.lm_head.weight, settings.init_method)
