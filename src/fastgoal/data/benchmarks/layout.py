"""Layouts: a few samples written down as a benchmark's published copy, to rehearse an evaluation without the data.

    write_like("docci/test", folder, draw_samples(ScenesConfig(), "test", 8))
    open_source("docci", root=folder)

File names, JSON fields and folder levels are those that the readers' modules document; a second split is added to the
first. What is written is a rehearsal: its figures say nothing about the benchmark.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from fastgoal.data.benchmarks import dci, docci, full_name, glit100k, sharegpt4v
from fastgoal.data.benchmarks.karpathy import CAPTIONS
from fastgoal.data.samples import Sample
from fastgoal.data.scenes.writer import jpeg
from fastgoal.data.sentences import split_sentences
from fastgoal.errors import DataError
from fastgoal.files import make_folder, write_file

Drawn = tuple[Sample, Image.Image]
_FIRST_SA = 1543972
"""Number of the first photo in GOAL's DCI list."""
_AUTHORS = "../DCI/dataset/densely_captioned_images/dataset/scripts/densely_captioned_images/photos"


def write_like(name: str, folder: str | Path, samples: Iterable[Drawn]) -> int:
    """Write samples with their images into `folder` as the benchmark `name` (`docci`, `docci/train`) lays them out.

    Benchmarks of five captions per image get the sentences of a caption, filled up with the whole.

    Returns: how many images were written.

    Raises:
        DataError: no such benchmark or split, or the disk refuses.
    """
    full = full_name(name)
    if full is None:
        raise DataError("no such benchmark", where=name, mend=f"There are: {', '.join(_WRITERS)}.")
    own, _, split = full.partition("/")
    drawn = list(samples)
    make_folder(Path(folder))
    _WRITERS[own](Path(folder), split, drawn)
    return len(drawn)


def _docci(folder: Path, split: str, drawn: list[Drawn]) -> None:
    file = folder / docci.DESCRIPTIONS
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    numbers = dict.fromkeys((part for parts in docci.SPLITS.values() for part in parts), 0)
    for line in lines:
        numbers[json.loads(line)["split"]] += 1
    for count, (sample, image) in enumerate(drawn):
        part = "qual_test" if split == "test" and count % 51 == 0 else split  # 100 of 5,100, as published
        name = f"{part}_{numbers[part]:05d}"
        numbers[part] += 1
        _image(folder / docci.IMAGES / f"{name}.jpg", image)
        record = {"example_id": name, "split": part, "image_file": f"{name}.jpg", "description": sample.caption}
        lines.append(json.dumps(record))
    write_file(file, "\n".join(lines) + "\n")


def _dci(folder: Path, split: str, drawn: list[Drawn]) -> None:
    base = folder / dci.FOLDER
    make_folder(base / dci.ANNOTATIONS)
    first = len(list((base / dci.ANNOTATIONS).glob("*.json")))
    listed = _listed(folder / dci.TEST_LIST, [])
    for number, (sample, image) in enumerate(drawn, start=first):
        name = f"sa_{_FIRST_SA + number}.jpg"
        _image(base / dci.PHOTOS / name, image)
        record = {
            "short_caption": _sentences(sample)[0],
            "extra_caption": sample.caption,
            "image": name,
            "height": image.height,
            "width": image.width,
            "mask_data": {},
            "mask_keys": [],
        }
        _json(base / dci.ANNOTATIONS / f"{number}-data.json", record)
        listed += [{"filename": f"{_AUTHORS}/{name}", "caption": sample.caption}] * (split == "test")
    if split != "long":
        _json(folder / dci.TEST_LIST, listed)


def _long_dci(folder: Path, split: str, drawn: list[Drawn]) -> None:
    _dci(folder, "long", drawn)


def _urban1k(folder: Path, split: str, drawn: list[Drawn]) -> None:
    make_folder(folder / "Urban1k" / "caption")
    first = len(list((folder / "Urban1k" / "caption").iterdir())) + 1
    for number, (sample, image) in enumerate(drawn, start=first):
        _image(folder / "Urban1k" / "image" / f"{number}.jpg", image)
        write_file(folder / "Urban1k" / "caption" / f"{number}.txt", " ".join(sample.caption.split()))


