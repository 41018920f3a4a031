"""Candidates read out of one pass over the whole image, against region by region through transformers' own parts."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.families import save_siglip
from transformers import CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from fastgoal.data.samples import GivenRegion, Sample
from fastgoal.data.source import Source
from fastgoal.errors import ConfigError, DataError
from fastgoal.geometry import Box
from fastgoal.matching import MatchSettings, match
from fastgoal.matching.candidates import Embed, Look, embed_candidates, looks_at
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsRow, PairsTable
from fastgoal.regions.given import GivenRegions
from fastgoal.regions.region import Region

SIDE, PATCH, GRID = 32, 8, 4  # of the small CLIP
DENSE = MatchSettings(embed="dense", batch=2, images=3, shard_rows=3)
CAPTION = "A red ball lies on the left. A small blue box stands next to a green lamp. An old dog. A tall tree!"
WIDE = (120, 36)
LEFT: Box = (0, 0, 40, 36)
"""Of a wide image, of which the central square, 42 to 78, is all that the matcher sees."""


class Boxes:
    """Proposes these boxes, in shares of the image, rounded to pixels; can fail at the n-th image, as a kill would."""

    fingerprint = "boxes"

    def __init__(self, *shares: Box, fail_at: int | None = None) -> None:
        self.shares = shares or ((0, 0, 0.5, 0.5), (0.5, 0, 1, 0.5), (0.3, 0.3, 0.8, 0.9), (0, 0, 1, 1))
        self.fail_at, self.seen = fail_at, 0

    def propose(self, images: Sequence[Image.Image]) -> list[list[Region]]:
        self.seen += len(images)
        if self.fail_at is not None and self.seen > self.fail_at:
            raise KeyboardInterrupt
        return [[self._region(share, *image.size) for share in self.shares] for image in images]

    def _region(self, share: Box, width: int, height: int) -> Region:
        x1, y1, x2, y2 = share
        box = (round(x1 * width), round(y1 * height), round(x2 * width), round(y2 * height))
        return Region(box=box, source="proposal")


@pytest.fixture(scope="module")
def encoder(small_clip_folder: Path) -> DualEncoder:
    return DualEncoder.load(str(small_clip_folder))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Eight samples over images of several shapes; the fourth is broken."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(3)
    for number, size in enumerate([(40, 64), (64, 40), (33, 47), (8, 8), (32, 32), (51, 50), WIDE, (30, 41)]):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        coarse.resize(size).save(root / f"{number}.png")
    (root / "3.png").write_bytes((root / "3.png").read_bytes()[:60])
    samples = tuple(Sample(id=f"s{i}", image=f"{i}.png", caption=CAPTION[9 * (i % 2) :]) for i in range(8))
    return Source(name="small", root=root, entries=samples)


def rows_of(folder: Path) -> list[PairsRow]:
    return [row for row in PairsTable.open(folder) if row.skip is None]


def shared_area(box: Box, width: int, height: int, row: int, column: int) -> float:
    """Square pixels of the model's input that the box and a patch share: the short side resized, the centre cut out."""
    short = min(width, height)
    wide, high = (int(SIDE * side / short) for side in (width, height))
    x1, x2 = (x * wide / width - (wide - SIDE) // 2 for x in (box[0], box[2]))
    y1, y2 = (y * high / height - (high - SIDE) // 2 for y in (box[1], box[3]))
    across = min(x2, (column + 1) * PATCH) - max(x1, column * PATCH)
    down = min(y2, (row + 1) * PATCH) - max(y1, row * PATCH)
    return max(0.0, across) * max(0.0, down)


@torch.no_grad()
def slow_dense(folder: Path, image: Image.Image, boxes: Sequence[Box]) -> torch.Tensor:
    """Stock transformers, a region at a time, C x D; a region that the model does not see is a row of NaN."""
    clip, processor = CLIPModel.from_pretrained(folder).eval(), CLIPImageProcessorPil.from_pretrained(folder)
    found = []
    for box in boxes:
        output = clip.vision_model(**processor(image, return_tensors="pt"), output_hidden_states=True)
        patches = output.hidden_states[-1][0, 1:].reshape(GRID, GRID, -1)
        total, weight = torch.zeros(patches.shape[-1]), 0.0
        for row in range(GRID):
            for column in range(GRID):
                share = shared_area(box, *image.size, row, column)
                total, weight = total + share * patches[row, column], weight + share
        pooled = total / weight if weight > 1e-6 else total * float("nan")
        projected = clip.visual_projection(clip.vision_model.post_layernorm(pooled))
        found.append(projected / projected.norm())
    return torch.stack(found)


@torch.no_grad()
def slow_texts(folder: Path, texts: Sequence[str]) -> torch.Tensor:
    clip, tokenizer = CLIPModel.from_pretrained(folder).eval(), CLIPTokenizer.from_pretrained(folder)
    found = [clip.get_text_features(**tokenizer(text, return_tensors="pt")).pooler_output for text in texts]
    return torch.nn.functional.normalize(torch.cat(found), dim=-1)


def sentences_of(row: PairsRow) -> list[str]:
    return [row.caption[start:end] for start, end in row.sentences]


def slow_similarity(folder: Path, root: Path, row: PairsRow, boxes: Sequence[Box]) -> np.ndarray:
    image = Image.open(root / row.image).convert("RGB")
    return (slow_texts(folder, sentences_of(row)) @ slow_dense(folder, image, boxes).T).numpy()


@pytest.mark.parametrize("workers", [0, 2])
def test_dense_pairs_are_those_of_every_region_by_itself(
    tmp_path: Path, small_clip_folder: Path, encoder: DualEncoder, source: Source, workers: int
) -> None:
    report = match(source, encoder, Boxes(), tmp_path / "pairs", replace(DENSE, workers=workers), progress=False)
    rows = rows_of(tmp_path / "pairs")
    assert (report.samples, report.paired, len(rows)) == (8, 7, 7)
    for row in rows:
        boxes = [region.box for region in row.regions]
        sim_SC = slow_similarity(small_clip_folder, source.root, row, boxes)
        best_S = np.nanmax(sim_SC, axis=1)
        assert [pair.similarity for pair in row.pairs] == pytest.approx(np.sort(best_S)[::-1], abs=1e-5)
        for pair in row.pairs:
            assert sim_SC[pair.sentence, pair.region] == pytest.approx(best_S[pair.sentence], abs=1e-5)


def test_the_ways_differ(tmp_path: Path, encoder: DualEncoder, source: Source) -> None:
    for embed in ("crops", "dense"):
        match(source, encoder, Boxes(), tmp_path / embed, replace(DENSE, embed=embed), progress=False)
    pairs = [[row.pairs for row in rows_of(tmp_path / embed)] for embed in ("crops", "dense")]
    assert pairs[0] != pairs[1]


# What the matcher does not see


def wide(source: Source, *boxes: Box) -> Source:
    sample = Sample(id="wide", image="6.png", caption=CAPTION, regions=tuple(GivenRegion(box=box) for box in boxes))
    return Source(name="wide", root=source.root, entries=(sample,))


def test_a_region_that_is_cut_away_is_not_chosen(
    tmp_path: Path, small_clip_folder: Path, encoder: DualEncoder, source: Source
) -> None:
    boxes: list[Box] = [LEFT, (50, 5, 70, 30), (80, 0, 120, 36), (30, 0, 60, 20)]
    data = wide(source, *boxes)
    match(data, encoder, GivenRegions(), tmp_path / "pairs", DENSE, progress=False)
    (row,) = PairsTable.open(tmp_path / "pairs")
    sim_SC = slow_similarity(small_clip_folder, source.root, row, boxes)
    assert np.isnan(sim_SC).any(axis=0).tolist() == [True, False, True, False]
    assert [pair.region for pair in sorted(row.pairs, key=lambda p: p.sentence)] == np.nanargmax(sim_SC, 1).tolist()

    (found,) = embed_candidates(encoder, look_at(data, encoder, "dense"), "dense", 8)
    assert found.seen_C.tolist() == [False, True, False, True]
    assert np.isfinite(found.embedding_CD).all()


def test_where_all_regions_are_cut_away_there_is_no_pair(tmp_path: Path, encoder: DualEncoder, source: Source) -> None:
    data = wide(source, LEFT)
    report = match(data, encoder, GivenRegions(), tmp_path / "dense", DENSE, progress=False)
    assert (report.paired, report.unpaired) == (0, {"no region within the matcher's sight": 1})
    report = match(data, encoder, GivenRegions(), tmp_path / "lism", replace(DENSE, rule="lism"), progress=False)
    assert report.unpaired == {"whole image won": 1}
    report = match(data, encoder, GivenRegions(), tmp_path / "crops", replace(DENSE, embed="crops"), progress=False)
    assert report.paired == 1


def test_the_true_rule_does_not_choose_what_is_cut_away(tmp_path: Path, encoder: DualEncoder, source: Source) -> None:
    given = (GivenRegion(box=LEFT, span=(2, 10)), GivenRegion(box=(50, 5, 70, 30), span=(40, 50)))
    sample = Sample(id="wide", image="6.png", caption=CAPTION, regions=given)
    data, settings = Source(name="wide", root=source.root, entries=(sample,)), replace(DENSE, rule="true")
    match(data, encoder, GivenRegions(), tmp_path / "pairs", settings, progress=False)
    (row,) = PairsTable.open(tmp_path / "pairs")
    assert [(pair.sentence, pair.region) for pair in row.pairs] == [(1, 1)]


# The whole image as a candidate


def test_the_whole_image_is_the_pool_of_all_that_is_seen(
    tmp_path: Path, small_clip_folder: Path, encoder: DualEncoder, source: Source
) -> None:
    proposer, settings = Boxes((0, 0, 0.5, 0.5)), replace(DENSE, rule="lism")
    report = match(source, encoder, proposer, tmp_path / "pairs", settings, progress=False)
    whole_won = 0
    for row in rows_of(tmp_path / "pairs"):
        boxes = [*(region.box for region in row.regions), (0, 0, row.width, row.height)]
        sim_SC = slow_similarity(small_clip_folder, source.root, row, boxes)
        best_S, value_S = np.nanargmax(sim_SC, axis=1), np.nanmax(sim_SC, axis=1)
        order = np.argsort(-value_S)
        won = best_S[order[0]] == len(row.regions)
        kept = [] if won else [(int(s), int(best_S[s])) for s in order if best_S[s] < len(row.regions)]
        assert [(pair.sentence, pair.region) for pair in row.pairs] == kept
        whole_won += won
    assert 0 < whole_won < report.samples - 1
    assert report.unpaired == {"whole image won": whole_won}


# One view of an image, and few at once


def look_at(source: Source, encoder: DualEncoder, embed: Embed, proposer: object = None) -> Iterator[Look]:
    options = {"embed": embed, "whole": False, "group": 2, "workers": 0}
    return looks_at(tuple(source), source.images, encoder.fit, proposer or GivenRegions(), **options)  # type: ignore[arg-type]


def test_dense_encodes_each_image_once_and_one_without_candidates_never(encoder: DualEncoder, source: Source) -> None:
    seen = [bool(look.views) for look in look_at(source, encoder, "dense", Boxes())]
    assert [len(look.views) for look in look_at(source, encoder, "dense", Boxes())] == seen
    assert seen == [True, True, True, False, True, True, True, True]
    assert not any(look.views for look in look_at(source, encoder, "dense"))
    assert [len(look.views) for look in look_at(wide(source, LEFT, LEFT), encoder, "crops")] == [2]
    found = embed_candidates(encoder, look_at(source, encoder, "dense"), "dense", 3)
    assert [one.embedding_CD.shape for one in found] == [(0, encoder.dim)] * 8


def test_images_are_drawn_a_batch_at_a_time(
    encoder: DualEncoder, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, passes, encode = [0], [], encoder.encode_images

    def counted() -> Iterator[Look]:
        for look in look_at(source, encoder, "dense", Boxes()):
            drawn[0] += 1
            yield look

    def spy(pixels_BCHW: torch.Tensor) -> object:
        passes.append((drawn[0], len(pixels_BCHW)))
        return encode(pixels_BCHW)

    monkeypatch.setattr(encoder, "encode_images", spy)
    embed_candidates(encoder, counted(), "dense", 3)
    assert passes == [(3, 3), (6, 2), (8, 2)]  # the fourth cannot be read


# The table


def test_an_interrupted_dense_table_continues_to_the_same_one(
    tmp_path: Path, encoder: DualEncoder, source: Source
) -> None:
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    match(source, encoder, Boxes(), straight, DENSE, progress=False)
    with pytest.raises(KeyboardInterrupt):
        match(source, encoder, Boxes(fail_at=4), resumed, DENSE, progress=False)
    assert 0 < len(PairsTable.open(resumed, allow_incomplete=True)) < len(source)
    match(source, encoder, Boxes(), resumed, DENSE, progress=False)
    for file in straight.iterdir():
        assert (resumed / file.name).read_bytes() == file.read_bytes()


def test_dense_is_not_continued_as_crops_and_an_older_table_is(
    tmp_path: Path, encoder: DualEncoder, source: Source
) -> None:
    crops, folder = replace(DENSE, embed="crops"), tmp_path / "pairs"
    match(source, encoder, Boxes(), folder, crops, progress=False)
    # As tables were before there was a choice, which `crops` therefore continues.
    assert PairsTable.open(folder).manifest.origin.settings == {"rule": "flism", "language": "en"}
    with pytest.raises(DataError, match=r"embed was 'crops', now 'dense'.*--overwrite"):
        match(source, encoder, Boxes(), folder, DENSE, progress=False)
    match(source, encoder, Boxes(), folder, replace(DENSE, overwrite=True), progress=False)
    assert PairsTable.open(folder).manifest.origin.settings["embed"] == "dense"
    with pytest.raises(DataError, match=r"embed was 'dense', now 'crops'"):
        match(source, encoder, Boxes(), folder, crops, progress=False)


def test_a_matcher_without_a_projection_of_patches_is_refused(tmp_path: Path, source: Source) -> None:
    siglip = DualEncoder.load(save_siglip(tmp_path / "siglip"))
    with pytest.raises(ConfigError, match=r"SigLIP has no projection for patches.*--embed crops"):
        match(source, siglip, Boxes(), tmp_path / "pairs", DENSE, progress=False)
    assert not (tmp_path / "pairs").exists()


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(ConfigError, match="embed: unknown way 'whole'"):
        MatchSettings(embed="whole")  # type: ignore[arg-type]
