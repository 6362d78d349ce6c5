"""What every document goes through: is it there, is it text, what is it, does that fit what was said."""

import contextlib
import gzip
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servers.content.chunks import split
from servers.content.formats.extract import MAX_BYTES, Extracted, extract
from servers.content.formats.sniff import SUPPORTED
from stoa.errors import BadInput
from tests.servers.content.builders import pdf


def read(data: bytes | str, media_type: str | None = None, name: str | None = None) -> Extracted:
    return extract(data.encode() if isinstance(data, str) else data, media_type=media_type, name=name)


def refusal(data: bytes | str, media_type: str | None = None, name: str | None = None) -> BadInput:
    with pytest.raises(BadInput) as caught:
        read(data, media_type, name)
    assert caught.value.hint, "every refusal names a remedy"
    return caught.value


def test_an_empty_document_is_refused() -> None:
    assert "empty (0 bytes)" in refusal(b"").message


@pytest.mark.parametrize("blank", [b"  \n\t ", b"\xef\xbb\xbf \n", "\n \n".encode("utf-16"), b"\f\r\n"])
def test_a_document_of_white_space_is_refused(blank: bytes) -> None:
    assert "only white space" in refusal(blank).message


def test_a_document_above_the_limit_is_refused_with_both_sizes() -> None:
    message = refusal(b"x" * (MAX_BYTES + 1)).message
    assert "10,485,761" in message
    assert "10 MiB" in message


def test_a_document_of_exactly_the_limit_is_read() -> None:
    assert len(read(b"x" * MAX_BYTES).markdown) == MAX_BYTES


def test_the_name_of_the_document_stands_in_the_refusal() -> None:
    assert refusal(b"", name="notes/list.md").message.startswith("notes/list.md: ")


def test_a_hostile_name_reaches_the_refusal_only_in_one_printable_line() -> None:
    message = refusal(b"", name="a\x1b[31m\nb" + "c" * 1000).message
    assert message.isprintable()
    assert len(message) < 300


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "image/png"),
        (gzip.compress(b"hello", mtime=0), "application/gzip"),
        (b"PK\x03\x04" + bytes(30) + b"word/document.xml", "Word"),
        (b"PK\x03\x04" + bytes(30), "application/zip"),
        (b"\x7fELF" + bytes(100), "executable"),
        (b"{\\rtf1 hello}", "application/rtf"),
    ],
)
def test_a_known_binary_format_is_named_and_the_supported_ones_listed(data: bytes, what: str) -> None:
    error = refusal(data)
    assert what in error.message
    assert all(media_type in error.hint for media_type in SUPPORTED)


def test_unknown_bytes_are_refused_with_the_supported_formats() -> None:
    error = refusal(bytes(range(128, 256)) + bytes(range(1, 32)) * 8)
    assert "neither text" in error.message
    assert "application/pdf" in error.hint


def test_an_unknown_media_type_is_refused_with_the_supported_ones() -> None:
    error = refusal("hello", "application/x-cobol")
    assert "application/x-cobol" in error.message
    assert "text/markdown" in error.hint


def test_octet_stream_says_nothing_about_the_content() -> None:
    assert read("# Hello\n\nthere", "application/octet-stream").media_type == "text/markdown"


@pytest.mark.parametrize(
    ("data", "given", "found"),
    [
        (b"%PDF-1.4 ...", "text/plain", "application/pdf"),
        (b"%PDF-1.4 ...", "text/html", "application/pdf"),
        (b"hello", "application/pdf", "%PDF-"),
        (b"<!doctype html><p>x", "application/json", "text/html"),
        (b"<html><p>x</html>", "application/xml", "text/html"),
        (b"<!DOCTYPE HTML><p>x", "text/markdown", "text/html"),
        (b'{"a": 1}', "text/html", "application/json"),
        (b'{"a": 1}', "application/xml", "application/json"),
        (b'<?xml version="1.0"?><a/>', "application/json", "application/xml"),
        (b"\x89PNG\r\n\x1a\n", "text/html", "image/png"),
    ],
)
def test_a_media_type_that_contradicts_the_content_is_refused_naming_both(data: bytes, given: str, found: str) -> None:
    message = refusal(data, given).message
    assert message.startswith("Wrong media type")
    assert given in message
    assert found in message


