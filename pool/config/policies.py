"""The sections of a pool: retries, hedging and ejection, with their bounds. The defaults are those of the policies."""

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from pool.balance.policy import BalancePolicy, EjectionPolicy, HedgePolicy, RetryPolicy

__all__ = ["DEFAULTS", "STRICT", "EjectionSection", "HedgeSection", "RetrySection"]

STRICT: Final = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
DEFAULTS: Final = BalancePolicy()
"""Whose defaults are the documented ones."""


class RetrySection(BaseModel):
    """Calls that are sent again: only those that were never sent, or do no harm when they are done twice."""

    model_config = STRICT

    attempts: int = Field(
        DEFAULTS.retry.attempts, ge=1, le=10, description="How often a call is sent at most; 1 switches retries off."
    )
    budget_share: float = Field(DEFAULTS.retry.budget_share, ge=0, le=1, description="Retries as a share of the calls.")
    budget_floor_per_second: float = Field(
        DEFAULTS.retry.budget_floor_per_second, ge=0, le=1000, description="Retries a second that are always allowed."
    )

    def policy(self) -> RetryPolicy:
        return RetryPolicy(**self.model_dump())


class HedgeSection(BaseModel):
    """A second copy of a slow call that does no harm when it is done twice; the first answer counts."""

    model_config = STRICT

    on: bool = Field(DEFAULTS.hedge.is_on, description="Whether slow calls are sent a second time, elsewhere.")
    quantile: float = Field(
        DEFAULTS.hedge.quantile,
        ge=0.5,
        le=0.9999,
        description="Slow is what takes longer than this share of calls.",
    )
    budget_share: float = Field(
        DEFAULTS.hedge.budget_share, ge=0, le=1, description="Second copies as a share of the calls."
    )
    min_calls: int = Field(
        DEFAULTS.hedge.min_calls, ge=1, le=100_000, description="Calls before it is known what is slow."
    )

    def policy(self) -> HedgePolicy:
        return HedgePolicy(is_on=self.on, **self.model_dump(exclude={"on"}))


class EjectionSection(BaseModel):
    """Replicas that fail get no calls for a while: a circuit breaker for each."""

    model_config = STRICT

    on: bool = Field(DEFAULTS.ejection.is_on, description="Whether replicas that fail are left out for a while.")
    consecutive_failures: int = Field(
        DEFAULTS.ejection.consecutive_failures, ge=1, le=1000, description="Failures in a row that eject a replica."
    )
    success_rate: float = Field(
        DEFAULTS.ejection.success_rate, ge=0, le=1, description="So does a smaller share of calls that succeed."
    )
    min_calls: int = Field(
        DEFAULTS.ejection.min_calls, ge=1, le=100_000, description="Calls in the window before the share is judged."
    )
    window_seconds: float = Field(
        DEFAULTS.ejection.window_seconds, gt=0, le=3600, description="How far back calls count for the share."
    )
    base_seconds: float = Field(
        DEFAULTS.ejection.base_seconds,
        gt=0,
        le=3600,
        description="The first ejection; each further one lasts twice.",
    )
    max_seconds: float = Field(DEFAULTS.ejection.max_seconds, gt=0, le=3600, description="The longest ejection.")
    max_share: float = Field(
        DEFAULTS.ejection.max_share, ge=0, le=1, description="No more than this share is ejected at once."
    )
    panic_share: float = Field(
        DEFAULTS.ejection.panic_share,
        ge=0,
        le=1,
        description="When less than this share is in use, all are used as if none were ejected.",
    )
    probe_failures: int = Field(
        DEFAULTS.ejection.probe_failures, ge=1, le=100, description="Failed probes in a row that eject a replica, too."
    )
    probe_successes: int = Field(
        DEFAULTS.ejection.probe_successes, ge=1, le=100, description="Successful trials that bring a replica back."
    )

    def policy(self) -> EjectionPolicy:
        return EjectionPolicy(is_on=self.on, **self.model_dump(exclude={"on"}))