def _coco(folder: Path, split: str, drawn: list[Drawn]) -> None:
    file = folder / "dataset_coco.json"
    whole = _listed(file, {"images": [], "dataset": "coco"})
    place = "train2014" if split == "train" else "val2014"
    make_folder(folder / "val2014")
    for number, (sample, image) in enumerate(drawn, start=len(whole["images"])):
        cocoid = 42 + number
        name = f"COCO_{place}_{cocoid:012d}.jpg"
        _image(folder / place / name, image)
        record = _captions(sample, number) | {"split": split, "filename": name, "filepath": place, "cocoid": cocoid}
        whole["images"].append(record)
    _json(file, whole)


def _flickr30k(folder: Path, split: str, drawn: list[Drawn]) -> None:
    file = folder / "dataset_flickr30k.json"
    whole = _listed(file, {"images": [], "dataset": "flickr30k"})
    for number, (sample, image) in enumerate(drawn, start=len(whole["images"])):
        name = f"{1000092795 + number}.jpg"
        _image(folder / "flickr30k-images" / name, image)
        whole["images"].append(_captions(sample, number) | {"split": split, "filename": name})
    _json(file, whole)


def _sharegpt4v(folder: Path, split: str, drawn: list[Drawn]) -> None:
    file = folder / sharegpt4v.RECORDS
    records = _listed(file, [])
    if split == "train" and len(records) < sharegpt4v.TEST:
        what = f"the training set begins behind {sharegpt4v.TEST:,} records, and there are {len(records):,}"
        raise DataError(what, where=file, mend="Write sharegpt4v/test first, with as many.")
    for sample, image in drawn:
        name = f"sa_{545504 + len(records)}"
        _image(folder / "sam" / "images" / f"{name}.jpg", image)
        turns = [("human", "<image>\nDescribe the image."), ("gpt", sample.caption)]
        conversations = [{"from": who, "value": text} for who, text in turns]
        records.append({"id": name, "image": f"sam/images/{name}.jpg", "conversations": conversations})
    _json(file, records)


def _glit100k(folder: Path, split: str, drawn: list[Drawn]) -> None:
    records = _listed(folder / glit100k.LIST, [])
    for sample, image in drawn:
        name = f"images/sa_{len(records)}.jpg"
        _image(folder / name, image)
        records.append({"filename": name, "caption": sample.caption})
    _json(folder / glit100k.LIST, records)


_WRITERS: Mapping[str, Callable[[Path, str, list[Drawn]], None]] = {
    "docci": _docci,
    "dci": _dci,
    "long-dci": _long_dci,
    "urban1k": _urban1k,
    "coco": _coco,
    "flickr30k": _flickr30k,
    "sharegpt4v": _sharegpt4v,
    "glit100k": _glit100k,
}


def _captions(sample: Sample, number: int) -> dict[str, Any]:
    """Karpathy's fields of five captions."""
    raws = (_sentences(sample) + [sample.caption] * CAPTIONS)[:CAPTIONS]
    numbers = list(range(CAPTIONS * number, CAPTIONS * (number + 1)))
    sentences = [
        {"tokens": raw.lower().rstrip(".").split(), "raw": raw, "imgid": number, "sentid": sentid}
        for raw, sentid in zip(raws, numbers, strict=True)
    ]
    return {"sentids": numbers, "imgid": number, "sentences": sentences}


def _sentences(sample: Sample) -> list[str]:
    return [sample.caption[slice(*span)] for span in split_sentences(sample.caption)] or [sample.caption]


def _image(path: Path, image: Image.Image) -> None:
    make_folder(path.parent)
    write_file(path, jpeg(image))


def _json(path: Path, value: Any) -> None:
    """One line, as the published files are."""
    make_folder(path.parent)
    write_file(path, json.dumps(value))


def _listed(path: Path, empty: Any) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else empty
