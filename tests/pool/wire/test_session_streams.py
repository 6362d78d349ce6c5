"""Sessions of the handshake era over HTTP: a server may say anything on any of its streams, and break them off."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from pool.spec import HttpSpec
from pool.wire.asker import Asker
from stoa.principal import LOCAL
from tests.pool.stage import open_pool, quick, served

Stream = MemoryObjectSendStream[bytes] | MemoryObjectReceiveStream[bytes]
RETRY_MS = 50
TOOL = {"name": "ask", "inputSchema": {"type": "object"}}


class Streams:
    """A server whose answer to a call comes on a stream that the client has opened itself.

    `calls` happen on the call's own stream: the events that it says before it breaks off.
    """

    def __init__(self) -> None:
        self.app = Starlette(routes=[Route("/mcp", self._serve, methods=["GET", "POST", "DELETE"])])
        self.standing: MemoryObjectSendStream[bytes] | None = None
        self.resumed: list[str] = []
        self.answers: list[Mapping[str, Any]] = []
        self.begins_with: list[Mapping[str, Any]] = []
        self.answers_on_standing = True
        self.call_id = 0
        self._open: list[Stream] = []

    def close(self) -> None:
        for stream in self._open:
            stream.close()

    async def _serve(self, request: Request) -> Response:
        if request.method == "GET":
            return await self._listen(request)
        if request.method == "DELETE":
            return Response(status_code=204)
        message = json.loads(await request.body())
        match message.get("method"):
            case "initialize":
                result: dict[str, Any] = {
                    "protocolVersion": "2025-11-25",
                    "serverInfo": {"name": "streams", "version": "1"},
                    "capabilities": {"tools": {}},
                }
                return _answer(message["id"], result, {"mcp-session-id": "one"})
            case "tools/list":
                return _answer(message["id"], {"tools": [TOOL]}, {})
            case "tools/call":
                self.call_id = message["id"]
                return _stream(self._call())
            case None:
                self.answers.append(message)
                await self._say(_event({"id": self.call_id, "result": {"content": []}}))
                return Response(status_code=202)
            case method if "id" not in message:
                assert method
                return Response(status_code=202)
            case method:
                error = {"code": -32601, "message": f"no {method}"}
                return JSONResponse({"jsonrpc": "2.0", "id": message["id"], "error": error}, status_code=400)

    async def _listen(self, request: Request) -> Response:
        if (last := request.headers.get("last-event-id")) is not None:
            self.resumed.append(last)
        send, receive = anyio.create_memory_object_stream[bytes](10)
        self._open += [send, receive]
        if last is None:
            self.standing = send
        elif not self.answers_on_standing:
            await send.send(_event({"id": self.call_id, "result": {"content": [{"type": "text", "text": "late"}]}}))
        return _stream(_all_of(receive))

    async def _call(self) -> AsyncIterator[bytes]:
        yield f"id: 7\nretry: {RETRY_MS}\ndata: \n\n".encode()
        for message in self.begins_with:
            await self._say(_event(message))
        if not self.begins_with and self.answers_on_standing:
            await self._say(_event({"id": self.call_id, "result": {"content": []}}))

    async def _say(self, event: bytes) -> None:
        assert self.standing is not None, "the client listens before it asks"
        await self.standing.send(event)


async def _all_of(receive: MemoryObjectReceiveStream[bytes]) -> AsyncIterator[bytes]:
    yield b": welcome\n\n"
    async for event in receive:
        yield event


def _event(message: Mapping[str, Any]) -> bytes:
    return f"data: {json.dumps({'jsonrpc': '2.0', **message})}\n\n".encode()


def _stream(events: AsyncIterator[bytes]) -> Response:
    return StreamingResponse(events, media_type="text/event-stream")


def _answer(id: int, result: Mapping[str, Any], headers: Mapping[str, str]) -> Response:
    return JSONResponse({"jsonrpc": "2.0", "id": id, "result": result}, headers=dict(headers))


@asynccontextmanager
async def called(streams: Streams, asker: Asker) -> AsyncGenerator[dict[str, Any]]:
    async with served(streams.app) as address, open_pool(quick("one", HttpSpec(f"http://{address}/mcp"))) as pool:
        with anyio.fail_after(10):
            params: dict[str, Any] = {"name": "ask", "arguments": {}}
            try:
                yield (await pool.request("one", "tools/call", params, principal=LOCAL, asker=asker)).result
            finally:
                streams.close()


async def answer(method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    return {"roots": []}


USER = Asker(key="user", capabilities={"roots": {}}, answer=answer)


async def test_an_answer_on_the_stream_of_no_request_is_an_answer() -> None:
    streams = Streams()
    async with called(streams, USER) as result:
        assert result == {"content": []}


async def test_a_question_on_the_stream_of_no_request_finds_the_one_who_calls() -> None:
    streams = Streams()
    streams.begins_with = [{"id": "q1", "method": "roots/list"}]
    async with called(streams, USER) as result:
        assert result == {"content": []}
        assert streams.answers == [{"jsonrpc": "2.0", "id": "q1", "result": {"roots": []}}]


async def test_a_stream_that_breaks_off_is_fetched_again_after_the_time_that_the_server_gives() -> None:
    streams = Streams()
    streams.answers_on_standing = False
    begun = anyio.current_time()
    async with called(streams, USER) as result:
        assert result == {"content": [{"type": "text", "text": "late"}]}
        assert streams.resumed == ["7"]
        assert anyio.current_time() - begun >= RETRY_MS / 1000
