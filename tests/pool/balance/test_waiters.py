"""Those who wait: nobody is served after giving up, nothing handed over is lost, first come first served."""

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.balance.waiters import QueueIsFull, Waiter, Waiters


async def test_whoever_waits_gets_what_is_handed_over() -> None:
    queue = Waiters[str](1)
    waiter = queue.join()
    assert queue.hand("slot")
    with anyio.fail_after(5):
        assert await waiter.wait() == "slot"
    assert len(queue) == 0


async def test_a_refusal_is_raised_to_whoever_waits() -> None:
    queue = Waiters[str](2)
    waiters = [queue.join(), queue.join()]
    queue.refuse_all(LookupError("down"))
    for waiter in waiters:
        with pytest.raises(LookupError, match="down"), anyio.fail_after(5):
            await waiter.wait()


async def test_a_full_queue_refuses_at_once() -> None:
    queue = Waiters[str](1)
    queue.join()
    with pytest.raises(QueueIsFull):
        queue.join()


async def test_what_was_handed_over_at_the_moment_of_giving_up_comes_back() -> None:
    queue = Waiters[str](1)
    waiter = queue.join()
    assert queue.hand("slot")
    assert queue.leave(waiter) == "slot"


async def test_whoever_gave_up_takes_nothing() -> None:
    waiter = Waiter[str]()
    assert waiter.give_up() is None
    assert not waiter.set("slot")
    assert not waiter.refuse(LookupError())


@given(st.lists(st.one_of(st.just("join"), st.just("hand"), st.integers(0, 9)), max_size=60))
def test_the_queue_serves_in_order_and_loses_nothing(steps: list[str | int]) -> None:
    queue = Waiters[int](8)
    waiting: list[tuple[int, Waiter[int]]] = []
    handed = taken = joined = 0
    for step in steps:
        if step == "join":
            if len(waiting) == 8:
                with pytest.raises(QueueIsFull):
                    queue.join()
            else:
                waiting.append((joined, queue.join()))
                joined += 1
        elif step == "hand":
            first = waiting[0] if waiting else None
            assert queue.hand(handed) == (first is not None)
            if first is not None:
                waiting.pop(0)
                assert not first[1].is_waiting
                assert first[1].give_up() == handed
                taken += 1
                handed += 1
        elif isinstance(step, int) and step < len(waiting):
            _, waiter = waiting.pop(step)
            assert queue.leave(waiter) is None
        assert len(queue) == len(waiting)
    assert handed == taken
