"""A polite HTTP client: one request at a time to a host, a pause after each, a name with a contact, patience.

What it does so that no source has to: Retry-After (seconds and dates), growing pauses after 429, 5xx, lost connections
and cut bodies, gzip with a limit on what comes out of it, limits on sizes and redirects, robots.txt where it is asked
to. What a reply means is the source's to judge: its reader raises `Again` for one that is no answer.

Below it are requests and urllib3. Not urllib3's Retry: it sleeps inside the connection, takes a body that was cut or whose
gzip was cut for whole, and knows nothing of servers that say "busy" with HTTP 200 or 400 (MediaWiki, the Diet).
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode, urljoin, urlsplit

from haigo import __version__
from haigo.cli import Failed, HaigoError

from . import guard, robots
from .replies import Again, Reply, TooLarge, gunzip, retry_after
from .turns import Clock, Turn, Turns

if TYPE_CHECKING:
    from requests import Response

T = TypeVar("T")

BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS = 10
_SLOWEST_S = 900.0  # for one reply that is held in memory
_CHUNK = 1 << 16
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 2.0, 120.0
_ROBOTS_TRIES = 3
MIN_GAP_S = 1.0


class Opened:
    """An answer whose body is still to be read, in pieces as they come over the wire (not decoded)."""

    def __init__(self, response: Response, url: str, turn: Turn) -> None:
        self._response, self.url, self.turn = response, url, turn
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = response.headers

    def pieces(self) -> Iterator[bytes]:
        """The body. A connection that ends before its time raises Again."""
        with _troubles():
            yield from self._response.raw.stream(_CHUNK, decode_content=False)


@dataclasses.dataclass
class Client:
    """One for a run.

    Args:
        contact: mail address or URL of whoever runs this; goes into User-Agent.
        gap_s: pause after each reply; at least one second for hosts of the Internet.
        obey_robots: ask robots.txt first (for pages; documented interfaces have rules of their own).
        tries: how often a request is sent before giving up.
        timeout_s: longest silence within a reply.
        max_bytes: largest reply held in memory, after unpacking.
        max_wait_s: a server that asks for more patience than this ends the run.
        clock: tells the time and waits.
        turns_folder: see `Turns`.
        allow_private: names and redirects may lead to addresses inside this network.

    Attributes:
        requests: requests sent, redirects and robots.txt included.
        repeats: reason -> how often a request had to be sent again for it.
    """

    contact: str
    _: dataclasses.KW_ONLY
    gap_s: float = MIN_GAP_S
    obey_robots: bool = False
    tries: int = 6
    timeout_s: float = 60.0
    max_bytes: int = 64 << 20
    max_wait_s: float = 3600.0
    clock: Clock = dataclasses.field(default_factory=Clock)
    turns_folder: Path | None = None
    allow_private: bool = False
    requests: int = dataclasses.field(default=0, init=False)
    repeats: dict[str, int] = dataclasses.field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._agent = user_agent(self.contact)
        import requests

        self._session, self._outside = requests.Session(), guard.adapter()
        self._turns = Turns(self.clock, self.turns_folder, self.max_wait_s)
        self._robots = robots.Robots(self._robots_text) if self.obey_robots else None

    def get(
        self,
        url: str,
        params: Mapping[str, Any] | None = None,
        *,
        read: Callable[[Reply], T],
        headers: Mapping[str, str] | None = None,
        max_bytes: int | None = None,
        tries: int | None = None,
    ) -> T:
        """Ask until `read` takes the answer, pausing longer each time, and give what it makes of it.

        Args:
            url: http or https.
            params: appended as a query.
            read: turns a Reply into a result, or raises Again.
            headers: sent beside the client's own.
            max_bytes, tries: in place of the client's own.

        Raises:
            Failed: no answer that `read` takes, or a server that asks to wait too long.
            HaigoError: whatever `read` raises, robots.txt, a reply too large.
        """
        url = with_query(url, params)
        tries = max(1, tries or self.tries)
        reason = ""
        for number in range(1, tries + 1):
            try:
                with self.open(url, {"Accept-Encoding": "gzip", **(headers or {})}) as opened:
                    if opened.status in BUSY:
                        raise self.busy(opened)
                    body = _whole(opened, max_bytes or self.max_bytes)
                    return read(Reply(opened.status, opened.headers, body, opened.url))
            except Again as again:
                reason = again.reason
                if number < tries:
                    self.pause(again, number, url)
        raise Failed(
            f"{url} gave no usable answer in {tries} tries (the last: {reason}).",
            "run the same command again later: what was fetched is kept",
        )

    def pause(self, again: Again, number: int, what: str) -> None:
        """Wait before the next try after `number` failed ones in a row."""
        self.repeats[again.reason] = self.repeats.get(again.reason, 0) + 1
        after = again.after_s or 0.0
        if after > self.max_wait_s:
            raise Failed(
                f"{what}: the server asks to wait {after / 60:,.0f} minutes.",
                "run the same command again then: what was fetched is kept",
            )
        self.clock.sleep(max(after, min(_FIRST_PAUSE_S * 2 ** (number - 1), _LONGEST_PAUSE_S)))

    @contextlib.contextmanager
    def open(self, url: str, headers: Mapping[str, str]) -> Iterator[Opened]:
        """Send one request (and follow its redirects); the host is held until the block ends.

        Raises:
            Again: no connection, or it broke.
            HaigoError: robots.txt forbids it; an address that is none; too many redirects.
        """
        first, host = url, _host(url)
        # whoever names an address of this network in clear means it; a name, a number or a redirect that leads there may not
        inside = self.allow_private or (guard.is_private(host) and guard.in_clear(host))
        for _ in range(_REDIRECTS):
            private = guard.is_private(host)
            if private and not inside:
                raise guard.Inside(host, host)
            gap = self.gap_s if private else max(self.gap_s, MIN_GAP_S)
            if self._robots is not None:
                gap = max(gap, self._robots.delay_s(url))
            site = urlsplit(url).netloc.rpartition("@")[2].lower()
            with self._turns.turn(site, gap) as turn, self._send(url, headers, inside) as response:
                target = self._session.get_redirect_target(response)
                if target is None:
                    yield Opened(response, url, turn)
                    return
            onward, before = _joined(url, target), host
            host = _host(onward)
            if host != before:
                # a key is for the host that it was meant for
                headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
                private = guard.is_private(host)
                inside = self.allow_private or (inside and private)
                if private and not inside:
                    raise HaigoError(
                        f"{url} leads to an address inside this network ({host}).", "do not fetch from there"
                    )
            url = onward
        raise HaigoError(f"{first} leads from address to address ({_REDIRECTS} times).", "check the address")

    @contextlib.contextmanager
    def _send(self, url: str, headers: Mapping[str, str], inside: bool) -> Iterator[Response]:
        self.requests += 1
        import requests

        session = self._session
        with _troubles():
            sent = {"User-Agent": self._agent, "Accept": "*/*", **headers}
            prepared = session.prepare_request(requests.Request("GET", url, headers=sent))
            # by the adapter: the session would take in the whole body of a redirect, and cookies
            settings = session.merge_environment_settings(prepared.url or url, {}, True, None, None)
            way = session.get_adapter(url)
            if not inside and requests.utils.select_proxy(url, settings["proxies"]):
                guard.require_outside(_host(url), None)  # the proxy connects: its other end cannot be seen
            elif not inside:
                way = self._outside
            response = way.send(prepared, timeout=(min(30.0, self.timeout_s), self.timeout_s), **settings)
        with contextlib.closing(response):
            yield response

    def busy(self, answer: Opened | Reply, reason: str = "") -> Again:
        """An Again for a status or an answer that says so; the Retry-After of a status keeps everyone from the host that
        long."""
        after = retry_after(answer.headers.get("Retry-After"), self.clock.time())
        if after is not None and isinstance(answer, Opened):
            answer.turn.pause_s = max(answer.turn.pause_s, min(after, self.max_wait_s))
        return Again(reason or f"HTTP {answer.status}", after)

    def _robots_text(self, url: str) -> str | None:
        rules, self._robots = self._robots, None  # it is asked for without robots.txt, wherever it leads
        try:
            reply = self.get(url, read=lambda reply: reply, max_bytes=robots.MAX_BYTES, tries=_ROBOTS_TRIES)
        except (Failed, TooLarge):
            return None
        finally:
            self._robots = rules
        return reply.body.decode("utf-8", "replace") if reply.status == 200 else ""


def user_agent(contact: str) -> str:
    """What the client calls itself.

    Raises:
        HaigoError: `contact` is neither a mail address nor a URL.
    """
    contact = contact.strip()
    if not re.fullmatch(r"(?:mailto:)?[!-'*-?A-~]+@[!-'*-?A-~]+\.[!-'*-?A-~]+|https?://[!-'*-~]+\.[!-'*-~]+", contact):
        raise HaigoError(
            f"--contact '{contact}' is neither a mail address nor a URL.",
            "give one at which the servers' owners reach you, or set HAIGO_CONTACT",
        )
    return f"haigo/{__version__} (preprocess.fetch; {contact})"


def with_query(url: str, params: Mapping[str, Any] | None) -> str:
    """The address with its query."""
    return f"{url}{'&' if '?' in url else '?'}{urlencode(params)}" if params else url


def _joined(url: str, target: str) -> str:
    try:
        return urljoin(url, target)
    except ValueError:
        raise HaigoError(f"{url} leads to {target[:200]}, which is no address.", "check the address") from None


def _host(url: str) -> str:
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        if parts.hostname is not None and parts.scheme in ("http", "https"):
            return parts.hostname
    raise HaigoError(f"{url} is not an http or https address.", "check the address")


@contextlib.contextmanager
def _troubles() -> Iterator[None]:
    """What the libraries below raise, as Again or as a sentence."""
    from requests import exceptions as of_requests
    from urllib3 import exceptions as of_urllib3

    try:
        yield
    except (of_requests.InvalidURL, of_requests.InvalidSchema) as error:
        raise HaigoError(f"{error}.", "check the address") from None
    except of_requests.SSLError as error:
        raise Again(f"no secure connection ({_short(error)})") from None
    except (of_requests.Timeout, of_urllib3.TimeoutError):
        raise Again("timed out") from None
    except (of_requests.ChunkedEncodingError, of_urllib3.ProtocolError, of_urllib3.IncompleteRead):
        raise Again("the reply was cut short") from None
    except (of_requests.RequestException, of_urllib3.HTTPError, OSError) as error:
        raise Again(f"no connection ({_short(error)})") from None


def _short(error: BaseException) -> str:
    text = str(error).splitlines()[0] if str(error) else ""
    return text.rsplit(": ", 1)[-1].rstrip(")'\"")[:120] or type(error).__name__


def _whole(opened: Opened, limit: int) -> bytes:
    """The body, unpacked and within its limit."""
    announced = opened.headers.get("Content-Length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise TooLarge(opened.url, limit)
    body = bytearray()
    began = time.monotonic()
    for piece in opened.pieces():
        body += piece
        if len(body) > limit:
            raise TooLarge(opened.url, limit)
        if time.monotonic() - began > _SLOWEST_S:
            raise Again("the reply came too slowly")
    packing = opened.headers.get("Content-Encoding", "identity").strip().lower()
    if not body or packing in ("identity", ""):
        return bytes(body)
    if packing not in ("gzip", "x-gzip"):
        raise Again(f"packed as {packing}, which was not asked for")
    return gunzip(bytes(body), limit, opened.url)
