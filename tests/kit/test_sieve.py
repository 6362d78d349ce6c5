"""Answers over the limit in sessions of the handshake era, which the SDK writes."""

import json
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from starlette.types import Message

from kit.sieve import sieve
from stoa.settings import Settings
from stoa.wire import MAX_MESSAGE_BYTES
from tests.kit.example import Example
from tests.kit.wires import listening


async def test_a_session_is_told_that_its_answer_is_too_long_and_goes_on(example: Example, settings: Settings) -> None:
    with anyio.fail_after(60):
        async with (
            listening(example.server, settings) as url,
            httpx2.AsyncClient(timeout=30) as http,
            Client(streamable_http_client(url, http_client=http), mode="legacy") as client,
        ):
            with pytest.raises(MCPError, match=f"a message may have {MAX_MESSAGE_BYTES}"):
                await client.call_tool("grow", {"megabytes": 17})
            assert (await client.call_tool("say", {"text": "next"})).is_error is False


async def sieved(body: bytes) -> bytes:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await sieve(send)({"type": "http.response.body", "body": body, "more_body": True})
    assert sent[0]["more_body"] is True
    return sent[0]["body"]


def event(message: dict[str, Any]) -> bytes:
    return b"id: 7\r\nevent: message\r\ndata: " + json.dumps(message, separators=(",", ":")).encode() + b"\r\n\r\n"


async def test_what_fits_passes_as_it_is() -> None:
    body = event({"jsonrpc": "2.0", "id": 1, "result": {"text": "short"}})

    assert await sieved(body) is body


async def test_an_error_takes_the_place_of_an_answer_and_keeps_the_place_in_the_stream() -> None:
    body = await sieved(event({"jsonrpc": "2.0", "id": "a-1", "result": {"text": "x" * (MAX_MESSAGE_BYTES + 8192)}}))

    head, _, data = body.partition(b"data: ")
    assert head == b"id: 7\r\nevent: message\r\n"
    assert data.endswith(b"\r\n\r\n")
    assert (json.loads(data)["id"], json.loads(data)["error"]["code"]) == ("a-1", -32603)


async def test_a_notification_over_the_limit_is_left_out() -> None:
    params = {"id": 3, "result": "x" * (MAX_MESSAGE_BYTES + 8192)}

    assert await sieved(event({"jsonrpc": "2.0", "method": "notifications/message", "params": params})) == (
        b": left out\r\n\r\n"
    )
