"""What the events of a run add up to: one JSON object, as `stoa runs show --json` prints it. Pure.

`state` is `unfinished` until the last event is in: such a run goes on, or was cut off.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal, cast

from pydantic import JsonValue

from eventlog.event import Event
from host import run_events as events
from host.answer import Answer, Citation, Proposal, Step
from stoa.tools import ToolRef

__all__ = ["INITIAL", "State", "Summaries", "Summary", "answer_of", "apply"]

State = dict[str, Any]  # raw JSON: snapshots carry it

INITIAL: Final[Mapping[str, Any]] = {
    "run_id": "",
    "state": "unfinished",
    "task": "",
    "model": None,
    "servers": [],
    "allow_writes": False,
    "started_at": None,
    "ended_at": None,
    "seconds": None,
    "text": "",
    "found": False,
    "citations": [],
    "proposals": [],
    "steps": [],
    "answers": [],
    "note": "",
    "usage": None,
    "error": None,
}


def apply(state: State, event: Event) -> State:
    """The state after the event. What an erased event said is missing; types of later versions change nothing."""
    data, at = event.data, event.occurred_at.isoformat()
    if not state["run_id"]:  # also of a run whose first events were removed
        state = {**state, "run_id": event.stream.aggregate_id}
    match event.type:
        case events.STARTED:
            told = {name: data[name] for name in ("task", "model", "servers", "allow_writes") if name in data}
            return {**state, **told, "run_id": event.stream.aggregate_id, "started_at": at}
        case events.TOOL_CALLED if not event.is_erased:
            told = {name: value for name, value in data.items() if name not in {"step", "server", "tool"}}
            step = {"at": at, "ref": f"{data.get('server')}.{data.get('tool')}", **told}
            return {**state, "steps": [*state["steps"], step]}
        case events.MODEL_ANSWERED if not event.is_erased:
            told = {name: value for name, value in data.items() if name != "answer"}
            return {**state, "answers": [*state["answers"], {"at": at, **told}]}
        case events.FINISHED:
            told = {name: data[name] for name in _ENDS if name in data}
            return {**state, **told, "state": "finished", "ended_at": at}
        case events.FAILED:
            error = {name: data.get(name, "") for name in ("code", "message", "hint")}
            return {**state, "state": "failed", "ended_at": at, "seconds": data.get("seconds"), "error": error}
        case _:
            return state


_ENDS: Final = ("text", "found", "citations", "proposals", "model", "note", "usage", "seconds")


def answer_of(state: State) -> Answer:
    """The state as an answer, to be shown like one. Of a run without an end, as far as it came."""
    return Answer(
        run_id=state["run_id"],
        task=state["task"],
        text=state["text"],
        found=state["found"],
        citations=tuple(Citation(*(each[name] for name in _CITATION)) for each in state["citations"]),
        steps=tuple(_step(each) for each in state["steps"]),
        proposals=tuple(Proposal(each["command"], each["why"], tuple(each["missing"])) for each in state["proposals"]),
        model=state["model"],
        note=state["note"],
    )


_CITATION: Final = ("number", "document_id", "title", "source", "passage", "start", "end")


def _step(told: Mapping[str, Any]) -> Step:
    server, _, tool = told["ref"].rpartition(".")
    arguments = cast("Mapping[str, JsonValue]", told["arguments"])
    return Step(
        ToolRef(server, tool), arguments, told["replica"], told["latency_seconds"], told["is_error"], told["summary"]
    )


@dataclass(frozen=True, slots=True)
class Summary:
    """A run in a line. `steps` are its tool calls."""

    run_id: str
    state: Literal["unfinished", "finished", "failed"]
    task: str
    model: str | None
    started_at: datetime
    steps: int
    seconds: float | None
    why: str = ""

    def as_json(self) -> dict[str, JsonValue]:
        return {
            "run_id": self.run_id,
            "state": self.state,
            "task": self.task,
            "model": self.model,
            "started_at": self.started_at.isoformat(),
            "steps": self.steps,
            "seconds": self.seconds,
            "why": self.why,
        }


class Summaries:
    """Gathers runs out of events that are read backwards: whoever comes to a run's beginning has seen all of it.
    State: the runs that are complete, newest first, and those whose beginning is still to come."""

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._open: dict[str, Summary] = {}
        self._done: list[Summary] = []

    def __repr__(self) -> str:
        return f"<Summaries {len(self._done)} of {self._most} runs>"

    @property
    def found(self) -> Sequence[Summary]:
        return tuple(self._done)

    def end(self) -> None:
        """There is nothing older. What is still open has lost its beginning."""
        for each in self._open.values():
            if not self.is_full:
                self._done.append(replace(each, why=each.why or "its beginning was removed"))
        self._open = {}

    @property
    def is_full(self) -> bool:
        return len(self._done) >= self._most

    def add(self, event: Event) -> None:
        run_id, data = event.stream.aggregate_id, event.data
        known = self._open.get(run_id) or Summary(run_id, "unfinished", "", None, event.occurred_at, 0, None)
        match event.type:
            case events.STARTED:
                self._open.pop(run_id, None)
                if not self.is_full:
                    task, model = data.get("task", ""), data.get("model")
                    self._done.append(replace(known, task=task, model=model, started_at=event.occurred_at))
                return
            case events.TOOL_CALLED:
                known = replace(known, steps=known.steps + 1)
            case events.FINISHED:
                known = replace(known, state="finished", seconds=data.get("seconds"))
            case events.FAILED:
                known = replace(known, state="failed", seconds=data.get("seconds"), why=data.get("message", ""))
            case _:
                return
        self._open[run_id] = known
