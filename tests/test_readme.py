"""The README's commands, run as they stand in an empty folder, but for the two `make` lines and the activation."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("readme")


def run(command, folder, **options):
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{command}\n{done.stderr[-3000:]}"
    return done.stdout


def test_commands_work_as_they_stand(folder):
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    commands = [line for line in lines if not line.startswith(("make ", "source "))]
    assert [line for line in lines if line.startswith("make ")] == ["make demo", "make test"]
    assert len(commands) >= 7
    for command in commands:
        run(command, folder, shell=True)
    for made in ("demo-quick/index.html", "demo-quick/metrics.json", "my-run/index.html", "result.json"):
        assert (folder / made).stat().st_size > 500, made


def test_python_examples_work_as_they_stand(folder):
    examples = blocks("python")
    assert len(examples) == 2
    printed = run([sys.executable, "-c", examples[0]], folder)
    assert "R@1" in printed.splitlines()[-1]
    run([sys.executable, "-c", examples[1]], folder)


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README.read_text(encoding="utf-8")):
        assert (README.parent / target).exists(), target
