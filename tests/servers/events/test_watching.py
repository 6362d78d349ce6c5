"""Subscriptions: whoever appends, and in whichever process, subscribers of the tenant hear of it, in both eras."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import anyio
import httpx2
import mcp_types as types
import pytest
from anyio.abc import TaskGroup
from anyio.streams.text import TextReceiveStream
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client

from eventlog.event import Append, Event, NewEvent, StreamId
from eventlog.log import EventLog
from eventlog.open import open_memory
from eventlog.projections.builtin import BUILTIN
from eventlog.projections.projector import Projector
from servers.events.addresses import Topic, topic_of
from servers.events.server import create
from servers.events.settings import EventsSettings
from servers.events.watching import MAX_SPELLINGS, Watching, news
from stoa.errors import BadInput, Unavailable
from tests.kit.wires import ERAS, WIRES, opened
from tests.servers.events.stage import ADA, BOB, READER, as_meta, call, event, settings

ROOT = Path(__file__).parents[3]
STREAM = "events://stream/order-1"


class Heard:
    """What a client of the handshake era is told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self._more = anyio.Event()

    async def __call__(self, message: Any) -> None:
        if isinstance(message, types.ResourceUpdatedNotification):
            self.said.append(str(message.params.uri))
            self._more.set()

    async def next(self) -> str:
        while not self.said:
            self._more = anyio.Event()
            await self._more.wait()
        return self.said.pop(0)


async def subscribe(client: Client, uri: str, principal: Any = None) -> None:
    # The client's own method warns that it is of the handshake era.
    params = types.SubscribeRequestParams(uri=uri, _meta=as_meta(principal))
    await client.session.send_request(types.SubscribeRequest(params=params), types.EmptyResult)


class Hearing:
    """Subscribed, in either era."""

    def __init__(self, listened: Any, heard: Heard) -> None:
        self._listened, self._heard = listened, heard

    async def until(self, *uris: str) -> None:
        """Until all of these were told of; they may be told of several times."""
        missing = set(uris)
        with anyio.fail_after(20):
            while missing:
                missing.discard(await self._heard.next() if self._listened is None else await self._next())

    async def _next(self) -> str:
        return str(getattr(await anext(self._listened), "uri", ""))


@asynccontextmanager
async def hearing(client: Client, era: str, heard: Heard, *uris: str) -> AsyncGenerator[Hearing]:
    if era == "2025-11-25":
        for uri in uris:
            await subscribe(client, uri)
        yield Hearing(None, heard)
    else:
        async with client.listen(resource_subscriptions=list(uris)) as listened:
            yield Hearing(listened, heard)


def server_of(home: Path) -> Any:
    return create(settings(home), events=EventsSettings.model_validate({"start_seconds": 3600}))


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("wire", WIRES)
async def test_a_subscriber_hears_of_a_stream_a_type_and_a_projection(home: Path, wire: str, era: str) -> None:
    heard = Heard()
    addresses = ("events://stream/order-%C3%A4", "events://type/order.placed", "events://projection/streams")
    async with (
        opened(server_of(home), wire, era, settings=settings(home), message_handler=heard) as client,
        hearing(client, era, heard, *addresses) as told,
    ):
        for _ in range(2):
            await call(client, "append_events", stream="order-ä", events=[event()])
            await told.until(*addresses)
        read = await client.read_resource(addresses[0])
        assert '"version":2' in str(read.contents[0])


@pytest.mark.parametrize("era", ERAS)
async def test_no_news_of_another_tenant_are_told(home: Path, era: str) -> None:
    heard = Heard()
    mine, theirs = "events://stream/order-1", "events://type/order.placed"
    async with (
        opened(server_of(home), "memory", era, settings=settings(home), message_handler=heard) as client,
        hearing(client, era, heard, mine, theirs, "events://stream/order-end") as told,
    ):
        await call(client, "append_events", ADA, stream="order-1", events=[event()])
        await call(client, "append_events", BOB, stream="order-1", events=[event()])
        await call(client, "append_events", stream="order-end", events=[event("order.ended")])
        if era == "2025-11-25":
            with anyio.fail_after(10):
                assert await heard.next() == "events://stream/order-end"
        else:
            with anyio.fail_after(10):
                assert await told._next() == "events://stream/order-end"  # pyright: ignore[reportPrivateUsage] - one step of it


