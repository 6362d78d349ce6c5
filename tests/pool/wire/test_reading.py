"""Half characters in JSON are mended, however the text is cut into pieces."""

import json

import pytest

from pool.wire.reading import Mender, mend

TEXT = rb'["\ud83d", "\ud83d\ude00", "\\ud83d", "\udE00\n", "\ud83d\ud83d\ude00", "\u00e9\\", "\ud83d\n"]'
WANTED = ["\ufffd", "\U0001f600", "\\ud83d", "\ufffd\n", "\ufffd\U0001f600", "é\\", "\ufffd\n"]


def test_halves_are_replaced_and_nothing_else() -> None:
    assert json.loads(mend(TEXT)) == WANTED
    assert len(mend(TEXT)) == len(TEXT)


@pytest.mark.parametrize("size", range(1, 20))
def test_pieces_are_mended_like_the_whole(size: int) -> None:
    mender = Mender()
    pieces = [mender.feed(TEXT[start : start + size]) for start in range(0, len(TEXT), size)]
    assert b"".join([*pieces, mender.rest()]) == mend(TEXT)
    assert mender.rest() == b""
