import numpy as np
import pytest

from fastgoal.checking import captions as module
from fastgoal.checking.captions import CaptionMeter, Spread, clean, evenly
from fastgoal.checking.findings import Tally
from fastgoal.data.samples import Sample
from fastgoal.models.dual_encoder import DualEncoder

TEXTS = ["A dog.", "A red ball is on the table. " * 20, "e\u0301 naïve café 🙂", "Der Hund ist auf der Wiese."]


def measure(text_model, texts, language="en", drawn=None):
    tally = Tally()
    meter = CaptionMeter(text_model, language, tally)
    for number, text in enumerate(texts):
        meter.add(Sample(id="a", image="a.jpg", caption=text, where=str(number)), drawn is None or number in drawn)
    return meter.facts(), {found.kind: found.count for found in tally.findings()}


def test_tokens_are_those_of_the_tokenizer_and_cut_where_the_model_cuts(text_model):
    facts, _ = measure(text_model, TEXTS)
    one_by_one = [len(text_model.tokenizer(text, truncation=False)["input_ids"]) for text in TEXTS]
    assert text_model.count(TEXTS) == one_by_one
    assert (facts.tokens.least, facts.tokens.most, facts.tokens.mean) == (
        min(one_by_one),
        max(one_by_one),
        round(np.mean(one_by_one), 2),
    )
    encoder = DualEncoder.load("tiny")
    assert text_model.limit == encoder.text_limit == facts.limit
    assert facts.over[77] == encoder.tokenize(TEXTS).truncated_B.mean() == 0.25
    assert set(facts.over) == {77, 248}


def test_sentences_languages_and_control_characters(text_model):
    facts, kinds = measure(text_model, [*TEXTS, "A cat.\x0b", "\ufeffA cow.\n\tNext."])
    assert (facts.sentences.least, facts.sentences.most) == (1, 20)
    assert facts.languages == {"en": 1, "de": 1, "?": 4}
    assert kinds == {"the caption does not seem to be English (a guess)": 1, "control characters in a caption": 2}
    assert not facts.sampled


def test_more_captions_than_are_measured_are_drawn_evenly(text_model, monkeypatch):
    monkeypatch.setattr(module, "_BATCH", 3)
    facts, _ = measure(text_model, TEXTS * 5, drawn={i for i in range(20) if evenly(i, 8, 20)})
    assert (facts.measured, facts.sampled, sum(facts.languages.values())) == (8, True, 8)


def test_no_captions_are_no_figures(text_model):
    facts, kinds = measure(text_model, [])
    assert (facts.tokens, facts.sentences, facts.measured, kinds) == (None, None, 0, {})


@pytest.mark.parametrize(("count", "of"), [(0, 7), (3, 7), (7, 7), (5, 3), (1, 1000), (999, 1000)])
def test_evenly_draws_exactly_so_many(count, of):
    drawn = [i for i in range(of) if evenly(i, count, of)]
    assert len(drawn) == min(count, of)
    if 1 < count < of:
        gaps = np.diff(drawn)
        assert gaps.max() - gaps.min() <= 1


def test_a_spread_is_numpy_own():
    values = np.random.default_rng(0).integers(0, 500, 200)
    spread = Spread.of(values)
    assert (spread.least, spread.most, spread.median) == (values.min(), values.max(), np.median(values))
    assert (values <= spread.p95).mean() >= 0.95 > (values < spread.p95).mean()


def test_cleaning_keeps_places():
    assert clean("\x00 A\x07b \n") == "A b"
