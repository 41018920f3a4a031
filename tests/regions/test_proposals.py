"""Proposals on pictures drawn here, whose boxes are known."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from fastgoal.geometry import iou_matrix
from fastgoal.regions import ProposalRegions

GROUNDS = [(200, 180, 140), (90, 140, 80), (60, 60, 90), (180, 185, 190)]
COLOURS = [(200, 40, 40), (40, 80, 210), (240, 210, 40), (20, 20, 25), (130, 50, 170)]


def scene(seed, size=(320, 320)):
    """A softly textured ground with three to five plain or striped things of 40 to 80 px, and their boxes."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(-20, 21, (size[1] // 8, size[0] // 8), dtype=np.int16)
    soft = np.asarray(Image.fromarray((noise + 128).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC), dtype=int)
    grain = rng.integers(-10, 11, (size[1], size[0], 1))
    ground = np.array(GROUNDS[seed % len(GROUNDS)]) + (soft[..., None] - 128) + grain
    image = Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8))
    draw, boxes = ImageDraw.Draw(image), []
    for _ in range(60):
        side = int(rng.integers(40, 81))
        x, y = (int(rng.integers(0, limit - side + 1)) for limit in size)
        grown = (x - 6, y - 6, x + side + 6, y + side + 6)
        if len(boxes) == 5 or (boxes and iou_matrix([grown], boxes).max() > 0):
            continue
        thing(draw, (x, y, x + side, y + side), rng)
        boxes.append((x, y, x + side, y + side))
    return image, boxes


def thing(draw, box, rng):
    colour, stripe = (COLOURS[i] for i in rng.permutation(len(COLOURS))[:2])
    x1, y1, x2, y2 = box
    if rng.random() < 0.5:
        draw.ellipse((x1, y1, x2 - 1, y2 - 1), fill=colour)
        return
    draw.rectangle((x1, y1, x2 - 1, y2 - 1), fill=colour)
    for y in range(y1 + 6, y2 - 6, 12):
        draw.rectangle((x1, y, x2 - 1, y + 5), fill=stripe)


def recall(scenes, proposer):
    found = proposer.propose([image for image, _ in scenes])
    best = [
        iou_matrix(boxes, [r.box for r in regions]).max(1, initial=0)
        for (_, boxes), regions in zip(scenes, found, strict=True)
    ]
    return float((np.concatenate(best) >= 0.5).mean())


def test_compact_things_on_soft_grounds_are_found():
    assert recall([scene(seed) for seed in range(24)], ProposalRegions()) >= 0.97


def test_things_on_two_grounds_at_once_are_found():
    """Half of one scene beside half of another: neither half is an object."""
    scenes = []
    for seed in range(12):
        (left, left_boxes), (right, right_boxes) = scene(seed), scene(seed + 1)
        left.paste(right.crop((160, 0, 320, 320)), (160, 0))
        scenes.append((left, [b for b in left_boxes if b[2] <= 160] + [b for b in right_boxes if b[0] >= 160]))
    assert recall([(image, boxes) for image, boxes in scenes if boxes], ProposalRegions()) >= 0.9


def test_scale_does_not_matter():
    image, boxes = scene(3)
    large = image.resize((1280, 1280), Image.Resampling.NEAREST)
    assert recall([(large, [tuple(4 * v for v in box) for box in boxes])], ProposalRegions()) == 1


def test_limits_hold_and_nothing_is_random():
    images = [scene(seed, (400, 260))[0] for seed in range(6)]
    proposer = ProposalRegions(min_area=0.02, max_area=0.1, nms_iou=0.4, max_regions=3)
    found = proposer.propose(images)
    assert found == [proposer.propose([image])[0] for image in images]
    for regions in found:
        boxes = np.array([r.box for r in regions])
        shares = (boxes[:, 2:] - boxes[:, :2]).prod(1) / (400 * 260)
        assert 1 <= len(regions) <= 3
        assert ((shares >= 0.02) & (shares <= 0.1)).all()
        assert (np.triu(iou_matrix(boxes, boxes), 1) <= 0.4).all()
        assert (boxes == boxes.round()).all()
        assert {r.source for r in regions} == {"proposal"}
        assert all(0 <= r.score <= 1 for r in regions)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (1000, 3), (3, 900), (64, 64)])
def test_odd_and_empty_pictures_have_no_regions(size):
    assert ProposalRegions().propose([Image.new("RGB", size, "grey")]) == [[]]
