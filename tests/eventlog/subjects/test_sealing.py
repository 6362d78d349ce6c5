"""What is sealed opens with its key, for its event, and in no other way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.subjects.sealing import SEALING_BYTES, Master, SubjectKey, subject_in
from stoa.errors import BadInput, Fault

MASTER = Master(b"k" * 32)
SUBJECT = MASTER.subject_id("acme", "bob")
KEY = MASTER.unwrap(SUBJECT, MASTER.new_key(SUBJECT))
EVENT = bytes(range(16))


@given(st.binary(max_size=200))
def test_what_is_sealed_opens(data: bytes) -> None:
    sealed = KEY.seal(data, EVENT)
    assert KEY.open(sealed, EVENT) == data
    assert subject_in(sealed) == SUBJECT
    assert len(sealed) == len(data) + SEALING_BYTES
    assert sealed != KEY.seal(data, EVENT)


@given(st.data())
def test_whatever_was_changed_does_not_open(data: st.DataObject) -> None:
    sealed = bytearray(KEY.seal(b'{"name":"Bob"}', EVENT))
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(Fault):
        KEY.open(bytes(sealed), EVENT)
    with pytest.raises(Fault):
        KEY.open(bytes(sealed[:at]), EVENT)


def test_it_opens_for_its_own_event_and_with_its_own_key_only() -> None:
    sealed = KEY.seal(b"{}", EVENT)
    with pytest.raises(Fault):
        KEY.open(sealed, bytes(16))
    with pytest.raises(Fault):
        SubjectKey(SUBJECT, bytes(32)).open(sealed, EVENT)


def test_json_is_not_taken_for_sealed() -> None:
    assert subject_in(b'{"a":1}') is None
    assert subject_in(b"\x01") is None


def test_names_are_told_apart_by_tenant_and_by_installation() -> None:
    names = {
        MASTER.subject_id("acme", "bob"),
        MASTER.subject_id("acme", "ann"),
        MASTER.subject_id("other", "bob"),
        MASTER.subject_id("acmeb", "ob"),
        Master(b"x" * 32).subject_id("acme", "bob"),
    }
    assert len(names) == 5
    assert {len(name) for name in names} == {16}


@pytest.mark.parametrize("name", ["", "x" * 201, "bob\n", "\x00"])
def test_an_impossible_name_is_refused(name: str) -> None:
    with pytest.raises(BadInput):
        MASTER.subject_id("acme", name)


def test_a_key_of_another_installation_is_said_to_be_one() -> None:
    wrapped = MASTER.new_key(SUBJECT)
    with pytest.raises(Fault, match="secret key"):
        Master(b"x" * 32).unwrap(SUBJECT, wrapped)
    with pytest.raises(Fault, match="secret key"):
        MASTER.unwrap(bytes(16), wrapped)
    with pytest.raises(Fault, match="secret key"):
        MASTER.unwrap(SUBJECT, b"")


def test_keys_are_not_shown() -> None:
    assert "k" * 32 not in repr(MASTER)
    assert repr(KEY) == f"<SubjectKey of {SUBJECT.hex()}>"