@pytest.mark.parametrize(
    ("data", "given", "used"),
    [
        ("<p>just a fragment</p>", "text/html; charset=utf-8", "text/html"),
        ("no markup at all", "text/html", "text/html"),
        ("<!doctype html><p>x", "text/plain", "text/plain"),
        ('{"a": 1}', "text/plain", "text/plain"),
        ('{"a": "b"}', "application/ld+json", "application/json"),
        ("<feed><title>x</title></feed>", "application/atom+xml", "application/xml"),
        ('<html xmlns="http://www.w3.org/1999/xhtml"><body>x</body></html>', "application/xml", "application/xml"),
        ("hello", "TEXT/X-RST", "text/x-rst"),
    ],
)
def test_a_media_type_that_fits_is_used(data: str, given: str, used: str) -> None:
    assert read(data, given).media_type == used


@pytest.mark.parametrize(
    ("data", "name", "found"),
    [
        ("<!doctype html><title>x</title><p>y", None, "text/html"),
        ("<!-- a comment -->\n<HTML><body>y</body></HTML>", None, "text/html"),
        ("<div><p>a page</p></div>", None, "text/html"),
        ('<?xml version="1.0"?><a>b</a>', None, "application/xml"),
        ("<catalog><book>b</book></catalog>", None, "application/xml"),
        ('[{"a": "b"}]', None, "application/json"),
        ("[1] Smith, J. (1999). On lists.", None, "text/plain"),
        ("{curly} start of a sentence", None, "text/plain"),
        ("# Title\n\nText.", None, "text/markdown"),
        ("Read [this](https://example.org/) now.", None, "text/markdown"),
        ("```\ncode\n```\n", None, "text/markdown"),
        ("---\ntitle: x\n---\n\nText", None, "text/markdown"),
        ("Title\n=====\n\n.. note:: Look.\n", None, "text/x-rst"),
        ("Title\n~~~~~\n\nUse ``x`` and :class:`Y`.\n", None, "text/x-rst"),
        ("See `the site <https://example.org>`_.\n\n.. image:: x.png\n", None, "text/x-rst"),
        ("Dear all,\n\nsee you at 5.\n", None, "text/plain"),
        ("hello", "a.md", "text/markdown"),
        ("hello", "A.RST", "text/x-rst"),
        ("# not a heading", "script.py", "text/plain"),
        ('{"a": "b"}', "notes.txt", "text/plain"),
        ("<!doctype html><p>x", "page.md", "text/html"),
        ("<p align=center>logo</p>\n\n# Name\n\nSee [x](y).", None, "text/markdown"),
    ],
)
def test_without_a_media_type_content_decides_and_the_name_breaks_ties(data: str, name: str | None, found: str) -> None:
    assert read(data, name=name).media_type == found


def test_invalid_utf8_is_refused_with_byte_offset_and_remedy() -> None:
    error = refusal(b"caf\xe9 au lait")
    assert "0xe9 at offset 3" in error.message
    assert "charset=" in error.hint


def test_a_charset_that_is_given_is_used() -> None:
    assert read("café".encode("cp1252"), "text/plain; charset=windows-1252").markdown == "café"


def test_a_charset_that_does_not_fit_is_refused_with_byte_offset() -> None:
    assert "CP1252: byte 0x81 at offset 1" in refusal(b"a\x81b", "text/plain; charset=windows-1252").message
    assert "UTF-8: byte 0xff at offset 2" in refusal(b"ab\xff", "text/plain; charset=utf-8").message


@pytest.mark.parametrize("charset", ["zlib", "punycode", "rot13", "unicode_escape", "nonsense", "idna"])
def test_only_character_sets_count_as_charsets(charset: str) -> None:
    assert "not known" in refusal("hello", f"text/plain; charset={charset}").message


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_a_byte_order_mark_is_honoured(encoding: str) -> None:
    assert read("# Größe\n\nText".encode(encoding)).markdown == "# Größe\n\nText"


def test_utf16_without_a_mark_is_refused_saying_so() -> None:
    assert "UTF-16 without a byte order mark" in refusal("hello world".encode("utf-16-le")).hint


def test_the_charset_of_an_html_page_is_honoured() -> None:
    page = '<html><head><meta charset="iso-8859-1"><title>Café</title></head><body>Größe</body></html>'
    found = read(page.encode("latin-1"))
    assert (found.title, found.markdown) == ("Café", "Größe")


def test_the_encoding_of_an_xml_declaration_is_honoured() -> None:
    assert "Größe" in read('<?xml version="1.0" encoding="ISO-8859-1"?><a>Größe</a>'.encode("latin-1")).markdown


