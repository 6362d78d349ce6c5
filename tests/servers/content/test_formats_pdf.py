"""PDF: text by page, and the files that are no use."""

import pytest

from servers.content.formats.extract import Extracted, extract
from servers.content.formats.limits import MAX_PDF_PAGES
from stoa.errors import BadInput
from tests.servers.content.builders import assemble, pdf, stream


def read(data: bytes) -> Extracted:
    return extract(data, media_type=None, name=None)


def refusal(data: bytes) -> BadInput:
    with pytest.raises(BadInput) as caught:
        read(data)
    return caught.value


def test_each_page_stands_under_its_number() -> None:
    found = read(pdf(["Hello (world)\nsecond line", "Page two"], title="My title"))
    assert found == Extracted(
        "application/pdf", "My title", "## Page 1\n\nHello (world)\nsecond line\n\n## Page 2\n\nPage two"
    )


def test_a_single_page_needs_no_number() -> None:
    assert read(pdf(["All of it"])).markdown == "All of it"


def test_a_page_without_text_is_left_out_and_the_others_keep_their_numbers() -> None:
    assert read(pdf(["One", "", "Three"])).markdown == "## Page 1\n\nOne\n\n## Page 3\n\nThree"


def test_the_title_comes_from_an_outline_with_one_entry_when_the_metadata_has_none() -> None:
    assert read(pdf(["x"], title="Untitled-1", outline=["The report"])).title == "The report"
    assert read(pdf(["x"], outline=["Chapter 1", "Chapter 2"])).title is None


def test_dirt_in_front_is_tolerated() -> None:
    assert read(b"\n some dirt\n" + pdf(["Hello"])).markdown == "Hello"


def test_an_encrypted_pdf_is_refused_saying_so() -> None:
    error = refusal(pdf(["secret"], password="open sesame"))
    assert "encrypted" in error.message
    assert "password" in error.hint


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_pdf_that_is_cut_off_is_refused(share: float) -> None:
    whole = pdf(["Hello"] * 20)
    assert "cut off" in refusal(whole[: int(len(whole) * share)]).message


def test_a_damaged_pdf_is_refused() -> None:
    assert "damaged" in refusal(b"%PDF-1.4\n" + b"nothing of the kind\n" * 50 + b"%%EOF").message


def test_a_scanned_pdf_is_refused_asking_for_ocr() -> None:
    error = refusal(pdf(["", ""]))
    assert "no text on its 2 page(s)" in error.message
    assert "OCR" in error.hint


def test_a_pdf_with_too_many_pages_is_refused_with_both_numbers() -> None:
    message = refusal(pdf(["x"] * (MAX_PDF_PAGES + 1))).message
    assert "3,001" in message
    assert "3,000" in message


def test_a_small_pdf_that_unfolds_without_end_is_refused_and_this_process_lives() -> None:
    levels = 8  # each form draws the next one ten times
    font = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
    page = (
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R /Resources << /XObject << /A 6 0 R >> >> >>"
    )
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>", page]
    objects += [stream(b"/A Do " * 10), font]
    for level in range(levels):
        is_last = level == levels - 1
        body = b"BT /F1 1 Tf (abc) Tj ET" if is_last else b"/A Do " * 10
        names = "/Font << /F1 5 0 R >>" if is_last else f"/XObject << /A {7 + level} 0 R >>"
        head = f"<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << {names} >> /Length {len(body)} >>"
        objects.append(head.encode() + b"\nstream\n" + body + b"\nendstream")
    assert "cannot be read within" in refusal(assemble(objects)).message
