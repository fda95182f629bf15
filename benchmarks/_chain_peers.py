"""What `text_chain.py --peers` measures beside Haigo's chain: the tokenise-and-index floors, and three tools in series.

The floors are those of `index_speed.py` (ids as lists, as arrays), on the raw jsonl: nothing is cleaned, nothing is compared.
In series are a HojiChar chain (that of `clean_speed.py`, without adult words), datasketch (the bands and rows of
`preprocess.dedup`; a document that shares a bucket with an earlier one goes, as its guide does it) and GPT-NeoX's
preprocess_data; each writes the jsonl that the next one reads.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from _measure import ROOT, command

_HOJICHAR = """
import sys
sys.path.insert(0, "benchmarks")
from clean_speed import hojichar_chain
from hojichar import Compose
composed = Compose(hojichar_chain(False))
with open(sys.argv[1], encoding="utf-8") as lines, open(sys.argv[2], "w", encoding="utf-8") as out:
    for line in lines:
        made = composed(line)
        if made:
            out.write(made + "\\n")
"""
_DATASKETCH = """
import sys
sys.path.insert(0, "benchmarks")
from datasketch import MinHash, MinHashLSH
from dedup_speed import BANDS, ROWS, normal, shingles
import orjson
how = {}
try:
    import xxhash
    how["hashfunc"] = xxhash.xxh32_intdigest
except ImportError:
    pass
index = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
with open(sys.argv[1], "rb") as lines, open(sys.argv[2], "wb") as out:
    for number, line in enumerate(lines):
        sketch = MinHash(num_perm=BANDS * ROWS, **how)
        sketch.update_batch([each.encode() for each in shingles(normal(orjson.loads(line)["text"]))])
        if not index.query(sketch):
            index.insert(number, sketch, check_duplication=False)
            out.write(line)
"""


def seconds(raw: Path, model: Path, folder: Path) -> dict[str, float]:
    """CPU seconds of the floors and of each tool that is there, by name."""
    from index_speed import FLOORS, contenders

    calls = contenders(raw, model, False)
    took = {name: command([*calls[name][0], folder / "floor"])[0] for name in FLOORS}
    try:
        import datasketch as _  # noqa: F401
        import hojichar as _h  # noqa: F401
    except ImportError:
        print("HojiChar and datasketch are not installed (pip install -c constraints.txt): no series", file=sys.stderr)
        return took
    steps = {"HojiChar": (_HOJICHAR, raw), "datasketch": (_DATASKETCH, folder / "HojiChar.jsonl")}
    for name, (script, source) in steps.items():
        took[name] = command([sys.executable, "-c", script, source, folder / f"{name}.jsonl"], ROOT)[0]
    neox = contenders(folder / "datasketch.jsonl", model, bool(os.environ.get("GPT_NEOX_DIR"))).get(
        "GPT-NeoX, 1 worker"
    )
    if neox is not None:
        call, cwd, env = neox
        took["GPT-NeoX"] = command([*call, folder / "neox"], cwd, env)[0]
    return took
