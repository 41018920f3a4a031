"""Waits: silence about short ones, doubling intervals, the earliest first, and nothing once they are over."""

import io
import queue
import threading

import pytest

from fastgoal.watch import Watch, said_aloud, told_if_long


@pytest.fixture
def now() -> list[float]:
    """A clock that the test moves on; it looks at the watch itself, because the thread sleeps by the real one."""
    return [1000.0]


@pytest.fixture
def watch(now) -> Watch:
    return Watch(lambda: now[0])


def test_a_long_wait_is_told_after_a_minute_and_at_every_doubling(watch, now):
    said = []
    with watch.told_if_long("waiting for data", after=60, detail=lambda: f"batch {now[0]:.0f}", say=said.append):
        for second in range(0, 500, 10):
            now[0] = 1000.0 + second
            watch.look()
    assert said == [
        "waiting for data for 60 s (batch 1060)",
        "waiting for data for 120 s (batch 1120)",
        "waiting for data for 240 s (batch 1240)",
        "waiting for data for 480 s (batch 1480)",
    ]


def test_nothing_is_told_of_short_waits_nor_after_the_end(watch, now):
    said = []
    for _ in range(3):
        with watch.told_if_long("waiting for data", say=said.append):
            now[0] += 59
            assert watch.look() == 1
        now[0] += 100
        assert watch.look() is None
    with pytest.raises(KeyError), watch.told_if_long("waiting for data", say=said.append):
        raise KeyError
    now[0] += 100
    assert watch.look() is None
    assert said == []


def test_a_wait_within_a_wait_is_told_by_its_own_time(watch, now):
    said = []
    with watch.told_if_long("waiting for ranks", after=100, say=said.append):
        now[0] += 50
        with watch.told_if_long("waiting for data", after=20, say=said.append):
            assert watch.look() == 20
            now[0] += 25
            assert watch.look() == 15  # 40 s into the inner one
        now[0] += 25
        watch.look()
    assert said == ["waiting for data for 25 s", "waiting for ranks for 100 s"]


def test_the_thread_tells_by_itself_while_the_wait_lasts():
    """The second one is due before what the thread is asleep for, so that it has to be woken."""
    said = queue.Queue()
    with told_if_long("waiting for ever", after=3600, say=said.put):
        with told_if_long("waiting for a while", after=0.01, say=said.put):
            lines = [said.get(timeout=60), said.get(timeout=60)]
        assert all(line.startswith("waiting for a while for 0 s") for line in lines)
        threads = [thread for thread in threading.enumerate() if thread.name == "watch"]
        with told_if_long("waiting for a while", after=0.01, say=said.put):
            said.get(timeout=60)
        assert [thread for thread in threading.enumerate() if thread.name == "watch"] == threads


def test_a_closed_standard_error_stops_nothing(monkeypatch):
    closed = io.StringIO()
    monkeypatch.setattr("sys.stderr", closed)
    said_aloud("waiting for data for 60 s")
    assert closed.getvalue() == "waiting for data for 60 s\n"
    closed.close()
    said_aloud("waiting for data for 60 s")
