"""`stoa ingest`: gather, send with a bar to watch, and say what became of each document."""

from collections.abc import Sequence
from pathlib import Path

import anyio
from pydantic import JsonValue

from host import show
from host.app import Workspace
from host.corpus import installed as installed_documents
from host.ingest import TOOL, Item, Report, from_installed, from_paths, ingest
from host.output import Output
from host.reach import unreachable
from host.session import BAD_INPUT, INTERRUPTED, OK, UNAVAILABLE
from stoa.errors import BadInput, Unavailable
from stoa.principal import LOCAL

__all__ = ["ingest_all"]

AT_ONCE_EACH = 4
"""Documents in flight on one replica: parsing is CPU work, so more would only wait there."""


def ingest_all(work: Workspace, output: Output, paths: Sequence[Path], *, installed: bool, tags: Sequence[str]) -> int:
    """Exit code 2 when any document failed; all others are in. Ctrl-C leaves what is done and says what is left."""
    work.group(TOOL.server)
    items, failed = from_paths(paths)
    if installed:
        items += from_installed(installed_documents())
    if len(failed) == 1 and not items:
        raise BadInput(failed[0].message, hint=failed[0].hint)
    report = Report(total=len(items) + len(failed), failed=failed)
    group = work.group(TOOL.server)
    at_once = min(work.capacity(TOOL.server), AT_ONCE_EACH * group.replicas * len(group.members))
    interrupted = False
    try:
        _send_all(work, output, items, report, tags=tags, at_once=at_once)
    except KeyboardInterrupt:
        interrupted = True
    output.document(
        _document(report, interrupted=interrupted),
        lambda console: show.ingested(console, report, interrupted=interrupted),
    )
    if interrupted:
        return INTERRUPTED
    if report.failed and all(each.code == Unavailable.code for each in report.failed):
        return UNAVAILABLE
    return BAD_INPUT if report.failed else OK


def _send_all(
    work: Workspace, output: Output, items: Sequence[Item], report: Report, *, tags: Sequence[str], at_once: int
) -> None:
    async def send() -> None:
        async with work.pool() as pool:
            found = await pool.tools(TOOL.server)
            if found.errors:
                raise unreachable(found.errors)
            if found.find(TOOL) is None:
                raise BadInput(f"The server {TOOL.server!r} has no tool {TOOL.tool!r}.", hint="See `stoa tools`.")
            await ingest(
                items,
                report,
                pool=pool,
                principal=LOCAL,
                at_once=at_once,
                tags=tags,
                on_item=on_item,
            )

    def on_item(label: str) -> None:
        bar.advance(label)
        if output.verbose:
            output.note(f"{report.total - report.left} of {report.total}: {label}")

    if not items:
        return
    with output.bar(f"ingesting {len(items)} documents", len(items)) as bar:
        anyio.run(send)


def _document(report: Report, *, interrupted: bool) -> dict[str, JsonValue]:
    return {
        "ingested": [
            {
                "name": each.label,
                "id": each.id,
                "title": each.title,
                "chunks": each.chunks,
                "status": each.status,
                "created": each.created,
            }
            for each in report.done
        ],
        "failed": [
            {"name": each.label, "code": each.code, "message": each.message, "hint": each.hint}
            for each in report.failed
        ],
        "left": report.left,
        "interrupted": interrupted,
    }
