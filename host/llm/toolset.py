"""The pool's tools as pydantic-ai sees them: names, schemas, consent, deadlines, and results marked as data.

Consent: a tool runs when its server is trusted and says that the tool only reads, or when the person has allowed
changes. Every other call is refused before anything is sent, and noted as a command that the person can run.
"""

import json
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from pydantic import JsonValue
from pydantic_ai import ModelRetry, RunContext, ToolDefinition, ToolFailed
from pydantic_ai.toolsets import AbstractToolset
from pydantic_ai.toolsets.abstract import ToolsetTool
from pydantic_core import SchemaValidator, core_schema

from host.answer import OnStep, Proposal, Step
from host.evidence import read_hits
from host.llm.names import name_tools
from host.llm.sources import Sources, present
from pool.catalogue import ToolInfo
from pool.pool import Pool
from stoa.errors import OutcomeUnknown, StoaError
from stoa.principal import Principal
from stoa.tools import ToolCall, ToolRef, ToolResult

__all__ = ["Limits", "PoolToolset", "may_run"]

_OBJECT: Final = SchemaValidator(core_schema.dict_schema(core_schema.str_schema(), core_schema.any_schema()))
"""Arguments are any JSON object: the server checks them against its schema and says what is wrong."""

_MAX_RETRIES: Final = 3
_LONGEST_SUMMARY: Final = 120
_LONGEST_FAILURE: Final = 2_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may use: answers of the model, tool calls, seconds in all and for each call, characters of a
    result, tools that are offered."""

    requests: int = 16
    tool_calls: int = 48
    seconds: float = 300
    call_seconds: float = 60
    result_characters: int = 24_000
    tools: int = 60


class PoolToolset(AbstractToolset[None]):
    """Tools for one run; it keeps what was called, what was refused and what may be cited."""

    def __init__(
        self,
        pool: Pool,
        tools: Sequence[ToolInfo],
        *,
        principal: Principal,
        trusted: Collection[str],
        allow_writes: bool,
        limits: Limits,
        on_step: OnStep,
    ) -> None:
        self._pool = pool
        self._principal = principal
        self._limits = limits
        self._on_step = on_step
        known = {tool.ref: tool for tool in tools}
        named = name_tools(known)
        self._tools = {name: known[ref] for name, ref in named.items()}
        self._allowed = {ref for ref, tool in known.items() if allow_writes or may_run(tool, trusted)}
        self._trusted = trusted
        self.sources = Sources()
        self.steps: list[Step] = []
        self.proposals: list[Proposal] = []
        self._started = 0

    def __repr__(self) -> str:
        return f"<PoolToolset {len(self._tools)} tools, {len(self._allowed)} may run, {self._started} calls>"

    @property
    def id(self) -> str:
        return "pool"

    @property
    def count(self) -> int:
        return len(self._tools)

    def name_of(self, name: str) -> str:
        """`server.tool`, for a name that the model knows; what it made up stays as it is."""
        info = self._tools.get(name)
        return name if info is None else str(info.ref)

    async def get_tools(self, ctx: RunContext[None]) -> dict[str, ToolsetTool[None]]:
        """All tools, those that may run first: a model that needs one of the others can propose the call."""
        names = sorted(self._tools, key=lambda name: self._tools[name].ref not in self._allowed)
        return {name: self._offer(name, self._tools[name]) for name in names}

    # pydantic-ai's own signature says Any for arguments and result
    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[None], tool: ToolsetTool[None]
    ) -> str:
        """One call through the pool. The model is told of every failure in words; only the person ends a run."""
        info = self._tools[name]
        arguments = cast("dict[str, JsonValue]", tool_args)
        if info.ref not in self._allowed:
            raise ToolFailed(self._refuse(info, arguments))
        if self._started >= self._limits.tool_calls:
            raise ToolFailed(
                f"All {self._limits.tool_calls} tool calls of this run are used. Answer with what you have."
            )
        self._started += 1
        result = await self._call(info.ref, arguments)
        if not result.is_error:
            return present(info.ref, result, self.sources, most_characters=self._limits.result_characters)
        message = f"{info.ref} failed: {result.text[:_LONGEST_FAILURE]}"
        # Arguments can be mended by the model; pydantic-ai ends the run when it is asked to retry too often.
        if _code(result) in {None, "bad_input"} and ctx.retry < ctx.max_retries:
            raise ModelRetry(message)
        raise ToolFailed(message)

    async def _call(self, ref: ToolRef, arguments: dict[str, JsonValue]) -> ToolResult:
        try:
            served = await self._pool.call(
                ToolCall(ref, arguments), principal=self._principal, timeout_seconds=self._limits.call_seconds
            )
        except StoaError as error:
            self._record(Step(ref, arguments, "none", 0.0, is_error=True, summary=_shorten(str(error))))
            again = " Do not call it again." if isinstance(error, OutcomeUnknown) else ""
            raise ToolFailed(f"{ref} failed: {error}{again}") from error
        result = served.result
        hits = () if result.is_error else read_hits(result.structured)
        summary = f"{len(hits)} hits" if hits else _shorten(result.text)
        self._record(Step(ref, arguments, served.replica, served.latency_seconds, result.is_error, summary))
        return result

    def _record(self, step: Step) -> None:
        self.steps.append(step)
        self._on_step(step)

    def _refuse(self, info: ToolInfo, arguments: dict[str, JsonValue]) -> str:
        command = shlex.join(["stoa", "call", str(info.ref), "--args", json.dumps(arguments, ensure_ascii=False)])
        if info.read_only and info.ref.server not in self._trusted:
            why = f"The server {info.ref.server!r} is not marked as trusted in mcp.json."
        else:
            why = "It changes something, so it is left to you; --allow-writes lets the model do it."
        if all(proposal.command != command for proposal in self.proposals):
            self.proposals.append(Proposal(command, why))
        return (
            f"Not done: {info.ref} may not run here. {why} The call is noted as a proposal that the person will see "
            "beside your answer; say plainly that it was not done."
        )

    def _offer(self, name: str, info: ToolInfo) -> ToolsetTool[None]:
        allowed = info.ref in self._allowed
        about = info.description or info.title
        definition = ToolDefinition(
            name=name,
            description=about if allowed else f"(Only proposes the call to the person, does not run it.) {about}",
            parameters_json_schema=_schema(info),
            sequential=not info.read_only,
        )
        return ToolsetTool(toolset=self, tool_def=definition, max_retries=_MAX_RETRIES, args_validator=_OBJECT)


def may_run(tool: ToolInfo, trusted: Collection[str]) -> bool:
    """Whether a tool may run without anybody's consent. What an untrusted server says of itself is not believed."""
    return tool.read_only and tool.ref.server in trusted


def _schema(info: ToolInfo) -> dict[str, Any]:
    """The schema as the server gave it; providers insist on an object with properties."""
    return {"type": "object", "properties": {}, **info.input_schema}


def _code(result: ToolResult) -> str | None:
    code = result.structured.get("code") if isinstance(result.structured, dict) else None
    return code if isinstance(code, str) else None


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_SUMMARY else line[: _LONGEST_SUMMARY - 1] + "…"
