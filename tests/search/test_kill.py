"""Killed at random moments, reopened and continued: nothing is lost, nothing is there twice."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.search.conftest import expect_equal_rows, rows

from fastgoal.search.tables import IMAGES, REGIONS

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
KILLS = int(os.environ.get("FASTGOAL_KILLS", "4"))


def test_killed_over_and_over_it_becomes_the_same_index(photos, indexed, small_clip_folder, tmp_path):
    command = ["index", small_clip_folder, photos, "--uri", tmp_path / "index", "--regions", "fixed"]
    command += ["--commit", "2", "--batch", "4", "--duplicates", "0"]
    killing = [sys.executable, "-m", "tests.search.killing", KILLS, 7, *command]
    here = Path(__file__).parents[2]
    done = subprocess.run([str(word) for word in killing], capture_output=True, text=True, cwd=here)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["kills"], found["code"]) == (KILLS, 0), found["errors"]
    indexed(photos, tmp_path / "straight", regions="fixed")
    for table in (IMAGES, REGIONS):
        expect_equal_rows(rows(tmp_path / "index", table), rows(tmp_path / "straight", table))
