"""MCP over a child's stdin and stdout: one JSON-RPC message to a line, at most 16 MiB each.

Lines that are not MCP messages are counted and skipped; a child that sends nothing
else is given up.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress

import anyio
from anyio.lowlevel import checkpoint

from pool.spec import StdioSpec
from pool.wire.child import Child, LastWords, start_child
from pool.wire.peer import Peer
from pool.wire.reading import read_object
from stoa.wire import MAX_MESSAGE_BYTES

__all__ = ["StdioWire"]

READ_BYTES = 2**16
AFTERMATH_SECONDS = 0.2
MAX_NOISE_LINES = 1000
"""So many lines in a row that are no messages: what runs there is not an MCP server."""

_GONE = (OSError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)


class StdioWire(Peer):
    """Starts the child on entering and ends it, with everything it started, on leaving."""

    def __init__(
        self,
        spec: StdioSpec,
        *,
        server: str,
        environ: Mapping[str, str],
        grace_seconds: float,
        words: LastWords | None = None,
    ) -> None:
        super().__init__()
        self._words = words
        self._spec = spec
        self._server = server
        self._environ = environ
        self._grace_seconds = grace_seconds
        self.child: Child | None = None
        self.noise_lines = 0
        self._noise_run = 0
        self._first_noise = ""
        self._said_all = anyio.Event()
        # One message is in the pipe's buffer at a time: while the child does not read, whoever else wants to send waits
        # here, and may leave without having sent anything.
        self._writing = anyio.Lock(fast_acquire=True)

    def __repr__(self) -> str:
        return f"<StdioWire {self._server} {self.child!r}>"

    @property
    def noise(self) -> str:
        """A sentence about what came on stdout and was no message; empty when nothing did."""
        if not self.noise_lines:
            return ""
        count = "a line" if self.noise_lines == 1 else f"{self.noise_lines} lines"
        return f"It wrote {count} on stdout that are not MCP messages, the first: {self._first_noise!r}."

    def explain(self) -> str:
        """What is known about the end of the child, for people: how it ended, and its last words."""
        parts = [self.reason]
        code = self.child.exit_code if self.child is not None else None
        if code is not None and code > 0:
            parts.append(f"Its exit code was {code}.")
        parts.append(self.noise)
        tail = self.child.words.tail() if self.child is not None else ""
        if tail:
            parts.append(f"Its last words on stderr:\n{tail}")
        return " ".join(part for part in parts if part)

    @property
    def pid(self) -> int | None:
        return self.child.pid if self.child is not None else None

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        child = self.child = await start_child(
            self._spec, server=self._server, environ=self._environ, words=self._words
        )
        # No await from here to the `try`: a cancellation in between would lose the process.
        try:
            async with anyio.create_task_group() as tasks:
                self._start(tasks)
                tasks.start_soon(self._listen, child)
                tasks.start_soon(self._watch, child)
                tasks.start_soon(self._read, child)
                try:
                    yield
                finally:
                    await child.stop(self._grace_seconds)
                    self.lose("The connection was closed.")  # whoever still waits for an answer is told
                    tasks.cancel_scope.cancel()
        finally:
            child.kill()

    async def _send(self, data: bytes) -> None:
        assert self.child is not None
        try:
            async with self._writing:
                await self.child.stdin.send(data + b"\n")
            self.traffic.sent(len(data))
        except (*_GONE, RuntimeError):  # uvloop raises RuntimeError on a closed pipe
            self.lose("It stopped reading its stdin.")

    async def _read(self, child: Child) -> None:
        buffer = bytearray()
        try:
            while True:
                chunk = await child.stdout.receive(READ_BYTES)
                *lines, rest = chunk.split(b"\n")
                for line in lines:
                    if buffer:
                        line = bytes(buffer) + line
                        buffer.clear()
                    if len(line) > MAX_MESSAGE_BYTES:
                        return self._lose_too_big()
                    self._take_line(line)
                    if self._noise_run > MAX_NOISE_LINES:
                        return self.lose("It is not an MCP server.")
                buffer += rest
                if len(buffer) > MAX_MESSAGE_BYTES:
                    return self._lose_too_big()
                if len(chunk) == READ_BYTES:
                    # More is there already, so that the next read would not wait: others get their turn.
                    await checkpoint()
        except _GONE:
            await self._tell_end(child)
        finally:
            await self._drain(child)

    def _lose_too_big(self) -> None:
        self.lose(f"It sent a message of more than {MAX_MESSAGE_BYTES >> 20} MiB, which is the limit.")

    async def _listen(self, child: Child) -> None:
        await child.listen()
        self._said_all.set()

    async def _watch(self, child: Child) -> None:
        """Notice the end of a child whose stdout stays open because something it started holds it."""
        await child.wait()
        await anyio.sleep(AFTERMATH_SECONDS)  # what it wrote last is still being read
        await self._tell_end(child)

    async def _tell_end(self, child: Child) -> None:
        # stdout ends a moment before the exit code is known; it makes the better sentence.
        await child.exited(0.5)
        with anyio.move_on_after(AFTERMATH_SECONDS):  # something that it started may hold its stderr open
            await self._said_all.wait()
        code = child.exit_code
        if code is None:
            self.lose("It closed its stdout.")
        elif code < 0:
            self.lose(f"It was ended by signal {-code}.")
        else:
            self.lose("It ended.")

    def _take_line(self, line: bytes) -> None:
        if not line.strip():
            return
        self.traffic.received(len(line))
        try:
            self._take(read_object(line), size=len(line))
        except ValueError:
            self.noise_lines += 1
            self._noise_run += 1
            if self.noise_lines == 1 and self.child is not None:
                self._first_noise = self.child.words.clean(line[:800])[:120]
            return
        self._noise_run = 0

    async def _drain(self, child: Child) -> None:
        """A child that still writes must not block on a full pipe when it is asked to end."""
        with anyio.CancelScope(shield=True), suppress(*_GONE):
            while True:
                await child.stdout.receive(READ_BYTES)
