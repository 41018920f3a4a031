"""Work ahead of its use: in order, a little ahead, and the items drawn by one thread."""

import threading
import time

import pytest

from fastgoal.ahead import look_ahead


def test_work_in_threads_keeps_the_order_and_draws_only_a_little_ahead():
    drawn, threads = [], set()

    def items():
        for number in range(200):
            drawn.append(number)
            threads.add(threading.get_ident())
            yield number

    def work(number):
        time.sleep(0.002 * (number % 3 == 0))
        if number == 150:
            raise ValueError("at 150")
        return number**2

    done = look_ahead(work, items(), 3)
    assert [next(done) for _ in range(100)] == [number**2 for number in range(100)]
    assert 100 <= len(drawn) < 140
    assert [next(done) for _ in range(50)] == [number**2 for number in range(100, 150)]
    with pytest.raises(ValueError, match="at 150"):
        next(done)
    assert threads == {threading.get_ident()}


def test_without_threads_nothing_is_done_ahead():
    drawn = []

    def work(number):
        drawn.append(number)
        return number

    done = look_ahead(work, range(9), 0)
    assert [next(done), next(done)] == drawn == [0, 1]
