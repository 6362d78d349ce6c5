"""Bringing documents into the content server: files are read here and their bytes sent over MCP.

So the server needs no right to read the disk. Documents that are done stay when the rest fails or is interrupted;
ingesting is idempotent by content, so the same command simply runs again.
"""

import base64
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args

import anyio
import anyio.to_thread
from pydantic import JsonValue

from host.corpus import InstalledDocument
from pool.pool import Pool
from stoa.errors import BadInput, StoaError
from stoa.principal import Principal
from stoa.resilience.backoff import Backoff
from stoa.tools import ToolCall, ToolRef

__all__ = ["SUFFIXES", "TOOL", "Done", "Failed", "Item", "Report", "Status", "from_installed", "from_paths", "ingest"]

TOOL = ToolRef("content", "ingest_document")

SUFFIXES = frozenset(
    {".md", ".markdown", ".mdown", ".mkd", ".mdx", ".rst", ".rest", ".txt", ".text"}
    | {".html", ".htm", ".xhtml", ".pdf", ".json", ".xml"}
)
"""What is taken from a folder. A file that is named itself is sent whatever it is called."""

LARGEST_FILE_BYTES = 10 * 2**20
"""What the content server takes; a larger file is refused here, before it is read. As base64 it fits one message."""
TRIES = 3

Status = Literal["created", "replaced", "unchanged"]
"""What became of a document: new, a newer version of a known one, or known as it is."""

_PASSED_BY = frozenset({"__pycache__", "node_modules"})


@dataclass(frozen=True, slots=True)
class Item:
    """One document to come. `load` reads it, may block, and raises `BadInput`."""

    label: str
    load: Callable[[], Mapping[str, JsonValue]]


@dataclass(frozen=True, slots=True)
class Done:
    label: str
    id: str
    title: str
    chunks: int
    status: Status

    @property
    def created(self) -> bool:
        return self.status == "created"


@dataclass(frozen=True, slots=True)
class Failed:
    label: str
    code: str
    message: str
    hint: str
    retryable: bool = False
    retry_after: float = 0.0


@dataclass
class Report:
    """Filled while work goes on, so that it is right whenever the work is broken off."""

    total: int
    done: list[Done] = field(default_factory=list[Done])
    failed: list[Failed] = field(default_factory=list[Failed])

    @property
    def left(self) -> int:
        return self.total - len(self.done) - len(self.failed)


def from_paths(paths: Sequence[Path]) -> tuple[list[Item], list[Failed]]:
    """Files as given and the documents in folders, each once, and what could not even be looked at.

    A document's name is its absolute path, so that it stays the same from whatever folder it is sent; its label is the
    path as it was typed.
    """
    items: dict[Path, Item] = {}
    failed: list[Failed] = []
    hint = f"What is taken from a folder ends with {', '.join(sorted(SUFFIXES))}."
    for given in paths:
        try:
            is_folder, is_there = given.is_dir(), given.exists()
        except OSError as error:
            failed.append(_unreadable(str(given), error))
            continue
        if is_folder:
            known = len(failed)
            found = list(_walk(given, failed))
            if not found and len(failed) == known:
                failed.append(Failed(str(given), "bad_input", f"No document lies in {str(given)!r}.", hint))
                hint = ""  # once is enough
        elif is_there:
            found = [given]
        else:
            failed.append(Failed(str(given), "not_found", f"There is no {str(given)!r}.", "Check the path."))
            continue
        for path in found:
            real = Path(os.path.realpath(path))
            items.setdefault(real, Item(str(path), _reader(path, real.as_posix())))
    return list(items.values()), failed


def from_installed(documents: Sequence[InstalledDocument]) -> list[Item]:
    def loader(document: InstalledDocument) -> Callable[[], Mapping[str, JsonValue]]:
        values = {"name": document.file_name, "media_type": document.media_type, "title": document.title}
        return lambda: {**values, "data_base64": base64.b64encode(document.text.encode()).decode()}

    return [Item(document.title, loader(document)) for document in documents]


