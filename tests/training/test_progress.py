"""What is seen of a training: the facts of the history in readable lines, enough of them and not too many, and a bar
with the same where there is a terminal."""

import io
from types import SimpleNamespace

import pytest

from fastgoal.training import progress
from fastgoal.training.progress import Progress

STEPS = 60_000
ROW = {"loss": 2.3141, "global": 1.2031, "local": 1.902, "tsl": 0.16, "lr": 4.52e-06, "samples_per_second": 412.34}
ROW |= {"data_wait": 0.034, "memory_mib": 12.3 * 1024, "seconds": 900.0, "done": 0.2}


@pytest.fixture
def now(monkeypatch) -> list[float]:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    return clock


def after(callback: Progress, step: int, steps: int = STEPS, **changed: float) -> None:
    """The history has a line at `step`."""
    callback.on_log(
        None, SimpleNamespace(global_step=step, max_steps=steps), None, ROW | {"done": step / steps} | changed
    )


def begun(step: int = 0, steps: int = STEPS) -> Progress:
    callback = Progress("goal")
    callback.on_train_begin(None, SimpleNamespace(global_step=step, max_steps=steps), None)
    return callback


def test_a_line_has_all_facts_within_120_columns(now, capsys):
    callback = begun(step=6000)
    now[0] = 900.0
    after(callback, 12_000)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "goal: step 12000/60000 (20%), loss 2.31 global 1.20 local 1.90 tsl 0.160, lr 4.5e-06, "
        "412/s, wait 3%, 12.3 GiB, 2:00:00 left"  # 900 s for 6,000 steps, 48,000 to go
    )
    after(callback, 60_000, **{"loss": 0.0012, "global": 0.0012, "samples_per_second": 3.456, "data_wait": 1.0})
    assert "loss 0.00120 global 0.00120" in (line := capsys.readouterr().err)
    assert "(100%)" in line and "3.46/s, wait 100%" in line and "00:00 left" in line


def test_a_term_without_a_weight_is_not_there(now, capsys):
    callback = begun()
    row = {name: value for name, value in ROW.items() if name not in ("local", "tsl")}
    callback.on_log(None, SimpleNamespace(global_step=STEPS, max_steps=STEPS), None, row)
    assert "loss 2.31 global 1.20, lr" in capsys.readouterr().err


def test_a_short_run_says_twenty_lines_and_a_long_one_a_line_a_minute(now, capsys):
    """A line of the history every 10 steps; a step takes 0.1 s, then one second."""
    for seconds, steps, lines in ((0.1, 2000, 20), (1.0, 20_000, 20_000 // 60 + 1)):
        now[0] = 0.0
        callback = begun(steps=steps)
        for step in range(10, steps + 1, 10):
            now[0] = step * seconds
            after(callback, step, steps)
        assert len(capsys.readouterr().err.splitlines()) == lines


def test_a_terminal_has_a_bar_with_the_same_facts(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "140")
    callback = begun(steps=4)
    for step in range(1, 5):
        after(callback, step, steps=4)
        callback.on_step_end(None, None, None)
    callback.on_log(None, SimpleNamespace(global_step=4, max_steps=4), None, {"retrieval": 25.0})
    callback.on_train_end(None, None, None)
    shown = terminal.getvalue()
    last = shown.rstrip().split("\r")[-1]
    assert last.startswith("goal: ")
    assert "step 4/4 (100%), loss 2.31 global 1.20 local 1.90 tsl 0.160, lr 4.5e-06, 412/s, wait 3%, 12.3 GiB, " in last
    assert last.endswith("left")
    assert "goal: step 4, validation R@1 25.00\n" in shown
