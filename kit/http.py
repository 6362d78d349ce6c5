"""The HTTP application: every server at `/mcp` (or `/mcp/{name}`) by Streamable HTTP of both eras, and beside it `/ws`.

Requests come in by `kit.entrance`; what is inside their messages is `kit.gate`'s. Listening is `kit.listen`'s.
"""

import math
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from kit.auth import AuthFailure, protected_resource
from kit.entrance import Entrance, refusal
from kit.exchange import Exchanges, is_modern
from kit.gate import DOOR_KEY
from kit.health import METRICS_SCOPE, health
from kit.identity import Door
from kit.metrics import CONTENT_TYPE_LATEST, Metrics
from kit.served import Served
from kit.sessions import Sessions
from kit.websocket import Sockets
from stoa.settings import Settings
from stoa.wire import MAX_MESSAGE_BYTES, PRINCIPAL_KEY, CloseCode

__all__ = ["Application", "build"]

MAX_SESSIONS = 1000
"""Sessions of the handshake era that one server keeps. A further one takes the place of the one that nobody has needed
for longest, of those of whoever has most; it gets 503 while all of them are in use."""

SESSION_IDLE_SECONDS = 600.0
"""How long such a session may go without any request before it is forgotten, which its client is told by 404."""

METADATA_PATH = "/.well-known/oauth-protected-resource"


class Endpoint:
    """One server at one path, for HTTP and for WebSocket."""

    def __init__(
        self,
        server: Served,
        entrance: Entrance,
        *,
        path: str,
        max_sessions: int,
        session_idle_seconds: float,
    ) -> None:
        self.server = server
        self.path = path
        self.sockets = Sockets(server.lowlevel)
        self._exchanges = Exchanges(server.lowlevel)
        self._sessions = Sessions(server.lowlevel, max_sessions=max_sessions, idle_seconds=session_idle_seconds)
        self._entrance = entrance
        self._state: Any = None
        self._posts = 0
        self._idle = anyio.Event()

    def __repr__(self) -> str:
        return f"<Endpoint {self.path}: {self._posts} requests, {self.sockets!r}>"

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        lowlevel = self.server.lowlevel
        async with lowlevel.lifespan(lowlevel) as self._state, anyio.create_task_group() as group:
            group.start_soon(self._exchanges.mind)
            await group.start(self._sessions.run)
            yield
            group.cancel_scope.cancel()

    def stop(self) -> None:
        self.server.subscriptions.close()
        self.sockets.stop()

    async def drained(self) -> None:
        """Returns when no request is being answered; standing GET streams do not count."""
        while self._posts:
            self._idle = anyio.Event()
            await self._idle.wait()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await self._enter(scope, receive, send)
            return
        self._posts += 1
        try:
            await self._enter(scope, receive, send)
        except ClientDisconnect:
            pass  # it left before it had said what it wants; nobody is there to answer
        finally:
            self._posts -= 1
            if not self._posts:
                self._idle.set()

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Space around a value is no part of it (RFC 9110, 5.5); httptools leaves the space behind it.
        scope["headers"] = [(name, value.rstrip(b" \t")) for name, value in scope["headers"]]
        refused = self._entrance.refuse_foreign(scope["headers"])
        if refused is not None:
            await refused(scope, receive, send)
            return
        door = await self._entrance.door(scope["headers"])
        # In the handshake era a session would be opened before anybody has proven anything.
        takes_assertions = self._entrance.takes_assertions and is_modern(scope)
        if isinstance(door, AuthFailure) and door.error is None and takes_assertions:
            # No token, but one of our own processes may say inside the message who calls; the gate checks that.
            receive, claims = await _claims_principal(receive)
            door = Door() if claims else door
        if isinstance(door, AuthFailure):
            await refusal(door, resource_metadata=_metadata_url(scope, self.path))(scope, receive, send)
            return
        scope[DOOR_KEY] = door
        if is_modern(scope):
            await self._exchanges.serve(scope, receive, send, lifespan_state=self._state)
            return
        owner = None if door.bearer is None else (door.bearer.tenant, door.bearer.subject)
        # A call that has begun may end; a stream is ended with its token.
        with anyio.move_on_after(math.inf if scope["method"] == "POST" else door.ends_at - time.time()):
            await self._sessions.serve(scope, receive, send, owner=owner, lifespan_state=self._state)

    async def serve_websocket(self, websocket: WebSocket) -> None:
        refused = self._entrance.refuse_foreign(websocket.scope["headers"])
        door = await self._entrance.door(websocket.scope["headers"])
        if refused is None and isinstance(door, AuthFailure):
            if door.error is None and self._entrance.takes_assertions:
                door = Door()
            else:
                refused = refusal(door, resource_metadata=_metadata_url(websocket.scope, self.path))
        if refused is not None:
            await websocket.send_denial_response(refused)
            return
        assert isinstance(door, Door)
        websocket.scope[DOOR_KEY] = door
        with anyio.move_on_after(door.ends_at - time.time()) as life:
            await self.sockets.serve(websocket, lifespan_state=self._state)
        if life.cancelled_caught:
            with suppress(RuntimeError, WebSocketDisconnect):  # the other side was faster
                await websocket.close(CloseCode.REFUSED, "The token has expired.")


