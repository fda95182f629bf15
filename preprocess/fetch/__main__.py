"""Text from where it is published: Diet minutes, Wikipedia, news feeds, Hugging Face data, plain addresses.

    python -m preprocess.fetch kokkai --from 2024-01-01 --until 2024-12-31 --contact you@example.org --output-dir raw/diet
    python -m preprocess.fetch mediawiki-dump --wiki jawiki --contact you@example.org --output-dir raw/wiki
    python -m preprocess.fetch mediawiki-api https://ja.wikinews.org/w/api.php --contact ... --output-dir raw/wikinews
    python -m preprocess.fetch feeds https://example.org/rss.xml --contact ... --output-dir raw/news
    python -m preprocess.fetch hub allenai/c4 --files 'multilingual/c4-ja.tfrecord-*.json.gz' --contact ... --output-dir raw/mc4
    python -m preprocess.fetch urls https://example.org/a.txt --contact ... --output-dir raw/pages

`python -m preprocess.fetch SOURCE --help` tells a source's own options. Servers are asked one request at a time with a
pause after each, by a client that names itself and --contact (or HAIGO_CONTACT). Writes DIR/00000.jsonl.zst and so on,
documents that preprocess.clean reads, each with licence, origin and date, and DIR/DATA_CARD.{md,json}, which comes last:
a folder without it is not finished. The same command goes on where it was stopped, and later fetches what is new.
--dry-run prints the requests and sends none.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from haigo import cli, files, flags, naming
from haigo.cli import HaigoError

from . import card, fetch_corpus
from .client import Client
from .feeds import Feeds
from .hub import Hub
from .kokkai import Kokkai
from .source import Source
from .urls import Urls
from .wiki_api import MediaWikiApi
from .wiki_dump import MediaWikiDump

SOURCES: dict[str, type[Source]] = {kind.name: kind for kind in (Kokkai, MediaWikiDump, MediaWikiApi, Feeds, Hub, Urls)}


def main(argv: Sequence[str] | None = None) -> int:
    source = flags.parse_one_of("preprocess.fetch", __doc__, SOURCES, argv)
    gap = source.gap_s if source.gap is None else source.gap
    if source.corpus is not None:
        naming.check(source.corpus, "corpus", "--corpus")
    if source.dry_run:
        plan = {"source": source.name, "gap_s": gap, "requests": list(source.plan())}
        last = f"One at a time, with {gap:g} s of pause after each reply."
        cli.show(plan, lambda plan: "\n".join([*plan["requests"], last]), source.json)
        return cli.OK
    if not source.output_dir:
        raise HaigoError("--output-dir is missing.", "name a folder, or give --dry-run")
    contact = source.contact or os.environ.get("HAIGO_CONTACT") or ""
    if not contact and source.networked:
        raise HaigoError(
            "--contact is missing: servers must be able to reach whoever asks them for so much.",
            "give your mail address or URL, or set HAIGO_CONTACT",
        )
    client = Client(
        contact or "local@localhost.localdomain",
        gap_s=gap,
        obey_robots=source.obey_robots,
        tries=source.tries,
        timeout_s=source.timeout,
        allow_private=source.allow_private,
    )
    files.check_output(source.output_dir, source.inputs())
    written = fetch_corpus(source, source.output_dir, client, source.corpus)
    cli.show(written, lambda written: card.summary(written, str(source.output_dir)), source.json)
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
