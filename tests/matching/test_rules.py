"""Pairs that the data knows, and their choice; the published rules are tested in `test_match`."""

import numpy as np

from fastgoal.data.samples import GivenRegion
from fastgoal.matching.rules import about, allowed_pairs, known_pairs
from fastgoal.regions.region import Region

SENTENCES = [(0, 10), (11, 20), (21, 30)]
GIVEN = (
    GivenRegion(box=(0, 0, 10, 10), span=(11, 20)),
    GivenRegion(box=(50, 50, 80, 80), span=(2, 5)),
    GivenRegion(box=(5, 5, 9, 9)),
)
REGIONS = [Region(box=box, source="given") for box in ((49, 50, 80, 80), (0, 0, 10, 11), (5, 5, 9, 9))]


def test_a_sentence_is_about_the_boxes_whose_span_it_touches():
    assert about(SENTENCES, GIVEN).tolist() == [[False, True, False], [True, False, False], [False, False, False]]


def test_sentences_know_their_regions_also_when_order_and_rounding_differ():
    known = known_pairs(SENTENCES, GIVEN, REGIONS)
    assert known.tolist() == [[True, False, False], [False, True, False], [False, False, False]]


def test_without_sentences_boxes_or_regions_nothing_is_known():
    assert known_pairs([], GIVEN, REGIONS).shape == (0, 3)
    assert not known_pairs(SENTENCES, (), REGIONS).any()
    assert known_pairs(SENTENCES, GIVEN, []).shape == (3, 0)


def test_a_region_that_is_not_the_box_is_not_its_truth():
    assert not known_pairs(SENTENCES, GIVEN, [Region(box=(0, 0, 100, 100), source="fixed")]).any()
    outside = (GivenRegion(box=(500, 500, 520, 520), span=(0, 5)),)
    assert not known_pairs(SENTENCES, outside, REGIONS).any()


def test_only_allowed_pairs_are_chosen_best_first():
    known = known_pairs(SENTENCES, GIVEN, REGIONS)
    sim = np.array([[0.2, 0.9, 0.1], [0.9, 0.6, 0.1], [0.99, 0.99, 0.99]])
    pairs = allowed_pairs(sim, known)
    assert [(pair.sentence, pair.region, pair.similarity) for pair in pairs] == [(1, 1, 0.6), (0, 0, 0.2)]
    assert allowed_pairs(sim, np.zeros_like(known)) == []
