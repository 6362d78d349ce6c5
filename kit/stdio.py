"""stdio: one message a line on file descriptors 0 and 1, for clients that start the server as their child.

While it serves, descriptor 0 is the null device and 1 is stderr, so that a stray `print()` or a child process cannot
write into the protocol. Nothing of HTTP is imported here: a stdio server has to start fast.
"""

import os
import select
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import anyio
import anyio.from_thread
import anyio.to_thread

from kit.duplex import STOP_GRACE_SECONDS, Duplex, TooLong, guess_id
from kit.eras import serve_duplex
from kit.served import Served
from kit.signals import stopping
from stoa.wire import MAX_MESSAGE_BYTES

__all__ = ["serve_pipes", "serve_stdio"]

CHUNK_BYTES: Final = 256 * 1024
ENDS_BYTES: Final = 4096

# POSIX promises that a pipe which is ready takes this much without blocking.
READY_BYTES: Final = 512 if not hasattr(select, "PIPE_BUF") else select.PIPE_BUF


async def serve_stdio(server: Served) -> None:
    """Serve one client until it closes the pipe or the process is told to stop (SIGTERM, SIGINT)."""
    with _claimed() as (stdin, stdout):
        await serve_pipes(server, stdin, stdout)


async def serve_pipes(server: Served, stdin: int, stdout: int) -> None:
    """The same on other descriptors, which stay open."""
    duplex = Duplex(_Pipes(stdin, stdout))
    lowlevel = server.lowlevel

    def stop() -> None:
        server.subscriptions.close()
        duplex.stop()

    async with lowlevel.lifespan(lowlevel) as state, stopping(stop):
        await serve_duplex(lowlevel, duplex, lifespan_state=state)


class _Pipes:
    """Lines over two descriptors. They stay in blocking mode: that flag is shared with whoever holds the other ends."""

    def __init__(self, stdin: int, stdout: int) -> None:
        self._stdin = stdin
        self._stdout = stdout
        self._buffer = bytearray()
        self._searched = 0
        self._skipped: bytes | None = None  # the first bytes of a line over the limit, while the rest is thrown away
        self._is_pollable = hasattr(select, "poll")
        self._ready = _poll(stdout)
        self._writing = anyio.Lock()
        self._is_torn = False  # the client stopped reading in the middle of a message, and nothing can follow it

    async def receive(self) -> bytes:
        while True:
            line = self._line()
            if line is not None and line.strip():
                return line
            if line is None:
                chunk = await self._read()
                if not chunk:
                    raise anyio.EndOfStream
                self._buffer += chunk

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._buffer)
            if len(self._buffer) > MAX_MESSAGE_BYTES or self._skipped is not None:
                if self._skipped is None:
                    self._skipped = bytes(self._buffer[:ENDS_BYTES])
                del self._buffer[:-ENDS_BYTES]
                self._searched = len(self._buffer)
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        if self._skipped is not None or len(line) > MAX_MESSAGE_BYTES:
            head, self._skipped = self._skipped or line[:ENDS_BYTES], None
            raise TooLong(guess_id(head, line[-ENDS_BYTES:]))
        return line

    async def _read(self) -> bytes:
        if self._is_pollable:
            try:
                await anyio.wait_readable(self._stdin)
                return os.read(self._stdin, CHUNK_BYTES)
            except PermissionError:  # a regular file: epoll does not take it, and it is always ready
                self._is_pollable = False
        return await anyio.to_thread.run_sync(os.read, self._stdin, CHUNK_BYTES, abandon_on_cancel=True)

    async def send(self, message: bytes) -> None:
        data = message + b"\n"
        async with self._writing:
            try:
                if len(data) <= READY_BYTES and not self._is_torn and self._ready is not None and self._ready.poll(0):
                    os.write(self._stdout, data)
                else:
                    await self._write_in_thread(data)
            except OSError as error:
                raise anyio.BrokenResourceError from error

    async def _write_in_thread(self, data: bytes) -> None:
        """Write what may block. A message that was begun is finished: the next one must not land in its middle."""
        if self._is_torn:
            raise anyio.BrokenResourceError
        written = anyio.Event()

        def write() -> None:
            try:
                _write_all(self._stdout, data)
            finally:
                anyio.from_thread.run_sync(written.set)

        try:
            await anyio.to_thread.run_sync(write, abandon_on_cancel=True)
        except anyio.get_cancelled_exc_class():
            with anyio.move_on_after(STOP_GRACE_SECONDS, shield=True):
                await written.wait()
            self._is_torn = not written.is_set()
            raise


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _poll(descriptor: int) -> "select.poll | None":
    if not hasattr(select, "poll"):
        return None
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return poll


@contextmanager
def _claimed() -> Generator[tuple[int, int]]:
    """Private copies of descriptors 0 and 1, which meanwhile point elsewhere. They are put back at the end."""
    sys.stdout.flush()
    stdin, stdout, nothing = os.dup(0), os.dup(1), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    try:
        yield stdin, stdout
    finally:
        sys.stdout.flush()
        os.dup2(stdin, 0)
        os.dup2(stdout, 1)
        # The copies stay open: an abandoned thread may still read or write them, and a new file must not get its bytes.
