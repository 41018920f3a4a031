"""Progress: plain lines where there is no terminal, now and then; nothing where nothing is wanted."""

from fastgoal import progress
from fastgoal.progress import Bar, Progress


def test_plain_lines_come_now_and_then_and_at_the_end(monkeypatch, capsys):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with Progress(12, "match", "image", done=2) as bar:
        for _ in range(4):
            now[0] += 10
            bar.update(2)
        now[0] += 1
        bar.update(1)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "match: 6/12 images, 0.2 images/s, 00:30 left",
        "match: 10/12 images, 0.2 images/s, 00:10 left",
        "match: 11/12 images, 0.2 images/s, 00:04 left",
    ]


def test_nothing_is_said_of_nothing_of_short_work_or_when_not_asked(capsys):
    with Progress(3, "match", "image", done=3):
        pass
    with Progress(3, "match", "image", show=False) as bar:
        bar.update(3)
    with Progress(3, "match", "image") as bar:
        bar.update(3)
    assert capsys.readouterr().err == ""


def test_a_bar_that_a_signal_left_half_made_ends_quietly():
    Bar.__new__(Bar).__del__()
