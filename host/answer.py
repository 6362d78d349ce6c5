"""What a run answers with: shared by the planner, the model loop, the run record and the command line."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from pydantic import JsonValue

from stoa.tools import ToolRef

__all__ = [
    "Answer",
    "Citation",
    "ModelAnswer",
    "OnModelAnswer",
    "OnStep",
    "Proposal",
    "Step",
    "Usage",
    "WantedCall",
]


@dataclass(frozen=True, slots=True)
class Step:
    """One tool call that was made, and who served it."""

    ref: ToolRef
    arguments: Mapping[str, JsonValue]
    replica: str
    latency_seconds: float
    is_error: bool
    summary: str


@dataclass(frozen=True, slots=True)
class Citation:
    """An extract, cleaned for reading. `start` and `end` are character offsets into the document's Markdown text."""

    number: int
    document_id: str
    title: str
    source: str | None
    passage: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """A call that was not made, because it changes something, is not trusted, or lacks arguments."""

    command: str
    why: str
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """What a model used. `cost_usd` is None where the price is not known."""

    requests: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None = None


@dataclass(frozen=True, slots=True)
class WantedCall:
    """A call that a model wished for; `tool` is `server.tool`, or the name that it made up."""

    tool: str
    arguments: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """One answer of a model within a run: words, or calls that it wishes for, or both. `usage` is of this one."""

    model: str
    text: str
    calls: tuple[WantedCall, ...]
    latency_seconds: float
    usage: Usage


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a run. `model` is None when the planner answered; `note` says in a line how it came about."""

    run_id: str
    task: str
    text: str
    found: bool
    citations: tuple[Citation, ...]
    steps: tuple[Step, ...]
    proposals: tuple[Proposal, ...]
    model: str | None
    note: str
    usage: Usage | None = None


OnStep = Callable[[Step], None]
OnModelAnswer = Callable[[ModelAnswer], None]
