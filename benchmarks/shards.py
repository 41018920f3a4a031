"""Large data in object storage out of small data on a disk: for measuring training that streams.

    python benchmarks/shards.py DATA URL --rows 200000 [--per-shard 1000] [--spread] [--workers 4]

The samples of DATA are dealt out again and again, under new ids, to WebDataset tars `URL/shard-000000.tar`, ... of
which each is made in memory and uploaded. Images are the files' own bytes, never decoded. With `--spread` each
round's captions say their number, so that copies of a sample are not one caption (they stay one picture). A shard is
a function of DATA and its number, and what is at URL in its full size is left alone: interrupted, the same command
continues. URL may be a folder, or anything fsspec knows (`s3://bucket/large`; credentials and end point from the
environment).
"""

import argparse
import io
import json
import tarfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import fsspec

from fastgoal.ahead import look_ahead
from fastgoal.data.samples import Sample
from fastgoal.data.source import Source, open_source
from fastgoal.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Deal:
    """How samples are dealt out to shards. rows: in all. spread: captions say their round."""

    rows: int
    per_shard: int = 1000
    spread: bool = False

    @property
    def shards(self) -> int:
        return -(-self.rows // self.per_shard)

    def numbers(self, shard: int) -> range:
        """The rows of a shard."""
        return range(shard * self.per_shard, min(self.rows, (shard + 1) * self.per_shard))


def tar_of(shard: int, samples: Sequence[Sample], source: Source, deal: Deal) -> bytes:
    """A shard as a tar of `ID.jpg` (or as the image's file is called) and `ID.json` members."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for number in deal.numbers(shard):
            around, index = divmod(number, len(samples))
            sample = samples[index]
            found = source.images.open(sample.image)
            image = found if isinstance(found, bytes) else found.read_bytes()
            caption = f"{sample.caption} This is copy {around}." if deal.spread else sample.caption
            add(tar, f"{number:09d}{Path(sample.image).suffix}", image)
            add(tar, f"{number:09d}.json", json.dumps({"caption": caption}).encode())
    return file.getvalue()


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def upload(source: Source, url: str, deal: Deal, workers: int) -> int:
    """Write the shards that are not there; returns how many bytes went up."""
    store, folder = fsspec.url_to_fs(url)
    store.makedirs(folder, exist_ok=True)
    samples = list(source)

    def put(made: tuple[int, bytes]) -> tuple[int, int]:
        shard, content = made
        place = f"{folder}/shard-{shard:06d}.tar"
        if store.exists(place) and store.size(place) == len(content):
            return len(deal.numbers(shard)), 0
        store.pipe_file(place, content)
        return len(deal.numbers(shard)), len(content)

    sent, tars = 0, ((shard, tar_of(shard, samples, source, deal)) for shard in range(deal.shards))
    with Progress(deal.rows, "upload", "row") as bar:
        for rows, size in look_ahead(put, tars, workers, ahead=workers):
            sent += size
            bar.update(rows)
    return sent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="what `fastgoal match` reads: a folder of scenes, for example")
    parser.add_argument("url", help="folder of the shards: a path, or a URL that fsspec knows")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--per-shard", type=int, default=1000)
    parser.add_argument("--spread", action="store_true", help="tell the copies' captions apart")
    parser.add_argument("--workers", type=int, default=4, help="threads that upload")
    options = parser.parse_args()
    deal = Deal(rows=options.rows, per_shard=options.per_shard, spread=options.spread)
    begin = time.perf_counter()
    sent = upload(open_source(options.data), options.url, deal, options.workers)
    seconds = time.perf_counter() - begin
    print(f"{deal.rows:,} rows in {deal.shards:,} shards; {sent / 2**20:,.0f} MiB sent in {seconds:.1f} s")


if __name__ == "__main__":
    main()
