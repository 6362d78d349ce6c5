"""The content server: documents go in, passages with their places come out. Thin: the rooms beside it do the work."""

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio.to_thread
from pydantic import JsonValue, TypeAdapter, ValidationError

from kit.author import Server
from kit.call import current_call
from servers.content import schema
from servers.content.library import Library
from servers.content.roots import check_roots, read_below
from servers.content.settings import ContentSettings
from servers.content.ties import Ties
from servers.content.values import Document, Found, Hit, Origin, Put, Request
from stoa import __version__
from stoa.errors import BadInput
from stoa.home import open_home
from stoa.settings import Settings
from stoa.tools import ToolCallers

if TYPE_CHECKING:
    from eventlog.log import EventLog

__all__ = ["create"]

READ: Final = "content:read"
WRITE: Final = "content:write"
URI: Final = "content://document/{id}"
MAX_RESOURCE_BYTES: Final = 8 * 2**20
MAX_COMPLETIONS: Final = 100

INSTRUCTIONS: Final = (
    "Stores documents and finds passages in them. Put documents in with ingest_document; look for an answer with"
    " search_documents, and cite document_id, start and end of the passages you use; read on with get_document."
    " When no hit is evidence (is_evidence), say that nothing was found rather than guess."
)

_SEARCH_STATE: Final = TypeAdapter(tuple[str, str | None, list[tuple[int, int | None]], int])
_LIST_STATE: Final = TypeAdapter(int)


def create(settings: Settings, *, tools: ToolCallers | None = None, content: ContentSettings | None = None) -> Server:
    """The server, not yet serving. `content` comes from the environment where it is not handed in."""
    content = content or ContentSettings.load(os.environ)
    roots = check_roots(settings.roots, force=settings.force_roots)

    def read_path(path: str) -> tuple[bytes, str]:
        data, real = read_below(path, roots, max_bytes=content.max_document_bytes)
        return data, str(real)

    library = Library(open_home(settings.home) / "content.db", content, read_path=read_path)

    async def tell(tenant: str, document: str, was_there: bool) -> None:
        if was_there:
            await server.subscriptions.resource_updated(URI.format(id=document), tenant=tenant)
        await server.announce("resources", tenant=tenant)

    ties = Ties(library, tell, open=lambda: _open_log(settings))

    @asynccontextmanager
    async def lifespan() -> AsyncGenerator[None]:
        try:
            async with ties.held():
                yield
        finally:
            await library.close()

    server = Server(
        "content", version=__version__, instructions=INSTRUCTIONS, settings=settings, lifespan=lifespan, tools=tools
    )
    _add_writing(server, library, ties)
    _add_reading(server, library)
    _add_resources(server, library)
    return server


def _add_writing(server: Server, library: Library, ties: Ties) -> None:
    # destructive: new content under a known name replaces the older one, which is then gone.
    @server.tool(title="Ingest document", scope=WRITE, read_only=False, idempotent=True, destructive=True)
    async def ingest_document(
        text: schema.Text = None,
        data_base64: schema.DataBase64 = None,
        path: schema.Path = None,
        name: schema.Name = None,
        media_type: schema.MediaType = None,
        title: schema.Title = None,
        tags: schema.Tags = None,
        idempotency_key: schema.IdempotencyKey = None,
    ) -> schema.IngestedDocument:
        """Store a document (Markdown, HTML, PDF, reStructuredText, text, JSON or XML, at most 10 MiB) and index its
        passages. The same content again changes nothing; new content under a known name replaces the older version."""
        call = current_call()
        request = Request(
            text, data_base64, path, name, media_type, title, tuple(dict.fromkeys(tags or ())), idempotency_key
        )
        put = await (await library.ingester()).ingest(
            call.principal.tenant,
            request,
            progress=call.progress,
            origin=Origin(call.principal.subject, ties.source),
        )
        for document in (put.document if put.changed else None, put.removed):
            if document is not None:
                await call.resource_updated(_uri(document))
        if put.created or put.changed or put.removed is not None:
            ties.wrote()
            await call.resources_changed()
        return _ingested(put)

    @server.tool(title="Delete document", scope=WRITE, read_only=False, idempotent=True, destructive=True)
    async def delete_document(id: schema.DocumentId) -> schema.DeletedDocument:
        """Remove a document, its text and its passages for good."""
        call = current_call()
        document = await (await library.store()).delete(
            call.principal.tenant, id, origin=Origin(call.principal.subject, ties.source)
        )
        ties.wrote()
        await call.resource_updated(_uri(document))
        await call.resources_changed()
        return schema.DeletedDocument(id=document.id, title=document.title)


