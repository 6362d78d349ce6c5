"""A run gets into the log while it happens, and never waits for it."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from eventlog.aggregates.repository import Repository
from eventlog.event import Event
from eventlog.keeping.erase import erase
from eventlog.keeping.truncate import truncate_before
from eventlog.log import EventLog
from eventlog.open import open_memory
from host.answer import Answer, Step
from host.events import MODEL
from host.events import RUN as RUN_AGGREGATE
from host.recorder import Recorder, recording
from host.run_events import metadata, stream_of
from host.run_state import INITIAL, apply
from host.runs import find, newest, read
from stoa.clock import ManualClock
from stoa.errors import BadInput, NotFound, Unavailable
from stoa.principal import LOCAL, Principal
from stoa.tools import ToolRef

STEP = Step(ToolRef("shelf", "find"), {"query": "locks"}, "shelf-0", 0.5, False, "1 hit")
RUN = "01M7XC0WQ1WYJ82C0SRNA282GP"


def answer(run_id: str = RUN) -> Answer:
    return Answer(run_id, "Why?", "Because.", True, (), (STEP,), (), None, "no model")


def recorder(run_id: str = RUN, *, principal: Principal = LOCAL) -> Recorder:
    return Recorder(
        stream_of(principal, run_id), metadata(principal, run_id), secrets=("hush-hush",), clock=ManualClock()
    )


def open_again(log: EventLog) -> Callable[[], Any]:
    """As a recorder opens it; the log goes on afterwards, to be looked at."""

    @asynccontextmanager
    async def opened() -> AsyncGenerator[EventLog]:
        yield log

    return opened


async def events(log: EventLog) -> Sequence[Event]:
    return await log.read_all()


async def until_written(log: EventLog, count: int) -> None:
    with anyio.fail_after(5):
        while len(await events(log)) < count:
            await log.grown(count - 1)


def start(told: Recorder, run_id: str = RUN) -> None:
    told.started(run_id=run_id, task="Why hush-hush?", model=None, servers=(), allow_writes=False)


async def broken_run(log: EventLog, error: Exception, answered: Answer | None = None) -> None:
    async with recording(recorder(), open_again(log)) as told:
        start(told)
        if answered is not None:
            told.finished(answered)
        raise error


async def test_steps_are_in_the_log_before_the_run_is_over() -> None:
    with anyio.fail_after(10):
        async with open_memory() as log, recording(recorder(), open_again(log)) as told:
            start(told)
            await until_written(log, 1)
            told.tool_called(STEP)
            await until_written(log, 2)
            told.finished(answer())
            await until_written(log, 3)
            found = await events(log)
    assert [each.type for each in found] == ["run.started", "run.tool_called", "run.finished"]
    assert {each.stream.name for each in found} == {f"run-{RUN}"}
    assert {each.metadata.correlation_id for each in found} == {RUN}
    assert {each.metadata.principal for each in found} == {"local"}
    assert "hush-hush" not in str([each.as_json() for each in found])
    assert told.is_complete


async def test_a_run_that_fails_says_why_and_its_error_comes_out() -> None:
    with anyio.fail_after(10):
        async with open_memory() as log:
            with pytest.raises(Unavailable, match="gone"):
                await broken_run(log, Unavailable("It is gone.", hint="Wait."))
            state, _ = await read(log, "default", RUN)
    assert (state["state"], state["error"]) == (
        "failed",
        {"code": "unavailable", "message": "It is gone.", "hint": "Wait."},
    )


async def test_a_run_that_is_cancelled_leaves_that_it_was_interrupted() -> None:
    with anyio.fail_after(10):
        async with open_memory() as log:
            with anyio.CancelScope() as scope:
                async with recording(recorder(), open_again(log)) as told:
                    start(told)
                    await until_written(log, 1)
                    scope.cancel()
                    await anyio.sleep_forever()
            state, _ = await read(log, "default", RUN)
    assert state["error"]["code"] == "interrupted"


async def test_an_answer_stays_the_end_although_something_goes_wrong_on_the_way_out() -> None:
    with anyio.fail_after(10):
        async with open_memory() as log:
            with pytest.raises(ValueError, match="late"):
                await broken_run(log, ValueError("late"), answer())
            state, _ = await read(log, "default", RUN)
    assert (state["state"], state["text"]) == ("finished", "Because.")


async def test_a_log_that_cannot_be_opened_is_trouble_and_no_failure() -> None:
    @asynccontextmanager
    async def broken() -> AsyncGenerator[EventLog]:
        raise BadInput("The file is no log.")
        yield  # a generator needs one

    told = recorder()
    with anyio.fail_after(10):
        async with recording(told, broken):
            start(told)
            told.finished(answer())
    assert str(told.trouble) == "The file is no log."
    assert not told.is_complete


async def test_a_log_that_is_away_for_a_while_gets_everything_once_it_is_back() -> None:
    tries = 0
    with anyio.fail_after(20):
        async with open_memory() as log:

            @asynccontextmanager
            async def sometimes() -> AsyncGenerator[EventLog]:
                nonlocal tries
                tries += 1
                if tries < 3:
                    raise Unavailable("Away.")
                yield log

            async with recording(recorder(), sometimes) as told:
                start(told)
                told.tool_called(STEP)
                await until_written(log, 2)
                told.finished(answer())
            assert [each.version for each in await events(log)] == [1, 2, 3]
    assert told.trouble is None


async def test_a_log_that_never_answers_does_not_hold_up_the_answer() -> None:
    @asynccontextmanager
    async def stuck() -> AsyncGenerator[EventLog]:
        await anyio.sleep_forever()
        raise AssertionError
        yield  # a generator needs one

    told = recorder()
    with anyio.fail_after(5):
        async with recording(told, stuck, patience_seconds=0.05):
            start(told)
            told.finished(answer())
    assert "did not take the run" in str(told.trouble)


async def test_runs_are_listed_the_newest_first_and_found_by_the_first_letters_of_their_ids() -> None:
    ids = ["01AAA", "01ABB", "02CCC"]
    with anyio.fail_after(10):
        async with open_memory() as log:
            for run_id in ids:
                async with recording(recorder(run_id), open_again(log)) as told:
                    start(told, run_id)
                    told.tool_called(STEP)
                    if run_id != "02CCC":
                        told.finished(answer(run_id))
                    else:
                        told.failed(BadInput("no"))
            async with recording(recorder("03DDD", principal=Principal("x", "acme")), open_again(log)) as told:
                start(told, "03DDD")
            found = await newest(log, "default", most=10)
            assert [each.run_id for each in found] == ids[::-1]
            assert [(each.state, each.steps) for each in found] == [("failed", 1), ("finished", 1), ("finished", 1)]
            assert found[0].why == "no"
            assert [each.run_id for each in await newest(log, "default", most=1)] == ["02CCC"]
            assert await find(log, "default", None) == "02CCC"
            assert await find(log, "default", "02") == "02CCC"
            assert await find(log, "default", "run-01abb") == "01ABB"
            with pytest.raises(BadInput, match="01AAA, 01ABB"):
                await find(log, "default", "01A")
            with pytest.raises(NotFound):
                await find(log, "default", "03DDD")


async def test_a_run_without_an_end_is_unfinished_and_shows_what_it_did() -> None:
    with anyio.fail_after(10):
        async with open_memory() as log:
            told = recorder()
            start(told)
            told.tool_called(STEP)
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(told.write, open_again(log))
                    await until_written(log, 2)
                    scope.cancel()
            state, _ = await read(log, "default", RUN)
    assert (state["state"], [each["ref"] for each in state["steps"]]) == ("unfinished", ["shelf.find"])


async def test_folding_leaves_the_state_before_as_it_was() -> None:
    with anyio.fail_after(10):
        async with open_memory() as log:
            async with recording(recorder(), open_again(log)) as told:
                start(told)
                told.tool_called(STEP)
                told.finished(answer())
            state = dict(INITIAL)
            for event in await events(log):
                before = repr(state)
                after = apply(state, event)
                assert repr(state) == before
                state = after


async def test_a_run_whose_first_events_were_removed_is_shown_out_of_its_snapshot_or_as_what_is_left() -> None:
    stream = stream_of(LOCAL, RUN)
    with anyio.fail_after(10):
        async with open_memory(MODEL.registry()) as log:
            async with recording(recorder(), open_again(log)) as told:
                start(told)
                told.tool_called(STEP)
                told.finished(answer())
            whole, _ = await read(log, "default", RUN)
            await Repository(log, RUN_AGGREGATE).take_snapshot(stream)
            await truncate_before(log, stream, 3, aggregate=RUN_AGGREGATE)
            assert (await read(log, "default", RUN))[0] == whole
            await erase(log, stream)
            left, _ = await read(log, "default", RUN)
            (listed,) = await newest(log, "default", most=5)
    assert (left["run_id"], left["state"], left["task"], left["steps"]) == (RUN, "finished", "", [])
    assert (listed.run_id, listed.state, listed.why) == (RUN, "finished", "its beginning was removed")
