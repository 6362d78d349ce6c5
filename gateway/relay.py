"""The last middleware: requests about tools, prompts and resources are answered here and go no further into the SDK,
which would check and rebuild every argument and result a second time. What is checked is what is used here: names.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, cast

import mcp_types as types
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError

from gateway.access import Access, without_words
from gateway.circle import GATEWAY_NAME, marked
from gateway.client import Client
from gateway.names import OWN_TOOLS, candidates, owner_of
from gateway.offers import Offers
from gateway.passing import Passing
from gateway.search import Search
from gateway.servers_resource import SERVERS_URI, ServersResource
from gateway.shapes import for_client, own_result
from gateway.view import Listed
from kit.call import Call, current_call
from kit.failures import failed_result, protocol_error, unknown
from pool.verdict import after_refusal
from pool.wire.failures import Refusal
from stoa.errors import BadInput, NotFound, StoaError, Unavailable

__all__ = ["Relay"]

MAX_SHOWN: Final = 256
"""Characters of an unknown name that are said again."""

RESOURCE_NOT_FOUND: Final = -32002
"""What revisions before 2026-07-28 answer for an address that nothing has."""

Handler = Callable[[Client, Call, Mapping[str, Any]], Awaitable[dict[str, Any]]]


class Relay:
    """Knows no state of its own."""

    def __init__(
        self,
        *,
        offers: Offers,
        passing: Passing,
        access: Access,
        search: Search,
        about: ServersResource,
        stamp: Mapping[str, Any],
        me: str,
    ) -> None:
        """`me` tells this gateway from others."""
        self._offers = offers
        self._passing = passing
        self._access = access
        self._search = search
        self._about = about
        self._stamp = stamp
        self._me = me
        self._handlers: dict[str, Handler] = {
            "tools/call": self._call_tool,
            "tools/list": self._list_tools,
            "prompts/list": self._list_prompts,
            "prompts/get": self._get_prompt,
            "resources/list": self._list_resources,
            "resources/templates/list": self._list_templates,
            "resources/read": self._read_resource,
            "completion/complete": self._complete,
        }

    def __repr__(self) -> str:
        return f"<Relay {self._offers!r}>"

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        handler = self._handlers.get(ctx.method) if ctx.request_id is not None else None
        if handler is None:
            return await call_next(ctx)
        client = Client(ctx)
        if not client.connection.initialize_accepted:
            raise MCPError(types.INVALID_PARAMS, "The first request of a connection has to be initialize.")
        try:
            return await handler(client, current_call(), ctx.params or {})
        except Refusal as refusal:
            raise _error(refusal, is_modern=client.is_modern) from refusal
        except StoaError as error:
            raise self._shown(error, current_call()) from error

    # -- tools -------------------------------------------------------------------------------------------------------

    async def _call_tool(self, client: Client, call: Call, params: Mapping[str, Any]) -> dict[str, Any]:
        name = _text(params, "name")
        arguments = params.get("arguments")
        if arguments is not None and not isinstance(arguments, dict):
            raise BadInput("`arguments` has to be an object.")
        if name in OWN_TOOLS and (
            self._search.is_on(self._offers.view) or self._search.is_on(await self._offers.fresh())
        ):
            given = cast("dict[str, Any]", arguments or {})
            try:
                if name != "call_tool":
                    found = await self._search.answer(name, given, self._visible(call))
                    return self._own(found, "tools/call", client)
                name, params = self._search.unfold(given, params)
            except StoaError as error:
                return self._own(failed_result(error), "tools/call", client)
        try:
            tool = self._offers.view.by_name.get(name) or await self._find_tool(name, call)
        except Unavailable as error:
            return self._own(failed_result(self._shown(error, call)), "tools/call", client)
        try:
            self._access.require(call.principal, tool.server)
            result = await self._send(client, call, tool.server, "tools/call", params, "name", tool.info.ref.tool)
        except StoaError as error:
            failed = failed_result(self._shown(error, call))
            if tool.info.output_schema is not None and not self._access.is_told(tool.server):
                # Clients check it against the tool's own schema, which knows nothing of our failures.
                del failed["structuredContent"]
            return self._own(failed, "tools/call", client)
        return result

    async def _find_tool(self, name: str, call: Call) -> Listed:
        """A tool that no listing has shown yet. Raises the error of an unknown name, or why its server is away."""
        owner = owner_of(name, self._offers.servers) if len(self._offers.servers) > 1 else None
        view = await self._offers.fresh(owner)
        found = view.by_name.get(name)
        if found is None and owner is not None:
            found = (await self._offers.fresh()).by_name.get(name)
        if found is not None:
            return found
        raise self._why_not("tool", name, [tool.name for tool in self._visible(call)], call)

    def _why_not(self, kind: str, name: str, known: list[str], call: Call) -> Exception:
        """Nothing has this name. But where nobody knows what a server has, a name of its cannot be called wrong."""
        view = self._offers.view
        for server in candidates(name, view.servers) if len(view.servers) > 1 else view.servers:
            if server not in view.offers and self._access.allows(call.principal, server):
                return self._about.why(server)
        return unknown(kind, name if len(name) <= MAX_SHOWN else f"{name[:MAX_SHOWN]}…", known)

    def _shown(self, error: StoaError, call: Call) -> StoaError:
        """The error as the caller may read it."""
        if self._access.sees_inside(call.principal) or (said := without_words(error.message)) == error.message:
            return error
        return type(error)(said, hint=error.hint, retry_after=error.retry_after)

    async def _list_tools(self, client: Client, call: Call, params: Mapping[str, Any]) -> dict[str, Any]:
        _one_page(params)
        view = await self._offers.fresh()
        visible = self._visible(call)
        if self._search.is_on(view) and client.name != GATEWAY_NAME:  # another gateway searches for itself
            tools = self._search.listed(visible, is_modern=client.is_modern)
        else:
            tools = [tool.wire(is_modern=client.is_modern) for tool in visible]
        return self._list("tools", tools, "tools/list", client)

    def _visible(self, call: Call) -> list[Listed]:
        allowed = self._allowed(call)
        return [tool for tool in self._offers.view.tools if tool.server in allowed]

    # -- prompts -----------------------------------------------------------------------------------------------------

    async def _list_prompts(self, client: Client, call: Call, params: Mapping[str, Any]) -> dict[str, Any]:
        _one_page(params)
        view = await self._offers.fresh()
        return self._list("prompts", view.listed_prompts(self._allowed(call)), "prompts/list", client)

    async def _get_prompt(self, client: Client, call: Call, params: Mapping[str, Any]) -> dict[str, Any]:
        server, own = await self._find_prompt(_text(params, "name"), call)
        self._access.require(call.principal, server)
        return await self._send(client, call, server, "prompts/get", params, "name", own)

    async def _find_prompt(self, name: str, call: Call) -> tuple[str, str]:
        origin = self._offers.view.prompts.origin.get(name)
        if origin is None:
            view = await self._offers.fresh()
            origin = view.prompts.origin.get(name)
            if origin is None:
                known = [str(prompt["name"]) for prompt in view.listed_prompts(self._allowed(call))]
                raise self._why_not("prompt", name, known, call)
        return origin

    # -- resources ---------------------------------------------------------------------------------------------------

    async def _list_resources(self, client: Client, call: Call, params: Mapping[str, Any]) -> dict[str, Any]:
        _one_page(params)
        view = await self._offers.fresh()
        resources = [*self._about.listed(), *view.listed_resources(self._allowed(call))]
        return self._list("resources", resources, "resources/list", client)

    async def _list_templates(self, client: Client, call: Call, params: Mapping[str, Any]) -> dict[str, Any]:
        _one_page(params)
        view = await self._offers.fresh()
        templates = view.listed_templates(self._allowed(call))
        return self._list("resourceTemplates", templates, "resources/templates/list", client)

    async def _read_resource(self, client: Client, call: Call, params: Mapping[str, Any]) -> dict[str, Any]:
        uri = _text(params, "uri")
        if uri == SERVERS_URI:
            sees_inside = self._access.sees_inside(call.principal)
            about = self._about.read(self._allowed(call), sees_inside=sees_inside)
            return self._own(about, "resources/read", client)
        server = await self.server_of(uri)
        self._access.require(call.principal, server)
        return await self._send(client, call, server, "resources/read", params, "uri", uri)

    async def server_of(self, uri: str) -> str:
        """The server of an address. Raises the error of an unknown one."""
        server = self._offers.view.routes.find(uri) or (await self._offers.fresh()).routes.find(uri)
        if server is None:
            if len(self._offers.servers) == 1:
                return self._offers.servers[0]  # whatever it is, there is nobody else to ask
            raise unknown("resource", uri[:MAX_SHOWN], [], uri=uri[:MAX_SHOWN])
        return server

    async def _complete(self, client: Client, call: Call, params: Mapping[str, Any]) -> dict[str, Any]:
        """Unknown references complete to nothing: that is no mistake of the person who types."""
        reference = params.get("ref")
        ref = cast("dict[str, Any]", reference) if isinstance(reference, dict) else {}
        try:
            if ref.get("type") == "ref/prompt":
                server, own = await self._find_prompt(_text(ref, "name"), call)
                ref = {**ref, "name": own}
            else:
                own = _text(ref, "uri")
                server = await self.server_of(own)
        except MCPError:
            return self._own(_no_completion(), "completion/complete", client)
        self._access.require(call.principal, server)
        offer = self._offers.view.offers.get(server)
        if offer is not None and "completions" not in offer.capabilities and offer.capabilities:
            return self._own(_no_completion(), "completion/complete", client)
        return await self._send(client, call, server, "completion/complete", {**params, "ref": ref}, "", own)

    # -- both ways ---------------------------------------------------------------------------------------------------

    async def _send(
        self, client: Client, call: Call, server: str, method: str, params: Mapping[str, Any], key: str, own: str
    ) -> dict[str, Any]:
        """Pass a request on, with the server's own name for the thing."""
        offer = self._offers.view.offers.get(server)
        wanted = {**params, key: own} if key else params
        try:
            result = await self._passing.send(client, call, server, method, wanted, offer=offer, target=own)
        except Refusal as refusal:
            if refusal.status is None:
                raise  # an error of the protocol that the server itself has chosen
            raise after_refusal(refusal, f"{server}.{own}", server=server) from refusal
        return for_client(result, method, is_modern=client.is_modern, stamp=self._stamp)

    def _list(self, key: str, entries: Iterable[Mapping[str, Any]], method: str, client: Client) -> dict[str, Any]:
        listed = marked(entries, self._me) if client.name == GATEWAY_NAME else list(entries)
        return self._own({key: listed}, method, client)

    def _own(self, fields: dict[str, Any], method: str, client: Client) -> dict[str, Any]:
        return own_result(fields, method, is_modern=client.is_modern, stamp=self._stamp)

    def _allowed(self, call: Call) -> list[str]:
        return [server for server in self._offers.view.servers if self._access.allows(call.principal, server)]


def _text(params: Mapping[str, Any], key: str) -> str:
    value = params.get(key)
    if not isinstance(value, str):
        raise BadInput(f"`{key}` is missing, or no text.")
    return value


def _no_completion() -> dict[str, Any]:
    return {"completion": {"values": [], "total": 0, "hasMore": False}}


def _one_page(params: Mapping[str, Any]) -> None:
    """Lists are whole: no cursor is ever handed out, so none can come back."""
    if params.get("cursor") is not None:
        raise BadInput("The cursor does not belong to this list.", hint="Leave it out.")


def _error(refusal: Refusal, *, is_modern: bool) -> MCPError:
    """The server's own error, as it came."""
    if refusal.code == RESOURCE_NOT_FOUND and is_modern:
        return protocol_error(NotFound(refusal.message))
    return MCPError(refusal.code, refusal.message, refusal.data)
