"""`stoa events dead-letters --subscription`: messages of the bus that a subscriber gave up."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import cast

import anyio
from pydantic import JsonValue
from rich.console import Console
from rich.text import Text

from eventlog.bus.dead_letters import MAX_LISTED, DeadLetter, DeadLetters
from eventlog.names import check_tenant
from host import show
from host.consent import agree
from host.escape import visible
from host.log import open_whole
from host.moments import local, utc
from host.output import Output
from host.session import OK
from stoa.settings import Settings

__all__ = ["list_letters", "purge_letters"]


def list_letters(settings: Settings, output: Output, subscription: str, tenant: str) -> int:
    check_tenant(tenant)

    async def ask() -> Sequence[DeadLetter]:
        async with open_whole(settings) as (log, _):
            return await DeadLetters(log).list(tenant, subscription, limit=MAX_LISTED)

    found = anyio.run(ask)
    output.document({"dead_letters": _json(found)}, lambda console: _show(console, found))
    if not found:
        output.note("There are none.")
    return OK


def purge_letters(settings: Settings, output: Output, subscription: str, tenant: str, *, yes: bool) -> int:
    check_tenant(tenant)
    agree(output, f"Dead letters of subscription {subscription} will be given up.", yes=yes)

    async def ask() -> Sequence[DeadLetter]:
        async with open_whole(settings) as (log, _):
            return await DeadLetters(log).purge_all(tenant, subscription)

    done = anyio.run(ask)
    output.document({"purged": _json(done)}, lambda console: console.print(Text(f"{len(done):,} given up.")))
    return OK


def _show(console: Console, found: Sequence[DeadLetter]) -> None:
    when = local if console.is_terminal else utc
    for each in found:
        head = f"  {each.event_type}  {each.stream} v{each.version}  @{each.position}" if each.event_id else ""
        console.print(Text.assemble((visible(each.event_id or each.id), "bold"), visible(head)), soft_wrap=True)
        show.indented(console, Text(visible(each.reason), "red"), 4)
        show.indented(console, Text(f"{each.attempts} attempts, given up at {when(each.failed_at)}", "dim"), 4)


def _json(found: Sequence[DeadLetter]) -> list[JsonValue]:
    return [cast("JsonValue", {**asdict(each), "failed_at": each.failed_at.isoformat()}) for each in found]
