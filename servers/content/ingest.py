"""From what a caller sends to a document in the store: find the bytes, know them again, read, cut and keep them."""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable
from typing import Final

import anyio
import anyio.to_thread

from servers.content.chunks import split
from servers.content.formats.extract import extract
from servers.content.store import Draft, Keyed, Store
from servers.content.values import NOBODY, Document, Origin, Put, Request
from stoa.errors import BadInput
from stoa.tools import Progress

__all__ = ["Ingester"]

MAX_READING: Final = 2
"""Documents that are read (parsed) at once; it is work for the processor."""

STEPS: Final = 3
"""Of an ingest, as its progress is told."""

MAX_DERIVED_TITLE: Final = 120


class Ingester:
    """`read_path` gives the bytes of a file that callers may name, and the path it really has; it raises `BadInput`
    or `Denied`."""

    def __init__(self, store: Store, *, max_bytes: int, read_path: Callable[[str], tuple[bytes, str]]) -> None:
        self._store = store
        self._max_bytes = max_bytes
        self._read_path = read_path
        self._readers = anyio.CapacityLimiter(MAX_READING)

    def __repr__(self) -> str:
        return f"<Ingester reading {self._readers.borrowed_tokens} of {MAX_READING}>"

    async def ingest(self, tenant: str, request: Request, *, progress: Progress, origin: Origin = NOBODY) -> Put:
        """Raises `BadInput` for what cannot be read, `Conflict` for a key used before, `Unavailable` when busy."""
        _check_one_source(request)
        for field, value in (
            ("name", request.name),
            ("title", request.title),
            *(("tags", tag) for tag in request.tags),
        ):
            _check_line(field, value)
        data, name = await anyio.to_thread.run_sync(lambda: self._bytes(request), limiter=self._readers)
        sha256 = hashlib.sha256(data).hexdigest()
        keyed = None
        if request.idempotency_key is not None:
            keyed = Keyed(request.idempotency_key, _fingerprint(request, sha256, name))
            answered = await self._store.recall(tenant, keyed)
            if answered is not None:
                return answered
        else:
            known = await self._store.find(tenant, sha256)
            if known is not None and _says_nothing_new(request, name, known):
                return Put(known, created=False)
        await progress(1, STEPS, "reading the document")
        draft = await anyio.to_thread.run_sync(lambda: _read(data, sha256, name, request), limiter=self._readers)
        await progress(2, STEPS, f"storing {len(draft.chunks)} passages")
        put = await self._store.put(tenant, draft, keyed=keyed, origin=origin)
        await progress(STEPS, STEPS, "stored")
        return put

    def _bytes(self, request: Request) -> tuple[bytes, str | None]:
        if request.path is not None:
            data, path = self._read_path(request.path)
            name = request.name or path
        else:
            data = _decode_text(request.text) if request.text is not None else _decode_base64(request.data_base64 or "")
            name = request.name
        if len(data) > self._max_bytes:
            raise BadInput(
                f"{name or 'The document'} has {len(data):,} bytes; the limit is {self._max_bytes:,}.",
                hint="Split it into smaller documents, or send only its text.",
            )
        return data, name


def _read(data: bytes, sha256: str, name: str | None, request: Request) -> Draft:
    media_type = request.media_type
    if media_type is None and request.text is not None and (name is None or "." not in name.rpartition("/")[2]):
        media_type = "text/markdown"  # text without a type or a telling name; plain text is Markdown, too
    extracted = extract(data, media_type=media_type, name=name)
    return Draft(
        name=name,
        title=request.title or extracted.title or _title(name, extracted.markdown),
        media_type=extracted.media_type,
        sha256=sha256,
        markdown=extracted.markdown,
        chunks=split(extracted.markdown),
        tags=request.tags,
        given=frozenset(field for field in ("title", "media_type", "tags") if getattr(request, field)),
    )


def _says_nothing_new(request: Request, name: str | None, known: Document) -> bool:
    """Whether bytes that are known can stay as they are, without being read again."""
    return (
        name in (None, known.name)
        and request.title in (None, known.title)
        and request.media_type in (None, known.media_type)
        and request.tags in ((), known.tags)
    )


def _check_one_source(request: Request) -> None:
    given = [name for name in ("text", "data_base64", "path") if getattr(request, name) is not None]
    if len(given) != 1:
        raise BadInput(
            f"Exactly one of text, data_base64 and path is needed; {' and '.join(given) or 'none of them'} was given.",
            hint="Send the document's text, its bytes in base64, or the path of a file below an allowed root.",
        )


def _check_line(field: str, value: str | None) -> None:
    if value is not None and (not value.isprintable() or not value.strip()):
        raise BadInput(
            f"The argument {field!r} holds characters that cannot be shown, or only blanks: {value[:80]!r}.",
            hint="Send one line of plain text.",
        )


def _decode_text(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise BadInput(
            f"The text is not valid Unicode: half of a surrogate pair stands at character {error.start}.",
            hint="Send valid UTF-8, or the original bytes as data_base64.",
        ) from error


def _decode_base64(text: str) -> bytes:
    try:
        return base64.b64decode(re.sub(r"\s+", "", text), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadInput(
            f"The argument 'data_base64' is not base64: {error}.",
            hint="Use the standard alphabet (A-Z a-z 0-9 + /) with padding (RFC 4648 section 4).",
        ) from error


def _title(name: str | None, markdown: str) -> str:
    """The file part of the name, else how the text begins."""
    if name is not None:
        return name.rstrip("/").rpartition("/")[2] or name
    line = next((line for line in markdown.splitlines() if line.strip()), "").strip()
    return line if len(line) <= MAX_DERIVED_TITLE else line[: MAX_DERIVED_TITLE - 1].rstrip() + "…"


def _fingerprint(request: Request, sha256: str, name: str | None) -> str:
    asked = [sha256, name, request.media_type, request.title, list(request.tags)]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()
