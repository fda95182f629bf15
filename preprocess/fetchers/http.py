"""A polite HTTP client: one request at a time to a host, a pause after each, a name with a contact, patience.

What it does so that no source has to: Retry-After (seconds and dates), growing pauses after 429, 5xx, lost connections
and cut bodies, gzip with a limit on what comes out of it, limits on sizes and redirects, robots.txt where it is asked
to. What a reply means is the source's to judge: its reader raises `Again` for one that is no answer.
"""

from __future__ import annotations

import contextlib
import dataclasses
import email.utils
import re
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode, urljoin, urlsplit

from haigo import __version__
from haigo.cli import Failed, HaigoError

from .inside import Inside, adapter, in_clear, is_private, require_outside
from .turns import Clock, Turn, Turns

if TYPE_CHECKING:
    import requests
    from requests.adapters import HTTPAdapter

    from .robots import Robots

T = TypeVar("T")

BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS = 10
_SLOWEST_S = 900.0  # for one reply that is held in memory
_CHUNK = 1 << 16
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 2.0, 120.0
MIN_GAP_S = 1.0


class Again(Exception):
    """What came is no answer: ask again, after `after_s` seconds if the server named a time."""

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.after_s = reason, after_s


class NotServed(HaigoError):
    """The server answered and will not give it (404, 403 and the like): asking again is of no use."""

    def __init__(self, url: str, status: int) -> None:
        super().__init__(f"{url} is not served (HTTP {status}).", "check the address, and whether it needs a key")
        self.status = status


class TooLarge(HaigoError):
    """A reply is larger than it may be."""

    def __init__(self, url: str, limit: int) -> None:
        super().__init__(f"{url} is larger than {limit / 1e6:,.0f} MB.", "check the address, or allow more")


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer; `headers` does not mind upper and lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


class Opened:
    """An answer whose body is still to be read, in pieces as they come over the wire (not decoded)."""

    def __init__(self, response: requests.Response, url: str, turn: Turn) -> None:
        self._response, self.url, self.turn = response, url, turn
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = response.headers

    def pieces(self) -> Iterator[bytes]:
        """The body. A connection that ends before its time raises Again."""
        with _troubles_told():
            yield from self._response.raw.stream(_CHUNK, decode_content=False)


