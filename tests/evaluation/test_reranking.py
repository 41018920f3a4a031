"""Re-ranking against sorted lists, and against transformers' own matching head called pair by pair."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tests.baselines import save_blip2
from transformers import Blip2ForImageTextRetrieval, PreTrainedTokenizerFast
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from fastgoal.cli import main
from fastgoal.data.source import open_source
from fastgoal.errors import ConfigError, ModelError
from fastgoal.evaluation import EvalResult
from fastgoal.evaluation.metrics import first_relevant_rank
from fastgoal.evaluation.protocols import PROTOCOLS
from fastgoal.evaluation.reranking import first_candidates
from fastgoal.evaluation.retrieval import evaluate_retrieval
from fastgoal.models.baselines import load_retriever

CAPTIONS = [
    "a red ball lies on the left of the wooden table",
    "a small blue box stands on the right",
    "a green lamp",
    "a large yellow chair with two striped cushions in the middle of the room",
    "ein altes haus am see",
    "a green lamp by a small box",
    "the room",
    "a wooden chair on the right of the table , a ball , a box , a lamp , a house and a blue ball on the left of it",
]
IMAGES = [0, 0, 1, 2, 3, 4, 4, 4]
"""The image of each caption."""


@pytest.fixture(scope="module")
def blip2(tmp_path_factory):
    return save_blip2(tmp_path_factory.mktemp("reranking") / "blip2")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for number in range(5):
        pixels = rng.integers(0, 256, (30 + 4 * number, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    lines = [json.dumps({"image": f"{i}.png", "caption": text}) for i, text in zip(IMAGES, CAPTIONS, strict=True)]
    (folder / "captions.jsonl").write_text("\n".join(lines))
    return folder


def slow_rank(similarity_N, score_N, relevant_N, count):
    """The place of the first relevant item in a list that is sorted, cut in two, and sorted again."""
    items = sorted(range(len(similarity_N)), key=lambda n: (-similarity_N[n], relevant_N[n]))
    first = sorted(items[:count], key=lambda n: (-score_N[n], relevant_N[n]))
    return next(place for place, n in enumerate([*first, *items[count:]], start=1) if relevant_N[n])


@pytest.mark.parametrize("count", [1, 3, 10, 40, 99])
def test_ranks_are_those_of_a_list_sorted_twice_with_many_ties(count):
    rng = np.random.default_rng(count)
    query_QD, item_ND = (rng.integers(-2, 3, (size, 3)).astype(np.float32) for size in (70, 40))
    group_N = rng.integers(0, 25, 40)
    group_Q = rng.choice(group_N, 70)
    similarity_QN, relevant_QN = query_QD @ item_ND.T, group_Q[:, None] == group_N
    found = first_candidates(query_QD, item_ND, group_Q, group_N, count)
    assert found.item_QK.shape == (70, min(count, 40))
    np.testing.assert_array_equal(found.similarity_QK, -np.sort(-similarity_QN)[:, :count])
    # Items with equal similarity get equal scores, so that it does not matter which of them are candidates.
    new = {value: float(rng.integers(0, 4)) for value in np.unique(similarity_QN)}
    score_QN = np.vectorize(new.get)(similarity_QN)
    before_Q = first_relevant_rank(query_QD, item_ND, group_Q, group_N)
    ranks_Q = found.ranks(np.take_along_axis(score_QN, found.item_QK, 1), before_Q)
    wanted = [slow_rank(*rows, count) for rows in zip(similarity_QN, score_QN, relevant_QN, strict=True)]
    assert ranks_Q.tolist() == wanted
    assert count == 1 or ranks_Q.tolist() != before_Q.tolist()


@pytest.fixture(scope="module")
def stock(blip2, data):
    """transformers' contrast and matching logits of every image with every caption, pair by pair, N x Q."""
    model = Blip2ForImageTextRetrieval.from_pretrained(blip2).eval()
    tokenizer, processor = PreTrainedTokenizerFast.from_pretrained(blip2), BlipImageProcessorPil.from_pretrained(blip2)
    contrast_NQ, match_NQ = np.empty((5, 8)), np.empty((5, 8))
    with torch.inference_mode():
        for n in range(5):
            pixels = processor([Image.open(data / f"{n}.png")], return_tensors="pt")["pixel_values"]
            for q, caption in enumerate(CAPTIONS):
                tokens = tokenizer([caption], return_tensors="pt", truncation=True, max_length=20)
                given = {"pixel_values": pixels, **{k: tokens[k] for k in ("input_ids", "attention_mask")}}
                contrast_NQ[n, q] = model(**given, use_image_text_matching_head=False).logits_per_image
                match = model(**given, use_image_text_matching_head=True).logits_per_image
                match_NQ[n, q] = match[0, 1]
    return contrast_NQ, match_NQ


