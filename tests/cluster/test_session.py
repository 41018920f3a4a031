"""What is said where there is no cluster to be had, and how a driver stops."""

import signal
import subprocess
import sys
import time

import pytest

from fastgoal.cli import main
from fastgoal.pairs import MANIFEST


def ends(capsys, *words: object) -> tuple[int, str]:
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    return end.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--address", "127.0.0.1:1"), "Start one with `ray start --head`, or leave --address out"),
        (("--address", "auto"), "Name HOST:PORT"),
        (("--workers", "0"), "0 workers. Use at least 1"),
        (("--gpus-per-worker", "2"), "Use a share from 0 to 1"),
        (("--device", "cuda"), "Say --gpus-per-worker 1 instead"),
    ],
)
def test_errors_are_one_line_with_a_mend(capsys, scenes, tmp_path, flags, says):
    asked = ("match", scenes / "train", "--out", tmp_path / "pairs", "--regions", "fixed", "--engine", "ray", *flags)
    code, error = ends(capsys, *asked)
    assert code == 2
    assert says in error.splitlines()[-1]
    assert "Traceback" not in error


def test_flags_of_a_cluster_without_one(capsys, scenes, tmp_path):
    code, error = ends(capsys, "match", scenes / "train", "--out", tmp_path / "pairs", "--workers", "2")
    assert (code, error) == (2, "fastgoal: --workers: nothing to do with --engine local. Add --engine ray.\n")


def test_a_python_without_ray(capsys, scenes, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name == "ray" or name.startswith("ray.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", None)  # as Python says that there is no such package
    asked = ("match", scenes / "train", "--out", tmp_path / "pairs", "--regions", "fixed", "--engine", "ray")
    code, error = ends(capsys, *asked)
    assert code == 2
    assert "pip install 'fastgoal[cluster]'" in error


def test_a_driver_that_is_told_to_stop_says_how_to_go_on(scenes, tmp_path):
    command = [sys.executable, "-m", "fastgoal", "match", str(scenes / "train"), "--out", str(tmp_path / "pairs")]
    command += ["--regions", "fixed", "--engine", "ray", "--workers", "1"]
    driver = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "pairs" / MANIFEST).exists() and driver.poll() is None:
        time.sleep(0.05)
    time.sleep(1.5)  # in the middle of starting Ray, or soon after
    driver.send_signal(signal.SIGTERM)
    _, said = driver.communicate(timeout=20)
    assert driver.returncode == 143, said
    assert "continue with: fastgoal match" in said.splitlines()[-1]
