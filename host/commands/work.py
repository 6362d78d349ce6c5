"""`stoa run`: choose who answers, run, keep the record, print the answer."""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import cast

import anyio
from pydantic import JsonValue

from host import show, transcript
from host.answer import Answer, Step
from host.app import Workspace
from host.llm.choose import Choice, choose
from host.output import Output
from host.run import run
from host.session import OK, TOOL_FAILED
from stoa.clock import SystemClock
from stoa.errors import StoaError
from stoa.principal import LOCAL

__all__ = ["run_task"]


def run_task(
    work: Workspace, output: Output, task: str, servers: Sequence[str], model: str | None, *, allow_writes: bool
) -> int:
    """Found or not, an answer is an answer (exit code 0); 1 when the planner's calls all failed.

    The record is written before anything is printed.
    """
    for server in servers:
        work.group(server)
    choice = choose(model, os.environ)
    clock = SystemClock()
    started = clock.now()
    told: list[str] = []
    try:
        with ExitStack() as waiting:
            doing = "looking for an answer" if choice.model is None else f"asking {choice.model.label}"
            waiting.enter_context(output.working(doing))

            def on_text(piece: str) -> None:
                waiting.close()  # a turning sign and a text cannot share the screen
                told.append(piece)
                output.piece(piece)

            answer = anyio.run(
                _run, work, output, task, servers, choice, allow_writes, on_text if output.streams else None
            )
    finally:
        if told:
            output.piece("\n\n")
    values = transcript.record(
        answer, started_at=started, finished_at=clock.now(), secrets=transcript.secrets_of(work.environ)
    )
    try:
        path: str | None = str(transcript.write(values, home=work.settings.home, run_id=answer.run_id))
    except StoaError as error:  # the answer is worth more than its record
        output.note(str(error))
        path = None
    is_told = bool(told) and "".join(told).strip().endswith(answer.text.strip())
    document = {**transcript.as_json(answer), "record": cast("JsonValue", path)}
    output.document(document, lambda console: show.answer(console, answer, path, is_told=is_told))
    failed = answer.model is None and answer.steps and all(step.is_error for step in answer.steps)
    return TOOL_FAILED if failed else OK


async def _run(
    work: Workspace,
    output: Output,
    task: str,
    servers: Sequence[str],
    choice: Choice,
    allow_writes: bool,
    on_text: Callable[[str], None] | None,
) -> Answer:
    def on_step(step: Step) -> None:
        if output.verbose:
            output.note(f"called {step.ref} on {step.replica}: {step.summary}")

    async with work.pool() as pool:
        if choice.model is None:
            return await run(task, pool=pool, principal=LOCAL, servers=servers, trusted=work.trusted, on_step=on_step)
        # Two seconds of imports, so only now.
        from host.llm.agent import run as run_model

        return await run_model(
            task,
            choice=choice.model,
            pool=pool,
            principal=LOCAL,
            servers=servers,
            trusted=work.trusted,
            on_step=on_step,
            on_text=on_text,
            allow_writes=allow_writes,
        )
