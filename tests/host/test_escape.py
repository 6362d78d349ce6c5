"""Text of others on a terminal."""

import json

import pytest

from host.escape import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain Grüße 日本語 👍\n\tnext", "plain Grüße 日本語 👍\n\tnext"),
        ("\x1b[31mred", "\\u001b[31mred"),
        ("\x9b31m", "\\u009b31m"),
        ("\r\b\x7f", "\\u000d\\u0008\\u007f"),
        ("user\u202eadmin\u2066", "user\\u202eadmin\\u2066"),
        ("a\u200bb\ufeff\u2028", "a\\u200bb\\ufeff\\u2028"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\udb40\\udc41"),
        ("[bold]markup[/bold]", "[bold]markup[/bold]"),
    ],
)
def test_what_steers_or_hides_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_json_stays_the_same_json() -> None:
    value = {"a\u202e": ["\x9b\U000e0041 \x00", "é"]}
    assert json.loads(visible(json.dumps(value, ensure_ascii=False))) == value