async def ingest(
    items: Sequence[Item],
    report: Report,
    *,
    pool: Pool,
    principal: Principal,
    at_once: int,
    tags: Sequence[str] = (),
    on_item: Callable[[str], None] = lambda label: None,
    rng: random.Random | None = None,
) -> None:
    """Send all items, `at_once` at a time; `report` is filled as they are answered. No item's failure stops another."""
    waiting = iter(items)
    chance = rng or random.Random()  # noqa: S311  # spreads retries, guards nothing

    async def worker() -> None:
        for item in waiting:  # one iterator, many workers: each item is taken once
            match await _send(item, pool, principal, tags, chance):
                case Done() as done:
                    report.done.append(done)
                case failed:
                    report.failed.append(failed)
            on_item(item.label)

    async with anyio.create_task_group() as group:
        for _ in range(min(at_once, len(items))):
            group.start_soon(worker)


async def _send(item: Item, pool: Pool, principal: Principal, tags: Sequence[str], rng: random.Random) -> Done | Failed:
    try:
        arguments = dict(await anyio.to_thread.run_sync(item.load))
    except BadInput as error:
        return _failed(item, error)
    if tags:
        arguments["tags"] = list(tags)
    call, backoff = ToolCall(TOOL, arguments), Backoff()
    for failures in range(1, TRIES + 1):
        try:
            served = await pool.call(call, principal=principal)
            answer = _answer(item, served.result.structured)
        except StoaError as error:
            answer = _failed(item, error)
        if isinstance(answer, Done) or not answer.retryable or failures == TRIES:
            return answer
        await anyio.sleep(max(answer.retry_after, backoff.delay(failures, rng)))
    raise AssertionError("the last try returns")


def _answer(item: Item, structured: JsonValue) -> Done | Failed:
    match structured:
        case {"id": str(identity), "title": str(title), "chunks": int(chunks), "created": bool(created), **rest}:
            said = rest.get("status")
            plain: Status = "created" if created else "unchanged"
            status = cast(Status, said) if said in get_args(Status) else plain
            return Done(item.label, identity, title, chunks, status)
        case {"code": str(code), "message": str(message), **rest}:
            after = rest.get("retry_after_seconds")
            return Failed(
                item.label,
                code,
                message,
                hint=str(rest.get("hint") or ""),
                retryable=rest.get("retryable") is True,
                retry_after=float(after) if isinstance(after, int | float) else 0.0,
            )
        case _:
            hint = "Are both ends of the same version?"
            return Failed(item.label, "fault", f"{TOOL} answered in a form that is not known.", hint)


def _failed(item: Item, error: StoaError) -> Failed:
    return Failed(item.label, error.code, error.message, error.hint, error.retryable, error.retry_after or 0.0)


def _walk(folder: Path, failed: list[Failed]) -> Iterator[Path]:
    def unreadable(error: OSError) -> None:
        failed.append(_unreadable(str(error.filename), error))

    for here, folders, files in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(name for name in folders if name not in _PASSED_BY and not name.startswith("."))
        for name in sorted(files):
            path = Path(here, name)
            if path.suffix.lower() in SUFFIXES and not name.startswith(".") and _may_be_file(path):
                yield path


def _may_be_file(path: Path) -> bool:
    """What cannot be looked at is kept: reading it says why."""
    try:
        return path.is_file()
    except OSError:
        return True


def _unreadable(label: str, error: OSError) -> Failed:
    return Failed(label, "bad_input", f"{label!r} cannot be read: {error.strerror}.", "Check its permissions.")


def _reader(path: Path, name: str) -> Callable[[], Mapping[str, JsonValue]]:
    def read() -> Mapping[str, JsonValue]:
        try:
            size = path.stat().st_size
            if not path.is_file():
                raise BadInput(f"{str(path)!r} is no file.", hint="Give a file or a folder.")
            if size > LARGEST_FILE_BYTES:
                most = LARGEST_FILE_BYTES / 2**20
                raise BadInput(f"{str(path)!r} has {size / 2**20:.1f} MiB; the limit is {most:.0f}.", hint="Split it.")
            data = path.read_bytes()
        except OSError as error:
            raise BadInput(f"{str(path)!r} cannot be read: {error.strerror}.", hint="Check its permissions.") from error
        return {"name": name, "data_base64": base64.b64encode(data).decode()}

    return read
