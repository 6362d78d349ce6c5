"""Markdown and plain text: kept as they are; the title is found."""

import pytest

from servers.content.formats.extract import extract
from servers.content.formats.front_matter import front_matter_end


def title(text: str, media_type: str = "text/markdown") -> str | None:
    return extract(text.encode(), media_type=media_type, name=None).title


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("# The *big* `title` [here](x)\n\ntext", "The big title here"),
        ("Title\n=====\n\ntext", "Title"),
        ("text first\n\n## Section\n\n# Title\n", "Title"),
        ("text first\n\n## Section\n", None),
        ("## Opens with a section\n\ntext", "Opens with a section"),
        ('<h1 align="center">\n  <img src="x"> Name\n</h1>\n\n## Install', "Name"),
        ("# ![logo](x.png)\n\n# Name", "Name"),
        ("---\ntitle: 'From the front'\ntags: [a]\n---\n\n# Heading", "From the front"),
        ("```\n# comment\n```\n\n# Title", "Title"),
        ("no heading at all", None),
    ],
)
def test_the_title_is_the_first_top_heading(text: str, found: str | None) -> None:
    assert title(text) == found


def test_the_text_is_kept_as_it_is() -> None:
    text = "---\na: b\n---\n\n#  Odd   spacing\n\n* x\n\n\n\n<b>raw</b>  \nend"
    assert extract(text.encode(), media_type="text/markdown", name=None).markdown == text


def test_a_rule_at_the_start_is_no_front_matter() -> None:
    assert front_matter_end("---\n\nJust text.\n\n---\n") == 0
    assert front_matter_end("---\na: b\n---\ntext") == len("---\na: b\n---")


def test_a_title_is_one_bounded_line() -> None:
    found = title("# " + "word " * 500)
    assert found is not None
    assert len(found) <= 300
    assert found.endswith("…")


def test_the_first_line_of_a_plain_text_is_its_title_when_it_stands_alone() -> None:
    assert title("A Tale\n\nIt was the best of times.\n", "text/plain") == "A Tale"
    assert title("It was the best\nof times.\n", "text/plain") is None


@pytest.mark.parametrize("unit", ["[", "*", "`", "> ", "- ", "# a\n", "a\n---\n", "```\n", "<h1 ", "![", "a\n\n"])
def test_a_megabyte_of_the_same_markup_is_read(unit: str) -> None:
    assert extract((unit * 1_000_000)[:1_000_000].encode(), media_type="text/markdown", name=None).markdown
