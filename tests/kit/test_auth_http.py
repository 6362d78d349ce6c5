"""Tokens and assertions at the door of the HTTP application, as a stranger meets it."""

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx2
import jwt
import pytest
from pydantic import JsonValue, SecretStr

from kit.author import Server
from kit.call import current_call
from kit.http import build
from stoa.principal import Principal, sign_assertion
from stoa.settings import Settings
from stoa.wire import PRINCIPAL_KEY

SECRET, KEY = "s" * 32, "k" * 32
INITIALIZE: JsonValue = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
        "_meta": {PRINCIPAL_KEY: "made up"},
    },
}
MODERN = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "who"}


def bearer(tenant: str, *, subject: str = "ann") -> dict[str, str]:
    claims = {"sub": subject, "tenant": tenant, "scope": "who:read", "exp": time.time() + 600}
    return {"authorization": f"Bearer {jwt.encode(claims, SECRET, 'HS256')}"}


def asserted(tenant: str, *, key: str = KEY, audience: str = "who") -> str:
    principal = Principal("ann", tenant, scopes=frozenset({"who:read"}))
    return sign_assertion(principal, audience=audience, key=key.encode(), now=time.time())


def call(**meta: JsonValue) -> JsonValue:
    own: dict[str, JsonValue] = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params: dict[str, JsonValue] = {"name": "who", "arguments": {}, "_meta": {**own, **meta}}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


@asynccontextmanager
async def door(home: Path, **changed: object) -> AsyncGenerator[httpx2.AsyncClient]:
    """A client of a server behind tokens that tells each caller their tenant."""
    settings = Settings.model_validate({"home": home, "auth": {"secret": SecretStr(SECRET)}, **changed})
    server = Server("who", version="1", instructions="", settings=settings)

    @server.tool(title="Who", scope="who:read", read_only=True, idempotent=True)
    async def who() -> str:  # pyright: ignore[reportUnusedFunction]  # the decorator uses it
        """Who calls."""
        return current_call().principal.tenant

    app = build({"who": server}, settings=settings, host="127.0.0.1", at_root=True).app
    with anyio.fail_after(10):
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(
                transport=httpx2.ASGITransport(app),
                base_url="http://127.0.0.1:8080",
                headers={"accept": "application/json, text/event-stream"},
            ) as http,
        ):
            yield http


async def tenant(http: httpx2.AsyncClient, message: JsonValue, headers: Mapping[str, str]) -> str:
    answer = (await http.post("/mcp", json=message, headers={**MODERN, **headers})).json()
    return answer["result"]["content"][0]["text"] if "result" in answer else answer["error"]["data"]["code"]


async def test_a_token_says_who_calls_whatever_the_message_claims(home: Path) -> None:
    async with door(home) as http:
        assert await tenant(http, call(), bearer("acme")) == "acme"
        assert await tenant(http, call(**{PRINCIPAL_KEY: asserted("globex")}), bearer("acme")) == "acme"


async def test_an_assertion_of_ours_wins_over_the_token_that_carries_it(home: Path) -> None:
    async with door(home, internal_key=SecretStr(KEY)) as http:
        assert await tenant(http, call(**{PRINCIPAL_KEY: asserted("globex")}), bearer("acme")) == "globex"
        assert await tenant(http, call(**{PRINCIPAL_KEY: asserted("globex")}), {}) == "globex"


@pytest.mark.parametrize(
    "claim", [asserted("globex", key="l" * 32), asserted("globex", audience="other"), "", None, {}]
)
async def test_a_wrong_assertion_is_denied_with_and_without_a_token(home: Path, claim: JsonValue) -> None:
    async with door(home, internal_key=SecretStr(KEY)) as http:
        for headers in (bearer("acme"), {}):
            assert await tenant(http, call(**{PRINCIPAL_KEY: claim}), headers) == "denied"


async def test_a_bad_token_is_401_even_with_a_good_assertion(home: Path) -> None:
    async with door(home, internal_key=SecretStr(KEY)) as http:
        message = call(**{PRINCIPAL_KEY: asserted("globex")})
        answer = await http.post("/mcp", json=message, headers={**MODERN, "authorization": "Bearer a.b.c"})
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("changed", [{}, {"internal_key": SecretStr(KEY)}], ids=["alone", "behind a pool"])
async def test_nobody_opens_a_session_without_a_token(home: Path, changed: Mapping[str, object]) -> None:
    async with door(home, **changed) as http:
        answer = await http.post("/mcp", json=INITIALIZE)
    assert answer.status_code == 401
    assert "mcp-session-id" not in answer.headers
    assert "resource_metadata=" in answer.headers["www-authenticate"]


async def test_a_session_is_found_by_whoever_opened_it_and_nobody_else(home: Path) -> None:
    async with door(home) as http:
        opened = await http.post("/mcp", json=INITIALIZE, headers=bearer("acme"))
        session = {"mcp-session-id": opened.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
        for stranger in (bearer("globex"), bearer("acme", subject="bob")):
            for method in ("GET", "POST", "DELETE"):
                body = call() if method == "POST" else None
                answer = await http.request(method, "/mcp", json=body, headers={**session, **stranger})
                assert answer.status_code == 404
        answer = await http.post("/mcp", json=call(), headers={**session, **bearer("acme")})
        assert '"acme"' in answer.text
