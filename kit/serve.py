"""Serving, in three calls: stdio, HTTP with WebSocket beside it, and the loop they run in."""

import gc
import importlib.util
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

import anyio

from kit import stdio
from kit.logs import configure
from kit.served import Served
from stoa.settings import Settings

if TYPE_CHECKING:
    from starlette.applications import Starlette

__all__ = ["http_app", "run", "serve_http", "serve_stdio"]


def run(serve: Callable[[], Awaitable[None]], *, settings: Settings) -> None:
    """Run one of the others to its end: `run(lambda: serve_stdio(server), settings=settings)`."""
    configure(settings.log_level)
    anyio.run(serve, backend_options={"use_uvloop": _has_uvloop()})


async def serve_stdio(server: Served) -> None:
    """Serve one client on standard input and output, until it closes them or the process is told to stop."""
    _settle()
    await stdio.serve_stdio(server)


async def serve_http(
    servers: Mapping[str, Served],
    *,
    settings: Settings,
    host: str,
    port: int,
    at_root: bool,
    front: Served | None = None,
    say: Callable[[str], None] | None = None,
) -> None:
    """Serve over HTTP and WebSocket until told to stop. Port 0 takes a free one; `say`, else stderr, is told which.
    `front` is served at /mcp while the others have /mcp/{name}.

    Raises `BadInput` for an address that cannot be used, or that others could reach while no auth is configured.
    """
    # HTTP is imported when it is served: a stdio server starts without it.
    from kit.listen import say_on_stderr, serve

    _settle()
    told = say or say_on_stderr
    await serve(servers, settings=settings, host=host, port=port, at_root=at_root, front=front, say=told)


def http_app(servers: Mapping[str, Served], *, settings: Settings, host: str, at_root: bool) -> "Starlette":
    """The same as an ASGI application, for tests in memory and for other ASGI servers."""
    from kit.http import build

    return build(servers, settings=settings, host=host, at_root=at_root).app


def _settle() -> None:
    """Tell the garbage collector that what is here by now stays: modules, schemas, tools.

    Otherwise it walks through all of that again and again, which takes a sixth of the time of a call. Whoever has
    switched it off to load faster gets it back here.
    """
    gc.freeze()
    gc.enable()


def _has_uvloop() -> bool:
    # There is none for Windows.
    return importlib.util.find_spec("uvloop") is not None
