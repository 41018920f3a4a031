"""View sets: decoded once, the same pixels as from the files."""

from dataclasses import replace

import numpy as np
import pytest

from fastgoal.data.images import fit_pixels, read_image
from fastgoal.errors import ConfigError, DataError
from fastgoal.evaluation import views as module
from fastgoal.evaluation.views import ViewSet


@pytest.fixture
def decoded(monkeypatch):
    """Names of the files read, in order of the reads."""
    names = []

    def counting(path, where=None):
        names.append(path.name)
        return read_image(path)

    monkeypatch.setattr(module, "read_image", counting)
    return names


def test_views_are_the_fitted_images_in_order(source, encoder):
    images = list(dict.fromkeys(sample.image for sample in source))
    views = ViewSet.of(source, encoder.fit)
    expected = [fit_pixels(read_image(source.root / image), encoder.fit) for image in images]
    assert len(views) == len(images)
    for _ in range(2):
        np.testing.assert_array_equal(np.stack(list(views)), np.stack(expected))
    assert views.size_of["2.png"] == (48, 90)


def test_kept_views_decode_once_and_crops_share_the_decode(source, encoder, decoded):
    wanted = [("0.png", None), ("0.png", (0, 0, 20, 30)), ("1.png", None)]
    views = ViewSet(wanted, source.images, encoder.fit)
    first, second = np.stack(list(views)), np.stack(list(views))
    assert sorted(decoded) == ["0.png", "1.png"]
    assert np.array_equal(first, second)
    crop = fit_pixels(read_image(source.root / "0.png"), encoder.fit, (0, 0, 20, 30))
    assert np.array_equal(first[1], crop)


def test_streamed_views_keep_nothing(source, encoder, decoded):
    views = ViewSet.of(source, encoder.fit, keep=False)
    assert np.array_equal(np.stack(list(views)), np.stack(list(views)))
    assert len(decoded) == 2 * len(views)


def test_an_interrupted_pass_is_not_taken_for_a_whole_one(source, encoder):
    views = ViewSet.of(source, encoder.fit)
    next(iter(views))
    assert len(list(views)) == len(views)


def test_views_of_other_images_or_another_fit_are_refused(source, encoder):
    views = ViewSet.of(source, replace(encoder.fit, mode="squash"))
    with pytest.raises(ConfigError, match="other images"):
        views.check([("0.png", None)], encoder)
    with pytest.raises(ConfigError, match="a view set for each image fit"):
        views.check(views.wanted, encoder)
    other_normalisation = ViewSet.of(source, replace(encoder.fit, mean=(0.5, 0.5, 0.5)))
    other_normalisation.check(other_normalisation.wanted, encoder)


def test_a_missing_image_is_named(source, encoder):
    with pytest.raises(DataError, match=r"gone\.png"):
        list(ViewSet([("gone.png", None)], source.images, encoder.fit))
