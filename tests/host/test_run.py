"""Runs of the planner over servers in this process."""

from pathlib import Path

import anyio
import pytest

from host.answer import Answer, Step
from host.run import NOTE, run
from pool.pool import Pool
from pool.spec import GroupSpec
from stoa.errors import BadInput
from stoa.principal import LOCAL
from tests.host.shelf import Shelf, dead


async def answer(task: str, *groups: GroupSpec, trusted: bool = True) -> tuple[Answer, list[Step]]:
    steps: list[Step] = []
    names = {group.name for group in groups} if trusted else set[str]()
    with anyio.fail_after(20):
        async with Pool(groups, internal_key=None) as pool:
            found = await run(task, pool=pool, principal=LOCAL, servers=(), trusted=names, on_step=steps.append)
    return found, steps


async def test_a_question_is_answered_with_a_citation_and_the_steps_that_led_to_it(home: Path) -> None:
    found, steps = await answer("How do I lock a file?", Shelf(home).group())
    assert found.found
    assert [(each.number, each.document_id, each.title, each.source) for each in found.citations] == [
        (1, "t1", "Locks", "t1.md")
    ]
    assert "Call acquire() to lock a file" in found.text
    assert "[1]" in found.text
    (step,) = found.steps
    assert (str(step.ref), step.is_error, step.summary) == ("shelf.find_texts", False, "1 hit")
    assert step.replica == "shelf-0"
    assert step.latency_seconds > 0
    assert tuple(steps) == found.steps
    assert (found.model, found.note) == (None, NOTE)


async def test_hits_that_are_no_evidence_give_nothing_found_and_say_what_was_asked(home: Path) -> None:
    found, _ = await answer("How do I bake the bread?", Shelf(home).group())
    assert not found.found
    assert found.citations == ()
    assert found.text.startswith("Nothing found. Asked shelf.find_texts: none of")


async def test_no_hits_give_nothing_found(home: Path) -> None:
    found, _ = await answer("Why zebras?", Shelf(home).group())
    assert found.text == "Nothing found. Asked shelf.find_texts: nothing shares a word with the question."


async def test_a_command_that_changes_something_is_not_run(home: Path) -> None:
    shelf = Shelf(home)
    found, _ = await answer("Remove the text 't1'", shelf.group())
    assert shelf.calls == []
    assert [proposal.command for proposal in found.proposals] == ["stoa call shelf.remove_text id=t1"]
    assert found.steps == ()


async def test_a_server_that_is_not_trusted_is_not_asked(home: Path) -> None:
    shelf = Shelf(home)
    found, _ = await answer("How do I lock a file?", shelf.group(trusted=False), trusted=False)
    assert shelf.calls == []
    assert found.proposals


async def test_a_list_is_shown_line_by_line(home: Path) -> None:
    found, _ = await answer("List the texts", Shelf(home).group())
    assert found.text == "Locks  (t1)\nBread  (t2)"
    assert found.found


async def test_a_lookup_that_fails_is_told_in_the_servers_words(home: Path) -> None:
    found, _ = await answer("Show the text 'zz'", Shelf(home).group())
    assert not found.found
    assert "There is no text 'zz'." in found.text
    assert found.steps[0].is_error


async def test_one_search_that_fails_does_not_stop_the_others(home: Path) -> None:
    broken, whole = Shelf(home, name="broken", is_broken=True), Shelf(home, name="whole")
    found, _ = await answer("How do I lock a file?", broken.group(), whole.group())
    assert found.found
    assert {(step.ref.server, step.is_error) for step in found.steps} == {("broken", True), ("whole", False)}


async def test_a_server_that_is_away_does_not_stop_the_others(home: Path) -> None:
    found, _ = await answer("How do I lock a file?", dead("away"), Shelf(home).group())
    assert found.found


async def test_no_server_at_all_is_an_error_that_names_the_command() -> None:
    with pytest.raises(BadInput, match="no-such-command-anywhere"):
        await answer("How do I lock a file?", dead("away"))


async def test_nothing_configured_is_an_error_with_a_remedy() -> None:
    with pytest.raises(BadInput, match="No server offers any tool"):
        await answer("How do I lock a file?")
