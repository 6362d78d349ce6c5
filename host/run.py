"""A run by the planner: do what it planned, look at what was found, answer."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import anyio

from host.answer import Answer, OnStep, Step
from host.evidence import Conclusion, conclude, read_hits
from host.planner import Plan, plan
from host.reach import reach
from host.readable import first_line, in_words, outline
from pool.pool import Pool
from stoa.errors import StoaError
from stoa.ids import new_id
from stoa.principal import Principal
from stoa.tools import ToolCall, ToolResult

__all__ = ["NOTE", "run"]

NOTE = "no model configured: extractive answer"


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
    """Answer without a model. Raises what was met when no server could be asked at all."""
    catalogue = await reach(pool, servers)
    todo = plan(task, catalogue.tools, trusted=trusted)
    calls = todo.searches + todo.lookups
    done: dict[int, _Outcome] = {}

    async def one(number: int, call: ToolCall) -> None:
        done[number] = await _call(pool, principal, call)
        on_step(done[number].step)

    async with anyio.create_task_group() as group:
        for number, call in enumerate(calls):
            group.start_soon(one, number, call)
    outcomes = [done[number] for number in range(len(calls))]
    results = [outcome.result for outcome in outcomes if outcome.result is not None]
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    if errors and len(errors) == len(calls):
        raise errors[0]
    conclusion = _conclude(task, todo, outcomes, results)
    return Answer(
        run_id=run_id or new_id(),
        task=task,
        text=conclusion.text,
        found=conclusion.found,
        citations=conclusion.citations,
        steps=tuple(outcome.step for outcome in outcomes),
        proposals=todo.proposals,
        model=None,
        note=NOTE,
    )


@dataclass(frozen=True, slots=True)
class _Outcome:
    """`result` is None where the tool failed or, with an `error`, was not even reached."""

    step: Step
    result: ToolResult | None = None
    error: StoaError | None = None


async def _call(pool: Pool, principal: Principal, call: ToolCall) -> _Outcome:
    """A failure is a step like any other: the other calls go on."""
    try:
        served = await pool.call(call, principal=principal)
    except StoaError as error:
        return _Outcome(Step(call.ref, call.arguments, "no replica", 0.0, True, str(error)), error=error)
    result = served.result
    summary = first_line(result.text) if result.is_error else in_words(result)
    step = Step(call.ref, call.arguments, served.replica, served.latency_seconds, result.is_error, summary)
    return _Outcome(step, None if result.is_error else result)


def _conclude(task: str, todo: Plan, outcomes: Sequence[_Outcome], results: Sequence[ToolResult]) -> Conclusion:
    if outcomes and not results:
        failures = " ".join(f"{outcome.step.ref} failed: {outcome.step.summary}" for outcome in outcomes)
        return Conclusion(failures, False, ())
    if todo.lookups:
        text = "\n".join(outline(result) for result in results)
        return Conclusion(text, bool(text), ())
    conclusion = conclude(task, [read_hits(result.structured) for result in results])
    return conclusion if conclusion.found else replace(conclusion, text=_nothing(todo, results))


def _nothing(todo: Plan, results: Sequence[ToolResult]) -> str:
    """Why there is no answer: what was asked, and how near the hits came."""
    if not todo.searches and todo.proposals:
        return "Nothing was run: this needs a call that only you can make."
    if not todo.searches:
        return "Nothing found: no tool here fits the task."
    asked = ", ".join(str(call.ref) for call in todo.searches)
    seen = sum(len(read_hits(result.structured)) for result in results)
    near = f"none of {seen} hits answers the question" if seen else "nothing shares a word with the question"
    return f"Nothing found. Asked {asked}: {near}."
