"""Retrieval against transformers and an obvious loop, with several captions per image."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPModel, CLIPProcessor

from fastgoal.data.sentences import split_sentences
from fastgoal.errors import ConfigError, DataError
from fastgoal.evaluation.metrics import bootstrap_ci
from fastgoal.evaluation.protocols import PROTOCOLS
from fastgoal.evaluation.retrieval import embed_by_sentence, evaluate_retrieval
from fastgoal.evaluation.views import ViewSet
from fastgoal.models.dual_encoder import DualEncoder

SMALL = replace(PROTOCOLS["short-retrieval"], name="small", ks=(1, 2, 4))


@pytest.fixture(scope="module")
def logits(source, small_clip_folder):
    """Stock transformers' similarities, images x captions, with the images in order of first appearance."""
    clip, processor = CLIPModel.from_pretrained(small_clip_folder), CLIPProcessor.from_pretrained(small_clip_folder)
    pictures = [Image.open(source.root / f"{i}.png") for i in range(6)]
    with torch.no_grad():
        inputs = processor(
            text=[s.caption for s in source], images=pictures, return_tensors="pt", padding=True, truncation=True
        )
        return clip(**inputs).logits_per_image.numpy()


def test_recall_equals_transformers_and_a_loop(encoder, source, logits):
    result = evaluate_retrieval(encoder, source, protocol=SMALL)
    own = [int(sample.image[0]) for sample in source]
    for k in SMALL.ks:
        best_QK = np.argsort(-logits.T, axis=1)[:, :k]
        assert result.t2i[f"R@{k}"] == pytest.approx(100 * np.mean([own[q] in best_QK[q] for q in range(len(own))]))
        best_NK = np.argsort(-logits, axis=1)[:, :k]
        assert result.i2t[f"R@{k}"] == pytest.approx(
            100 * np.mean([n in [own[q] for q in best_NK[n]] for n in range(6)])
        )


def test_what_stands_beside_the_figures(encoder, source):
    result = evaluate_retrieval(encoder, source, protocol=SMALL)
    assert (result.protocol, result.task, result.items, result.ties) == ("small", "retrieval", 6, "pessimistic")
    assert (result.model_fingerprint, result.text_tokens, result.image_fit) == (encoder.fingerprint, 77, encoder.fit)
    assert result.counts == {"images": 6, "captions": 8}
    assert result.truncated_share == 0
    assert result.queries["t2i"].id_Q.tolist() == [sample.id for sample in source]
    for way in ("t2i", "i2t"):
        for key, (low, high) in result.ci95[way].items():
            assert 0 <= low <= getattr(result, way)[key] <= high <= 100


def test_intervals_resample_images_not_captions(encoder, source):
    result = evaluate_retrieval(encoder, source, protocol=SMALL, seed=3)
    values_QM = np.stack([result.queries["t2i"].values[f"R@{k}"] for k in SMALL.ks], 1)
    ends_M2 = bootstrap_ci(values_QM, [sample.image for sample in source], seed=3)
    assert list(result.ci95["t2i"].values()) == [pytest.approx(100 * ends) for ends in ends_M2]
    assert not np.allclose(ends_M2, bootstrap_ci(values_QM, [sample.id for sample in source], seed=3))


def test_the_text_limit_is_seen(small_clip_folder, source):
    short = DualEncoder.load(small_clip_folder, text_tokens=24)
    result = evaluate_retrieval(short, source, protocol=SMALL)
    own = [len(short.tokenizer(sample.caption).input_ids) > 24 for sample in source]
    assert 0 < result.truncated_share == pytest.approx(np.mean(own))
    assert result.text_tokens == 24


def test_kept_views_and_batches_do_not_matter(encoder, source):
    views = ViewSet.of(source, encoder.fit)
    first = evaluate_retrieval(encoder, source, protocol=SMALL)
    again = evaluate_retrieval(encoder, source, protocol=SMALL, views=views, batch=3)
    for way in ("t2i", "i2t"):
        assert np.array_equal(first.queries[way].rank_Q, again.queries[way].rank_Q)
    assert first.ci95 == again.ci95


def test_equal_captions_of_two_images_are_both_wrong_at_one(encoder, source):
    twins = tuple(replace(sample, caption="The same words.") for sample in source if not sample.id.endswith("b"))
    result = evaluate_retrieval(encoder, replace(source, entries=twins), protocol=replace(SMALL, ks=(1, 5, 6)))
    assert result.i2t == {"R@1": 0.0, "R@5": 0.0, "R@6": 100.0}


def test_refusals(encoder, source):
    with pytest.raises(DataError, match="5,100 items expected, but the data has 6"):
        evaluate_retrieval(encoder, source, protocol=replace(SMALL, items=5100))
    with pytest.raises(ConfigError, match="made for joint"):
        evaluate_retrieval(encoder, source, protocol=PROTOCOLS["joint"])
    with pytest.raises(ConfigError, match="other images"):
        evaluate_retrieval(encoder, source, views=ViewSet([("0.png", None)], source.images, encoder.fit))


def test_sentence_average_equals_transformers_sentence_by_sentence(encoder, source, small_clip_folder):
    protocol = replace(PROTOCOLS["sentence-average"], ks=(1, 2, 4))
    long = [replace(s, caption=s.caption + " A third thing. " + "And more, " * 40 + ".", regions=()) for s in source]
    long[2] = replace(long[2], caption="...")
    result = evaluate_retrieval(encoder, replace(source, entries=tuple(long)), protocol=protocol, batch=2)
    clip, processor = CLIPModel.from_pretrained(small_clip_folder), CLIPProcessor.from_pretrained(small_clip_folder)

    def unit(vectors):
        return vectors / vectors.norm(dim=-1, keepdim=True)

    text_QD = []
    with torch.no_grad():
        for sample in long:
            spans = split_sentences(sample.caption) or [(0, len(sample.caption))]
            sentences = [processor(text=sample.caption[a:b], return_tensors="pt", truncation=True) for a, b in spans]
            each = [unit(clip.get_text_features(**inputs).pooler_output[0]) for inputs in sentences]
            text_QD.append(unit(torch.stack(each).mean(0)))
        pixels = processor(images=[Image.open(source.root / f"{i}.png") for i in range(6)], return_tensors="pt")
        sim_QN = (torch.stack(text_QD) @ unit(clip.get_image_features(**pixels).pooler_output).T).numpy()
    ours, _ = embed_by_sentence(encoder, [sample.caption for sample in long])
    assert ours == pytest.approx(torch.stack(text_QD).numpy(), abs=1e-5)
    own = [int(sample.image[0]) for sample in long]
    for k in protocol.ks:
        right = [own[q] in np.argsort(-row)[:k] for q, row in enumerate(sim_QN)]
        assert result.t2i[f"R@{k}"] == pytest.approx(100 * np.mean(right))
    assert result.protocol == "sentence-average"
    assert result.truncated_share == pytest.approx(7 / 8)  # all but "..." have a sentence that is too long


def test_one_sentence_averaged_is_the_caption_itself(encoder, source):
    one = replace(source, entries=tuple(replace(s, caption=f"A word about {s.id}", regions=()) for s in source))
    averaged = evaluate_retrieval(encoder, one, protocol=PROTOCOLS["sentence-average"])
    plain = evaluate_retrieval(encoder, one)
    assert np.array_equal(averaged.queries["t2i"].rank_Q, plain.queries["t2i"].rank_Q)
