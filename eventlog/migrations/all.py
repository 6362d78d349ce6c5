"""Every step, in the order of their numbers."""

from typing import Final

from eventlog.migrations.log import LOG
from eventlog.migrations.projections import PROJECTIONS
from eventlog.migrations.snapshots import SNAPSHOTS
from eventlog.migrations.step import Migration
from eventlog.migrations.subjects import SUBJECTS

__all__ = ["MIGRATIONS"]

MIGRATIONS: Final[tuple[Migration, ...]] = (LOG, SNAPSHOTS, PROJECTIONS, SUBJECTS)
