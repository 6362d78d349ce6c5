"""Two small servers in this process, built on the kit: one that finds and shows texts, one that takes documents."""

import base64
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel

from host.app import Workspace
from kit.author import Server
from pool.spec import GroupSpec, InProcessSpec, StdioSpec
from stoa.errors import BadInput, NotFound, Unavailable
from stoa.settings import Settings

__all__ = ["Inbox", "Shelf", "dead", "workspace"]


class Hit(BaseModel):
    document_id: str
    title: str
    source: str
    passage: str
    is_evidence: bool


class Hits(BaseModel):
    hits: list[Hit]


class Text(BaseModel):
    id: str
    title: str


class Texts(BaseModel):
    texts: list[Text]


class Ingested(BaseModel):
    id: str
    title: str
    chunks: int
    created: bool
    status: str


TEXTS = {
    "t1": (
        "Locks",
        "Call acquire() to lock a file, and release it as soon as you have written your part.",
    ),
    "t2": ("Bread", "Knead the dough, let it rest over night and bake it in the morning until the crust is brown."),
}


class Shelf:
    """Finds, shows, lists and removes texts; `calls` are the tools that ran."""

    def __init__(self, home: Path, *, name: str = "shelf", is_broken: bool = False) -> None:
        self.name = name
        self.calls: list[str] = []
        settings = Settings.model_validate({"home": home})
        self.server = Server(name, version="1.2.3", instructions="Texts.", settings=settings)

        @self.server.tool(title="Find texts", scope="shelf:read", read_only=True, idempotent=True)
        async def find_texts(query: str, limit: int = 10) -> Hits:
            """Find texts by their words."""
            self.calls.append("find_texts")
            if is_broken:
                raise Unavailable("The shelf has fallen over.")
            words = set(query.lower().strip("?").split())
            return Hits(
                hits=[
                    Hit(document_id=each, title=title, source=f"{each}.md", passage=text, is_evidence="file" in words)
                    for each, (title, text) in TEXTS.items()
                    if words & set(text.lower().split())
                ][:limit]
            )

        @self.server.tool(title="Show a text", scope="shelf:read", read_only=True, idempotent=True)
        async def show_text(id: str) -> Text:
            """Show one text."""
            self.calls.append("show_text")
            if id not in TEXTS:
                raise NotFound(f"There is no text {id!r}.", hint="list_texts lists them.")
            return Text(id=id, title=TEXTS[id][0])

        @self.server.tool(title="List texts", scope="shelf:read", read_only=True, idempotent=True)
        async def list_texts() -> Texts:
            """List all texts."""
            self.calls.append("list_texts")
            return Texts(texts=[Text(id=each, title=title) for each, (title, _) in TEXTS.items()])

        @self.server.tool(title="Remove a text", scope="shelf:write", read_only=False, idempotent=True)
        async def remove_text(id: str) -> Text:
            """Remove a text for good."""
            self.calls.append("remove_text")
            return Text(id=id, title="")

    def group(self, *, trusted: bool = True) -> GroupSpec:
        return GroupSpec(self.name, (InProcessSpec(self.server.lowlevel),), trusted=trusted)


@dataclass
class Inbox:
    """Takes documents as the content server does. `refuses` are names it never takes, `busy` names it takes at the
    second try; `taken` is what it took, `names` what the documents were called."""

    home: Path
    refuses: set[str] = field(default_factory=set[str])
    busy: set[str] = field(default_factory=set[str])
    taken: dict[str, bytes] = field(default_factory=dict[str, bytes])
    names: list[str] = field(default_factory=list[str])
    tags: list[str] = field(default_factory=list[str])

    def group(self) -> GroupSpec:
        settings = Settings.model_validate({"home": self.home})
        server = Server("content", version="1.2.3", instructions="Documents.", settings=settings)

        @server.tool(title="Ingest", scope="content:write", read_only=False, idempotent=True)
        async def ingest_document(
            data_base64: str,
            name: str,
            media_type: str | None = None,
            title: str | None = None,
            tags: list[str] | None = None,
        ) -> Ingested:
            """Take a document."""
            self.names.append(name)
            own = Path(name).name
            if own in self.refuses:
                raise BadInput("It is no document.", hint="Send another one.")
            if own in self.busy:
                self.busy.remove(own)
                raise Unavailable("Too busy.", retry_after=0.01)
            data = base64.b64decode(data_base64)
            status = "unchanged" if self.taken.get(own) == data else "replaced" if own in self.taken else "created"
            self.taken[own] = data
            self.tags += tags or []
            return Ingested(id=own, title=title or own, chunks=1, created=status == "created", status=status)

        return GroupSpec("content", (InProcessSpec(server.lowlevel),), trusted=True)


def workspace(home: Path, *groups: GroupSpec) -> Workspace:
    return Workspace(Settings.model_validate({"home": home}), groups, "the test", {})


def dead(name: str, *, command: str = "no-such-command-anywhere", args: tuple[str, ...] = ()) -> GroupSpec:
    """A server that cannot be started."""
    return GroupSpec(name, (StdioSpec(command, args),), trusted=True)
