"""The tools for projections and their dead letters."""

from typing import TYPE_CHECKING, Final

import anyio

from eventlog.projections.status import DeadLetter
from kit.author import Server
from kit.call import Call, current_call
from servers.events import arguments as given
from servers.events import schema
from servers.events.journal import Journal
from servers.events.pages import Asked, open_word, seal_page
from servers.events.scopes import ADMIN, READ, has_positions
from servers.events.shown import Budget, Detail, fitting, size_of
from stoa.errors import BadInput, NotFound
from stoa.principal import Principal

if TYPE_CHECKING:  # the log is imported when it is opened
    from eventlog.projections.projector import Projector

__all__ = ["add_tools", "show_projection"]

LOOK_SECONDS: Final = 0.2
MAX_COUNTED: Final = 200
LETTER: Final = "dead letter"


def add_tools(server: Server, journal: Journal) -> None:
    @server.tool(title="List projections", scope=READ, read_only=True, idempotent=True)
    async def list_projections() -> schema.ProjectionList:
        """List the read models that are made from events: what each is, and whether it is up to date."""
        principal, projector = current_call().principal, await journal.projector()
        return schema.ProjectionList(
            projections=[await show_projection(projector, name, principal) for name in projector.names()]
        )

    # not read-only, and the documents are the same afterwards: nothing is destroyed.
    @server.tool(title="Rebuild projection", scope=ADMIN, read_only=False, idempotent=True)
    async def rebuild_projection(
        name: given.Projection, wait_seconds: given.WaitSeconds = 30
    ) -> schema.RebuiltProjection:
        """Build a projection anew from the first event on, beside the one that serves, and swap them at the end. Going
        away does not stop it."""
        call, projector = current_call(), await journal.projector()
        before = (await projector.status(name)).generation
        await projector.rebuild(name, reason=f"asked for by {call.principal.subject}")
        is_done = False
        with anyio.move_on_after(wait_seconds):
            is_done = await _wait_until_rebuilt(call, projector, name, before)
        return schema.RebuiltProjection(
            projection=await show_projection(projector, name, call.principal), is_done=is_done
        )

    @server.tool(title="List dead letters", scope=READ, read_only=True, idempotent=True)
    async def list_dead_letters(
        projection: given.OptionalProjection = None,
        limit: given.Limit = 10,
        cursor: given.Cursor = None,
        detail: given.Detail = "brief",
    ) -> schema.DeadLetterList:
        """List the events that a projection could not read; the later events of their streams wait behind them."""
        call, projector = current_call(), await journal.projector()
        asked: Asked = [projection]
        after = "" if cursor is None else open_word(call, "list_dead_letters", asked, cursor)
        found = await projector.dead_letters(
            projection, tenant=call.principal.tenant, after=after, limit=limit + 1, with_retrying=True
        )
        budget = Budget()
        page = [each for each in found[:limit] if budget.take(size_of(each.payload, detail))]
        more = len(found) > len(page)
        return schema.DeadLetterList(
            dead_letters=[_show_letter(call, each, detail) for each in page],
            next_cursor=seal_page(call, "list_dead_letters", asked, page[-1].id) if more else None,
        )

    @server.tool(title="Retry dead letter", scope=ADMIN, read_only=False, idempotent=True)
    async def retry_dead_letter(projection: given.Projection, id: given.Asked) -> schema.RetriedDeadLetter:
        """Apply an event that a projection could not read, and those that wait behind it, now."""
        call, projector = current_call(), await journal.projector()
        done = await projector.retry_dead_letter(projection, _letter_id(call, id), tenant=call.principal.tenant)
        return schema.RetriedDeadLetter(
            id=id, stream=done.stream, applied=done.applied, is_mended=done.is_mended, reason=done.reason
        )

    @server.tool(title="Purge dead letters", scope=ADMIN, read_only=False, idempotent=True, destructive=True)
    async def purge_dead_letters(
        projection: given.Projection, ids: given.DeadLetterIds = None
    ) -> schema.PurgedDeadLetters:
        """Give up events that a projection could not read: they are not part of it until it is rebuilt, and their
        streams go on. The log keeps them."""
        call, projector = current_call(), await journal.projector()
        wanted = None if ids is None else [_letter_id(call, each) for each in ids]
        purged = await projector.purge_dead_letters(projection, wanted, tenant=call.principal.tenant)
        return schema.PurgedDeadLetters(
            projection=projection,
            purged=[
                schema.MovedLetter(
                    id=call.seal_cursor(LETTER, each.id),
                    stream=each.stream,
                    version=each.version,
                    event_type=each.event_type,
                    applied=each.applied,
                    reason=each.reason,
                )
                for each in purged
            ],
        )


async def show_projection(projector: "Projector", name: str, principal: Principal) -> schema.ProjectionOut:
    """Of what was counted over all tenants, only what is for callers with events:admin."""
    status = await projector.status(name)
    letters = await projector.dead_letters(name, tenant=principal.tenant, limit=MAX_COUNTED, with_retrying=True)
    sees_all = has_positions(principal)
    return schema.ProjectionOut(
        name=status.name,
        description=status.description,
        kind=status.kind,
        version=status.version,
        state=status.state,
        types=list(projector.get(name).types),
        dead_letters=len(letters),
        updated_at=status.updated_at if sees_all else None,
        position=status.position if sees_all else None,
        lag_events=status.lag_events if sees_all else None,
        lag_seconds=round(status.lag_seconds, 3) if sees_all else None,
        rebuild_position=status.rebuild_position if sees_all else None,
        rebuild_reason=status.rebuild_reason if sees_all else None,
    )


async def _wait_until_rebuilt(call: Call, projector: "Projector", name: str, before: int) -> bool:
    told = -1
    while True:
        status = await projector.status(name)
        if status.generation != before:
            return True
        if status.state in ("paused", "halted", "superseded"):
            return False
        done = status.rebuild_position or 0
        if done > told:
            await call.progress(done, max(status.head, done), f"{name}: {done:,} of {status.head:,} events")
            told = done
        await anyio.sleep(LOOK_SECONDS)


def _show_letter(call: Call, letter: DeadLetter, detail: Detail) -> schema.DeadLetterOut:
    payload, preview = fitting(letter.payload, detail)
    return schema.DeadLetterOut(
        id=call.seal_cursor(LETTER, letter.id),  # it has a position in it
        projection=letter.projection,
        stream=letter.stream,
        version=letter.version,
        event_type=letter.event_type,
        reason=letter.reason,
        attempts=letter.attempts,
        waiting=letter.waiting,
        first_failed_at=letter.first_failed_at,
        last_failed_at=letter.last_failed_at,
        retry_at=letter.retry_at,
        payload=payload,
        payload_preview=preview,
    )


def _letter_id(call: Call, sealed: str) -> str:
    try:
        return str(call.open_cursor(LETTER, sealed))
    except BadInput:
        raise NotFound(
            f"There is no dead letter {sealed[:80]!r}.", hint="Give an id as list_dead_letters shows it."
        ) from None
