"""One HTTP/1.1 connection: requests one after the other, each answer parsed as it comes, by the event loop itself.

There is no task and no stream between the socket and whoever waits for the answer. An end of the connection is noticed
when it comes, so that no request is written on a socket that has ended.
"""

import asyncio
import socket as sockets
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Final, cast

import httptools

from pool.wire.events import Event, EventIsTooBig, EventParser
from stoa.wire import MAX_MESSAGE_BYTES

__all__ = ["Broken", "LeanAnswer", "LeanSocket"]

MAX_HEAD_BYTES: Final = 2**16
MAX_ASIDE_BYTES: Final = 2**19
"""What may come after the head without a byte of the body in it: chunk extensions, trailers."""
HIGH_WATER_BYTES: Final = 2**20
"""Events that nobody has taken yet; beyond it the socket is not read."""
EVENT_BYTES: Final = 200
"""What an event costs beside its text."""
LINGER_SECONDS: Final = 1.0
PEER_GONE_MS: Final = 20_000
"""What has been sent and is not acknowledged for so long breaks the connection, where the system can do that."""


class Broken(Exception):
    """The connection ended, or what came over it is no HTTP. `has_begun` when it was in the middle of an answer."""

    has_begun = False


class LeanAnswer:
    """An answer as it comes: complete, or as a stream of events."""

    __slots__ = (
        "_body", "_events", "_parser", "_socket", "_unread", "_waiter", "error", "headers", "is_complete", "is_stream",
        "lingers", "reason", "status",
    )  # fmt: skip

    def __init__(self, socket: "LeanSocket") -> None:
        self._socket = socket
        self._waiter: asyncio.Future[None] | None = None
        self._body = bytearray()
        self._unread = 0
        self._parser: EventParser | None = None
        self._events: deque[Event] = deque()
        self.status = 0
        self.reason = ""
        self.headers: dict[str, str] = {}
        self.is_complete = False
        self.is_stream = False
        self.lingers = False
        """Nothing more is wanted of it, but its end, which is about to come, keeps the connection usable."""
        self.error: Exception | None = None

    def __repr__(self) -> str:
        return f"<LeanAnswer {self.status}{' complete' if self.is_complete else ''}>"

    async def started(self) -> None:
        """Until all of it is there, or until it turns out to be a stream. Raises `Broken`."""
        while not self.is_complete and not self.is_stream:
            if self.error is not None:
                raise self.error
            await self._wait()

    def body(self) -> bytes:
        return bytes(self._body)

    async def events(self) -> AsyncIterator[Event]:
        """Events as they come, until the stream ends. Raises `Broken` and `EventIsTooBig`."""
        while True:
            while self._events:
                event = self._events.popleft()
                self._unread -= len(event.data) + EVENT_BYTES
                yield event
            self._socket.read_on()
            if self.error is not None:
                raise self.error
            if self.is_complete:
                return
            await self._wait()

    def waiting_events(self) -> tuple[Event, ...]:
        """What has come and nobody has taken."""
        return tuple(self._events)

    @property
    def retry_seconds(self) -> float | None:
        return self._parser.retry_seconds if self._parser is not None else None

    async def aclose(self) -> None:
        """Give the connection back, or end it when the answer is not over."""
        self._socket.finish(self)

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def fail(self, error: Exception) -> None:
        if self.error is None and not self.is_complete:
            self.error = error
            self.wake()

    def fail_late(self) -> None:
        """It is complete, and yet not what was asked for: the connection is not used again."""
        self.error = Broken("it belongs to another request")

    def has_head(self) -> None:
        if self.status == 200 and self.headers.get("content-type", "").lower().startswith("text/event-stream"):
            self.is_stream = True
            self._parser = EventParser()
            self.wake()

    def take(self, chunk: bytes) -> None:
        if self._parser is None:
            self._body += chunk
            if len(self._body) > MAX_MESSAGE_BYTES:
                raise Broken(f"it is larger than {MAX_MESSAGE_BYTES >> 20} MiB")
            return
        for event in self._parser.feed(chunk):
            self._events.append(event)
            self._unread += len(event.data) + EVENT_BYTES
        if self._events:
            self.wake()
            if self._unread > HIGH_WATER_BYTES:
                self._socket.pause()

    def complete(self) -> None:
        self.is_complete = True
        self.wake()


