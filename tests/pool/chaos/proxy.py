"""A TCP proxy on the loopback that can go wrong: a port that closes, connections that hang without being closed."""

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import ByteStream, SocketAttribute, TaskGroup

__all__ = ["Proxy", "proxied"]


class _Gate:
    """Whether bytes pass; each connection belongs to one."""

    def __init__(self) -> None:
        self.is_open = anyio.Event()
        self.is_open.set()


class Proxy:
    """In front of one address; its own port stays the same for life."""

    def __init__(self, target: str, tasks: TaskGroup) -> None:
        host, _, port = target.partition(":")
        self._target = (host, int(port))
        self._tasks = tasks
        self._gate = _Gate()
        self._open = anyio.CancelScope()
        with socket.socket() as finder:
            finder.bind(("127.0.0.1", 0))
            self.port: int = finder.getsockname()[1]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def stall(self) -> None:
        """From now on nothing passes, on old connections and new ones, and nobody is told: half-open."""
        self._gate.is_open = anyio.Event()

    def flow(self) -> None:
        """Everything passes again."""
        self._gate.is_open.set()

    def forget(self) -> None:
        """What is connected now hangs for ever, what connects from now on does not: a firewall that was restarted."""
        self.stall()
        self._gate = _Gate()

    async def open(self) -> None:
        self._open = anyio.CancelScope()
        await self._tasks.start(self._serve)

    def close(self) -> None:
        """The port is closed, and every connection with it."""
        self._open.cancel()

    async def _serve(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        with self._open:
            listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=self.port)
            async with listener:
                assert listener.extra(SocketAttribute.local_port) == self.port
                task_status.started()
                await listener.serve(self._relay)

    async def _relay(self, client: ByteStream) -> None:
        gate = self._gate
        async with client:
            await gate.is_open.wait()
            try:
                async with await anyio.connect_tcp(*self._target) as server, anyio.create_task_group() as tasks:
                    tasks.start_soon(self._copy, client, server, gate, tasks)
                    tasks.start_soon(self._copy, server, client, gate, tasks)
            except* (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass

    async def _copy(self, source: ByteStream, drain: ByteStream, gate: _Gate, tasks: TaskGroup) -> None:
        try:
            async for chunk in source:
                await gate.is_open.wait()
                await drain.send(chunk)
        finally:
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def proxied(target: str, count: int) -> AsyncGenerator[list[Proxy]]:
    """So many proxies in front of one server: replicas that fail each on its own."""
    async with anyio.create_task_group() as tasks:
        proxies = [Proxy(target, tasks) for _ in range(count)]
        for proxy in proxies:
            await proxy.open()
        try:
            yield proxies
        finally:
            tasks.cancel_scope.cancel()
