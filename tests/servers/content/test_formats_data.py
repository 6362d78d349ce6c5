"""JSON and XML: what they look like as Markdown, and the attacks."""

import time

import pytest

from servers.content.formats.extract import Extracted, extract
from stoa.errors import BadInput


def read(text: str, media_type: str) -> Extracted:
    return extract(text.encode(), media_type=media_type, name=None)


def refusal(text: str, media_type: str) -> BadInput:
    with pytest.raises(BadInput) as caught:
        read(text, media_type)
    return caught.value


def json_refusal(text: str) -> str:
    return refusal(text, "application/json").message


def xml_refusal(text: str) -> str:
    return refusal(text, "application/xml").message


def test_json_is_written_readably_and_keeps_numbers_keys_and_order() -> None:
    found = read('{"title":"T","b":[1.10,2],"a":{"x":null,"x":true},"n":[[1e400]],"e":{},"f":[]}', "application/json")
    assert found.title == "T"
    assert found.markdown == (
        "```json\n{\n"
        '  "title": "T",\n  "b": [1.10, 2],\n  "a": {\n    "x": null,\n    "x": true\n  },\n'
        '  "n": [\n    [1e400]\n  ],\n  "e": {},\n  "f": []\n'
        "}\n```"
    )


def test_words_in_json_are_found_as_they_are_written() -> None:
    assert "Größe ```` x" in read('{"a": "Gr\\u00f6\\u00dfe ```` x"}', "application/json").markdown


def test_a_fence_in_json_does_not_end_the_block() -> None:
    assert read('["```"]', "application/json").markdown.startswith("````json\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1,}', "line 1, column 9"),
        ('{"a": [1, 2', "line 1, column"),
        ('{"a":\n NaN}', "NaN is not a JSON value"),
        ("[1] [2]", "Extra data"),
        ("[" * 200_000, "nested deeper than 100"),
        ('{"a":' * 1000 + "1" + "}" * 1000, "nested deeper than 100"),
        ("[" + "1," * 1_100_000 + "1]", "more than 1,000,000 values"),
        ('"\\' * 100_000, "not valid"),
    ],
)
def test_json_that_cannot_be_used_is_refused(text: str, message: str) -> None:
    assert message in json_refusal(text)


def test_brackets_in_strings_are_no_nesting() -> None:
    assert read('{"a": "' + "[" * 1000 + '\\"' + "{" * 1000 + '"}', "application/json").markdown


def test_xml_becomes_an_outline() -> None:
    found = read(
        '<?xml version="1.0"?><!-- c --><c:list xmlns:c="u"><c:title>The list</c:title>'
        '<item id="1"><name>A &amp; B</name><empty/></item><p>Some <b>mixed</b> text</p></c:list>',
        "application/xml",
    )
    assert found.title == "The list"
    assert found.markdown == (
        "- **list**\n  - **title**: The list\n  - **item** (id=1)\n    - **name**: A & B\n  - **p**: Some mixed text"
    )


def test_a_document_type_without_declarations_is_read_over_and_nothing_is_loaded() -> None:
    assert read('<!DOCTYPE a SYSTEM "file:///etc/passwd">\n<a>x</a>', "application/xml").markdown == "- **a**: x"


def test_errors_keep_the_line_numbers_of_the_document() -> None:
    assert "line 4" in xml_refusal('<?xml version="1.0"?>\n<!-- c -->\n<a>\n<b></a>')


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
ATTACKS = {
    "billion laughs": f'<!DOCTYPE l [<!ENTITY l0 "ha">{LAUGHS}]><l>&l11;</l>',
    "quadratic blow-up": f'<!DOCTYPE l [<!ENTITY a "{"x" * 100_000}">]><l>{"&a;" * 10_000}</l>',
    "external entity": '<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]><l>&a;</l>',
    "parameter entity": '<!DOCTYPE l [<!ENTITY % a SYSTEM "http://127.0.0.1:1/"> %a;]><l/>',
    "default attributes": '<!DOCTYPE l [<!ATTLIST l a CDATA "x">]><l/>',
    "behind a comment": '<!-- <!DOCTYPE x> --><?p <!DOCTYPE x>?><!DOCTYPE l [<!ENTITY a "x">]><l>&a;</l>',
    "deep nesting": "<a>" * 100_000,
    "deep and closed": "<a>" * 250 + "x" + "</a>" * 250,
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_by_xml_is_refused_at_once(attack: str) -> None:
    xml_refusal("<a/")  # the parsers are imported
    start = time.thread_time()
    message = xml_refusal(ATTACKS[attack])
    assert time.thread_time() - start < 0.5, "50 ms is usual; the rest is for a busy machine"
    assert "declarations" in message or "depth" in message or "nested" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<a>&nbsp;</a>", "nbsp"),
        ("<a>", "not valid"),
        ("just text", "not valid"),
        ("<!-- only a comment -->", "not valid"),
        ("<r " + " ".join(f'a{n}="1"' for n in range(2000)) + "/>", "more than 1,000 attributes"),
        ("<r>" + "<a/>" * 400_001 + "</r>", "more than 400,000 elements"),
    ],
)
def test_xml_that_cannot_be_used_is_refused(text: str, message: str) -> None:
    assert message in xml_refusal(text)


def test_what_looks_like_a_document_type_in_text_is_text() -> None:
    assert "<!DOCTYPE" in read("<a><![CDATA[<!DOCTYPE x [<!ENTITY y 'z'>]>]]></a>", "application/xml").markdown
