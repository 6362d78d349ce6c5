"""What a run leaves in the log: its events, the JSON they carry, and the stream they lie in. Pure.

A run is the stream `run-<id>` of the caller's tenant; the run's id is the correlation id of all its events.

A run without its last event was cut off: what stands in the stream is what it had done.
"""

from collections.abc import Mapping
from typing import Any, Final

from eventlog.event import Metadata, StreamId
from stoa.principal import Principal

__all__ = [
    "DESCRIPTIONS",
    "FAILED",
    "FINISHED",
    "MODEL_ANSWERED",
    "SCHEMAS",
    "STARTED",
    "TOOL_CALLED",
    "metadata",
    "stream_of",
]

STARTED: Final = "run.started"
TOOL_CALLED: Final = "run.tool_called"
MODEL_ANSWERED: Final = "run.model_answered"
FINISHED: Final = "run.finished"
FAILED: Final = "run.failed"

DESCRIPTIONS: Final = {
    STARTED: "A run began: its task, who is to answer it, and with which servers.",
    TOOL_CALLED: "A run called a tool: with what, who served it, and what became of it.",
    MODEL_ANSWERED: "A model answered within a run: its words, the calls it wished for, and what it used.",
    FINISHED: "A run has its answer, with citations and what is proposed.",
    FAILED: "A run ended without an answer; `code` is that of the error, or `interrupted`.",
}

SOURCE: Final = "host"

Schema = Mapping[str, Any]  # JSON Schema is raw JSON

_TEXT: Final[Schema] = {"type": "string"}
_TEXT_OR_NULL: Final[Schema] = {"type": ["string", "null"]}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_SECONDS: Final[Schema] = {"type": "number", "minimum": 0}
_YES_OR_NO: Final[Schema] = {"type": "boolean"}
_ANY_OBJECT: Final[Schema] = {"type": "object"}
_MONEY: Final[Schema] = {"type": ["string", "null"], "pattern": "^[0-9]+(\\.[0-9]+)?(E[+-]?[0-9]+)?$"}


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def _object(required: Schema, optional: Schema | None = None) -> Schema:
    """What else stands in it is let through: a later version may say more."""
    return {"type": "object", "required": list(required), "properties": {**required, **(optional or {})}}


_USAGE: Final = {"input_tokens": _COUNT, "output_tokens": _COUNT, "cost_usd": _MONEY}

SCHEMAS: Final[Mapping[str, Schema]] = {
    STARTED: _object(
        {
            "run_id": _TEXT,
            "task": _TEXT,
            "model": _TEXT_OR_NULL,  # null: the planner
            "servers": _list(_TEXT),  # empty: all
            "allow_writes": _YES_OR_NO,
        },
        {"version": _TEXT},  # of Stoa
    ),
    TOOL_CALLED: _object(
        {
            "step": {"type": "integer", "minimum": 1},
            "server": _TEXT,
            "tool": _TEXT,
            "arguments": _ANY_OBJECT,
            "replica": _TEXT,
            "latency_seconds": _SECONDS,
            "is_error": _YES_OR_NO,
            "summary": _TEXT,
        }
    ),
    MODEL_ANSWERED: _object(
        {
            "answer": {"type": "integer", "minimum": 1},
            "model": _TEXT,
            "text": _TEXT,
            "tool_calls": _list(_object({"tool": _TEXT, "arguments": _ANY_OBJECT})),
            "latency_seconds": _SECONDS,
            **_USAGE,
        }
    ),
    FINISHED: _object(
        {
            "text": _TEXT,
            "found": _YES_OR_NO,
            "citations": _list(
                _object(
                    {
                        "number": _COUNT,
                        "document_id": _TEXT,
                        "title": _TEXT,
                        "source": _TEXT_OR_NULL,
                        "passage": _TEXT,
                        "start": _COUNT,
                        "end": _COUNT,
                    }
                )
            ),
            "proposals": _list(_object({"command": _TEXT, "why": _TEXT, "missing": _list(_TEXT)})),
            "model": _TEXT_OR_NULL,
            "note": _TEXT,
            "usage": {"anyOf": [{"type": "null"}, _object({"requests": _COUNT, **_USAGE})]},
            "steps": _COUNT,
            "seconds": _SECONDS,
        }
    ),
    FAILED: _object({"code": _TEXT, "message": _TEXT, "hint": _TEXT, "steps": _COUNT, "seconds": _SECONDS}),
}
"""Of version 1 of each."""


def stream_of(principal: Principal, run_id: str) -> StreamId:
    return StreamId(principal.tenant, f"run-{run_id}")


def metadata(principal: Principal, run_id: str) -> Metadata:
    return Metadata(correlation_id=run_id, principal=principal.subject, source=SOURCE)
