"""The trace that a call belongs to, on its way to the server: W3C trace context in `_meta` (SEP-414)."""

from collections.abc import Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.propagate import inject

__all__ = ["with_trace"]


def with_trace(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters with the present span as parent; outside of a span they stay as they are, also with what a
    client has put there itself."""
    if not trace.get_current_span().get_span_context().is_valid:
        return params
    carrier: dict[str, str] = {}
    inject(carrier)
    meta = params.get("_meta")
    return {**params, "_meta": {**meta, **carrier} if isinstance(meta, Mapping) else carrier}
