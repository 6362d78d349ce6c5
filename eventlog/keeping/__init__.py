"""Keeping the log: checking that nothing was changed, leaving old events behind, removing what must not be kept."""