def test_a_nul_character_is_refused_with_its_offset() -> None:
    assert "offset 5" in refusal(b"hello\x00world, this is a text").message


def test_nothing_that_a_database_cannot_hold_comes_out() -> None:
    found = read(json.dumps({"title": "a\x00b\ud800", "text": "\ud83d\ude00"}).encode(), "application/json")
    assert "\x00" not in found.markdown
    found.markdown.encode()
    assert found.title == "a\ufffdb\ufffd"
    assert "😀" in found.markdown


def test_newlines_come_out_as_one_character() -> None:
    assert read("# a\r\n\r\nb\rc", "text/markdown").markdown == "# a\n\nb\nc"


HARD_FOR_PATTERNS = {
    "front matter that never closes": ("---\n" + "-a: x\n" * 10_000, None),
    "a title and many blanks": ("---\ntitle: a" + " " * 60_000 + "b\n---\n\ntext", None),
    "half a role in a directive": (".. x::\n\n   " + ":a" * 4_000 + "\n", "text/x-rst"),
    "blanks in XML": ("<a>" + " " * 1_000_000 + "x</a>", "application/xml"),
    "blanks and then a declaration": (" " * 1_000_000 + '<?xml version="1.0"?><a/>', "application/xml"),
    "quotes that never end": ('"\\' * 500_000, "application/json"),
    "comments that never end": ("<!--" * 250_000 + "x", None),
    "scripts": ("<script>x</script>" * 50_000 + "x", "text/html"),
    "quotes in tags": ('<p title="' * 1_000 + "x", "text/html"),
    "a fence of a million ticks": ("`" * 1_000_000 + "\nx", "text/markdown"),
    "rules": ("x\n" + "---\n" * 250_000, "text/markdown"),
    "links that never end": ("[a](" * 250_000, None),
    "blank lines": ("a::\n" + "\n" * 500_000 + "b", None),
    "one word": ("x" * 1_000_000 + ".", None),
}


@pytest.mark.parametrize("case", HARD_FOR_PATTERNS)
def test_a_megabyte_that_is_hard_for_patterns_takes_no_more_than_its_length(case: str) -> None:
    text, media_type = HARD_FOR_PATTERNS[case]
    start = time.thread_time()
    with contextlib.suppress(BadInput):
        split(read(text, media_type).markdown)
    assert time.thread_time() - start < 3, "well below a second is usual; the square of the length would be minutes"


@given(st.binary(max_size=400), st.sampled_from([None, *SUPPORTED]), st.sampled_from([None, "a.md", "b.rst", "c.xml"]))
@settings(deadline=None, max_examples=300)
def test_random_bytes_are_read_or_refused_and_nothing_else(
    data: bytes, media_type: str | None, name: str | None
) -> None:
    with contextlib.suppress(BadInput):
        assert extract(data, media_type=media_type, name=name).markdown.strip()


MARKUP = st.lists(
    st.one_of(
        st.sampled_from(
            ["# ", "> ", "* ", "- ", "1. ", "``", "`", "**", "_", "|", "~~~", "```", "+--+", "[x](y)", "\\"]
        ),
        st.sampled_from([":a:`", ".. x::", ".. ", "::", "a_", "__", ".. _a: b", "\n===\n", "\n---\n", "\n\n", "    "]),
        st.sampled_from(
            ["<p>", "</p>", "<b", "&amp;", "<!--", "-->", '<?xml version="1.0"?>', "<!DOCTYPE a [", "]>", "<a>"]
        ),
        st.sampled_from(['{"a":', "}", "[", "]", '"', ",", "1", "word", "ü", "\n", "  "]),
    ),
    max_size=60,
).map("".join)


@given(MARKUP, st.sampled_from([None, *(each for each in SUPPORTED if each != "application/pdf")]))
@settings(deadline=None, max_examples=400)
def test_random_markup_is_read_or_refused_and_nothing_else(text: str, media_type: str | None) -> None:
    with contextlib.suppress(BadInput):
        assert extract(text.encode(), media_type=media_type, name=None).markdown.strip()


@given(st.data())
@settings(deadline=None, max_examples=15)
def test_a_pdf_with_flipped_bytes_is_read_or_refused(data: st.DataObject) -> None:
    damaged = bytearray(pdf(["Hello", "World"], title="T"))
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(8, len(damaged) - 8))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BadInput):
        assert extract(bytes(damaged), media_type="application/pdf", name=None).markdown.strip()
