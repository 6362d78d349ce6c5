"""Being told that the log has grown: soon, by whoever appends, and also after everything broke."""

import time

import anyio

from eventlog.postgres.growth import CHANNEL, Growth
from eventlog.postgres.store import PostgresStore, open_postgres
from stoa.clock import SystemClock
from tests.eventlog.postgres.appends import one, request
from tests.fakes.postgres import Cluster, fresh_database, open_cluster
from tests.fakes.postgres_line import open_line


async def test_whoever_waits_is_woken_by_a_commit_of_this_process(store: PostgresStore) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one, store, request("order-1", 3))
        with anyio.fail_after(5):
            await store.grown(2)


async def test_whoever_waits_is_woken_by_a_commit_of_another_process(postgres_url: str) -> None:
    async with (
        open_postgres(postgres_url, clock=SystemClock()) as store,
        open_postgres(postgres_url, clock=SystemClock()) as other,
    ):
        waits: list[float] = []
        for position in range(30):
            await other.commit([request("order-1")])
            start = time.perf_counter()
            with anyio.fail_after(5):
                await store.grown(position)
            waits.append(time.perf_counter() - start)
        assert sorted(waits)[20] < 0.5  # not by the look that is taken every second


async def test_what_was_there_before_is_seen_at_once(postgres_url: str) -> None:
    async with open_postgres(postgres_url, clock=SystemClock()) as store:
        await one(store, request("order-1"))
    async with open_postgres(postgres_url, clock=SystemClock()) as store:
        with anyio.fail_after(5):
            await store.grown(0)


async def test_a_broken_listener_listens_again(postgres_url: str) -> None:
    async with (
        open_line(postgres_url) as line,
        open_postgres(line.url, clock=SystemClock()) as store,
        open_postgres(postgres_url, clock=SystemClock()) as other,
    ):
        with anyio.fail_after(20):
            for position in range(3):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(store.grown, position)
                    await anyio.wait_all_tasks_blocked()
                    line.cut()
                    await one(other, request("order-1"))


async def test_nobody_listens_while_nobody_waits(store: PostgresStore, postgres: Cluster) -> None:
    await one(store, request("order-1"))
    sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query ILIKE '%LISTEN%'"
    assert await store.database.fetch(sql + " AND pid <> pg_backend_pid()") == [(0,)]


async def test_nonsense_on_the_channel_is_no_growth(store: PostgresStore) -> None:
    with anyio.move_on_after(0.2) as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.grown, 0)
            for payload in ("", "x", "-1", "9" * 400):
                await store.database.fetch("SELECT pg_notify($1, $2)", CHANNEL, payload)
    assert scope.cancelled_caught or store.database


async def test_a_log_that_went_back_is_believed() -> None:
    growth = Growth()
    growth.reached(1_000)
    growth.about_to_look()
    growth.looked(10)
    assert growth.position == 10
    growth.about_to_look()
    growth.reached(12)
    growth.looked(11)
    assert growth.position == 12


async def test_a_follower_outlives_a_restart_of_the_server() -> None:
    with open_cluster() as cluster, fresh_database(cluster) as url:
        async with open_postgres(url, clock=SystemClock()) as store:
            await one(store, request("order-1"))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(store.grown, 1)
                await anyio.to_thread.run_sync(cluster.stop)
                await anyio.to_thread.run_sync(cluster.start)
                with anyio.fail_after(30):
                    await one(store, request("order-1"))
