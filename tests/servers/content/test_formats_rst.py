"""reStructuredText: what becomes of it, and what docutils never gets to do."""

from pathlib import Path

import pytest

from servers.content.formats.extract import Extracted, extract
from stoa.errors import BadInput


def read(text: str) -> Extracted:
    return extract(text.encode(), media_type="text/x-rst", name=None)


def refusal(text: str) -> BadInput:
    with pytest.raises(BadInput) as caught:
        read(text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("Title\n=====\n\nSub\n---\n\nText", "# Title\n\n## Sub\n\nText"),
        ("* a\n* b\n\n  * c\n", "- a\n- b\n  - c"),
        ("3. a\n4. b\n", "3. a\n4. b"),
        ("1. a\n\n   more\n2. b\n", "1. a\n\n   more\n\n2. b"),
        ("Look::\n\n  x = 1\n", "Look:\n\n```\nx = 1\n```"),
        (".. code-block:: python\n\n   x = 1\n", "```python\nx = 1\n```"),
        (">>> 1 + 1\n2\n", "```pycon\n>>> 1 + 1\n2\n```"),
        ("*a* **b** ``c`` `d`", "*a* **b** `c` *d*"),
        ("``a ` b``", "`` a ` b ``"),
        (
            "`Site <https://example.org>`_ and docs_\n\n.. _docs: https://example.com/d\n",
            "[Site](https://example.org) and [docs](https://example.com/d)",
        ),
        ("a__ and b__\n\n__ https://x.org\n__ https://y.org\n", "[a](https://x.org) and [b](https://y.org)"),
        ("old_\n\n.. _old: new_\n.. _new: https://x.org\n", "[old](https://x.org)"),
        ("|v| out\n\n.. |v| replace:: **2.0**\n", "**2.0** out"),
        ("term : kind\n  What it is.\n", "- **term** (kind): What it is."),
        (":Author: Me\n:Date: today\n", "- **Author**: Me\n- **Date**: today"),
        ("-a, --all  Show all.\n", "- `-a`, `--all`: Show all."),
        (".. note:: Be careful.\n", "**Note:** Be careful."),
        (".. admonition:: Beware\n\n   Of dogs.\n", "**Beware:** Of dogs."),
        ("Said:\n\n  To be\n  or not\n", "Said:\n\n> To be\n> or not"),
        ("| one\n| two\n", "one\ntwo"),
        ("a\n\n-----\n\nb", "a\n\n---\n\nb"),
        ("== ==\na  b\n== ==\n1  2\n== ==\n", "| a | b |\n| --- | --- |\n| 1 | 2 |"),
        ("+---+---+\n| a | b |\n+---+---+\n| c     |\n+---+---+\n", "|  |  |\n| --- | --- |\n| a | b |\n| c |  |"),
        (".. image:: https://x.org/i.png\n   :alt: pic\n", "![pic](https://x.org/i.png)"),
        ("a [1]_\n\n.. [1] the note\n", "a [1]\n\n[1] the note"),
        ("`Foo` is :class:`~a.Bar`, see :ref:`there <label>`.", "*Foo* is `a.Bar`, see there."),
        (".. versionadded:: 2.0\n   The thing.\n", "2.0\n\nThe thing."),
        (".. prompt:: bash\n\n   ls -l\n", "```bash\nls -l\n```"),
        (".. toctree::\n   :maxdepth: 2\n\n   intro\n\nText", "Text"),
        ("+---+\n| a |\n+--\n", "```\n+---+\n| a |\n+--\n```"),
        (".. csv-table::\n\n   a,b\n   c\n", "|  |  |\n| --- | --- |\n| a | b |\n| c |  |"),
        (".. a comment\n\nText", "Text"),
    ],
)
def test_markup_becomes_markdown(text: str, markdown: str) -> None:
    assert read(text).markdown == markdown


def test_the_title_is_that_of_the_section_that_holds_or_opens_the_document() -> None:
    assert read("|b|\n\nTitle\n=====\n\ntext\n\n.. |b| image:: x.png\n").title == "Title"
    assert read("A\n=\n\ntext\n\nB\n=\n\ntext\n").title == "A"
    assert read("Intro.\n\nA\n=\n\ntext\n\nB\n=\n\ntext\n").title is None


def test_no_file_is_read_and_nothing_raw_comes_through(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")
    found = read(
        f"Text\n\n.. include:: {secret}\n\n.. raw:: html\n   :file: {secret}\n\n"
        ".. raw:: html\n\n   <script>x</script>\n\n"
        f".. csv-table:: Caption\n   :file: {secret}\n\n.. literalinclude:: {secret}\n"
    )
    assert found.markdown == "Text\n\nCaption"


def test_one_documents_roles_do_not_reach_the_next() -> None:
    assert read(".. role:: shout(strong)\n\n:shout:`hey`").markdown == "**hey**"
    assert read(":shout:`hey`").markdown == "`hey`"
    assert read(".. default-role:: literal\n\n`x`").markdown == "`x`"
    assert read("`x`").markdown == "*x*"


def test_errors_in_the_document_are_neither_text_nor_noise(capfd: pytest.CaptureFixture[str]) -> None:
    assert read("Title\n=====\n\n`open\n\n.. nonsense::\n\n* a\nb\n").markdown.startswith("# Title\n\n`open")
    assert capfd.readouterr() == ("", "")


def test_substitutions_that_explode_stay_small() -> None:
    levels = "".join(f".. |a{n}| replace:: " + f"|a{n - 1}| " * 50 + "\n" for n in range(1, 9))
    assert len(read(f".. |a0| replace:: x\n{levels}\n|a8|\n").markdown) < 200_000


@pytest.mark.parametrize(
    "text",
    [
        "\n\n".join("  " * n + "* a" for n in range(500)),
        "\n\n".join(" " * n + "a" for n in range(900)),
        "- " * 2000 + "a",
    ],
)
def test_deep_nesting_is_refused(text: str) -> None:
    assert "nested too deeply" in refusal(text).message


def test_a_very_long_line_is_refused_with_its_number() -> None:
    assert "Line 3 of the reStructuredText" in refusal("a\n\n" + "x" * 20_000).message


def test_more_than_a_megabyte_is_refused() -> None:
    assert "the limit is 1,048,576" in refusal("text\n" * 300_000).message


def test_a_paragraph_too_long_for_its_markup_stays_plain() -> None:
    assert read("*a* " + "word\n" * 10_000).markdown.startswith("*a* word")


@pytest.mark.parametrize(
    "text",
    [
        "+" + "-+" * 101 + "\n|" + " |" * 101 + "\n+" + "-+" * 101 + "\n",
        "== " * 101 + "\n" + "a  " * 101 + "\n" + "== " * 101 + "\n",
        ".. csv-table::\n\n   " + ",".join("a" * 101) + "\n" + "   a\n" * 100,
    ],
)
def test_a_table_of_more_columns_than_the_limit_is_refused(text: str) -> None:
    assert "101 columns" in refusal(text).message


@pytest.mark.slow
def test_a_document_that_takes_docutils_too_long_is_refused() -> None:
    assert "takes too long" in refusal("ab\n==\n\n" * 130_000).message
