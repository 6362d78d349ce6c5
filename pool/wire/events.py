"""Server-sent events out of bytes that come in any pieces. Pure."""

from dataclasses import dataclass

from stoa.wire import MAX_MESSAGE_BYTES

__all__ = ["Event", "EventIsTooBig", "EventParser"]


class EventIsTooBig(Exception):
    """One event is larger than a message may be."""


@dataclass(frozen=True, slots=True)
class Event:
    """`id` is the last that was told, on this event or before it."""

    data: bytes
    kind: str = "message"
    id: str | None = None


class EventParser:
    """Feed it what comes; it gives the events that are complete. Comments and unknown fields are skipped."""

    def __init__(self, *, max_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._open = bytearray()  # a line whose end has not come
        self._data: list[bytes] = []
        self._size = 0
        self._kind = ""
        self._is_first = True
        self.id: str | None = None
        self.retry_seconds: float | None = None

    def __repr__(self) -> str:
        return f"<EventParser {self._size + len(self._open)} bytes waiting>"

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that this completes. Raises `EventIsTooBig`."""
        # A \r at the end of the piece before is the end of a line now that no \n follows it. Nothing else of what is
        # open is looked at again: a server may send a large line byte by byte.
        ends = self._open.endswith(b"\r")
        self._open += chunk
        if not ends and b"\n" not in chunk and b"\r" not in chunk:
            self._check(len(self._open))
            return []
        lines = bytes(self._open).splitlines(keepends=True)
        # Without an end, or with a \r that a \n may follow, it is not over yet.
        last = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        self._open = bytearray(last)
        found = [event for line in lines if (event := self._take(line.rstrip(b"\r\n"))) is not None]
        self._check(len(self._open))
        return found

    def _take(self, line: bytes) -> Event | None:
        if self._is_first:
            self._is_first = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            return self._finish()
        name, _, value = line.partition(b":")
        value = value[1:] if value.startswith(b" ") else value
        if name == b"data":
            self._data.append(value)
            self._size += len(value) + 1
            self._check(0)
        elif name == b"event":
            self._kind = value.decode("utf-8", "replace")
        elif name == b"id" and len(value) < 1024 and value.isascii() and value.decode().isprintable():
            self.id = value.decode()  # it goes back in a header
        elif name == b"retry" and value.isdigit() and len(value) < 10:
            self.retry_seconds = int(value) / 1000
        return None

    def _finish(self) -> Event | None:
        data, kind = self._data, self._kind or "message"
        self._data, self._size, self._kind = [], 0, ""
        return Event(data=b"\n".join(data), kind=kind, id=self.id) if data else None

    def _check(self, more: int) -> None:
        if self._size + more > self._max_bytes:
            raise EventIsTooBig
