"""HTML: what is content, and what is refused before a parser sees it."""

import pytest

from servers.content.formats.extract import Extracted, extract
from stoa.errors import BadInput


def read(text: str) -> Extracted:
    return extract(text.encode(), media_type="text/html", name=None)


def refusal(text: str) -> BadInput:
    with pytest.raises(BadInput) as caught:
        read(text)
    return caught.value


def test_headings_lists_links_code_and_tables_become_markdown() -> None:
    found = read(
        "<html><head><title> The  page </title></head><body><h1>Top</h1><p>Some <b>bold</b> and "
        '<a href="https://example.org/">a link</a>.</p><ul><li>one</li><li>two</li></ul>'
        '<pre><code class="language-python">x = 1</code></pre>'
        "<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table></body></html>"
    )
    assert found.title == "The page"
    assert "# Top" in found.markdown
    assert "Some **bold** and [a link](https://example.org/)." in found.markdown
    assert "- one\n- two" in found.markdown
    assert "```python\nx = 1\n```" in found.markdown
    assert "| a | b |" in found.markdown


def test_scripts_styles_forms_and_navigation_are_no_content() -> None:
    found = read(
        "<style>p{}</style><nav>Home | About</nav><header>Banner</header><p>Text</p><script>alert(1)</script>"
        "<form><button>Send</button></form><aside>Ad</aside><footer>(c)</footer><p hidden>no</p>"
    )
    assert found.markdown == "Text"


def test_the_main_part_is_taken_when_there_is_one() -> None:
    assert read("<body><div>Cookies?</div><main><p>The long text of the page</p></main></body>").markdown == (
        "The long text of the page"
    )


def test_a_heading_is_the_title_when_the_page_has_none() -> None:
    assert read("<body><h1>The <i>heading</i></h1><p>x</p></body>").title == "The heading"


def test_links_that_lead_nowhere_without_the_page_become_their_words() -> None:
    found = read(
        '<p>See <a href="../b.html">this</a><a class="headerlink" href="#x">¶</a> <img src="x.png" alt="pic"></p>'
    )
    assert found.markdown == "See this pic"


def test_code_holds_no_links() -> None:
    found = read('<pre><a href="https://example.org/">fn</a> <span class="k">main</span>()</pre>')
    assert found.markdown == "```\nfn main()\n```"


def test_a_page_without_text_is_refused() -> None:
    assert "no text" in refusal("<html><script>var a = 'text'</script></html>").message


@pytest.mark.parametrize("unit", ["<div>", "<b>x", "<ul><li>", "<table><tr><td>", "<blockquote>", "<font size=1><p>"])
def test_deep_nesting_is_refused_with_the_place(unit: str) -> None:
    message = refusal(unit * 100_000).message
    assert "nested deeper than 400" in message
    assert "offset" in message


def test_more_elements_than_the_limit_are_refused() -> None:
    assert "400,000 elements" in refusal("<p>x" * 400_001).message


def test_an_element_with_a_million_attributes_is_refused() -> None:
    assert "attributes" in refusal("<p " + " ".join(f"a{number}" for number in range(100_000)) + ">x").message


def test_markup_in_comments_scripts_and_attributes_does_not_count_as_nesting() -> None:
    text = (
        "<!--"
        + "<div>" * 1000
        + "--><script>"
        + "'<div>'" * 1000
        + "</script>"
        + f'<p title="{"<div>" * 1000}">Text</p>'
    )
    assert read(text).markdown == "Text"
