"""The event log: append, read, follow, keep, project. What happened, in order, for good."""
