"""Aggregates: what the events of a stream add up to, how it is decided what happens next, and snapshots on the way."""
