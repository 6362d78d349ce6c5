"""Reading and small writes: together or not at all, and known to have happened or not."""

import logging
import secrets

import anyio
import pytest

from eventlog.database import Statement
from eventlog.postgres.store import PostgresStore, open_postgres
from stoa.clock import SystemClock
from stoa.errors import BadInput, Conflict, Fault, OutcomeUnknown, StoaError, Unavailable
from tests.eventlog.postgres.appends import one, request
from tests.fakes.postgres import Cluster
from tests.fakes.postgres_line import open_line

NOTES = Statement("CREATE TABLE note (pk BIGINT PRIMARY KEY, text TEXT NOT NULL)")
ADD = "INSERT INTO note VALUES ($1, $2)"


async def notes(store: PostgresStore) -> list[object]:
    return [row[0] for row in await store.database.fetch("SELECT text FROM note ORDER BY pk")]


async def test_values_come_back_as_what_they_were(store: PostgresStore) -> None:
    (row,) = await store.database.fetch(
        "SELECT $1::bigint, $2::text, $3::bytea, $4::float8, $5::text", 2**62, "ä\n", b"\0\xff", 0.5, None
    )
    assert tuple(row) == (2**62, "ä\n", b"\0\xff", 0.5, None)


async def test_sums_and_counts_are_plain_numbers(store: PostgresStore) -> None:
    ((total, count, mean),) = await store.database.fetch(
        "SELECT SUM(n), COUNT(*), AVG(n) FROM (VALUES (1::bigint), (2)) v (n)"
    )
    assert [type(value) for value in (total, count, mean)] == [int, int, float]
    assert (total, count, mean) == (3, 2, 1.5)


async def test_a_write_happens_as_a_whole_or_not(store: PostgresStore) -> None:
    await store.database.write(NOTES, Statement(ADD, [(1, "a"), (2, "b")]))
    change = Statement("UPDATE note SET text = $2 WHERE pk = $1", [(1, "x"), (2, "y")], must_change=2)
    with pytest.raises(Conflict):
        await store.database.write(change, Statement("DELETE FROM note WHERE pk = $1", [(9,)], must_change=1))
    assert await notes(store) == ["a", "b"]
    with pytest.raises(Conflict):
        await store.database.write(change, Statement(ADD, [(3, "c"), (1, "again")]))
    assert await notes(store) == ["a", "b"]
    await store.database.write(change, Statement(ADD, []), Statement("DELETE FROM note WHERE pk > 5", must_change=0))
    assert await notes(store) == ["x", "y"]


async def test_rows_of_one_statement_are_counted_together(store: PostgresStore) -> None:
    await store.database.write(NOTES, Statement(ADD, [(number, "a") for number in range(50)], must_change=50))
    missing = Statement("UPDATE note SET text = 'b' WHERE pk = $1", [(number,) for number in range(51)], must_change=51)
    with pytest.raises(Conflict):
        await store.database.write(missing)
    assert set(await notes(store)) == {"a"}


@pytest.mark.parametrize("lost", ["order", "answer"])
async def test_a_write_whose_commit_breaks_happens_once(postgres_url: str, lost: str) -> None:
    async with open_line(postgres_url) as line, open_postgres(line.url, clock=SystemClock()) as store:
        await store.database.write(NOTES, Statement(ADD, [(1, "a")]))
        line.lose = "order" if lost == "order" else "answer"
        await store.database.write(Statement("UPDATE note SET text = text || 'b'", must_change=1))
        assert line.lose is None
        assert await notes(store) == ["ab"]


async def test_a_write_whose_commit_breaks_for_good_is_of_unknown_outcome(postgres_url: str) -> None:
    async with (
        open_line(postgres_url) as line,
        open_postgres(line.url, clock=SystemClock(), away_seconds=0.3) as store,
    ):
        await store.database.write(NOTES)
        line.lose, line.is_down = "answer", True
        with pytest.raises(OutcomeUnknown):
            await store.database.write(Statement(ADD, [(1, "a")]))
        line.is_down = False
        assert await notes(store) == ["a"]


async def test_a_server_that_is_away_is_told_after_a_bounded_time(postgres_url: str) -> None:
    async with (
        open_line(postgres_url) as line,
        open_postgres(line.url, clock=SystemClock(), away_seconds=0.3) as store,
    ):
        line.is_down = True
        line.cut()
        with anyio.fail_after(10):
            for attempt in (
                store.database.fetch("SELECT 1"),
                store.database.write(Statement("SELECT 1")),
                store.commit([request("order-1")]),
            ):
                with pytest.raises(Unavailable) as caught:
                    await attempt
                assert caught.value.retry_after
        line.is_down = False
        assert await store.database.fetch("SELECT 1") == [(1,)]
        await one(store, request("order-1"))


