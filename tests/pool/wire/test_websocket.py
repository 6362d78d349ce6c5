"""WebSocket endpoints that behave badly, and what the pool's WebSocket side promises."""

import json
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from pool.spec import WsSpec
from pool.wire.failures import Lost
from pool.wire.websocket import WebSocketWire
from stoa.errors import BadInput, Denied, OutcomeUnknown, Unavailable
from stoa.wire import MAX_MESSAGE_BYTES
from tests.pool.stage import call, load, open_pool, quick, served, until

TOOLS = [{"name": name, "inputSchema": {"type": "object"}} for name in ("echo", "write")]


@asynccontextmanager
async def scripted(on_call: Callable[[ServerConnection, int], Awaitable[None]]) -> AsyncGenerator[str]:
    """A server of revision 2025-11-25 that does `on_call` when a tool is called."""

    async def handle(socket: ServerConnection) -> None:
        async for frame in socket:
            message = json.loads(frame)
            number = message.get("id")
            match message["method"]:
                case "initialize":
                    info = {"name": "scripted", "version": "1"}
                    can: dict[str, object] = {"tools": {}}
                    result = {"protocolVersion": "2025-11-25", "capabilities": can, "serverInfo": info}
                    await socket.send(json.dumps({"jsonrpc": "2.0", "id": number, "result": result}))
                case "tools/list":
                    await socket.send(json.dumps({"jsonrpc": "2.0", "id": number, "result": {"tools": TOOLS}}))
                case "tools/call":
                    await on_call(socket, number)
                case _ if number is not None:
                    error = {"code": -32601, "message": "Method not found"}
                    await socket.send(json.dumps({"jsonrpc": "2.0", "id": number, "error": error}))
                case _:
                    pass

    async with serve(handle, "127.0.0.1", 0, subprotocols=[Subprotocol("mcp")], max_size=None) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/mcp/ws"


@asynccontextmanager
async def refusing(status: int) -> AsyncGenerator[tuple[str, list[str]]]:
    """Answers every upgrade with this status, and a Location in case; gives its address and the paths asked for."""
    visits: list[str] = []

    def refuse(_: ServerConnection, request: Request) -> Response:
        visits.append(request.path)
        return Response(status, "no", Headers({"Location": "/other", "Content-Length": "0"}), b"")

    async def never(_: ServerConnection) -> None:
        raise AssertionError

    async with serve(never, "127.0.0.1", 0, process_request=refuse) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/mcp/ws", visits


async def test_the_upgrade_carries_headers_and_subprotocol_and_no_compression() -> None:
    seen: list[dict[str, str]] = []
    async with served(load("sockets").socket_app(load("plain").build(), seen)) as address:
        spec = WsSpec(f"ws://{address}/mcp/ws", headers={"Authorization": "Bearer hunter2"}, secrets=("hunter2",))
        async with open_pool(quick("one", spec)) as pool:
            assert (await call(pool, "one.echo", {"text": "x"})).text == "x"
            assert "hunter2" not in f"{pool!r} {spec!r} {await pool.status()}"
    assert seen[0]["authorization"] == "Bearer hunter2"
    assert seen[0]["sec-websocket-protocol"] == "mcp"
    assert "sec-websocket-extensions" not in seen[0]


async def test_half_a_character_in_an_answer_costs_that_character_only() -> None:
    async def half(socket: ServerConnection, number: int) -> None:
        result = {"content": [{"type": "text", "text": "a\ud83db"}]}
        await socket.send(json.dumps({"jsonrpc": "2.0", "id": number, "result": result}))

    async with scripted(half) as url, open_pool(quick("one", WsSpec(url))) as pool:
        with anyio.fail_after(10):
            assert (await call(pool, "one.echo")).text == "a\ufffdb"


async def test_an_answer_over_the_limit_is_cut_off_with_a_clear_error() -> None:
    async def huge(socket: ServerConnection, number: int) -> None:
        result = {"content": [{"type": "text", "text": "x" * MAX_MESSAGE_BYTES}]}
        await socket.send(json.dumps({"jsonrpc": "2.0", "id": number, "result": result}))

    async with scripted(huge) as url, open_pool(quick("one", WsSpec(url))) as pool:
        with pytest.raises(OutcomeUnknown, match="more than 16 MiB"):
            await call(pool, "one.write")
        await until(lambda: "1/1 ready" in repr(pool))


async def test_a_request_over_the_limit_is_not_sent() -> None:
    app = load("sockets").socket_app(load("plain").build())
    async with served(app) as address, open_pool(quick("one", WsSpec(f"ws://{address}/mcp/ws"))) as pool:
        with pytest.raises(BadInput, match="the limit is 16777216"):
            await call(pool, "one.write", {"text": "x" * MAX_MESSAGE_BYTES})
        assert (await call(pool, "one.echo", {"text": "fine"})).text == "fine"


