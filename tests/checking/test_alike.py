import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fastgoal.checking.alike import BITS, alike, bits_apart, picture_hashes, repeats, shared

FEW = st.lists(st.integers(0, 6), max_size=30)


def hashes(values):
    return np.array(values, dtype=np.uint64)


@given(FEW)
def test_repeats_equal_the_slow_way(values):
    first = {}
    expected = [(i, first[v]) for i, v in enumerate(values) if first.setdefault(v, i) != i]
    later_K, first_K = repeats(hashes(values))
    assert list(zip(later_K.tolist(), first_K.tolist(), strict=True)) == expected


@given(FEW, FEW)
def test_shared_equals_the_slow_way(one, other):
    expected = [(i, other.index(v)) for i, v in enumerate(one) if v in other]
    at_K, of_K = shared(hashes(one), hashes(other))
    assert list(zip(at_K.tolist(), of_K.tolist(), strict=True)) == expected


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_bits_apart_is_the_hamming_distance(a, b):
    assert bits_apart(hashes([a]), hashes([b])).tolist() == [(a ^ b).bit_count()]


@given(st.integers(0, 2**32), st.integers(2, 16))
def test_alike_equals_the_slow_way_on_few(seed, count):
    """With at most 16 neighbours every pair is looked at."""
    dice = np.random.default_rng(seed)
    base = int(dice.integers(0, 2**63))
    shapes = [
        base ^ sum(1 << int(bit) for bit in dice.choice(64, int(dice.integers(0, 6)), False)) for _ in range(count)
    ]
    colours = [int(shade) for shade in dice.integers(0, 4, count)]
    expected = {}
    for later in range(count):
        for first in range(later):
            near = (shapes[later] ^ shapes[first]).bit_count() <= BITS and abs(colours[later] - colours[first]) <= 1
            if near and later not in expected:
                expected[later] = first
    later_K, first_K = alike(hashes(shapes), hashes(colours))
    assert dict(zip(later_K.tolist(), first_K.tolist(), strict=True)) == expected


def test_copies_are_found_among_many():
    dice = np.random.default_rng(0)
    shape_N = dice.integers(0, 2**64, 5000, dtype=np.uint64)
    copy_K = shape_N[:50] ^ np.uint64(1 << 3 | 1 << 40)  # two bits in two of the four quarters
    later_K, first_K = alike(np.concatenate([shape_N, copy_K]), np.zeros(5050, dtype=np.uint64))
    assert later_K.tolist() == list(range(5000, 5050))
    assert first_K.tolist() == list(range(50))
    side_N = np.arange(5050) >= 5020
    assert len(alike(np.concatenate([shape_N, copy_K]), np.zeros(5050, dtype=np.uint64), side_N)[0]) == 30
    assert not len(alike(shape_N, np.zeros(5000, dtype=np.uint64), side_N[:5000])[0])
    assert not len(alike(shape_N[:1], shape_N[:1])[0]) and not len(alike(shape_N[:0], shape_N[:0])[0])


def noise(seed):
    small = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((400, 300), Image.Resampling.BICUBIC)


def likeness(one, other):
    (shape_a, colours_a, _), (shape_b, colours_b, _) = picture_hashes(one), picture_hashes(other)
    return len(alike(hashes([shape_a, shape_b]), hashes([colours_a, colours_b]))[0]) == 1


@pytest.mark.parametrize("seed", range(5))
def test_scaled_recompressed_and_retouched_pictures_look_alike_and_others_do_not(seed):
    image, out = noise(seed), io.BytesIO()
    image.save(out, "JPEG", quality=30)
    retouched = image.copy()
    retouched.paste("black", (150, 100, 170, 120))
    assert likeness(image, image.resize((133, 100)))
    assert likeness(image, Image.open(out))
    assert likeness(image, retouched)
    assert not likeness(image, noise(seed + 100))
    assert not likeness(image, image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))


def test_plain_pictures_are_told():
    assert picture_hashes(Image.new("RGB", (3, 200), "red"))[2]
    assert picture_hashes(Image.new("RGB", (1, 1)))[2]
    assert not picture_hashes(noise(0))[2]
