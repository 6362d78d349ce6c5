"""What a document is: media types that we read, names for those that we do not, and how content gives itself away.

Content decides, the file name only breaks ties. Nothing here parses; all looks are bounded.
"""

import re
from email.message import Message
from pathlib import PurePosixPath

from servers.content.formats.front_matter import front_matter_end
from stoa.errors import BadInput

__all__ = [
    "HTML",
    "JSON",
    "MARKDOWN",
    "PDF",
    "PLAIN",
    "RST",
    "SUPPORTED",
    "XML",
    "binary_type",
    "has_binary_bytes",
    "named_type",
    "parse_media_type",
    "text_type",
    "wrong_media_type",
]

HTML = "text/html"
PDF = "application/pdf"
MARKDOWN = "text/markdown"
RST = "text/x-rst"
PLAIN = "text/plain"
JSON = "application/json"
XML = "application/xml"
SUPPORTED = (HTML, PDF, MARKDOWN, RST, PLAIN, JSON, XML)

_ALIASES = {
    "application/xhtml+xml": HTML,
    "application/x-pdf": PDF,
    "text/x-markdown": MARKDOWN,
    "text/x-web-markdown": MARKDOWN,
    "text/prs.fallenstein.rst": RST,
    "text/restructuredtext": RST,
    "text/x-restructuredtext": RST,
    "text/json": JSON,
    "text/xml": XML,
    "application/xml-dtd": XML,
    "image/svg+xml": XML,
} | {media_type: media_type for media_type in SUPPORTED}

_SUFFIXES = {
    HTML: ".html .htm .xhtml .xht",
    PDF: ".pdf",
    MARKDOWN: ".md .markdown .mdown .mkd .mdx",
    RST: ".rst .rest",
    PLAIN: ".txt .text .log .csv .tsv .py .toml .yaml .yml .ini .cfg .conf .sh .sql .tex .diff .patch",
    JSON: ".json .geojson .jsonld .ipynb",
    XML: ".xml .rss .atom .svg .xsd .xsl .xslt .wsdl .docbook .rdf .opml",
}
_BY_SUFFIX = {suffix: media_type for media_type, suffixes in _SUFFIXES.items() for suffix in suffixes.split()}

