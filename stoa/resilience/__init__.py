"""Policies against failure, once for pool, servers and workflows. Pure: clock and chance are arguments."""
