"""A table without matching: every row but its regions and pairs; good for whole images and captions, and for nothing
else."""

import json
from pathlib import Path

import pytest
import torch

from fastgoal.cli import main
from fastgoal.data.scenes import ScenesConfig, write_scenes
from fastgoal.data.source import open_source
from fastgoal.errors import DataError
from fastgoal.matching import MatchSettings, list_unmatched, match
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsTable, PairsWriter
from fastgoal.regions import make_proposer
from fastgoal.training import TrainConfig, train

CONFIG = TrainConfig(method="global", batch_size=4, max_steps=4, text_tokens=77, log_every=1, precision="fp32")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unmatched")
    write_scenes(folder, ScenesConfig(train=11, val=0, test=0, seed=2), progress=False)
    return folder / "train"


def weights_of(table: PairsTable, model: Path, run: Path) -> dict[str, torch.Tensor]:
    encoder = DualEncoder.load(model)
    train(table, encoder, run, CONFIG, progress=False)
    return encoder.state_dict()


def test_rows_are_the_matched_ones_without_regions(scenes: Path, small_clip_folder: Path, tmp_path: Path) -> None:
    source, settings = open_source(scenes), MatchSettings(shard_rows=4)
    match(source, DualEncoder.load(small_clip_folder), make_proposer("fixed"), tmp_path / "matched", settings, False)
    report = list_unmatched(source, tmp_path / "plain", shard_rows=4, progress=False)
    matched, plain = (PairsTable.open(tmp_path / name) for name in ("matched", "plain"))
    assert [(row.id, row.image, row.caption, row.sentences) for row in plain] == [
        (row.id, row.image, row.caption, row.sentences) for row in matched
    ]
    assert all((row.regions, row.pairs, row.width, row.height, row.skip) == ((), (), 0, 0, None) for row in plain)
    assert (report.samples, report.paired, report.unpaired, report.skipped) == (11, 0, {"no region": 11}, {})
    of_matched = weights_of(matched, small_clip_folder, tmp_path / "a")
    of_plain = weights_of(plain, small_clip_folder, tmp_path / "b")
    assert all(torch.equal(of_plain[name], value) for name, value in of_matched.items())


def test_an_interrupted_table_continues(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, flushed = open_source(scenes), []
    list_unmatched(source, tmp_path / "straight", shard_rows=3, progress=False)
    write = PairsWriter.flush

    def dying(writer: PairsWriter) -> None:
        if len(flushed) == 2:
            raise KeyboardInterrupt
        flushed.append(None)
        write(writer)

    with monkeypatch.context() as patch:
        patch.setattr(PairsWriter, "flush", dying)
        with pytest.raises(KeyboardInterrupt):
            list_unmatched(source, tmp_path / "killed", shard_rows=3, progress=False)
    report = list_unmatched(source, tmp_path / "killed", shard_rows=3, progress=False)
    assert report.samples == 11
    for path in (tmp_path / "straight").iterdir():
        assert (tmp_path / "killed" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("method", ["goal", "local", "no-tsl"])
@pytest.mark.parametrize("stream", [False, True])
def test_methods_that_learn_from_pairs_are_refused(
    scenes: Path, small_clip_folder: Path, tmp_path: Path, method: str, stream: bool
) -> None:
    list_unmatched(open_source(scenes), tmp_path / "plain", progress=False)
    config = TrainConfig.from_mapping({"method": method, "stream": stream, "text_tokens": 77})
    with pytest.raises(DataError, match=rf"no sample has a local pair, which method '{method}'.*--method global"):
        train(PairsTable.open(tmp_path / "plain"), DualEncoder.load(small_clip_folder), tmp_path / "run", config)
    assert not (tmp_path / "run").exists()


def test_the_command_loads_no_matcher(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["match", str(scenes), "--out", str(tmp_path / "plain"), "--matcher", "nowhere", "--regions", "none"]
    with pytest.raises(SystemExit) as end:
        main([*command, "--json", str(tmp_path / "report.json")])
    assert end.value.code == 0
    assert json.loads((tmp_path / "report.json").read_text())["samples"] == 11
    with pytest.raises(SystemExit) as end:
        main([*command, "--rule", "lism"])
    assert end.value.code == 2
    assert "nothing is matched with --regions none" in capsys.readouterr().err
