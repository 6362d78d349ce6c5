"""`stoa events verify`, `truncate`, `erase`, `subjects`, `export`, `import`: what keeps the log, and what leaves it."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import cast

import anyio
from pydantic import JsonValue
from rich.console import Console
from rich.text import Text

from eventlog.aggregates.verifying import SnapshotReport, verify_snapshots
from eventlog.backup.exporting import Exported, export_events
from eventlog.backup.importing import Imported, import_events
from eventlog.event import Event, StreamId, StreamInfo
from eventlog.keeping.erase import Erased
from eventlog.keeping.erase import erase as erase_events
from eventlog.keeping.truncate import Truncated, count_truncated, truncate_before
from eventlog.keeping.verify import Problem, Report
from eventlog.keeping.verify import verify as verify_log
from eventlog.names import check_tenant
from eventlog.subjects.erase import Forgotten, erase_subject
from eventlog.subjects.export import export_subject
from host import show_events
from host.commands.events import Which
from host.consent import agree
from host.escape import visible
from host.log import open_whole
from host.output import Output
from host.progress import progress
from host.session import OK, TOOL_FAILED
from stoa.errors import BadInput
from stoa.settings import Settings

__all__ = ["erase", "erase_person", "export_person", "export_to", "import_from", "truncate", "verify"]

MOST_PROBLEMS_SHOWN = 20


def verify(settings: Settings, output: Output, *, tenant: str | None, after: int) -> int:
    """Exit code 1 when the log is not as it was written."""
    if tenant is not None:
        check_tenant(tenant)

    async def ask() -> tuple[Report, SnapshotReport]:
        async with open_whole(settings) as (log, model):
            with progress(output, "verifying events") as on_events:
                report = await verify_log(log, tenant=tenant, after=after, on_progress=on_events)
            with progress(output, "verifying snapshots") as on_snapshots:
                kept = await verify_snapshots(log, model.by_type(), tenant=tenant, on_progress=on_snapshots)
        return report, kept

    report, kept = anyio.run(ask)
    is_sound = report.is_sound and kept.is_clean
    told = cast("dict[str, JsonValue]", {**asdict(report), "snapshots": asdict(kept), "is_sound": is_sound})
    output.document(told, lambda console: _show_report(console, report, kept))
    return OK if is_sound else TOOL_FAILED


def _show_report(console: Console, report: Report, kept: SnapshotReport) -> None:
    wrong = [Problem(None, each.stream.name, each.version, f"snapshot: {each.reason}") for each in kept.problems]
    problems = [*report.problems, *wrong]
    for problem in problems[:MOST_PROBLEMS_SHOWN]:
        console.print(_problem(problem), soft_wrap=True)
    if len(problems) > MOST_PROBLEMS_SHOWN or report.is_cut:
        more = "there are more than could be listed" if report.is_cut else "--json lists all"
        console.print(Text(f"  … {len(problems):,} in all; {more}."))
    beside = (("erased", report.erased), ("truncated", report.truncated))
    gone = [f"{number:,} {what}" for what, number in beside if number]
    seen = f"{_count(report.events, 'event')} of {_count(report.streams, 'stream')}"
    seen += f", beside {' and '.join(gone)}" if gone else ""
    seen += f", up to position {report.position:,}"
    if kept.streams:
        others = (
            ("wrong", kept.wrong),
            ("failed", kept.failed),
            ("unproven", kept.unproven),
            ("outdated", kept.outdated),
        )
        told = [f"{kept.good:,} good", *(f"{number:,} {what}" for what, number in others if number)]
        seen += f"; snapshots: {', '.join(told)}"
    verdict = ("sound  ", "bold green") if not problems else ("not sound  ", "bold red")
    found = f"{_count(len(problems), 'problem')} in " if problems else ""
    console.print(Text.assemble(verdict, f"{found}{seen}."), soft_wrap=True)


def _problem(told: Problem) -> Text:
    where = [f"@{told.position}"] if told.position is not None else []
    where += [visible(told.stream)] if told.stream is not None else []
    where += [f"v{told.version}"] if told.version is not None else []
    return Text.assemble(("  ".join(where) or "log", "bold"), "  ", (visible(told.what), "red"))


def truncate(settings: Settings, output: Output, stream: StreamId, *, before: int, yes: bool) -> int:
    _agree_to(settings, output, stream, f"Events before version {before:,}", "removed", yes=yes)

    async def ask() -> Truncated:
        async with open_whole(settings) as (log, model):
            aggregate = model.by_type().of(stream)
            return await truncate_before(log, stream, before, aggregate=aggregate, on_progress=on_progress)

    with progress(output, "truncating") as on_progress:
        done = anyio.run(ask)
    said = f"{_count(done.events, 'event')} removed; {visible(stream.name)} begins with version {done.first_version:,}."
    output.document(
        {"stream": stream.name, "tenant": stream.tenant, "events": done.events, "first_version": done.first_version},
        lambda console: console.print(Text(said), soft_wrap=True),
    )
    return OK


def erase(settings: Settings, output: Output, stream: StreamId, *, versions: Sequence[int], yes: bool) -> int:
    which = f"version {', '.join(map(str, versions))}" if versions else "all events"
    _agree_to(settings, output, stream, f"Data and metadata of {which}", "erased", yes=yes)

    async def ask() -> Erased:
        async with open_whole(settings) as (log, _):
            return await erase_events(log, stream, versions or None)

    done = anyio.run(ask)
    output.document(
        {
            "stream": stream.name,
            "tenant": stream.tenant,
            "events": done.events,
            "already": done.already,
            "snapshots": done.snapshots,
        },
        lambda console: console.print(Text(_erased(done)), soft_wrap=True),
    )
    return OK


def _erased(done: Erased) -> str:
    already = f", {done.already:,} were already" if done.already else ""
    snapshots = f", and {_count(done.snapshots, 'snapshot')}" if done.snapshots else ""
    return f"{_count(done.events, 'event')} of {visible(done.stream.name)} erased{already}{snapshots}."


def _agree_to(settings: Settings, output: Output, stream: StreamId, what: str, done: str, *, yes: bool) -> None:
    """Nobody is asked about a stream that there is not."""

    async def ask() -> StreamInfo:
        async with open_whole(settings) as (log, _):
            return await log.stream_info(stream)

    if not yes:
        info = anyio.run(ask)
        name = f"{visible(stream.name)} (version {info.version:,}, tenant {visible(stream.tenant)})"
        agree(output, f"{what} of {name} will be {done}.", yes=yes)


def export_person(settings: Settings, output: Output, name: str, tenant: str, *, full: bool) -> int:
    check_tenant(tenant)

    async def ask() -> Sequence[Event]:
        async with open_whole(settings) as (log, _):
            return [event async for page in export_subject(log, tenant, name) for event in page]

    with output.working("looking for events"):
        found = anyio.run(ask)
    output.document(
        {"subject": name, "tenant": tenant, "events": [each.as_json() for each in found]},
        lambda console: show_events.events(console, found, full=full),
    )
    if not found:
        output.note("The log holds no readable event about that person.")
    return OK


def erase_person(settings: Settings, output: Output, name: str, tenant: str, *, yes: bool) -> int:
    check_tenant(tenant)
    agree(output, f"All that the log holds about {visible(name)} will be erased.", yes=yes)

    async def ask() -> Forgotten:
        async with open_whole(settings) as (log, _):
            return await erase_subject(log, tenant, name, on_progress=on_progress)

    with progress(output, "erasing") as on_progress:
        done = anyio.run(ask)
    said = f"{_count(done.events, 'event')} of {_count(done.streams, 'stream')} erased"
    said += ", and the key." if done.had_key else "; there was no key: nobody of that name is known, or not any more."
    output.document(
        {"subject": name, "tenant": tenant, **_json(done)}, lambda console: console.print(Text(said), soft_wrap=True)
    )
    return OK


def _check_name(file: Path) -> None:
    if str(file) == "-":
        raise BadInput("A stream cannot be gone on with or checked before it is used.", hint="Name a file.")


def export_to(settings: Settings, output: Output, file: Path, which: Which) -> int:
    _check_name(file)
    wanted = which.filter

    async def ask() -> tuple[Exported, int]:
        async with open_whole(settings) as (log, _):
            done = await export_events(log, file, filter=wanted, on_progress=on_progress)
            lacking = await count_truncated(log, tenant=wanted.tenant, prefix=wanted.stream_prefix or "")
            return done, lacking

    with progress(output, "exporting") as on_progress:
        done, lacking = anyio.run(ask)
    if lacking:
        output.note(
            f"{_count(lacking, 'stream')} of the log had been truncated: the file has the events that are left, and not"
            " what their snapshots stand for. Back the database itself up to keep that."
        )
    before = f", {done.resumed_at:,} of them were there already" if done.resumed_at else ""
    output.document(
        {"file": str(file), **_json(done)},
        lambda console: console.print(
            Text.assemble(
                f"{_count(done.events, 'event')} in {file}{before}, up to position {done.position:,}.",
                (f"\nchecksum {done.checksum}", "dim"),
            ),
            soft_wrap=True,
        ),
    )
    return OK


def import_from(settings: Settings, output: Output, file: Path, tenant: str | None) -> int:
    _check_name(file)
    if tenant is not None:
        check_tenant(tenant)

    async def ask() -> Imported:
        async with open_whole(settings) as (log, _):
            return await import_events(log, file, tenant=tenant, on_progress=on_progress)

    with progress(output, "importing") as on_progress:
        done = anyio.run(ask)
    already = f", {done.already:,} were there already" if done.already else ""
    output.document(
        {"file": str(file), **_json(done)},
        lambda console: console.print(
            Text(f"{_count(done.events, 'event')} of {_count(done.streams, 'stream')} imported{already}."),
            soft_wrap=True,
        ),
    )
    return OK


def _json(told: Forgotten | Exported | Imported) -> dict[str, JsonValue]:
    return cast("dict[str, JsonValue]", {**asdict(told)})


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
