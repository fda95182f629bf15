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
from pathlib import Path

from haigo import cli


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = cli.parser("examples.world", __doc__)
    parser.add_argument(
        "--output-dir", "--output_dir", type=Path, required=True, metavar="DIR", help="folder to write to"
    )
    parser.add_argument("--seed", type=cli.seed, default=7, help="another seed is another country (default: 7)")
    parser.add_argument("--size", type=float, default=1.0, help="1 is about 10 million characters (default: 1)")
    parser.add_argument("--json", action="store_true", help="print what was written as JSON")
    options = parser.parse_args(argv)
    from examples.world.build import build

    about = build(options.output_dir, options.seed, options.size, lambda line: print(line, file=sys.stderr))
    if options.json:
        print(json.dumps({key: value for key, value in about.items() if key != "facts"}, ensure_ascii=False, indent=2))
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