async def test_a_connection_that_closes_ends_the_call_at_once_and_comes_back() -> None:
    async def close(socket: ServerConnection, number: int) -> None:
        await socket.close(1011, "out of order")

    async with scripted(close) as url, open_pool(quick("one", WsSpec(url))) as pool:
        with pytest.raises(OutcomeUnknown, match=r"closed the connection with code 1011 \(out of order\)"):
            await call(pool, "one.write")
        await until(lambda: "1/1 ready" in repr(pool))


async def test_a_connection_that_breaks_is_noticed() -> None:
    async def drop(socket: ServerConnection, number: int) -> None:
        socket.transport.abort()

    async with scripted(drop) as url, open_pool(quick("one", WsSpec(url))) as pool:
        with pytest.raises(OutcomeUnknown, match="was lost during"):
            await call(pool, "one.write")


async def test_garbage_frames_are_read_over() -> None:
    async def garbage(socket: ServerConnection, number: int) -> None:
        await socket.send("this is not JSON")
        result = {"content": [{"type": "text", "text": "sense"}]}
        await socket.send(json.dumps({"jsonrpc": "2.0", "id": number, "result": result}))

    async with scripted(garbage) as url, open_pool(quick("one", WsSpec(url))) as pool:
        assert (await call(pool, "one.echo")).text == "sense"


async def test_the_socket_is_closed_when_the_pool_is() -> None:
    closed = anyio.Event()

    async def watch(socket: ServerConnection, number: int) -> None:
        await socket.send(json.dumps({"jsonrpc": "2.0", "id": number, "result": {"content": []}}))
        await socket.wait_closed()
        closed.set()

    async with scripted(watch) as url:
        async with open_pool(quick("one", WsSpec(url))) as pool:
            await call(pool, "one.echo")
        with anyio.fail_after(5):
            await closed.wait()


async def test_nobody_listening_is_unavailable_and_names_the_address() -> None:
    async with open_pool(quick("one", WsSpec("ws://127.0.0.1:9/mcp/ws"))) as pool:
        with pytest.raises(Unavailable, match=r"cannot be reached at ws://127\.0\.0\.1:9/mcp/ws"):
            await call(pool, "one.echo")


async def test_an_endpoint_that_never_answers_the_upgrade_is_given_up() -> None:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as mute:
        port = mute.extra(anyio.abc.SocketAttribute.local_port)
        async with open_pool(quick("one", WsSpec(f"ws://127.0.0.1:{port}/"), start_timeout_seconds=0.3)) as pool:
            with pytest.raises(Unavailable, match=r"within 0\.3 seconds"):
                await call(pool, "one.echo")


@pytest.mark.parametrize(("status", "error"), [(401, Denied), (403, Denied), (404, BadInput), (503, Unavailable)])
async def test_a_refused_upgrade_is_told_for_what_it_is(status: int, error: type[Exception]) -> None:
    async with refusing(status) as (url, _), open_pool(quick("one", WsSpec(url))) as pool:
        with pytest.raises(error, match=f"HTTP {status}"):
            await call(pool, "one.echo")


async def test_redirects_are_refused() -> None:
    async with refusing(307) as (url, visits), open_pool(quick("one", WsSpec(url))) as pool:
        with pytest.raises(Unavailable, match="HTTP 307") as caught:
            await call(pool, "one.echo")
        assert "Redirects are refused" in caught.value.hint
    assert visits == ["/mcp/ws"]


async def test_a_server_that_is_started_anew_is_connected_to_again_after_a_while_that_grows() -> None:
    app = load("sockets").socket_app(load("plain").build())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    spec = quick("one", WsSpec(f"ws://127.0.0.1:{port}/mcp/ws"), probe_interval_seconds=0.05)
    async with open_pool(spec) as pool:
        async with served(app, port=port):
            assert (await call(pool, "one.echo", {"text": "1"})).text == "1"
        await until(lambda: pool.stats().groups[0].replicas[0].starts_failed >= 2)
        with pytest.raises(Unavailable) as caught:
            await call(pool, "one.write", {"text": "x"})
        assert "cannot be reached" in caught.value.message
        async with served(app, port=port):
            await until(lambda: "1/1 ready" in repr(pool))  # by itself
            assert (await call(pool, "one.echo", {"text": "2"})).text == "2"
        assert pool.stats().groups[0].replicas[0].reconnects == 1


async def test_a_peer_that_is_gone_without_a_word_is_found_by_its_pings() -> None:
    """Its socket stays open, and nothing comes over it any more: half-open."""

    is_over = anyio.Event()

    async def mute(socket: ServerConnection) -> None:
        socket.transport.pause_reading()
        await is_over.wait()
        socket.transport.abort()

    async with serve(mute, "127.0.0.1", 0, subprotocols=[Subprotocol("mcp")], ping_interval=None) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"
        wire = WebSocketWire(WsSpec(url), server="one", ping_seconds=0.05, ping_timeout_seconds=0.1)
        try:
            with anyio.fail_after(10):
                async with wire.open():
                    with pytest.raises(Lost) as caught:
                        await wire.ask("ping", {})
        finally:
            is_over.set()
        assert caught.value.sent
        assert wire.lost.is_set()
