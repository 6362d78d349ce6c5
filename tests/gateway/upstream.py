"""A server that does everything there is to pass on, in either era: the same tool asks as its era asks."""

import warnings
from typing import Any, cast

import anyio
import mcp_types as types
from fastmcp import Context
from mcp.shared.message import ServerMessageMetadata
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel

from kit.author import Server
from kit.call import current_call
from stoa.settings import Settings

__all__ = ["Upstream"]

FORM: dict[str, Any] = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


class Echo(BaseModel):
    text: str


class Upstream:
    """The server, and what happened in it that a client cannot see. `name` is what it calls itself."""

    def __init__(self, settings: Settings, name: str = "upstream") -> None:
        self.server = Server(name, version="3.2.1", instructions="Everything.", settings=settings)
        self.waiting = anyio.Event()
        self.cancelled = anyio.Event()
        self.metas: list[dict[str, Any]] = []
        self.calls = 0
        self._install_plain()
        self._install_asking()
        self._install_lists()

    def _install_plain(self) -> None:
        tool = self.server.tool(title="Plain", scope="upstream:read", read_only=True, idempotent=True)
        write = self.server.tool(title="Writes", scope="upstream:write", read_only=False, idempotent=False)

        @tool
        async def echo(text: str, ctx: Context) -> Echo:
            """Give the text back."""
            assert ctx.request_context is not None
            self.metas.append(dict(ctx.request_context.meta or {}))
            return Echo(text=text)

        @tool
        async def who() -> str:
            """Who calls."""
            principal = current_call().principal
            return f"{principal.subject} of {principal.tenant}, {current_call().hops} hops"

        @tool
        async def count(to: int) -> str:
            """Tell how far it is."""
            for step in range(to):
                await current_call().progress(step + 1, to, f"step {step + 1}")
            return "counted"

        @tool
        async def wait() -> str:
            """Wait until somebody cancels it."""
            self.waiting.set()
            try:
                await anyio.sleep_forever()
            finally:
                self.cancelled.set()
            return "nobody stopped it"

        @tool
        async def tell(ctx: Context) -> str:
            """Say something beside the answer, softly and aloud."""
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the SDK says that 2026-07-28 would rather have no log
                log = cast("Any", ctx.session).send_log_message
                await log("debug", "softly", related_request_id=ctx.request_id)
                await log("warning", "aloud", related_request_id=ctx.request_id)
            return "told"

        @tool
        async def fail() -> str:
            """Fail."""
            raise ValueError("the password is 12345")

        @write
        async def change(id: str) -> str:
            """Change a note."""
            await current_call().resource_updated(f"note://{id}")
            return "changed"

        @write
        async def grow() -> str:
            """Get another tool."""

            @tool
            async def grown() -> str:
                """New."""
                return "grown"

            await self.server.announce("tools")
            return "grew"

    def _install_asking(self) -> None:
        tool = self.server.tool(title="Asks", scope="upstream:read", read_only=True, idempotent=True)

        @tool
        async def ask(ctx: Context) -> str | types.InputRequiredResult:
            """Ask the user for a name."""
            asked = types.ElicitRequest(
                params=types.ElicitRequestFormParams(message="Who are you?", requested_schema=FORM)
            )
            answer = await _asked(ctx, "name", asked, types.ElicitResult)
            if isinstance(answer, types.InputRequiredResult):
                return answer
            return f"{answer.action} {_name(answer)}"

        @tool
        async def ask_twice(ctx: Context) -> str | types.InputRequiredResult:
            """Ask for two names, one after the other."""
            asked = types.ElicitRequest(params=types.ElicitRequestFormParams(message="A name?", requested_schema=FORM))
            if _is_modern(ctx):
                names = [*(ctx.request_state or "").split(), *_names(ctx)]
                if len(names) == 2:
                    return " and ".join(names)
                return types.InputRequiredResult(input_requests={"name": asked}, request_state=" ".join(names))
            first = await _asked(ctx, "name", asked, types.ElicitResult)
            second = await _asked(ctx, "name", asked, types.ElicitResult)
            return f"{_name(first)} and {_name(second)}"

        @tool
        async def sample(ctx: Context) -> str | types.InputRequiredResult:
            """Have the client's model write something."""
            message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text="Write."))
            asked = types.CreateMessageRequest(
                params=types.CreateMessageRequestParams(messages=[message], max_tokens=9)
            )
            answer = await _asked(ctx, "text", asked, types.CreateMessageResult)
            if isinstance(answer, types.InputRequiredResult):
                return answer
            return f"{answer.model}: {answer.content.text if isinstance(answer.content, types.TextContent) else ''}"

        @tool
        async def roots(ctx: Context) -> str | types.InputRequiredResult:
            """Where the client works."""
            answer = await _asked(ctx, "roots", types.ListRootsRequest(), types.ListRootsResult)
            if isinstance(answer, types.InputRequiredResult):
                return answer
            return " ".join(str(root.uri) for root in answer.roots)

    def _install_lists(self) -> None:
        @self.server.resource("note://first", title="First", scope="upstream:read", media_type="text/plain")
        async def first() -> str:
            return f"first of {current_call().principal.tenant}"

        @self.server.resource("note://{id}", title="A note", scope="upstream:read", media_type="text/plain")
        async def note(id: str) -> str:
            return f"note {id}"

        async def ids(prefix: str) -> list[str]:
            return [each for each in ("first", "second") if each.startswith(prefix)]

        self.server.complete("note://{id}", "id")(ids)
        self.server.complete("greet", "name")(ids)

        @self.server.prompt(title="Greet")
        async def greet(name: str) -> str:
            """Greet somebody."""
            return f"Say hello to {name}."


def _is_modern(ctx: Context) -> bool:
    return ctx.session.protocol_version in MODERN_PROTOCOL_VERSIONS


async def _asked(ctx: Context, key: str, request: Any, result: type[Any]) -> Any:
    """The client's answer, or what a tool returns to get one."""
    if not _is_modern(ctx):
        related = ServerMessageMetadata(related_request_id=ctx.request_id)
        return await ctx.session.send_request(request, result, metadata=related)
    if ctx.input_responses and key in ctx.input_responses:
        return ctx.input_responses[key]
    return types.InputRequiredResult(input_requests={key: request}, request_state="asked")


def _names(ctx: Context) -> list[str]:
    answer = (ctx.input_responses or {}).get("name")
    return [_name(answer)] if isinstance(answer, types.ElicitResult) else []


def _name(answer: types.ElicitResult) -> str:
    return str((answer.content or {}).get("name"))
