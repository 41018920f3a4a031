"""False sentences: whose they are, where they stand, that order does not matter; and the change against two plain
retrievals."""

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from fastgoal.data.samples import Sample
from fastgoal.data.sentences import split_sentences
from fastgoal.errors import DataError
from fastgoal.evaluation.metrics import paired_bootstrap
from fastgoal.evaluation.protocols import PROTOCOLS
from fastgoal.evaluation.retrieval import evaluate_retrieval
from fastgoal.evaluation.robustness import evaluate_robustness, mean_change, with_false_sentences

SMALL = replace(PROTOCOLS["robustness"], ks=(1, 2))


def samples_of(count, sentences=3):
    return [
        Sample(
            id=f"s{i}",
            image=f"{i // 2}.png",
            caption=" ".join(f"Thing {j} of sample {i} is here." for j in range(sentences)),
        )
        for i in range(count)
    ]


def test_one_sentence_of_another_image_is_inserted_whole():
    samples = samples_of(40)
    image_of = {sample.id: sample.image for sample in samples}
    caption_of = {sample.id: sample.caption for sample in samples}
    for sample, spoilt in zip(samples, with_false_sentences(samples), strict=True):
        sentence = spoilt.text[slice(*spoilt.span)]
        assert image_of[spoilt.donor] != sample.image
        assert sentence in caption_of[spoilt.donor] and sentence.startswith("Thing") and sentence.endswith(".")
        found = [spoilt.text[a:b] for a, b in split_sentences(spoilt.text)]
        assert len(found) == 4
        found.remove(sentence)
        assert found == [sample.caption[a:b] for a, b in split_sentences(sample.caption)]


def test_draws_are_even_over_places_and_sentences():
    samples = samples_of(4000)
    spoilt = with_false_sentences(samples)
    gaps = Counter(s.text.split(" is here.").index(s.text[slice(*s.span)].removesuffix(" is here."))
                   if s.span[0] == 0 else sum(end <= s.span[0] for _, end in split_sentences(s.text))
                   for s in spoilt)  # fmt: skip
    assert set(gaps) == {0, 1, 2, 3}
    assert all(900 < count < 1100 for count in gaps.values())
    which = Counter(s.text[slice(*s.span)][6] for s in spoilt)
    assert all(1200 < count < 1470 for count in which.values())
    assert max(Counter(s.donor for s in spoilt).values()) < 12  # evenly over donors, too


def test_order_does_not_matter_and_the_seed_does():
    samples = samples_of(60)
    drawn = dict(zip([s.id for s in samples], with_false_sentences(samples), strict=True))
    shuffled = random.Random(0).sample(samples, len(samples))
    assert dict(zip([s.id for s in shuffled], with_false_sentences(shuffled), strict=True)) == drawn
    other = with_false_sentences(samples, seed=1)
    assert sum(a.text == b.text for a, b in zip(drawn.values(), other, strict=True)) < 6


def test_what_the_image_has_itself_is_not_false():
    captions = ["It is day. A dog runs.", "it is  day. A cat sits.", "It is day.", "It is day. A dog runs."]
    samples = [Sample(id=f"s{i}", image=f"{i // 3}.png", caption=caption) for i, caption in enumerate(captions)]
    with pytest.raises(DataError, match="false for sample 's0'"):  # all that image 1 says, image 0 says as well
        with_false_sentences(samples)
    samples = [replace(sample, image=f"{i}.png") for i, sample in enumerate(samples[:3])]
    for seed in range(10):
        drawn = [s.text[slice(*s.span)] for s in with_false_sentences(samples, seed=seed)]
        assert drawn[0] == "A cat sits." and drawn[1] == "A dog runs."


def test_captions_that_say_nothing_or_are_alone():
    nothing = Sample(id="n", image="n.png", caption="... ")
    other = Sample(id="o", image="o.png", caption="A dog runs.")
    with pytest.raises(DataError, match="no other image has a sentence that would be false for sample 'o'"):
        with_false_sentences([nothing, other])
    assert with_false_sentences([nothing, other, replace(other, id="p", image="p.png", caption="A cat.")])[0].text in (
        "... A dog runs.",
        "... A cat.",
    )
    with pytest.raises(DataError):
        with_false_sentences([other])


def test_the_change_equals_two_plain_retrievals(encoder, source):
    result = evaluate_robustness(encoder, source, protocol=SMALL)
    spoilt = with_false_sentences(list(source))
    texts = {sample.id: caption.text for sample, caption in zip(source, spoilt, strict=True)}
    plain = replace(PROTOCOLS["short-retrieval"], ks=(1, 2))
    clean = evaluate_retrieval(encoder, source, protocol=plain)
    captions = tuple(replace(sample, caption=texts[sample.id], regions=()) for sample in source)
    false = evaluate_retrieval(encoder, replace(source, entries=captions), protocol=plain)
    for way in ("t2i", "i2t"):
        figures, queries = getattr(result, way), result.queries[way]
        for key in ("R@1", "R@2"):
            assert figures[key] == pytest.approx(getattr(clean, way)[key])
            assert figures[f"false {key}"] == pytest.approx(getattr(false, way)[key])
            after, before = (one.queries[way].values[key] for one in (false, clean))
            change, ends = paired_bootstrap(after, before, queries.image_Q)
            assert figures[f"change {key}"] == pytest.approx(100 * change)
            assert result.ci95[way][f"change {key}"] == pytest.approx([100 * end for end in ends], abs=1e-6)
    assert any(value for way in (result.t2i, result.i2t) for name, value in way.items() if "change" in name)
    assert mean_change(result) == pytest.approx(np.mean([result.t2i["change R@1"], result.i2t["change R@1"]]))
    assert result.counts == {"images": 6, "captions": 8, "false_beyond_limit": 0}


def test_false_sentences_beyond_the_text_limit_are_counted_and_change_nothing(encoder, source):
    filler = ", ".join(["word"] * 100)
    samples = [replace(s, caption=f"Begin {s.id} {filler}.", regions=()) for s in source]
    spoilt = with_false_sentences(samples)
    late = sum(caption.span[0] > 0 for caption in spoilt)
    result = evaluate_robustness(encoder, replace(source, entries=tuple(samples)), protocol=SMALL)
    assert 0 < late < len(samples)
    assert result.counts["false_beyond_limit"] == late
