"""The harness in short: it finds nothing in a command of ours, and everything in a careless program.

`make soak` runs all of it.
"""

import signal
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file
from tests.soak.__main__ import shown
from tests.soak.commands import Command
from tests.soak.harness import Soak
from tests.soak.outcome import differences, leftovers, outcome, torn
from tests.soak.processes import OUT, At
from tests.soak.trial import Trial

from fastgoal.files import write_json

pytest.importorskip("resource")  # not there on Windows, like SIGKILL


def test_scenes_survive_kills_a_signal_and_a_full_disk(tmp_path):
    command = Command(name="scenes", arguments=("scenes", OUT, "--train", 60, "--val", 0, "--test", 0))
    soak = Soak(command, tmp_path, seed=0)
    for trial in ("rename-0", "disk-0", "signal-45"):  # the signal comes when the output has just begun to change
        soak.one(trial)
    tally = soak.tally
    assert not tally.faults
    assert (tally.kills >= 2, tally.signals, tally.refusals) == (True, 1, 1)
    assert tally.restarts == tally.kills + 2
    assert sorted(path.name for path in tmp_path.glob("scenes/*")) == ["reference", "reference.logs"]
    assert shown([tally]).splitlines()[1].split()[5:9] == ["0", "0", "0", "0"]


def test_a_careless_program_is_found_out(tmp_path):
    careless = Path(__file__).with_name("careless.py")
    command = Command(name="careless", arguments=(OUT,), program=lambda given: [sys.executable, str(careless), *given])
    soak = Soak(command, tmp_path, seed=0)
    trial = Trial(command, "kill-0", tmp_path / "careless" / "kill-0", soak.tally, seed=0)
    trial.folder.mkdir()
    killed = trial.go(At(seconds=0.5))
    assert killed.code == -signal.SIGKILL
    trial.note("killed between the halves")
    trial.to_the_end(soak.reference)
    kinds = [fault.kind for fault in soak.tally.faults]
    assert kinds == ["torn", "torn", "difference", "leftover"]


@pytest.fixture
def output(tmp_path):
    """One file of each kind, all whole."""
    out = tmp_path / "out"
    out.mkdir()
    pq.write_table(pa.table({"a": [1, 2]}), out / "a.parquet")
    save_file({"weight": torch.ones(3)}, out / "a.safetensors")
    torch.save({"step": 3}, out / "a.pt")
    write_json(out / "a.json", {"value": 1, "seconds": 2.5})
    (out / "a.jsonl").write_text('{"a": 1}\n{"a": 2}\n')
    return out


@pytest.mark.parametrize("name", ["a.parquet", "a.safetensors", "a.pt", "a.json", "a.jsonl"])
def test_half_a_file_is_torn_unless_its_name_says_so(output, name):
    assert torn(output) == []
    content = (output / name).read_bytes()
    (output / name).write_bytes(b"" if name == "a.json" else b"{\n" if name == "a.jsonl" else content[:-9])
    assert [line.split(":")[0] for line in torn(output)] == [name]
    (output / name).rename(output / f"{name}.tmp")
    assert (torn(output), leftovers(output)) == ([], [f"{name}.tmp"])


def test_what_is_missing_more_or_other_is_told_but_not_times(output):
    expected = outcome(output)
    write_json(output / "a.json", {"value": 1, "seconds": 9.0})
    assert differences(expected, outcome(output)) == []
    write_json(output / "a.json", {"value": 2, "seconds": 9.0})
    (output / "a.pt").rename(output / "b.pt")
    with (output / "a.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\1")
    assert sorted(differences(expected, outcome(output))) == [
        "a.json differs at .value: 1 became 2",
        "a.pt is missing",
        "a.safetensors differs",
        "b.pt should not be there",
    ]
