"""Local copies written by hand from the layouts that are published, without the package's own layout writer."""

import json

from PIL import Image


def picture(path, colour="red"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 8), colour).save(path)


def text(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def docci(root):
    rows = [
        ("qual_dev_00000", "qual_dev", "A dev photo."),
        ("test_00000", "test", "A stone wall. Moss grows on it."),
        ("train_00000", "train", "A red door."),
        ("qual_test_00000", "qual_test", "A metal daisy."),
        ("test_00001", "test", "A cat sits\u2028on a mat."),
    ]
    names = ("example_id", "split", "image_file", "description")
    lines = [json.dumps(dict(zip(names, (i, s, f"{i}.jpg", d), strict=True)), ensure_ascii=False) for i, s, d in rows]
    text(root / "docci_descriptions.jsonlines", "\n".join(lines) + "\n")
    for name, *_ in rows:
        picture(root / "images" / f"{name}.jpg")
    return root


DCI_LONG = {"sa_11.jpg": "Two escalators. ", "sa_12.jpg": "A fountain.", "sa_13.jpg": "", "sa_14.jpg": "A tower."}


def dci(root, base="densely_captioned_images"):
    for number, (name, caption) in enumerate(DCI_LONG.items(), start=8):
        record = {
            "image": name, "short_caption": "Short.", "extra_caption": caption, "height": 8, "width": 12,
            "mask_data": {"0": {"label": "x"}}, "mask_keys": ["0"],
        }  # fmt: skip
        text(root / base / "annotations" / f"{number}-data.json", record)
        picture(root / base / "photos" / name)
    listed = [{"filename": "../DCI/some/where/photos/sa_12.jpg", "caption": "A fountain, as listed."}]
    text(root / "DCI_test.json", listed)
    return root


def urban1k(root):
    for number in (1, 2, 10):
        picture(root / "Urban1k" / "image" / f"{number}.jpg")
        text(root / "Urban1k" / "caption" / f"{number}.txt", f"Street {number} at dusk.\n")
    return root


def sentences(word, count=5):
    return [{"raw": f"{word} {i}.", "tokens": [word, str(i)], "imgid": 0, "sentid": i} for i in range(count)]


def coco(root):
    images = [
        {"filepath": place, "filename": f"COCO_{place}_{number:012d}.jpg", "cocoid": number, "split": split,
         "imgid": 3, "sentids": [15],
         "sentences": sentences(word, count)}
        for place, number, split, word, count in (
            ("val2014", 42, "test", "a dog", 6),
            ("train2014", 9, "train", "a bowl", 5),
            ("val2014", 77, "restval", "a tree", 5),
            ("val2014", 73, "test", "a bike", 5),
        )
    ]  # fmt: skip
    text(root / "dataset_coco.json", {"images": images, "dataset": "coco"})
    for image in images:
        picture(root / image["filepath"] / image["filename"])
    return root


def flickr30k(root):
    images = [
        {
            "sentids": [0, 1, 2, 3, 4],
            "imgid": i,
            "sentences": sentences(word),
            "split": split,
            "filename": f"{i + 7}.jpg",
        }
        for i, (split, word) in enumerate((("train", "two men"), ("test", "a child")))
    ]
    text(root / "dataset_flickr30k.json", {"images": images, "dataset": "flickr30k"})
    for image in images:
        picture(root / "flickr30k-images" / image["filename"])
    return root


def sharegpt4v(root, count=1003):
    records = [
        {
            "id": f"sa_{i}",
            "image": f"sam/images/sa_{i}.jpg",
            "conversations": [
                {"from": "human", "value": "<image>\nWhat?"},
                {"from": "gpt", "value": f"Item\n{i} here."},
            ],
        }
        for i in range(count)
    ]
    text(root / "share-captioner_coco_lcs_sam_1246k_1107.json", records)
    picture(root / "sam" / "images" / "sa_0.jpg")
    first = (root / "sam" / "images" / "sa_0.jpg").read_bytes()
    for i in range(1, count):
        (root / "sam" / "images" / f"sa_{i}.jpg").write_bytes(first)
    return root


def glit100k(root):
    text(root / "glit100k.json", [{"filename": "images/sa_1.jpg", "caption": "A long caption."}])
    picture(root / "images" / "sa_1.jpg")
    return root