class Application:
    """The ASGI application with what its runner has to know to stop it."""

    def __init__(self, app: Starlette, endpoints: tuple[Endpoint, ...]) -> None:
        self.app = app
        self.endpoints = endpoints
        self._paths = {endpoint.path: endpoint for endpoint in endpoints}

    def __repr__(self) -> str:
        return f"<Application: {', '.join(endpoint.path for endpoint in self.endpoints)}>"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The same as `app`, with the shortest way to the endpoints: routing costs as much as checking a token."""
        endpoint = self._paths.get(scope["path"]) if scope["type"] == "http" else None
        await (endpoint or self.app)(scope, receive, send)


def build(
    servers: Mapping[str, Served],
    *,
    settings: Settings,
    host: str,
    at_root: bool,
    front: Served | None = None,
    max_sessions: int = MAX_SESSIONS,
    session_idle_seconds: float = SESSION_IDLE_SECONDS,
) -> Application:
    """The application for an address. `front` is served at the root, beside the others that have paths of their own.

    Raises `BadInput` for an address that others could reach while no auth is configured.
    """
    if at_root and (len(servers) != 1 or front is not None):
        raise ValueError(f"one server fits at the root, not {len(servers) + (front is not None)}")
    entrance = Entrance(settings, host=host)
    metrics = Metrics()
    paths = {"/mcp" if at_root else f"/mcp/{name}": server for name, server in servers.items()}
    endpoints = tuple(
        Endpoint(
            server,
            entrance,
            path=path,
            max_sessions=max_sessions,
            session_idle_seconds=session_idle_seconds,
        )
        for path, server in (paths if front is None else {"/mcp": front, **paths}).items()
    )
    for endpoint in endpoints:
        endpoint.server.observe(metrics)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        async with AsyncExitStack() as stack:
            for endpoint in endpoints:
                await stack.enter_async_context(endpoint.running())
            yield

    async def show_health(_: Request) -> Response:
        return JSONResponse(health(servers, at_root=at_root, front=front))

    async def show_metrics(request: Request) -> Response:
        return await _show_metrics(request, entrance, metrics)

    routes: list[BaseRoute] = []
    for endpoint in endpoints:
        routes += [
            Route(endpoint.path, endpoint),
            WebSocketRoute(f"{endpoint.path}/ws", endpoint.serve_websocket),
        ]
        if settings.auth.is_on:
            routes.append(Route(f"{METADATA_PATH}{endpoint.path}", _metadata_of(endpoint, settings)))
    routes += [Route("/health", show_health), Route("/metrics", show_metrics)]
    return Application(Starlette(routes=routes, lifespan=lifespan), endpoints)


async def _show_metrics(request: Request, entrance: Entrance, metrics: Metrics) -> Response:
    """Open where nobody is asked for a token; else for tokens with the scope: the numbers are those of all tenants."""
    refused = entrance.refuse_foreign(request.scope["headers"])
    if refused is None and entrance.asks_for_tokens:
        door = await entrance.door(request.scope["headers"])
        if isinstance(door, AuthFailure):
            refused = refusal(door, resource_metadata=None)
        elif door.bearer is None or not door.bearer.allows(METRICS_SCOPE):
            refused = JSONResponse({"error": "insufficient_scope", "scope": METRICS_SCOPE}, status_code=403)
    return refused or Response(metrics.exposition(), media_type=CONTENT_TYPE_LATEST)


def _metadata_of(endpoint: Endpoint, settings: Settings) -> Any:
    async def show(request: Request) -> Response:
        resource = f"{request.url.scheme}://{request.url.netloc}{endpoint.path}"
        return JSONResponse(protected_resource(resource, settings.auth))

    return show


def _metadata_url(scope: Scope, path: str) -> str:
    """Where the RFC 9728 document of this endpoint is."""
    url = Request({**scope, "type": "http"}).url
    scheme = {"ws": "http", "wss": "https"}.get(url.scheme, url.scheme)
    return f"{scheme}://{url.netloc}{METADATA_PATH}{path}"


async def _claims_principal(receive: Receive) -> tuple[Receive, bool]:
    """Whether the body names a principal, and a `receive` that gives the body again."""
    messages: list[Message] = []
    size = 0
    while size <= MAX_MESSAGE_BYTES:
        message = await receive()
        messages.append(message)
        size += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            break
    body = b"".join(message.get("body", b"") for message in messages)

    async def again() -> Message:
        return messages.pop(0) if messages else await receive()

    return again, f'"{PRINCIPAL_KEY}"'.encode() in body
