"""Building a server from typed functions. The one door to FastMCP: signatures are schemas, docstrings descriptions.

    server = Server("content", version="1.0.0", instructions="Search before you read.", settings=settings)

    @server.tool(title="Search documents", scope="content:read", read_only=True, idempotent=True)
    async def search_documents(query: Annotated[str, Field(description="What to look for, e.g. 'rate limit'")]) -> Hits:
        "Find passages in the stored documents."

What a server promises beyond its functions (who calls, errors, subscriptions, sealed state) is installed here into
FastMCP's low-level server, which the SDK then serves on every transport.
"""

import inspect
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import mcp_types as types
from fastmcp import FastMCP
from fastmcp.prompts import Prompt
from fastmcp.resources import Resource, ResourceTemplate
from fastmcp.server.low_level import FastMCPServerMiddleware
from fastmcp.tools import Tool
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server as LowLevelServer
from mcp.server.request_state import RequestStateSecurity

from kit.call import current_call
from kit.call_tool import CallTool, PreparedTool, prepare, wants_headers
from kit.cursor import Cursors, derive
from kit.failures import admit_failures
from kit.gate import Gate
from kit.identity import internal_key
from kit.lifespan import SharedContext
from kit.read import Complete, Reader
from kit.subscriptions import Changed, Subscriptions, Watch
from kit.tracing import Tracing
from kit.upstream import Alone, open_upstream
from stoa.home import secret_key
from stoa.settings import Settings
from stoa.telemetry import Sample
from stoa.tools import ToolCallers

if TYPE_CHECKING:
    from kit.metrics import Metrics

__all__ = ["Server"]

Function = TypeVar("Function", bound=Callable[..., Any])


