"""Two tenants with tokens of their own on one server over HTTP, in both eras; and a log that lies in PostgreSQL."""

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx2
import jwt
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from pydantic import SecretStr

from servers.events.server import create
from servers.events.settings import EventsSettings
from stoa.settings import AuthSettings, Settings
from tests.kit.wires import ERAS, listening, opened
from tests.servers.events.stage import call, event, fail
from tests.servers.events.test_watching import Heard, hearing

SECRET = "s" * 32
STREAM = "events://stream/order-1"


def bearer(tenant: str, scope: str = "events:read events:append") -> Mapping[str, str]:
    claims = {"sub": f"somebody of {tenant}", "tenant": tenant, "scope": scope, "exp": time.time() + 60}
    return {"authorization": f"Bearer {jwt.encode(claims, SECRET, 'HS256')}"}


@asynccontextmanager
async def client_of(url: str, era: str, headers: Mapping[str, str], heard: Heard) -> AsyncGenerator[Client]:
    mode = "legacy" if era == "2025-11-25" else era
    async with (
        httpx2.AsyncClient(headers=dict(headers), timeout=30) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode, message_handler=heard) as client,
    ):
        yield client


@pytest.mark.parametrize("era", ERAS)
async def test_tenants_with_tokens_share_a_server_and_see_and_hear_nothing_of_each_other(home: Path, era: str) -> None:
    auth = AuthSettings.model_validate({"secret": SecretStr(SECRET)})
    guarded = Settings.model_validate({"home": home, "auth": auth})
    server = create(guarded, events=EventsSettings.model_validate({"start_seconds": 3600}))
    a_heard, b_heard = Heard(), Heard()
    with anyio.fail_after(60):
        async with (
            listening(server, guarded) as url,
            client_of(url, era, bearer("a"), a_heard) as a,
            client_of(url, era, bearer("b"), b_heard) as b,
            client_of(url, era, bearer("a", "events:read"), Heard()) as reader,
            hearing(a, era, a_heard, STREAM, "events://stream/order-2") as told,
            hearing(b, era, b_heard, STREAM),
        ):
            await call(b, "append_events", stream="order-1", events=[event(data={"word": "colonnade"})])
            assert (await fail(a, "read_stream", None, stream="order-1"))["code"] == "not_found"
            assert (await call(a, "query_events"))["events"] == []
            await call(a, "append_events", stream="order-2", events=[event()])
            await told.until("events://stream/order-2")
            (stored,) = (await call(reader, "query_events"))["events"]
            assert (stored["principal"], stored["position"]) == ("somebody of a", None)
            said = await fail(reader, "append_events", None, stream="order-2", events=[event()])
            assert (said["code"], "events:append" in said["message"]) == ("denied", True)
    assert STREAM not in a_heard.said


def is_not_a_file(home: Path) -> bool:
    return not list(home.glob("events.db*"))


@pytest.mark.parametrize("era", ERAS)
async def test_a_log_in_postgresql_is_appended_to_read_and_followed_all_the_same(
    home: Path, postgres_url: str, era: str
) -> None:
    where = Settings.model_validate({"home": home, "database_url": postgres_url})
    options = EventsSettings.model_validate({"start_seconds": 3600})
    heard = Heard()
    with anyio.fail_after(60):
        async with (
            opened(create(where, events=options), "memory", era, settings=where, message_handler=heard) as client,
            opened(create(where, events=options), "memory", ERAS[1], settings=where) as other,
            hearing(client, era, heard, STREAM, "events://projection/streams") as told,
        ):
            request = {"stream": "order-1", "events": [event(data={"amount": 1})], "idempotency_key": "once"}
            first = await call(other, "append_events", **request)
            await told.until(STREAM, "events://projection/streams")
            assert await call(client, "append_events", **request) == {**first, "is_repeat": True}
            said = await fail(client, "append_events", None, stream="order-1", events=[event()], expected_version=0)
            assert (said["code"], "at version 1" in said["message"]) == ("conflict", True)
            assert (await call(client, "state_at", stream="order-1"))["state"] == {"amount": 1}
            assert (await call(client, "create_snapshot", stream="order-1"))["version"] == 1
            assert [each["event_type"] for each in (await call(client, "describe_event_type"))["types"]][-1:]
            found = await call(client, "query_events", types=["order.*"], stream_prefix="order-")
            assert len(found["events"]) == 1
    assert is_not_a_file(home)
