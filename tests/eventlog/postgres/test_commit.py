"""What a batch leaves in PostgreSQL, and what its callers are told."""

from urllib.parse import urlsplit

import pytest

from eventlog.chain import START, checksum, digest, envelope_tail
from eventlog.conflict import IdTaken, WrongVersion
from eventlog.database import Statement
from eventlog.event import NO_STREAM, Appended, StreamId
from eventlog.ids import id_text
from eventlog.postgres.store import PostgresStore, open_postgres
from eventlog.store import Request
from stoa.clock import SystemClock
from stoa.errors import OutcomeUnknown
from tests.eventlog.postgres.appends import SALT, accepted, one, refused, request
from tests.fakes.postgres import Cluster
from tests.fakes.postgres_line import open_line


async def test_positions_go_up_without_a_gap_and_versions_per_stream(store: PostgresStore) -> None:
    outcomes = await store.commit([request("order-1", 2), request("order-2"), request("order-1", tenant="other")])
    assert [(o.first_version, o.version, o.position) for o in accepted(outcomes)] == [(1, 2, 2), (1, 1, 3), (1, 1, 4)]
    outcomes = await store.commit([request("order-1", 3, expected=2), request("order-3", expected=NO_STREAM)])
    assert [(o.first_version, o.version, o.position) for o in accepted(outcomes)] == [(3, 5, 7), (1, 1, 8)]
    rows = await store.database.fetch("SELECT position, stream, version FROM event ORDER BY position")
    assert [tuple(row) for row in rows] == [
        (1, 1, 1), (2, 1, 2), (3, 2, 1), (4, 3, 1), (5, 1, 3), (6, 1, 4), (7, 1, 5), (8, 4, 1),
    ]  # fmt: skip
    heads = await store.database.fetch(
        "SELECT pk, tenant, name, version, first_version, last_position FROM stream ORDER BY pk"
    )
    assert [tuple(row) for row in heads] == [
        (1, 1, "order-1", 5, 1, 7), (2, 1, "order-2", 1, 1, 3), (3, 2, "order-1", 1, 1, 4), (4, 1, "order-3", 1, 1, 8),
    ]  # fmt: skip
    assert [tuple(r) for r in await store.database.fetch("SELECT position, streams FROM log")] == [(8, 4)]


async def test_the_checksums_of_a_stream_are_a_chain_across_batches(store: PostgresStore) -> None:
    await store.commit([request("order-1", 2), request("order-2")])
    await store.commit([request("order-1")])
    rows = await store.database.fetch(
        "SELECT position, version, occurred_us, recorded_us, event_id, checksum FROM event WHERE stream = 1"
        " ORDER BY version"
    )
    before = START
    for position, version, occurred_us, recorded_us, event_id, found in rows:
        assert isinstance(position, int)
        assert isinstance(version, int)
        assert isinstance(occurred_us, int)
        assert isinstance(recorded_us, int)
        assert isinstance(event_id, bytes)
        before = checksum(
            before,
            digest(SALT, b'{"total":12}', b"{}"),
            position=position,
            version=version,
            schema_version=1,
            occurred_us=occurred_us,
            recorded_us=recorded_us,
            event_id=event_id,
            tail=envelope_tail("acme", "order-1", "order.placed"),
        )
        assert found == before
    assert await store.database.fetch("SELECT checksum FROM stream WHERE pk = 1") == [(before,)]


async def test_a_wrong_version_holds_up_nobody_else(store: PostgresStore) -> None:
    await one(store, request("order-1"))
    outcomes = await store.commit(
        [request("order-1", expected=5), request("order-1", expected=1), request("order-9", expected=3)]
    )
    first, second, third = outcomes
    assert isinstance(first, WrongVersion)
    assert isinstance(third, WrongVersion)
    assert (first.actual, third.actual) == (1, 0)
    assert isinstance(second, Appended)
    assert second.position == 2
    assert await store.database.fetch("SELECT count(*) FROM event") == [(2,)]


async def test_a_repeat_is_answered_as_the_first_time_and_appends_nothing(store: PostgresStore) -> None:
    order = request("order-1", 2, expected=NO_STREAM)
    first = await one(store, order)
    assert isinstance(first, Appended)
    outcomes = await store.commit([request("order-2"), order, request("order-3")])
    other, repeat, last = accepted(outcomes)
    assert repeat.is_repeat
    assert (repeat.first_version, repeat.version, repeat.position) == (1, 2, 2)
    assert repeat.event_ids == first.event_ids
    assert (other.position, last.position) == (3, 4)
    assert await store.database.fetch("SELECT count(*) FROM event") == [(4,)]


async def test_a_repeat_whose_version_any_will_do_is_seen_by_its_ids(store: PostgresStore) -> None:
    order = request("order-1")
    await one(store, order)
    fresh = request("order-2")
    (again,) = accepted([await one(store, order)])
    assert again.is_repeat
    (twice, once) = accepted(await store.commit([fresh, fresh]))
    assert (twice.is_repeat, once.is_repeat, twice.position, once.position) == (False, True, 2, 2)


