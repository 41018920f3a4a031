import pickle
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from fastgoal.data.views import read_views
from fastgoal.errors import DataError
from fastgoal.geometry import Box
from fastgoal.losses import METHODS
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.models.tokens import TextBatch
from fastgoal.pairs import LocalPair, PairsRow, PairsTable
from fastgoal.regions.region import Region
from fastgoal.training import batches
from fastgoal.training.batches import Collator, PairsDataset, Views
from fastgoal.training.choice import PairChoice

WriteTable = Callable[..., PairsTable]
MIB = 2**20
CPU = torch.device("cpu")


def collator(encoder: DualEncoder, table: PairsTable, method: str = "goal", budget: int = 8 * MIB) -> Collator:
    return Collator.of(encoder, Views(table.images, encoder.fit, budget), METHODS[method])


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the images decoded so far."""
    seen: list[str] = []
    read = batches.read_views

    def spy(path: Any, *rest: Any, **named: Any) -> list[npt.NDArray[np.uint8]]:
        seen.append(path.name)
        return read(path, *rest, **named)

    monkeypatch.setattr(batches, "read_views", spy)
    return seen


def test_views_are_what_transformers_makes_of_the_image_and_of_its_crop(
    write_table: WriteTable, encoder: DualEncoder
) -> None:
    table = write_table()
    rows = [table[0], table[3], table[4]]  # the second has no pair
    batch = collator(encoder, table)(rows)
    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    images = [Image.open(table.root / row.image) for row in rows]
    crops = [images[i].crop((4, 5, 21, 30)) for i in (0, 2)]
    expected = processor(images + crops, do_rescale=False, do_normalize=False, return_tensors="np")["pixel_values"]
    np.testing.assert_array_equal(batch.views_NHWC.numpy(), expected.transpose(0, 2, 3, 1))
    assert batch.rows_V.tolist() == [0, 2]


def test_each_image_is_decoded_once_for_both_views_and_then_never_again(
    write_table: WriteTable, encoder: DualEncoder, decoded: list[str]
) -> None:
    table = write_table()
    rows = [table[i] for i in range(5)]
    collate = collator(encoder, table)
    first = collate(rows)
    assert sorted(decoded) == [f"{i}.png" for i in range(5)]
    assert torch.equal(collate(rows).views_NHWC, first.views_NHWC)
    assert len(decoded) == 5


def test_the_cache_stays_within_its_budget(write_table: WriteTable, encoder: DualEncoder, decoded: list[str]) -> None:
    table, view = write_table(), 32 * 32 * 3
    collate = collator(encoder, table, "global", budget=2 * view + view // 2)
    for _ in range(2):
        collate([table[i] for i in range(4)])
    assert len(decoded) == 4 + 2
    assert sum(kept.nbytes for kept in collate.views._kept.values()) == 2 * view


def jpeg_rows(table: PairsTable) -> list[tuple[PairsRow, list[Box | None]]]:
    """Two samples of one photograph; the second has a crop that needs it in full."""
    noise_HWC = np.random.default_rng(0).integers(0, 256, (20, 25, 3), dtype=np.uint8)
    Image.fromarray(noise_HWC).resize((200, 160)).save(table.root / "a.jpg")
    row = replace(table[0], image="a.jpg", width=200, height=160)
    return [(row, [None, (0, 0, 190, 150)]), (replace(row, id="other"), [None, (9, 9, 49, 60), (0, 0, 190, 150)])]


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("kept", [0, 1, 2, 100])
def test_views_do_not_depend_on_what_was_kept(
    write_table: WriteTable, encoder: DualEncoder, kept: int, exact: bool
) -> None:
    table = write_table()
    calls = jpeg_rows(table)
    expected = [
        read_views(table.root / row.image, encoder.fit, boxes, exact=exact or len(boxes) == 3) for row, boxes in calls
    ]
    for order in ([0, 1, 0, 1], [1, 0, 0, 1]):
        views = Views(table.images, encoder.fit, kept * 32 * 32 * 3, exact=exact)
        for number in order:
            np.testing.assert_array_equal(views(*calls[number]), expected[number])
    assert np.array_equal(expected[0][0], expected[1][0]) == exact


@pytest.mark.parametrize(("method", "views"), [("global", 4), ("local", 3), ("no-tsl", 7), ("goal", 7)])
def test_only_what_the_method_needs_is_prepared(
    write_table: WriteTable, encoder: DualEncoder, method: str, views: int
) -> None:
    table = write_table()
    batch = collator(encoder, table, method)([table[i] for i in (0, 1, 2, 3)])
    assert len(batch.views_NHWC) == views
    assert (batch.captions is not None) == (method != "local")
    assert (batch.sentences is not None) == (method != "global")


def test_a_sentence_beyond_the_text_limit_is_passed_over_or_counted(
    write_table: WriteTable, encoder: DualEncoder
) -> None:
    table = write_table()
    row = table[0]
    alone = replace(row, pairs=row.pairs[:1])
    encoder.set_text_limit(12)
    batch = collator(encoder, table)([row, alone])
    assert batch.captions is not None
    assert batch.captions.truncated_B.all()
    assert batch.hidden_sentences == 1
    assert batch.token_weights_BKT[1].sum() == 0
    chosen = batch.token_weights_BKT[0, 0].bool().numpy()
    start, end = row.sentences[0]
    spans = batch.captions.offsets_BT2[0][chosen]
    assert spans[:, 0].min() == start
    assert all(start <= span[0] < span[1] <= end for span in spans)


def test_a_region_that_the_crop_cuts_away_is_counted(write_table: WriteTable, encoder: DualEncoder) -> None:
    table = write_table()
    row = table[3]  # 64 x 32: the central square is x 16..48
    cut = replace(
        row,
        regions=(Region(box=(0.0, 0.0, 10.0, 32.0), source="given"),),
        pairs=(LocalPair(sentence=0, region=0, similarity=1.0),),
    )
    batch = collator(encoder, table)([cut, table[0]])
    assert batch.hidden_regions == 1
    assert batch.patch_weights_BKP[0].sum() == 0
    assert batch.patch_weights_BKP[1].sum() > 0


def test_twins_and_equal_texts_are_no_negatives(write_table: WriteTable, encoder: DualEncoder) -> None:
    table = write_table()
    first, other, twin = table[0], table[1], table[10]
    echo = replace(table[2], caption=first.caption, sentences=first.sentences)
    batch = collator(encoder, table)([first, other, twin, echo])
    expected = torch.zeros(4, 4, dtype=torch.bool)
    expected[0, 2] = expected[2, 0] = True  # one image
    expected[0, 3] = expected[3, 0] = True  # one caption, so one sentence too
    for same in (batch.belonging.same_samples(CPU), batch.belonging.same_pairs(CPU)):
        assert same is not None and torch.equal(same, expected)
    assert collator(encoder, table)([first, other]).belonging.same_samples(CPU) is None


def test_no_row_is_a_batch_of_nothing(write_table: WriteTable, encoder: DualEncoder) -> None:
    """A rank's share of a last batch."""
    batch = collator(encoder, write_table())([])
    assert (batch.ids, len(batch.views_NHWC), len(batch.rows_V), batch.sentences) == ((), 0, 0, None)
    assert batch.views_NHWC.shape[1:] == (encoder.fit.size, encoder.fit.size, 3)
    assert batch.captions is not None and len(batch.captions) == 0
    assert batch.belonging.same_samples(CPU) is None


