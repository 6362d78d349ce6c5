"""From a docutils tree to Markdown: headings, lists, code, links, tables, notes.

The tree comes straight from the parser, so names are resolved here: link targets and substitutions. What docutils could
not read (directives and roles of Sphinx, mostly) is kept as the words it held.
"""

import re
import textwrap
from collections.abc import Iterable, Sequence

from docutils import nodes

from servers.content.formats.draft import check_length

__all__ = ["write"]

_MAX_SUBSTITUTION_LEVELS = 4
_MAX_SUBSTITUTIONS = 20_000
_ROLE = re.compile(r":([\w:+.-]{1,60}):`([^`]{0,2000})`")
_DIRECTIVE = re.compile(r"\s*\.\. ([\w:+.-]+)::[ \t]*(.*)")
# fmt: off
_CODE_DIRECTIVES = frozenset({
    "sourcecode", "prompt", "testcode", "testsetup", "testoutput", "doctest", "ipython", "console", "shell",
    "autotype",
})
_SILENT_DIRECTIVES = frozenset({
    "toctree", "index", "highlight", "currentmodule", "module", "literalinclude", "only", "tabularcolumns",
    "program",
})
_PLAIN_ROLES = frozenset({
    "ref", "doc", "term", "abbr", "menuselection", "guilabel", "download", "pep", "rfc", "numref", "any",
})
# fmt: on


def write(document: nodes.document) -> tuple[str | None, str]:
    """The title of the document, if it has one, and its Markdown."""
    writer = _Writer(document)
    markdown = "\n\n".join(writer.blocks(document.children, level=1))
    title = _document_title(document)
    return (_one_line(title.astext()) if title is not None else None), markdown


def _document_title(document: nodes.document) -> nodes.title | None:
    """The title of the first section when that opens the document or is the only one, else the document has none."""
    silent = nodes.comment | nodes.target | nodes.substitution_definition | nodes.system_message | nodes.pending
    said = [child for child in document.children if not isinstance(child, silent)]
    sections = [child for child in said if isinstance(child, nodes.section)]
    if not sections or (len(sections) > 1 and said[0] is not sections[0]):
        return None
    return sections[0].next_node(nodes.title)


