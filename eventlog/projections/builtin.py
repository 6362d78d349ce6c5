"""Read models that every Stoa has: the catalogue of streams, runs, calls of tools, and what models used.

None of them fails over an event that does not look as it should: whoever may append must not be able to park them. All
of them add up, so it does not matter in which order streams come.
"""

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, cast

from eventlog.event import Event
from eventlog.projections.projection import MAX_KEY_CHARACTERS, Document, DocumentProjection

__all__ = ["AI_USAGE", "BUILTIN", "RUNS", "STREAMS", "TOOLS"]

_MOST_TEXT: Final = 2_000
_MOST_NAMES: Final = 100
_SMALLEST_SECONDS: Final = 0.001
_GROWTH: Final = 1.2
_MOST_BUCKETS: Final = 100


def _stream_keys(event: Event) -> Iterable[str]:
    return [event.stream.aggregate_type]


def _stream(key: str, document: Document | None, event: Event) -> Document:
    """`streams` counts first events: of streams that were truncated before the read model was built anew, the log no
    longer knows them."""
    document = document or {"aggregate_type": key, "streams": 0, "events": 0, "last_position": 0}
    document["streams"] += event.version == 1
    document["events"] += 1
    if event.position > document["last_position"]:
        document |= {
            "last_position": event.position,
            "last_at": event.recorded_at.isoformat(),
            "last_stream": event.stream.name,
            "last_type": event.type,
        }
    return document


STREAMS: Final = DocumentProjection(
    name="streams",
    description="Of each aggregate type: how many streams and events there are, and the last one.",
    types=(),
    keys=_stream_keys,
    apply=_stream,
    only_envelopes=True,
)


def _run_keys(event: Event) -> Iterable[str]:
    return [event.stream.aggregate_id[:MAX_KEY_CHARACTERS]]


def _run(key: str, document: Document | None, event: Event) -> Document:
    data = event.data
    document = document or {
        "run_id": key,
        "state": "running",
        "task": "",
        "model": None,
        "servers": [],
        "started_at": event.occurred_at.isoformat(),
        "ended_at": None,
        "tool_calls": 0,
        "tool_errors": 0,
        "requests": 0,
        "input_tokens": 0,
        "output_tokens": 0,
        "cost_usd": None,
        "found": None,
        "text": None,
        "citations": 0,
        "code": None,
        "message": None,
    }
    match event.type:
        case "run.started":
            document |= {
                "task": _text(data.get("task")),
                "model": _text_or_none(data.get("model")),
                "servers": [_text(name) for name in _list(data.get("servers"))[:_MOST_NAMES]],
                "started_at": event.occurred_at.isoformat(),
            }
        case "run.tool_called":
            document["tool_calls"] += 1
            document["tool_errors"] += data.get("is_error") is True
        case "run.model_answered":
            _add_usage(document, data)
        case "run.finished":
            document |= {
                "state": "finished",
                "ended_at": event.occurred_at.isoformat(),
                "found": data.get("found") is True,
                "text": _text(data.get("text")),
                "citations": len(_list(data.get("citations"))),
            }
        case "run.failed":
            document |= {
                "state": "failed",
                "ended_at": event.occurred_at.isoformat(),
                "code": _text(data.get("code")),
                "message": _text(data.get("message")),
            }
        case _:
            pass  # what later versions say of runs
    return document


RUNS: Final = DocumentProjection(
    name="runs",
    description="Of each run: its task, how far it is, what it called and used, and what came of it.",
    types=("run.*",),
    keys=_run_keys,
    apply=_run,
)


def _tool_keys(event: Event) -> Iterable[str]:
    return [f"{_text(event.data.get('server'))}/{_text(event.data.get('tool'))}"[:MAX_KEY_CHARACTERS]]


