"""Chunks: exact slices along the structure, nothing lost, nothing twice."""

from hypothesis import given, settings
from hypothesis import strategies as st

from servers.content.chunks import MAX_WHOLE_CHARACTERS, TARGET_CHARACTERS, split


def cut(text: str) -> list[tuple[str, str]]:
    return [(chunk.heading, text[chunk.start : chunk.end]) for chunk in split(text)]


PIECES = [
    "# A\n",
    "## B\n",
    "Title\n=====\n",
    "Sub\n---\n",
    "```\n",
    "~~~~\n",
    "    code\n",
    "| a | b |\n",
    "- item\n",
    "\n",
    "\n\n",
]
MORE_PIECES = ["word ", "x", "> quote\n", "---\n", "\t", "\u2028", "é", "1. n\n", "long " * 300, "x" * 3000]


@given(
    st.one_of(
        st.text(max_size=300),
        st.lists(st.sampled_from(PIECES + MORE_PIECES), max_size=40).map("".join),
    )
)
@settings(deadline=None, max_examples=400)
def test_every_character_that_is_not_space_lies_in_exactly_one_chunk(text: str) -> None:
    position = 0
    for chunk in split(text):
        assert position <= chunk.start < chunk.end <= len(text)
        assert not text[position : chunk.start].strip(), "nothing but space lies between chunks"
        part = text[chunk.start : chunk.end]
        assert part == part.strip()
        assert len(part) <= MAX_WHOLE_CHARACTERS + TARGET_CHARACTERS
        position = chunk.end
    assert not text[position:].strip()


def test_an_empty_text_has_no_chunks() -> None:
    assert split("") == []
    assert split(" \n\n") == []


def test_sections_are_chunks_of_their_own_with_the_headings_above_them() -> None:
    first, second = "one " * 80, "two " * 80
    text = f"# Top\n\n{first}\n\n## Install *now*\n\n{second}\n\n# Other\n\n{first}"
    assert [heading for heading, _ in cut(text)] == ["Top", "Top > Install now", "Other"]
    assert cut(text)[1][1].startswith("## Install *now*")


def test_underlined_headings_count() -> None:
    body = "text " * 60
    text = f"Top\n===\n\n{body}\n\nSub\n---\n\n{body}"
    assert [heading for heading, _ in cut(text)] == ["Top", "Top > Sub"]


def test_a_heading_stays_with_what_follows() -> None:
    body = "text " * 190
    parts = cut(f"# Top\n\n{body}\n\n## Next\n\n{body}")
    assert all(len(part) > 100 for _, part in parts)
    assert parts[-1][1].startswith("## Next")


def test_a_code_block_that_fits_is_not_cut_and_its_comments_are_no_headings() -> None:
    code = "```python\n" + "# comment\n\nx = 1\n" * 70 + "```"
    assert TARGET_CHARACTERS < len(code) <= MAX_WHOLE_CHARACTERS
    assert ("Top", code) in cut(f"# Top\n\n{'intro ' * 100}\n\n{code}\n\nend")


def test_a_table_that_fits_is_not_cut() -> None:
    table = "| a | b |\n| --- | --- |\n" + "| one | two |\n" * 80
    assert table.strip() in [part for _, part in cut(f"{'intro ' * 100}\n\n{table}\n\nend")]


def test_a_longer_block_is_cut_at_lines_then_sentences_then_words() -> None:
    assert all(part.endswith("line") for _, part in cut("a whole line\n" * 500))
    assert all(part.endswith(".") for _, part in cut("One short sentence here. " * 200))
    assert all(part.endswith("word") for _, part in cut("word " * 1000))
    assert [len(part) for _, part in cut("x" * 2500)] == [1000, 1500]


def test_front_matter_is_no_heading() -> None:
    assert {heading for heading, _ in cut("---\ntitle: x\n---\n\ntext")} == {""}


def test_a_fence_that_is_never_closed_runs_to_the_end() -> None:
    assert {heading for heading, _ in cut("text\n\n```\n# a\n\n# b\n")} == {""}


def test_a_heading_path_is_bounded() -> None:
    text = "".join(f"{'#' * level} {'long title ' * 20}\n\n{'text ' * 60}\n\n" for level in range(1, 7))
    assert all(len(chunk.heading) <= 300 for chunk in split(text))


def test_a_text_with_more_boundaries_than_a_book_is_still_covered() -> None:
    text = "# a\n" * 400_000
    chunks = split(text)
    assert chunks[-1].end == len(text.strip())
