"""One OpenTelemetry span for each message, as the SDK makes it; nothing at all where nobody would see it.

Without a configured provider a span only hands on the caller's trace, and only if there is one. Making such a span
costs a tenth of a whole call, so it is made when a provider is configured or the message carries a trace.
"""

from typing import Any, Final

from mcp.server._otel import OpenTelemetryMiddleware
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from opentelemetry import trace

__all__ = ["Tracing"]

_CARRIERS: Final = ("traceparent", "baggage")


class Tracing:
    def __init__(self) -> None:
        self._spans = OpenTelemetryMiddleware()

    def __repr__(self) -> str:
        return "<Tracing>"

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        if _has_provider() or _carries_trace(ctx):
            return await self._spans(ctx, call_next)
        return await call_next(ctx)


def _has_provider() -> bool:
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _carries_trace(ctx: ServerRequestContext[Any, Any]) -> bool:
    meta: Any = ctx.params.get("_meta") if ctx.params else None
    return isinstance(meta, dict) and any(key in meta for key in _CARRIERS)