async def test_an_id_that_belongs_to_another_event_is_a_conflict(store: PostgresStore) -> None:
    order = request("order-1", 2)
    await one(store, order)
    elsewhere = Request(StreamId("acme", "order-2"), order.events, None)
    partly = Request(order.stream, [*order.events[:1], *request("order-1").events], None)
    outcomes = await store.commit([elsewhere, partly, request("order-3")])
    assert isinstance(outcomes[0], IdTaken)
    assert isinstance(outcomes[1], IdTaken)
    assert id_text(order.events[0].event_id) in str(refused(outcomes[0]))
    assert isinstance(outcomes[2], Appended)


async def test_a_repeat_in_the_batch_that_makes_another_version_wrong_is_seen_through(store: PostgresStore) -> None:
    old, new = request("order-1"), request("order-1")
    await one(store, old)
    # Taken for new, the second `new` would bring the stream to version 3, at which `old` wants it now.
    again = Request(old.stream, old.events, 3)
    outcomes = await store.commit([request("order-2", expected=9), new, new, again])
    assert isinstance(outcomes[0], WrongVersion)
    assert [(o.is_repeat, o.position) for o in accepted(outcomes[1:])] == [(False, 2), (True, 2), (True, 1)]


async def test_repeats_of_truncated_events_are_known_by_what_stays_of_them(store: PostgresStore) -> None:
    order = request("order-1")
    await store.commit([order, request("order-1")])
    await store.database.write(
        Statement(
            "INSERT INTO truncated SELECT position, stream, version, type, schema_version, event_id, occurred_us,"
            " recorded_us, $1, checksum FROM event WHERE position = 1",
            ((b"digest",),),
        ),
        Statement("DELETE FROM event WHERE position = 1", must_change=1),
    )
    (repeat,) = accepted([await one(store, order)])
    assert repeat.is_repeat
    assert repeat.position == 1


async def test_two_processes_take_turns(store: PostgresStore, postgres_url: str) -> None:
    async with open_postgres(postgres_url, clock=SystemClock()) as other:
        for turn in range(6):
            writer = (store, other)[turn % 2]
            (done,) = accepted([await one(writer, request("order-1", expected=turn))])
            assert (done.version, done.position) == (turn + 1, turn + 1)
        stale = await one(store, request("order-1", expected=5))
        assert isinstance(stale, WrongVersion)
        assert stale.actual == 6


async def test_a_name_of_a_transaction_that_failed_is_not_remembered(postgres_url: str) -> None:
    async with (
        open_line(postgres_url) as line,
        open_postgres(line.url, clock=SystemClock()) as store,
        open_postgres(postgres_url, clock=SystemClock()) as other,
    ):
        await one(store, request("order-1"))
        line.lose = "order"
        line_down = request("invoice-1", tenant="new", type="invoice.sent")
        await one(other, request("order-1", tenant="third", type="order.paid"))
        (done,) = accepted([await one(store, line_down)])
        rows = await store.database.fetch(
            "SELECT tenant.name, event_type.name FROM event JOIN tenant ON tenant.pk = tenant"
            " JOIN event_type ON event_type.pk = type WHERE position = $1",
            done.position,
        )
        assert [tuple(row) for row in rows] == [("new", "invoice.sent")]


@pytest.mark.parametrize("lost", ["order", "answer"])
async def test_a_connection_that_breaks_during_commit_is_found_out_about(postgres_url: str, lost: str) -> None:
    async with open_line(postgres_url) as line, open_postgres(line.url, clock=SystemClock()) as store:
        await one(store, request("order-1"))
        line.lose = "order" if lost == "order" else "answer"
        outcomes = await store.commit([request("order-1", 3, expected=1), request("order-1", expected=7)])
        done, conflict = outcomes
        assert isinstance(done, Appended)
        assert (done.first_version, done.version, done.position, done.is_repeat) == (2, 4, 4, False)
        assert isinstance(conflict, WrongVersion)
        assert await store.database.fetch("SELECT count(*), max(position) FROM event") == [(4, 4)]
        assert line.lose is None


async def test_a_server_that_stays_away_after_a_broken_commit_leaves_the_outcome_unknown(postgres_url: str) -> None:
    async with (
        open_line(postgres_url) as line,
        open_postgres(line.url, clock=SystemClock(), away_seconds=0.3) as store,
    ):
        order = request("order-1")
        await one(store, request("order-1"))
        line.lose = "answer"
        line.is_down = True
        with pytest.raises(OutcomeUnknown, match="same ids"):
            await store.commit([order])
        line.is_down = False
        (repeat,) = accepted([await one(store, order)])
        assert (repeat.is_repeat, repeat.position) == (True, 2)


async def test_commits_are_synchronous_even_where_the_database_says_otherwise(
    postgres: Cluster, postgres_url: str
) -> None:
    database = urlsplit(postgres_url).path.lstrip("/")
    postgres.execute(f"ALTER DATABASE {database} SET synchronous_commit = off")
    postgres.execute("CREATE TABLE public.seen (mode TEXT)", database)
    async with open_postgres(postgres_url, clock=SystemClock()) as store:
        await store.database.write(
            Statement(
                "CREATE FUNCTION public.look() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN"
                " INSERT INTO public.seen VALUES (current_setting('synchronous_commit')); RETURN NULL; END $f$"
            ),
            Statement("CREATE TRIGGER look AFTER INSERT ON event EXECUTE FUNCTION public.look()"),
        )
        await one(store, request("order-1"))
        rows = await store.database.fetch("SELECT mode FROM public.seen")
    assert [tuple(row) for row in rows] == [("on",)]