@pytest.mark.parametrize("count", [1, 2, 4, 128])
def test_ranks_are_those_of_transformers_own_head(blip2, data, stock, count):
    contrast_NQ, match_NQ = stock
    score_NQ, own_NQ = contrast_NQ + match_NQ, np.arange(5)[:, None] == IMAGES
    result = evaluate_retrieval(load_retriever(str(blip2)), open_source(data), rerank=count, batch=2)
    t2i = [slow_rank(*rows, count) for rows in zip(contrast_NQ.T, score_NQ.T, own_NQ.T, strict=True)]
    i2t = [slow_rank(*rows, count) for rows in zip(contrast_NQ, score_NQ, own_NQ, strict=True)]
    assert result.queries["t2i"].rank_Q.tolist() == t2i
    assert result.queries["i2t"].rank_Q.tolist() == i2t
    assert result.t2i["R@1"] == pytest.approx(100 * np.mean(np.array(t2i) == 1))
    assert result.rerank == EvalResult.from_json(result.to_json()).rerank == count


def test_re_ranking_changes_something_and_the_batch_nothing(blip2, data):
    encoder, source = load_retriever(str(blip2)), open_source(data)
    by_contrast = evaluate_retrieval(encoder, source).queries
    first, again = (evaluate_retrieval(encoder, source, rerank=4, batch=batch).queries for batch in (1, 64))
    for way in ("t2i", "i2t"):
        assert first[way].rank_Q.tolist() == again[way].rank_Q.tolist() != by_contrast[way].rank_Q.tolist()


def test_an_image_is_seen_once_to_embed_and_once_to_match(blip2, data, monkeypatch):
    encoder, seen = load_retriever(str(blip2)), []
    tower = encoder.see_images
    monkeypatch.setattr(encoder, "see_images", lambda pixels: seen.append(len(pixels)) or tower(pixels))
    evaluate_retrieval(encoder, open_source(data), rerank=4, batch=2)
    assert seen == [2, 2, 1] * 2


def test_equal_captions_tie_after_re_ranking_too(blip2, data):
    source = open_source(data)
    same = replace(source, entries=tuple(replace(sample, caption="a green lamp") for sample in source))
    result = evaluate_retrieval(load_retriever(str(blip2)), same, rerank=8, batch=2)
    others = [8 - IMAGES.count(n) for n in range(5)]
    assert result.queries["i2t"].rank_Q.tolist() == [1 + count for count in others]


def test_scores_that_are_not_finite_do_not_win(blip2, data):
    encoder = load_retriever(str(blip2))
    encoder.model.itm_head.bias.data.fill_(float("nan"))
    with pytest.raises(ModelError, match="matching scores are not finite"):
        evaluate_retrieval(encoder, open_source(data), rerank=2)


def test_the_command_says_what_was_re_ranked(blip2, data, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["eval", str(blip2), str(data), "--rerank", "3", "--json", str(tmp_path / "result.json")])
    assert ended.value.code == 0
    assert "the first 3 re-ranked, model" in capsys.readouterr().out
    assert json.loads((tmp_path / "result.json").read_text())["rerank"] == 3


def test_what_cannot_be_re_ranked_is_named(encoder, source, blip2):
    with pytest.raises(ConfigError, match="CLIP has no matching head"):
        evaluate_retrieval(encoder, source, rerank=5)
    with pytest.raises(ConfigError, match="sentence by sentence cannot be re-ranked"):
        evaluate_retrieval(load_retriever(str(blip2)), source, protocol=PROTOCOLS["sentence-average"], rerank=5)


def test_a_second_model_without_a_head_is_refused_before_the_first_is_measured(blip2, data, small_clip_folder, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["eval", str(blip2), str(data), "--rerank", "3", "--against", str(small_clip_folder)])
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    assert "CLIP has no matching head" in said.err
