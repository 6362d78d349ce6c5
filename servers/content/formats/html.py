"""HTML: selectolax finds title and main part and takes out what is no content; html-to-markdown writes the Markdown.

Both parsers slow down with depth, and the first loses its stack: `_check_size` counts open elements before they start.
"""

import re

from html_to_markdown import ConversionError, ConversionOptions, PreprocessingOptions, convert
from selectolax.lexbor import LexborHTMLParser, LexborNode

from servers.content.formats.draft import Draft
from servers.content.formats.limits import MAX_HTML_ATTRIBUTES, MAX_HTML_DEPTH, MAX_HTML_ELEMENTS
from stoa.errors import BadInput

__all__ = ["read"]

# fmt: off
_VOID = frozenset({
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr",
})
_CLOSED_BY_NEXT = frozenset({
    "html", "head", "body", "p", "li", "dt", "dd", "option", "optgroup", "tr", "td", "th", "thead", "tbody",
    "tfoot", "colgroup", "rp", "rt",
})
# fmt: on
_RAW_TEXT = {
    name: re.compile(f"</{name}", re.IGNORECASE)
    for name in ("script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes")
}
_TAG = re.compile(r"<(?:(?P<comment>!--)|(?P<slash>/?)(?P<name>[a-zA-Z][^\s/>]{0,60}+)[^\s/>]*+)")
_ONE_ATTRIBUTE = (
    r"""[\s/]*+=?[^\s/>=]++(?:\s*+=\s*+(?:"[^"]*+"?|'[^']*+'?|[^\s>"'][^\s>]*+)?+)?+"""  # as HTML cuts them
)
_ATTRIBUTE = re.compile(_ONE_ATTRIBUTE)
_ATTRIBUTES = re.compile(rf"(?:{_ONE_ATTRIBUTE})*+[\s/]*+>?")
_NO_CONTENT = (
    "script, style, noscript, template, nav, iframe, object, embed, svg, canvas, dialog, input, select, button,"
    "textarea, [hidden], [aria-hidden=true], [role=navigation], [role=search], [role=banner], [role=contentinfo],"
    "a.headerlink, a.anchor-link"
)
_ABSOLUTE = ("http://", "https://", "mailto:")
_ANCHOR_SIGNS = ("", "#", "¶", "§", "🔗")
_IN_CODE = ["a", "span", "b", "i", "em", "strong", "u", "mark", "var", "details", "summary", "div", "img", "font"]
_FRAME = "header, footer, aside"


def read(text: str) -> Draft:
    _check_size(text)
    tree = LexborHTMLParser(text)
    title = _title(tree)
    for node in tree.css(_NO_CONTENT):
        node.decompose()
    main = _main(tree)
    if main is None:
        return Draft(title, "")
    _simplify(main)
    options = ConversionOptions(
        bullets="-",
        extract_metadata=False,
        inline_data_media="alt_text_only",
        compact_tables=True,
        preprocessing=PreprocessingOptions(enabled=False),
        max_depth=MAX_HTML_DEPTH * 2,
    )
    try:
        result = convert(main.html or "", options)
    except ConversionError as error:
        raise BadInput("The HTML cannot be converted.", hint="Send its text as text/plain.") from error
    return Draft(title, result.content or "")


def _simplify(main: LexborNode) -> None:
    """Links and images that lead nowhere without the page's address become their words; code holds no markup."""
    for link in main.css("a"):
        if link.text().strip() in _ANCHOR_SIGNS and link.css_first("img") is None:
            link.decompose()
        elif not (link.attributes.get("href") or "").lower().startswith(_ABSOLUTE):
            link.unwrap()
    for image in main.css("img"):
        if not (image.attributes.get("src") or "").lower().startswith(_ABSOLUTE):
            image.replace_with(image.attributes.get("alt") or "")
    for code in main.css("pre"):
        code.unwrap_tags(_IN_CODE)


def _title(tree: LexborHTMLParser) -> str | None:
    for selector in ("head > title", "h1", "title"):
        node = tree.css_first(selector)
        if node is not None and (found := node.text(separator=" ").strip()):
            return found
    return None


def _main(tree: LexborHTMLParser) -> LexborNode | None:
    """The part that says what the page is about: `main` or a single `article`, else the body without its frame."""
    body = tree.body
    if body is None:
        return None
    whole = len(body.text())
    for selector in ("main, [role=main]", "article"):
        found = tree.css(selector)
        if len(found) == 1 and len(found[0].text()) * 3 > whole:
            return found[0]
    kept = body.clone()
    for node in kept.css(_FRAME):
        node.decompose()
    return kept if kept.text().strip() else body


def _check_size(text: str) -> None:
    """Count elements, and those that stay open, without parsing: a tag costs the parser a step per open element."""
    elements = 0
    open_now: dict[str, int] = {}
    depth = 0
    position = 0
    while (tag := _TAG.search(text, position)) is not None:
        position = _tag_end(text, tag)
        if position < 0:
            return
        name = (tag["name"] or "").lower()
        if not name:
            continue
        if tag["slash"]:
            if open_now.get(name):
                open_now[name] -= 1
                depth -= 1
            continue
        elements += 1
        if elements > MAX_HTML_ELEMENTS:
            raise BadInput(
                f"The HTML has more than {MAX_HTML_ELEMENTS:,} elements.", hint="Split it into smaller documents."
            )
        if name in _VOID or name in _CLOSED_BY_NEXT:
            continue
        open_now[name] = open_now.get(name, 0) + 1
        depth += 1
        if depth > MAX_HTML_DEPTH:
            raise BadInput(
                f"The HTML is nested deeper than {MAX_HTML_DEPTH} elements (at offset {tag.start()}).",
                hint="Close its elements, or send its text as text/plain.",
            )
        if name in _RAW_TEXT:
            end = _RAW_TEXT[name].search(text, position)
            if end is None:
                return
            position = end.start()


def _tag_end(text: str, tag: re.Match[str]) -> int:
    """Behind a comment or a tag with its attributes, -1 when it never ends."""
    if tag["comment"]:
        end = text.find("-->", tag.end() - 2)
        return end + 3 if end >= 0 else -1
    body = _ATTRIBUTES.match(text, tag.end())
    end = body.end() if body is not None else tag.end()
    if end - tag.end() > MAX_HTML_ATTRIBUTES * 2:
        attributes = sum(1 for _ in _ATTRIBUTE.finditer(text, tag.end(), end))
        if attributes > MAX_HTML_ATTRIBUTES:
            raise BadInput(
                f"The HTML has an element with {attributes:,} attributes (at offset {tag.start()}); "
                f"the limit is {MAX_HTML_ATTRIBUTES:,}.",
                hint="Send its text as text/plain.",
            )
    return end
