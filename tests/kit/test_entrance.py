"""Who may knock over HTTP and WebSocket, and what everybody may see."""

import json
import socket
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import httpx2
import jwt
import pytest
from pydantic import SecretStr
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from kit.entrance import Entrance
from kit.serve import http_app, serve_http
from stoa.errors import BadInput
from stoa.principal import Principal, sign_assertion
from stoa.settings import AuthSettings, Settings
from stoa.wire import PRINCIPAL_KEY, WS_SUBPROTOCOL, CloseCode
from tests.kit.example import Example
from tests.kit.wires import listening

SECRET = "s" * 32
INTERNAL_KEY = "i" * 32
MODERN = {
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": "tools/call",
    "mcp-name": "who",
}
SAYS_WHO: dict[str, object] = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}


def who(assertion: str | None = None) -> dict[str, object]:
    meta = SAYS_WHO if assertion is None else {**SAYS_WHO, PRINCIPAL_KEY: assertion}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "who", "_meta": meta}}


def bearer(subject: str, tenant: str, scope: str = "example:*") -> dict[str, str]:
    claims = {"sub": subject, "tenant": tenant, "scope": scope, "exp": time.time() + 60}
    return {"authorization": f"Bearer {jwt.encode(claims, SECRET, 'HS256')}"}


def asserting(subject: str, tenant: str, *, audience: str = "example") -> str:
    principal = Principal(subject, tenant, scopes=frozenset({"example:read"}))
    return sign_assertion(principal, audience=audience, key=INTERNAL_KEY.encode(), now=time.time())


@pytest.fixture
def guarded(home: Path) -> Settings:
    auth = AuthSettings.model_validate({"secret": SecretStr(SECRET)})
    return Settings.model_validate({"home": home, "auth": auth, "internal_key": SecretStr(INTERNAL_KEY)})


@asynccontextmanager
async def in_memory(
    settings: Settings, *, host: str = "127.0.0.1", example: Example | None = None
) -> AsyncGenerator[httpx2.AsyncClient]:
    example = example or Example(settings)
    app = http_app({"example": example.server}, settings=settings, host=host, at_root=True)
    transport = httpx2.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as http,
    ):
        yield http


@pytest.mark.parametrize("era", [MODERN, {"accept": MODERN["accept"]}])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "127.0.0.1.evil.example:80"}, 421),
        ({"host": "localhost:abc.evil.example"}, 421),
        ({"host": "127.0.0.1:1@evil.example"}, 421),
        ({"host": "[::1]:80x"}, 421),
        ({"host": "localhost:"}, 421),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://localhost:80.evil.example"}, 403),
        ({"origin": "http://127.0.0.1:1@evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost.evil.example:80"}, 403),
    ],
)
async def test_a_foreign_host_or_origin_is_refused(
    settings: Settings, era: Mapping[str, str], headers: Mapping[str, str], status: int
) -> None:
    async with in_memory(settings) as http:
        body = who() if era is MODERN else INITIALIZE
        assert (await http.post("/mcp", json=body, headers={**era, **headers})).status_code == status
        assert (await http.get("/metrics", headers=headers)).status_code == status
        assert (await http.post("/mcp", json=body, headers=era)).status_code == 200


@pytest.mark.parametrize(
    "name",
    ["localhost", "127.0.0.1", "[::1]", "[::1]:80", "stoa.example", "stoa.example:443", "LocalHost:80", "STOA.example"],
)
async def test_names_that_are_configured_are_served_besides_loopback(home: Path, name: str) -> None:
    settings = Settings.model_validate(
        {"home": home, "allowed_hosts": ("stoa.example",), "allowed_origins": ("https://app.example",)}
    )
    async with in_memory(settings) as http:
        headers = {**MODERN, "host": name, "origin": "https://app.example"}
        assert (await http.post("/mcp", json=who(), headers=headers)).status_code == 200
        old = {"accept": MODERN["accept"], "host": name, "origin": "HTTPS://App.example"}
        assert (await http.post("/mcp", json=INITIALIZE, headers=old)).status_code == 200


@pytest.mark.parametrize(("name", "origin", "status"), [("evil.example", None, 421), ("localhost", "http://evil", 403)])
async def test_an_upgrade_from_a_foreign_host_or_origin_is_refused(
    example: Example, settings: Settings, name: str, origin: str | None, status: int
) -> None:
    async with listening(example.server, settings) as url:
        port = urlsplit(url).port
        with pytest.raises(InvalidStatus) as refused:
            async with connect(
                f"ws://{name}:{port}/mcp/ws",
                host="127.0.0.1",
                subprotocols=[Subprotocol(WS_SUBPROTOCOL)],
                origin=None if origin is None else Origin(origin),
            ):
                pass
    assert refused.value.response.status_code == status


