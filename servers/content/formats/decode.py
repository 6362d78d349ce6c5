"""From bytes to text: byte order marks, declared character sets, else UTF-8 and nothing else. No guessing."""

import codecs
import re

from servers.content.formats.sniff import HTML, SUPPORTED, XML, has_binary_bytes
from stoa.errors import BadInput

__all__ = ["decode"]

_MARKS = (  # UTF-32 before UTF-16: the first two bytes of its mark are the same
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_META = re.compile(rb"<meta\b[^>]{0,300}?charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)
_DECLARATION = re.compile(rb"\s*<\?xml\b[^>]{0,200}?encoding\s*=\s*[\"']([\w.:-]{1,40})[\"']")
_HTML_SIGN = re.compile(rb"<(?:!doctype\s+html|html[\s>]|head[\s>]|meta\s)", re.IGNORECASE)
_CODEC = re.compile(
    r"utf-8|ascii|cp\d+|iso8859-\d+|latin-1|koi8-[rut]|mac-\w+|tis-620|"
    r"shift_jis\w*|euc_\w+|iso2022_\w+|gb\w+|big5\w*|johab|hz"
)


def decode(data: bytes, *, charset: str | None, media_type: str | None) -> str:
    """The text of `data`. A byte order mark wins over `charset` (as given), that over what HTML or XML declare."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _without_nul(_decode(data[len(mark) :], encoding, declared=True, skipped=len(mark)), encoding)
    encoding = _lookup(charset) if charset else _declared(data, media_type)
    return _without_nul(_decode(data, encoding or "utf-8", declared=encoding is not None, skipped=0), encoding)


def _declared(data: bytes, media_type: str | None) -> str | None:
    head = data[:2048]
    declaration = _DECLARATION.match(head)
    if declaration is None and (media_type == HTML or (media_type is None and _HTML_SIGN.search(head))):
        declaration = _META.search(head)
    elif media_type not in (None, XML, HTML):
        return None
    if declaration is None:
        return None
    label = declaration.group(1).decode("ascii")
    if label.lower().startswith(("utf-16", "utf16", "ucs-2", "utf-32")):
        return None  # readable as ASCII so far, so it cannot be true: browsers take UTF-8 then, and so do we
    return _lookup(label)


def _lookup(label: str) -> str:
    """The codec for a label; only character sets, none of Python's other codecs."""
    try:
        name = codecs.lookup(label.strip()).name
    except (LookupError, ValueError):
        name = ""
    if name.startswith(("utf-16", "utf-32")):
        return name
    if not _CODEC.fullmatch(name):
        raise BadInput(
            f"The character set {label!r} is not known.",
            hint="Convert the document to UTF-8, or correct the charset that it declares.",
        )
    return "cp1252" if name in ("ascii", "iso8859-1", "latin-1") else name  # what pages labelled so really hold


def _decode(data: bytes, encoding: str, *, declared: bool, skipped: int) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        if not declared and has_binary_bytes(data):
            raise BadInput(
                "The content is neither text nor any binary format that is supported.",
                hint=f"Supported: {', '.join(SUPPORTED)}.",
            ) from error
        offset = error.start + skipped
        what = encoding.upper() if declared else "valid UTF-8"
        raise BadInput(
            f"The text is not {what}: byte 0x{data[error.start]:02x} at offset {offset}.",
            hint="Convert it to UTF-8 (for example `iconv -f WINDOWS-1252 -t UTF-8`), or name its character set in "
            "media_type, as in `text/plain; charset=windows-1252`.",
        ) from error


def _without_nul(text: str, encoding: str | None) -> str:
    offset = text.find("\x00")
    if offset < 0:
        return text
    hint = "Remove it; a text holds no NUL."
    if encoding is None and text.count("\x00", 0, 4096) * 3 > min(len(text), 4096):
        hint = "This looks like UTF-16 without a byte order mark: convert it to UTF-8."
    elif encoding is None and has_binary_bytes(text[:4096].encode()):
        hint = f"A text holds no NUL, so this is probably a binary format. Supported: {', '.join(SUPPORTED)}."
    raise BadInput(f"The text holds a NUL character at offset {offset}.", hint=hint)