async def test_an_impossible_name_cannot_be_subscribed_to(home: Path) -> None:
    async with opened(server_of(home), "memory", ERAS[0], settings=settings(home)) as client:
        for uri in ("events://stream/Nonsense", "events://type/placed", "events://projection/none"):
            with pytest.raises(MCPError) as refused:
                await subscribe(client, uri, READER)
            assert refused.value.error.code == types.INVALID_PARAMS, uri
        writer = type(ADA)("will", "tenant-a", scopes=frozenset({"events:append"}))
        with pytest.raises(MCPError, match="events:read"):
            await subscribe(client, STREAM, writer)


@asynccontextmanager
async def other_process(home: Path) -> AsyncGenerator[tuple[Client, anyio.abc.Process]]:
    """An events server of the same home on HTTP, as a process of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STOA_")}
    process = await anyio.open_process(
        [sys.executable, "-m", "host", "serve", "events", "--transport", "http", "--port", "0"],
        cwd=ROOT,
        env={**kept, "STOA_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        said = ""
        with anyio.fail_after(60):
            async for text in TextReceiveStream(process.stdout):
                said += text
                if found := re.search(r"http://127\.0\.0\.1:\d+\S*", said):
                    break
            else:
                raise AssertionError(said)
        async with Client(found.group()) as client:
            yield client, process
    finally:
        if process.returncode is None:
            process.kill()
        await process.aclose()


@pytest.mark.parametrize("era", ERAS)
async def test_events_that_other_processes_append_are_told_also_when_one_of_them_is_killed(
    home: Path, era: str
) -> None:
    heard = Heard()
    with anyio.fail_after(100):
        async with (
            opened(server_of(home), "memory", era, settings=settings(home), message_handler=heard) as client,
            hearing(client, era, heard, STREAM) as told,
        ):
            try:
                async with other_process(home) as (other, process):
                    await call(other, "append_events", stream="order-1", events=[event()])
                    await told.until(STREAM)
                    async with anyio.create_task_group() as tasks:

                        async def go_on() -> None:
                            try:
                                while True:
                                    await other.call_tool("append_events", {"stream": "order-1", "events": [event()]})
                            except Exception:  # noqa: BLE001 - its server is dead
                                tasks.cancel_scope.cancel()

                        tasks.start_soon(go_on)
                        await told.until(STREAM)
                        process.send_signal(signal.SIGKILL)
                        await process.wait()
                        tasks.cancel_scope.cancel()
            except* (MCPError, OSError, httpx2.HTTPError):
                pass  # the client of the killed server does not like its end
            heard.said.clear()
            version = (await call(client, "read_stream", stream="order-1"))["stream_version"]
            assert version >= 2
            done = await call(client, "append_events", stream="order-1", events=[event()])
            assert done["version"] >= version + 1
            await told.until(STREAM)


async def test_a_server_on_stdio_hears_of_what_this_process_appends(home: Path) -> None:
    heard = Heard()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STOA_")}
    child = StdioServerParameters(
        command=sys.executable,
        args=["-m", "servers.events"],
        cwd=ROOT,
        env={**kept, "STOA_HOME": str(home)},
    )
    with anyio.fail_after(60):
        async with (
            Client(stdio_client(child)) as client,
            client.listen(resource_subscriptions=[STREAM]) as listened,
            opened(server_of(home), "memory", ERAS[1], settings=settings(home)) as writer,
        ):
            for _ in range(3):
                await call(writer, "append_events", stream="order-1", events=[event()])
                assert str(getattr(await anext(listened), "uri", "")) == STREAM
    assert heard.said == []


def test_an_address_names_what_it_is_about() -> None:
    assert topic_of("events://stream/order-%C3%A4%3A1", "acme") == Topic("acme", "stream", "order-ä:1")
    assert topic_of("events://type/order.placed", "acme") == Topic("acme", "type", "order.placed")
    assert topic_of("events://projection/streams", "acme") == Topic("acme", "projection", "streams")
    for other in ("content://document/1", "events://", "events://stream", "events://else/x", "events://stream/a-1/b"):
        assert topic_of(other, "acme") is None
    for wrong in ("events://stream/a%20b-1", "events://stream/", "events://type/x", f"events://projection/{'x' * 301}"):
        with pytest.raises(BadInput):
            topic_of(wrong, "acme")


def test_news_are_of_the_watched_alone_with_the_last_position() -> None:
    def at(position: int, tenant: str, stream: str, type: str) -> Event:
        stream_id = StreamId(tenant, stream)
        return Event(position, stream_id, 1, type, 1, str(position), b"{}", None, 0, 0, b"")

    batch = [
        at(1, "a", "order-1", "order.placed"),
        at(2, "b", "order-1", "order.placed"),
        at(3, "a", "order-2", "order.placed"),
        at(4, "a", "run-1", "run.started"),
    ]
    watched = [
        Topic("a", "stream", "order-1"),
        Topic("a", "type", "order.placed"),
        Topic("b", "stream", "order-2"),
        Topic("a", "projection", "runs"),
        Topic("b", "projection", "runs"),
        Topic("b", "projection", "streams"),
    ]
    assert news(batch, watched, projections={each.name: each for each in BUILTIN}) == {
        Topic("a", "stream", "order-1"): 1,
        Topic("a", "type", "order.placed"): 3,
        Topic("a", "projection", "runs"): 4,
        Topic("b", "projection", "streams"): 2,
    }


class Stage:
    """As much of a journal as watching needs."""

    def __init__(self, log: EventLog, tasks: TaskGroup) -> None:
        self.tasks = tasks
        self._opened = SimpleNamespace(log=log, projector=Projector(log, []))

    async def opened(self) -> Any:
        return self._opened


async def test_a_tenant_whose_clients_do_not_read_keeps_no_other_waiting() -> None:
    told: list[tuple[str, str]] = []
    heard = anyio.Event()

    async def tell(uri: str, tenant: str) -> None:
        if tenant == "slow":
            await anyio.sleep_forever()
        told.append((uri, tenant))
        heard.set()

    slow, quick = StreamId("slow", "order-1"), StreamId("quick", "order-1")
    with anyio.fail_after(10):
        async with open_memory() as log, anyio.create_task_group() as tasks:
            watching = Watching(cast(Any, Stage(log, tasks)), tell=tell)
            for stream in (slow, quick):
                watching._hold(Topic(stream.tenant, "stream", stream.name), STREAM)  # pyright: ignore[reportPrivateUsage] - without a call
            for _ in range(3):
                await log.append([Append(stream, [NewEvent("order.placed", {})]) for stream in (slow, quick)])
                heard = anyio.Event()
                await watching._say(await log.read_all())  # pyright: ignore[reportPrivateUsage] - one round of it
                await heard.wait()
            tasks.cancel_scope.cancel()
    assert told == [(STREAM, "quick")] * 3


async def test_one_thing_is_not_watched_under_any_number_of_addresses() -> None:
    async with open_memory() as log, anyio.create_task_group() as tasks:
        watching = Watching(cast(Any, Stage(log, tasks)), tell=cast(Any, None))
        topic = Topic("acme", "stream", "order-1")
        hold = watching._hold  # pyright: ignore[reportPrivateUsage] - without a call
        for number in range(MAX_SPELLINGS):
            for _ in range(2):
                hold(topic, f"{STREAM}?{number}")
        with pytest.raises(Unavailable, match="addresses"):
            hold(topic, f"{STREAM}?more")
        hold(topic, f"{STREAM}?0")
        hold(Topic("other", "stream", "order-1"), f"{STREAM}?more")