async def test_an_upgrade_without_our_subprotocol_is_refused(example: Example, settings: Settings) -> None:
    async with listening(example.server, settings) as url:
        with pytest.raises(InvalidStatus) as refused:
            async with connect(url.replace("http:", "ws:") + "/ws", subprotocols=[Subprotocol("chat")]):
                pass
    assert refused.value.response.status_code == 403


async def test_a_frame_of_bytes_closes_the_connection(example: Example, settings: Settings) -> None:
    async with (
        listening(example.server, settings) as url,
        connect(url.replace("http:", "ws:") + "/ws", subprotocols=[Subprotocol(WS_SUBPROTOCOL)]) as ws,
    ):
        await ws.send(b"bytes")
        with anyio.fail_after(5), pytest.raises(ConnectionClosed) as closed:
            await ws.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == CloseCode.NOT_TEXT


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "stoa.example"])
async def test_an_address_that_others_can_reach_is_refused_without_auth(
    example: Example, settings: Settings, host: str
) -> None:
    with pytest.raises(BadInput, match="STOA_AUTH_JWKS_URL"):
        await serve_http({"example": example.server}, settings=settings, host=host, port=0, at_root=True)


async def test_an_address_that_others_can_reach_is_served_with_auth_under_its_own_name(guarded: Settings) -> None:
    async with in_memory(guarded, host="192.0.2.1") as http:
        headers = {**MODERN, **bearer("ann", "acme"), "host": "192.0.2.1:8080"}
        assert (await http.post("/mcp", json=who(), headers=headers)).status_code == 200
        headers["host"] = "192.0.2.2:8080"
        assert (await http.post("/mcp", json=who(), headers=headers)).status_code == 421
    assert not Entrance(guarded, host="0.0.0.0").is_loopback


async def test_a_port_that_is_taken_is_told(example: Example, settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=rf"127\.0\.0\.1:{port} cannot be listened on"):
            await serve_http({"example": example.server}, settings=settings, host="127.0.0.1", port=port, at_root=True)


async def test_a_token_says_who_calls_and_without_one_nobody_does(guarded: Settings) -> None:
    async with in_memory(guarded) as http:
        nobody = await http.post("/mcp", json=who(), headers=MODERN)
        forged = await http.post("/mcp", json=who(), headers={**MODERN, "authorization": "Bearer x.y.z"})
        ann = await http.post("/mcp", json=who(), headers={**MODERN, **bearer("ann", "acme")})
        without = await http.post("/mcp", json=who(), headers={**MODERN, **bearer("ann", "acme", "other:read")})
    assert (nobody.status_code, forged.status_code) == (401, 401)
    assert nobody.headers["www-authenticate"].startswith("Bearer ")
    assert 'error="invalid_token"' in forged.headers["www-authenticate"]
    assert ann.json()["result"]["content"][0]["text"] == "ann of acme"
    assert without.json()["result"]["structuredContent"]["code"] == "denied"


async def test_an_assertion_of_ours_goes_before_the_token_and_a_wrong_one_is_refused(guarded: Settings) -> None:
    async with in_memory(guarded) as http:
        alone = await http.post("/mcp", json=who(asserting("bob", "bolt")), headers=MODERN)
        both = await http.post("/mcp", json=who(asserting("bob", "bolt")), headers={**MODERN, **bearer("ann", "acme")})
        foreign = await http.post("/mcp", json=who(asserting("bob", "bolt", audience="other")), headers=MODERN)
        garbage = await http.post("/mcp", json=who("x.y"), headers={**MODERN, **bearer("ann", "acme")})
    assert alone.json()["result"]["content"][0]["text"] == "bob of bolt"
    assert both.json()["result"]["content"][0]["text"] == "bob of bolt"
    assert foreign.json()["error"]["data"]["code"] == "denied"
    assert garbage.json()["error"]["data"]["code"] == "denied"


