"""Processes that are kept at work: here at sleeping, which needs no model."""

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial

import pytest

from fastgoal.search.service import workers
from fastgoal.search.service.workers import CANNOT_START, keep_working

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


@pytest.fixture
def begun(monkeypatch):
    """The workers that were started, in order."""
    found, start = [], workers._start
    monkeypatch.setattr(workers, "_start", lambda work: found.append(start(work)) or found[-1])
    return found


def later(act):
    """Do something as soon as it does not fail, in another thread."""

    def wait():
        while True:
            time.sleep(0.05)
            try:
                return act()
            except IndexError:
                continue

    threading.Thread(target=wait, daemon=True).start()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_they_work_until_a_signal_comes_and_it_is_passed_on(begun, number):
    before = signal.getsignal(number)
    later(lambda: (begun[2], os.kill(os.getpid(), number)))
    assert keep_working(3, partial(time.sleep, 600))
    assert [worker.exitcode for worker in begun] == [-signal.SIGTERM] * 3
    assert signal.getsignal(number) == before


def test_one_that_dies_is_replaced(begun, monkeypatch, capsys):
    monkeypatch.setattr(workers, "_BREATH", 0)
    later(lambda: begun[1].kill())
    later(lambda: (begun[2], os.kill(os.getpid(), signal.SIGTERM)))
    assert keep_working(2, partial(time.sleep, 600))
    assert len(begun) == 3
    assert f"worker {begun[1].pid} died (exit code -9)" in capsys.readouterr().err


def test_one_that_cannot_start_ends_all(begun):
    assert not keep_working(2, partial(sys.exit, CANNOT_START))
    assert len(begun) == 2
    assert all(worker.exitcode is not None for worker in begun)


def test_one_whose_parent_was_killed_ends_too(tmp_path):
    """The parent prints the worker's number, and is killed; the worker would sleep on."""
    work = tmp_path / "work.py"
    work.write_text(
        "import time\n"
        "from fastgoal.search.service.workers import end_with_parent, keep_working\n"
        "def work():\n    end_with_parent()\n    print(__import__('os').getpid(), flush=True)\n    time.sleep(600)\n"
        "if __name__ == '__main__':\n    keep_working(1, work)\n"
    )
    parent = subprocess.Popen([sys.executable, str(work)], stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    assert worker != parent.pid
    parent.kill()
    assert parent.communicate(timeout=60)[0] == ""  # it ends once nobody is left who could write
