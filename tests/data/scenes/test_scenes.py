"""The built-in data set: what is promised about its scenes, captions and files."""

import hashlib
import json
import random
from collections import Counter
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
from PIL import Image, ImageDraw
from transformers import AutoTokenizer

from fastgoal.data.scenes import ScenesConfig, draw_samples, write_scenes
from fastgoal.data.scenes.captions import long_caption, short_caption
from fastgoal.data.scenes.dice import Dice
from fastgoal.data.scenes.layout import CANVAS, GROUNDS, GROUP, SIZES, make_scene
from fastgoal.data.scenes.painter import COLOURS, TEXTURES, Drawn, paint
from fastgoal.data.scenes.shapes import OUTLINES, TURNS, mask
from fastgoal.data.sentences import split_sentences
from fastgoal.errors import ConfigError, DataError

CAST = Drawn()


def scene(index, *, objects=(1, 10), contrast=0.5, seed=3):
    return make_scene(CAST, seed=seed, index=index, objects=objects, contrast=contrast)


def test_the_world_is_as_large_as_promised():
    assert (len(OUTLINES), len(COLOURS), len(TEXTURES), len(SIZES)) >= (16, 12, 4, 3)
    assert len(GROUNDS) >= 8
    assert CANVAS >= 256


def test_dice_follow_pythons_promised_sequence():
    """The first throws of a named stream, computed from `random.Random(str).random()` alone."""
    plain = random.Random("7/scene/3")
    throws = [plain.random() for _ in range(4)]
    dice = Dice(7, "scene", 3)
    assert [dice.below(1000) for _ in range(4)] == [int(throw * 1000) for throw in throws]


def test_a_scene_is_known_by_seed_and_index_to_the_last_pixel():
    drawn = scene(41)
    image, boxes = paint(drawn, CAST)
    digest = hashlib.sha256(image.tobytes() + repr(boxes).encode() + long_caption(drawn, Dice("c")).text.encode())
    assert digest.hexdigest()[:16] == "e0b39113cb224b8d"


def test_scenes_do_not_depend_on_which_were_drawn_before():
    alone = scene(17)
    assert [scene(i) for i in range(16, 19)][1] == alone


@pytest.mark.parametrize("shape", OUTLINES)
def test_outlines_stay_inside_their_square_at_every_turn(shape):
    for turn in range(len(TURNS)):
        coverage = np.asarray(mask(shape, 95, turn))
        rim = np.concatenate([coverage[0], coverage[-1], coverage[:, 0], coverage[:, -1]])
        assert rim.max() == 0 and (coverage > 127).mean() > 0.1


def test_shapes_can_be_told_apart():
    """No two outlines overlap by more than nine tenths, so a name is a visible difference."""
    solid = {name: np.asarray(mask(name, 90, 2)) > 127 for name in OUTLINES}
    for a in solid:
        for b in solid:
            if a < b:
                assert (solid[a] & solid[b]).sum() / (solid[a] | solid[b]).sum() < 0.9, (a, b)


def test_boxes_are_where_pixels_change():
    """Every box, against the scene painted without that thing: the difference (shadow aside) lies in the box."""
    drawn = scene(5, objects=(6, 6), contrast=0)
    image, boxes = paint(drawn, CAST)
    for i, (x1, y1, x2, y2) in enumerate(boxes):
        without, _ = paint(replace(drawn, things=drawn.things[:i] + drawn.things[i + 1 :]), CAST)
        changed = np.abs(np.asarray(image, int) - np.asarray(without, int)).max(-1) > 60
        ys, xs = np.nonzero(changed)
        assert x1 - 1 <= xs.min() and xs.max() <= x2 + 7 and y1 - 1 <= ys.min() and ys.max() <= y2 + 8
        assert changed[int(y1) : int(y2), int(x1) : int(x2)].mean() > 0.1


def test_objects_measure_40_to_80_pixels():
    sides = [max(x2 - x1, y2 - y1) for i in range(60) for x1, y1, x2, y2 in paint(scene(i), CAST)[1]]
    assert min(sides) >= 36 and max(sides) <= 88


def test_contrasting_groups_differ_in_one_or_two_things_only():
    seen = Counter()
    for first in range(0, 400, GROUP):
        base, *others = (scene(first + i, objects=(4, 9), contrast=1) for i in range(GROUP))
        for other in others:
            assert (other.ground, other.light, other.offset) == (base.ground, base.light, base.offset)
            changed = sum(a != b for a, b in zip(base.things, other.things, strict=True))
            seen[changed] += 1
    assert set(seen) <= {0, 1, 2} and seen[0] < 0.03 * sum(seen.values()) and seen[2] > 20


def test_without_contrast_neighbours_share_nothing():
    assert len({scene(i, contrast=0).offset for i in range(40)}) > 35


def test_every_name_in_a_scene_is_unambiguous():
    for i in range(200):
        names = [(thing.colour, thing.name) for thing in scene(i).things]
        assert len(set(names)) == len(names)


