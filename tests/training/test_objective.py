"""The batched objective against per-sample loops: each image and text alone, through transformers' own parts."""

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

from fastgoal.data.images import fit_pixels, normalise
from fastgoal.geometry import Box
from fastgoal.losses import METHODS, LossWeights
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsRow, PairsTable
from fastgoal.training.batches import Collator, Views
from fastgoal.training.choice import PairChoice
from fastgoal.training.objective import Objective

WriteTable = Callable[..., PairsTable]


def batch_terms(encoder: DualEncoder, table: PairsTable, rows: list[PairsRow], **options: object) -> dict[str, float]:
    weights, choice = options.pop("weights", METHODS["goal"]), options.pop("choice", PairChoice())
    assert isinstance(weights, LossWeights)
    assert isinstance(choice, PairChoice)
    batch = Collator.of(encoder, Views(table.images, encoder.fit, 0), weights, choice=choice)(rows)
    return {name: term.item() for name, term in Objective(weights=weights, **options)(encoder, batch).items()}  # type: ignore[arg-type]


def see(encoder: DualEncoder, table: PairsTable, row: PairsRow, box: Box | None) -> tuple[torch.Tensor, torch.Tensor]:
    view = fit_pixels(Image.open(table.root / row.image).convert("RGB"), encoder.fit, box)
    pixels = normalise(torch.from_numpy(view)[None], encoder.fit)
    clip = encoder.model
    embedding = normalize(clip.get_image_features(pixels).pooler_output, dim=-1)[0]
    return embedding, clip.vision_model(pixels, output_hidden_states=True).hidden_states[-1][0, 1:]


def read(encoder: DualEncoder, text: str) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    tokens = encoder.tokenizer([text], return_offsets_mapping=True, return_tensors="pt")
    clip, ids = encoder.model, tokens["input_ids"]
    embedding = normalize(clip.get_text_features(ids).pooler_output, dim=-1)[0]
    hidden = clip.text_model(ids, output_hidden_states=True).hidden_states[-1][0]
    return embedding, hidden, tokens["offset_mapping"][0].numpy()


