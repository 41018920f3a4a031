"""The command under torch's own launcher, in real processes."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsTable


def test_torchrun_trains_on_two_processes(
    write_table: Callable[..., PairsTable], small_clip_folder: Path, tmp_path: Path
) -> None:
    table, out = write_table(), tmp_path / "run"
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "fastgoal"]
    files = ["--model", str(small_clip_folder), "--out", str(out), "--json", str(tmp_path / "r.json")]
    options = ["--text-tokens", "77", "--max-steps", "2", "--batch-size", "4", "--shard"]
    done = subprocess.run(
        [*launch, "train", str(table.folder), *files, *options],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("goal: 2 steps") == 1  # one process speaks for both
    assert json.loads((tmp_path / "r.json").read_text())["config"]["shard"] is True
    DualEncoder.load(out / "model")
