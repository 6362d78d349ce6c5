"""What a client may send that no client should: the server answers or ignores it, and goes on."""

import json

import anyio
import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from stoa.settings import Settings
from stoa.wire import MAX_MESSAGE_BYTES, WS_SUBPROTOCOL
from tests.kit.example import Example
from tests.kit.test_limits import call, raw_pipes
from tests.kit.wires import listening


def cancel(id: object) -> bytes:
    message = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}
    return json.dumps(message).encode()


ODD_IDS = [[1], {"a": 1}, None, True, 1.5]


@pytest.mark.parametrize("id", ODD_IDS)
async def test_a_cancellation_of_no_possible_id_changes_nothing_on_stdio(example: Example, id: object) -> None:
    async with raw_pipes(example) as lines:
        await lines.write(call(1, None, tool="wait") + b"\n" + cancel(id) + b"\n" + call(2, "on") + b"\n")
        assert (await lines.read())["id"] == 2
        example.release.set()
        assert (await lines.read())["id"] == 1


@pytest.mark.parametrize("id", ODD_IDS)
async def test_a_cancellation_of_no_possible_id_changes_nothing_on_websocket(
    example: Example, settings: Settings, id: object
) -> None:
    async with listening(example.server, settings) as url:
        address = url.replace("http:", "ws:") + "/ws"
        async with connect(address, subprotocols=[Subprotocol(WS_SUBPROTOCOL)]) as socket:
            with anyio.fail_after(10):
                await socket.send(call(1, "before").decode())
                await socket.recv()
                await socket.send(cancel(id).decode())
                await socket.send(call(2, "after").decode())
                assert json.loads(await socket.recv())["id"] == 2


async def test_a_long_line_whose_id_is_no_text_is_refused_without_one(example: Example) -> None:
    long = b'{"jsonrpc":"2.0","id":"\xff\xfe","method":"x","params":{"a":"' + b"x" * MAX_MESSAGE_BYTES + b'"}}'
    async with raw_pipes(example) as lines:
        await lines.write(long + b"\n" + call(8, "next") + b"\n")
        refused, served = await lines.read(), await lines.read()
    assert (refused.get("id"), refused["error"]["code"]) == (None, -32600)
    assert served["id"] == 8