_MAGIC = (  # (offset, bytes, what it is)
    (0, b"%PDF-", PDF),
    (0, b"\x89PNG\r\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF8", "image/gif"),
    (0, b"BM\x00", "image/bmp"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"RIFF", "a RIFF file (WebP, WAV or AVI)"),
    (0, b"OggS", "audio/ogg"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"fLaC", "audio/flac"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\x00", "application/x-xz"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    (0, b"7z\xbc\xaf", "application/x-7z-compressed"),
    (257, b"ustar", "application/x-tar"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (0, b"\x7fELF", "application/x-executable"),
    (0, b"\xca\xfe\xba\xbe", "application/java-vm"),
    (0, b"\x00asm", "application/wasm"),
    (0, b"SQLite format 3\x00", "application/vnd.sqlite3"),
    (0, b"\xd0\xcf\x11\xe0", "an old Microsoft Office file"),
    (0, b"{\\rtf", "application/rtf"),
    (0, b"%!PS", "application/postscript"),
    (0, b"wOF", "a web font"),
)
_ZIPPED = (
    (b"word/", "a Word document (docx)"),
    (b"xl/", "an Excel workbook (xlsx)"),
    (b"ppt/", "a PowerPoint file (pptx)"),
    (b"mimetypeapplication/epub", "application/epub+zip"),
    (b"mimetypeapplication/vnd.oasis", "an OpenDocument file"),
)
_NOT_TEXT = bytes(sorted({*range(0x20), 0x7F} - set(b"\t\n\v\f\r\b\x1b")))


def parse_media_type(value: str | None) -> tuple[str | None, str | None]:
    """A media type as given, such as `text/markdown; charset=UTF-8`, as (one of SUPPORTED, charset or None).

    `application/octet-stream` says nothing and counts as not given.
    """
    if value is None or not value.strip():
        return None, None
    header = Message()
    header["content-type"] = " ".join(value.split())[:200]
    essence = header.get_content_type() if "/" in value.partition(";")[0] else value.strip().lower()[:200]
    charset = header.get_param("charset")
    name = charset if isinstance(charset, str) and charset else None
    if essence in ("application/octet-stream", "binary/octet-stream"):
        return None, name
    known = _ALIASES.get(essence)
    if known is None and essence.endswith("+json"):
        known = JSON
    if known is None and essence.endswith("+xml"):
        known = XML
    if known is None:
        raise BadInput(
            f"media_type {essence!r} is not supported.",
            hint=f"Supported: {', '.join(SUPPORTED)}. Leave media_type out to have it recognized from the content.",
        )
    return known, name


def named_type(name: str | None) -> str | None:
    """What the suffix of a file name suggests, or None."""
    return _BY_SUFFIX.get(PurePosixPath(name.replace("\\", "/")).suffix.lower()) if name else None


def binary_type(data: bytes) -> str | None:
    """PDF, the name of another well-known binary format, or None when the bytes may be text."""
    if data.startswith(b"PK\x03\x04"):
        return next((kind for mark, kind in _ZIPPED if mark in data[:4096]), "application/zip")
    for offset, mark, kind in _MAGIC:
        if data.startswith(mark, offset):
            return kind
    head = data[:1024]  # readers of PDF accept up to a kilobyte of dirt in front
    if b"%PDF-" in head and re.search(rb"\d+ \d+ obj\b", data[:4096]):
        return PDF
    return None


def has_binary_bytes(data: bytes) -> bool:
    """Whether the start of the data holds more control bytes than a text ever does."""
    head = data[:4096]
    return b"\x00" in head or len(head) - len(head.translate(None, _NOT_TEXT)) > len(head) // 50


def wrong_media_type(given: str, found: str) -> BadInput:
    return BadInput(
        f"Wrong media type: media_type says {given}, but the content is {found}.",
        hint="Leave media_type out to have it recognized from the content, or send the document that was meant.",
    )


_HTML_START = re.compile(r"(?:<\?xml[^>]{0,200}\?>\s*)?<(?:!doctype\s+html|html[\s>])", re.IGNORECASE)
_HTML_ELEMENT = re.compile(
    r"<(?:body|head|title|meta|article|main|section|header|nav|div|p|h[1-6]|ul|ol|dl|table|blockquote|pre|center|span)"
    r"[\s>]",
    re.IGNORECASE,
)
_XML_ELEMENT = re.compile(r"<([A-Za-z_][\w.:-]{0,100})[\s/>]")
_LEADING_COMMENT = re.compile(r"\s*<!--.{0,4000}?-->", re.DOTALL)


def _start(text: str) -> str:
    """The first characters that count: behind white space and leading comments."""
    position = 0
    for _ in range(8):
        comment = _LEADING_COMMENT.match(text, position)
        if comment is None:
            break
        position = comment.end()
    return text[position : position + 8192].lstrip()[:1024]


def text_type(text: str, *, given: str | None, name: str | None) -> str:
    """The media type of a text: as given when that does not contradict the content, else from content and name."""
    found = _marked_up_type(text)
    if given is not None:
        if found is not None and found != given and given != PLAIN:
            both_markup = {given, found} == {HTML, XML} and _HTML_START.match(_start(text)) and "xmlns" in text[:2048]
            may_start_so = given in (MARKDOWN, RST) and found == JSON
            if not both_markup and not may_start_so:
                raise wrong_media_type(given, found)
        return given
    by_name = named_type(name)
    if found in (HTML, XML):
        return found
    if found == JSON:
        return JSON if by_name not in (MARKDOWN, RST, PLAIN) else by_name
    if by_name not in (None, PDF):
        return by_name
    return _looks_like_markup(text) or _prose_type(text)


def _marked_up_type(text: str) -> str | None:
    """HTML, XML or JSON when the text says so beyond doubt."""
    start = _start(text)
    if _HTML_START.match(start):
        return HTML
    if start.startswith("<?xml"):
        return XML
    if re.match(r'\{\s*["}]|\[\s*(?:["{\[\]\d-]|true\b|false\b|null\b)', start):
        end = text[-4096:].rstrip()[-1:]
        return JSON if end == {"{": "}", "[": "]"}[start[0]] else None
    return None


def _looks_like_markup(text: str) -> str | None:
    """A fragment of HTML or an XML document without declaration."""
    start = _start(text)
    end = text[-4096:].rstrip()
    element = _XML_ELEMENT.match(start)
    if element is None or not end.endswith(">"):
        return None
    if _HTML_ELEMENT.match(start):
        return HTML if _score_markdown(text[:65536]) < 2 else None
    return XML if end.endswith((f"</{element.group(1)}>", "/>")) else None


_MARKDOWN_SIGNS = (
    (3, re.compile(r"^ {0,3}```", re.MULTILINE)),
    (2, re.compile(r"^#{1,6} \S", re.MULTILINE)),
    (2, re.compile(r"\[[^\[\]\n]{0,200}\]\([^()\s]{1,500}\)")),
    (2, re.compile(r"^ {0,3}\|?(?: *:?-{3,}:? *\|)+", re.MULTILINE)),
    (1, re.compile(r"^ {0,3}\[[^\[\]\n]{1,200}\]: \S", re.MULTILINE)),
    (1, re.compile(r"(?<![`:\w])`[^`\n]{1,200}`(?![`_])")),
)
_RST_SIGNS = (
    (3, re.compile(r"^ {0,12}\.\. [\w:+.-]{1,60}::", re.MULTILINE)),
    (3, re.compile(r"^\.\. (?:_[^:\n]{1,200}:|\[[#*\w.-]{1,60}\] |\|[^|\n]{1,100}\| \w)", re.MULTILINE)),
    (3, re.compile(r"`[^`\n]{1,200}\s<[^<>`\n]{1,500}>`__?")),
    (2, re.compile(r"^[^\s.:-][^\n]{0,200}\n(?:~{3,}|\^{3,}|\"{3,}|\*{3,}|\+{3,}|#{3,}|`{4,})[ \t]*$", re.MULTILINE)),
    (2, re.compile(r":[a-z][\w:+.-]{1,40}:`[^`\n]{1,200}`")),
    (2, re.compile(r"^(?:={3,}|-{3,})\n[^\n]{1,200}\n(?:={3,}|-{3,})$", re.MULTILINE)),
    (1, re.compile(r"^[^\s:][^\n]{0,500}::\n\s*\n[ \t]", re.MULTILINE)),
    (1, re.compile(r"(?<!`)``[^`\n]{1,200}``(?!`)")),
    (1, re.compile(r"^:[A-Za-z][\w -]{0,40}:(?:\s|$)", re.MULTILINE)),
)
_UNDERLINE = re.compile(r"^[^\s|>#][^\n]{0,200}\n(?:={3,}|-{3,})[ \t]*$", re.MULTILINE)


def _score_markdown(text: str) -> int:
    front = 3 if front_matter_end(text) else 0
    return front + sum(weight for weight, sign in _MARKDOWN_SIGNS if sign.search(text))


def _prose_type(text: str) -> str:
    """Markdown, reStructuredText or plain text, by the signs in the first 64 kB."""
    head = text[:65536]
    markdown = _score_markdown(head)
    rst = sum(weight for weight, sign in _RST_SIGNS if sign.search(head))
    if rst >= 2 and rst > markdown:
        return RST
    if markdown >= 2 or (markdown and _UNDERLINE.search(head)):
        return MARKDOWN
    if rst and _UNDERLINE.search(head):
        return RST
    return MARKDOWN if _UNDERLINE.search(head) else PLAIN
