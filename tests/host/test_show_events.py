"""How events look in a window and in a pipe."""

import io
import json
from typing import Any

import pytest
from rich.console import Console

from eventlog.event import Event, StreamId
from host import show_events

AT = 1_767_225_600_123_456
"""2026-01-01T00:00:00.123456Z."""


def event(
    data: dict[str, Any] | None = None,
    *,
    position: int = 7,
    stream: str = "order-1",
    tenant: str = "default",
    is_erased: bool = False,
    metadata: bytes = b'{"correlation_id":"c1","principal":"local","tags":["a","b"]}',
) -> Event:
    raw = None if is_erased else json.dumps(data or {}).encode()
    return Event(
        position,
        StreamId(tenant, stream),
        3,
        "order.placed",
        1,
        "01900000-0000-7000-8000-000000000001",
        raw,
        None if is_erased else metadata,
        AT - 1_000_000,
        AT,
        b"\xab" * 32,
    )


def shown(told: Event, *, width: int = 100, is_terminal: bool = True, full: bool = False, tenant: bool = False) -> str:
    file = io.StringIO()
    console = Console(
        file=file,
        width=width,
        force_terminal=is_terminal,
        color_system=None,
        highlight=False,
        markup=False,
        emoji=False,
    )
    show_events.event(console, told, full=full, with_tenant=tenant)
    return file.getvalue()


NASTY = {
    "name": "\x1b]0;owned\x07\x1b[2Jred\x9b31m",
    "bidi": "safe\u202etxt.exe",
    "markup": "[bold red]x[/] :smile: [link=https://a.b]c[/link]",
    "\x1b[1mkey": ["\r\x08", {"deep\u2066": "\x7f"}],
}


@pytest.mark.parametrize("is_terminal", [True, False])
@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("width", [20, 60, 100])
def test_nothing_of_an_event_steers_the_terminal(is_terminal: bool, full: bool, width: int) -> None:
    out = shown(event(NASTY), width=width, is_terminal=is_terminal, full=full)
    assert [char for char in out if not char.isprintable() and char != "\n"] == []
    if width == 100:
        assert "[bold red]x[/] :smile: [link=https://a.b]c[/link]" in " ".join(out.split())


def test_in_a_pipe_an_event_is_one_line_with_all_of_its_data() -> None:
    data = {"text": "x" * 500, "lines": "a\nb"}
    out = shown(event(data), is_terminal=False)
    assert out.count("\n") == 1
    position, at, type, stream, version, told = out.rstrip("\n").split("  ")
    assert (position, at, type, stream, version) == ("7", "2026-01-01T00:00:00.123456Z", "order.placed", "order-1", "3")
    assert json.loads(told) == data


def test_in_a_window_long_data_is_cut_and_shown_whole_when_asked_for() -> None:
    data = {"text": "word " * 100, "items": [1, 2, 3], "nested": {"a": "b" * 100, "c": 1}}
    short = shown(event(data))
    assert "items=[3 items]" in short
    assert "nested={2 fields}" in " ".join(short.split())
    assert len(short) < 600
    whole = shown(event(data), full=True)
    assert whole.count("word") == 100
    assert "correlation id c1" in " ".join(whole.split())
    assert "a, b" in whole
    assert "occurred" in whole
    assert "ab" * 32 in whole


@pytest.mark.parametrize("width", [30, 60, 80, 100])
def test_no_line_is_wider_than_the_window(width: int) -> None:
    told = event({"text": "word " * 50, "long": "x" * 300}, stream="order-" + "1" * 150, position=123_456_789)
    for full in (False, True):
        assert max(len(line) for line in shown(told, width=width, full=full).splitlines()) <= width


def test_whose_it_is_is_told_where_several_tenants_are_shown() -> None:
    assert "acme/order-1" in shown(event(tenant="acme"), tenant=True)
    assert "acme" not in shown(event(tenant="acme"))


def test_an_erased_event_says_so() -> None:
    assert "(erased)" in shown(event(is_erased=True))
    assert "(erased)" in shown(event(is_erased=True), is_terminal=False)
    assert "(erased)" in shown(event(is_erased=True), full=True)
