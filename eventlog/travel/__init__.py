"""Time travel: what was at a version, a position or a time; replay into a sandbox; what changed in between."""
