"""Snapshots of aggregates."""

from typing import Final

from eventlog.migrations.step import Migration

__all__ = ["SNAPSHOTS"]

SNAPSHOTS: Final = Migration(2, "snapshots", ())
