"""An aggregate for tests: an account whose state shows each event once, and whose commands can refuse."""

from collections.abc import Sequence
from typing import Any, Final

from eventlog.aggregates.aggregate import Aggregate
from eventlog.event import Event, NewEvent, StreamId
from eventlog.log import EventLog
from stoa.errors import Conflict

__all__ = ["ACCOUNT", "ACME", "State", "deposit", "deposits", "withdraw"]

State = dict[str, Any]

ACME: Final = StreamId("acme", "account-1")


def _apply(state: State, event: Event) -> State:
    if event.type == "account.deposited":
        state["balance"] += event.data["amount"]
        state["versions"].append(event.version)  # in place: allowed, and must not reach the initial state
    elif event.type == "account.withdrawn":
        state["balance"] -= event.data["amount"]
        state["versions"].append(event.version)
    return state


ACCOUNT: Final = Aggregate(type="account", initial={"balance": 0, "versions": []}, apply=_apply)


def deposit(amount: int) -> NewEvent:
    return NewEvent("account.deposited", {"amount": amount})


async def deposits(log: EventLog, *amounts: int, stream: StreamId = ACME) -> None:
    await log.append_to(stream, [deposit(amount) for amount in amounts])


def withdraw(state: State) -> Sequence[NewEvent]:
    if state["balance"] < 10:
        raise Conflict(f"The account holds {state['balance']}.", hint="Deposit something first.")
    return [NewEvent("account.withdrawn", {"amount": 10})]
