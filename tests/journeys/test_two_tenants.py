"""Two tenants on one content server and one database never see each other, whichever way they come in."""

import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE

import anyio
import httpx2
import jwt
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from pydantic import JsonValue

from pool.pool import Pool
from pool.spec import GroupSpec, HttpSpec, StdioSpec, WsSpec
from stoa.errors import BadInput, NotFound
from stoa.ids import new_id
from stoa.principal import Principal
from stoa.tools import ToolCall, ToolRef, ToolResult
from tests.kit.wires import websocket

SECRET = "the tenants' journey signs its tokens with this"
PARROTS = "# Parrots\n\nThe kea opens rucksacks with its beak."
OWLS = "# Owls\n\nThe barn owl hunts rucksacks by ear."


@dataclass(frozen=True)
class Tenant:
    """One tenant's way in: a pool and the principal to call as."""

    name: str
    pool: Pool

    @property
    def principal(self) -> Principal:
        return Principal(f"somebody of {self.name}", self.name, scopes=frozenset({"content:*"}))

    async def call(self, tool: str, **arguments: JsonValue) -> ToolResult:
        served = await self.pool.call(ToolCall(ToolRef("content", tool), arguments), principal=self.principal)
        return served.result

    async def answer(self, tool: str, **arguments: JsonValue) -> dict[str, JsonValue]:
        result = await self.call(tool, **arguments)
        assert not result.is_error, result.text
        assert isinstance(result.structured, dict)
        return result.structured


def token(tenant: str) -> str:
    claims = {"sub": f"somebody of {tenant}", "tenant": tenant, "scope": "content:*", "exp": 4_000_000_000}
    return jwt.encode(claims, SECRET, algorithm="HS256")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`http://host:port` of a content server that asks for tokens; all tests share it, each with tenants of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STOA_")}
    environment = {**kept, "STOA_HOME": str(tmp_path_factory.mktemp("home")), "STOA_AUTH_SECRET": SECRET}
    command = [sys.executable, "-m", "host", "serve", "content", "--transport", "http", "--port", "0"]
    with subprocess.Popen(command, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, env=environment, text=True) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()  # ends at the latest when the process does
            found = re.search(r"http://127\.0\.0\.1:\d+", said)
            assert found, said
            yield found.group()
        finally:
            process.terminate()


@pytest.fixture
def names() -> tuple[str, str]:
    """Two tenants that no other test has used."""
    return f"north-{new_id()}", f"south-{new_id()}"


@pytest.fixture(params=["stdio through a pool", "http", "ws"])
async def tenants(
    request: pytest.FixtureRequest, names: tuple[str, str], url: str, home: Path
) -> AsyncGenerator[tuple[Tenant, Tenant]]:
    async with AsyncExitStack() as stack:
        stack.enter_context(anyio.fail_after(90))
        if request.param == "stdio through a pool":
            command = StdioSpec(sys.executable, ("-m", "servers.content"), env={"STOA_HOME": str(home)})
            group = GroupSpec("content", (command,), replicas=2, trusted=True)
            pool = await stack.enter_async_context(Pool((group,), internal_key=os.urandom(32)))
            yield Tenant(names[0], pool), Tenant(names[1], pool)
            return
        pools: list[Pool] = []
        for name in names:
            headers = {"Authorization": f"Bearer {token(name)}"}
            spec = HttpSpec(f"{url}/mcp", headers)
            if request.param == "ws":
                spec = WsSpec(f"{url.replace('http', 'ws')}/mcp/ws", headers)
            pools.append(await stack.enter_async_context(Pool((GroupSpec("content", (spec,)),), internal_key=None)))
        yield Tenant(names[0], pools[0]), Tenant(names[1], pools[1])


async def test_documents_of_one_tenant_do_not_exist_for_the_other(tenants: tuple[Tenant, Tenant]) -> None:
    north, south = tenants
    theirs = (await north.answer("ingest_document", text=PARROTS, name="birds.md"))["id"]
    mine = (await south.answer("ingest_document", text=OWLS, name="birds.md"))["id"]
    assert theirs != mine

    hits = (await south.answer("search_documents", query="rucksacks"))["hits"]
    assert isinstance(hits, list)
    assert [hit["document_id"] for hit in hits if isinstance(hit, dict)] == [mine]
    assert json.dumps(await south.answer("list_documents")).count('"id"') == 1
    for tool in ("get_document", "delete_document"):
        refused = await south.call(tool, id=theirs)
        assert refused.is_error
        assert isinstance(refused.structured, dict)
        assert refused.structured["code"] == "not_found"
        assert "Parrots" not in json.dumps(refused.structured)
    assert (await north.answer("get_document", id=theirs))["markdown"] == PARROTS

    # The same content is a document of its own for each tenant.
    copy = await south.answer("ingest_document", text=PARROTS, name="copy.md")
    assert copy["created"] is True
    await south.answer("delete_document", id=copy["id"])
    assert (await north.answer("get_document", id=theirs))["markdown"] == PARROTS


