import io
import json
import sys
import tarfile
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fastgoal.checking import CheckSettings, audit
from fastgoal.checking.audit import _asked
from fastgoal.data.source import open_source
from fastgoal.errors import ConfigError, DataError

QUIET = CheckSettings(progress=False)


def look(folder, text_model, settings=QUIET, **options):
    return audit(open_source(folder, probe=False, **options), text_model, settings)


def kinds(found, weight):
    return {one.kind: one.count for one in found.findings if one.weight == weight}


@pytest.fixture(scope="module")
def found(messy, text_model):
    return look(messy, text_model)


def test_everything_is_counted_as_by_hand(found, truth):
    assert kinds(found, "left out") == truth.LEFT_OUT
    assert kinds(found, "mended") == truth.MENDED
    assert kinds(found, "look") == truth.LOOK
    assert (found.records, found.samples, found.usable) == (31, 31 - truth.BROKEN_RECORDS, truth.USABLE)
    assert (found.images, found.opened, found.pictures.usable) == (23, 23, 23 - truth.BROKEN_IMAGES)
    assert (found.per_image.least, found.per_image.median, found.per_image.most) == (1, 1, 2)
    assert int(found.ledger.twin_N.sum()) == truth.TWINS


def test_images_are_described(found):
    pictures = found.pictures
    assert (pictures.smallest, pictures.median, pictures.largest) == ((50, 40), (96, 72), (320, 240))
    assert (pictures.formats, pictures.modes) == ({"JPEG": 13, "PNG": 3}, {"RGB": 16})


def test_every_trouble_has_its_place_and_its_mend(found, messy):
    for one in found.findings:
        for error in one.examples:
            assert error.where.startswith(str(messy / "captions.jsonl:")), error
            assert error.mend, error
    places = {one.kind: [error.where for error in one.examples] for one in found.findings}
    assert places["the image file is empty"] == [f"{messy}/captions.jsonl:21, image images/nothing.jpg"]
    assert places["a box reaches beyond its image"] == [f"{messy}/captions.jsonl:5 regions[0]"]


def test_it_is_json(found):
    result = json.loads(json.dumps(found.to_json()))
    assert result["usable"] == found.usable
    assert len(result["findings"]) == len(found.findings)


def test_images_are_opened_once_and_only_as_many_as_asked(found, messy, text_model):
    source = open_source(messy)
    wanted = [asked for asked in _asked(source, found.ledger, found.images) if asked.wanted]
    assert sorted(asked.sample.image for asked in wanted) == sorted({sample.image for sample in source})
    assert look(messy, text_model, CheckSettings(images=5, progress=False)).opened == 5
    nothing = look(messy, text_model, CheckSettings(images=0, progress=False))
    assert (nothing.opened, nothing.pictures, nothing.usable) == (0, None, nothing.samples)
    assert kinds(nothing, "left out") == {kind: n for kind, n in kinds(found, "left out").items() if "image" not in kind
                                          or kind.startswith("image ")}  # fmt: skip
    with pytest.raises(ConfigError, match="-1 images"):
        CheckSettings(images=-1)


def test_a_box_is_held_against_the_upright_image(tmp_path, text_model, truth):
    turned = Image.Exif()
    turned[0x0112] = 6
    (tmp_path / "a.jpg").write_bytes(truth.jpeg(truth.photo(3, 100, 40), exif=turned))
    lines = [
        {"image": "a.jpg", "caption": "A tall one.", "regions": [{"box": [0, 50, 40, 100]}]},
        {"image": "a.jpg", "caption": "A wide one.", "regions": [{"box": [50, 0, 100, 40]}]},
    ]
    (tmp_path / "captions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = look(tmp_path, text_model)
    assert found.pictures.largest == (40, 100)
    assert kinds(found, "mended") == {"a box lies wholly outside its image": 1}
    assert found.findings[0].examples[0].where.endswith(":2 regions[0]")


def as_parquet(folder, pictures, captions):
    pq.write_table(pa.table({"image": pictures, "text": captions}), folder / "a.parquet")


def as_tar(folder, pictures, captions):
    with tarfile.open(folder / "a.tar", "w") as tar:
        for number, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
            for suffix, content in (("jpg", picture), ("txt", caption.encode())):
                member = tarfile.TarInfo(f"{number:03d}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def as_folder(folder, pictures, captions):
    for number, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        (folder / f"{number}.jpg").write_bytes(picture)
        (folder / f"{number}.txt").write_text(caption)


@pytest.mark.parametrize(
    ("write", "shape"),
    [(as_parquet, "Parquet (a.parquet)"), (as_tar, "WebDataset tars (a.tar)"), (as_folder, "a folder of images")],
)
def test_any_shape_of_data(tmp_path, text_model, truth, write, shape):
    pictures = [truth.jpeg(truth.photo(seed)) for seed in range(6)]
    pictures[3], pictures[5] = pictures[3][:700], pictures[0]
    write(tmp_path, pictures, [f"The picture number {number} is here." for number in range(6)])
    found = look(tmp_path, text_model)
    assert found.shape.startswith(shape)
    assert (found.samples, found.usable, found.images) == (6, 5, 6)
    assert kinds(found, "left out") == {"the image cannot be decoded": 1}
    assert kinds(found, "look") == {"images with equal bytes under different names": 1}


def test_data_without_anything_is_looked_at_too(tmp_path, text_model):
    assert look(tmp_path, text_model).records == 0
    (tmp_path / "captions.jsonl").write_text('{"image": "a.jpg", "caption": "A dog."}\nnothing\n')
    found = look(tmp_path, text_model)
    assert (found.records, found.samples, found.usable, found.pictures) == (2, 1, 0, None)
    with pytest.raises(DataError, match="no such file"):
        look(tmp_path / "nowhere", text_model)


def test_the_limit_counts_samples(messy, text_model):
    found = look(messy, text_model, limit=5)
    assert (found.samples, found.images) == (5, 5)


def test_memory_does_not_hold_the_captions(tmp_path, text_model, monkeypatch):
    monkeypatch.setattr(sys.modules["fastgoal.checking.audit"], "MEASURED", 50)
    caption, rows = "The caption is long. " * 100, 30_000
    table = pa.table({"image": [f"{i}.jpg" for i in range(rows)], "caption": [f"{caption}{i}" for i in range(rows)]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=500)
    del table
    tracemalloc.start()
    try:
        look(tmp_path, text_model, CheckSettings(images=0, progress=False))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < rows * len(caption) / 2  # a reader holds up to two batches of 4,096 rows
