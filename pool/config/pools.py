"""One pool of `stoa.pools`: its keys, their bounds and defaults. docs/settings.md shows what stands here.

Times are in seconds and say so in their names; the short names (`call_timeout`) mean the same.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from pydantic import BaseModel, Field, JsonValue, ValidationError

from pool.balance.policy import ALIASES, STRATEGIES, BalancePolicy, Strategy, strategy_named
from pool.config.policies import DEFAULTS, STRICT, EjectionSection, HedgeSection, RetrySection
from pool.config.trouble import bad, explain_validation, show
from pool.nearby import did_you_mean
from pool.spec import Affinity

__all__ = ["SECTIONS", "SHORT", "PoolSection", "read_pool", "read_strategy"]


class PoolSection(BaseModel):
    """One pool under `stoa.pools`."""

    model_config = STRICT

    members: list[str] | None = Field(
        None, min_length=1, max_length=256, description="Its servers; without it, the server of the pool's own name."
    )
    replicas: int = Field(1, ge=1, le=64, description="How often each member runs, or is connected to.")
    strategy: str = Field(DEFAULTS.strategy, description="Who gets the next call; see below.")
    weights: dict[str, float] = Field(
        default_factory=dict[str, float], description="Weights of members by name, 1 where none is given."
    )
    tiers: dict[str, int] = Field(
        default_factory=dict[str, int],
        description="Priority tiers of members by name, 0 where none is given; the lowest that is up is used.",
    )
    max_in_flight: int = Field(16, ge=1, le=10_000, description="Calls at once on one replica.")
    max_waiting: int = Field(64, ge=0, le=100_000, description="Calls that may wait; further ones fail at once.")
    acquire_timeout_seconds: float = Field(10, gt=0, le=3600, description="How long a call waits for its turn.")
    call_timeout_seconds: float = Field(60, gt=0, le=86_400, description="How long a call may take.")
    start_timeout_seconds: float = Field(30, gt=0, le=3600, description="How long a start and a listing may take.")
    stop_grace_seconds: float = Field(2, ge=0, le=60, description="What a process is given to end by itself.")
    idle_timeout_seconds: float = Field(
        0, ge=0, le=604_800, description="After so long without a call a replica is closed; 0: never."
    )
    max_age_seconds: float = Field(0, ge=0, le=31_536_000, description="Older replicas are replaced; 0: never.")
    max_calls: int = Field(0, ge=0, le=10**9, description="Replaced after so many calls; 0: never.")
    max_memory_mb: float = Field(
        0, ge=0, le=10**6, description="A process that uses more (with its children) is replaced; 0: never."
    )
    spares: int = Field(0, ge=0, le=64, description="Replicas that are kept started beyond need.")
    probe_interval_seconds: float = Field(30, ge=0, le=3600, description="Time between two probes; 0: none.")
    probe_timeout_seconds: float = Field(5, gt=0, le=60, description="How long a probe may take.")
    slow_start_seconds: float = Field(
        DEFAULTS.slow_start_seconds, ge=0, le=3600, description="A replica that came up gets its full share after this."
    )
    decay_seconds: float = Field(
        DEFAULTS.decay_seconds, gt=0, le=3600, description="Time constant of the average latency."
    )
    failure_penalty_seconds: float = Field(
        DEFAULTS.failure_penalty_seconds,
        ge=0,
        le=3600,
        description="A failure counts as an answer that took so long.",
    )
    affinity: Affinity = Field(
        "auto", description="`auto`: callers stay with one replica where a server keeps sessions; `none`: never."
    )
    trusted: bool | None = Field(
        None, description="Believe its `readOnlyHint`, tell it who calls. Default: only our own servers are."
    )
    retry: RetrySection = Field(default_factory=lambda: RetrySection.model_validate({}), description="See below.")
    hedge: HedgeSection = Field(default_factory=lambda: HedgeSection.model_validate({}), description="See below.")
    ejection: EjectionSection = Field(
        default_factory=lambda: EjectionSection.model_validate({}), description="See below."
    )

    def policy(self) -> BalancePolicy:
        """How it balances. `strategy` has to be a strategy's own name, which `read_pool` makes it."""
        return BalancePolicy(
            strategy=strategy_named(self.strategy),
            ejection=self.ejection.policy(),
            retry=self.retry.policy(),
            hedge=self.hedge.policy(),
            slow_start_seconds=self.slow_start_seconds,
            decay_seconds=self.decay_seconds,
            failure_penalty_seconds=self.failure_penalty_seconds,
        )


