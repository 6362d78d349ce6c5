"""Which appends are taken, and the rows that come of it: no database needed."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from eventlog.chain import START, checksum, envelope_tail
from eventlog.conflict import WrongVersion
from eventlog.decide import EVENT_COLUMNS, End, Known, StreamRow, place, write_down
from eventlog.event import Appended, StreamId
from eventlog.store import Admitted, Request

A, B = StreamId("acme", "order-a"), StreamId("other", "order-b")


def request(stream: StreamId, ids: Sequence[int], expected: int | None = None) -> Request:
    return Request(
        stream,
        [
            Admitted(
                bytes([id] * 16), f"order.n{id % 2}", id, b"{}", b"[]", bytes(16), bytes([id] * 32), id, "run", None
            )
            for id in ids
        ],
        expected,
    )


HEAD = StreamRow(7, 3, "order-a", 4, 2, 9, 100, 200, b"c" * 32)


def test_versions_and_positions_go_on_from_where_they_are() -> None:
    placed = place([request(A, [1, 2]), request(B, [3]), request(A, [4])], position=9, streams={A: HEAD})
    assert [(o.first_version, o.version, o.position) for o in placed.outcomes if isinstance(o, Appended)] == [
        (5, 6, 11),
        (1, 1, 12),
        (7, 7, 13),
    ]
    assert placed.doubtful == []


def test_a_wrong_version_is_doubtful_until_its_ids_were_looked_up() -> None:
    late = request(A, [1], expected=3)
    placed = place([late], position=9, streams={A: HEAD})
    assert placed.doubtful == [late]
    placed = place([late], position=9, streams={A: HEAD}, known={})
    assert placed.doubtful == []
    assert isinstance(placed.outcomes[0], WrongVersion)
    placed = place([late], position=9, streams={A: HEAD}, known={bytes([1] * 16): Known(A, 4, 9)})
    assert placed.outcomes == [Appended(A, 4, 4, 9, (bytes([1] * 16),), is_repeat=True)]
    assert placed.accepted == []


def test_the_rows_continue_the_chain_of_their_stream_and_the_log() -> None:
    placed = place([request(A, [1, 2]), request(B, [3])], position=9, streams={A: HEAD})
    written = write_down(
        placed.accepted,
        end=End(9, 1_000, 7),
        now_us=900,  # the clock went back
        streams={A: HEAD},
        tenants={"acme": 3, "other": 5},
        types={"order.n0": 1, "order.n1": 2},
    )
    rows = [dict(zip(EVENT_COLUMNS, row, strict=True)) for row in written.events]
    before = {7: HEAD.checksum, 8: START}
    for number, row in enumerate(rows, 1):
        stream = A if row["stream"] == 7 else B
        expected = checksum(
            before[7 if stream is A else 8],
            bytes([number] * 32),
            position=9 + number,
            version=5 + number - 1 if stream is A else 1,
            schema_version=number,
            occurred_us=number,
            recorded_us=1_000,
            event_id=bytes([number] * 16),
            tail=envelope_tail(stream.tenant, stream.name, f"order.n{number % 2}"),
        )
        before[7 if stream is A else 8] = expected
        assert row["checksum"] == expected
    assert [(row["position"], row["tenant"], row["type"]) for row in rows] == [(10, 3, 2), (11, 3, 1), (12, 5, 2)]
    assert written.created == [StreamRow(8, 5, "order-b", 1, 1, 12, 1_000, 1_000, before[8])]
    assert written.changed == [StreamRow(7, 3, "order-a", 6, 2, 11, 100, 1_000, before[7])]
    assert written.end == End(12, 1_000, 8)
    assert written.heads == {A: written.changed[0], B: written.created[0]}


@given(st.lists(st.tuples(st.sampled_from([A, B]), st.integers(1, 4), st.none() | st.integers(0, 9)), max_size=12))
def test_whatever_is_asked_positions_have_no_gap_and_versions_follow_each_other(
    asked: list[tuple[StreamId, int, int | None]],
) -> None:
    requests = [
        request(stream, range(4 * number, 4 * number + count), expected)
        for number, (stream, count, expected) in enumerate(asked)
    ]
    placed = place(requests, position=9, streams={A: HEAD}, known={})
    written = write_down(
        placed.accepted,
        end=End(9, 5, 7),
        now_us=6,
        streams={A: HEAD},
        tenants={"acme": 3, "other": 5},
        types={"order.n0": 1, "order.n1": 2},
    )
    assert [row[0] for row in written.events] == list(range(10, 10 + len(written.events)))
    assert [row[2] for row in written.events if row[1] == 7] == list(
        range(5, 5 + sum(row[1] == 7 for row in written.events))
    )
    assert len(placed.outcomes) == len(requests)
    assert sum(isinstance(each, Appended) for each in placed.outcomes) == len(placed.accepted)
    assert written.end.position == 9 + len(written.events)
