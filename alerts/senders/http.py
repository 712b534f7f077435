"""HTTP as senders need it: one POST (or GET), one deadline for all of it, no redirects, no retries, TLS verified."""

import ipaddress
import threading
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from socket import SHUT_RDWR
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.util import Timeout, parse_url

from alerts.outbox import Delivered, Disabled, Outcome, Refused, Retry
from alerts.senders.sender import ReceiverConfigError

DEADLINE_S = 5.0
CONNECT_S = 2.0
READ_BYTES = 512
"""As much of an answer as is read: enough for its complaint."""

TRY_AGAIN = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    retry_after: str | None
    text: str


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Nothing came back, and why: without the URL, which may hold a secret."""

    reason: str


class HttpPost:
    """Posts to one URL, one request at a time, each on a connection of its own.

    A kept connection that is needed once a week is a dead one, and finding that out costs a time-out.
    """

    def __init__(
        self,
        url: str,
        *,
        allow_http: Collection[str] = (),
        deadline_s: float = DEADLINE_S,
        ca_file: Path | None = None,
        method: str = "POST",
    ) -> None:
        self._method = method
        self._path = checked_url(url, allow_http)
        self._deadline_s = deadline_s
        self._late = f"no answer within {deadline_s:g} s"
        self._open: list[HTTPConnection] = []
        manager = urllib3.PoolManager(maxsize=1, ca_certs=str(ca_file) if ca_file else None)
        self._pool = manager.connection_from_url(url)
        self._pool.ConnectionCls = _tracked(self._pool.ConnectionCls, self._open)

    def __call__(self, body: bytes, headers: Mapping[str, str]) -> Answer | NoAnswer:
        """One POST; back within the deadline (name resolution excepted, which cannot be interrupted)."""
        cut = threading.Event()
        watchdog = threading.Timer(self._deadline_s, self._cut, [cut])
        watchdog.daemon = True
        watchdog.start()
        try:
            return self._post(body, {"Connection": "close", "User-Agent": "policywatch", **headers}, cut)
        except (HTTPError, OSError) as error:
            return NoAnswer(self._late if cut.is_set() else _why(error))
        finally:
            watchdog.cancel()

    def _post(self, body: bytes, headers: Mapping[str, str], cut: threading.Event) -> Answer | NoAnswer:
        response = self._pool.urlopen(
            self._method,
            self._path,
            body=body,
            headers=headers,
            retries=False,
            redirect=False,
            timeout=Timeout(connect=min(CONNECT_S, self._deadline_s), total=self._deadline_s),
            preload_content=False,
            decode_content=False,
        )
        # http.client takes a cut for the end of the headers, and so a half-said 200 for a 200.
        if cut.is_set():
            response.close()
            return NoAnswer(self._late)
        try:
            text = response.read(READ_BYTES).decode("utf-8", "replace")
        except (HTTPError, OSError):
            text = ""  # the status has been said; a body that breaks off takes nothing back
        finally:
            response.close()
        printable = "".join(char if char.isprintable() else " " for char in text)
        return Answer(response.status, response.headers.get("Retry-After"), printable.strip()[:160])

    def _cut(self, cut: threading.Event) -> None:
        """End a request whose receiver drips: socket time-outs start again with every byte."""
        cut.set()
        for connection in self._open:
            sock: Any = connection.sock
            with suppress(OSError, AttributeError):
                sock.shutdown(SHUT_RDWR)


def outcome_of(answer: Answer | NoAnswer, now_s: float, permanent: Collection[int] = frozenset()) -> Outcome:
    """What an answer means: only 2xx is delivered; 410 disables; `permanent` statuses are not asked again."""
    if isinstance(answer, NoAnswer):
        return Retry(None, answer.reason)
    status = answer.status
    reason = f"HTTP {status}" + (f": {answer.text}" if answer.text else "")
    if 200 <= status < 300:
        return Delivered()
    if status == 410:
        return Disabled(reason)
    if 300 <= status < 400:
        return Retry(None, f"HTTP {status}: redirects are not followed, correct the URL")
    if status >= 500 or status in TRY_AGAIN:
        return Retry(retry_after_ms(answer.retry_after, now_s), reason)
    return Refused(reason, status in permanent)


def retry_after_ms(header: str | None, now_s: float) -> int | None:
    """Retry-After in either of its forms (seconds or a date); None when absent or senseless."""
    if header is None:
        return None
    with suppress(ValueError, OverflowError):
        if header.strip().isdecimal():
            return int(header) * 1000
        return max(0, int((parsedate_to_datetime(header).timestamp() - now_s) * 1000))
    return None


def checked_url(url: str, allow_http: Collection[str]) -> str:
    """The path to post to; raises ReceiverConfigError for what must not be posted to."""
    try:
        parsed = parse_url(url)
    except LocationParseError:
        raise ReceiverConfigError("not a URL") from None
    host = (parsed.host or "").strip("[]")
    if parsed.scheme not in ("http", "https") or not host:
        raise ReceiverConfigError("the URL must be https://HOST/... (or http:// for loopback)")
    if parsed.auth is not None:
        raise ReceiverConfigError("the URL must not carry a user or password")
    if parsed.scheme == "http" and not _loopback(host) and host not in allow_http:
        raise ReceiverConfigError(f"plain http to {host} is not allowed: use https, or allow it by name")
    return parsed.request_uri


def _loopback(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _tracked(base: Any, live: list[HTTPConnection]) -> Any:
    """The pool's connection class, noting its connection so that the watchdog can end it."""

    class Tracked(base):  # type: ignore[misc]
        def connect(self) -> None:
            super().connect()
            live[:] = [self]

    return Tracked


def _why(error: Exception) -> str:
    match (
        error
    ):  # the order matters: urllib3 derives the second from the third, and the first from the second
        case NameResolutionError():
            return "host name not found"
        case NewConnectionError():
            return "connection refused or unreachable"
        case ConnectTimeoutError():
            return "connecting took too long"
        case ReadTimeoutError():
            return "no answer in time"
        case SSLError():
            return "TLS failed: certificate not trusted or protocol not agreed"
        case _:
            return f"connection broke ({type(error).__name__})"
