import json

from fastgoal.checking import CheckSettings, audit, compare
from fastgoal.data.source import open_source


def split(folder, pictures, captions):
    folder.mkdir()
    for name, content in pictures.items():
        (folder / name).write_bytes(content)
    lines = [{"image": name, "caption": caption} for name, caption in zip(pictures, captions, strict=True)]
    (folder / "captions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


def test_what_two_splits_share(tmp_path, truth, text_model):
    photos = [truth.photo(seed, 320, 240) for seed in range(8)]
    train = split(
        tmp_path / "train",
        {f"{i}.jpg": truth.jpeg(photos[i]) for i in range(5)} | {"copy.jpg": truth.jpeg(photos[0])},
        [f"The photo {i} of the garden." for i in range(6)],
    )
    test = split(
        tmp_path / "test",
        {
            "new.jpg": truth.jpeg(photos[6]),
            "same.jpg": truth.jpeg(photos[0]),
            "smaller.jpg": truth.jpeg(photos[3].resize((120, 90))),
            "other.jpg": truth.jpeg(photos[7]),
            "broken.jpg": truth.jpeg(photos[1])[:900],
        },
        ["A new one.", "One more.", "A small one.", "The photo 4 of the garden.", "A broken one."],
    )
    quiet = CheckSettings(progress=False)
    one, other = (audit(open_source(folder), text_model, quiet) for folder in (train, test))
    shared = {found.kind: found for found in compare(one, other)}
    assert {kind: found.count for kind, found in shared.items()} == {
        "test: images that train has too": 1,
        "test: images that look like one of train": 1,
        "test: captions that train has too": 1,
    }
    first, near, caption = (found.examples[0] for found in shared.values())
    assert first.where == f"{test}/captions.jsonl:2, image same.jpg"
    assert first.what == f"shared with {train}/captions.jsonl:1, image 0.jpg"
    assert near.what == f"shared with {train}/captions.jsonl:4, image 3.jpg"
    assert caption.what == f"shared with {train}/captions.jsonl:5, image 4.jpg"
    itself = {found.kind: found.count for found in compare(one, one)}
    assert itself == {"train: images that train has too": 6, "train: captions that train has too": 6}


def test_splits_without_images_in_common_or_at_all(tmp_path, truth, text_model):
    one = split(tmp_path / "one", {"a.jpg": truth.jpeg(truth.photo(0))}, ["The first one."])
    other = split(tmp_path / "other", {"a.jpg": truth.jpeg(truth.photo(1))}, ["The second one."])
    for images in (None, 0):
        settings = CheckSettings(images=images, progress=False)
        both = [audit(open_source(folder), text_model, settings) for folder in (one, other)]
        assert compare(*both) == ()
