"""Write many samples quickly, for measuring what reading them costs: a few scenes, re-sharded under new ids.

    python benchmarks/shards.py scenes/train s3://bucket/shards --rows 200000

The images of any local data are taken in turn, as the bytes they are; every row gets an id and a caption of its own, so
that no two samples are equal. WebDataset tars go to a folder, or to a URL of any protocol that fsspec knows, under the
usual environment. Tars that are there already are passed over, so that a killed run continues.
"""

import argparse
import io
import json
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path

import fsspec

from fastgoal.data.source import open_source


def tar_of(first: int, count: int, images: Sequence[tuple[str, bytes]], captions: Sequence[str]) -> bytes:
    """A tar of `count` samples, from row `first` on. images: suffix and content of each."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for row in range(first, first + count):
            suffix, image = images[row % len(images)]
            caption = f"{captions[row % len(captions)]} Number {row} is on a sign."
            for name, content in ((suffix, image), (".json", json.dumps({"caption": caption}).encode())):
                member = tarfile.TarInfo(f"row-{row:09d}{name}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def read(data: str, limit: int) -> tuple[list[tuple[str, bytes]], list[str]]:
    """Images (suffix and content) and captions of local data."""
    source = open_source(data, limit=limit)
    samples, images = list(source), []
    for sample in samples:
        opened = source.images.open(sample.image)
        content = opened if isinstance(opened, bytes) else opened.read_bytes()
        images.append((Path(sample.image).suffix, content))
    return images, [sample.caption for sample in samples]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="local data whose images are used again and again")
    parser.add_argument("out", help="folder or URL of the tars")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--per-tar", type=int, default=2000)
    parser.add_argument("--limit", type=int, default=20_000, help="different images at most; all are held in memory")
    options = parser.parse_args()
    images, captions = read(options.data, options.limit)
    store, folder = fsspec.core.url_to_fs(options.out)
    store.makedirs(folder, exist_ok=True)
    begin, written = time.perf_counter(), 0
    for first in range(0, options.rows, options.per_tar):
        path = f"{folder}/{first // options.per_tar:06d}.tar"
        if not store.exists(path):
            count = min(options.per_tar, options.rows - first)
            store.pipe_file(path, tar_of(first, count, images, captions))
            written += count
    seconds = time.perf_counter() - begin
    print(f"{written:,} rows written to {options.out} in {seconds:.1f} s; {len(images):,} different images")


if __name__ == "__main__":
    main()
