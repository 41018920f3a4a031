"""Captioning is killed at every point where it touches the disk, and goes on to the same captions.

Each run is a fork of this process (see `tests/test_kill.py`), killed by SIGKILL before, amid or behind a write.
"""

import json
import os
import signal
from pathlib import Path

import pytest
from tests.captioning.conftest import draw
from tests.test_kill import Warm, everything, sent

import fastgoal.cli.caption  # noqa: F401  (so that forks find it imported)

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


def outcome(out: Path) -> dict[str, object]:
    """Tables byte for byte; the record without times."""
    files: dict[str, object] = dict(everything(out))
    record = json.loads((out / "caption.json").read_text())
    for name in ("seconds", "images_per_second"):
        record["report"].pop(name)
    return files | {"caption.json": record}


@pytest.fixture(scope="module")
def command(captioner_folder, tmp_path_factory):
    """Four images, and three that cannot be read; one batch has no caption, another one of two."""
    folder = draw(tmp_path_factory.mktemp("kill") / "photos", 4)
    (folder / "a.jpg").write_bytes(b"x")
    (folder / "b.jpg").write_bytes(b"x")
    (folder / "below" / "c.jpg").write_bytes(b"x")
    given = ["caption", folder, "--captioner", captioner_folder, "--max-new-tokens", 5, "--batch", 2]
    return lambda out: [*given, "--out", out]


@pytest.fixture(scope="module")
def warm(tmp_path_factory, captioner):
    return Warm(tmp_path_factory.mktemp("warm"))


@pytest.fixture(scope="module")
def straight(warm, command, tmp_path_factory):
    """What an uninterrupted run leaves, and its points."""
    out = tmp_path_factory.mktemp("straight") / "out"
    ended = warm.run(command(out))
    assert ended.code == 0, ended.errors
    return outcome(out), ended.points


def test_captions_are_the_same_wherever_captioning_was_killed(warm, command, straight, tmp_path):
    expected, points = straight
    for at in (at for at, name in enumerate(points) if name in ("amid append", "after append", "after replace")):
        out = tmp_path / f"{at}"
        assert warm.run(command(out), at, sent(signal.SIGKILL)).code == -signal.SIGKILL
        again = warm.run(command(out))
        assert again.code == 0, again.errors
        assert outcome(out) == expected, points[at]


def test_captioning_may_be_killed_over_and_over(warm, command, straight, tmp_path):
    expected, points = straight
    kills, half = 0, points.index("amid append")
    while warm.run(command(tmp_path / "out"), half, sent(signal.SIGKILL)).code == -signal.SIGKILL:
        kills += 1
        assert kills < 20
        half += 2  # or the same line would be written for ever
    assert kills > 2
    assert outcome(tmp_path / "out") == expected


def test_a_signal_stops_captioning_and_says_how_to_go_on(warm, command, straight, tmp_path):
    stopped = warm.run(command(tmp_path / "out"), straight[1].index("after append"), sent(signal.SIGTERM))
    assert stopped.code == 128 + signal.SIGTERM
    assert "continue with: fastgoal caption" in stopped.errors
    assert warm.run(command(tmp_path / "out")).code == 0
    assert outcome(tmp_path / "out") == straight[0]
