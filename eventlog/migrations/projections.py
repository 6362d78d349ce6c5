"""Checkpoints, read models and dead letters of projections."""

from typing import Final

from eventlog.migrations.step import Migration

__all__ = ["PROJECTIONS"]

PROJECTIONS: Final = Migration(3, "projections", ())
