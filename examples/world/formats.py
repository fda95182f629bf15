"""The raw formats that users have: a MediaWiki dump, packed jsonl, API pages, an Aozora archive. Same content, same bytes."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import zstandard

from examples.world.encyclopedia import Page
from haigo import files

_SITE = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/" version="0.10" xml:lang="ja">
  <siteinfo>
    <sitename>瑞潮百科</sitename>
    <dbname>mizushiowiki</dbname>
    <base>https://wiki.example.invalid/</base>
    <namespaces>
      <namespace key="0" case="first-letter" />
      <namespace key="1" case="first-letter">ノート</namespace>
      <namespace key="14" case="first-letter">Category</namespace>
    </namespaces>
  </siteinfo>
"""


def _write(path: Path, data: bytes) -> None:
    with files.create(path) as handle:
        handle.write(data)


def _lines(rows: Iterable[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def mediawiki(path: Path, pages: list[Page]) -> None:
    """A `.xml.bz2` dump in MediaWiki's export format 0.10."""
    parts = [_SITE]
    for number, page in enumerate(pages, 1):
        size = quoteattr(str(len(page.text.encode())))
        parts.append(
            f"  <page>\n    <title>{escape(page.title)}</title>\n    <ns>{page.namespace}</ns>\n    <id>{number}</id>\n"
            f"    <revision>\n      <id>{number}</id>\n      <model>wikitext</model>\n      <format>text/x-wiki</format>\n"
            f'      <text bytes={size} xml:space="preserve">{escape(page.text)}</text>\n    </revision>\n  </page>\n'
        )
    parts.append("</mediawiki>\n")
    _write(path, bz2.compress("".join(parts).encode()))


def jsonl_gz(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Packed jsonl without a time stamp in its header."""
    _write(path, gzip.compress(_lines(rows), mtime=0))


def jsonl_zst(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """jsonl packed by Zstandard."""
    _write(path, zstandard.ZstdCompressor(level=10).compress(_lines(rows)))


def jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Plain jsonl."""
    _write(path, _lines(rows))


def minutes_pages(folder: Path, pages: list[dict[str, Any]]) -> None:
    """One packed JSON file a page; pages that an earlier, longer run left behind go."""
    names = [f"speech_start{page['startRecord']:05d}.json.gz" for page in pages]
    for name, page in zip(names, pages, strict=True):
        _write(folder / name, gzip.compress(json.dumps(page, ensure_ascii=False).encode(), mtime=0))
    for stale in folder.glob("speech_start*.json.gz"):
        if stale.name not in names and files.made(stale):
            files.remove(stale)


def aozora(path: Path, works: list[tuple[str, str]]) -> None:
    """A `.tar.xz` of Shift_JIS files with CR LF.

    Raises:
        UnicodeEncodeError: a text has a character that Shift_JIS lacks.
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, text in works:
            data = text.replace("\n", "\r\n").encode("cp932")
            member = tarfile.TarInfo(f"aozora/{name}")
            member.size, member.mode = len(data), 0o644  # time and owner stay 0
            archive.addfile(member, io.BytesIO(data))
    _write(path, lzma.compress(packed.getvalue(), preset=6))
