"""Everything that all servers offer, put together under the gateway's names, at one moment. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from gateway.circle import without_circles
from gateway.names import Names, Origin, name_all
from gateway.options import Options
from gateway.routes import Routes
from gateway.shapes import listed_tool
from pool.catalogue import ToolInfo
from pool.offer import Offer

__all__ = ["Listed", "View"]

Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Listed:
    """A tool with its name in the gateway. `wants_headers`: arguments of it go as HTTP headers, too (SEP-2243)."""

    name: str
    server: str
    info: ToolInfo
    wants_headers: bool

    def wire(self, *, is_modern: bool) -> dict[str, Any]:
        return listed_tool(self.info.wire, name=self.name, is_modern=is_modern)


@dataclass(frozen=True, slots=True)
class View:
    """`tools` are in the order in which they are listed: servers as they are configured, then by name. `hidden` are
    those whose name was taken."""

    servers: tuple[str, ...] = ()
    offers: Mapping[str, Offer] = field(default_factory=dict[str, Offer])
    tools: tuple[Listed, ...] = ()
    by_name: Mapping[str, Listed] = field(default_factory=dict[str, Listed])
    hidden: tuple[Origin, ...] = ()
    prompts: Names = field(default_factory=Names)
    routes: Routes = field(default_factory=Routes)

    def __repr__(self) -> str:
        return f"<View of {len(self.offers)}/{len(self.servers)} servers: {len(self.tools)} tools>"

    @classmethod
    def of(cls, offers: Mapping[str, Offer], *, servers: Sequence[str], options: Options, me: str = "") -> "View":
        """`me` tells this gateway from others that may stand behind it."""
        known = [(server, without_circles(offers[server], me)) for server in servers if server in offers]
        names = name_all(
            ((server, tool.ref.tool) for server, offer in known for tool in offer.tools),
            servers=servers,
            has_prefix=not options.no_prefix,
        )
        tools = _tools(known, names, options)
        return cls(
            servers=tuple(servers),
            offers=dict(known),
            tools=tools,
            by_name={tool.name: tool for tool in tools},
            hidden=names.twice,
            prompts=name_all(
                ((server, name) for server, offer in known for name in _names(offer.prompts)),
                servers=servers,
                has_prefix=not options.no_prefix,
            ),
            routes=Routes.of(((server, offer.resources, offer.templates) for server, offer in known), servers=servers),
        )

    def listed_prompts(self, servers: Iterable[str]) -> Iterator[dict[str, Any]]:
        for server in self._known(servers):
            for prompt in self.offers[server].prompts:
                name = self.prompts.public.get((server, str(prompt.get("name"))))
                if name is not None:
                    yield {**prompt, "name": name}

    def listed_resources(self, servers: Iterable[str]) -> Iterator[Raw]:
        """Each address once: of two servers that list it, the one that answers for it."""
        for server in self._known(servers):
            yield from (each for each in self.offers[server].resources if self._is_of(server, each, "uri"))

    def listed_templates(self, servers: Iterable[str]) -> Iterator[Raw]:
        for server in self._known(servers):
            yield from (each for each in self.offers[server].templates if self._is_of(server, each, "uriTemplate"))

    def conflicts(self) -> Iterator[str]:
        """What cannot be reached because something else came first, in words for the log."""
        for address, server in self.routes.twice:
            first = self.routes.resources.get(address) or self.routes.templates.get(address)
            yield f"{address} of {server!r} is hidden: {first!r} comes first and has it, too"
        for server, name in self.hidden:
            yield f"the tool {name!r} of {server!r} is hidden: another one has its name"
        for server, name in self.prompts.twice:
            yield f"the prompt {name!r} of {server!r} is hidden: another one has its name"

    def _known(self, servers: Iterable[str]) -> Iterator[str]:
        return (server for server in servers if server in self.offers)

    def _is_of(self, server: str, entry: Raw, key: str) -> bool:
        owners = self.routes.resources if key == "uri" else self.routes.templates
        return owners.get(str(entry.get(key))) == server


def _tools(known: Sequence[tuple[str, Offer]], names: Names, options: Options) -> tuple[Listed, ...]:
    listed: list[Listed] = []
    for server, offer in known:
        of_server = [
            Listed(name, server, tool, _wants_headers(tool.input_schema))
            for tool in offer.tools
            if (name := names.public.get((server, tool.ref.tool))) is not None
        ]
        # Replicas may list in different orders; a model's prompt is cached as long as ours stays the same.
        listed += of_server if options.no_prefix else sorted(of_server, key=lambda tool: tool.name)
    return tuple(listed)


def _names(entries: Iterable[Raw]) -> Iterator[str]:
    return (name for entry in entries if isinstance(name := entry.get("name"), str))


def _wants_headers(schema: object) -> bool:
    if isinstance(schema, dict):
        fields = cast("dict[str, object]", schema)
        return "x-mcp-header" in fields or any(_wants_headers(value) for value in fields.values())
    return isinstance(schema, list) and any(_wants_headers(each) for each in cast("list[object]", schema))
