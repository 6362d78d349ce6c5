"""`stoa ingest`: gather, send with a bar to watch, and say what became of each document."""

from collections.abc import Sequence
from pathlib import Path

import anyio
from pydantic import JsonValue
from rich.console import Console
from rich.text import Text

from host.app import Workspace
from host.corpus import installed as installed_documents
from host.door import BAD_INPUT, INTERRUPTED, OK, UNAVAILABLE
from host.ingest import TOOL, Failed, Item, Report, from_installed, from_paths, ingest
from host.output import Output, printable
from host.reach import unreachable
from stoa.errors import BadInput, Unavailable
from stoa.principal import LOCAL

__all__ = ["ingest_all"]

AT_ONCE_EACH = 4
"""Documents in flight on one replica: parsing is CPU work, so more would only wait there."""
MOST_FAILURES_SHOWN = 20


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
    output.document(_document(report, interrupted=interrupted), lambda console: _show(console, report, interrupted))
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
                on_item=bar.advance,
            )

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


def _show(console: Console, report: Report, interrupted: bool) -> None:
    new = sum(each.created for each in report.done)
    passages = sum(each.chunks for each in report.done)
    known = len(report.done) - new
    parts = [f"{_count(new, 'document')} ingested"]
    if known:
        parts.append(f"{known} known before")
    parts.append(_count(passages, "passage"))
    if report.failed:
        parts.append(f"{len(report.failed)} failed")
    if report.left:
        parts.append(f"{report.left} left")
    console.print(Text(", ".join(parts) + "."), soft_wrap=True)
    for each in report.failed[:MOST_FAILURES_SHOWN]:
        console.print(_failure(each), soft_wrap=True)
    if len(report.failed) > MOST_FAILURES_SHOWN:
        console.print(Text(f"  … and {len(report.failed) - MOST_FAILURES_SHOWN} more; --json lists all."))
    if interrupted:
        console.print(Text("Interrupted. What is done stays; run the same command again for the rest."))


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _failure(failed: Failed) -> Text:
    said = failed.message if failed.label in failed.message else f"{failed.label}: {failed.message}"
    return Text.assemble("  ", (printable(said), "red"), (f" {printable(failed.hint)}" if failed.hint else "", "dim"))