def patches_touched(row: PairsRow, box: Box, fit_size: int, grid: int) -> list[int]:
    """Every patch with a sample point inside the box, on a grid of points fine enough for these boxes."""
    scale = fit_size / min(row.width, row.height)
    left, top = (math.floor((side * scale - fit_size) / 2) for side in (row.width, row.height))
    x1, y1, x2, y2 = (value * scale for value in box)
    points = np.arange(0.02, fit_size, 0.04)
    inside_x = [x for x in points if x1 - left < x < x2 - left]
    inside_y = [y for y in points if y1 - top < y < y2 - top]
    patch = fit_size / grid
    return sorted({int(y // patch) * grid + int(x // patch) for y in inside_y for x in inside_x})


def cross(scale: float, queries: list[torch.Tensor], items: list[torch.Tensor], friends: set[tuple[int, int]]) -> float:
    total = 0.0
    for i, query in enumerate(queries):
        scores = {
            j: scale * float(query @ item)
            for j, item in enumerate(items)
            if (i, j) not in friends and (j, i) not in friends
        }
        total -= scores[i] - math.log(sum(math.exp(score) for score in scores.values()))
    return total / len(queries)


def slow_terms(encoder: DualEncoder, table: PairsTable, rows: list[PairsRow], friends: set[str]) -> dict[str, float]:
    """`friends`: ids of samples that share an image."""
    scale = float(encoder.model.logit_scale.exp())
    clip = encoder.model
    images, texts, crops, sentences, kept, tsl_image, tsl_text = [], [], [], [], [], [], []
    for row in rows:
        image, patches = see(encoder, table, row, None)
        text, tokens, offsets = read(encoder, row.caption)
        images.append(image)
        texts.append(text)
        if not row.pairs:
            continue
        kept.append(row.id)
        box, (start, end) = row.regions[row.pairs[0].region].box, row.sentences[row.pairs[0].sentence]
        crop, sentence = see(encoder, table, row, box)[0], read(encoder, row.caption[start:end])[0]
        crops.append(crop)
        sentences.append(sentence)
        touched = patches_touched(row, box, encoder.fit.size, encoder.grid)
        if touched:
            pooled = torch.stack([patches[index] for index in touched]).mean(dim=0)
            seen = normalize(clip.visual_projection(clip.vision_model.post_layernorm(pooled)), dim=-1)
            tsl_image.append((float(seen @ crop) - 1) ** 2)
        chosen = [index for index, (a, b) in enumerate(offsets) if b > a and a < end and b > start]
        pooled = torch.stack([tokens[index] for index in chosen]).mean(dim=0)
        said = normalize(clip.text_projection(clip.text_model.final_layer_norm(pooled)), dim=-1)
        tsl_text.append((float(said @ sentence) - 1) ** 2)
    ids = [row.id for row in rows]
    same = {(ids.index(a), ids.index(b)) for a in friends for b in friends if a != b}
    same_local = {(kept.index(a), kept.index(b)) for a in friends for b in friends if a != b}
    terms = {
        "global": (cross(scale, images, texts, same) + cross(scale, texts, images, same)) / 2,
        "local": (cross(scale, crops, sentences, same_local) + cross(scale, sentences, crops, same_local)) / 2,
        "tsl": sum(tsl_image) / len(tsl_image) + sum(tsl_text) / len(tsl_text),
    }
    return {"loss": terms["global"] + 0.5 * terms["local"] + terms["tsl"], **terms}


@torch.no_grad()
def test_one_batch_equals_the_obvious_computation(write_table: WriteTable, encoder: DualEncoder) -> None:
    """Some samples without a pair, two captions of one image, images of all shapes, captions of different lengths."""
    table = write_table()
    rows = [table[i] for i in (0, 3, 1, 8, 10, 7, 2)]
    assert [bool(row.pairs) for row in rows].count(False) == 2
    fast = batch_terms(encoder, table, rows)
    assert fast == pytest.approx(slow_terms(encoder, table, rows, {"s0", "s20"}), rel=2e-5, abs=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("method", ["global", "local", "no-tsl"])
def test_each_method_has_its_own_terms_of_the_same_values(
    write_table: WriteTable, encoder: DualEncoder, method: str
) -> None:
    table = write_table()
    rows = [table[i] for i in (0, 1, 2, 4)]
    full, weights = batch_terms(encoder, table, rows), METHODS[method]
    terms = batch_terms(encoder, table, rows, weights=weights)
    expected = {name: full[name] for name, weight in (("global", weights.global_), ("local", weights.local)) if weight}
    total = weights.global_ * expected.get("global", 0) + weights.local * expected.get("local", 0)
    assert terms.pop("loss") == pytest.approx(total, rel=1e-5)
    assert terms == pytest.approx(expected, rel=1e-5)


@torch.no_grad()
def test_without_any_pair_only_the_global_term_counts(write_table: WriteTable, encoder: DualEncoder) -> None:
    table = write_table()
    terms = batch_terms(encoder, table, [table[3], table[8]])
    assert terms["loss"] == terms["global"] > 0
    assert terms["local"] == terms["tsl"] == 0


@pytest.mark.parametrize(("method", "images", "texts"), [("global", 4, [4]), ("local", 3, [3]), ("goal", 7, [4, 3])])
def test_one_image_pass_and_one_text_pass_per_kind(
    write_table: WriteTable,
    encoder: DualEncoder,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    images: int,
    texts: list[int],
) -> None:
    table, passes = write_table(), []
    encode_images, encode_texts = encoder.encode_images, encoder.encode_texts
    monkeypatch.setattr(encoder, "encode_images", lambda x: (passes.append(("image", len(x))), encode_images(x))[1])
    monkeypatch.setattr(encoder, "encode_texts", lambda x: (passes.append(("text", len(x))), encode_texts(x))[1])
    batch_terms(encoder, table, [table[i] for i in (0, 1, 2, 3)], weights=METHODS[method])
    assert passes == [("image", images), *[("text", count) for count in texts]]


def test_stop_gradient_treats_the_local_side_as_given(write_table: WriteTable, encoder: DualEncoder) -> None:
    """The gradient is that of pools of this encoder against local embeddings of a frozen copy."""
    table, weights = write_table(), LossWeights(global_=0, local=0, tsl=1)
    batch = Collator.of(encoder, Views(table.images, encoder.fit, 0), weights)([table[0], table[1]])
    frozen = copy.deepcopy(encoder).requires_grad_(False)
    assert batch.captions is not None
    assert batch.sentences is not None
    pixels = normalise(batch.views_NHWC, encoder.fit)
    patches, tokens = encoder.encode_images(pixels[:2]).patches_BPW, encoder.encode_texts(batch.captions).tokens_BTW
    seen = encoder.project_patches(
        (patches * batch.patch_weights_BKP[:, 0, :, None]).sum(1) / batch.patch_weights_BKP[:, 0].sum(1)[:, None]
    )
    said = encoder.project_tokens(
        (tokens * batch.token_weights_BKT[:, 0, :, None]).sum(1) / batch.token_weights_BKT[:, 0].sum(1)[:, None]
    )
    crops, sentences = frozen.encode_images(pixels[2:]).embedding_BD, frozen.encode_texts(batch.sentences).embedding_BD
    (((seen * crops).sum(1) - 1) ** 2).mean().add((((said * sentences).sum(1) - 1) ** 2).mean()).backward()
    expected = {name: p.grad.clone() for name, p in encoder.named_parameters() if p.grad is not None}
    for stop in (True, False):
        encoder.zero_grad()
        Objective(weights=weights, tsl_stop_gradient=stop)(encoder, batch)["loss"].backward()
        pairs = [(p.grad, expected.get(name)) for name, p in encoder.named_parameters() if p.grad is not None]
        equal = all(torch.allclose(got, torch.zeros(()) if want is None else want, atol=1e-6) for got, want in pairs)
        assert equal == stop


@torch.no_grad()
def test_matrix_target_compares_all_with_all(write_table: WriteTable, encoder: DualEncoder) -> None:
    table = write_table()
    rows, weights = [table[0], table[3], table[4]], LossWeights(global_=0, local=0, tsl=1)
    batch = Collator.of(encoder, Views(table.images, encoder.fit, 0), weights)(rows)
    value = Objective(weights=weights, tsl_target="matrix")(encoder, batch)["tsl"]
    total = 0.0
    for modality in ("image", "text"):
        pools, locals_ = [], []
        for row in (rows[0], rows[2]):
            box, (start, end) = row.regions[1].box, row.sentences[2]
            if modality == "image":
                chosen = see(encoder, table, row, None)[1][patches_touched(row, box, 32, 4)]
                pools.append(encoder.project_patches(chosen.mean(dim=0)[None])[0])
                locals_.append(see(encoder, table, row, box)[0])
            else:
                _, tokens, offsets = read(encoder, row.caption)
                inside = [i for i, (a, b) in enumerate(offsets) if b > a and a < end and b > start]
                pools.append(encoder.project_tokens(tokens[inside].mean(dim=0)[None])[0])
                locals_.append(read(encoder, row.caption[start:end])[0])
        total += sum((float(p @ q) - (i == j)) ** 2 for i, p in enumerate(pools) for j, q in enumerate(locals_)) / 4
    assert float(value) == pytest.approx(total, rel=1e-5)


@torch.no_grad()
def test_the_towers_in_bfloat16_stay_near_float32(write_table: WriteTable, encoder: DualEncoder) -> None:
    table = write_table()
    batch = Collator.of(encoder, Views(table.images, encoder.fit, 0), METHODS["goal"])([table[i] for i in range(6)])
    exact, rough = (Objective(weights=METHODS["goal"])(encoder, batch, dtype=t) for t in (None, torch.bfloat16))
    assert float(rough["loss"]) == pytest.approx(float(exact["loss"]), rel=0.03)
    assert float(rough["loss"]) != float(exact["loss"])
    assert rough["loss"].dtype == torch.float32


@torch.no_grad()
def test_several_pairs_of_a_sample_together_count_once(write_table: WriteTable, encoder: DualEncoder) -> None:
    """Two samples with three pairs each, against cosines by hand: same-image pairs are no negatives unless asked."""
    table = write_table()
    rows = [table[0], table[4]]
    terms = batch_terms(encoder, table, rows, choice=PairChoice(count=2))
    pairs = [(i, row, pair) for i, row in enumerate(rows) for pair in row.pairs[:2]]
    crops = [see(encoder, table, row, row.regions[pair.region].box)[0] for _, row, pair in pairs]
    texts = [read(encoder, row.caption[slice(*row.sentences[pair.sentence])])[0] for _, row, pair in pairs]
    friends = {(a, b) for a in range(4) for b in range(4) if a != b and pairs[a][0] == pairs[b][0]}
    scale = float(encoder.logit_scale)
    assert terms["local"] == pytest.approx(
        (cross(scale, crops, texts, friends) + cross(scale, texts, crops, friends)) / 2, rel=1e-5
    )
    asked = PairChoice(count=2, in_image_negatives=True)
    same_crop = {
        (a, b) for a, b in friends if pairs[a][1].regions[pairs[a][2].region] == pairs[b][1].regions[pairs[b][2].region]
    }
    hard = batch_terms(encoder, table, rows, choice=asked)["local"]
    assert hard == pytest.approx(
        (cross(scale, crops, texts, same_crop) + cross(scale, texts, crops, same_crop)) / 2, rel=1e-5
    )
    assert hard > terms["local"]


@torch.no_grad()
def test_hard_negatives_raise_the_global_term_alone(write_table: WriteTable, encoder: DualEncoder) -> None:
    table = write_table()
    rows = [table[i] for i in range(5)]
    plain, hard = (batch_terms(encoder, table, rows, hard_negatives=weight) for weight in (0.0, 5.0))
    assert hard["global"] > plain["global"]
    assert (hard["local"], hard["tsl"]) == (plain["local"], plain["tsl"])
