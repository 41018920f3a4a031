"""Signals become one exception, now or at the end of a block; what handled them before does so again."""

import os
import signal
import time
from contextlib import AbstractContextManager

import pytest

from fastgoal.interrupts import Interrupted, Interrupts


class Block:
    """A piece of work that a signal hits; `went_on` says whether it came to its end."""

    went_on = False

    def __call__(self, where: AbstractContextManager[object], number: signal.Signals | None = None) -> None:
        with where:
            if number is not None:
                os.kill(os.getpid(), number)
            self.went_on = True


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_raises_where_it_hits(number: signal.Signals, code: int) -> None:
    before, block = signal.getsignal(number), Block()
    with pytest.raises(Interrupted) as caught:
        block(Interrupts(), number)
    assert (caught.value.code, block.went_on) == (code, False)
    assert signal.getsignal(number) is before


def test_a_patient_block_ends_first_also_inside_another() -> None:
    block, inner = Block(), Interrupts(patient=True)
    with pytest.raises(Interrupted), Interrupts():
        block(inner, signal.SIGTERM)
    assert (block.went_on, inner.came) == (True, signal.SIGTERM)


def test_a_part_of_a_patient_block_may_be_left_at_once() -> None:
    first, second, whole = Block(), Block(), Interrupts(patient=True)
    whole.__enter__()
    with pytest.raises(Interrupted):
        first(whole.at_once(), signal.SIGINT)
    with pytest.raises(Interrupted):
        second(whole.at_once())
    assert not (first.went_on or second.went_on)
    with pytest.raises(Interrupted):
        whole.__exit__(None, None, None)


def test_what_is_ignored_stays_ignored() -> None:
    before, block = signal.signal(signal.SIGINT, signal.SIG_IGN), Block()
    try:
        block(Interrupts(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert block.went_on


def test_an_error_is_not_hidden_by_a_signal() -> None:
    noted = Interrupts(patient=True)
    noted.__enter__()
    os.kill(os.getpid(), signal.SIGTERM)
    noted.__exit__(ValueError, ValueError("first"), None)
    assert noted.came == signal.SIGTERM


def wrapped() -> None:
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except KeyboardInterrupt as signalled:
        raise ImportError("cannot import") from signalled


def test_what_a_library_makes_of_a_signal_is_a_signal_all_the_same() -> None:
    with pytest.raises(Interrupted) as caught, Interrupts():
        wrapped()
    assert caught.value.code == 143
    assert isinstance(caught.value.__cause__, ImportError)


class Hit:
    """A signal comes while Python clears this up."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


def dropped(block: Block) -> None:
    Hit()
    time.sleep(30)
    block.went_on = True


def test_a_signal_whose_exception_python_drops_still_stops_the_block(capfd: pytest.CaptureFixture[str]) -> None:
    block = Block()
    with pytest.raises(Interrupted), Interrupts():
        dropped(block)
    assert not block.went_on
    assert capfd.readouterr().err == ""
