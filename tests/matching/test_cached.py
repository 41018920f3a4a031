"""Matching with a cache: the same table, and nothing encoded twice."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import save_small_clip

from fastgoal.data.scenes import ScenesConfig, write_scenes
from fastgoal.data.source import Source, open_source
from fastgoal.matching import MatchReport, MatchSettings, match
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsTable
from fastgoal.regions import Combined, FixedRegions, ProposalRegions

SETTINGS = MatchSettings(batch=5, images=2, shard_rows=3)
Match = Callable[..., tuple[MatchReport, int]]


@pytest.fixture
def source(tmp_path: Path) -> Source:
    write_scenes(tmp_path / "scenes", ScenesConfig(train=8, val=0, test=0), progress=False)
    return open_source(tmp_path / "scenes" / "train")


@pytest.fixture
def matched(source: Source, small_clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Match:
    """Match into a folder; the report, and how many images and texts went through the encoder."""

    def run(out: str, *, model: Path = small_clip_folder, source: Source = source, **options: object):
        encoder, encoded = DualEncoder.load(model), []
        for name in ("encode_images", "encode_texts"):
            real = getattr(encoder, name)
            monkeypatch.setattr(
                encoder, name, lambda batch, real=real: encoded.append(len(batch)) or real(batch), raising=True
            )
        settings = MatchSettings(**{**vars(SETTINGS), **options.pop("settings", {})})
        proposer = options.pop("proposer", Combined([ProposalRegions(), FixedRegions()]))
        report = match(source, encoder, proposer, tmp_path / out, settings, progress=False, **options)
        return report, sum(encoded)

    return run


def table(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob("shard-*.parquet"))]


def test_the_table_is_that_without_a_cache(matched: Match, tmp_path: Path) -> None:
    plain, encoded = matched("plain")
    first, encoded_first = matched("first", cache=tmp_path / "cache")
    again, encoded_again = matched("again", cache=tmp_path / "cache")
    assert table(tmp_path / "first") == table(tmp_path / "again")
    for row, other in zip(PairsTable.open(tmp_path / "plain"), PairsTable.open(tmp_path / "first"), strict=True):
        assert [(p.sentence, p.region) for p in row.pairs] == [(p.sentence, p.region) for p in other.pairs]
        # A sentence that comes in two shards is encoded once, among other sentences: that moves its last bits.
        assert [p.similarity for p in row.pairs] == pytest.approx([p.similarity for p in other.pairs], abs=1e-6)
    assert plain.embeddings is None
    assert (encoded_first, encoded_again) == (first.embeddings["made"], 0)
    assert 100 < encoded_first <= encoded
    assert sum(first.embeddings.values()) == again.embeddings["found"]
    assert again.embeddings["made"] == 0


@pytest.mark.parametrize(
    "other",
    [
        {"settings": {"rule": "lism"}, "whole": 8},
        {"proposer": FixedRegions()},
        {"settings": {"shard_rows": 5, "batch": 3}},
    ],
    ids=["rule", "regions", "shards"],
)
def test_other_settings_encode_only_what_is_new(matched: Match, tmp_path: Path, other: dict[str, object]) -> None:
    matched("first", cache=tmp_path / "cache")
    new = other.pop("whole", 0)
    _, encoded = matched("other", cache=tmp_path / "cache", **other)
    assert encoded == new  # the whole images of LISM's rule


def test_another_model_and_another_image_are_encoded(matched: Match, source: Source, tmp_path: Path) -> None:
    _, all_encoded = matched("first", cache=tmp_path / "cache")
    _, other_model = matched("other", model=save_small_clip(tmp_path / "clip", seed=1), cache=tmp_path / "cache")
    assert other_model == all_encoded
    image = source.root / next(iter(source)).image
    image.write_bytes(image.read_bytes() + b"\0")  # another file that looks the same
    report, encoded = matched("changed", source=open_source(tmp_path / "scenes" / "train"), cache=tmp_path / "cache")
    assert 0 < encoded < 40
    assert encoded == report.embeddings["made"]


def test_dense_keeps_sentences_only(matched: Match, tmp_path: Path) -> None:
    first, _ = matched("first", settings={"embed": "dense"}, cache=tmp_path / "cache")
    again, encoded = matched("again", settings={"embed": "dense"}, cache=tmp_path / "cache")
    assert table(tmp_path / "first") == table(tmp_path / "again")
    assert encoded == 8
    assert sum(first.embeddings.values()) == again.embeddings["found"]
    assert np.isfinite(again.regions_per_image)
