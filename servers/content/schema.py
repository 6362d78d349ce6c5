"""What crosses the wire: the results of the tools, and their arguments, each with an example.

All offsets count characters of a document's Markdown, from 0; ends are exclusive.
"""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from servers.content.ranking import ENOUGH_SCORE

__all__ = [
    "Cursor",
    "DataBase64",
    "DeletedDocument",
    "Detail",
    "DocumentId",
    "DocumentList",
    "DocumentSummary",
    "DocumentText",
    "Highlight",
    "IdempotencyKey",
    "IngestedDocument",
    "Length",
    "Limit",
    "MediaType",
    "Name",
    "Offset",
    "OptionalDocumentId",
    "Path",
    "Query",
    "SearchHit",
    "SearchResults",
    "Tags",
    "Text",
    "Title",
]

MAX_NAME: Final = 500
MAX_TITLE: Final = 300
MAX_TAGS: Final = 20
MAX_TAG: Final = 64
MAX_QUERY: Final = 1000
MAX_LENGTH: Final = 200_000

Tag = Annotated[str, Field(min_length=1, max_length=MAX_TAG)]

# Arguments.

Text = Annotated[
    str | None,
    Field(
        description="The document as text, e.g. '# Opening hours\\n\\nWe open at nine.' Give this, data_base64 or path."
    ),
]
DataBase64 = Annotated[
    str | None,
    Field(description="The bytes of the document in base64, e.g. 'JVBERi0xLjcK…' for a PDF; at most 10 MiB decoded."),
]
Path = Annotated[
    str | None,
    Field(
        max_length=4096,
        description="A file on the server's machine below one of its allowed roots, e.g. '/srv/docs/handbook.pdf'.",
    ),
]
Name = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=MAX_NAME,
        description="Where the document comes from: a file name, path or address, e.g. 'handbook/opening-hours.md'."
        " New content under a known name replaces the older version. Default: the path, if one is given.",
    ),
]
MediaType = Annotated[
    str | None,
    Field(max_length=200, description="Media type, e.g. 'text/html'. Found out from the content when left out."),
]
Title = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=MAX_TITLE,
        description="Title, e.g. 'Opening hours'. Taken from the document or its name when left out.",
    ),
]
Tags = Annotated[
    list[Tag] | None,
    Field(max_length=MAX_TAGS, description="Words to sort documents by, e.g. ['handbook', 'public']."),
]
IdempotencyKey = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=128,
        description="Any string of yours, e.g. 'upload-7f3a'. The same request with the same key gets the first answer"
        " for a day.",
    ),
]
Query = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_QUERY,
        description="A question or words to look for, e.g. 'How do I rotate an API key?'. Nothing in it is syntax.",
    ),
]
Limit = Annotated[int, Field(ge=1, le=50, description="How many to return, e.g. 10.")]
Cursor = Annotated[
    str | None,
    Field(
        max_length=16_384,
        description="`next_cursor` of the page before, with the other arguments as they were, e.g. 'eyJr…'.",
    ),
]
DocumentId = Annotated[
    str, Field(min_length=1, max_length=64, description="Id of a document, e.g. '01KAHZ8X6Q3V5T9W2Y4B7C1D0E'.")
]
OptionalDocumentId = Annotated[
    str | None,
    Field(
        max_length=64,
        description="Search only in this document, e.g. '01KAHZ8X6Q3V5T9W2Y4B7C1D0E'; hits are then its passages.",
    ),
]
Detail = Annotated[
    Literal["brief", "full"],
    Field(description="'brief' cuts passages to about 400 characters around the matches, 'full' shows them whole."),
]
Offset = Annotated[int, Field(ge=0, description="First character to return, e.g. 20000.")]
Length = Annotated[int, Field(ge=1, le=MAX_LENGTH, description="How many characters to return, e.g. 20000.")]


# Results.


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True)


class IngestedDocument(_Result):
    id: str
    title: str
    name: str | None
    media_type: str
    sha256: str = Field(description="Of the bytes that were sent.")
    chunks: int = Field(description="Passages in the index.")
    characters: int = Field(description="Length of the Markdown.")
    created: bool = Field(description="Whether the document is new.")
    status: Literal["created", "replaced", "unchanged"] = Field(
        description="'replaced': an older version under the same name gave way; 'unchanged': the content was known."
    )
    version: int = Field(description="Counts the contents that this document has had, from 1.")

    def as_text(self) -> str:
        return f"{self.status}: {self.title!r}, id {self.id}, {self.characters} characters, {self.chunks} passages"


class Highlight(_Result):
    start: int
    end: int


class SearchHit(_Result):
    document_id: str
    title: str
    source: str | None = Field(description="The name under which the document was ingested.")
    passage: str
    start: int = Field(description="Where the passage begins in the document's Markdown.")
    end: int
    highlights: list[Highlight] = Field(description="The words of the passage that match; offsets into the document.")
    score: float = Field(description="How good the hit is, 0 to about 1; comparable between questions.")
    is_evidence: bool = Field(
        description=f"Whether this is an answer rather than a coincidence: a score of {ENOUGH_SCORE}, or twice that"
        " where the document shares a single word with the question."
    )
    coverage: float = Field(
        description="0 to 1: the share of the question's words, rare ones weigh more, that document and passage hold."
    )


class SearchResults(_Result):
    hits: list[SearchHit]
    next_cursor: str | None = None
    total: int = Field(description="How many documents hold a word of the question; 200 of them can be paged through.")

    def as_text(self) -> str:
        lines = [
            f"[{number}] {hit.title} (document_id {hit.document_id}, characters {hit.start}-{hit.end}, "
            f"score {hit.score:.2f}{'' if hit.is_evidence else ', hardly evidence'})\n{hit.passage}"
            for number, hit in enumerate(self.hits, start=1)
        ]
        return "\n\n".join([*(lines or ["Nothing found."]), *_more(self.next_cursor)])


class DocumentSummary(_Result):
    id: str
    title: str
    name: str | None
    media_type: str
    sha256: str
    version: int
    characters: int
    chunks: int
    tags: list[str]
    created_at: datetime
    updated_at: datetime


class DocumentList(_Result):
    documents: list[DocumentSummary]
    next_cursor: str | None = None

    def as_text(self) -> str:
        lines = [
            f"{each.title} (id {each.id}, {each.media_type}, {each.characters} characters)" for each in self.documents
        ]
        return "\n".join([*(lines or ["There are no documents."]), *_more(self.next_cursor)])


class DocumentText(DocumentSummary):
    markdown: str
    offset: int
    next_offset: int | None = Field(description="Where to read on; null at the end of the document.")

    def as_text(self) -> str:
        more = [] if self.next_offset is None else [f"(cut here; read on with offset={self.next_offset})"]
        return "\n\n".join([self.markdown, *more])


class DeletedDocument(_Result):
    id: str
    title: str
    deleted: Literal[True] = True

    def as_text(self) -> str:
        return f"deleted: {self.title!r}, id {self.id}"


def _more(cursor: str | None) -> list[str]:
    return [] if cursor is None else [f"(there is more: cursor={cursor})"]
