"""Web archives and pages for tests: records as servers and crawlers write them."""

from __future__ import annotations

import gzip
import random

TEXT = "港の倉庫では古い台帳の整理が続いている。担当の職員は一枚ずつ写真に収め、番号を付けて棚に戻す。"


def essay(seed: object, sentences: int = 8) -> str:
    """Sentences that stand nowhere else."""
    rng = random.Random(f"{seed}")
    words = [
        "港", "坂", "朝", "古い", "倉庫", "歩いた", "見ていた", "の", "に", "を", "が", "は", "人",
        "町", "静かに", "海", "石段", "手紙", "返した", "と", "へ",
    ]  # fmt: skip
    return "".join("".join(rng.choices(words, k=14)) + "。" for _ in range(sentences))


def page(text: str = TEXT, title: str = "題", charset: str = "", around: str = "") -> str:
    """A page with a menu and a footer around its text."""
    meta = f'<meta charset="{charset}">' if charset else ""
    menu = "".join(f'<li><a href="/{n}">品目{n}</a></li>' for n in range(8))
    return (
        f"<!DOCTYPE html><html><head>{meta}<title>{title}</title><script>var x = 1;</script></head><body><ul>{menu}</ul>"
        f"{around}<h1>{title}の話</h1><p>{text}</p><footer>無断転載禁止</footer></body></html>"
    )


def response(
    url: str, body: bytes, kind: str = "text/html", headers: str = "", status: str = "200 OK", date: str = "2024-05-01"
) -> bytes:
    """A record of a server's reply."""
    http = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{headers}\r\n".encode() + body
    return record("response", url, http, "application/http; msgtype=response", date)


def record(kind: str, url: str, body: bytes, content: str = "text/plain", date: str = "2024-05-01") -> bytes:
    """A record of any type."""
    target = f"WARC-Target-URI: {url}\r\n" if url else ""
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\n{target}WARC-Date: {date}T01:02:03Z\r\nContent-Type: {content}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body + b"\r\n\r\n"


def packed(*records: bytes) -> bytes:
    """As crawlers write them: each record a member of its own."""
    return b"".join(map(gzip.compress, records))
