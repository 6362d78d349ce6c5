"""Event ids: sortable, unique, and nothing else than UUIDs."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.ids import ENTROPY_BYTES, Entropy, id_bytes, id_text, new_ids
from stoa.errors import BadInput


@given(st.binary(min_size=16, max_size=16))
def test_the_text_of_an_id_is_that_of_its_uuid(id: bytes) -> None:
    assert id_text(id) == str(UUID(bytes=id))
    assert id_bytes(id_text(id)) == id_bytes(id_text(id).upper()) == id


@given(st.integers(1, 50), st.integers(0, 2**48 - 1))
def test_fresh_ids_are_of_version_7_and_go_up(count: int, milliseconds: int) -> None:
    entropy = bytes(range(256)) * 2
    ids = [UUID(bytes=id) for id in new_ids(count, milliseconds, entropy[: count * ENTROPY_BYTES])]
    assert len(ids) == count
    assert ids == sorted(ids)
    assert {(id.version, id.variant) for id in ids} == {(7, "specified in RFC 4122")}
    assert {id.int >> 80 for id in ids} == {milliseconds}


def test_a_later_moment_sorts_after_an_earlier_one() -> None:
    earlier, later = new_ids(1000, 5, bytes([255]) * 8000), new_ids(1, 6, bytes(8))
    assert max(earlier) < later[0]


def test_random_bytes_are_given_out_once() -> None:
    entropy = Entropy()
    pieces = [entropy(count) for count in [24, 16, 8_000, 16_000, 24, 50_000, 1, 24] * 5]
    assert [len(piece) for piece in pieces] == [24, 16, 8_000, 16_000, 24, 50_000, 1, 24] * 5
    long = [piece for piece in pieces if len(piece) >= 16]
    assert len(set(long)) == len(long)


@pytest.mark.parametrize(
    "text", ["", "1", "0" * 32, "{" + "0" * 36 + "}", "g" * 8 + "-0000-0000-0000-" + "0" * 12, None, 7]
)
def test_what_is_no_uuid_is_refused(text: object) -> None:
    with pytest.raises(BadInput, match="no UUID"):
        id_bytes(text)
