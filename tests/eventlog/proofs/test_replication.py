"""What a standby has when it takes over: with asynchronous replication, not all that was acknowledged; with
`synchronous_standby_names`, all of it. Clients that name both servers find the new primary by themselves."""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest

from eventlog.event import NewEvent, StreamId
from eventlog.keeping.verify import verify
from eventlog.log import EventLog
from eventlog.open import open_log
from stoa.settings import Settings
from tests.fakes.postgres import Cluster, Standby, fresh_database, open_cluster, open_standby

pytestmark = pytest.mark.slow

STREAM = StreamId("acme", "order-1")


@contextmanager
def two_servers() -> Generator[tuple[Cluster, Standby, str]]:
    """And the address that names both."""
    with open_cluster() as primary, fresh_database(primary) as url, open_standby(primary) as standby:
        parts = urlsplit(url)
        yield primary, standby, parts._replace(query=f"{parts.query},{standby.folder}").geturl()


@asynccontextmanager
async def opened(url: str, home: Path) -> AsyncGenerator[EventLog]:
    async with open_log(Settings.model_validate({"home": home, "database_url": url})) as log:
        yield log


async def append(log: EventLog, count: int) -> list[str]:
    appended = await log.append_to(STREAM, [NewEvent("order.placed", {"number": n}) for n in range(count)])
    return list(appended.event_ids)


async def stored(log: EventLog) -> list[str]:
    return [event.event_id for event in await log.read_all(0)]


async def test_asynchronous_replication_loses_what_the_standby_had_not_got_and_a_checkpoint_tells(
    tmp_path: Path,
) -> None:
    with two_servers() as (primary, standby, url):
        async with opened(url, tmp_path) as log:
            kept = await append(log, 10)
            await anyio.to_thread.run_sync(standby.catch_up)
            await anyio.to_thread.run_sync(standby.hold)
            lost = await append(log, 5)
            seen = await log.checkpoint(15)
            await anyio.to_thread.run_sync(primary.crash)
            await anyio.to_thread.run_sync(standby.promote)
            assert await stored(log) == kept
            assert not set(lost) & set(await stored(log))
            new = await append(log, 6)
            assert await stored(log) == kept + new
            # The positions were given to other events: whoever had read that far sees another checksum.
            assert (await log.checkpoint(15)).checksum != seen.checksum
            assert (await verify(log)).problems == ()


async def test_synchronous_replication_keeps_everything_that_was_acknowledged(tmp_path: Path) -> None:
    with two_servers() as (primary, standby, url):
        primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        primary.execute("SELECT pg_reload_conf()")
        async with opened(url, tmp_path) as log:
            acknowledged = await append(log, 10)
            await anyio.to_thread.run_sync(standby.hold)
            with anyio.move_on_after(1) as scope:  # nobody is told that it is done
                await append(log, 5)
            assert scope.cancelled_caught
            await anyio.to_thread.run_sync(primary.crash)
            await anyio.to_thread.run_sync(standby.promote)
            assert (await stored(log))[:10] == acknowledged
            acknowledged += await append(log, 5)
            assert set(acknowledged) <= set(await stored(log))
            assert (await verify(log)).problems == ()
