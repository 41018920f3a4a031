"""What the number of samples costs by itself, whatever the model: seconds and bytes a sample, and so what breaks first.

    python benchmarks/limits.py [--samples 100000 400000] [--json FILE]

Each part in a process of its own, at two sizes, so that the difference is the cost of a sample: looking over the data
(`Source`: every pass reads all captions; ids as hashes), writing a pairs table with seven sentences and 17 regions a
row, reading it in order, keeping it in memory as training does without `--stream`, and the manifest, which is
written again with every shard. Images are named, and not there: nothing of them is read in these parts.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fastgoal.bench.alone import alone
from fastgoal.bench.harness import timed
from fastgoal.data.source import open_source
from fastgoal.pairs import LocalPair, PairsRow, PairsTable, PairsWriter
from fastgoal.regions.region import Region

SENTENCE = "A weathered red boat lies on the sand beside two blue nets and a dog that looks at the water."
SENTENCES, REGIONS = 7, 17


def row(number: int) -> PairsRow:
    """A row of a usual size."""
    size = len(SENTENCE) + 1
    spans = tuple((size * index, size * index + len(SENTENCE)) for index in range(SENTENCES))
    boxes = tuple(
        Region(box=(index, 0.0, 200.0 + index, 150.0), source="detector", score=0.5) for index in range(REGIONS)
    )
    pairs = tuple(LocalPair(sentence=index, region=index, similarity=0.3) for index in range(SENTENCES))
    return PairsRow(
        id=f"sample-{number:010d}",
        image=f"photos/{number:010d}.jpg",
        width=640,
        height=480,
        caption=" ".join([SENTENCE] * SENTENCES),
        sentences=spans,
        regions=boxes,
        pairs=pairs,
    )


def captions(path: Path, samples: int) -> None:
    """A Parquet file of captions."""
    schema = pa.schema({"id": pa.string(), "image": pa.string(), "caption": pa.string()})
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, samples, 50_000):
            rows = [row(number) for number in range(start, min(samples, start + 50_000))]
            columns = {name: [getattr(one, name) for one in rows] for name in schema.names}
            writer.write_table(pa.table(columns, schema=schema))


def survey(folder: str, samples: int) -> dict[str, float]:
    """These are to be called in a process of their own."""
    source = open_source(Path(folder) / f"{samples}.parquet", probe=False)
    return {"seconds": timed(lambda: len(source))}


def write(folder: str, samples: int) -> dict[str, float]:
    def work() -> None:
        with PairsWriter(Path(folder) / f"pairs-{samples}", root=folder, shard_rows=4096) as writer:
            for number in range(samples):
                writer.add(row(number))

    made = timed(lambda: [row(number) for number in range(10_000)]) * samples / 10_000
    return {"seconds": timed(work) - made}


def read(folder: str, samples: int, keep: int | None) -> dict[str, float]:
    table = PairsTable.open(Path(folder) / f"pairs-{samples}", keep=keep)
    return {"seconds": timed(lambda: sum(1 for _ in table))}


def measured(folder: Path, sizes: Sequence[int]) -> dict[str, dict[str, float]]:
    """Microseconds and bytes of memory per sample of each part."""
    for size in sizes:
        captions(folder / f"{size}.parquet", size)
    parts = {
        "looking over the data": ("survey", {}),
        "writing the pairs table": ("write", {}),
        "reading it, one shard in memory": ("read", {"keep": 1}),
        "reading it, all shards in memory": ("read", {"keep": None}),
    }
    found, (few, many) = {}, sizes
    for name, (function, options) in parts.items():
        least, most = (alone(f"benchmarks.limits:{function}", folder=folder, samples=n, **options) for n in sizes)
        found[name] = {
            "microseconds": 1e6 * (most["seconds"] - least["seconds"]) / (many - few),
            "bytes": 2**20 * (most["peak_mib"] - least["peak_mib"]) / (many - few),
        }
    manifest = [(folder / f"pairs-{size}" / "manifest.json").stat().st_size for size in sizes]
    shards = [-(-size // 4096) for size in sizes]
    found["the manifest, per shard"] = {"bytes": (manifest[1] - manifest[0]) / (shards[1] - shards[0])}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, nargs=2, default=[100_000, 400_000], help="two sizes, the smaller first")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = measured(Path(name), options.samples)
    print("| | microseconds a sample | bytes a sample |\n|---|---|---|")
    for part, figures in found.items():
        taken = f"{figures['microseconds']:.1f}" if "microseconds" in figures else ""
        print(f"| {part} | {taken} | {figures['bytes']:,.0f} |")
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
