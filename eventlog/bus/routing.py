"""Which events go to which channels. Pure.

What the bus itself tells (`bus.dead_lettered` …) is routed only by a rule that names it: a subscriber of everything
that fails at everything would otherwise be fed with its own failures.
"""

from dataclasses import dataclass
from typing import Final

from eventlog.bus.subjects import Interest, check_channel
from eventlog.event import Event

__all__ = ["OWN", "Routing", "Rule", "is_own"]

OWN: Final = "bus."
"""How the types begin that the bus appends itself."""


@dataclass(frozen=True, slots=True)
class Rule:
    """All conditions hold together. `types` are whole names or beginnings (`order.*`); none means all."""

    channel: str = "events"
    types: tuple[str, ...] = ()
    tenant: str | None = None
    stream_prefix: str = ""

    def __post_init__(self) -> None:
        Interest(self.channel, self.tenant, self.types)  # it knows what can be named

    def takes(self, event: Event) -> bool:
        return (
            (self.tenant is None or event.tenant == self.tenant)
            and event.stream.name.startswith(self.stream_prefix)
            and (
                any(event.type.startswith(one[:-1]) if one.endswith(".*") else event.type == one for one in self.types)
                if self.types
                else not is_own(event.type)
            )
        )


@dataclass(frozen=True, slots=True)
class Routing:
    """An event goes to the channel of every rule that takes it, once to each."""

    rules: tuple[Rule, ...] = (Rule(),)

    @property
    def channels(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(check_channel(rule.channel) for rule in self.rules))

    @property
    def types(self) -> tuple[str, ...]:
        """What has to be read of the log; empty for all."""
        if any(not rule.types for rule in self.rules):
            return ()
        return tuple(dict.fromkeys(type for rule in self.rules for type in rule.types))

    def channels_of(self, event: Event) -> tuple[str, ...]:
        return tuple(dict.fromkeys(rule.channel for rule in self.rules if rule.takes(event)))


def is_own(type: str) -> bool:
    return type.startswith(OWN)
