"""How a run of the log looks: as it looked when it was made, with the time of each step; and many runs in a list."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from rich.console import Console
from rich.text import Text

from host import show
from host.moments import local, utc
from host.output import printable
from host.run_state import State, Summary, answer_of

__all__ = ["run", "runs"]

_STATES = {"finished": ("done", "green"), "failed": ("failed", "red"), "unfinished": ("unfinished", "yellow")}
LONGEST_TASK = 200


def run(console: Console, state: State, *, last_heard: datetime) -> None:
    given, when = answer_of(state), local if console.is_terminal else utc
    show.answered(console, given)
    if error := cast("Mapping[str, str] | None", state["error"]):
        console.print(Text.assemble(("failed: ", "bold red"), printable(error["message"])), soft_wrap=True)
        if error["hint"]:
            console.print(Text(f"  {printable(error['hint'])}"), soft_wrap=True)
        console.print()
    elif state["state"] == "unfinished":
        said = f"It goes on, or was cut off: nothing came after {when(last_heard)}."
        console.print(Text.assemble(("unfinished: ", "bold yellow"), said), soft_wrap=True)
        console.print()
    show.rule(console)
    if given.note:
        console.print(Text(printable(given.note), style="yellow"), soft_wrap=True)
    for at, line in _in_order(state, [show.step(step) for step in given.steps]):
        console.print(Text.assemble((f"{_clock(at)}  ", "dim"), line), soft_wrap=True)
    said = [f"started {when(datetime.fromisoformat(state['started_at']))}"] if state["started_at"] else []
    said += [f"took {state['seconds']:.1f} s"] if state["seconds"] is not None else []
    said += _usage(state["usage"])
    console.print(Text.assemble("run ", (given.run_id, "bold"), (f"  {', '.join(said)}", "dim")), soft_wrap=True)


def runs(console: Console, found: Sequence[Summary]) -> None:
    when = local if console.is_terminal else utc
    show.table(
        console,
        ("run", "started", "ended", "by", "task"),
        [
            (
                each.run_id,
                when(each.started_at)[:16] if console.is_terminal else when(each.started_at)[:19] + "Z",
                _end(each),
                _by(each.model),
                _in_a_line(each),
            )
            for each in found
        ],
    )


def _end(told: Summary) -> Text:
    word, style = _STATES[told.state]
    return Text(word if told.seconds is None else f"{word}, {told.seconds:.1f} s", style)


def _by(model: str | None) -> str:
    """Of a model on somebody's own server, its name without the address."""
    return "planner" if model is None else model.rpartition("#")[2] or model


def _in_a_line(told: Summary) -> str:
    task = " ".join(told.task.split())
    task = task if len(task) <= LONGEST_TASK else f"{task[:LONGEST_TASK]}…"
    return f"{task} ({told.why})" if told.why else task


def _in_order(state: State, steps: Sequence[Text]) -> Iterable[tuple[str, Text]]:
    """Calls of tools and answers of the model, as they came."""
    called = [(each["at"], line) for each, line in zip(state["steps"], steps, strict=True)]
    answered = [(each["at"], _answer(each)) for each in state["answers"]]
    return sorted([*called, *answered], key=lambda each: datetime.fromisoformat(each[0]))


def _answer(told: Mapping[str, Any]) -> Text:
    wishes = ", ".join(call["tool"] for call in told["tool_calls"])
    said = " ".join(told["text"].split())
    words = [f"wants {wishes}"] if wishes else []
    words += [f'"{said[:60]}…"' if len(said) > 60 else f'"{said}"'] if said else []
    return Text.assemble(
        "asked ",
        (printable(told["model"]), "bold"),
        f", answered in {told['latency_seconds']:.1f} s",
        (f"  {printable('  '.join(words))}", "dim"),
    )


def _usage(used: Mapping[str, Any] | None) -> list[str]:
    if used is None:
        return []
    tokens = f"{used['input_tokens']:,} tokens in, {used['output_tokens']:,} out"
    return [tokens] if used["cost_usd"] is None else [tokens, f"${used['cost_usd']}"]


def _clock(at: str) -> str:
    return f"{datetime.fromisoformat(at).astimezone():%H:%M:%S}"
