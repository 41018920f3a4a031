"""Several sources as one, and their names."""

import pytest
from PIL import Image

from fastgoal.data.samples import GivenRegion, Sample
from fastgoal.errors import ConfigError, ModelError
from fastgoal.regions import (
    Combined,
    FixedRegions,
    GivenRegions,
    ProposalRegions,
    Region,
    make_proposer,
    propose_for,
)


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
    with pytest.raises(ConfigError, match="flism, detector, proposals, fixed, given"):
        make_proposer("yolo")
    with pytest.raises(ModelError):
        make_proposer("flism", detector=str(tmp_path))