class _Writer:
    def __init__(self, document: nodes.document) -> None:
        self._document = document
        self._characters = 0
        self._substitution_level = 0
        self._substitutions = 0
        self._uris: dict[str, str] = {}
        self._indirect: dict[str, str] = {}
        anonymous: list[str] = []
        for target in document.findall(nodes.target):
            for name in target["names"]:
                if "refuri" in target:
                    self._uris[name] = target["refuri"]
                elif "refname" in target:
                    self._indirect[name] = target["refname"]
            if target.get("anonymous"):
                anonymous.append(str(target.get("refuri", "")))
        waiting = iter(anonymous)
        for reference in document.findall(nodes.reference):
            if reference.get("anonymous") and "refuri" not in reference:
                reference["refuri"] = next(waiting, "")

    # Blocks

    def blocks(self, children: Iterable[nodes.Node], *, level: int) -> list[str]:
        """The Markdown of each block among the children; `level` is that of the next heading."""
        return [block for child in children for block in self._block(child, level) if block.strip()]

    def _block(self, node: nodes.Node, level: int) -> list[str]:
        match node:
            case nodes.section():
                return self.blocks(node.children, level=level + 1)
            case nodes.title() | nodes.subtitle():
                return [f"{'#' * max(1, min(level - 1, 6))} {_one_line(self.inline(node.children))}"]
            case nodes.literal_block() | nodes.doctest_block() | nodes.math_block():
                return [self._code(node)]
            case nodes.bullet_list():
                return [self._list([("- ", self.blocks(_children(item), level=level)) for item in node.children])]
            case nodes.enumerated_list():
                start = int(node.get("start", 1))
                items = [
                    (f"{start + n}. ", self.blocks(_children(item), level=level))
                    for n, item in enumerate(node.children)
                ]
                return [self._list(items)]
            case nodes.definition_list() | nodes.field_list() | nodes.option_list():
                return [self._list([("- ", self._entry(item, level)) for item in node.children])]
            case nodes.block_quote():
                return [_quoted("\n\n".join(self.blocks(node.children, level=level)))]
            case nodes.line_block():
                return ["\n".join(self._lines(node))]
            case nodes.table():
                return self._table(node, level)
            case nodes.transition():
                return ["---"]
            case nodes.footnote() | nodes.citation():
                label = node.next_node(nodes.label)
                body = [child for child in node.children if not isinstance(child, nodes.label)]
                lead = f"[{label.astext()}] " if label is not None else ""
                return [lead + "\n\n".join(self.blocks(body, level=level))]
            case nodes.system_message():
                return self._recovered(node)
            case nodes.comment() | nodes.substitution_definition() | nodes.pending() | nodes.raw() | nodes.meta():
                return []
            case nodes.target() if not node.children:
                return []
            case nodes.admonition() | nodes.topic() | nodes.sidebar():
                return self._boxed(node, "", level)
            case (
                nodes.attention()
                | nodes.caution()
                | nodes.danger()
                | nodes.error()
                | nodes.hint()
                | nodes.important()
                | nodes.note()
                | nodes.tip()
                | nodes.warning()
            ):
                return self._boxed(node, type(node).__name__.capitalize(), level)
            case nodes.rubric() | nodes.caption() | nodes.attribution():
                return [f"**{_one_line(self.inline(node.children))}**"]
            case nodes.TextElement() | nodes.image():
                return [
                    self.inline([node] if isinstance(node, nodes.image | nodes.reference) else node.children).strip()
                ]
            case _:
                return self.blocks(node.children, level=level) if node.children else [self._spent(node.astext())]

    def _code(self, node: nodes.Element) -> str:
        text = self._spent(node.astext())
        classes = [name for name in node.get("classes", []) if name != "code"]
        language = "latex" if isinstance(node, nodes.math_block) else classes[0] if classes else ""
        if isinstance(node, nodes.doctest_block):
            language = "pycon"
        return _fenced(text, language)

    def _list(self, items: Sequence[tuple[str, list[str]]]) -> str:
        is_tight = all(len(blocks) < 2 or blocks[1].startswith(("- ", "1. ")) for _, blocks in items)
        gap = "\n" if is_tight else "\n\n"
        return gap.join(
            lead + textwrap.indent(gap.join(blocks), " " * len(lead), lambda line: bool(line.strip())).lstrip(" ")
            for lead, blocks in items
        )

    def _entry(self, item: nodes.Node, level: int) -> list[str]:
        """An entry of a definition, field or option list: what it is about in bold, then what is said."""
        heads: list[str] = []
        bodies: list[str] = []
        for child in _children(item):
            if isinstance(child, nodes.definition | nodes.field_body | nodes.description):
                bodies += self.blocks(child.children, level=level)
            elif isinstance(child, nodes.option_group):
                heads.append(", ".join(f"`{self._spent(option.astext())}`" for option in child.children))
            elif isinstance(child, nodes.classifier):
                heads.append(f"({_one_line(self.inline(child.children))})")
            else:
                words = _one_line(self.inline(_children(child)))
                heads.append(words if words.startswith(("*", "`", "[")) else f"**{words}**")
        lead = " ".join(heads)
        if bodies and not bodies[0].startswith(("- ", "1. ", "```", "> ", "| ")):
            return [f"{lead}{'' if lead.rstrip('*').endswith(':') else ':'} {bodies[0]}", *bodies[1:]]
        return [lead, *bodies]

    def _lines(self, node: nodes.Element) -> list[str]:
        lines: list[str] = []
        for child in node.children:
            if isinstance(child, nodes.line_block):
                lines += ["  " + line for line in self._lines(child)]
            else:
                lines.append(self.inline(_children(child)))
        return lines

    def _boxed(self, node: nodes.Element, name: str, level: int) -> list[str]:
        title = node.next_node(nodes.title)
        body = [child for child in node.children if child is not title]
        label = _one_line(self.inline(title.children)) if title is not None else name
        blocks = self.blocks(body, level=level)
        if not blocks:
            return [f"**{label}**"] if label else []
        if label:
            is_text = not blocks[0].startswith(("- ", "1. ", "```", "> ", "| "))
            blocks[:1] = [f"**{label}:** {blocks[0]}"] if is_text else [f"**{label}:**", blocks[0]]
        return blocks

    def _table(self, node: nodes.Element, level: int) -> list[str]:
        rows: list[list[str]] = []
        head_rows = 0
        for row in node.findall(nodes.row):
            cells: list[str] = []
            for entry in row.children:
                text = " ".join(" ".join(self.blocks(_children(entry), level=level)).split())
                cells += [text.replace("|", "\\|")] + [""] * int(_attribute(entry, "morecols"))
            rows.append(cells)
            head_rows += isinstance(row.parent, nodes.thead)
        if not rows:
            return []
        columns = min(max(len(row) for row in rows), 200)
        rows = [[*row, *[""] * (columns - len(row))] for row in rows]
        if head_rows == 0:
            rows.insert(0, [""] * columns)
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        lines.insert(1, "|" + " --- |" * columns)
        title = node.next_node(nodes.title)
        caption = [f"**{_one_line(self.inline(title.children))}**"] if title is not None else []
        return [*caption, self._spent("\n".join(lines))]

    def _recovered(self, node: nodes.Element) -> list[str]:
        """The words of a directive that docutils does not know, the source of what it could not read otherwise."""
        source = node.next_node(nodes.literal_block)
        if source is None or "directive disabled" in node.astext()[:500]:
            return []
        first, _, rest = source.astext().partition("\n")
        directive = _DIRECTIVE.match(first)
        if directive is None:
            return [_fenced(self._spent(source.astext()), "")]
        if directive.group(1) in _SILENT_DIRECTIVES:
            return []
        name, argument = directive.groups()
        lines = textwrap.dedent(rest).split("\n")
        while lines and re.match(r":[\w-]+:", lines[0]):
            lines.pop(0)
        body = self._spent("\n".join(lines).strip("\n"))
        if name in _CODE_DIRECTIVES or "code" in name:
            return [_fenced(body, argument if re.fullmatch(r"[\w+-]{1,20}", argument) else "")] if body.strip() else []
        words = _roles_to_words(f"{argument}\n\n{body}".strip())
        return words.split("\n\n") if words else []

    # Inline

    def inline(self, children: Iterable[nodes.Node]) -> str:
        return "".join(self._inline(child) for child in children)

    def _inline(self, node: nodes.Node) -> str:
        match node:
            case nodes.Text():
                return self._spent(node.astext())
            case nodes.problematic():
                return self._spent(_roles_to_words(node.astext()))
            case nodes.literal() | nodes.math():
                return _code_span(self._spent(node.astext()))
            case nodes.strong():
                return _wrapped(self.inline(node.children), "**")
            case nodes.emphasis() | nodes.title_reference():
                return _wrapped(self.inline(node.children), "*")
            case nodes.reference():
                return self._link(node)
            case nodes.image():
                alt = _one_line(str(node.get("alt", "")))
                return self._spent(f"![{alt}]({_destination(str(node.get('uri', '')))})")
            case nodes.footnote_reference() | nodes.citation_reference():
                return self._spent(f"[{node.astext() or '#'}]")
            case nodes.substitution_reference():
                return self._substitution(node)
            case nodes.raw() | nodes.system_message() | nodes.comment():
                return ""
            case nodes.Element():
                return self.inline(node.children)
            case _:
                return ""

    def _link(self, node: nodes.Element) -> str:
        text = self.inline(node.children)
        uri = str(node.get("refuri", "")) or self._uri(str(node.get("refname", "")))
        if not uri or text == uri or uri == f"mailto:{text}":
            return text
        return f"[{text}]({_destination(self._spent(uri))})"

    def _uri(self, name: str) -> str:
        for _ in range(8):
            if name in self._uris:
                return self._uris[name]
            if name not in self._indirect:
                break
            name = self._indirect[name]
        return ""

    def _substitution(self, node: nodes.Element) -> str:
        """Bounded in depth and number: ten definitions of ten references each would make ten thousand million."""
        name = str(node["refname"])
        name = (
            name
            if name in self._document.substitution_defs
            else self._document.substitution_names.get(name.lower(), "")
        )
        definition = self._document.substitution_defs.get(name)
        self._substitutions += 1
        is_spent = self._substitutions > _MAX_SUBSTITUTIONS or self._substitution_level >= _MAX_SUBSTITUTION_LEVELS
        if definition is None or is_spent:
            return self._spent(node.astext())
        self._substitution_level += 1
        try:
            return self.inline(definition.children)
        finally:
            self._substitution_level -= 1

    def _spent(self, text: str) -> str:
        self._characters += len(text) + 1
        check_length(self._characters)
        return text


def _children(node: nodes.Node) -> Sequence[nodes.Node]:
    return node.children if isinstance(node, nodes.Element) else [node]


def _attribute(node: nodes.Node, name: str) -> int:
    return min(int(node.get(name, 0)), 200) if isinstance(node, nodes.Element) else 0


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _wrapped(text: str, mark: str) -> str:
    return f"{mark}{text}{mark}" if text.strip() else text


def _code_span(text: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    if longest == 0:
        return f"`{text}`"
    fence = "`" * (longest + 1)
    return f"{fence} {text} {fence}"


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}" if line else ">" for line in text.split("\n"))


def _fenced(text: str, language: str) -> str:
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _destination(uri: str) -> str:
    return f"<{uri}>" if re.search(r"[\s()]", uri) else uri


def _roles_to_words(text: str) -> str:
    """`:class:`~a.B`` as code, `:ref:`text <target>`` as its text."""

    def words(match: re.Match[str]) -> str:
        role, content = match.groups()
        shown = re.sub(r"\s*<[^<>]*>\s*\Z", "", content).lstrip("~!") or content
        return shown if role.rpartition(":")[2] in _PLAIN_ROLES else f"`{shown}`"

    return _ROLE.sub(words, text)
