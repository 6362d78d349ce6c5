"""`stoa runs`: what was run, read back from the log."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import cast

import anyio
from pydantic import JsonValue

from host import runs, show_run
from host.log import open_for_runs
from host.output import Output
from host.run_state import State, Summary
from host.session import OK
from stoa.principal import LOCAL
from stoa.settings import Settings

__all__ = ["list_runs", "show_run_of"]


def list_runs(settings: Settings, output: Output, *, most: int) -> int:
    async def ask() -> Sequence[Summary]:
        async with open_for_runs(settings) as log:
            return await runs.newest(log, LOCAL.tenant, most=most)

    found = anyio.run(ask)
    output.document(
        {"runs": [each.as_json() for each in found]}, lambda console: show_run.runs(console, found) if found else None
    )
    if not found:
        output.note('There is no run in the log yet. stoa run "How do I …?" makes one.')
    return OK


def show_run_of(settings: Settings, output: Output, run_id: str | None) -> int:
    async def ask() -> tuple[State, datetime]:
        async with open_for_runs(settings) as log:
            return await runs.read(log, LOCAL.tenant, await runs.find(log, LOCAL.tenant, run_id))

    state, last_heard = anyio.run(ask)
    output.document(
        cast("Mapping[str, JsonValue]", state),
        lambda console: show_run.run(console, state, last_heard=last_heard),
    )
    return OK
