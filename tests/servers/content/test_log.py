"""The content server and the event log: what it tells, that it never waits for it, and what other processes hear."""

import logging
import sqlite3
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp import Client

from eventlog.event import Event
from eventlog.log import EventLog
from eventlog.model import combined, installed_models
from eventlog.open import open_log
from eventlog.outbox import OutboxRelay
from servers.content.database import Database, ask
from servers.content.migrations import APPLICATION_ID, MIGRATIONS
from servers.content.outbox import ContentOutbox
from servers.content.server import create
from servers.content.store import Store
from servers.content.values import Origin
from stoa.principal import Principal, sign_assertion
from stoa.settings import Settings
from stoa.wire import PRINCIPAL_KEY
from tests.servers.content.drafts import draft

KEY = b"k" * 32
ADA = Principal("ada", "tenant-a", scopes=frozenset({"content:read", "content:write"}))
BOB = Principal("bob", "tenant-b", scopes=frozenset({"content:read", "content:write"}))


def settings(home: Path) -> Settings:
    return Settings.model_validate({"home": home, "internal_key": KEY.decode()})


def as_meta(principal: Principal) -> types.RequestParamsMeta:
    assertion = sign_assertion(principal, audience="content", key=KEY, now=time.time())
    return {PRINCIPAL_KEY: assertion}  # type: ignore[typeddict-unknown-key]  # _meta is open to extensions


async def call(client: Client, tool: str, principal: Principal, **arguments: object) -> Any:
    result = await client.call_tool(tool, arguments, meta=as_meta(principal))
    assert not result.is_error, result.content
    return result.structured_content


async def told(log: EventLog, count: int) -> Sequence[Event]:
    with anyio.fail_after(20):
        while len(events := await log.read_all()) < count:
            await log.grown(len(events))
    return events


def bytes_of(folder: Path, pattern: str) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob(pattern))


def in_the_way(path: Path) -> None:
    path.mkdir(parents=True)


