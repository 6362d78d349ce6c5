"""A run by the planner: do what it planned, look at what was found, answer."""

from collections.abc import Collection, Sequence

import anyio

from host.answer import Answer, OnStep, Step
from host.evidence import Conclusion, conclude, read_hits
from host.planner import Plan, plan
from host.reach import reach
from pool.pool import Pool
from stoa.errors import StoaError, Unavailable
from stoa.ids import new_id
from stoa.principal import Principal
from stoa.tools import ToolCall, ToolResult

__all__ = ["NOTE", "run"]

NOTE = "no model configured: extractive answer"

_SHOWN = 2_000
"""Characters of a looked-up text that are shown; the whole of it is one `stoa call` away."""


async def run(
    task: str,
    *,
    pool: Pool,
    principal: Principal,
    servers: Sequence[str],
    trusted: Collection[str],
    on_step: OnStep,
    run_id: str | None = None,
) -> Answer:
    """Answer without a model. Raises `Unavailable` when no server could be asked at all."""
    catalogue = await reach(pool, servers)
    todo = plan(task, catalogue.tools, trusted=trusted)
    calls = todo.searches + todo.lookups
    done: dict[int, tuple[Step, ToolResult | None]] = {}

    async def one(number: int, call: ToolCall) -> None:
        done[number] = await _call(pool, principal, call)
        on_step(done[number][0])

    async with anyio.create_task_group() as group:
        for number, call in enumerate(calls):
            group.start_soon(one, number, call)
    steps = tuple(done[number][0] for number in range(len(calls)))
    results = [result for number in range(len(calls)) if (result := done[number][1]) is not None]
    if calls and not results:
        raise Unavailable(f"Every call failed; {steps[0].ref} said: {steps[0].summary}")
    text, conclusion = _answer(task, todo, results)
    return Answer(
        run_id=run_id or new_id(),
        task=task,
        text=text,
        found=conclusion.found,
        citations=conclusion.citations,
        steps=steps,
        proposals=todo.proposals,
        model=None,
        note=NOTE,
    )


async def _call(pool: Pool, principal: Principal, call: ToolCall) -> tuple[Step, ToolResult | None]:
    """A failure is a step like any other: the other calls go on."""
    try:
        served = await pool.call(call, principal=principal)
    except StoaError as error:
        return Step(call.ref, call.arguments, "none", 0.0, True, str(error)), None
    result = served.result
    summary = _first_line(result.text) if result.is_error else _summary(result)
    step = Step(call.ref, call.arguments, served.replica, served.latency_seconds, result.is_error, summary)
    return step, None if result.is_error else result


def _answer(task: str, todo: Plan, results: Sequence[ToolResult]) -> tuple[str, Conclusion]:
    if todo.lookups:
        text = "\n".join(result.text for result in results)
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
        return shown, Conclusion(shown, bool(text.strip()), ())
    conclusion = conclude(task, [read_hits(result.structured) for result in results])
    if conclusion.found:
        return conclusion.text, conclusion
    if not todo.searches:
        if todo.proposals:
            return "Nothing was run: this needs a call that only you can make.", conclusion
        return "Nothing found: no tool here fits the task.", conclusion
    asked = ", ".join(str(call.ref) for call in todo.searches)
    seen = sum(len(read_hits(result.structured)) for result in results)
    near = "nothing shares a word with the question" if not seen else f"none of {seen} hits answers the question"
    return f"Nothing found. Asked {asked}: {near}.", conclusion


def _summary(result: ToolResult) -> str:
    hits = read_hits(result.structured)
    return f"{len(hits)} hits" if hits else _first_line(result.text)


def _first_line(text: str) -> str:
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= 120 else f"{line[:119]}…"
