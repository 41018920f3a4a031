"""Manners of the command line: no host is asked for local paths, colours can be off, tabs complete."""

import os
import socket
import subprocess
import sys

import pytest

from fastgoal.cli import main
from fastgoal.data.scenes import ScenesConfig, write_scenes


def test_local_paths_ask_no_host(tmp_path, small_clip_folder, monkeypatch):
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    asked = []

    def refuse(*arguments, **more):
        asked.append(arguments)
        raise OSError("no network here")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    write_scenes(tmp_path / "scenes", ScenesConfig(train=6, val=0, test=4), progress=False)
    for command in (
        ["match", tmp_path / "scenes/train", "--out", tmp_path / "pairs", "--matcher", small_clip_folder],
        ["train", tmp_path / "pairs", "--model", small_clip_folder, "--out", tmp_path / "run", "--max-steps", "1"],
        ["eval", tmp_path / "run/model", tmp_path / "scenes/test"],
        ["check", tmp_path / "scenes/train"],
    ):
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in command])
        assert end.value.code == 0
    assert not asked


def run(*arguments, **environment):
    command = [sys.executable, "-m", "fastgoal", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})


def test_colours_are_off_where_asked():
    misspelt = ("scenes", "out", "--trian", "3")  # in a command that imports no torch
    loud = run(*misspelt, FORCE_COLOR="1")
    quiet = run(*misspelt, FORCE_COLOR="1", NO_COLOR="1")
    assert "--train" in quiet.stdout + quiet.stderr
    assert "\x1b[3" in loud.stdout + loud.stderr
    assert "\x1b[3" not in quiet.stdout + quiet.stderr


def test_tab_completion_is_installed_on_demand(tmp_path):
    done = run("--install-completion", HOME=str(tmp_path), SHELL="/bin/bash")
    assert done.returncode == 0, done.stderr
    script = next((tmp_path / ".local").rglob("fastgoal")).read_text()
    assert "match" in script
    assert "--caption-column" in script


def test_a_reader_that_has_seen_enough_is_no_error():
    command = f"{sys.executable} -m fastgoal recipes show all | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1


def test_a_signal_during_imports_ends_the_process_there_with_a_word(tmp_path):
    """The hook sends it in the middle of the import of the command's module."""
    hook = "import os, signal, sys\n"
    hook += "hit = lambda name, *_: os.kill(os.getpid(), signal.SIGTERM) if name == 'fastgoal.data.scenes' else None\n"
    hook += "sys.meta_path.insert(0, type('Hook', (), {'find_spec': staticmethod(hit)}))\n"
    code = f"{hook}from fastgoal.cli import main\nmain(['scenes', 'out'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 143
    assert done.stderr == "fastgoal: interrupted. What was finished is kept; continue with: fastgoal scenes out\n"
    assert not list(tmp_path.iterdir())
