"""Read models that follow the log: what is folded, how far it is, and what could not be applied."""