def _tool(key: str, document: Document | None, event: Event) -> Document:
    """Times add up in whole microseconds: sums of floats would depend on the order. Quantiles come from a histogram
    whose buckets grow by a fifth, so they are known to about 10 %."""
    data = event.data
    document = document or {
        "server": _text(data.get("server")),
        "tool": _text(data.get("tool")),
        "calls": 0,
        "errors": 0,
        "total_us": 0,
        "max_us": 0,
        "buckets": {},
    }
    seconds = _number(data.get("latency_seconds"))
    us = int(min(seconds, 1e9) * 1_000_000)
    document["calls"] += 1
    document["errors"] += data.get("is_error") is True
    document["total_us"] += us
    document["max_us"] = max(document["max_us"], us)
    buckets: dict[str, int] = document["buckets"]
    bucket = str(_bucket(seconds))
    buckets[bucket] = buckets.get(bucket, 0) + 1
    document["buckets"] = {str(number): buckets[str(number)] for number in sorted(map(int, buckets))}
    largest = document["max_us"] / 1_000_000
    document["latency_seconds"] = {
        "mean": round(document["total_us"] / document["calls"] / 1_000_000, 6),
        "max": largest,
        **{f"p{share}": min(_quantile(document["buckets"], share / 100), largest) for share in (50, 95, 99)},
    }
    return document


TOOLS: Final = DocumentProjection(
    name="tools",
    description="Of each tool: calls, errors, and how long its answers took.",
    types=("run.tool_called",),
    keys=_tool_keys,
    apply=_tool,
)


def _model_keys(event: Event) -> Iterable[str]:
    return [_text(event.data.get("model"))[:MAX_KEY_CHARACTERS] or "unknown"]


def _model(key: str, document: Document | None, event: Event) -> Document:
    document = document or {
        "model": key,
        "requests": 0,
        "input_tokens": 0,
        "output_tokens": 0,
        "cost_usd": None,
        "without_price": 0,
    }
    _add_usage(document, event.data)
    document["without_price"] += _money(event.data.get("cost_usd")) is None
    return document


AI_USAGE: Final = DocumentProjection(
    name="ai_usage",
    description="Of each model: requests, tokens and cost.",
    types=("run.model_answered",),
    keys=_model_keys,
    apply=_model,
)

BUILTIN: Final[tuple[DocumentProjection, ...]] = (STREAMS, RUNS, TOOLS, AI_USAGE)


def _add_usage(document: Document, data: Mapping[str, Any]) -> None:
    """Cost is a decimal number as text: money is never a float. None while no price is known."""
    document["requests"] += _count(data.get("requests", 1))
    document["input_tokens"] += _count(data.get("input_tokens"))
    document["output_tokens"] += _count(data.get("output_tokens"))
    cost = _money(data.get("cost_usd"))
    if cost is not None:
        document["cost_usd"] = f"{Decimal(document['cost_usd'] or 0) + cost:f}"


def _money(value: object) -> Decimal | None:
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        cost = Decimal(value)
    except InvalidOperation:
        return None
    # Within what the 28 digits of a Decimal add up without loss; a zero may be written with a million digits.
    if not cost.is_finite() or not 0 <= cost < 10**9 or cost != round(cost, 12):
        return None
    return cost or Decimal(0)


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**40 else 0


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return 0.0
    return float(value) if 0 <= value < 2**63 else 0.0


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _text(value: object) -> str:
    return value[:_MOST_TEXT] if isinstance(value, str) else ""


def _text_or_none(value: object) -> str | None:
    return value[:_MOST_TEXT] if isinstance(value, str) else None


def _bucket(seconds: float) -> int:
    if seconds <= _SMALLEST_SECONDS:
        return 0
    return min(math.ceil(math.log(seconds / _SMALLEST_SECONDS) / math.log(_GROWTH)), _MOST_BUCKETS)


def _quantile(buckets: Mapping[str, int], share: float) -> float:
    left = max(1, math.ceil(share * sum(buckets.values())))
    bucket = 0
    for number, count in buckets.items():
        bucket = int(number)
        left -= count
        if left <= 0:
            break
    return round(_SMALLEST_SECONDS * _GROWTH**bucket, 6)
