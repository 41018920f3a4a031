"""Several sources as one, and their names."""

from dataclasses import replace
from typing import ClassVar

import pytest
from PIL import Image
from tests.regions.small import save_small_owl, save_small_sam

from fastgoal.data.samples import GivenRegion, Sample
from fastgoal.errors import ConfigError, ModelError
from fastgoal.regions import (
    Combined,
    FixedRegions,
    GivenRegions,
    OpenVocabularyRegions,
    ProposalRegions,
    Region,
    SamRegions,
    make_proposer,
    propose_for,
)
from fastgoal.regions.region import reads


class Fake:
    """Two boxes per image, the first of them also a quadrant."""

    def propose(self, images):
        boxes = [(0.0, 0.0, image.width / 2, image.height / 2) for image in images]
        return [[Region(box=box, source="sam", score=0.5), Region(box=(1, 2, 3, 4), source="sam")] for box in boxes]


IMAGES = [Image.new("RGB", (80, 40)), Image.new("RGB", (20, 60))]


def test_sources_follow_each_other_and_twins_go():
    fixed, fake = FixedRegions().propose(IMAGES), Fake().propose(IMAGES)
    assert Combined([Fake(), FixedRegions()]).propose(IMAGES) == [a + b[1:] for a, b in zip(fake, fixed, strict=True)]
    assert Combined([FixedRegions(), Fake()]).propose(IMAGES) == [b + a[1:] for a, b in zip(fake, fixed, strict=True)]
    assert Combined([]).propose(IMAGES) == [[], []]


def test_given_regions_pass_through_a_combination():
    samples = [Sample(id=n, image=n, caption="", regions=(GivenRegion(box=(5, 5, 9, 9)),)) for n in "ab"]
    for combined in (Combined([GivenRegions(), Fake()]), Combined([Combined([GivenRegions()]), Fake()])):
        got = propose_for(combined, samples, IMAGES)
        assert [[r.source for r in regions] for regions in got] == [["given", "sam", "sam"]] * 2
    assert propose_for(Fake(), samples, IMAGES) == Fake().propose(IMAGES)


def test_names_of_the_command_line(tmp_path):
    assert isinstance(make_proposer("given"), GivenRegions)
    assert isinstance(make_proposer("fixed"), FixedRegions)
    assert isinstance(make_proposer("proposals"), ProposalRegions)
    assert [type(p) for p in make_proposer("flism").proposers] == [ProposalRegions, FixedRegions]
    with pytest.raises(ConfigError, match="flism, lism, detector, open-vocabulary, proposals, fixed, given"):
        make_proposer("yolo")
    for name, model in {"flism": "detector", "open-vocabulary": "detector", "lism": "sam"}.items():
        with pytest.raises(ModelError, match=str(tmp_path)):
            make_proposer(name, **{model: str(tmp_path)})


@pytest.mark.parametrize(
    ("name", "model"), [("flism", "sam"), ("given", "sam"), ("fixed", "detector"), ("lism", "detector")]
)
def test_a_model_that_the_regions_have_no_use_for_is_refused(name, model):
    with pytest.raises(ConfigError, match=f"regions '{name}' have no use for a --{model}") as caught:
        make_proposer(name, **{model: "some"})
    assert caught.value.where == model


def test_lism_and_open_vocabulary_are_their_models(tmp_path):
    assert isinstance(make_proposer("lism", sam=str(save_small_sam(tmp_path / "sam"))), SamRegions)
    owl = make_proposer("open-vocabulary", detector=str(save_small_owl(tmp_path / "owl")))
    assert isinstance(owl, OpenVocabularyRegions)


class Words:
    """A region per caption, as wide as it has characters; counts what it proposes."""

    stages: ClassVar = {"letters": 3}

    def propose(self, images):
        raise ConfigError("no words")

    def propose_for(self, samples, images):
        return [[Region(box=(0, 0, len(sample.caption), 1), source="detector")] for sample in samples]

    def reads(self, sample):
        return sample.caption


def test_what_needs_samples_says_what_it_reads_of_them():
    long, short = (Sample(id=text, image="a", caption=text) for text in ("red ball", "box"))
    boxed = replace(long, regions=(GivenRegion(box=(5, 5, 9, 9)),))
    assert reads(Words(), long) != reads(Words(), short)
    assert reads(Words(), long) == reads(Words(), boxed)
    assert reads(GivenRegions(), long) == reads(GivenRegions(), short) != reads(GivenRegions(), boxed)
    assert reads(FixedRegions(), long) == reads(FixedRegions(), boxed)
    both = Combined([Words(), FixedRegions(), Combined([GivenRegions()])])
    assert len({reads(both, sample) for sample in (long, short, boxed, replace(boxed, id="x", image="y"))}) == 3
    assert reads(Combined([FixedRegions(), Fake()]), long) == reads(Combined([FixedRegions(), Fake()]), boxed)
    assert [regions[0].box[2] for regions in propose_for(both, [long, short], IMAGES)] == [8, 3]
    with pytest.raises(ConfigError, match="no words"):
        both.propose(IMAGES)


def test_counts_pass_through_a_combination():
    assert Combined([Words(), FixedRegions(), Combined([Words()])]).stages == {"letters": 6}
    assert Combined([FixedRegions()]).stages == {}
