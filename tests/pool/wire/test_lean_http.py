"""The lean HTTP client against a server that says exactly the bytes that it is told."""

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from pool.spec import HttpSpec
from pool.wire.connection import Connection
from pool.wire.events import Event
from pool.wire.failures import Lost, Refusal
from pool.wire.http_pool import HttpPool
from pool.wire.lean_socket import Broken, LeanSocket
from stoa.errors import Unavailable
from stoa.wire import MAX_MESSAGE_BYTES
from tests.pool.stage import until
from tests.pool.wire.lab import Exchange, answering, connected, json_answer, scripted

CALL = {"name": "echo", "arguments": {"text": "x"}}
LISTED = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


async def ask(connection: Connection) -> str:
    result = await connection.request("tools/call", dict(CALL))
    return result["content"][0]["text"]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(message: bytes) -> bytes:
    return b"event: message\ndata: " + message + b"\n\n"


async def test_calls_one_after_the_other_use_one_connection_and_carry_the_headers() -> None:
    seen: list[Exchange] = []

    async def script(exchange: Exchange) -> None:
        seen.append(exchange)
        await exchange.say(json_answer(answering("fine"), exchange.id))

    async with scripted(script) as address, connected(HttpSpec(f"http://{address}/mcp?a=b", {"X-Own": "1"})) as one:
        for _ in range(5):
            assert await ask(one) == "fine"
    assert {exchange.number for exchange in seen} == {1}
    head = seen[0].head.lower()
    assert head.startswith("post /mcp?a=b http/1.1\r\n")
    for line in ("mcp-method: tools/call", "mcp-name: echo", "mcp-protocol-version: 2026-07-28", "x-own: 1"):
        assert f"\r\n{line}" in head
    meta = seen[0].message["params"]["_meta"]
    assert meta["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
    assert meta["io.modelcontextprotocol/clientCapabilities"] == {}


async def test_a_chunked_answer_in_small_pieces_is_read() -> None:
    async def script(exchange: Exchange) -> None:
        head, _, body = json_answer(answering("fine"), exchange.id).partition(b"\r\n\r\n")
        head = head.rpartition(b"\r\n")[0] + b"\r\ntransfer-encoding: chunked\r\n\r\n"
        data = head + chunk(body[:7]) + chunk(body[7:]) + b"0\r\n\r\n"
        for start in range(0, len(data), 5):
            await exchange.say(data[start : start + 5])

    async with scripted(script) as address, connected(HttpSpec(f"http://{address}/")) as one:
        assert [await ask(one) for _ in range(3)] == ["fine"] * 3


async def test_a_stream_of_events_tells_progress_and_ends_with_the_answer() -> None:
    async def script(exchange: Exchange) -> None:
        token = exchange.message["params"]["_meta"]["progressToken"]
        note = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%d,"progress":1}}' % token
        await exchange.say(STREAM + chunk(b": ping\n\n" + event(note)))
        body = json_answer(answering("fine"), exchange.id).partition(b"\r\n\r\n")[2]
        await exchange.say(chunk(event(body)) + b"0\r\n\r\n")

    told: list[float] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        told.append(done)

    async with scripted(script) as address, connected(HttpSpec(f"http://{address}/")) as one:
        result = await one.request("tools/call", dict(CALL), progress=progress)
    assert told == [1]
    assert result["content"][0]["text"] == "fine"


async def test_a_connection_is_used_again_when_the_end_of_a_stream_comes_after_its_answer() -> None:
    seen: list[int] = []

    async def script(exchange: Exchange) -> None:
        seen.append(exchange.number)
        body = json_answer(answering("fine"), exchange.id).partition(b"\r\n\r\n")[2]
        await exchange.say(STREAM + chunk(event(body)))
        await anyio.wait_all_tasks_blocked()
        await exchange.say(b"0\r\n\r\n")

    http = HttpPool(max_connections=3)
    async with scripted(script) as address, connected(HttpSpec(f"http://{address}/"), http=http) as one:
        for _ in range(3):
            assert await ask(one) == "fine"
            await until(lambda: "1 idle" in repr(http.lean))
    assert seen == [1, 1, 1]


