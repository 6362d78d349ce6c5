"""XML, the one door to lxml. Entities, networks and huge trees stay outside; the rest becomes a readable outline.

A document type is read over; declarations in it are refused: entities and default attributes can blow up a text, and
the five entities that XML has are enough.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Protocol, cast
from xml.parsers import expat

from lxml import etree  # pyright: ignore - lxml comes without types; `_Element` says what we use of it

from servers.content.formats.draft import Draft, check_length
from servers.content.formats.limits import MAX_XML_ATTRIBUTES, MAX_XML_DEPTH, MAX_XML_ELEMENTS
from stoa.errors import BadInput

__all__ = ["read"]

_DECLARATION = re.compile(r"\s*<\?xml\b.*?\?>", re.DOTALL)
_LONG_TAG = re.compile(r"<\w[^<]{4000,}+")
_ATTRIBUTE = re.compile(r"""\s[^\s<>="']++\s*+=\s*+(?:"[^"<]*+"|'[^'<]*+')""")
_MAX_INDENT_LEVELS = 8


class _Element(Protocol):
    @property
    def tag(self) -> object: ...  # a function for comments, processing instructions and entities
    @property
    def text(self) -> str | None: ...
    @property
    def tail(self) -> str | None: ...
    @property
    def attrib(self) -> Mapping[str, str]: ...
    def __iter__(self) -> Iterator["_Element"]: ...
    def itertext(self, *tags: str) -> Iterator[str]: ...


def read(text: str) -> Draft:
    declaration = _DECLARATION.match(text)  # `decode` has read the bytes; what they declare counts no more
    if declaration is not None:
        text = "\n" * declaration[0].count("\n") + text[declaration.end() :]
    if text.count("</") + text.count("/>") > MAX_XML_ELEMENTS:
        raise BadInput(f"The XML has more than {MAX_XML_ELEMENTS:,} elements.", hint="Split it into smaller documents.")
    for tag in _LONG_TAG.finditer(text):
        if sum(1 for _ in _ATTRIBUTE.finditer(text, tag.start(), tag.end())) > MAX_XML_ATTRIBUTES:
            raise BadInput(
                f"The XML has an element with more than {MAX_XML_ATTRIBUTES:,} attributes (at offset {tag.start()}).",
                hint="Send it as text/plain.",
            )
    root = _parse(_without_prolog(text))
    lines: list[str] = []
    length = 0
    for line in _outline(root, 0):
        length += len(line) + 1
        check_length(length)
        lines.append(line)
    return Draft(_title(root), "\n".join(lines))


class _PrologEnd(Exception):
    """Thrown at the first element, to stop Expat; says where that starts."""

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.position = position


def _without_prolog(text: str) -> bytes:
    """The root element alone, so that lxml never sees a document type; lines keep their numbers."""
    data = text.encode()
    parser = expat.ParserCreate("utf-8")

    def stop(*_: object) -> None:
        raise _PrologEnd(parser.CurrentByteIndex)

    def check(_name: str, _system_id: str | None, _public_id: str | None, has_declarations: int) -> None:
        if has_declarations:
            raise BadInput(
                "The XML brings a document type with declarations of its own, such as entities; these are not read, "
                "because they can name other files and fill the memory.",
                hint="Resolve and drop them (`xmllint --noent --dropdtd`), or send it as text/plain.",
            )

    parser.StartDoctypeDeclHandler = check
    parser.StartElementHandler = stop
    try:
        parser.Parse(data, True)
    except _PrologEnd as end:
        start = end.position
    except expat.ExpatError as error:
        raise BadInput(f"The XML is not valid: {error}.", hint="Correct it, or send it as text/plain.") from error
    else:
        raise BadInput("The XML has no root element.", hint="Correct it, or send it as text/plain.")
    return b"\n" * data.count(b"\n", 0, start) + data[start:]


def _parse(data: bytes) -> _Element:
    parser = etree.XMLParser(  # pyright: ignore - untyped, see the import
        encoding="utf-8",
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        collect_ids=False,
    )
    try:
        root = cast("_Element | None", etree.fromstring(data, parser))  # pyright: ignore - untyped
    except etree.XMLSyntaxError as error:  # pyright: ignore - untyped
        raise BadInput(
            f"The XML is not valid: {_first_line(cast('object', error))}.", hint="Correct it, or send it as text/plain."
        ) from cast("Exception", error)
    if root is None:
        raise BadInput("The XML has no root element.", hint="Correct it, or send it as text/plain.")
    return root


def _first_line(error: object) -> str:
    reason = re.sub(r" \(<string>, line \d+\)$", "", str(error).splitlines()[0])[:300]
    return re.sub(r",? (?:use|try) XML_PARSE_HUGE(?: option)?", "", reason)


def _outline(element: _Element, level: int) -> Iterator[str]:
    """One list item per element; an element with text among its children is one item with all its text."""
    if not isinstance(element.tag, str):
        return
    if level > MAX_XML_DEPTH:
        raise BadInput(f"The XML is nested deeper than {MAX_XML_DEPTH} levels.", hint="Send it as text/plain.")
    children = [child for child in element if isinstance(child.tag, str)]
    is_mixed = bool(children) and any(_has_text(part) for part in (element.text, *(child.tail for child in element)))
    text = " ".join("".join(element.itertext()).split()) if is_mixed or not children else ""
    attributes = ", ".join(f"{_local(name)}={' '.join(value.split())}" for name, value in element.attrib.items())
    if text or attributes or children:
        lead = f"{'  ' * min(level, _MAX_INDENT_LEVELS)}- **{_local(element.tag)}**"
        yield lead + (f" ({attributes})" if attributes else "") + (f": {text}" if text else "")
    if not is_mixed:
        for child in children:
            yield from _outline(child, level + 1)


def _has_text(part: str | None) -> bool:
    return bool(part and part.strip())


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _title(root: _Element) -> str | None:
    """The first `title` or `name` near the root."""
    level = [root]
    for _ in range(3):
        level = [child for element in level for child in element if isinstance(child.tag, str)][:200]
        for child in level:
            if _local(cast("str", child.tag)).lower() in ("title", "name"):
                return " ".join("".join(child.itertext()).split())[:4000] or None
    return None
