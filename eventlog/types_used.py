"""Which types a tenant has events of. Types that only others use are not told."""

from collections.abc import Sequence
from typing import cast

from eventlog.filters import LAST
from eventlog.log import EventLog
from eventlog.names import check_tenant, is_beginning

__all__ = ["types_used"]


async def types_used(
    log: EventLog, tenant: str, *, prefix: str = "", after: str = "", limit: int = 100
) -> Sequence[str]:
    """In the order of their names, those after `after`. One look into an index for each type there is."""
    check_tenant(tenant)
    if not is_beginning(prefix):
        return []
    rows = await log.database.fetch(
        "SELECT name FROM event_type WHERE name > $1 AND name >= $2 AND name < $3 AND EXISTS ("
        "SELECT 1 FROM event e WHERE e.tenant = (SELECT pk FROM tenant WHERE name = $4) AND e.type = event_type.pk)"
        " ORDER BY name LIMIT $5",
        after,
        prefix,
        prefix + LAST,
        tenant,
        limit,
    )
    return [cast("str", row[0]) for row in rows]
