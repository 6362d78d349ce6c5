"""What is known of event types: the described ones of the installed models, and those that a tenant has used."""

from collections.abc import Collection, Sequence

from eventlog.event import Filter
from eventlog.names import check_type
from eventlog.projections.projection import Projection
from servers.events import schema
from servers.events.envelope import is_reserved
from servers.events.journal import Journal
from stoa.errors import NotFound

__all__ = ["Types"]


class Types:
    def __init__(self, journal: Journal, *, reserved: Collection[str]) -> None:
        self._journal = journal
        self._reserved = reserved

    def __repr__(self) -> str:
        return "<Types>"

    async def names(self, tenant: str, *, prefix: str = "", after: str = "", limit: int) -> Sequence[str]:
        """In their order; types that only other tenants use are not among them."""
        log = await self._journal.log()
        from eventlog.types_used import types_used

        described = {name for name in log.types.names() if name > after and name.startswith(prefix)}
        return sorted(described.union(await types_used(log, tenant, prefix=prefix, after=after, limit=limit)))[:limit]

    async def summaries(self, tenant: str, *, after: str, limit: int) -> Sequence[schema.EventTypeSummary]:
        log = await self._journal.log()
        found = [(name, log.types.get(name)) for name in await self.names(tenant, after=after, limit=limit)]
        return [
            schema.EventTypeSummary(
                event_type=name, description=each.description if each else "", is_described=each is not None
            )
            for name, each in found
        ]

    async def describe(self, name: str, tenant: str) -> schema.EventTypeDescription:
        """Raises `NotFound` for a type that is neither described nor used by this tenant."""
        opened = await self._journal.opened()
        check_type(name)
        found = opened.log.types.get(name)
        used = await opened.log.read_all(filter=Filter(tenant=tenant, types=(name,)), limit=1)
        if found is None and not used:
            raise NotFound(
                f"There is no event type {name!r}.", hint="Call describe_event_type without a type to list them all."
            )
        projections = [opened.projector.get(each) for each in opened.projector.names()]
        return schema.EventTypeDescription(
            event_type=name,
            description=found.description if found else "",
            version=found.version if found else None,
            schemas={str(version): dict(each) for version, each in sorted(found.schemas.items())} if found else {},
            upcasts_from=sorted(found.upcasters) if found else [],
            is_described=found is not None,
            is_used=bool(used),
            is_reserved=is_reserved(name, self._reserved),
            read_by=[each.name for each in projections if _reads(each, name)],
        )


def _reads(projection: Projection, type: str) -> bool:
    types = projection.types
    return not types or any(type.startswith(one[:-1]) if one.endswith("*") else type == one for one in types)