class Client:
    """See the module.

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

    def __init__(
        self,
        contact: str,
        *,
        gap_s: float = MIN_GAP_S,
        obey_robots: bool = False,
        tries: int = 6,
        timeout_s: float = 60.0,
        max_bytes: int = 64 << 20,
        max_wait_s: float = 3600.0,
        clock: Clock | None = None,
        turns_folder: Path | None = None,
        allow_private: bool = False,
    ) -> None:
        self.agent = user_agent(contact)
        self.gap_s, self.tries, self.timeout_s = gap_s, max(1, tries), timeout_s
        self.max_bytes, self.max_wait_s = max_bytes, max_wait_s
        self.clock = clock or Clock()
        self.requests = 0
        self.repeats: dict[str, int] = {}
        self._turns = Turns(self.clock, turns_folder, max_wait_s)
        self.allow_private = allow_private
        self._session: requests.Session | None = None
        self._outside: HTTPAdapter | None = None
        self._robots: Robots | None = None
        if obey_robots:
            from .robots import Robots

            self._robots = Robots(self)

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
        """Ask until `read` takes the answer, and give what it makes of it.

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
        full = with_query(url, params)

        def once() -> T:
            with self.open(full, {"Accept-Encoding": "gzip", **(headers or {})}) as opened:
                if opened.status in BUSY:
                    raise self.busy(opened)
                body = _whole(opened, max_bytes or self.max_bytes)
                return read(Reply(opened.status, opened.headers, body, opened.url))

        return self.persist(once, full, tries)

    def persist(self, once: Callable[[], T], what: str, tries: int | None = None) -> T:
        """Call `once` until it does not raise Again, pausing longer each time.

        Raises:
            Failed: it raised Again every time.
        """
        tries = tries or self.tries
        for number in range(1, tries + 1):
            try:
                return once()
            except Again as again:
                last = again
                if number < tries:
                    self.pause(again, number, what)
        raise Failed(
            f"{what} gave no usable answer in {tries} tries (the last: {last.reason}).",
            "run the same command again later: what was fetched is kept",
        )

    def pause(self, again: Again, number: int, what: str) -> None:
        """Wait before the next try after `number` failed ones in a row."""
        self.repeats[again.reason] = self.repeats.get(again.reason, 0) + 1
        wait = min(_FIRST_PAUSE_S * 2 ** (number - 1), _LONGEST_PAUSE_S)
        if again.after_s is not None:
            if again.after_s > self.max_wait_s:
                raise Failed(
                    f"{what}: the server asks to wait {again.after_s / 60:,.0f} minutes.",
                    "run the same command again then: what was fetched is kept",
                )
            wait = max(wait, again.after_s)
        self.clock.sleep(wait)

    @contextlib.contextmanager
    def open(self, url: str, headers: Mapping[str, str]) -> Iterator[Opened]:
        """Send one request (and follow its redirects); the host is held until the block ends.

        Raises:
            Again: no connection, or it broke.
            HaigoError: robots.txt forbids it; an address that is none; too many redirects.
        """
        first = url
        # whoever names an address of this network in clear means it; a name, a number or a redirect that leads there may not
        inside = self.allow_private or (is_private(_host(url)) and in_clear(_host(url)))
        for _ in range(_REDIRECTS):
            host = _host(url)
            if not inside and is_private(host):
                raise Inside(host, host)
            gap = self.gap_s if is_private(host) else max(self.gap_s, MIN_GAP_S)
            if self._robots is not None:
                self._robots.require(url)
                gap = max(gap, self._robots.delay_s(url))
            with contextlib.ExitStack() as stack:
                turn = stack.enter_context(self._turns.turn(urlsplit(url).netloc.rpartition("@")[2].lower(), gap))
                response = stack.enter_context(self._send(url, headers, inside))
                target = self._connected().get_redirect_target(response)
                if target is None:
                    yield Opened(response, url, turn)
                    return
            onward = _joined(url, target)
            if _host(onward) != host:
                # a key is for the host that it was meant for
                headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
                inside = self.allow_private or (inside and is_private(_host(onward)))
                if is_private(_host(onward)) and not inside:
                    raise HaigoError(
                        f"{url} leads to an address inside this network ({_host(onward)}).", "do not fetch from there"
                    )
            url = onward
        raise HaigoError(f"{first} leads from address to address ({_REDIRECTS} times).", "check the address")

    @contextlib.contextmanager
    def _send(self, url: str, headers: Mapping[str, str], inside: bool) -> Iterator[requests.Response]:
        self.requests += 1
        sent = {"User-Agent": self.agent, "Accept": "*/*", **headers}
        import requests

        session = self._connected()
        with _troubles_told():
            prepared = session.prepare_request(requests.Request("GET", url, headers=sent))
            # by the adapter: the session would take in the whole body of a redirect, and cookies
            settings = session.merge_environment_settings(prepared.url or url, {}, True, None, None)
            timeout = (min(30.0, self.timeout_s), self.timeout_s)
            way = session.get_adapter(url)
            if not inside and requests.utils.select_proxy(url, settings["proxies"]):
                require_outside(_host(url), None)  # the proxy connects: its other end cannot be seen
            elif not inside:
                way = self._outside = self._outside or adapter()
            response = way.send(prepared, timeout=timeout, **settings)
        try:
            yield response
        finally:
            response.close()

    def _connected(self) -> requests.Session:
        if self._session is None:
            import requests

            self._session = requests.Session()
        return self._session

    def busy(self, opened: Opened) -> Again:
        """An Again for a status that says so; its Retry-After keeps everyone from the host that long."""
        after = retry_after(opened.headers.get("Retry-After"), self.clock.time())
        if after is not None:
            opened.turn.pause_s = max(opened.turn.pause_s, min(after, self.max_wait_s))
        return Again(f"HTTP {opened.status}", after)

    def again_later(self, reply: Reply, reason: str) -> Again:
        """An Again for a reply that says in its own words that the server is busy; heeds its Retry-After."""
        return Again(reason, retry_after(reply.headers.get("Retry-After"), self.clock.time()))


