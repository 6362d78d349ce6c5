"""Cursors: any replica opens them, nobody else's do, and nothing in them can be turned into something else."""

import base64

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import JsonValue

from kit.cursor import MAX_CURSOR_CHARACTERS, Cursors, derive
from stoa.errors import BadInput

KEY = b"k" * 32
CURSORS = Cursors(KEY)

words = st.text(max_size=30)
states: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(words, words, states)
def test_another_replica_opens_what_one_has_sealed(kind: str, tenant: str, state: JsonValue) -> None:
    assert Cursors(KEY).open(kind, tenant, CURSORS.seal(kind, tenant, state)) == state


@given(words, words, words, words, states)
def test_a_cursor_opens_for_its_kind_and_tenant_only(
    kind: str, tenant: str, other_kind: str, other_tenant: str, state: JsonValue
) -> None:
    assume((kind, tenant) != (other_kind, other_tenant))
    with pytest.raises(BadInput):
        CURSORS.open(other_kind, other_tenant, CURSORS.seal(kind, tenant, state))


def test_moving_letters_between_kind_and_tenant_does_not_open_a_cursor() -> None:
    cursor = CURSORS.seal("hits", "acme", 1)
    for kind, tenant in (("hitsa", "cme"), ("hit", "sacme"), ("", "hitsacme"), ("acme", "hits")):
        with pytest.raises(BadInput):
            CURSORS.open(kind, tenant, cursor)


@given(states, st.data())
def test_no_changed_letter_goes_unseen(state: JsonValue, data: st.DataObject) -> None:
    cursor = CURSORS.seal("hits", "acme", state)
    at = data.draw(st.integers(0, len(cursor) - 1))
    letter = data.draw(st.sampled_from("ABCxyz019-_=+/ é\n\x00\ud800"))
    assume(cursor[at] != letter)
    with pytest.raises(BadInput):
        CURSORS.open("hits", "acme", cursor[:at] + letter + cursor[at + 1 :])


@given(states, st.data())
def test_no_part_of_a_cursor_opens(state: JsonValue, data: st.DataObject) -> None:
    cursor = CURSORS.seal("hits", "acme", state)
    with pytest.raises(BadInput):
        CURSORS.open("hits", "acme", cursor[: data.draw(st.integers(0, len(cursor) - 1))])


@given(st.text(max_size=200) | st.binary(max_size=100).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_nothing_made_up_opens(cursor: str) -> None:
    with pytest.raises(BadInput):
        CURSORS.open("hits", "acme", cursor)


def test_another_spelling_of_a_cursor_does_not_open() -> None:
    cursor = CURSORS.seal("hits", "acme", {"after": 7})
    for spelling in (cursor + "=", cursor + "==", cursor + "\n", " " + cursor):
        with pytest.raises(BadInput):
            CURSORS.open("hits", "acme", spelling)


def test_another_key_does_not_open_a_cursor() -> None:
    with pytest.raises(BadInput):
        Cursors(b"l" * 32).open("hits", "acme", CURSORS.seal("hits", "acme", 1))


def test_the_refusal_says_what_to_do_and_nothing_of_the_cursor() -> None:
    cursor = CURSORS.seal("hits", "acme", "secret")
    with pytest.raises(BadInput, match="next_cursor") as refusal:
        CURSORS.open("hits", "other", cursor)
    assert cursor[:8] not in str(refusal.value)


def test_a_long_cursor_is_neither_handed_out_nor_read() -> None:
    with pytest.raises(ValueError, match="longer than"):
        CURSORS.seal("hits", "acme", "x" * MAX_CURSOR_CHARACTERS)
    with pytest.raises(BadInput):
        CURSORS.open("hits", "acme", "A" * 10_000_000)


def test_a_state_that_is_no_json_is_not_sealed() -> None:
    with pytest.raises(ValueError, match="JSON"):
        CURSORS.seal("hits", "acme", float("nan"))


def test_a_cursor_does_not_show_its_state() -> None:
    near, far = (CURSORS.seal("events", "acme", {"after": position}) for position in (7, 8))
    for cursor in (near, far):
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        assert b"after" not in raw
    assert near[2:8] != far[2:8]


def test_each_purpose_has_a_key_of_its_own() -> None:
    assert len({derive(KEY, "cursor"), derive(KEY, "state"), derive(b"l" * 32, "cursor"), KEY}) == 4
    assert derive(KEY, "cursor") == derive(KEY, "cursor")
    assert len(derive(KEY, "cursor")) == 32


def test_the_key_does_not_show() -> None:
    assert "kk" not in repr(CURSORS)
