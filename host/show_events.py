"""How events look: a head line and their data to a person, one line each in a pipe. Whatever they hold is escaped."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, cast

from rich.console import Console
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from eventlog.event import Event, StreamInfo
from host.escape import visible
from host.moments import local, utc

__all__ = ["INDENT", "document", "event", "events", "in_json", "in_short", "json_line", "line", "stream"]

LONGEST_VALUE: Final = 60
LONGEST_DATA: Final = 300
"""Characters of an event's data where it is not asked for in full."""
INDENT: Final = 4


def events(console: Console, found: Iterable[Event], *, full: bool = False, with_tenant: bool = False) -> None:
    for each in found:
        event(console, each, full=full, with_tenant=with_tenant)


def event(console: Console, told: Event, *, full: bool = False, with_tenant: bool = False) -> None:
    name = f"{told.tenant}/{told.stream.name}" if with_tenant else told.stream.name
    if not console.is_terminal:
        data = "(erased)" if told.is_erased else json_line(told.data)
        words = (str(told.position), utc(told.recorded_at), told.type, name, str(told.version), data)
        console.print(Text("  ".join(map(visible, words))), soft_wrap=True)
        return
    number, at, version = f"@{told.position}", local(told.recorded_at), f"v{told.version}"
    what = (visible(told.type), "bold cyan")
    whose = Text(visible(name), overflow="fold")
    first = Text.assemble((number, "dim"), "  ", (at, "dim"), "  ", what, "  ", whose, "  ", (version, "dim"))
    if first.cell_len <= console.width:
        console.print(first)
    else:
        console.print(Text.assemble((number, "dim"), "  ", what, "  ", (version, "dim")), overflow="fold")
        for each in (whose, Text(at, "dim", overflow="fold")):
            console.print(Padding(each, (0, 0, 0, INDENT), expand=False))
    if full:
        _in_full(console, told)
    elif told.is_erased:
        console.print(Padding(Text("(erased)", style="italic yellow"), (0, 0, 0, INDENT), expand=False))
    elif told.data:
        console.print(Padding(Text(in_short(told.data), overflow="fold"), (0, 0, 0, INDENT), expand=False))


def _in_full(console: Console, told: Event) -> None:
    """Everything that the log knows of the event."""
    rows = [("id", told.event_id), ("recorded", _both(told.recorded_at))]
    if told.occurred_us != told.recorded_us:
        rows.append(("occurred", _both(told.occurred_at)))
    meta = told.metadata
    rows += [
        (name.replace("_", " "), value)
        for name in ("correlation_id", "causation_id", "principal", "source", "traceparent")
        if (value := getattr(meta, name)) is not None
    ]
    if meta.tags:
        rows.append(("tags", ", ".join(meta.tags)))
    rows += [("schema", f"version {told.schema_version}"), ("checksum", told.checksum.hex())]
    grid = Table.grid(Column(style="dim"), Column(overflow="fold"), padding=(0, 2, 0, 0))
    for name, value in rows:
        grid.add_row(name, Text(visible(value)))
    console.print(Padding(grid, (0, 0, 0, INDENT), expand=False))
    if told.is_erased:
        console.print(Padding(Text("(erased)", style="italic yellow"), (0, 0, 0, INDENT), expand=False))
    else:
        document(console, dict(told.data), indent=INDENT)


def _both(at: datetime) -> str:
    """Local and UTC, where these are two."""
    return local(at) if not at.astimezone().utcoffset() else f"{local(at)}  {utc(at)}"


def stream(console: Console, info: StreamInfo) -> None:
    """A stream's head line."""
    kept = "" if info.first_version == 1 else f", kept from version {info.first_version} on"
    when = local if console.is_terminal else utc
    said = f"  {info.version:,} events{kept}; first {when(info.created_at)}, last {when(info.updated_at)}"
    console.print(Text.assemble((visible(info.stream.name), "bold"), (said, "dim")), overflow="fold")


def document(console: Console, value: object, *, indent: int = 0) -> None:
    """JSON for reading: folded under its indent on a terminal, as it is in a pipe."""
    text = in_json(value)
    if console.is_terminal:
        console.print(Padding(Text(text, overflow="fold"), (0, 0, 0, indent), expand=False))
    else:
        console.print(Text(text), soft_wrap=True)


def line(console: Console, head: str, value: object) -> None:
    """A value behind its head: in one line where there is no window, cut where there is one."""
    text = json_line(value)
    if not console.is_terminal:
        console.print(Text(f"{head}{text}"), soft_wrap=True)
        return
    text = text if len(text) <= LONGEST_DATA else f"{text[: LONGEST_DATA - 2]} …"
    grid = Table.grid(Column(style="dim", no_wrap=True), Column(overflow="fold"))
    grid.add_row(head, Text(text))
    console.print(grid)


def in_json(value: object) -> str:
    return visible(json.dumps(value, ensure_ascii=False, indent=2))


def json_line(value: object) -> str:
    """JSON in one line, however long."""
    data = dict(cast("Mapping[str, Any]", value)) if isinstance(value, Mapping) else value
    return visible(json.dumps(data, ensure_ascii=False, separators=(",", ":")))


def in_short(data: Mapping[str, Any]) -> str:
    """`name=value` for each field; lists and objects by their size, long texts cut."""
    text = "  ".join(f"{visible(name)}={_brief(value)}" for name, value in data.items())
    return text if len(text) <= LONGEST_DATA else f"{text[: LONGEST_DATA - 2]} …"


def _brief(value: Any) -> str:
    match value:
        case str():
            cut = value if len(value) <= LONGEST_VALUE else f"{value[:LONGEST_VALUE]}…"
            return visible(json.dumps(cut, ensure_ascii=False))
        case list() if value:
            return f"[{_count(cast('Sequence[object]', value), 'item')}]"
        case dict() if value:
            names = cast("Mapping[str, object]", value)
            short = json_line(names)
            return short if len(short) <= LONGEST_VALUE else f"{{{_count(names, 'field')}}}"
        case _:
            return json_line(value)


def _count(of: Sequence[object] | Mapping[str, object], what: str) -> str:
    return f"{len(of)} {what}" if len(of) == 1 else f"{len(of)} {what}s"