def test_long_captions_describe_every_thing_in_a_sentence_of_its_own():
    for i in range(80):
        drawn = scene(i)
        caption = long_caption(drawn, Dice("x", i))
        spans = split_sentences(caption.text)
        assert set(caption.spans) == set(range(len(drawn.things)))
        for at, span in caption.spans.items():
            sentence = caption.text[slice(*span)]
            thing = drawn.things[at]
            assert span in spans
            assert thing.name in sentence and thing.colour in sentence
            assert (thing.accent or "") in sentence or thing.texture == "striped" or "ed " in sentence


def test_long_captions_hold_60_to_250_tokens_and_short_ones_few(tiny_tokenizer):
    long = [len(tiny_tokenizer(long_caption(scene(i), Dice("x", i)).text).input_ids) for i in range(300)]
    short = [len(tiny_tokenizer(short_caption(scene(i), Dice("x", i)).text).input_ids) for i in range(300)]
    assert min(long) >= 60 and max(long) <= 250
    assert max(short) <= 60


def test_wording_and_order_vary():
    drawn = scene(9, objects=(5, 5))
    captions = [long_caption(drawn, Dice("v", i)) for i in range(30)]
    assert len({caption.text for caption in captions}) == 30
    assert len({tuple(sorted(caption.spans, key=caption.spans.get)) for caption in captions}) > 15


def test_short_captions_point_at_their_things():
    for i in range(80):
        caption = short_caption(scene(i), Dice("s", i))
        assert 1 <= len(caption.spans) <= 3
        for at, span in caption.spans.items():
            assert scene(i).things[at].name in caption.text[slice(*span)]


def test_fine_textures_are_marginal_but_not_lost_at_96_pixels():
    """A textured thing differs from a plain one in the whole view by some grey levels, in a close-up by many more."""
    drawn = scene(0, objects=(1, 1), contrast=0)
    contrasts = []
    for side in (96, None):
        things = [
            replace(drawn, things=(replace(drawn.things[0], texture=texture, accent="white", colour="blue"),))
            for texture in ("striped", "checkered")
        ]
        views = []
        for one in things:
            image, boxes = paint(one, CAST)
            window = (0, 0, CANVAS, CANVAS) if side else boxes[0]
            views.append(np.asarray(image.resize((96, 96), Image.Resampling.BICUBIC, box=window), float))
        difference = np.abs(views[0] - views[1]).max(-1)
        contrasts.append(difference[difference > 4].mean())
    whole, close = contrasts
    assert 15 < whole < close


def test_written_splits_follow_the_data_contract(tmp_path):
    config = ScenesConfig(train=6, val=2, test=3, seed=5)
    report = write_scenes(tmp_path, config, progress=False)
    assert report["counts"] == {"train": 6, "val": 2, "test": 3}
    lines = [json.loads(line) for line in (tmp_path / "train" / "captions.jsonl").read_text().splitlines()]
    assert len(lines) == 6
    for line, (sample, drawn) in zip(lines, draw_samples(config, "train", 6), strict=True):
        assert (line["id"], line["caption"]) == (sample.id, sample.caption)
        stored = np.asarray(Image.open(tmp_path / "train" / line["image"]), int)
        assert np.abs(stored - np.asarray(drawn, int)).mean() < 4
        for region in line["regions"]:
            start, end = region["span"]
            assert region["label"].split()[-1] in line["caption"][start:end]


def test_splits_share_no_scene():
    config = ScenesConfig()
    captions = {
        split: {sample.caption for sample, _ in draw_samples(config, split, 20)} for split in ("train", "val", "test")
    }
    assert not captions["train"] & captions["val"] and not captions["train"] & captions["test"]


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"objects": (0, 4)}, "objects"),
        ({"objects": (5, 11)}, "objects"),
        ({"contrast": 1.5}, "contrast"),
        ({"val": -1}, "val"),
    ],
)
def test_settings_out_of_range_are_named(settings, field):
    with pytest.raises(ConfigError, match=field):
        ScenesConfig(**settings)


@pytest.fixture(scope="module")
def tiny_tokenizer():
    return AutoTokenizer.from_pretrained(files("fastgoal") / "assets" / "tiny", local_files_only=True)


@pytest.fixture
def sprites(tmp_path):
    folder = tmp_path / "sprites"
    folder.mkdir()
    for name, colour in (("red_mug", "red"), ("blue_boat", "blue"), ("old-lamp", "orange")):
        image = Image.new("RGBA", (60, 90))
        ImageDraw.Draw(image).ellipse((5, 5, 55, 85), fill=colour)
        image.save(folder / f"{name}.png")
    return folder


def test_sprites_are_called_by_their_file_names(sprites):
    config = ScenesConfig(objects=(2, 3), sprites=str(sprites))
    for sample, image in draw_samples(config, "test", 12):
        assert image.size == (CANVAS, CANVAS)
        assert 2 <= len(sample.regions) <= 3
        for region in sample.regions:
            assert region.label in {"red mug", "blue boat", "old lamp"}
            assert region.label in sample.caption[slice(*region.span)]


def test_unusable_sprites_are_named(sprites, tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        next(draw_samples(ScenesConfig(sprites=str(tmp_path / "nowhere")), "test", 1))
    Image.new("RGB", (10, 10)).save(sprites / "blue_boat.png")
    with pytest.raises(DataError, match=r"blue_boat\.png: this sprite has no transparency"):
        list(draw_samples(ScenesConfig(objects=(3, 3), sprites=str(sprites)), "test", 8))
