"""A small server that does what servers do. `python -m tests.kit.example stdio|http` serves it in its own process."""

import os
import sys
import tempfile
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Annotated

import anyio
import mcp_types as types
from fastmcp import Context
from opentelemetry import trace
from pydantic import BaseModel, Field

from kit.author import Server
from kit.call import current_call
from kit.serve import run, serve_http, serve_stdio
from stoa.errors import BadInput, Conflict, NotFound, Unavailable
from stoa.settings import Settings

__all__ = ["Example", "create"]

NOTES = {"default": {"1": "bread"}, "acme": {"1": "anvils"}}


class Said(BaseModel):
    text: str
    times: int


class Count(BaseModel):
    words: int

    def as_text(self) -> str:
        return f"{self.words} words"


class Example:
    """The server, and what happened in it that a client cannot see."""

    def __init__(self, settings: Settings) -> None:
        self.server = Server("example", version="1.2.3", instructions="Say something.", settings=settings)
        self.waiting = anyio.Event()
        self.cancelled = anyio.Event()
        self.release = anyio.Event()
        _install_tools(self.server)
        _install_slow_tools(self)
        _install_resources(self.server)
        _install_prompts(self.server)


def create(settings: Settings) -> Server:
    return Example(settings).server


def _install_tools(server: Server) -> None:
    read = server.tool(title="Reads", scope="example:read", read_only=True, idempotent=True)

    @read
    async def say(
        text: Annotated[str, Field(description="What to say, e.g. 'hello'.")],
        times: Annotated[int, Field(ge=1, le=9, description="How often, e.g. 2.")] = 1,
    ) -> Said:
        """Say it, perhaps several times."""
        return Said(text=" ".join([text] * times), times=times)

    @read
    async def count_words(text: str) -> Count:
        """Count the words."""
        return Count(words=len(text.split()))

    @read
    def say_in_a_thread(text: str) -> str:
        """Say it from a worker thread."""
        return f"{text} to {current_call().principal.tenant}"

    @read
    async def fail(how: str) -> Said:
        """Fail in the way that is asked for."""
        match how:
            case "not_found":
                raise NotFound("There is no note 'x'.", hint="List them first.")
            case "conflict":
                raise Conflict("Somebody was faster.")
            case "unavailable":
                raise Unavailable("The store is busy.", retry_after=2.5)
            case "model":
                return Said.model_validate({})
            case _:
                raise RuntimeError("the password is 12345")

    @read
    async def page(cursor: str | None = None) -> str:
        """Give a cursor, or what is in one."""
        call = current_call()
        return call.seal_cursor("notes", {"after": 7}) if cursor is None else str(call.open_cursor("notes", cursor))

    @read
    async def who() -> str:
        """Who calls."""
        principal = current_call().principal
        return f"{principal.subject} of {principal.tenant}"

    @read
    async def shout() -> str:
        """Write where only the protocol may write."""
        sys.stdout.write("not JSON at all\n")
        sys.stdout.flush()
        os.write(1, b"nor this\n")
        return "shouted"

    @read
    async def grow(megabytes: int) -> str:
        """Give a long answer."""
        return "x" * (megabytes * 2**20)

    @read
    async def picture() -> list[types.ImageContent]:
        """Give a block that is not text."""
        return [types.ImageContent(type="image", data="AAAA", mime_type="image/png")]

    @read
    async def book(ctx: Context) -> str | types.InputRequiredResult:
        """Ask before doing."""
        if ctx.input_responses:
            return f"booked {ctx.request_state}"
        sure = types.ElicitRequestFormParams(message="Sure?", requested_schema={"type": "object", "properties": {}})
        return types.InputRequiredResult(
            input_requests={"sure": types.ElicitRequest(params=sure)}, request_state="seat 12"
        )

    @read
    async def can_ask(ctx: Context) -> str:
        """Whether the client can ask its user."""
        capabilities = ctx.session.client_capabilities
        return "yes" if capabilities is not None and capabilities.elicitation is not None else "no"

    @read
    async def trace_id() -> str:
        """The trace that the call belongs to."""
        return f"{trace.get_current_span().get_span_context().trace_id:032x}"

    @server.tool(title="Writes", scope="example:write", read_only=False, idempotent=True)
    async def change(id: str) -> str:
        """Change a note."""
        await current_call().resource_updated(f"example://note/{id}")
        await current_call().resources_changed()
        return "changed"


def _install_slow_tools(example: Example) -> None:
    read = example.server.tool(title="Takes long", scope="example:read", read_only=True, idempotent=True)

    @read
    async def count(to: int) -> str:
        """Count and say so while at it."""
        for done in range(1, to + 1):
            await current_call().progress(done, to, f"{done} of {to}")
        return "counted"

    @read
    async def boast(characters: int) -> str:
        """Say at length that it goes well."""
        await current_call().progress(1, 2, "x" * characters)
        return "done"

    @read
    async def wait() -> str:
        """Wait until it is let go, or cancelled."""
        example.waiting.set()
        try:
            await example.release.wait()
        except BaseException:
            example.cancelled.set()
            raise
        return "waited"

    @read
    async def nap(seconds: float) -> str:
        """Sleep for a while."""
        sys.stderr.write("napping\n")
        sys.stderr.flush()
        await anyio.sleep(seconds)
        return "rested"


def _install_resources(server: Server) -> None:
    @server.resource("example://note/{id}", title="Note", scope="example:read", media_type="text/plain")
    async def note(id: str) -> str:
        """One note of the caller's tenant."""
        notes = NOTES.get(current_call().principal.tenant, {})
        if id not in notes:
            raise NotFound(f"There is no note {id!r}.")
        return notes[id]

    @server.resource("example://logo", title="Logo", scope="example:read", media_type="image/png")
    async def logo() -> bytes:
        """A picture."""
        return b"\x89PNG"

    @server.resource("example://broken", title="Broken", scope="example:read", media_type="text/plain")
    async def broken() -> str:
        """Never readable."""
        raise RuntimeError("the password is 12345")

    @server.complete("example://note/{id}", "id")
    async def ids(prefix: str) -> Sequence[str]:
        return [id for id in NOTES[current_call().principal.tenant] if id.startswith(prefix)]


def _install_prompts(server: Server) -> None:
    @server.prompt(title="Summarise")
    async def summarise(topic: str) -> str:
        """Summarise something."""
        if topic == "nothing":
            raise BadInput("There is nothing to summarise.")
        return f"Summarise {topic}."


def main(transport: str) -> None:
    settings = Settings.load(os.environ, default_home=Path(tempfile.gettempdir()) / "stoa-example")
    server = create(settings)

    def serve() -> Awaitable[None]:
        if transport == "stdio":
            return serve_stdio(server)
        return serve_http({"example": server}, settings=settings, host="127.0.0.1", port=0, at_root=True)

    run(serve, settings=settings)


if __name__ == "__main__":
    main(sys.argv[1])
