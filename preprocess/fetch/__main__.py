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

import argparse
import os
import pkgutil
from collections.abc import Sequence

from haigo import cli, files, flags
from haigo.cli import HaigoError

from . import card, fetch_corpus
from .client import Client
from .source import FetchOptions, Limits, Source

SOURCES = ("kokkai:Kokkai", "wiki_dump:MediaWikiDump", "wiki_api:MediaWikiApi", "feeds:Feeds", "hub:Hub", "urls:Urls")


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser("preprocess.fetch", __doc__)
    verbs = parser.add_subparsers(dest="source", metavar="SOURCE", required=True, parser_class=type(parser))
    kinds: dict[str, type[Source]] = {}
    for name in SOURCES:
        kind = pkgutil.resolve_name(f"{__package__}.{name}")
        kinds[kind.name] = kind
        verb = verbs.add_parser(kind.name, help=kind.summary, description=kind.summary)
        verb.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
        flags.add(verb, FetchOptions)
        flags.add(verb, kind)
    args, unknown = parser.parse_known_args(argv)
    if unknown:  # raised by the source's own parser, which knows the options that may have been meant
        verbs.choices[args.source].error(f"unrecognized arguments: {' '.join(unknown)}")
    options, source = flags.taken(FetchOptions, args), flags.taken(kinds[args.source], args)
    source.licence, source.limits = options.licence, Limits(options.max_documents, options.max_chars)
    gap = source.gap_s if options.gap is None else options.gap
    if options.dry_run:
        plan = {"source": source.name, "gap_s": gap, "requests": list(source.plan())}
        last = f"One at a time, with {gap:g} s of pause after each reply."
        cli.show(plan, lambda plan: "\n".join([*plan["requests"], last]), options.json)
        return cli.OK
    if not options.output_dir:
        raise HaigoError("--output-dir is missing.", "name a folder, or give --dry-run")
    contact = options.contact or os.environ.get("HAIGO_CONTACT") or ""
    if not contact and source.networked:
        raise HaigoError(
            "--contact is missing: servers must be able to reach whoever asks them for so much.",
            "give your mail address or URL, or set HAIGO_CONTACT",
        )
    client = Client(
        contact or "local@localhost.localdomain",
        gap_s=gap,
        obey_robots=source.obey_robots,
        tries=options.tries,
        timeout_s=options.timeout,
        allow_private=options.allow_private,
    )
    files.check_output(options.output_dir, source.inputs())
    written = fetch_corpus(source, options.output_dir, client, options.corpus)
    cli.show(written, lambda written: card.summary(written, str(options.output_dir)), options.json)
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
