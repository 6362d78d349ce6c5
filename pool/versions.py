"""Which version counts when the replicas of one server offer different tools. Pure.

A rolling upgrade, or a server whose tools change while it runs, makes a group of two minds. A caller must not be shown
one schema and answered by another, so one version is offered and the others are held back: that of most replicas; of
equally many the one that is offered already, so that nothing changes before the new one is in the majority.
"""

from collections import Counter
from collections.abc import Sequence

__all__ = ["common_version"]


def common_version(versions: Sequence[str], *, present: str | None) -> str | None:
    """The version to offer, given those of the replicas that are up, in their order; the present one if none is up."""
    if not versions:
        return present
    counts = Counter(versions)
    most = max(counts.values())
    if present is not None and counts[present] == most:
        return present
    return next(version for version in versions if counts[version] == most)