class LeanSocket(asyncio.Protocol):
    """`on_free` is told when the connection can take another request, `on_closed` when it is of no more use."""

    def __init__(self, *, on_free: Callable[["LeanSocket"], None], on_closed: Callable[["LeanSocket"], None]) -> None:
        self._on_free = on_free
        self._on_closed = on_closed
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._answer: LeanAnswer | None = None
        self._head_bytes = 0
        self._aside_bytes = 0
        self._has_head = False
        self.keeps = False
        self._lingering: asyncio.TimerHandle | None = None
        self._is_paused = False
        self._is_disowned = False
        self.is_open = False
        self.requests = 0
        self.idle_since = 0.0
        self.keep_seconds: float | None = None

    def __repr__(self) -> str:
        return f"<LeanSocket {'open' if self.is_open else 'closed'}, {self.requests} requests>"

    def start(self, data: bytes) -> LeanAnswer:
        """Write a request; one write, and nothing to wait for."""
        assert self._transport is not None
        answer = self.expect()
        self._transport.write(data)
        return answer

    def expect(self) -> LeanAnswer:
        """Take what comes from now on for one answer."""
        self._answer = answer = LeanAnswer(self)
        self._parser = httptools.HttpResponseParser(self)
        self._head_bytes, self._aside_bytes, self._has_head, self.keeps = 0, 0, False, False
        self.requests += 1
        return answer

    def finish(self, answer: LeanAnswer) -> None:
        if self._answer is not answer or self._lingering is not None:
            return
        if answer.lingers and self.is_open and not answer.is_complete and answer.error is None:
            self._lingering = asyncio.get_running_loop().call_later(LINGER_SECONDS, self.abort)
            self.read_on()
            return
        self._answer = None
        self._parser = None
        if self.is_open and self.keeps and answer.is_complete and answer.error is None:
            self.read_on()
            self._on_free(self)
        else:
            self.abort()

    def disown(self) -> None:
        """Whoever opened it gave up meanwhile, and counts it no longer."""
        self._on_closed = _nobody
        self._is_disowned = True
        self.abort()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        self._stop_lingering()
        self._closed()

    def _stop_lingering(self) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None

    def pause(self) -> None:
        if self._transport is not None and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def read_on(self) -> None:
        if self._transport is not None and self._is_paused:
            self._is_paused = False
            if self.is_open:
                self._transport.resume_reading()

    def _closed(self) -> None:
        if self.is_open:
            self.is_open = False
            self._on_closed(self)

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True
        if self._is_disowned:
            self.abort()
            return
        _watch_peer(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None or self._parser is None or answer.is_complete:
            self.abort()  # nobody asked for anything
            return
        if not self._has_head:
            self._head_bytes += len(data)
        self._aside_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self._fail(cause if isinstance(cause, Broken | EventIsTooBig) else Broken(f"it is no HTTP: {error}"))
        except httptools.HttpParserUpgrade:
            self._fail(Broken("it wants to speak another protocol"))
        except httptools.HttpParserError as error:
            self._fail(Broken(f"it is no HTTP: {error}"))
        else:
            if not self._has_head and self._head_bytes > MAX_HEAD_BYTES:
                self._fail(Broken(f"its head is larger than {MAX_HEAD_BYTES >> 10} KiB"))
            elif self._aside_bytes > MAX_ASIDE_BYTES and not answer.is_complete:
                self._fail(Broken("it goes on and says nothing"))

    def eof_received(self) -> bool:
        answer = self._answer
        if answer is not None and self._has_head and not answer.is_complete and _lasts_until_the_end(answer):
            answer.complete()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_lingering()
        self._closed()
        if self._answer is not None:
            self._answer.fail(Broken(f"the connection broke{f': {exc}' if exc else ''}"))

    def _fail(self, error: Exception) -> None:
        if self._answer is not None:
            self._answer.fail(error)
        self.abort()

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self._answer is None or self._answer.is_complete:
            raise Broken("it goes on after its end")

    def on_status(self, status: bytes) -> None:
        if self._answer is not None:
            self._answer.reason = status.decode("latin-1")[:100]

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._answer is not None and not self._has_head:  # what comes after the body is of no use to us
            headers, key = self._answer.headers, name.decode("latin-1").lower()
            text = value.decode("latin-1").strip()
            # Set-Cookie is the one header that cannot be joined by commas.
            headers[key] = f"{headers[key]}{chr(10) if key == 'set-cookie' else ', '}{text}" if key in headers else text

    def on_headers_complete(self) -> None:
        answer, parser = self._answer, self._parser
        if answer is None or parser is None:
            return
        answer.status = parser.get_status_code()
        if 100 <= answer.status < 200:
            answer.headers.clear()
            return
        self._has_head = True
        self.keep_seconds = _keep_seconds(answer.headers.get("keep-alive", ""))
        answer.has_head()

    def on_body(self, body: bytes) -> None:
        self._aside_bytes = 0
        if self._answer is not None:
            self._answer.take(body)

    def on_message_complete(self) -> None:
        if self._answer is not None and self._parser is not None and self._has_head:
            self.keeps = self._parser.should_keep_alive()
            self._answer.complete()
            if self._lingering is not None:
                self._stop_lingering()
                self.finish(self._answer)


def _nobody(socket: LeanSocket) -> None:
    pass


def _lasts_until_the_end(answer: LeanAnswer) -> bool:
    return "content-length" not in answer.headers and "transfer-encoding" not in answer.headers


def _keep_seconds(text: str) -> float | None:
    """`timeout=5` of a Keep-Alive header: when the server is going to close what is idle."""
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        if name.lower() == "timeout" and value.strip().isdigit() and len(value) < 10:
            return float(value)
    return None


def _watch_peer(socket: object) -> None:
    """Have the system find out that the other end is gone without a word."""
    if socket is None:
        return
    end = cast("sockets.socket", socket)
    with suppress(OSError):
        end.setsockopt(sockets.SOL_SOCKET, sockets.SO_KEEPALIVE, 1)
        for name, value in (
            ("TCP_KEEPIDLE", 30),
            ("TCP_KEEPALIVE", 30),
            ("TCP_KEEPINTVL", 10),
            ("TCP_KEEPCNT", 3),
        ):
            if hasattr(sockets, name):
                end.setsockopt(sockets.IPPROTO_TCP, getattr(sockets, name), value)
        if hasattr(sockets, "TCP_USER_TIMEOUT"):
            end.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_USER_TIMEOUT, PEER_GONE_MS)
