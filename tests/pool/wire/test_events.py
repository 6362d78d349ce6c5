"""Server-sent events: the same events however the bytes are cut."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.wire.events import Event, EventIsTooBig, EventParser

TEXT = (
    b"\xef\xbb\xbf: hello\r\n\r\ndata: one\r\n\r\nevent: ping\ndata\ndata:  two\nid: 7\n\n"
    b"retry: 50\rdata: three\rid\r\rdata: \xf0\x9f\x98\x80\n\ndata: never finished"
)
EVENTS = [
    Event(b"one"),
    Event(b"\n two", kind="ping", id="7"),
    Event(b"three", id=""),
    Event("\U0001f600".encode(), id=""),
]


@given(st.lists(st.integers(0, len(TEXT))))
def test_events_are_the_same_however_the_bytes_are_cut(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(TEXT)]
    parser = EventParser()
    found = [event for a, b in pairwise(places) for event in parser.feed(TEXT[a:b])]
    assert found == EVENTS
    assert parser.retry_seconds == 0.05


def test_one_byte_at_a_time_gives_the_same_events() -> None:
    parser = EventParser()
    assert [event for byte in TEXT for event in parser.feed(bytes([byte]))] == EVENTS


@pytest.mark.parametrize("text", [b"x" * 101, b"data: " + b"x" * 101, b"data: xxxxxxxxx\n" * 20])
def test_an_event_over_the_limit_is_refused(text: bytes) -> None:
    with pytest.raises(EventIsTooBig):
        EventParser(max_bytes=100).feed(text)


def test_many_events_together_may_be_larger_than_the_limit() -> None:
    parser = EventParser(max_bytes=100)
    assert len(parser.feed(b"data: " + b"x" * 80 + b"\n\n") * 50) == 50


def test_a_large_line_that_comes_byte_by_byte_is_not_looked_at_again_and_again() -> None:
    parser = EventParser()
    parser.feed(b"data: " + b"x" * 4_000_000)
    started = time.perf_counter()
    for _ in range(20_000):
        parser.feed(b"x")
    assert len(parser.feed(b"\n\n")[0].data) == 4_020_000
    assert time.perf_counter() - started < 2  # it was a minute
