"""MCP over a child's stdin and stdout: one JSON-RPC message to a line, at most 16 MiB each.

A transport as the SDK's client takes it. Written anew because the SDK's own neither keeps stderr, nor limits a line,
nor says why the connection ended. Lines that are not MCP messages are counted and skipped; a child that sends nothing
else is given up.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from mcp.client._transport import TransportStreams  # pyright: ignore[reportPrivateUsage] - the type of a transport
from mcp.shared.message import SessionMessage

from pool.wire.child import Child, start_child
from pool.wire.link import LinkedTransport
from pool.wire.oversize import too_big_to_send
from pool.wire.reading import read_message
from pool.spec import StdioSpec
from stoa.wire import MAX_MESSAGE_BYTES

__all__ = ["StdioTransport"]

READ_BYTES = 2**16
FLUSH_SECONDS = 0.5
AFTERMATH_SECONDS = 0.2
MAX_NOISE_LINES = 1000
"""So many lines in a row that are no messages: what runs there is not an MCP server."""
QUEUED_MESSAGES = 256
"""Room for requests and cancellations while the child does not read; keeps a cancellation from waiting for it."""

_GONE = (OSError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)


class StdioTransport(LinkedTransport):
    """Starts the child on entering and ends it, with everything it started, on leaving."""

    def __init__(self, spec: StdioSpec, *, server: str, environ: Mapping[str, str], grace_seconds: float) -> None:
        super().__init__()
        self._spec = spec
        self._server = server
        self._environ = environ
        self._grace_seconds = grace_seconds
        self.child: Child | None = None
        self.noise_lines = 0
        self._noise_run = 0
        self._first_noise = ""

    def __repr__(self) -> str:
        return f"<StdioTransport {self._server} {self.child!r}>"

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

    @asynccontextmanager
    async def _run(self) -> AsyncGenerator[TransportStreams]:
        child = self.child = await start_child(self._spec, server=self._server, environ=self._environ)
        # No await from here to the `try`: a cancellation in between would lose the process.
        try:
            inbound_in, inbound_out = anyio.create_memory_object_stream[SessionMessage | Exception](0)
            outbound_in, outbound_out = anyio.create_memory_object_stream[SessionMessage](QUEUED_MESSAGES)
            with inbound_in, inbound_out, outbound_in, outbound_out:
                async with anyio.create_task_group() as tasks:
                    written = anyio.Event()
                    tasks.start_soon(child.listen)
                    tasks.start_soon(self._watch, child, inbound_in)
                    tasks.start_soon(self._read, child, inbound_in)
                    tasks.start_soon(self._write, child, outbound_out, inbound_in, written)
                    try:
                        yield inbound_out, outbound_in
                    finally:
                        with anyio.CancelScope(shield=True):
                            inbound_out.close()
                            outbound_in.close()
                            with anyio.move_on_after(FLUSH_SECONDS):
                                await written.wait()
                            await child.stop(self._grace_seconds)
                        tasks.cancel_scope.cancel()
        finally:
            child.kill()

    async def _read(self, child: Child, inbound: ObjectSendStream[SessionMessage | Exception]) -> None:
        buffer = bytearray()
        try:
            while True:
                chunk = await child.stdout.receive(READ_BYTES)
                head, newline, rest = chunk.partition(b"\n")
                while newline:
                    line = bytes(buffer) + head
                    buffer.clear()
                    if len(line) > MAX_MESSAGE_BYTES:
                        break
                    await self._take(line, inbound)
                    if self._noise_run > MAX_NOISE_LINES:
                        self.lose("It is not an MCP server.")
                        return
                    head, newline, rest = rest.partition(b"\n")
                buffer += head
                if len(buffer) > MAX_MESSAGE_BYTES or newline:
                    self.lose(f"It sent a message of more than {MAX_MESSAGE_BYTES >> 20} MiB, which is the limit.")
                    return
        except _GONE:
            await self._tell_end(child)
        finally:
            with suppress(*_GONE):
                await inbound.aclose()
            await self._drain(child)

    async def _watch(self, child: Child, inbound: ObjectSendStream[SessionMessage | Exception]) -> None:
        """Notice the end of a child whose stdout stays open because something it started holds it."""
        await child.wait()
        await anyio.sleep(AFTERMATH_SECONDS)  # what it wrote last is still being read
        await self._tell_end(child)
        with suppress(*_GONE):
            await inbound.aclose()

    async def _tell_end(self, child: Child) -> None:
        # stdout ends a moment before the exit code is known; it makes the better sentence.
        await child.exited(0.5)
        code = child.exit_code
        if code is None:
            self.lose("It closed its stdout.")
        elif code < 0:
            self.lose(f"It was ended by signal {-code}.")
        else:
            self.lose("It ended.")

    async def _take(self, line: bytes, inbound: ObjectSendStream[SessionMessage | Exception]) -> None:
        if not line.strip():
            return
        try:
            message = read_message(line)
        except ValueError:
            self.noise_lines += 1
            self._noise_run += 1
            if self.noise_lines == 1 and self.child is not None:
                self._first_noise = self.child.words.clean(line[:800])[:120]
            return
        self._noise_run = 0
        await inbound.send(SessionMessage(message))

    async def _drain(self, child: Child) -> None:
        """A child that still writes must not block on a full pipe when it is asked to end."""
        with anyio.CancelScope(shield=True), suppress(*_GONE):
            while True:
                await child.stdout.receive(READ_BYTES)

    async def _write(
        self,
        child: Child,
        outbound: ObjectReceiveStream[SessionMessage],
        inbound: ObjectSendStream[SessionMessage | Exception],
        written: anyio.Event,
    ) -> None:
        try:
            async for item in outbound:
                data = item.message.model_dump_json(by_alias=True, exclude_unset=True).encode()
                if len(data) > MAX_MESSAGE_BYTES:
                    await inbound.send(too_big_to_send(item.message, len(data)))
                else:
                    await child.stdin.send(data + b"\n")
        except (*_GONE, RuntimeError):  # uvloop raises RuntimeError on a closed pipe
            self.lose("It stopped reading its stdin.")
            with suppress(*_GONE):
                await inbound.aclose()
        finally:
            written.set()
