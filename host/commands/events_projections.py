"""`stoa events projections` and `dead-letters`: how far the read models are, and what could not be applied."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeVar

import anyio
from rich.console import Console
from rich.text import Text

from eventlog.bus.open import open_relays
from eventlog.projections.builtin import BUILTIN
from eventlog.projections.projector import Projector
from eventlog.projections.status import DeadLetter, Purged, Retried, Status
from host import show, show_events
from host.consent import agree
from host.escape import visible
from host.log import open_whole
from host.moments import local, utc
from host.output import Output
from host.progress import progress
from host.session import OK, TOOL_FAILED
from stoa.errors import NotFound
from stoa.settings import Settings

__all__ = [
    "list_dead_letters",
    "list_projections",
    "pause_projection",
    "purge_dead_letters",
    "rebuild_projection",
    "retry_dead_letter",
]

_PAGE = 200
_MOST = 1_000
"""Dead letters that are listed."""
_POLL_SECONDS = 0.2
_STYLES = {"live": "green", "halted": "bold red", "paused": "yellow", "rebuilding": "cyan", "catching_up": "cyan"}

T = TypeVar("T")


def list_projections(settings: Settings, output: Output, name: str | None) -> int:
    async def ask(projector: Projector) -> Sequence[Status]:
        return await projector.all_status() if name is None else [await projector.status(name)]

    found = _ask(settings, ask)
    output.document(
        {"projections": [each.as_json() for each in found]},
        lambda console: _list(console, found) if name is None else _closely(console, found[0]),
    )
    is_left = any(each.lag_events and each.owner is None and each.state in {"new", "waiting"} for each in found)
    if is_left and not output.as_json:
        output.note("Nobody works on what lags: `stoa up` does, and --rebuild brings one to the end.")
    return OK


def _list(console: Console, found: Sequence[Status]) -> None:
    show.table(
        console,
        ("projection", "state", "position", "lag", "documents", "parked", "description"),
        [
            (
                each.name,
                Text(each.state.replace("_", " "), _STYLES.get(each.state, "")),
                f"{each.position:,}",
                _lag(each),
                "" if each.documents is None else f"{each.documents:,}",
                str(each.parked_streams or ""),
                each.description,
            )
            for each in found
        ],
    )


def _closely(console: Console, told: Status) -> None:
    when = local if console.is_terminal else utc
    rows = [
        ("projection", f"{told.name}, version {told.version}, generation {told.generation}"),
        ("", told.description),
        ("state", told.state.replace("_", " ")),
        ("trouble", told.trouble or ""),
        ("position", f"{told.position:,} of {told.head:,}"),
        ("lag", _lag(told)),
        ("building", "" if told.rebuild_position is None else f"a new generation, at {told.rebuild_position:,}"),
        ("because", told.rebuild_reason or ""),
        ("applied", f"{told.applied:,} events"),
        ("documents", "" if told.documents is None else f"{told.documents:,}"),
        ("failures", f"{told.failures:,}" if told.failures else ""),
        ("parked", _parked(told)),
        ("worked on by", told.owner or ""),
        ("updated", "" if told.updated_at is None else when(told.updated_at)),
    ]
    show.table(console, (), [(Text(name, "dim"), value) for name, value in rows if value])


def _parked(told: Status) -> str:
    if not told.parked_streams:
        return ""
    return f"{told.parked_streams:,} streams, {told.dead_letters:,} dead letters"


def _lag(told: Status) -> str:
    return f"{told.lag_events:,} events, {told.lag_seconds:.1f} s" if told.lag_events else "none"


def rebuild_projection(settings: Settings, output: Output, name: str) -> int:
    """Asks for a new generation and works on it until it serves; another process that does so is only watched."""

    async def ask(projector: Projector) -> Status:
        await projector.rebuild(name)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(projector.run)
            while True:
                status = await projector.status(name)
                on_progress(status.rebuild_position or status.position, max(status.head, 1))
                if status.state in {"paused", "halted", "superseded"}:
                    break
                if status.rebuild_position is None and status.lag_events == 0:
                    break
                await anyio.sleep(_POLL_SECONDS)
            tasks.cancel_scope.cancel()
        return await projector.status(name)

    with progress(output, f"building {name}") as on_progress:
        done = _ask(settings, ask, only=name)
    output.document(done.as_json(), lambda console: _closely(console, done))
    return TOOL_FAILED if done.state == "halted" or done.rebuild_position is not None else OK


def pause_projection(settings: Settings, output: Output, name: str, *, is_paused: bool) -> int:
    """For every process, also after a restart."""

    async def ask(projector: Projector) -> Status:
        await (projector.pause(name) if is_paused else projector.resume(name))
        return await projector.status(name)

    done = _ask(settings, ask)
    output.document(done.as_json(), lambda console: _closely(console, done))
    return OK


def list_dead_letters(settings: Settings, output: Output, name: str | None, tenant: str | None) -> int:
    async def ask(projector: Projector) -> Sequence[DeadLetter]:
        pages = _letters(projector, name, tenant)
        return [each async for page in pages for each in page][:_MOST]

    found = _ask(settings, ask)
    output.document({"dead_letters": [each.as_json() for each in found]}, lambda console: _show_letters(console, found))
    if not found:
        output.note("There are none.")
    return OK


def _show_letters(console: Console, found: Sequence[DeadLetter]) -> None:
    when: Callable[[datetime], str] = local if console.is_terminal else utc
    for each in found:
        head = f"  {each.projection}  {each.event_type}  {each.stream} v{each.version}  @{each.position}"
        console.print(Text.assemble((visible(each.id), "bold"), visible(head)), soft_wrap=True)
        show.indented(console, Text(visible(each.reason), "red"), 4)
        tries = f"{each.attempts} attempts from {when(each.first_failed_at)} to {when(each.last_failed_at)}"
        waits = f"; {each.waiting:,} later events of the stream wait" if each.waiting else ""
        again = f"; tried again at {when(each.retry_at)}" if each.retry_at else ""
        show.indented(console, Text(f"{tries}{waits}{again}", "dim"), 4)
        if each.payload is not None:
            show.indented(console, Text(show_events.in_short(each.payload)), 4)


def retry_dead_letter(settings: Settings, output: Output, name: str | None, id: str, tenant: str | None) -> int:
    async def ask(projector: Projector) -> Retried:
        return await projector.retry_dead_letter(await _projection_of(projector, id, name, tenant), id, tenant=tenant)

    done = _ask(settings, ask)
    what = "1 event" if done.applied == 1 else f"{done.applied:,} events"
    said = f"{what} of {visible(done.stream)} applied."
    if not done.is_mended:
        said = f"It failed again: {visible(done.reason or '')}"
    output.document(
        {"id": done.id, "stream": done.stream, "applied": done.applied, "reason": done.reason},
        lambda console: console.print(Text(said), soft_wrap=True),
    )
    return OK if done.is_mended else TOOL_FAILED


async def _letters(projector: Projector, name: str | None, tenant: str | None) -> AsyncGenerator[Sequence[DeadLetter]]:
    after = ""
    while page := await projector.dead_letters(name, tenant=tenant, after=after, limit=_PAGE, with_retrying=True):
        yield page
        after = page[-1].id


async def _projection_of(projector: Projector, id: str, name: str | None, tenant: str | None) -> str:
    """Whose dead letter it is, where that was not said."""
    if name is not None:
        return name
    async for page in _letters(projector, None, tenant):
        found = next((each.projection for each in page if each.id == id), None)
        if found is not None:
            return found
    raise NotFound(f"There is no dead letter {id[:80]!r}.", hint="`stoa events dead-letters` lists them.")


def purge_dead_letters(settings: Settings, output: Output, name: str | None, tenant: str | None, *, yes: bool) -> int:
    whose = "all projections" if name is None else name
    agree(output, f"Dead letters of {whose} will be given up.", yes=yes)

    async def ask(projector: Projector) -> Sequence[Purged]:
        found = [each async for page in _letters(projector, name, tenant) for each in page if each.retry_at is None]
        done = list[Purged]()
        for one in dict.fromkeys(each.projection for each in found):
            ids = [each.id for each in found if each.projection == one]
            done += await projector.purge_dead_letters(one, ids, tenant=tenant)
        return done

    done = _ask(settings, ask)
    output.document(
        {
            "purged": [
                {
                    "id": each.id,
                    "stream": each.stream,
                    "version": each.version,
                    "event_type": each.event_type,
                    "applied": each.applied,
                    "reason": each.reason,
                }
                for each in done
            ]
        },
        lambda console: _show_purged(console, done),
    )
    return OK


def _show_purged(console: Console, done: Sequence[Purged]) -> None:
    console.print(Text(f"{len(done):,} given up."))
    for each in done:
        after = f"{each.applied:,} that waited behind it were applied"
        after += f", then the next one failed: {each.reason}" if each.reason else ""
        line = f"  {each.event_type}  {each.stream} v{each.version}; {after}."
        console.print(Text(visible(line)), soft_wrap=True)


def _ask(settings: Settings, question: Callable[[Projector], Awaitable[T]], *, only: str | None = None) -> T:
    """Of a projector that knows all projections, or only the one that it is to work on."""

    async def ask() -> T:
        async with open_whole(settings) as (log, model), open_relays(settings) as relays:
            known = (*BUILTIN, *relays, *model.projections)
            wanted = [each for each in known if each.name == only] if only is not None else known
            return await question(Projector(log, wanted or known))

    return anyio.run(ask)