async def test_an_answer_that_lasts_until_the_connection_ends_is_read() -> None:
    async def script(exchange: Exchange) -> None:
        body = json_answer(answering("fine"), exchange.id).partition(b"\r\n\r\n")[2]
        await exchange.say(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\n\r\n" + body)
        await exchange.close()

    async with scripted(script) as address, connected(HttpSpec(f"http://{address}/")) as one:
        assert [await ask(one) for _ in range(2)] == ["fine"] * 2


async def test_an_idle_connection_that_the_server_closed_is_not_written_to() -> None:
    seen: list[int] = []

    async def script(exchange: Exchange) -> None:
        seen.append(exchange.number)
        await exchange.say(json_answer(answering("fine"), exchange.id))
        await exchange.close()

    http = HttpPool(max_connections=3)
    async with scripted(script) as address, connected(HttpSpec(f"http://{address}/"), http=http) as one:
        for _ in range(3):
            assert await ask(one) == "fine"
            await until(lambda: "0 idle" in repr(http.lean))
    assert seen == [1, 2, 3]


async def test_a_connection_that_is_told_to_close_is_not_used_again() -> None:
    seen: list[int] = []

    async def script(exchange: Exchange) -> None:
        seen.append(exchange.number)
        await exchange.say(json_answer(answering("fine"), exchange.id, more="connection: close\r\n"))

    async with scripted(script) as address, connected(HttpSpec(f"http://{address}/")) as one:
        assert [await ask(one) for _ in range(2)] == ["fine"] * 2
    assert seen == [1, 2]


async def test_a_server_that_takes_the_request_and_leaves_is_lost_after_the_sending() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.close()

    async with scripted(script) as address, connected(HttpSpec(f"http://{address}/")) as one:
        with pytest.raises(Lost, match="did not answer") as caught:
            await ask(one)
        assert caught.value.sent
        assert not caught.value.is_final
        assert not one.lost.is_set()


async def test_a_slow_first_byte_is_waited_for_and_leaving_closes_the_connection() -> None:
    gone = anyio.Event()

    async def script(exchange: Exchange) -> None:
        try:
            await exchange.stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            gone.set()

    async with scripted(script) as address, connected(HttpSpec(f"http://{address}/")) as one:
        with anyio.move_on_after(0.1) as scope:
            await ask(one)
        assert scope.cancelled_caught
        await gone.wait()


@pytest.mark.parametrize(
    "answer",
    [
        b"\x00\x01garbage\r\n\r\n",
        b"HTTP/1.1 banana\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000,
        STREAM + chunk(b"data: noise\n\n"),
        STREAM + chunk(b": nothing\n\n") + b"0\r\n\r\n",
    ],
)
async def test_what_is_no_answer_costs_its_own_call_only(answer: bytes) -> None:
    is_first = True

    async def script(exchange: Exchange) -> None:
        nonlocal is_first
        if is_first:
            is_first = False
            await exchange.say(answer)
        else:
            await exchange.say(json_answer(answering("fine"), exchange.id))

    async with scripted(script) as address, connected(HttpSpec(f"http://{address}/")) as one:
        with pytest.raises(Lost) as caught:
            await ask(one)
        assert caught.value.sent
        assert await ask(one) == "fine"


async def test_what_goes_on_after_its_end_is_not_used_again() -> None:
    seen: list[int] = []

    async def script(exchange: Exchange) -> None:
        seen.append(exchange.number)
        good = json_answer(answering("fine"), exchange.id)
        await exchange.say(good + b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    async with scripted(script) as address, connected(HttpSpec(f"http://{address}/")) as one:
        assert [await ask(one) for _ in range(2)] == ["fine"] * 2
    assert seen == [1, 2]


async def test_an_interim_answer_is_passed_over() -> None:
    async def script(exchange: Exchange) -> None:
        early = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
        await exchange.say(early + json_answer(answering("fine"), exchange.id))

    async with scripted(script) as address, connected(HttpSpec(f"http://{address}/")) as one:
        assert await ask(one) == "fine"


async def test_an_answer_over_the_limit_is_given_up() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (2 * MAX_MESSAGE_BYTES))
        while True:
            await exchange.say(b"x" * 2**16)

    async with scripted(script) as address, connected(HttpSpec(f"http://{address}/")) as one:
        with pytest.raises(Lost, match="larger than 16 MiB"):
            await ask(one)


@pytest.mark.parametrize(
    ("head", "status", "retry_after"),
    [
        ("302 Found\r\nlocation: http://elsewhere/?token=hunter2", 302, None),
        ("401 Unauthorized\r\nwww-authenticate: Bearer", 401, None),
        ("429 Too Many Requests\r\nretry-after: 7", 429, 7.0),
        ("503 Busy\r\nretry-after: Fri, 31 Dec 1999 23:59:59 GMT", 503, None),
    ],
)
async def test_a_status_is_told_for_what_it_is(head: str, status: int, retry_after: float | None) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.say(f"HTTP/1.1 {head}\r\ncontent-length: 2\r\n\r\nno".encode())

    async with scripted(script) as address, connected(HttpSpec(f"http://{address}/")) as one:
        with pytest.raises(Refusal) as caught:
            await ask(one)
    assert (caught.value.status, caught.value.retry_after) == (status, retry_after)
    assert "hunter2" not in caught.value.message


async def test_a_header_that_would_be_two_is_not_sent() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.say(json_answer(answering("fine"), exchange.id))

    async with scripted(script) as address, connected(HttpSpec(f"http://{address}/")) as one:
        for name, value in (("Mcp-Param-A", "x\r\nY: z"), ("A: b\r\nC", "x"), ("A", "\u2603")):
            with pytest.raises(Refusal, match="cannot be sent"):
                await one.request("tools/call", dict(CALL), headers={name: value})


async def test_more_calls_than_connections_wait_for_one() -> None:
    async def script(exchange: Exchange) -> None:
        assert exchange.number <= 3
        await exchange.say(json_answer(answering("fine"), exchange.id))

    http = HttpPool(max_connections=3)
    async with scripted(script) as address, connected(HttpSpec(f"http://{address}/"), http=http) as one:
        async with anyio.create_task_group() as tasks:
            for _ in range(30):
                tasks.start_soon(ask, one)
        assert "0 idle" not in repr(http.lean)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for 127.0.0.1, which vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    plain = serialization.NoEncryption()
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


async def test_tls_is_spoken_and_certificates_are_checked(certificate: Path) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.say(json_answer(answering("fine"), exchange.id))

    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served.load_cert_chain(certificate)
    trusting = HttpPool(max_connections=3, tls=ssl.create_default_context(cafile=str(certificate)))
    async with scripted(script, tls=served) as address:
        async with connected(HttpSpec(f"https://{address}/"), http=trusting) as one:
            assert [await ask(one) for _ in range(3)] == ["fine"] * 3
        with pytest.raises(Unavailable, match="certificate is not trusted"):
            async with connected(HttpSpec(f"https://{address}/")):
                pass


class _Free:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self, socket: LeanSocket) -> None:
        self.count += 1


