"""Errors: stable words for programs, sentences for people."""

import pytest

from stoa.errors import BadInput, Conflict, Denied, Fault, NotFound, OutcomeUnknown, StoaError, Unavailable

KINDS: dict[str, type[StoaError]] = {
    "bad_input": BadInput,
    "not_found": NotFound,
    "denied": Denied,
    "conflict": Conflict,
    "unavailable": Unavailable,
    "outcome_unknown": OutcomeUnknown,
    "fault": Fault,
}


@pytest.mark.parametrize(("code", "kind"), KINDS.items())
def test_each_kind_has_its_word_and_only_unavailable_may_be_sent_again(code: str, kind: type[StoaError]) -> None:
    error = kind("It happened.", hint="Do this.", retry_after=2.5)
    assert (error.code, error.message, error.hint, error.retry_after) == (code, "It happened.", "Do this.", 2.5)
    assert error.retryable is (kind is Unavailable)


def test_an_error_reads_as_message_and_remedy() -> None:
    assert str(BadInput("It happened.", hint="Do this.")) == "It happened. Do this."
    assert str(BadInput("It happened.")) == "It happened."


def test_a_remedy_does_not_run_into_words_without_a_full_stop() -> None:
    assert str(Unavailable("It said: no licence", hint="Start it.")) == "It said: no licence. Start it."
    assert str(Unavailable("", hint="Start it.")) == "Start it."
    assert str(Unavailable("Is it there?", hint="Start it.")) == "Is it there? Start it."