async def test_a_cursor_of_one_tenant_opens_nothing_for_the_other(tenants: tuple[Tenant, Tenant]) -> None:
    north, south = tenants
    for tenant in tenants:
        for number in range(3):
            await tenant.answer(
                "ingest_document", text=f"# Note {number}\n\nA note of {tenant.name}.", name=f"{number}"
            )
    for tool, arguments in (("list_documents", {}), ("search_documents", {"query": "note"})):
        cursor = (await north.answer(tool, limit=1, **arguments))["next_cursor"]
        assert isinstance(cursor, str)
        refused = await south.call(tool, limit=1, cursor=cursor, **arguments)
        assert refused.is_error
        assert isinstance(refused.structured, dict)
        assert refused.structured["code"] == "bad_input"
        page = await north.answer(tool, limit=1, cursor=cursor, **arguments)
        assert f"A note of {north.name}" in json.dumps(page) or tool == "list_documents"
        assert south.name not in json.dumps(page)


async def test_resources_and_completions_of_one_tenant_are_not_the_others(tenants: tuple[Tenant, Tenant]) -> None:
    north, south = tenants
    theirs = (await north.answer("ingest_document", text=PARROTS, name="birds.md"))["id"]
    uri = f"content://document/{theirs}"
    (content,) = await north.pool.read_resource("content", uri, principal=north.principal)
    assert content.text == PARROTS
    with pytest.raises((NotFound, BadInput)) as refused:
        await south.pool.read_resource("content", uri, principal=south.principal)
    assert "kea" not in str(refused.value)
    template = "content://document/{id}"
    assert await north.pool.complete("content", template, "id", "", principal=north.principal) == (theirs,)
    assert await south.pool.complete("content", template, "id", "", principal=south.principal) == ()


@pytest.mark.parametrize("transport", ["http", "ws"])
async def test_one_tenant_does_not_hear_of_the_others_changes(transport: str, names: tuple[str, str], url: str) -> None:
    async with AsyncExitStack() as stack:
        stack.enter_context(anyio.fail_after(60))
        clients = [await stack.enter_async_context(_client(transport, url, tenant)) for tenant in names]
        north, south = clients
        heard: dict[str, list[str]] = {"north": [], "south": []}
        woken = {"north": anyio.Event(), "south": anyio.Event()}
        tasks = await stack.enter_async_context(anyio.create_task_group())
        listening: list[anyio.Event] = []

        async def listen(name: str, client: Client, ready: Callable[[], None]) -> None:
            async with client.listen(resources_list_changed=True) as changes:
                ready()
                async for change in changes:
                    heard[name].append(type(change).__name__)
                    woken[name].set()

        for name, client in zip(("north", "south"), clients, strict=True):
            ready = anyio.Event()
            listening.append(ready)
            tasks.start_soon(listen, name, client, ready.set)
        for ready in listening:
            await ready.wait()

        await north.call_tool("ingest_document", {"text": PARROTS})
        await woken["north"].wait()
        # South's own change comes after; had it heard of north's, there would be two.
        await south.call_tool("ingest_document", {"text": OWLS})
        await woken["south"].wait()
        assert heard == {"north": ["ResourcesListChanged"], "south": ["ResourcesListChanged"]}
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def _client(transport: str, url: str, tenant: str) -> AsyncGenerator[Client]:
    headers = {"Authorization": f"Bearer {token(tenant)}"}
    if transport == "ws":
        async with Client(websocket(f"{url}/mcp", headers), mode="2026-07-28") as client:
            yield client
    else:
        async with (
            httpx2.AsyncClient(headers=headers) as http,
            Client(streamable_http_client(f"{url}/mcp", http_client=http), mode="2026-07-28") as client,
        ):
            yield client


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer " + jwt.encode({"sub": "x", "exp": 4_000_000_000}, SECRET)}, 401),
        (
            {"Authorization": "Bearer " + jwt.encode({"sub": "x", "tenant": "north", "exp": 4_000_000_000}, "?" * 40)},
            401,
        ),
    ],
    ids=["no token", "no tenant in the token", "a token of somebody else"],
)
async def test_a_request_without_a_good_token_is_refused(headers: dict[str, str], status: int, url: str) -> None:
    with anyio.fail_after(60):
        async with httpx2.AsyncClient() as client:
            answer = await client.post(
                f"{url}/mcp", headers=headers, json={"jsonrpc": "2.0", "id": 1, "method": "ping"}
            )
            assert answer.status_code == status
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert (await client.get(f"{url}/health")).status_code == 200