async def test_a_broken_connection_is_replaced_without_anybody_noticing(postgres_url: str) -> None:
    async with open_line(postgres_url) as line, open_postgres(line.url, clock=SystemClock()) as store:
        await one(store, request("order-1"))
        line.cut()
        assert await store.database.fetch("SELECT count(*) FROM event") == [(1,)]
        line.cut()
        await store.database.write(NOTES)
        line.cut()
        await one(store, request("order-1"))


async def test_one_process_opens_a_handful_of_connections(store: PostgresStore) -> None:
    busy = 0

    async def read() -> None:
        nonlocal busy
        await store.database.fetch("SELECT pg_sleep(0.05)")
        (row,) = await store.database.fetch("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                                            " AND application_name = 'stoa'")  # fmt: skip
        busy = max(busy, int(str(row[0])))

    with anyio.move_on_after(0.01):
        await store.grown(0)
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(read)
        await one(store, request("order-1"))
    assert 4 <= busy <= 6


async def test_a_caller_that_gives_up_leaves_the_others_a_session(store: PostgresStore) -> None:
    for _ in range(6):
        with anyio.move_on_after(0.02) as scope:
            await store.database.fetch("SELECT pg_sleep(20)")
        assert scope.cancelled_caught
    with anyio.fail_after(10):
        assert await store.database.fetch("SELECT 1") == [(1,)]


async def test_nobody_can_slip_us_a_table_of_his_own(postgres: Cluster, postgres_url: str) -> None:
    database = postgres_url.rpartition("/data")[0].partition("?")[0].rpartition("/")[2]
    postgres.execute("CREATE TABLE public.event (position BIGINT); CREATE SCHEMA postgres", database)
    postgres.execute("CREATE TABLE postgres.stream (pk BIGINT)", database)
    async with open_postgres(postgres_url, clock=SystemClock()) as store:
        await one(store, request("order-1"))
        (row,) = await store.database.fetch("SELECT current_setting('search_path'), (SELECT count(*) FROM event)")
        assert tuple(row) == ("stoa, pg_temp", 1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("postgres:@", "nobody_here:@"), "user or the password"),
        (("/test_", "/missing_"), "no database"),
        (("host=", "sslmode=nonsense&host="), "STOA_DATABASE_URL"),
        (("host=", "surprise=1&host="), "STOA_DATABASE_URL"),
    ],
)
async def test_an_address_that_leads_nowhere_is_bad_input(
    postgres_url: str, change: tuple[str, str], says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        async with open_postgres(postgres_url.replace(*change), clock=SystemClock()):
            pass


async def test_a_password_is_in_no_error_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for where in ("127.0.0.1:1", "host.invalid", "127.0.0.1:1,127.0.0.2:1"):
        with pytest.raises(StoaError) as caught:
            async with open_postgres(f"postgresql://stoa:s3cret@{where}/x", clock=SystemClock(), away_seconds=0.1):
                pass
        assert isinstance(caught.value, Unavailable)
        error: BaseException | None = caught.value
        while error is not None:
            assert "s3cret" not in repr(error) + str(error)
            error = error.__cause__
    assert "s3cret" not in caplog.text


async def test_a_mistake_of_ours_is_a_fault_that_quotes_no_values(store: PostgresStore) -> None:
    with pytest.raises(Fault) as caught:
        await store.database.fetch("SELECT no_such_column FROM event WHERE event_id = $1", b"private")
    assert "private" not in str(caught.value)
    with pytest.raises(Fault):
        await store.database.fetch("SELECT $1::bigint", "private")
    assert await store.database.fetch("SELECT 1") == [(1,)]


async def test_every_session_has_a_name_and_limits(store: PostgresStore) -> None:
    names = ("application_name", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    rows = await store.database.fetch("SELECT current_setting(name) FROM unnest($1::text[]) AS name", list(names))  # pyright: ignore[reportArgumentType] - an array, here only
    assert [row[0] for row in rows] == ["stoa", "30s", "10s", "30s"]


async def test_a_user_who_may_not_look_into_the_schema_is_told_what_to_grant(
    postgres: Cluster, postgres_url: str
) -> None:
    role = f"guest_{secrets.token_hex(6)}"
    async with open_postgres(postgres_url, clock=SystemClock()):
        pass
    postgres.execute(f"CREATE ROLE {role} LOGIN")
    try:
        with pytest.raises(BadInput, match="does not see the tables") as caught:
            async with open_postgres(postgres_url.replace("//postgres:", f"//{role}:"), clock=SystemClock()):
                pass
    finally:
        postgres.execute(f"DROP ROLE {role}")
    assert "USAGE" in (caught.value.hint or "")
