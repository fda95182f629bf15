"""Write the sample corpora: Japanese text about one invented country, Python's own code and docstrings, and questions.

    python -m examples.world --output-dir data/world --seed 7

The folder then holds encyclopedia/ (MediaWiki dump), news/ (jsonl.gz), minutes/ (pages of a minutes API), stories/
(Shift_JIS tar.xz), code/ and english/ (jsonl.zst), qa/ (JCommonsenseQA's layout, and pairs) and world.json. It takes
some seconds. Nothing is downloaded; all of the Japanese is synthetic.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from haigo import cli, flags
from haigo.options import Options, option, seed


@dataclass(frozen=True, kw_only=True)
class WorldOptions(Options):
    """What `examples.world` can be told."""

    output_dir: Path = option("folder to write to", metavar="DIR")
    seed: int = seed("another seed is another country", 7)
    size: float = option("1 is about 10 million characters", 1.0)
    json: bool = option("print what was written as JSON", False)


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    options = flags.parse("examples.world", __doc__, WorldOptions, argv)
    from examples.world.build import build

    about = build(options.output_dir, options.seed, options.size, lambda line: print(line, file=sys.stderr))
    if options.json:
        print(json.dumps({key: value for key, value in about.items() if key != "facts"}, ensure_ascii=False, indent=2))
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