SECTIONS: Final[Mapping[str, type[BaseModel]]] = {
    "retry": RetrySection,
    "hedge": HedgeSection,
    "ejection": EjectionSection,
}
SHORT: Final[Mapping[str, str]] = {
    name.removesuffix("_seconds"): name for name in PoolSection.model_fields if name.endswith("_seconds")
}
"""The names without their unit."""

MAX_WEIGHT: Final = 1000.0
MAX_TIER: Final = 100


def read_pool(
    value: JsonValue,
    *,
    name: str,
    source: str,
    path: str,
    defaults: Mapping[str, JsonValue],
) -> PoolSection:
    """The pool as it was written, over the defaults. Raises `BadInput` naming the key."""
    if not isinstance(value, dict):
        raise bad(source, path, f"must be an object, not {show(value)}", 'Write {"replicas": 2}, for example.')
    written, spelled = _spelled_out(value, source=source, path=path)
    for key, default in defaults.items():
        if isinstance(default, dict) and isinstance(said := written.get(key, {}), dict):
            written[key] = {**default, **said}
        else:
            written.setdefault(key, default)
    try:
        section = PoolSection.model_validate(written)
    except ValidationError as error:
        known = {"": PoolSection.model_fields, **{key: model.model_fields for key, model in SECTIONS.items()}}
        raise explain_validation(error, source=source, path=path, known=known, spelled=spelled) from None
    strategy = read_strategy(section.strategy)
    if strategy is None:
        meant = did_you_mean(section.strategy, (*STRATEGIES, *ALIASES), list_all=False)
        remedy = meant or f"Known are {', '.join(STRATEGIES)}."
        raise bad(source, f"{path}.strategy", f"{show(section.strategy)} is not known", remedy)
    members = section.members or [name]
    _check_members(section.weights, members, source=source, path=f"{path}.weights", least=0.001, most=MAX_WEIGHT)
    _check_members(section.tiers, members, source=source, path=f"{path}.tiers", least=0, most=MAX_TIER)
    if section.ejection.base_seconds > section.ejection.max_seconds:
        raise bad(source, f"{path}.ejection.base_seconds", "is more than max_seconds", "Make one of them fit.")
    return section.model_copy(update={"strategy": strategy})


def read_strategy(text: str) -> Strategy | None:
    """The strategy's own name, however it is spelled: `LeastConnections`, `least-connections`."""
    try:
        return strategy_named(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text))
    except ValueError:
        return None


def _spelled_out(
    value: Mapping[str, JsonValue], *, source: str, path: str
) -> tuple[dict[str, JsonValue], dict[str, str]]:
    """The section with full names and without short forms, and how names were written that are short."""
    written: dict[str, JsonValue] = {}
    spelled: dict[str, str] = {}
    for key, part in value.items():
        full = SHORT.get(key, key)
        if full in written:
            raise bad(source, f"{path}.{key}", f"{full} and {SHORT_OF[full]} mean the same", "Keep one of them.")
        if full != key:
            spelled[full] = key
        written[full] = part
    for key in ("hedge", "ejection"):
        if isinstance(on := written.get(key), bool):
            written[key] = {"on": on}
    if written.get("retry") is False:
        written["retry"] = {"attempts": 1}
    elif written.get("retry") is True:
        written["retry"] = {}
    return written, spelled


SHORT_OF: Final[Mapping[str, str]] = {full: short for short, full in SHORT.items()}


def _check_members(
    values: Mapping[str, float], members: Iterable[str], *, source: str, path: str, least: float, most: float
) -> None:
    for member, value in values.items():
        if member not in members:
            raise bad(source, f"{path}.{member}", "this is no member of the pool", did_you_mean(member, members))
        if not least <= value <= most:
            raise bad(
                source, f"{path}.{member}", f"must be from {least:g} to {most:g}, found {show(value)}", "Correct it."
            )