def ok(reply: Reply) -> Reply:
    """A reader for `Client.get`: the reply itself if it is a good one.

    Raises:
        NotServed: any other status than 200.
    """
    if reply.status != 200:
        raise NotServed(reply.url, reply.status)
    return reply


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait by a Retry-After header: a number, or a date as HTTP writes it. None for anything else."""
    if not value:
        return None
    if re.fullmatch(r"\s*\d{1,9}\s*", value):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None


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
    if not params:
        return url
    return f"{url}{'&' if '?' in url else '?'}{urlencode(params)}"


def _joined(url: str, target: str) -> str:
    try:
        return urljoin(url, target)
    except ValueError:
        raise HaigoError(f"{url} leads to {target[:200]}, which is no address.", "check the address") from None


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    if host is None or parts.scheme not in ("http", "https"):
        raise HaigoError(f"{url} is not an http or https address.", "check the address")
    return host


@contextlib.contextmanager
def _troubles_told() -> Iterator[None]:
    """What the libraries below raise, as Again or as a sentence."""
    import requests
    import urllib3

    try:
        yield
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
        raise HaigoError(f"{error}.", "check the address") from None
    except requests.exceptions.SSLError as error:
        raise Again(f"no secure connection ({_short(error)})") from None
    except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError):
        raise Again("timed out") from None
    except (
        requests.exceptions.ChunkedEncodingError,
        urllib3.exceptions.ProtocolError,
        urllib3.exceptions.IncompleteRead,
    ):
        raise Again("the reply was cut short") from None
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise Again(f"no connection ({_short(error)})") from None


def _short(error: BaseException) -> str:
    text = str(error).splitlines()[0] if str(error) else ""
    return text.rsplit(": ", 1)[-1].rstrip(")'\"")[:120] or type(error).__name__


def _whole(opened: Opened, limit: int) -> bytes:
    """The body, unpacked and within its limit."""
    announced = opened.headers.get("Content-Length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise TooLarge(opened.url, limit)
    held: list[bytes] = []
    size = 0
    began = time.monotonic()
    for piece in opened.pieces():
        size += len(piece)
        held.append(piece)
        if size > limit:
            raise TooLarge(opened.url, limit)
        if time.monotonic() - began > _SLOWEST_S:
            raise Again("the reply came too slowly")
    body = b"".join(held)
    packing = opened.headers.get("Content-Encoding", "identity").strip().lower()
    if not body or packing in ("identity", ""):
        return body
    if packing not in ("gzip", "x-gzip"):
        raise Again(f"packed as {packing}, which was not asked for")
    return gunzip(body, limit, opened.url)


def gunzip(body: bytes, limit: int, name: str) -> bytes:
    """Unpack gzip, never beyond `limit` bytes.

    Raises:
        Again: it is damaged or cut short.
        TooLarge: more than `limit` bytes are in it.
    """
    out: list[bytes] = []
    room = limit
    while body:
        engine = zlib.decompressobj(31)
        try:
            piece = engine.decompress(body, room + 1)
        except zlib.error:
            raise Again("damaged gzip") from None
        room -= len(piece)
        if room < 0:
            raise TooLarge(name, limit)
        if not engine.eof:
            raise Again("gzip cut short")
        out.append(piece)
        body = engine.unused_data.lstrip(b"\x00")
    return b"".join(out)
