"""Whatever single value or row is changed, `verify` finds it: the table, row, column and change are picked at random.

Not among them: the log's epoch (nothing in the log says what it was; checkpoints do), and what other rooms keep.
"""

from collections.abc import Iterator

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from eventlog.database import Statement, Value
from eventlog.keeping.verify import verify
from eventlog.log import EventLog
from eventlog.open import open_memory
from stoa.errors import Conflict
from tests.eventlog.keeping.scenes import everything, rows

COLUMNS = {
    "event": (
        "position stream version tenant type schema_version event_id occurred_us recorded_us correlation_id subject"
        " salt data metadata digest checksum"
    ),
    "truncated": "position stream version type schema_version event_id occurred_us recorded_us digest checksum",
    "stream": "pk tenant name version first_version last_position created_us updated_us checksum",
    "log": "position recorded_us streams",
    "tenant": "pk name",
    "event_type": "pk name",
}


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture(scope="module")
def log(portal: BlockingPortal) -> Iterator[EventLog]:
    with portal.wrap_async_context_manager(open_memory()) as log:
        portal.call(everything, log)
        yield log


def change_of(data: st.DataObject, value: Value) -> Value:
    """Another value in its place."""
    match value:
        case bytes() if value:
            at = data.draw(st.integers(0, len(value) - 1), label="byte")
            bit = data.draw(st.integers(0, 7), label="bit")
            flipped = value[:at] + bytes([value[at] ^ 1 << bit]) + value[at + 1 :]
            return data.draw(st.sampled_from([flipped, value[:-1], value + b"\0", b"", None]))
        case int():
            return data.draw(st.one_of(st.sampled_from([value + 1, value - 1, -value]), st.integers(-(2**62), 2**62)))
        case str():
            return data.draw(st.sampled_from([value + "x", value[:-1], value.upper(), "", None]))
        case _:
            return data.draw(st.sampled_from(["c-1", bytes(16), b"{}", b"x"]))


@settings(max_examples=400)
@given(data=st.data())
def test_any_changed_value_is_found(portal: BlockingPortal, log: EventLog, data: st.DataObject) -> None:
    table = data.draw(st.sampled_from(sorted(COLUMNS)), label="table")
    found = portal.call(rows, log, f"SELECT rowid, {', '.join(COLUMNS[table].split())} FROM {table} ORDER BY rowid")
    row = data.draw(st.sampled_from(found), label="row")
    at = data.draw(st.integers(1, len(row) - 1), label="column")
    column, value = COLUMNS[table].split()[at - 1], row[at]
    changed = change_of(data, value)
    assume(changed != value)
    was = portal.call(rows, log, f"SELECT * FROM {table}")

    def put(value: Value, rowid: Value) -> None:
        statement = Statement(f"UPDATE {table} SET {column} = $1 WHERE rowid = $2", [(value, rowid)], must_change=1)
        portal.call(log.database.write, statement)

    try:
        put(changed, row[0])
    except Conflict:
        assume(False)  # the table's own rules refuse it
    # A row is called by its key: one that has another key is found by that.
    rowid = changed if column in {"position", "pk"} and table != "log" else row[0]
    try:
        assert not portal.call(verify, log).is_sound
    finally:
        put(value, rowid)
    assert portal.call(rows, log, f"SELECT * FROM {table}") == was
    assert portal.call(verify, log).is_sound


@settings(max_examples=60)
@given(data=st.data())
def test_any_missing_row_is_found(portal: BlockingPortal, log: EventLog, data: st.DataObject) -> None:
    table = data.draw(st.sampled_from(["event", "truncated", "stream", "event_type", "log"]), label="table")
    found = portal.call(rows, log, f"SELECT rowid, * FROM {table} ORDER BY rowid")
    row = data.draw(st.sampled_from(found), label="row")
    try:
        portal.call(log.database.write, Statement(f"DELETE FROM {table} WHERE rowid = $1", [(row[0],)], must_change=1))
    except Conflict:
        assume(False)  # others refer to it
    try:
        assert not portal.call(verify, log).is_sound
    finally:
        marks = ", ".join(f"${number}" for number in range(1, len(row)))
        portal.call(log.database.write, Statement(f"INSERT INTO {table} VALUES ({marks})", [row[1:]]))
    assert portal.call(verify, log).is_sound
