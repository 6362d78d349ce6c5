"""One OpenTelemetry span for each message, as the SDK makes it; nothing at all where nobody would see it.

Without a configured provider a span only hands on the caller's trace, and only if there is one. Making such a span
costs a tenth of a whole call, so it is made when a provider is configured or the message carries a trace. What is no
trace by the rules of W3C is left out without a word: OpenTelemetry would raise, or log all of it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, cast

import mcp_types as types
from mcp.server._otel import OpenTelemetryMiddleware
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from opentelemetry import trace

__all__ = ["Tracing", "traceparent"]

MAX_STATE_CHARACTERS: Final = 512
MAX_BAGGAGE_CHARACTERS: Final = 8192
MAX_BAGGAGE_MEMBERS: Final = 180
MAX_MEMBER_CHARACTERS: Final = 4096

_PARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_STATE_MEMBER: Final = re.compile(
    r"[a-z0-9][a-z0-9_\-*/@]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_BAGGAGE_MEMBER: Final = re.compile(
    r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+[ \t]*="
    r"[ \t]*[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*[ \t]*(?:;[\t\x20-\x2b\x2d-\x7e]*)?"
)


class Tracing:
    def __init__(self) -> None:
        self._spans = OpenTelemetryMiddleware()

    def __repr__(self) -> str:
        return "<Tracing>"

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        meta = cast("Mapping[str, object] | None", ctx.meta)
        wrong = [key for key in _CARRIERS if key in meta and not _is_well_formed(key, meta[key])] if meta else []
        if meta and wrong:
            meta = {key: value for key, value in meta.items() if key not in wrong}
            ctx = replace(ctx, meta=cast("types.RequestParamsMeta", meta))
        if _has_provider() or (meta and ("traceparent" in meta or "baggage" in meta)):
            return await self._spans(ctx, call_next)
        return await call_next(ctx)


def traceparent() -> str | None:
    """The trace that the present message belongs to, as W3C Trace Context writes it; none where nobody traces."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def _has_provider() -> bool:
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _is_well_formed(key: str, value: object) -> bool:
    return isinstance(value, str) and _CARRIERS[key](value)


def _is_parent(text: str) -> bool:
    return _PARENT.fullmatch(text) is not None


def _is_state(text: str) -> bool:
    return len(text) <= MAX_STATE_CHARACTERS and all(
        _STATE_MEMBER.fullmatch(member) for each in text.split(",") if (member := each.strip(" \t"))
    )


def _is_baggage(text: str) -> bool:
    if len(text) > MAX_BAGGAGE_CHARACTERS or text.count(",") >= MAX_BAGGAGE_MEMBERS:
        return False
    members = [member.strip(" \t") for member in text.split(",")]
    return all(len(each) <= MAX_MEMBER_CHARACTERS and _BAGGAGE_MEMBER.fullmatch(each) for each in members)


_CARRIERS: Final[Mapping[str, Callable[[str], bool]]] = {
    "traceparent": _is_parent,
    "tracestate": _is_state,
    "baggage": _is_baggage,
}
