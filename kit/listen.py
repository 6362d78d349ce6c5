"""Listening on an address: uvicorn with uvloop and httptools, and the way it is stopped.

Stopping takes three steps: no new connections; open requests get a few seconds; what still stands (event streams,
silent sockets) is closed. A process that was asked to stop ends with exit code 0.
"""

import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import anyio
import uvicorn

from kit.duplex import STOP_GRACE_SECONDS
from kit.http import Application, build
from kit.one_write import OneWriteProtocol
from kit.served import Served
from kit.signals import stopping
from stoa.errors import BadInput
from stoa.settings import Settings
from stoa.wire import MAX_MESSAGE_BYTES, PING_SECONDS, PING_TIMEOUT_SECONDS

__all__ = ["say_on_stderr", "serve"]

KEEP_ALIVE_SECONDS = 75
"""Longer than the usual idle limits of clients and proxies: who closes first must not be us, or requests are lost."""

BACKLOG = 2048

MAX_CONNECTIONS = 2000
"""Open connections, silent ones among them; what is asked over further ones gets 503."""


def say_on_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


async def serve(
    servers: Mapping[str, Served],
    *,
    settings: Settings,
    host: str,
    port: int,
    at_root: bool,
    front: Served | None = None,
    max_connections: int = MAX_CONNECTIONS,
    say: Callable[[str], None] = say_on_stderr,
) -> None:
    """Serve until told to stop. Says where (on stderr) as soon as requests are answered."""
    application = build(servers, settings=settings, host=host, at_root=at_root, front=front)
    with _bound(host, port) as listener:
        runner = _Runner(
            uvicorn.Config(
                application,
                http=OneWriteProtocol,
                ws="websockets-sansio",
                lifespan="off",  # entered below: uvicorn would turn an error of ours into a log line and exit code 3
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=1,
                ws_max_size=MAX_MESSAGE_BYTES,
                ws_ping_interval=PING_SECONDS,
                ws_ping_timeout=PING_TIMEOUT_SECONDS,
                ws_per_message_deflate=False,  # it costs more than it saves between machines that are near
                backlog=BACKLOG,
                limit_concurrency=max_connections + 1,  # theirs is the first number that is too many
            ),
            application,
            address=f"http://{_bracketed(host)}:{listener.getsockname()[1]}",
            say=say,
        )
        async with application.app.router.lifespan_context(application.app):
            await runner.run(listener)


class _Runner(uvicorn.Server):
    """uvicorn without its signal handlers (they end the process by the signal) and with our way of stopping."""

    def __init__(
        self, config: uvicorn.Config, application: Application, *, address: str, say: Callable[[str], None]
    ) -> None:
        super().__init__(config)
        self._say = say
        self._application = application
        self._address = address

    def capture_signals(self) -> AbstractContextManager[None]:  # pyright: ignore[reportIncompatibleMethodOverride]  # a generator there, the same to `with`
        return nullcontext()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for endpoint in self._application.endpoints:
            self._say(f"serving {endpoint.server.name} at {self._address}{endpoint.path}")

    async def run(self, listener: socket.socket) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # theirs makes a loop, ours is in one
        asked = anyio.Event()
        async with stopping(asked.set), anyio.create_task_group() as group:
            group.start_soon(self._stop, asked)
            try:
                await self.serve(sockets=[listener])
            finally:
                self._close()
            group.cancel_scope.cancel()

    async def _stop(self, asked: anyio.Event) -> None:
        await asked.wait()
        for server in self.servers:
            server.close()
        for endpoint in self._application.endpoints:
            endpoint.stop()
        with anyio.move_on_after(STOP_GRACE_SECONDS):
            for endpoint in self._application.endpoints:
                await endpoint.drained()
                await endpoint.sockets.drained()
        self._close()
        self.should_exit = True

    def _close(self) -> None:
        """Close what is left. Answers that have been handed over are still sent."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.close()


def _bound(host: str, port: int) -> socket.socket:
    """A socket that is bound to the address. Raises `BadInput` where it cannot be."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        # The protocol has to be named: asyncio sets TCP_NODELAY only on sockets that say they are TCP, and without it
        # every answer waits 40 ms.
        listener = socket.socket(family, kind, socket.IPPROTO_TCP)
    except OSError as error:
        raise BadInput(f"The host {host!r} is not an address of this machine: {error.strerror}.") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise BadInput(
            f"{_bracketed(host)}:{port} cannot be listened on: {error.strerror}.",
            hint="Choose another port with --port; 0 takes a free one.",
        ) from error
    return listener


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