class Server:
    """One MCP server: what it can do, not how it is reached (`kit.serve`)."""

    def __init__(
        self,
        name: str,
        *,
        version: str,
        instructions: str,
        settings: Settings,
        lifespan: Callable[[], AbstractAsyncContextManager[None]] | None = None,
        tools: ToolCallers | None = None,
        watch: Watch | None = None,
        samples: Callable[[], Iterable[Sample]] | None = None,
    ) -> None:
        """`lifespan` is entered once per process, whatever the transport; `tools` reaches other servers; `watch` begins
        to look after a resource that somebody subscribes to, for servers whose resources change by others' hands;
        `samples` are shown among the metrics."""
        self.name = name
        self.version = version
        self._settings, self._tools, self._lifespan = settings, tools, lifespan or nullcontext
        self._samples = samples
        self._shared = SharedContext(self._enter)
        key = secret_key(settings)
        self.fastmcp: FastMCP[None] = FastMCP(
            name,
            instructions,
            version=version,
            on_duplicate="error",
            dereference_schemas=False,
            request_state_security=RequestStateSecurity(keys=[derive(key, "state")], bind_principal=_caller),
        )
        self._prepared: dict[str, PreparedTool] = {}
        self._reader = Reader(self.fastmcp)
        self.subscriptions = Subscriptions(
            whose=lambda: current_call().principal.tenant, admit=self._reader.require_to_read, watch=watch
        )
        self.gate = Gate(
            name=name,
            internal_key=internal_key(settings),
            cursors=Cursors(key),
            subscriptions=self.subscriptions,
            tools=tools or Alone(),
        )
        self._install()

    def __repr__(self) -> str:
        return f"<Server {self.name!r} {self.version}: {len(self._prepared)} tools>"

    @property
    def lowlevel(self) -> LowLevelServer[Any]:
        """What the transports serve; `mcp.Client` takes it as it is for a connection within the process."""
        return self.fastmcp._mcp_server  # pyright: ignore[reportPrivateUsage]  # FastMCP has no public name for it

    def tool(
        self,
        *,
        title: str,
        scope: str,
        read_only: bool,
        idempotent: bool,
        destructive: bool = False,
        open_world: bool = False,
        schema: Mapping[str, Any] | None = None,
    ) -> Callable[[Function], Function]:
        """Make the function a tool of its name. It returns a pydantic model (which gives the output schema,
        and the text mirror by a method `as_text`, else as JSON) or text;
        raw content blocks of the SDK pass through. Functions that are not `async` run in a worker thread.

        `schema` replaces the input schema that the signature gives; arguments are checked by the signature as before.
        """
        annotations = types.ToolAnnotations(
            title=title,
            read_only_hint=read_only,
            idempotent_hint=idempotent,
            destructive_hint=destructive,
            open_world_hint=open_world,
        )

        def register(function: Function) -> Function:
            options: dict[str, Any] = {"title": title, "annotations": annotations}
            if _returns_text(function):
                options["output_schema"] = None
            tool = Tool.from_function(function, **options)
            prepared = prepare(tool, scope=scope)
            changes: dict[str, Any] = {} if schema is None else {"parameters": dict(schema)}
            if tool.output_schema is not None:
                changes["output_schema"] = admit_failures(tool.output_schema)
            tool = tool.model_copy(update=changes)
            prepared = replace(prepared, tool=tool, has_headers=wants_headers(tool))
            self._prepared[tool.name] = prepared
            self.fastmcp.add_tool(tool)
            return function

        return register

    def resource(self, template: str, *, title: str, scope: str, media_type: str) -> Callable[[Function], Function]:
        """Make the function a resource: `content://document/{id}` is a template, without braces it is a single one.

        It returns text or bytes.
        """

        def register(function: Function) -> Function:
            if "{" in template:
                self.fastmcp.add_template(
                    ResourceTemplate.from_function(function, template, title=title, mime_type=media_type)
                )
            else:
                self.fastmcp.add_resource(Resource.from_function(function, template, title=title, mime_type=media_type))
            self._reader.scopes[template] = scope
            return function

        return register

    def complete(self, template: str, argument: str) -> Callable[[Complete], Complete]:
        """Completions for an argument of a resource template (or of a prompt, by its name)."""

        def register(function: Complete) -> Complete:
            self._reader.completions[template, argument] = function
            self._reader.install_completion(self.lowlevel)
            return function

        return register

    def prompt(self, *, title: str) -> Callable[[Function], Function]:
        """Make the function a prompt of its name."""

        def register(function: Function) -> Function:
            self.fastmcp.add_prompt(Prompt.from_function(function, title=title))
            return function

        return register

    def _hold(self, _: LowLevelServer[Any]) -> AbstractAsyncContextManager[object]:
        return self._shared.held()

    @asynccontextmanager
    async def _enter(self) -> AsyncGenerator[object]:
        """FastMCP's lifespan, the server's own, and the way to other servers unless the composer has given one."""
        async with AsyncExitStack() as stack:
            if self._tools is None:
                self.gate.tools = await stack.enter_async_context(open_upstream(self._settings))
            await stack.enter_async_context(self._lifespan())
            yield await stack.enter_async_context(self._fastmcp_lifespan(self.lowlevel))

    def observe(self, metrics: "Metrics") -> None:
        """Count requests from now on."""
        if self._samples is not None:
            metrics.add(self._samples)
        self.gate.observer = metrics.observer(
            self.name, knows_method=self._knows_method, knows_tool=self._prepared.__contains__
        )

    def _knows_method(self, method: str) -> bool:
        return method == "initialize" or self.lowlevel.get_request_handler(method) is not None

    async def announce(self, what: Changed, *, tenant: str | None = None) -> None:
        """Tell clients that a list has changed; `tenant=None` tells all of them."""
        await self.subscriptions.list_changed(what, tenant=tenant)

    def _install(self) -> None:
        server = self.lowlevel
        kept = [part for part in server.middleware if not isinstance(part, FastMCPServerMiddleware)]
        server.middleware[:] = [Tracing(), self.gate, *kept]
        server.get_tool_input_schema = self._input_schema
        self._fastmcp_lifespan, server.lifespan = server.lifespan, self._hold
        server.add_request_handler("tools/call", types.CallToolRequestParams, CallTool(self.fastmcp, self._prepared))
        self._reader.install(server)
        self.subscriptions.install(server)

    def _input_schema(self, name: str) -> Mapping[str, Any] | None:
        """For checking headers against arguments; none for a tool that wants no headers."""
        # Without this look-up the SDK lists all tools before every call over HTTP.
        prepared = self._prepared.get(name)
        return prepared.tool.parameters if prepared is not None and prepared.has_headers else None


def _caller(_: ServerRequestContext[Any, Any]) -> str:
    """Whom sealed request state belongs to."""
    principal = current_call().principal
    return f"{principal.tenant}\n{principal.subject}"


def _returns_text(function: Callable[..., Any]) -> bool:
    return inspect.signature(function).return_annotation in (str, "str")