def test_unusable_rows_are_left_out(write_table: WriteTable) -> None:
    table = write_table()
    rows = [replace(table[0], skip="broken image"), *[table[i] for i in range(1, 6)]]
    skipping = write_table(rows, name="skipping")
    assert [row.id for row in map(PairsDataset(skipping).__getitem__, range(5))] == ["s1", "s2", "s3", "s4", "s5"]
    assert PairsDataset(skipping).unpaired == 1
    assert len(PairsDataset(skipping, paired_only=True)) == 4
    with pytest.raises(DataError, match="1 of 1 samples"):
        PairsDataset(write_table([table[1]], name="one"))


def test_worker_processes_can_have_data_set_and_collator(write_table: WriteTable, encoder: DualEncoder) -> None:
    table = write_table()
    dataset, collate = PairsDataset(table), collator(encoder, table)
    rows = [dataset[i] for i in range(4)]  # opens the shard
    sent_dataset, sent_collate = pickle.loads(pickle.dumps((dataset, collate)))
    assert [sent_dataset[i] for i in range(4)] == rows
    assert torch.equal(sent_collate(rows).views_NHWC, collate(rows).views_NHWC)


@pytest.mark.parametrize("method", ["global", "local", "goal"])
def test_a_batch_without_unreadable_images_is_that_of_the_others(
    write_table: WriteTable, encoder: DualEncoder, method: str
) -> None:
    table = write_table()
    rows = [table[i] for i in (1, 2, 3, 4)]
    (table.root / table[2].image).unlink()
    (table.root / table[4].image).write_bytes(b"no image")
    batch, alone = collator(encoder, table, method)(rows), collator(encoder, table, method)([rows[0], rows[2]])
    assert batch.ids == alone.ids == ("s1", "s3")
    for own, wanted in zip(batch.tensors(), alone.tensors(), strict=True):
        assert torch.equal(own, wanted)
    assert [one.id for one in batch.left_out] == ["s2", "s4"]
    assert ["cannot be read" in batch.left_out[0].what, "not an image" in batch.left_out[1].what] == [True, True]
    assert not alone.left_out
    nothing = collator(encoder, table, method)([rows[1], rows[3]])
    assert nothing.ids == () and len(nothing.left_out) == 2


