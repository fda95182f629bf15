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
import collections
import importlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from haigo import cli, files
from haigo.cli import Failed, HaigoError

from .fetchers import card, state
from .fetchers.http import Client
from .fetchers.source import Limits, Source, today

SOURCES = {
    "kokkai": ("kokkai", "Kokkai"),
    "mediawiki-dump": ("mediawiki_dump", "MediaWikiDump"),
    "mediawiki-api": ("mediawiki_api", "MediaWikiApi"),
    "feeds": ("feeds", "Feeds"),
    "hub": ("hub", "Hub"),
    "urls": ("urls", "Urls"),
}


def fetch_corpus(
    source: Source, output_dir: str | os.PathLike[str], client: Client, name: str | None = None
) -> dict[str, Any]:
    """Fetch everything that `source` offers and that is not in the folder yet.

    Args:
        source: one of `preprocess.fetchers`.
        output_dir: folder of the corpus; one that was begun is continued.
        client: whom to ask through.
        name: of the corpus, for the card; the folder's own by default.

    Returns:
        The data card.

    Raises:
        HaigoError: see `fetchers`; what was fetched until then is kept.
        Failed: something could not be had; the card is written and says so.
    """
    folder = Path(output_dir)
    with state.opened(folder, source.identity(), source.unique) as store:
        card.remove(folder)
        before = store.get("runs", card.RUNS) or {"requests": 0, "repeats": {}, "first": today(client).isoformat()}

        def runs() -> dict[str, Any]:
            repeats = collections.Counter(before["repeats"]) + collections.Counter(client.repeats)
            counted = {"requests": before["requests"] + client.requests, "repeats": dict(repeats)}
            return {"runs": before | counted | {"last": today(client).isoformat()}}

        store.also = runs
        try:
            source.fetch(client, store)
        finally:
            store.commit()
        store.cut(everything=True)
        if not store.documents and not source.trouble:
            raise HaigoError(f"{folder}: the source has no document for these conditions.", "ask for more")
        complete = not source.trouble and not source.limits.reached(store)
        made = card.write(
            store, name or folder.resolve().name, source.about(store), source.identity(), runs()["runs"], complete
        )
    if source.trouble:
        raise Failed(
            f"{len(source.trouble)} of what was asked for could not be had: {'; '.join(source.trouble[:3])}",
            f"the rest is in {folder}; run the same command again to try once more",
        )
    return made


def summary(made: Mapping[str, Any], folder: str) -> str:
    """The card as a few lines."""
    sent_again = sum(made["repeated_requests"].values())
    lines = [
        f"{made['corpus']}: {made['documents']:,} documents, {made['characters']:,} characters in {folder}",
        f"  {made['requests']:,} requests, {sent_again:,} of them sent again; {len(made['shards'])} shards",
    ]
    lines += [f"  left out: {reason}: {row['count']:,}" for reason, row in made["skipped"].items()]
    if not made["complete"]:
        lines.append("  stopped at the limit that was set")
    return "\n".join([*lines, f"  licence and terms: {Path(folder) / card.MARKDOWN}"])


def _parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    parser = cli.parser("preprocess.fetch", __doc__)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    common.add_argument("--output-dir", "--output_dir", help="folder of the corpus (not with --dry-run)")
    common.add_argument("--corpus", help="name of the corpus on its data card (default: the folder's)")
    common.add_argument("--contact", help="your mail address or URL, told to every server (or set HAIGO_CONTACT)")
    common.add_argument("--gap", type=float, help="seconds of pause after each reply (default: the source's)")
    common.add_argument("--tries", type=cli.count, default=6, help="how often a request is sent before giving up")
    common.add_argument("--timeout", type=float, default=60.0, help="longest silence of a server in seconds")
    common.add_argument(
        "--allow-private", "--allow_private", action="store_true", help="names and redirects may lead into this network"
    )
    common.add_argument("--licence", help="put this licence into every document, in place of what the source says")
    common.add_argument("--max-documents", "--max_documents", type=cli.count, help="stop when this many are there")
    common.add_argument("--max-chars", "--max_chars", type=cli.count, help="stop when this many characters are there")
    common.add_argument("--dry-run", "--dry_run", action="store_true", help="print the requests, send none")
    common.add_argument("--json", action="store_true", help="print the data card (or the plan) as JSON")
    verbs = parser.add_subparsers(dest="source", metavar="SOURCE", required=True, parser_class=type(parser))
    for name in SOURCES:
        kind = _source(name)
        verb = verbs.add_parser(name, help=kind.summary, description=kind.summary, parents=[common])
        kind.add_options(verb)
    return parser, verbs.choices


def _source(name: str) -> type[Source]:
    module, kind = SOURCES[name]
    return getattr(importlib.import_module(f".fetchers.{module}", __package__), kind)


def main(argv: Sequence[str] | None = None) -> int:
    parser, verbs = _parsers()
    args, unknown = parser.parse_known_args(argv)
    if unknown:  # told by the source's own parser, which knows the options that may have been meant
        verbs[args.source].error(f"unrecognized arguments: {' '.join(unknown)}")
    limits = Limits(args.max_documents, args.max_chars)
    source = _source(args.source).of(args, args.licence, limits)
    gap = source.gap_s if args.gap is None else args.gap
    if not 0 <= gap < 3600:
        raise HaigoError(f"--gap {gap} is not a pause in seconds.", "give a number such as 3")
    if not args.timeout > 0:
        raise HaigoError(f"--timeout {args.timeout} is not a time in seconds.", "give a number such as 60")
    if args.dry_run:
        lines = list(source.plan())
        if args.json:
            print(json.dumps({"source": source.name, "gap_s": gap, "requests": lines}, ensure_ascii=False, indent=2))
        else:
            print("\n".join([*lines, f"One at a time, with {gap:g} s of pause after each reply."]))
        return cli.OK
    if not args.output_dir:
        raise HaigoError("--output-dir is missing.", "name a folder, or give --dry-run")
    contact = args.contact or os.environ.get("HAIGO_CONTACT") or ""
    if not contact and source.networked:
        raise HaigoError(
            "--contact is missing: servers must be able to reach whoever asks them for so much.",
            "give your mail address or URL, or set HAIGO_CONTACT",
        )
    client = Client(
        contact or "local@localhost.localdomain",
        gap_s=gap,
        obey_robots=source.obey_robots,
        tries=args.tries,
        timeout_s=args.timeout,
        allow_private=args.allow_private,
    )
    files.check_output(args.output_dir, [getattr(args, name, None) for name in ("file", "index", "list")])
    made = fetch_corpus(source, args.output_dir, client, args.corpus)
    print(json.dumps(made, ensure_ascii=False, indent=2) if args.json else summary(made, args.output_dir))
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