def _add_reading(server: Server, library: Library) -> None:
    @server.tool(title="Search documents", scope=READ, read_only=True, idempotent=True)
    async def search_documents(
        query: schema.Query,
        limit: schema.Limit = 10,
        cursor: schema.Cursor = None,
        document_id: schema.OptionalDocumentId = None,
        detail: schema.Detail = "brief",
    ) -> schema.SearchResults:
        """Find the passages of the stored documents that answer a question, best first, one for each document, with
        the places of the passage and of the matching words in the document's Markdown."""
        call = current_call()
        listed, total = None, None
        if cursor is not None:
            listed, total = _open_search(call.open_cursor("search", cursor), query, document_id)
        page = await library.search(
            call.principal.tenant,
            query,
            limit=limit,
            document_id=document_id,
            listed=listed,
            brief=detail == "brief",
        )
        total = page.total if total is None else total
        state: JsonValue = [query, document_id, [[found.document, found.chunk] for found in page.rest], total]
        return schema.SearchResults(
            hits=[_hit(hit) for hit in page.hits],
            next_cursor=call.seal_cursor("search", state) if page.rest else None,
            total=total,
        )

    @server.tool(title="Get document", scope=READ, read_only=True, idempotent=True)
    async def get_document(
        id: schema.DocumentId, offset: schema.Offset = 0, limit_characters: schema.Length = 20_000
    ) -> schema.DocumentText:
        """Read a stored document as Markdown, from any character on."""
        document, markdown = await (await library.store()).read(
            current_call().principal.tenant, id, offset=offset, length=limit_characters
        )
        end = offset + len(markdown)
        return schema.DocumentText(
            **_summary(document).model_dump(),
            markdown=markdown,
            offset=offset,
            next_offset=end if end < document.characters and markdown else None,
        )

    @server.tool(title="List documents", scope=READ, read_only=True, idempotent=True)
    async def list_documents(limit: schema.Limit = 10, cursor: schema.Cursor = None) -> schema.DocumentList:
        """List the stored documents, newest first."""
        call = current_call()
        before = None if cursor is None else _LIST_STATE.validate_python(call.open_cursor("list", cursor))
        documents = await (await library.store()).list(call.principal.tenant, before=before, limit=limit + 1)
        more = call.seal_cursor("list", documents[limit - 1].pk) if len(documents) > limit else None
        return schema.DocumentList(documents=[_summary(each) for each in documents[:limit]], next_cursor=more)


def _add_resources(server: Server, library: Library) -> None:
    @server.resource(URI, title="Document", scope=READ, media_type="text/markdown")
    async def document(id: str) -> str:
        """A stored document as Markdown."""
        found, markdown = await (await library.store()).read(current_call().principal.tenant, id)
        if len(markdown.encode()) > MAX_RESOURCE_BYTES:
            raise BadInput(
                f"The document {found.title!r} is larger than {MAX_RESOURCE_BYTES >> 20} MiB.",
                hint="Read it in parts by the tool get_document.",
            )
        return markdown

    @server.complete(URI, "id")
    async def complete_id(prefix: str) -> Sequence[str]:
        # One more than is shown, so that the client learns that there are more.
        store = await library.store()
        return await store.complete(current_call().principal.tenant, prefix[:200], limit=MAX_COMPLETIONS + 1)

    @server.prompt(title="Answer from documents")
    def answer_from_documents(question: str) -> str:
        """Answer a question from the stored documents alone, with citations."""
        return (
            f"Answer this question from the stored documents alone: {question}\n\n"
            "Call search_documents with the question in its own words; where passages are too short, read on with"
            " get_document. Cite each statement as [title, start-end]. If no hit is evidence, say that the documents"
            " do not answer the question; do not guess."
        )


@asynccontextmanager
async def _open_log(settings: Settings) -> "AsyncGenerator[EventLog]":
    await anyio.to_thread.run_sync(_import)
    from eventlog.open import open_log
    from eventlog.schemas import TypeRegistry
    from servers.content.events import EVENT_TYPES

    async with open_log(settings, types=TypeRegistry(EVENT_TYPES)) as log:
        yield log


def _import() -> None:
    import servers.content.events  # pyright: ignore[reportUnusedImport]  # noqa: F401


def _open_search(state: object, query: str, document_id: str | None) -> tuple[list[Found], int]:
    try:
        asked, within, rest, total = _SEARCH_STATE.validate_python(state)
    except ValidationError as error:
        raise BadInput("The cursor cannot be read.", hint="Start again without a cursor.") from error
    if (asked, within) != (query, document_id):
        raise BadInput(
            "The cursor belongs to another search.",
            hint="Send query and document_id as they were, or start again without a cursor.",
        )
    return [Found(document, chunk) for document, chunk in rest], total


def _uri(document: Document) -> str:
    return URI.format(id=document.id)


def _ingested(put: Put) -> schema.IngestedDocument:
    document = put.document
    return schema.IngestedDocument(
        id=document.id,
        title=document.title,
        name=document.name,
        media_type=document.media_type,
        sha256=document.sha256,
        chunks=document.chunks,
        characters=document.characters,
        created=put.created,
        status="created" if put.created else "replaced" if put.changed else "unchanged",
        version=document.version,
    )


def _summary(document: Document) -> schema.DocumentSummary:
    return schema.DocumentSummary(
        id=document.id,
        title=document.title,
        name=document.name,
        media_type=document.media_type,
        sha256=document.sha256,
        version=document.version,
        characters=document.characters,
        chunks=document.chunks,
        tags=list(document.tags),
        created_at=document.created_at,
        updated_at=document.updated_at,
    )


def _hit(hit: Hit) -> schema.SearchHit:
    return schema.SearchHit(
        document_id=hit.document_id,
        title=hit.title,
        source=hit.name,
        passage=hit.passage,
        start=hit.place.start,
        end=hit.place.end,
        highlights=[schema.Highlight(start=mark.start, end=mark.end) for mark in hit.highlights],
        score=hit.score,
        is_evidence=hit.is_evidence,
        coverage=hit.coverage,
    )