BODY = b'{"jsonrpc":"2.0","id":1,"result":{}}'
WHOLE = [
    b"HTTP/1.1 200 OK\r\nA: b\r\na: c\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY),
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\ntransfer-encoding: chunked\r\n\r\n"
    + chunk(BODY[:9])
    + chunk(BODY[9:])
    + b"0\r\nx: y\r\n\r\n",
    STREAM + chunk(b"data: on") + chunk(b"e\n\ndata: two\r\n\r\n: x\n\n") + b"0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\n\r\nbanana",
]


def _parse(pieces: Sequence[bytes]) -> tuple[object, ...]:
    """What comes of an answer that comes in these pieces and then ends."""
    socket = LeanSocket(on_free=_Free(), on_closed=_Free())
    answer = socket.expect()
    for piece in pieces:
        if piece:
            socket.data_received(piece)
    kept = socket.keeps
    socket.eof_received()
    socket.connection_lost(None)
    events: list[Event] = list(answer.waiting_events())
    error = None if answer.error is None else isinstance(answer.error, Broken)
    body = b"" if error else answer.body()
    return answer.status, answer.headers, body, events, answer.is_complete, error, kept


@given(st.sampled_from(WHOLE), st.data())
def test_an_answer_is_the_same_however_its_bytes_are_cut(whole: bytes, data: st.DataObject) -> None:
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, len(whole))))), len(whole)]
    pieces = [whole[a:b] for a, b in pairwise(cuts)]
    assert _parse(pieces) == _parse([whole])


