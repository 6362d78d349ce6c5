"""`stoa run`: choose who answers, run, keep the record, print the answer."""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

import anyio

from host import show
from host.answer import Answer, Step
from host.app import Workspace
from host.llm.choose import Choice, choose
from host.log import open_for_runs
from host.output import Output
from host.record import as_json, secrets_of
from host.recorder import Recorder, recording
from host.run import run
from host.run_events import metadata, stream_of
from host.session import OK, TOOL_FAILED
from stoa.clock import SystemClock
from stoa.errors import StoaError
from stoa.ids import new_id
from stoa.principal import LOCAL

__all__ = ["run_task"]


def run_task(
    work: Workspace, output: Output, task: str, servers: Sequence[str], model: str | None, *, allow_writes: bool
) -> int:
    """Found or not, an answer is an answer (exit code 0); 1 when the planner's calls all failed.

    Each step goes into the log as it is done, and the last one before anything is printed.
    """
    for server in servers:
        work.group(server)
    choice = choose(model, os.environ)
    told: list[str] = []
    try:
        with ExitStack() as waiting:
            doing = "looking for an answer" if choice.model is None else f"asking {choice.model.label}"
            waiting.enter_context(output.working(doing))

            def on_text(piece: str) -> None:
                waiting.close()  # a turning sign and a text cannot share the screen
                told.append(piece)
                output.piece(piece)

            answer, trouble = anyio.run(
                _run, work, output, task, servers, choice, allow_writes, on_text if output.streams else None
            )
    finally:
        if told:
            output.piece("\n\n")
    if trouble is not None:  # the answer is worth more than its record
        output.note(f"The run is not, or not wholly, in the event log. {' '.join(str(trouble).split())}")
    again = f"stoa runs show {answer.run_id}" if trouble is None else None
    is_told = bool(told) and "".join(told).strip().endswith(answer.text.strip())
    document = {**as_json(answer), "is_recorded": trouble is None}
    output.document(document, lambda console: show.answer(console, answer, again, is_told=is_told))
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
) -> tuple[Answer, StoaError | None]:
    """The answer, and what kept the log from taking all of it."""
    run_id = new_id()
    recorder = Recorder(
        stream_of(LOCAL, run_id),
        metadata(LOCAL, run_id),
        secrets=secrets_of(work.environ),
        clock=SystemClock(),
    )

    def on_step(step: Step) -> None:
        recorder.tool_called(step)
        if output.verbose:
            output.note(f"called {step.ref} on {step.replica}: {step.summary}")

    label = None if choice.model is None else choice.model.label
    async with recording(recorder, partial(open_for_runs, work.settings)):
        recorder.started(run_id=run_id, task=task, model=label, servers=servers, allow_writes=allow_writes)
        async with work.pool() as pool:
            if choice.model is None:
                answer = await run(
                    task,
                    pool=pool,
                    principal=LOCAL,
                    servers=servers,
                    trusted=work.trusted,
                    on_step=on_step,
                    run_id=run_id,
                )
            else:
                # Two seconds of imports, so only now.
                from host.llm.agent import run as run_model

                answer = await run_model(
                    task,
                    choice=choice.model,
                    pool=pool,
                    principal=LOCAL,
                    servers=servers,
                    trusted=work.trusted,
                    on_step=on_step,
                    on_text=on_text,
                    on_answer=recorder.model_answered,
                    allow_writes=allow_writes,
                    run_id=run_id,
                )
            recorder.finished(answer)
    return answer, recorder.trouble