def outbox(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT type FROM outbox ORDER BY seq").fetchall()
    connection.close()
    return [row[0] for row in rows]


async def test_the_log_is_told_what_came_changed_and_went_without_a_word_of_the_text(home: Path) -> None:
    async with Client(create(settings(home)).lowlevel) as client:
        first = await call(client, "ingest_document", ADA, text="# Guide\n\nThe brass lever.", name="guide.md")
        await call(client, "ingest_document", ADA, text="# Guide\n\nThe brass lever.", name="guide.md")
        await call(client, "ingest_document", ADA, text="# Guide\n\nThe steel button.", name="guide.md")
        other = await call(client, "ingest_document", BOB, text="# Note\n\nAnother lever.")
        await call(client, "delete_document", ADA, id=first["id"])
    async with open_log(settings(home), types=combined(installed_models()).registry()) as log:
        events = await told(log, 4)
    assert [event.type for event in events] == [
        "document.ingested",
        "document.replaced",
        "document.ingested",
        "document.deleted",
    ]
    assert [event.tenant for event in events] == ["tenant-a", "tenant-a", "tenant-b", "tenant-a"]
    assert [event.version for event in events] == [1, 2, 1, 3]
    assert events[2].stream.name == f"document-{other['id']}"
    assert events[0].data == {
        name: first[name] for name in ("id", "title", "name", "media_type", "sha256", "version", "characters", "chunks")
    }
    assert {event.metadata.principal for event in events} == {"ada", "bob"}
    assert b"lever" not in bytes_of(home, "events.db*")
    assert outbox(home / "content.db") == []


async def test_new_bytes_under_a_name_that_others_held_tell_of_both_documents(store: Store) -> None:
    await store.put("here", draft("one", name="a"))
    await store.put("here", draft("two", name="b"))
    await store.put("here", draft("one", name="b"), origin=Origin("ada", "here"))
    rows = await ContentOutbox(store.database).waiting(10)
    assert [row.type for row in rows][:2] == ["document.ingested"] * 2
    assert "document.deleted" in [row.type for row in rows][2:]


async def test_an_ingest_is_finished_though_the_log_is_away_and_that_is_said_once(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    in_the_way(home / "events.db")  # nothing can be opened there
    server = create(settings(home))
    with caplog.at_level(logging.WARNING):
        async with Client(server.lowlevel) as client:
            with anyio.fail_after(10):
                for number in range(5):
                    assert (await call(client, "ingest_document", ADA, text=f"Words {number}."))["created"]
                await call(client, "list_documents", ADA)
    said = [each.message for each in caplog.records if "event log" in each.message]
    assert len(said) == 1
    assert outbox(home / "content.db") == ["document.ingested"] * 5
    (home / "events.db").rmdir()
    async with Client(create(settings(home)).lowlevel) as client:
        await call(client, "list_documents", ADA)  # the documents are opened: what lies there is brought
        async with open_log(settings(home)) as log:
            assert len(await told(log, 5)) == 5


class Ears:
    """What a client of one server is told."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._more = anyio.Event()

    async def hear(self, message: object) -> None:
        match message:
            case types.ResourceUpdatedNotification():
                self._note(f"updated {message.params.uri}")
            case types.ResourceListChangedNotification():
                self._note("list")
            case _:
                pass

    def _note(self, what: str) -> None:
        self.heard.append(what)
        self._more.set()
        self._more = anyio.Event()

    async def until(self, what: str, times: int = 1) -> None:
        with anyio.fail_after(20):
            while self.heard.count(what) < times:
                await self._more.wait()


@asynccontextmanager
async def connected(home: Path, ears: Ears) -> AsyncGenerator[Client]:
    """A client of the handshake era of a server of its own: two of them are as two processes, for they share only the
    files."""
    async with Client(create(settings(home)).lowlevel, mode="legacy", message_handler=ears.hear) as client:
        yield client


async def test_what_one_process_changes_is_told_to_clients_of_another_and_to_its_own_once(home: Path) -> None:
    ours, theirs = Ears(), Ears()
    async with connected(home, ours) as client, connected(home, theirs) as other:
        assert await call(other, "list_documents", ADA) == {"documents": [], "next_cursor": None}
        first = await call(client, "ingest_document", ADA, text="One.", name="guide.md")
        uri = f"content://document/{first['id']}"
        await theirs.until("list")
        for each in (client, other):
            await (
                each.session.send_request(  # `subscribe_resource` warns: it is of the handshake era, as this client is
                    types.SubscribeRequest(params=types.SubscribeRequestParams(uri=uri, _meta=as_meta(ADA))),
                    types.EmptyResult,
                )
            )
        await call(client, "ingest_document", ADA, text="Two.", name="guide.md")
        await theirs.until(f"updated {uri}")
        await theirs.until("list", 2)
        await call(client, "delete_document", ADA, id=first["id"])
        await theirs.until(f"updated {uri}", 2)
        await theirs.until("list", 3)
        await call(other, "ingest_document", ADA, text="Three.")
        await ours.until("list", 4)
        await theirs.until("list", 4)
        with anyio.move_on_after(0.5):
            await ours.until("list", 5)
    assert sorted(ours.heard) == sorted(theirs.heard) == ["list"] * 4 + [f"updated {uri}"] * 2


async def test_no_tenant_is_told_what_another_changes(home: Path) -> None:
    ours, theirs = Ears(), Ears()
    async with connected(home, ours) as client, connected(home, theirs) as other:
        await call(other, "list_documents", BOB)
        await call(client, "ingest_document", ADA, text="One.")
        await call(client, "ingest_document", BOB, text="Two.")
        await theirs.until("list")
        with anyio.move_on_after(0.5):
            await theirs.until("list", 2)
    assert theirs.heard == ["list"]


async def test_rows_that_another_process_left_behind_are_brought_in_order(home: Path, path: Path) -> None:
    database = Database(path)
    store = Store(database)
    for number in range(3):
        await store.put("here", draft(f"Version {number}", name="guide"), origin=Origin("ada", "content/dead"))
    async with open_log(settings(home)) as log:
        assert await OutboxRelay(ContentOutbox(database), log).once() == 3
        assert [event.data["version"] for event in await log.read_all()] == [1, 2, 3]
    await database.close()


async def test_a_file_of_the_first_version_gets_its_outbox_and_keeps_its_documents(path: Path) -> None:
    connection = sqlite3.connect(path)
    for statement in MIGRATIONS[0]:
        connection.execute(statement)
    connection.execute(
        "INSERT INTO document VALUES (1, 'A', 'here', NULL, 'Old', 'text/markdown', 'x', 1, 3, 1, '[]',"
        " '2026-01-01 00:00:00', '2026-01-01 00:00:00')"
    )
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()
    store = Store(Database(path))
    assert (await store.delete("here", "A")).title == "Old"
    assert [row.type for row in await ContentOutbox(store.database).waiting(10)] == ["document.deleted"]
    version = await store.database.read(lambda session: ask(session)("PRAGMA user_version", {}))
    assert version == [(2,)]
    await store.database.close()


async def test_an_event_that_the_log_refuses_does_not_hold_up_other_documents(home: Path, store: Store) -> None:
    one = await store.put("here", draft("one", name="a"))
    await store.put("here", draft("two", name="b"))
    database = store.database
    await database.write(
        lambda session: ask(session)(
            "UPDATE outbox SET type = 'Not A Type' WHERE stream = :stream", {"stream": f"document-{one.document.id}"}
        )
    )
    relay_of = ContentOutbox(database)
    async with open_log(settings(home)) as log:
        assert await OutboxRelay(relay_of, log).once() == 1
        await store.put("here", draft("three", name="a"))
        assert await OutboxRelay(relay_of, log).once() == 0
        await relay_of.forgive()
        assert len(await relay_of.waiting(10)) == 2
