"""Sentence embeddings of a causal model, and how well they tell like sentences from unlike ones.

    python -m eval_harness.embed --model MODEL_FOLDER FILE --output vectors.parquet [--layer -1]
    python -m eval_harness.embed --model MODEL_FOLDER --jsts jsts-valid-v1.1.json

FILE has one sentence a line, or JSON lines with `text`. An embedding is the mean of a layer's states over the sentence's
tokens, of length 1. The output is .parquet (text, embedding) or .npy (rows in the file's order). --jsts gives Spearman's
correlation between the cosine of two sentences and what people said of them (JSTS, JGLUE; Kurihara et al. 2022).
"""

from __future__ import annotations

import json
import math
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eval_harness import data
from eval_harness.options import EmbedOptions
from eval_harness.origins import REPOSITORY
from haigo import cli, files, flags
from haigo.cli import HaigoError, Refused

if TYPE_CHECKING:
    from eval_harness.model import LeaderboardLM

_TOKENS_PER_PASS = 4096


def embed(model: LeaderboardLM, sentences: Sequence[str], layer: int = -1) -> np.ndarray:
    """Embeddings of unit length, shape (sentences, width), float32.

    Args:
        layer: which layer's states; -1 the last, 0 the token embeddings. Longer texts are cut at the model's length.

    Raises:
        HaigoError: an empty sentence, or no such layer.
    """
    import torch

    ids = [model.encode(sentence)[: model.max_length] for sentence in sentences]
    empty = next((number for number, each in enumerate(ids) if not each), None)
    if empty is not None:
        raise HaigoError(f"sentence {empty + 1} is empty.", "leave it out")
    layers = int(model.model.config.num_hidden_layers)
    if not -layers - 1 <= layer <= layers:
        raise HaigoError(f"--layer {layer}: the model has {layers} layers.", f"give -{layers + 1} to {layers}")
    found = np.zeros((len(ids), int(model.model.config.hidden_size)), dtype=np.float32)
    order = sorted(range(len(ids)), key=lambda number: -len(ids[number]))
    start = 0
    while start < len(order):
        longest = len(ids[order[start]])
        chosen = order[start : start + max(1, _TOKENS_PER_PASS // longest)]
        batch = torch.zeros((len(chosen), longest), dtype=torch.long)
        mask = torch.zeros((len(chosen), longest), dtype=torch.long)
        for row, number in enumerate(chosen):
            batch[row, : len(ids[number])] = torch.tensor(ids[number])
            mask[row, : len(ids[number])] = 1
        mask = mask.to(model.device)
        with torch.no_grad():
            states = model.model(
                input_ids=batch.to(model.device), attention_mask=mask, output_hidden_states=True, use_cache=False
            ).hidden_states[layer]
        weights = mask[:, :, None].to(states.dtype)
        means = ((states * weights).sum(1) / weights.sum(1)).float().cpu().numpy()
        if not np.isfinite(means).all():
            raise Refused("the model's states are no numbers (NaN).", "check the weights; they may be damaged")
        found[chosen] = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        start += len(chosen)
    return found


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's rank correlation; ties share their mean rank. NaN where one side is always the same."""
    from scipy.stats import spearmanr

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of constant values; the answer is NaN then
        return float(spearmanr(first, second).statistic)


def jsts(model: LeaderboardLM, path: Path, layer: int = -1) -> dict[str, Any]:
    """Spearman's correlation on JSTS, its standard error (Bonett and Wright 2000), and the number of pairs."""
    rows = [row for _, row in data.rows(path, {"sentence1": str, "sentence2": str, "label": (int, float)})]
    if len(rows) < 5:
        raise HaigoError(f"{path} has {len(rows)} pairs.", "use the whole file")
    texts = list(dict.fromkeys(text for row in rows for text in (row["sentence1"], row["sentence2"])))
    vectors = dict(zip(texts, embed(model, texts, layer), strict=True))
    cosines = [float(vectors[row["sentence1"]] @ vectors[row["sentence2"]]) for row in rows]
    rho = spearman(cosines, [float(row["label"]) for row in rows])
    if math.isnan(rho):
        raise HaigoError(
            f"{path}: the correlation does not exist, one side is always the same or no number.", "mend it"
        )
    return {
        "spearman": rho,
        "stderr": (1 - rho**2) * ((1 + rho**2 / 2) / (len(rows) - 3)) ** 0.5,
        "pairs": len(rows),
    }


def sentences(path: Path) -> list[str]:
    """The sentences of a file, one a line or as JSON lines with `text`."""
    if not path.is_file():
        raise HaigoError(f"{path} does not exist.", "name a file with one sentence a line")
    every = [line.strip() for line in data.text(path).removesuffix("\n").split("\n")]
    lines = [line for line in every if line]
    if not lines:
        raise HaigoError(f"{path} is empty.", "name a file with one sentence a line")
    if len(lines) < len(every):  # rows of .npy are told by their number
        print(f"haigo: {len(every) - len(lines):,} empty lines of {path} have no embedding.", file=sys.stderr)
    if lines[0].startswith("{"):
        return [row["text"] for _, row in data.rows(path, {"text": str})]
    return lines


def write(path: Path, texts: Sequence[str], vectors: np.ndarray) -> None:
    """Write .npy or .parquet."""
    if path.suffix == ".npy":
        with files.create(path) as handle:
            np.save(handle, vectors)
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    with files.atomic(path) as temporary:
        pq.write_table(pa.table({"text": pa.array(list(texts)), "embedding": flat}), temporary)


def main(argv: Sequence[str] | None = None) -> int | None:
    """The command."""
    given = flags.parse("eval_harness.embed", __doc__, EmbedOptions, argv)
    if given.file is None and given.jsts is None:
        raise HaigoError("neither FILE nor --jsts is given.", "give one of them, or both")
    if (given.file is None) != (given.output is None):
        raise HaigoError("FILE and --output belong together.", "give both")
    if given.output is not None and given.output.suffix not in (".npy", ".parquet"):
        raise HaigoError(f"--output {given.output} is neither .npy nor .parquet.", "name such a file")
    if given.output is not None:
        files.check_output(given.output, [given.file, given.jsts])
    texts = sentences(given.file) if given.file is not None else []
    if given.jsts is not None and not given.jsts.is_file():
        raise HaigoError(f"{given.jsts} does not exist.", f"get jsts-v1.1/valid-v1.1.json from {REPOSITORY}")
    from eval_harness.model import load

    trusted = given.trust_remote_code
    model = load(given.model_args(), device=given.device, show_progress=False, trust_remote_code=trusted)
    if texts and given.output is not None:
        vectors = embed(model, texts, given.layer)
        write(given.output, texts, vectors)
        print(f"{given.output}: {vectors.shape[0]:,} embeddings of {vectors.shape[1]:,} numbers")
    if given.jsts is not None:
        print(json.dumps(jsts(model, given.jsts, given.layer)))
    return None


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