async def test_a_session_answers_only_to_the_caller_who_opened_it(guarded: Settings) -> None:
    headers = {"accept": MODERN["accept"]}
    async with in_memory(guarded) as http:
        opened = await http.post("/mcp", json=INITIALIZE, headers={**headers, **bearer("ann", "acme")})
        session = {**headers, "mcp-session-id": opened.headers["mcp-session-id"]}
        ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
        ann = await http.post("/mcp", json=ping, headers={**session, **bearer("ann", "acme")})
        bob = await http.post("/mcp", json=ping, headers={**session, **bearer("bob", "acme")})
        other = await http.post("/mcp", json=ping, headers={**session, **bearer("ann", "bolt")})
    assert (ann.status_code, bob.status_code, other.status_code) == (200, 404, 404)


async def test_health_is_open_and_tells_what_is_served(guarded: Settings) -> None:
    async with in_memory(guarded) as http:
        health = await http.get("/health")
    assert health.json() == {"status": "ok", "name": "example", "version": "1.2.3", "transports": ["http", "ws"]}


async def test_several_servers_have_a_path_each(settings: Settings, home: Path) -> None:
    servers = {"one": Example(settings).server, "two": Example(settings).server}
    app = http_app(servers, settings=settings, host="127.0.0.1", at_root=False)
    transport = httpx2.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as http,
    ):
        for path in ("/mcp/one", "/mcp/two"):
            assert (await http.post(path, json=who(), headers=MODERN)).status_code == 200
        assert (await http.post("/mcp", json=who(), headers=MODERN)).status_code == 404
        assert set((await http.get("/health")).json()["servers"]) == {"one", "two"}


async def test_metrics_count_requests_and_names_from_outside_make_no_series(settings: Settings) -> None:
    async with in_memory(settings) as http:
        await http.post("/mcp", json=who(), headers=MODERN)
        for number in range(3):
            params = {"name": f"made-up-{number}", "_meta": SAYS_WHO}
            body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
            await http.post("/mcp", json=body, headers={**MODERN, "mcp-name": f"made-up-{number}"})
        shown = (await http.get("/metrics")).text
    assert 'stoa_mcp_requests_total{method="tools/call",outcome="ok",server="example",tool="who"} 1.0' in shown
    assert 'stoa_mcp_requests_total{method="tools/call",outcome="error",server="example",tool="other"} 3.0' in shown
    assert 'stoa_mcp_requests_running{server="example"} 0.0' in shown
    assert "made-up" not in shown


@pytest.mark.parametrize("host", ["192.0.2.1", "127.0.0.1"])
async def test_metrics_want_a_token_with_their_scope_where_tokens_are_asked_for(guarded: Settings, host: str) -> None:
    async with in_memory(guarded, host=host) as http:
        nobody = await http.get("/metrics")
        ann = await http.get("/metrics", headers=bearer("ann", "acme"))
        prometheus = await http.get("/metrics", headers=bearer("prometheus", "ops", "metrics:read"))
    assert (nobody.status_code, ann.status_code, prometheus.status_code) == (401, 403, 200)


async def test_a_client_learns_where_to_get_a_token(guarded: Settings) -> None:
    async with in_memory(guarded) as http:
        refused = await http.post("/mcp", json=who(), headers=MODERN)
        address = refused.headers["www-authenticate"].partition('resource_metadata="')[2].rstrip('"')
        document = await http.get(address)
    assert document.json()["resource"] == "http://127.0.0.1:8080/mcp"


@pytest.mark.parametrize(
    ("method", "headers", "body", "status", "code"),
    [
        ("GET", {}, b"", 405, None),
        ("POST", {"accept": "application/json"}, b"{}", 406, None),
        ("POST", {}, b"{", 400, -32700),
        ("POST", {}, b"[]", 400, -32600),
        ("POST", {"mcp-method": "tools/list"}, json.dumps(who()).encode(), 400, -32020),
        ("POST", {"mcp-name": "say"}, json.dumps(who()).encode(), 400, -32020),
        ("POST", {"mcp-protocol-version": "2031-01-01"}, json.dumps(who()).encode(), 400, -32020),
    ],
)
async def test_requests_of_the_new_era_that_are_malformed_are_told_so(
    settings: Settings, method: str, headers: dict[str, str], body: bytes, status: int, code: int | None
) -> None:
    async with in_memory(settings) as http:
        answer = await http.request(
            method, "/mcp", content=body, headers={**MODERN, "content-type": "application/json", **headers}
        )
    assert answer.status_code == status
    assert code is None or answer.json()["error"]["code"] == code


async def test_a_notification_of_the_new_era_is_taken_and_dropped(settings: Settings) -> None:
    async with in_memory(settings) as http:
        answer = await http.post("/mcp", json={"jsonrpc": "2.0", "method": "notifications/cancelled"}, headers=MODERN)
    assert answer.status_code == 202
