"""Tool descriptions that several tests of the host look at: three servers that know nothing of each other."""

from collections.abc import Mapping

from pydantic import JsonValue

from pool.catalogue import ToolInfo
from stoa.tools import ToolRef

__all__ = ["CREATE", "DELETE", "FIND_PAGES", "GET", "LIST", "SEARCH", "tool"]

Schema = dict[str, JsonValue]


def tool(
    name: str,
    description: str = "",
    *,
    arguments: Mapping[str, JsonValue] | None = None,
    required: tuple[str, ...] = (),
    output: Mapping[str, JsonValue] | None = None,
    read_only: bool = True,
) -> ToolInfo:
    server, _, own = name.partition(".")
    return ToolInfo(
        ref=ToolRef(server, own),
        title="",
        description=description,
        input_schema={"type": "object", "properties": dict(arguments or {}), "required": list(required)},
        output_schema=output,
        read_only=read_only,
        idempotent=True,
        destructive=False,
        open_world=False,
    )


def hits(field: str) -> Schema:
    hit: Schema = {"type": "object", "properties": {field: {"type": "string"}, "title": {"type": "string"}}}
    return {
        "type": "object",
        "$defs": {"Hit": hit},
        "properties": {
            "found": {"type": "array", "items": {"$ref": "#/$defs/Hit"}},
            "next_cursor": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        },
    }


STRING: Schema = {"type": "string"}
SEARCH = tool(
    "library.search_books",
    "Find passages in books.",
    arguments={"query": STRING, "limit": {"type": "integer", "default": 10}},
    required=("query",),
    output=hits("passage"),
)
FIND_PAGES = tool(
    "wiki.find_pages",
    "Look for pages of the wiki.",
    arguments={"question": STRING},
    required=("question",),
    output=hits("snippet"),
)
GET = tool("library.get_book", "Read one book.", arguments={"id": STRING}, required=("id",))
LIST = tool("library.list_books", "List the books, newest first.", arguments={"limit": {"type": "integer"}})
DELETE = tool(
    "library.delete_book", "Remove a book for good.", arguments={"id": STRING}, required=("id",), read_only=False
)
CREATE = tool(
    "library.create_book",
    "Add a book.",
    arguments={"title": STRING, "kind": {"type": "string", "enum": ["novel", "poetry"]}, "pages": {"type": "integer"}},
    required=("title", "kind", "pages"),
    read_only=False,
)
