"""Halves of characters in JSON, and what is no JSON at all."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.wire.reading import mend, read_object


@given(st.text(st.characters(codec=None, categories=None) | st.sampled_from("\ud83d\ude00\\u")))
def test_what_is_mended_is_the_text_with_halves_replaced(text: str) -> None:
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    mended = json.loads(mend(json.dumps(text).encode()))
    assert mended.replace("\ufffd", "") == whole.replace("\ufffd", "")


def test_half_a_character_costs_that_character_only() -> None:
    assert read_object(rb'{"text": "a\ud83db\ud83d\ude00\\ud83d"}') == {"text": "a\ufffdb\U0001f600\\ud83d"}


@pytest.mark.parametrize("text", [b"", b"noise", b'{"a":', b'"\\ud83d', "{"])
def test_what_is_no_json_is_refused(text: bytes | str) -> None:
    with pytest.raises(ValueError, match=r"JSON|expected|EOF|hex"):
        read_object(text)
