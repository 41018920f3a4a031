"""Matching: the choice of pairs, its judgement on a case worked out by hand, and the run against one pair at a time."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.regions.small import save_small_owl, save_small_sam
from tokenizers.normalizers import NFC
from transformers import CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from fastgoal.data.samples import GivenRegion, Sample
from fastgoal.data.source import Source
from fastgoal.embed import embed_images, embed_texts
from fastgoal.errors import ConfigError, DataError, ModelError
from fastgoal.geometry import Box
from fastgoal.matching import MatchSettings, fingerprint, match, precision, select_pairs, summarise
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import LocalPair, PairsRow, PairsTable
from fastgoal.regions.combine import Combined
from fastgoal.regions.fixed import FixedRegions
from fastgoal.regions.given import GivenRegions
from fastgoal.regions.open_vocabulary import OpenVocabularyRegions
from fastgoal.regions.proposals import ProposalRegions
from fastgoal.regions.region import Region, propose_for
from fastgoal.regions.sam import SamRegions

QUIET = MatchSettings(batch=7, images=2, shard_rows=3)


class Quarters:
    """Proposes the four quadrants; can fail at the n-th image, as a killed run would."""

    fingerprint = "quarters"

    def __init__(self, fail_at: int | None = None) -> None:
        self.fail_at, self.seen = fail_at, 0

    def propose(self, images: Sequence[Image.Image]) -> list[list[Region]]:
        self.seen += len(images)
        if self.fail_at is not None and self.seen > self.fail_at:
            raise KeyboardInterrupt
        return [self._quarters(*image.size) for image in images]

    def _quarters(self, width: int, height: int) -> list[Region]:
        across, down = (0, width // 2, width), (0, height // 2, height)
        boxes: list[Box] = [(across[i], down[j], across[i + 1], down[j + 1]) for j in (0, 1) for i in (0, 1)]
        return [Region(box=box, source="fixed") for box in boxes]


class FirstQuarter(Quarters):
    fingerprint = "first quarter"

    def _quarters(self, width: int, height: int) -> list[Region]:
        return super()._quarters(width, height)[:1]


class Nothing:
    fingerprint = "nothing"

    def propose(self, images: Sequence[Image.Image]) -> list[list[Region]]:
        return [[] for _ in images]


CAPTIONS = (
    "A red ball lies on the left. A small blue box stands next to a green lamp; 3.5 m away is St. John.",
    "Behind it, a white window is open.",
    "A red ball lies on the left. An old brown dog. A tall tree! Its shadow falls across the grey stone path.",
)


@pytest.fixture(scope="module")
def encoder(small_clip_folder: Path) -> DualEncoder:
    return DualEncoder.load(str(small_clip_folder))


@pytest.fixture(scope="module")
def small_sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_sam(tmp_path_factory.mktemp("sam") / "sam")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Eleven samples over eight images of several shapes; image 4 is broken, and sample 9 has no sentence."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for number, size in enumerate([(40, 64), (64, 40), (33, 47), (90, 50), (8, 8), (51, 51), (120, 36), (40, 41)]):
        coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        coarse.resize(size).save(root / f"{number}.png")
    (root / "4.png").write_bytes((root / "4.png").read_bytes()[:60])
    images = [0, 1, 2, 3, 4, 5, 6, 7, 0, 7, 5]
    captions = [CAPTIONS[i % 3] if i != 9 else " ... " for i in range(11)]
    samples = [Sample(id=f"s{i}", image=f"{image}.png", caption=captions[i]) for i, image in enumerate(images)]
    return Source(name="small", root=root, entries=tuple(samples))


# The choice of pairs


def slow_pairs(sim: list[list[float]], visible: list[bool]) -> list[tuple[int, int]]:
    best = [(s, max(range(len(row)), key=lambda r: (row[r], -r))) for s, row in enumerate(sim)]
    return sorted(best, key=lambda pair: (not visible[pair[0]], -sim[pair[0]][pair[1]], pair[0]))


@given(st.integers(1, 5), st.integers(1, 6), st.data())
@settings(max_examples=60, deadline=None)
def test_pairs_are_those_of_the_obvious_loop_ties_included(sentences: int, regions: int, data: st.DataObject) -> None:
    value = st.sampled_from([-0.5, 0.0, 0.25, 0.5])
    row = st.lists(value, min_size=regions, max_size=regions)
    sim = data.draw(st.lists(row, min_size=sentences, max_size=sentences))
    visible = data.draw(st.lists(st.booleans(), min_size=sentences, max_size=sentences))
    chosen = select_pairs(np.array(sim), np.array(visible))
    assert [(pair.sentence, pair.region) for pair in chosen] == slow_pairs(sim, visible)
    assert all(pair.similarity == sim[pair.sentence][pair.region] for pair in chosen)
    assert select_pairs(np.array(sim)) == select_pairs(np.array(sim), np.ones(sentences, dtype=bool))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_no_sentence_or_no_region_gives_no_pair(shape: tuple[int, int]) -> None:
    assert select_pairs(np.zeros(shape)) == []


# The judgement


def judged_row(name: str, best: tuple[int, int], boxes: Sequence[Box]) -> PairsRow:
    return PairsRow(
        id=name,
        image=f"{name}.png",
        width=100,
        height=100,
        caption="Red ball. A blue box. Sunny.",
        sentences=((0, 9), (10, 21), (22, 28)),
        regions=tuple(Region(box=box, source="proposal" if i else "fixed") for i, box in enumerate(boxes)),
        pairs=(LocalPair(sentence=best[0], region=best[1], similarity=0.5),),
    )


BALL = GivenRegion(box=(0, 0, 20, 20), span=(0, 8))
BOX = GivenRegion(box=(50, 50, 90, 90), span=(12, 20))
LAMP = GivenRegion(box=(0, 80, 10, 100))  # a box whose words are not known
QUADRANT, TIGHT, HALF, EVERYTHING = (0, 0, 50, 50), (50, 50, 90, 88), (0, 0, 50, 100), (0, 0, 100, 100)
REGIONS: tuple[Box, ...] = (QUADRANT, TIGHT, HALF, EVERYTHING)


def test_the_report_agrees_with_a_case_worked_out_by_hand() -> None:
    rows = [
        judged_row("quadrant", (0, 0), REGIONS),  # all of the ball, 25 % of the image: right; IoU 400 / 2500: not close
        judged_row("tight", (1, 1), REGIONS),  # 95 % of the box: right; IoU 0.95: close
        judged_row("half", (0, 2), REGIONS),  # all of the ball, but half of the image: wrong
        judged_row("other", (0, 1), REGIONS),  # the box's region for the ball's sentence: wrong
        judged_row("sunny", (2, 1), REGIONS),  # a sentence without a true box: wrong
        replace(judged_row("pairless", (0, 0), ()), pairs=()),  # not judged, but its three boxes were not found
        judged_row("untold", (0, 0), REGIONS),  # no truth given: counted only
        replace(judged_row("broken", (0, 0), ()), pairs=(), width=0, height=0, skip="not an image"),
    ]
    truth = {row.id: (BALL, BOX, LAMP) for row in rows if row.id != "untold"}
    report = summarise(rows, truth, images=4, seconds=2.0)
    # Of 3 sentences x 4 regions, one is right for the ball (quadrant) and one for the box (tight): chance 2 / 12.
    assert report.to_json() == {
        "samples": 8,
        "paired": 6,
        "skipped": {"not an image": 1},
        "skipped_samples": ({"id": "broken", "where": "broken.png", "reason": "not an image"},),
        "unpaired": {"no region": 1},
        "regions_per_image": 24 / 7,
        "images_per_second": 2.0,
        "seconds": 2.0,
        "pair_precision": pytest.approx(2 / 5),
        "pair_iou50": pytest.approx(1 / 5),
        "proposal_recall": pytest.approx(5 / 18),  # the box in five rows, of three boxes in six rows
        "chance": pytest.approx(2 / 12),
        "sources": {"fixed": 1, "proposal": 4},
    }


def test_chance_is_what_random_choices_come_to() -> None:
    rng = np.random.default_rng(1)
    corners = np.sort(rng.integers(0, 100, (40, 2, 2)), axis=1)
    boxes: list[Box] = [(x1, y1, x2 + 1, y2 + 1) for (x1, y1), (x2, y2) in corners.tolist()]
    row = judged_row("random", (0, 0), boxes)
    truth = {"random": (replace(BALL, box=(30, 30, 45, 45)), replace(BOX, box=(60, 20, 70, 30)))}
    drawn = [
        summarise([replace(row, pairs=(LocalPair(sentence=s, region=r, similarity=0),))], truth).pair_precision
        for s in range(3)
        for r in range(40)
    ]
    assert 0 < np.mean(drawn) < 1
    assert summarise([row], truth).chance == pytest.approx(np.mean(drawn))


def test_precision_of_the_first_pairs_agrees_with_a_case_worked_out_by_hand() -> None:
    def pairs(*chosen: tuple[int, int]) -> tuple[LocalPair, ...]:
        return tuple(LocalPair(sentence=s, region=r, similarity=0.5) for s, r in chosen)

    rows = [
        replace(judged_row("a", (0, 0), REGIONS), pairs=pairs((0, 0), (1, 1), (2, 1))),  # right, right, wrong
        replace(judged_row("b", (0, 0), REGIONS), pairs=pairs((0, 2), (1, 1))),  # wrong, right: it has but two
        replace(judged_row("c", (0, 0), REGIONS), pairs=()),
        judged_row("untold", (0, 0), REGIONS),
    ]
    truth = dict.fromkeys("abc", (BALL, BOX, LAMP))
    assert precision(rows, truth, 1) == (1 / 2, 0.0)
    assert precision(rows, truth, 2) == (3 / 4, 2 / 4)
    assert precision(rows, truth, 3) == precision(rows, truth, 99) == (3 / 5, 2 / 5)
    assert precision(rows, truth)[0] == summarise(rows, truth).pair_precision  # type: ignore[index]
    assert precision(rows, {}) is None
    assert precision(rows, {"c": (BALL,)}) is None


def test_without_truth_the_report_leaves_out_what_it_cannot_know() -> None:
    report = summarise([judged_row("a", (0, 0), REGIONS)], {})
    assert not {"pair_precision", "pair_iou50", "proposal_recall", "chance", "sources"} & report.to_json().keys()
    only_boxes = summarise([judged_row("a", (0, 0), REGIONS)], {"a": (LAMP,)})
    assert (only_boxes.proposal_recall, only_boxes.pair_precision) == (0.0, None)


# The run


@torch.no_grad()
def slow_similarity(folder: Path, image: Image.Image, boxes: Sequence[Box], sentences: Sequence[str]) -> np.ndarray:
    """Stock transformers, one crop and one sentence at a time."""
    clip, tokenizer = CLIPModel.from_pretrained(folder).eval(), CLIPTokenizer.from_pretrained(folder)
    processor = CLIPImageProcessorPil.from_pretrained(folder)
    crops = [processor(image.crop(tuple(map(int, box))), return_tensors="pt") for box in boxes]
    crops_RD = torch.cat([clip.get_image_features(**crop).pooler_output for crop in crops])
    texts = [tokenizer(sentence, return_tensors="pt") for sentence in sentences]
    texts_SD = torch.cat([clip.get_text_features(**text).pooler_output for text in texts])
    return torch.cosine_similarity(texts_SD[:, None], crops_RD[None], dim=-1).numpy()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_finds_the_pairs_that_stock_transformers_finds_one_by_one(
    tmp_path: Path, small_clip_folder: Path, encoder: DualEncoder, source: Source, workers: int
) -> None:
    report = match(source, encoder, Quarters(), tmp_path / "pairs", replace(QUIET, workers=workers), progress=False)
    table = PairsTable.open(tmp_path / "pairs")
    assert [row.id for row in table] == [sample.id for sample in source]
    assert (report.samples, report.paired, report.regions_per_image) == (11, 9, 4.0)
    for row in table:
        if row.skip is not None or not row.sentences:
            continue
        image = Image.open(table.root / row.image).convert("RGB")
        assert (row.width, row.height) == image.size
        sentences = [row.caption[start:end] for start, end in row.sentences]
        sim_SR = slow_similarity(small_clip_folder, image, [region.box for region in row.regions], sentences)
        assert [pair.similarity for pair in row.pairs] == pytest.approx(np.sort(sim_SR.max(axis=1))[::-1], abs=1e-5)
        for pair in row.pairs:
            assert sim_SR[pair.sentence, pair.region] == pytest.approx(sim_SR[pair.sentence].max(), abs=1e-5)


def test_a_bad_image_is_a_row_with_its_reason(tmp_path: Path, encoder: DualEncoder, source: Source) -> None:
    report = match(source, encoder, Quarters(), tmp_path / "pairs", QUIET, progress=False)
    row = PairsTable.open(tmp_path / "pairs")[4]
    assert row.id == "s4"
    assert row.skip is not None
    assert (row.regions, row.pairs) == ((), ())
    assert dict(report.skipped) == {row.skip: 1}
    assert list(report.skipped_samples) == [{"id": "s4", "where": "4.png", "reason": row.skip}]
    assert str(source.root) not in row.skip


def test_an_interrupted_run_continues_to_the_same_table(tmp_path: Path, encoder: DualEncoder, source: Source) -> None:
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    match(source, encoder, Quarters(), straight, QUIET, progress=False)
    with pytest.raises(KeyboardInterrupt):
        match(source, encoder, Quarters(fail_at=6), resumed, QUIET, progress=False)
    done = len(PairsTable.open(resumed, allow_incomplete=True))
    assert 0 < done < len(source)
    proposer = Quarters()
    match(source, encoder, proposer, resumed, QUIET, progress=False)
    shards = [tuple(source)[start : start + QUIET.shard_rows] for start in range(done, len(source), QUIET.shard_rows)]
    assert proposer.seen == sum(len({sample.image for sample in shard} - {"4.png"}) for shard in shards)
    for file in straight.iterdir():
        assert (resumed / file.name).read_bytes() == file.read_bytes()
    again = match(source, encoder, Quarters(fail_at=0), resumed, QUIET, progress=False)
    assert again.samples == len(source)


def test_a_table_of_other_making_is_refused_and_overwritten_on_demand(
    tmp_path: Path, encoder: DualEncoder, source: Source
) -> None:
    match(source, encoder, Quarters(), tmp_path / "pairs", QUIET, progress=False)
    with pytest.raises(DataError, match=r"detector was 'quarters', now 'nothing'.*--overwrite"):
        match(source, encoder, Nothing(), tmp_path / "pairs", QUIET, progress=False)
    with pytest.raises(DataError, match=r"rule was 'flism', now 'lism'"):
        match(source, encoder, Quarters(), tmp_path / "pairs", replace(QUIET, rule="lism"), progress=False)
    report = match(source, encoder, Nothing(), tmp_path / "pairs", replace(QUIET, overwrite=True), progress=False)
    assert (report.samples, report.paired, report.regions_per_image) == (11, 0, 0.0)
    assert report.unpaired == {"no region": 9, "no sentence": 1}


def test_the_whole_image_as_a_candidate_takes_pairs_away(tmp_path: Path, encoder: DualEncoder, source: Source) -> None:
    plain, lism = tmp_path / "plain", tmp_path / "lism"
    plainly = match(source, encoder, FirstQuarter(), plain, QUIET, progress=False)
    report = match(source, encoder, FirstQuarter(), lism, replace(QUIET, rule="lism"), progress=False)
    changed, whole_won = 0, 0
    for row, other in zip(PairsTable.open(plain), PairsTable.open(lism), strict=True):
        if row.skip or not row.sentences:
            continue
        whole_S = _similarity_to_whole(encoder, source, row)
        kept = [pair for pair in row.pairs if pair.similarity > whole_S[pair.sentence]]
        best_whole, best_region = max(whole_S), row.pairs[0].similarity
        expected = kept if best_region > best_whole else []
        assert [(p.sentence, p.region) for p in other.pairs] == [(p.sentence, p.region) for p in expected]
        changed += len(expected) != len(row.pairs)
        whole_won += not expected
    assert changed > 0
    assert report.unpaired == {"whole image won": whole_won, "no sentence": 1}
    assert report.paired + whole_won + 2 == report.samples  # and one image cannot be read
    assert not plainly.skipped.keys() - report.skipped.keys()
    assert plainly.unpaired == {"no sentence": 1}


def _similarity_to_whole(encoder: DualEncoder, source: Source, row: PairsRow) -> list[float]:
    whole_1D = embed_images(encoder, [Image.open(source.root / row.image).convert("RGB")])
    texts_SD, _ = embed_texts(encoder, [row.caption[start:end] for start, end in row.sentences])
    return (texts_SD @ whole_1D[0]).tolist()


def test_a_broken_matcher_is_named(tmp_path: Path, small_clip_folder: Path, source: Source) -> None:
    broken = DualEncoder.load(str(small_clip_folder))
    broken.model.visual_projection.weight.data.fill_(float("nan"))
    with pytest.raises(ModelError, match="sample s0: the matcher's embeddings are not finite"):
        match(source, broken, Quarters(), tmp_path / "pairs", QUIET, progress=False)


@pytest.mark.parametrize("bad", [{"rule": "slism"}, {"batch": 0}, {"workers": -1}, {"shard_rows": 0}])
def test_settings_out_of_range_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        MatchSettings(**bad)


def test_given_boxes_are_candidates_and_captions_may_differ_in_them(
    tmp_path: Path, encoder: DualEncoder, source: Source
) -> None:
    boxes: list[Box] = [(1, 2, 20, 30), (5, 5, 33, 47), (0, 0, 10, 10)]
    first, second = (GivenRegion(box=box, span=(0, 5), label="thing") for box in boxes[:2])
    samples = [
        Sample(id="a", image="2.png", caption=CAPTIONS[0], regions=(first, second)),
        Sample(id="b", image="2.png", caption=CAPTIONS[1], regions=(GivenRegion(box=boxes[2]),)),
        Sample(id="c", image="3.png", caption=CAPTIONS[2]),
    ]
    given_source = Source(name="given", root=source.root, entries=tuple(samples))
    report = match(given_source, encoder, GivenRegions(), tmp_path / "pairs", QUIET, progress=False)
    rows = list(PairsTable.open(tmp_path / "pairs"))
    assert [[region.box for region in row.regions] for row in rows] == [boxes[:2], boxes[2:], []]
    assert (report.paired, report.proposal_recall) == (2, 1.0)


def test_what_found_nothing_is_counted_and_is_no_error(
    tmp_path: Path, encoder: DualEncoder, source: Source, small_sam: Path
) -> None:
    sam, settings = SamRegions(small_sam, points=2, iou_threshold=99), replace(QUIET, rule="lism")
    report = match(source, encoder, sam, tmp_path / "pairs", settings, progress=False)
    assert (report.paired, report.unpaired) == (0, {"no region": 9, "no sentence": 1})
    # Ten looks at seven readable images: what two shards share is looked at twice.
    assert report.stages == {"masks": 120, "predicted IoU": 0, "stability": 0, "mask area": 0, "regions": 0}
    again = match(source, encoder, sam, tmp_path / "again", settings, progress=False)
    assert again.stages == report.stages  # of that run alone
    assert match(source, encoder, Quarters(), tmp_path / "others", QUIET, progress=False).stages is None


def test_captions_of_one_image_do_not_share_regions_found_by_their_words(
    tmp_path: Path, encoder: DualEncoder, source: Source
) -> None:
    class Lengths(Nothing):
        fingerprint = "lengths"

        def propose_for(self, samples: Sequence[Sample], images: Sequence[Image.Image]) -> list[list[Region]]:
            asked.extend(sample.caption for sample in samples)
            return [[Region(box=(0, 0, 1 + len(s.caption) % 7, 9), source="detector")] for s in samples]

        def reads(self, sample: Sample) -> str:
            return sample.caption

    asked: list[str] = []
    texts = [CAPTIONS[0], CAPTIONS[1], CAPTIONS[0]]
    samples = tuple(Sample(id=str(i), image="2.png", caption=text) for i, text in enumerate(texts))
    words = Source(name="words", root=source.root, entries=samples)
    match(words, encoder, Lengths(), tmp_path / "pairs", QUIET, progress=False)
    rows = list(PairsTable.open(tmp_path / "pairs"))
    assert [row.regions[0].box[2] for row in rows] == [1 + len(text) % 7 for text in texts]
    assert asked == texts[:2]


def test_sam_and_open_vocabulary_have_fingerprints_of_settings_and_weights(tmp_path: Path, small_sam: Path) -> None:
    def sam(folder: Path = small_sam, **settings: float | str) -> str:
        return fingerprint(SamRegions(folder, **settings))  # type: ignore[arg-type]

    plain, other = sam(), save_small_sam(tmp_path / "sam", seed=1)
    used = SamRegions(small_sam, batch=3)
    used.propose([Image.new("RGB", (40, 30))])
    assert plain == fingerprint(used) == sam(shutil.copytree(small_sam, tmp_path / "copy"))
    assert len({plain, sam(other), sam(points=8), sam(iou_threshold=0.5), sam(max_area=0.7), sam(max_box=0.9)}) == 6

    owl = save_small_owl(tmp_path / "owl")
    fast, used = OpenVocabularyRegions(owl), OpenVocabularyRegions(owl, batch=1)  # type: ignore[assignment]
    propose_for(used, [Sample(id="a", image="a", caption="A red ball.")], [Image.new("RGB", (40, 30))])
    assert fingerprint(fast) == fingerprint(used)
    assert "0x" not in fingerprint(fast) + plain  # no addresses, which change from run to run
    others = [OpenVocabularyRegions(owl, max_phrases=2), OpenVocabularyRegions(save_small_owl(tmp_path / "b", seed=2))]
    assert len({fingerprint(one) for one in (fast, *others)}) == 3


def test_what_weights_and_vocabulary_do_not_say_is_in_the_fingerprint(tmp_path: Path) -> None:
    owl = save_small_owl(tmp_path / "owl")
    proposer = OpenVocabularyRegions(owl)
    plain = fingerprint(proposer)
    proposer.tokenizer.backend_tokenizer.normalizer = NFC()
    assert fingerprint(proposer) != plain
    heads, config = '"num_attention_heads": 2', owl / "config.json"
    assert heads in config.read_text()
    config.write_text(config.read_text().replace(heads, '"num_attention_heads": 4'))
    assert fingerprint(OpenVocabularyRegions(owl)) != plain


def test_the_fingerprint_of_a_proposer_is_its_settings_and_weights() -> None:
    class Detector:
        def __init__(self, bias: float, device: str = "cpu") -> None:
            self.model, self.device = torch.nn.Linear(2, 2), torch.device(device)
            self.model.weight.data.fill_(1.0)
            self.model.bias.data.fill_(bias)

    def combined(side: int, bias: float, device: str = "cpu") -> str:
        return fingerprint(Combined([ProposalRegions(side=side), FixedRegions(), Detector(bias, device)]))  # type: ignore[list-item]

    assert combined(96, 0.0) == combined(96, 0.0, "meta")
    assert len({combined(96, 0.0), combined(128, 0.0), combined(96, 0.5)}) == 3
    assert "side=96" in combined(96, 0.0)
