"""Lists, `resources/read`, `prompts/get`, `completion/complete`: FastMCP's components with our scopes and errors.

Lists come in the order of registration, the same each time, without FastMCP's own `_meta`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import mcp_types as types
from fastmcp import FastMCP
from fastmcp.prompts.base import InputRequiredPromptResult
from fastmcp.resources.base import InputRequiredResourceResult
from fastmcp.server.context import Context
from fastmcp.server.dependencies import bind_request_context
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server as LowLevelServer

from kit.call import current_call
from kit.failures import unknown
from stoa.errors import BadInput

__all__ = ["Complete", "Reader"]

Complete = Callable[[str], Awaitable[Sequence[str]]]

RequestContext = ServerRequestContext[Any, Any]

MAX_COMPLETIONS: Final = 100  # the protocol's own limit


class Reader:
    """The handlers. Scopes (by URI template) and completions (by template or prompt, and argument) are filled in
    by whoever registers components.
    """

    def __init__(self, fastmcp: FastMCP[Any]) -> None:
        self._fastmcp = fastmcp
        self.scopes: dict[str, str] = {}
        self.completions: dict[tuple[str, str], Complete] = {}

    def __repr__(self) -> str:
        return f"<Reader: {len(self.scopes)} resources, {len(self.completions)} completions>"

    def install(self, server: LowLevelServer[Any]) -> None:
        page = types.PaginatedRequestParams
        server.add_request_handler("tools/list", page, self._list_tools)
        server.add_request_handler("resources/list", page, self._list_resources)
        server.add_request_handler("resources/templates/list", page, self._list_templates)
        server.add_request_handler("prompts/list", page, self._list_prompts)
        server.add_request_handler("resources/read", types.ReadResourceRequestParams, self._read)
        server.add_request_handler("prompts/get", types.GetPromptRequestParams, self._get_prompt)

    def install_completion(self, server: LowLevelServer[Any]) -> None:
        """Apart from the others: having the handler is what announces the capability."""
        server.add_request_handler("completion/complete", types.CompleteRequestParams, self._complete)

    async def require_to_read(self, uri: str) -> None:
        """Raise `Denied` where the present caller may not read what is, or would be, at this address."""
        template = None if uri in self.scopes else await self._fastmcp.get_resource_template(uri)
        self._require(uri if template is None else template.uri_template)

    async def _list_tools(self, ctx: RequestContext, params: types.PaginatedRequestParams) -> types.ListToolsResult:
        _one_page(params)
        found = await self._fastmcp.list_tools(run_middleware=False)
        return types.ListToolsResult(tools=[each.to_mcp_tool(_meta=each.meta) for each in found])

    async def _list_resources(
        self, ctx: RequestContext, params: types.PaginatedRequestParams
    ) -> types.ListResourcesResult:
        _one_page(params)
        found = await self._fastmcp.list_resources(run_middleware=False)
        return types.ListResourcesResult(resources=[each.to_mcp_resource(_meta=each.meta) for each in found])

    async def _list_templates(
        self, ctx: RequestContext, params: types.PaginatedRequestParams
    ) -> types.ListResourceTemplatesResult:
        _one_page(params)
        found = await self._fastmcp.list_resource_templates(run_middleware=False)
        return types.ListResourceTemplatesResult(
            resource_templates=[each.to_mcp_template(_meta=each.meta) for each in found]
        )

    async def _list_prompts(self, ctx: RequestContext, params: types.PaginatedRequestParams) -> types.ListPromptsResult:
        _one_page(params)
        found = await self._fastmcp.list_prompts(run_middleware=False)
        return types.ListPromptsResult(prompts=[each.to_mcp_prompt(_meta=each.meta) for each in found])

    async def _read(
        self, ctx: RequestContext, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult | types.InputRequiredResult:
        uri = str(params.uri)
        with bind_request_context(ctx):
            async with Context(fastmcp=self._fastmcp, session=ctx.session):
                resource = await self._fastmcp.get_resource(uri)
                if resource is not None:
                    self._require(uri)
                    result = resource.convert_result(await resource.read())
                else:
                    template = await self._fastmcp.get_resource_template(uri)
                    arguments = template.matches(uri) if template is not None else None
                    if template is None or arguments is None:
                        raise unknown("resource", uri, [], uri=uri)
                    self._require(template.uri_template)
                    result = template.convert_result(await template.read(arguments))
        if isinstance(result, InputRequiredResourceResult):
            return result.input_required
        return result.to_mcp_result(uri)

    async def _get_prompt(
        self, ctx: RequestContext, params: types.GetPromptRequestParams
    ) -> types.GetPromptResult | types.InputRequiredResult:
        with bind_request_context(ctx):
            async with Context(fastmcp=self._fastmcp, session=ctx.session):
                prompt = await self._fastmcp.get_prompt(params.name)
                if prompt is None:
                    known = [prompt.name for prompt in await self._fastmcp.list_prompts(run_middleware=False)]
                    raise unknown("prompt", params.name, known)
                given: Mapping[str, Any] = params.arguments or {}
                missing = [a.name for a in prompt.arguments or () if a.required and a.name not in given]
                if missing:
                    raise BadInput(f"The prompt {params.name!r} needs the argument {missing[0]!r}.")
                result = prompt.convert_result(await prompt.render(dict(given)))
        if isinstance(result, InputRequiredPromptResult):
            return result.input_required
        return result.to_mcp_prompt_result()

    async def _complete(self, ctx: RequestContext, params: types.CompleteRequestParams) -> types.CompleteResult:
        """Unknown references complete to nothing: that is no mistake of the person who types."""
        name = params.ref.name if isinstance(params.ref, types.PromptReference) else str(params.ref.uri)
        complete = self.completions.get((name, params.argument.name))
        if complete is None:
            return types.CompleteResult(completion=types.Completion(values=[], total=0, has_more=False))
        self._require(name)
        found = list(await complete(params.argument.value))
        return types.CompleteResult(
            completion=types.Completion(
                values=found[:MAX_COMPLETIONS], total=len(found), has_more=len(found) > MAX_COMPLETIONS
            )
        )

    def _require(self, template: str) -> None:
        scope = self.scopes.get(template)
        if scope is not None:
            current_call().principal.require(scope)


def _one_page(params: types.PaginatedRequestParams) -> None:
    """Lists are whole: no cursor is ever handed out, so none can come back."""
    if params.cursor is not None:
        raise BadInput("The cursor does not belong to this list.", hint="Leave it out.")