async def test_memory_does_not_grow_with_what_stands_beside_the_body() -> None:
    beside = [b"5" + b";x=" + b"y" * 2**16, b"0\r\n" + b"x: y\r\n" * 10_000, b"0\r\nx: " + b"y" * 2**16]
    for endless in beside:

        async def script(exchange: Exchange, endless: bytes = endless) -> None:
            await exchange.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + endless)
            while True:
                await exchange.say(b"y: z\r\n" * 10_000 if endless.endswith(b"\n") else b"y" * 2**16)

        async with scripted(script) as address, connected(HttpSpec(f"http://{address}/")) as one:
            with pytest.raises(Lost, match="says nothing"):
                await ask(one)


async def test_an_answer_to_another_request_is_nobodys() -> None:
    seen: list[int] = []

    async def script(exchange: Exchange) -> None:
        seen.append(exchange.number)
        id = exchange.id
        assert isinstance(id, int)
        wrong, right = json_answer(answering("wrong"), id - 1), json_answer(answering("fine"), id)
        match len(seen):
            case 1:  # the answer of the call before, a second time
                await exchange.say(wrong)
            case 2:
                body = event(wrong.partition(b"\r\n\r\n")[2]) + event(right.partition(b"\r\n\r\n")[2])
                await exchange.say(STREAM + chunk(body) + b"0\r\n\r\n")
            case _:
                await exchange.say(json_answer(answering("fine"), str(id)))

    async with scripted(script) as address, connected(HttpSpec(f"http://{address}/")) as one:
        with pytest.raises(Lost, match="belongs to another request"):
            await ask(one)
        assert [await ask(one) for _ in range(2)] == ["fine"] * 2
    assert seen[0] != seen[1]  # what comes after a wrong answer is not waited for


@pytest.mark.parametrize(
    "location", ["http://[", "//[::1/x", "x" * 60_000, "javascript:alert(1)", "\\\\", "http://a:b@c/"]
)
async def test_a_redirect_to_anywhere_is_told_shortly(location: str) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.say(f"HTTP/1.1 307 No\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n".encode())

    async with scripted(script) as address, connected(HttpSpec(f"http://{address}/")) as one:
        with pytest.raises(Refusal, match="redirects are refused") as caught:
            await ask(one)
    assert len(caught.value.message) < 500
    assert "a:b" not in caught.value.message


@pytest.mark.parametrize("first", [b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"", None])
async def test_a_tls_server_that_speaks_or_leaves_before_it_is_asked_is_given_up_at_once(
    certificate: Path, first: bytes | None
) -> None:
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served.load_cert_chain(certificate)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if first is not None:
            writer.write(first)
            with suppress(ConnectionError):
                await writer.drain()
        writer.transport.abort() if first is None else writer.close()

    trusting = HttpPool(max_connections=3, tls=ssl.create_default_context(cafile=str(certificate)))
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=served)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with anyio.fail_after(5), pytest.raises(Unavailable):
            async with connected(HttpSpec(f"https://127.0.0.1:{port}/"), http=trusting):
                pass


async def test_a_list_whose_pages_are_too_large_together_is_given_up() -> None:
    async def script(exchange: Exchange) -> None:
        big = {"name": f"t{exchange.id}", "description": "x" * 12 * 2**20, "inputSchema": {"type": "object"}}
        await exchange.say(json_answer({**LISTED, "tools": [big], "nextCursor": str(exchange.id)}, exchange.id))

    async with scripted(script) as address, connected(HttpSpec(f"http://{address}/")) as one:
        with pytest.raises(Refusal, match="larger than 32 MiB"):
            await one.list_all("tools/list", "tools")
