"""Splits by image: disjoint, in the right proportion, and stable when the data changes around a sample."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgoal.data.samples import Sample
from fastgoal.data.source import Source
from fastgoal.data.splits import same_pictures
from fastgoal.data.splits import split_by_image as split_source
from fastgoal.errors import ConfigError


def samples(images: int, captions: int = 2) -> list[Sample]:
    return [
        Sample(id=f"{i}-{c}", image=f"images/{i}.jpg" if c else f"./images/{i}.jpg", caption="A.")
        for i in range(images)
        for c in range(captions)
    ]


def split_by_image(samples: list[Sample], shares=(0.8, 0.1, 0.1), seed: int = 0) -> dict[str, list[Sample]]:
    source = Source(name="samples", root=Path(), entries=tuple(samples))
    return {name: list(part) for name, part in split_source(source, shares, seed).items()}


def test_every_sample_is_in_one_split_and_no_image_in_two() -> None:
    splits = split_by_image(samples(300), (0.6, 0.2, 0.2))
    assert sorted(s.id for part in splits.values() for s in part) == sorted(s.id for s in samples(300))
    images = [{s.image.removeprefix("./") for s in part} for part in splits.values()]
    assert sum(map(len, images)) == len(set.union(*images)) == 300


def test_shares_are_met_within_chance() -> None:
    splits = split_by_image(samples(4000, captions=1), (0.7, 0.1, 0.2), seed=3)
    shares = [len(splits[name]) / 4000 for name in ("train", "val", "test")]
    assert shares == pytest.approx([0.7, 0.1, 0.2], abs=4 * (0.21 / 4000) ** 0.5)  # four standard deviations


def test_a_split_depends_on_seed_and_image_alone() -> None:
    few, many = samples(50), samples(200)
    random.Random(0).shuffle(many)
    before, after = split_by_image(few), split_by_image(many)
    for name, part in before.items():
        assert {s.id for s in part} <= {s.id for s in after[name]}
    assert [s.id for s in after["train"]] == [s.id for s in many if s in after["train"]]
    assert split_by_image(few, seed=1) != before


@pytest.mark.parametrize(
    ("shares", "empty"), [((1.0, 0.0, 0.0), {"val", "test"}), ((0.5, 0.5, 0.0), {"test"}), ((0.5, 0.0, 0.5), {"val"})]
)
def test_a_share_of_zero_gives_an_empty_split(shares: tuple[float, float, float], empty: set[str]) -> None:
    assert {name for name, part in split_by_image(samples(500), shares).items() if not part} == empty


@pytest.mark.parametrize("shares", [(0.5, 0.5, 0.5), (1.2, -0.1, -0.1), (0.8, 0.1, 0.05)])
def test_shares_that_divide_nothing_are_refused(shares: tuple[float, float, float]) -> None:
    with pytest.raises(ConfigError, match="no division of the whole"):
        split_by_image(samples(1), shares)


def test_equal_pictures_under_two_names_go_to_one_split(tmp_path: Path) -> None:
    for i in range(40):
        (tmp_path / f"{i}.jpg").write_bytes(bytes([i % 20]) * (10 + i % 3))
    (tmp_path / "40.jpg").write_bytes(b"alone")
    pairs = [Sample(id=str(i), image=f"{i}.jpg", caption="A.") for i in (*range(41), 99)]
    source = Source(name="twice", root=tmp_path, entries=tuple(pairs))
    slow = {}
    for i in range(41):
        content = (tmp_path / f"{i}.jpg").read_bytes()
        twin = next(j for j in range(41) if (tmp_path / f"{j}.jpg").read_bytes() == content)
        slow |= {f"{i}.jpg": f"{twin}.jpg"} if twin != i else {}
    same = same_pictures(source)
    assert same == slow
    parts = split_source(source, (0.4, 0.3, 0.3), 0, same)
    split_of = {sample.image: name for name, part in parts.items() for sample in part}
    assert all(split_of[image] == split_of[first] for image, first in same.items())
    assert len(split_of) == 42


NAMES = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(images=NAMES, seed=st.integers(0, 2**32), cut=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_every_sample_has_one_split_whatever_it_is_called(images, seed, cut) -> None:
    low, high = sorted(cut)
    samples = [Sample(id=str(i), image=image, caption="A.") for i, image in enumerate(images)]
    splits = split_by_image(samples, (low, high - low, 1 - high), seed)
    assert sorted(sample.id for part in splits.values() for sample in part) == sorted(sample.id for sample in samples)
    split_of = {}
    for name, part in splits.items():
        for sample in part:
            assert split_of.setdefault(sample.image, name) == name
    again = split_by_image(samples[::-1], (low, high - low, 1 - high), seed)
    assert {name: {sample.id for sample in part} for name, part in again.items()} == {
        name: {sample.id for sample in part} for name, part in splits.items()
    }