def test_rows_of_no_use_are_passed_over(write_table: WriteTable, encoder: DualEncoder) -> None:
    table = write_table()
    rows = [replace(table[0], skip="broken image"), table[1], table[3]]  # the last has no pair
    assert (collator(encoder, table)(rows).ids, collator(encoder, table)(rows).passed_over) == (("s1", "s3"), 1)
    views = Views(table.images, encoder.fit, 8 * MIB)
    local = Collator.of(encoder, views, METHODS["local"], paired_only=True)(rows)
    assert (local.ids, local.passed_over) == (("s1",), 2)


def padded(batch: TextBatch | None, length: int) -> list[object]:
    """All of it, padded to `length` with zeros; the padding token says nothing."""
    if batch is None:
        return []
    add = length - batch.input_ids_BT.shape[1]
    ids_BT = batch.input_ids_BT.masked_fill(batch.attention_mask_BT == 0, 0)
    tensors = [torch.nn.functional.pad(tensor, (0, add)).tolist() for tensor in (ids_BT, batch.attention_mask_BT)]
    return [*tensors, np.pad(batch.offsets_BT2, ((0, 0), (0, add), (0, 0))).tolist(), batch.truncated_B.tolist()]


def filled(weights_BKX: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """With the zeros of pairs and tokens that there are none of."""
    whole_BKX = torch.zeros(len(weights_BKX), *shape[1:])
    whole_BKX[:, : weights_BKX.shape[1], : weights_BKX.shape[2]] = weights_BKX
    return whole_BKX


@pytest.mark.parametrize("method", ["global", "local", "goal"])
@pytest.mark.parametrize("pads", [False, True])
def test_a_part_is_what_its_rows_alone_would_be(
    write_table: WriteTable, encoder: DualEncoder, method: str, pads: bool
) -> None:
    """Rows with two pairs, with one and with none; the last two show one image; the longest caption comes first."""
    table = write_table()
    short = replace(table[1], caption=table[1].caption[: table[1].sentences[0][1]], sentences=table[1].sentences[:1])
    short = replace(short, pairs=(LocalPair(sentence=0, region=1, similarity=0.2),))
    rows = [table[0], table[3], table[2], short, table[10]]
    collate = replace(collator(encoder, table, method), choice=PairChoice(count=2))
    batch, edges = collate(rows), (0, 1, 3, 4, 5)
    for start, stop in pairwise(edges):
        part = batch.part(start, stop, pad_to_limit=pads)
        alone = collate(rows[start:stop])
        length = batch.token_weights_BKT.shape[2]
        assert (part.ids, part.paired) == (alone.ids, alone.paired)
        assert (part.hidden_sentences, part.hidden_regions) == (alone.hidden_sentences, alone.hidden_regions)
        for name, own in vars(part.belonging).items():
            assert np.array_equal(own, getattr(alone.belonging, name)), name
        for name in ("views_NHWC", "rows_V", "slots_V"):
            assert torch.equal(getattr(part, name), getattr(alone, name)), name
        for name in ("captions", "sentences"):
            assert padded(getattr(part, name), length) == padded(getattr(alone, name), length)
        for name in ("patch_weights_BKP", "token_weights_BKT"):
            shape = getattr(batch, name).shape
            assert torch.equal(filled(getattr(part, name), shape), filled(getattr(alone, name), shape)), name
        if part.captions is not None and alone.captions is not None:
            wanted = batch.captions if pads else alone.captions
            assert wanted is not None and part.captions.input_ids_BT.shape[1] == wanted.input_ids_BT.shape[1]
            assert part.token_weights_BKT.shape[2] == part.captions.input_ids_BT.shape[1]


def test_a_part_keeps_who_is_no_negative_of_whom(write_table: WriteTable, encoder: DualEncoder) -> None:
    table = write_table()
    part = collator(encoder, table)([table[1], table[0], table[10]]).part(1, 3)
    twins = torch.tensor([[False, True], [True, False]])
    for same in (part.belonging.same_samples(CPU), part.belonging.same_pairs(CPU)):
        assert same is not None and torch.equal(same, twins)
