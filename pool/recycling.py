"""When a replica has served its time, and when nobody needs it any more: rules, and the look at its memory.

A replica is replaced before it becomes a nuisance: by calls, by age, by memory. The rules are pure; only
`memory_of_group` looks outside.
"""

import os
import sys
from contextlib import suppress
from typing import Final

from pool.spec import GroupSpec

__all__ = ["jittered", "memory_of_group", "why_idle", "why_recycle"]

AGE_JITTER: Final = 0.1
"""Replicas that were started together are not replaced together."""


def why_recycle(
    limits: GroupSpec, *, calls: int, age_seconds: float, memory_bytes: int | None, share: float
) -> str | None:
    """Why the connection is to be replaced, or None. `share` in 0..1 is the replica's own lot: its age limit lies so
    far below the configured one."""
    if limits.max_calls and calls >= limits.max_calls:
        return f"It has served {calls} calls (max_calls is {limits.max_calls})."
    if limits.max_age_seconds and age_seconds >= jittered(limits.max_age_seconds, share):
        return f"It is {age_seconds:.0f} seconds old (max_age_seconds is {limits.max_age_seconds:g})."
    if limits.max_memory_mb and memory_bytes is not None and memory_bytes > limits.max_memory_mb * 2**20:
        used = memory_bytes / 2**20
        return f"It uses {used:.0f} MB (max_memory_mb is {limits.max_memory_mb:g})."
    return None


def why_idle(limits: GroupSpec, *, idle_seconds: float, in_flight: int) -> str | None:
    """Why the connection is to be closed until somebody needs it again, or None."""
    if not limits.idle_timeout_seconds or in_flight or idle_seconds < limits.idle_timeout_seconds:
        return None
    return f"Nobody called it for {idle_seconds:.0f} seconds (idle_timeout_seconds); the next call starts it."


def jittered(limit_seconds: float, share: float) -> float:
    return limit_seconds * (1.0 - AGE_JITTER * share)


def memory_of_group(leader: int) -> int | None:
    """Bytes in memory of all processes of the process group, or None where the system does not tell (it is Linux's
    /proc). Pages that processes share are counted for each of them."""
    if sys.platform != "linux":
        return None
    page = os.sysconf("SC_PAGE_SIZE")
    found = [_resident(pid) for pid in _pids() if _group(pid) == leader]
    return sum(found) * page if found else None


def _pids() -> list[int]:
    with suppress(OSError):
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return []


def _group(pid: int) -> int | None:
    with suppress(OSError):
        return os.getpgid(pid)
    return None


def _resident(pid: int) -> int:
    """Resident pages."""
    with suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/statm", "rb") as statm:
        return int(statm.read().split()[1])
    return 0
