"""`fastgoal bench`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from fastgoal.bench.harness import Bench, Row, describe
from fastgoal.cli.common import Detector, Device, Json, quiet_libraries, write_result
from fastgoal.errors import ConfigError

Rounds = Annotated[int, Parameter(help="How often every side is run, in turn with the others; figures are medians.")]
Numbers = Annotated[tuple[int, ...], Parameter(consume_multiple=True, negative="")]
Picture = Annotated[Path | None, Parameter(help="Draw time and memory over size into this file (.png or .svg).")]

HELP = """Measure what fastgoal does beside the obvious way of doing it, on this machine.

Both sides alternate within one process, and ratios are of neighbouring runs, so they hold on a noisy machine; times do
not. Every benchmark prints a table with what the arithmetic or the hardware allows.

Example: `fastgoal bench eval --items 2000 --gallery 100000`
"""

bench = App(name="bench", help=HELP, help_format="markdown")


@bench.command
def step(
    *,
    model: str = "vit-b-16",
    batch: int = 8,
    rounds: Rounds = 3,
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    compile: bool = False,
    as_released: bool = False,
    device: Device = "cpu",
    json: Json = None,
) -> None:
    """The training step (`goal`, texts of DOCCI's lengths) against the released code's way of doing it.

    Speed beside what the arithmetic allows, memory in processes of their own, how fast samples of photographs are made,
    and how long a training waits for them. Takes about ten minutes on two cores; `--model tiny` takes one.

    Example: `fastgoal bench step --model tiny --batch 16`

    Args:
        model: a CLIP of ViT-B/16's shape with random weights (`vit-b-16`), a local folder, a hub id, or `tiny`.
        batch: samples of a step.
        precision: of our side; the reference runs in float32.
        compile: compile the towers of our side.
        as_released: also against the same with anomaly detection and printing, as released.
    """
    from fastgoal.bench.step import StepBench

    expect_sizes({"--rounds": [rounds]})
    if batch < 2:
        raise ConfigError(f"{batch} samples have no negatives", where="--batch", mend="Give 2 or more.")
    quiet_libraries()
    measured = StepBench(
        model=model,
        batch=batch,
        rounds=rounds,
        device=device,
        precision=precision,
        compile=compile,
        as_released=as_released,
    )
    publish(measured.rows(), json, device)


@bench.command
def match(
    *,
    matcher: str = "tiny",
    scenes: int = 64,
    large: str = "vit-b-16",
    large_scenes: int = 4,
    sam_points: int = 8,
    detector: Detector = None,
    rounds: Rounds = 5,
    device: Device = "cpu",
    json: Json = None,
) -> None:
    """Matching against one image, crop and sentence at a time, and beside the forward passes that it cannot do without.

    And LISM's regions from SAM's low-resolution masks against masks of the image's own size. Takes about four minutes
    on two cores.

    Example: `fastgoal bench match --scenes 32 --large-scenes 0 --sam-points 0`

    Args:
        matcher: the model that is compared with the reference.
        scenes: drawn images of that comparison.
        large: a model of a usual size, beside its bare forward passes only.
        large_scenes: images of that; 0 leaves it out.
        sam_points: points per side of SAM's grid, 32 in use (a random SAM of sam-vit-base's shape: from masks to boxes
            alone, and whole images); 0 leaves it out.
    """
    from fastgoal.bench.masks import lism
    from fastgoal.bench.matching import MatchBench

    expect_sizes({"--scenes": [scenes], "--rounds": [rounds]})
    quiet_libraries()
    measured = MatchBench(
        matcher=matcher,
        scenes=scenes,
        large=large,
        large_scenes=max(0, large_scenes),
        detector=detector,
        rounds=rounds,
        device=device,
    )
    masks = lism(points=sam_points, device=device) if sam_points > 0 else []
    publish([*measured.rows(), *masks], json, device)


@bench.command
def decode(*, width: int = 2000, height: int = 1500, rounds: Rounds = 5, json: Json = None) -> None:
    """Both views of a sample, whole image and crop, from one decode, against a decode for each.

    Example: `fastgoal bench decode --width 4000 --height 3000`

    Args:
        width: of the JPEG, in pixels.
        height: of the JPEG, in pixels.
    """
    from fastgoal.bench.decoding import SHORT_SIDES, decoding

    expect_sizes({"--width": [width], "--height": [height], "--rounds": [rounds]})
    short_sides = tuple(side for side in SHORT_SIDES if side <= height and side * 4 // 3 <= width)
    if not short_sides:
        what, mend = f"{width} x {height} pixels hold no crop to measure", "Make it at least 400 x 300."
        raise ConfigError(what, where="--width, --height", mend=mend)
    publish(decoding(size=(width, height), short_sides=short_sides, rounds=rounds), json)


@bench.command(name="eval")
def evaluate(
    *,
    items: int = 10_200,
    gallery: int = 1_000_000,
    queries: int = 5_000,
    rounds: Rounds = 3,
    json: Json = None,
) -> None:
    """Joint mAP@10 against a loop in Python, retrieval from a million images against the arithmetic, memory, start.

    Takes about five minutes on two cores, and 3 GB of memory; smaller sizes take less.

    Example: `fastgoal bench eval --items 2000 --gallery 100000`

    Args:
        items: images and crops of the joint gallery, and as many texts (DOCCI's test set has 10,200).
        gallery: images of retrieval.
        queries: texts of retrieval.
    """
    from fastgoal.bench.evaluation import Sizes, evaluation

    expect_sizes({"--items": [items], "--gallery": [gallery], "--queries": [queries], "--rounds": [rounds]})
    sizes = Sizes(items=items, gallery=gallery, queries=queries, rounds=rounds)
    publish(evaluation(sizes), json)


@bench.command
def scale(
    *,
    scenes: Numbers = (50, 100, 200, 400),
    gallery: Numbers = (25_000, 50_000, 100_000, 200_000),
    samples: Numbers = (64, 128, 256, 512),
    batches: Numbers = (32, 64, 128, 256),
    rounds: Rounds = 2,
    plot: Picture = None,
    device: Device = "cpu",
    json: Json = None,
) -> None:
    """How time and memory grow with the data (matching, retrieval, training) and with the contrastive batch.

    Fits `seconds = a + b * size` and says how far the points are from that line. Every point is measured in a process
    of its own.

    Example: `fastgoal bench scale --plot scaling.png`

    Args:
        scenes: numbers of drawn scenes to match with the bundled model.
        gallery: numbers of items to retrieve from.
        samples: numbers of samples to train on, multiples of 16.
        batches: samples that are negatives of each other, multiples of 32, with cached gradients.
    """
    from fastgoal.bench.picture import draw, expect_picture
    from fastgoal.bench.scaling import BATCH, MICRO_BATCH, Sizes, scaling

    expect_picture(plot)
    expect_sizes({"--scenes": scenes, "--gallery": gallery, "--rounds": [rounds]})
    expect_sizes({"--samples": samples}, step=BATCH)
    expect_sizes({"--batches": batches}, step=MICRO_BATCH)
    for name, sizes in {"--scenes": scenes, "--gallery": gallery, "--samples": samples, "--batches": batches}.items():
        if len(set(sizes)) < 2 or list(sizes) != sorted(sizes):
            mend = "Give two or more, the smallest first."
            raise ConfigError(f"{list(sizes)} are no sizes to grow over", where=name, mend=mend)
    quiet_libraries()
    growths = scaling(
        Sizes(scenes=scenes, gallery=gallery, samples=samples, batches=batches, rounds=rounds), device=device
    )
    if plot is not None:
        draw(growths, plot)
    publish([row for growth in growths for row in growth.rows()], json, device)


@bench.command
def cost(
    *,
    model: str = "tiny",
    samples: int = 300,
    times: int = 10,
    batch: int = 16,
    device: Device = "cpu",
    json: Json = None,
) -> None:
    """What matching and training will cost here, forecast from small runs and checked on a large one.

    Fits seconds per run, per sample, and per operation of either tower to runs that differ in crops, in tokens and in
    samples; a run TIMES as large says how far off the forecast is. Then what a million samples and more will take, on
    this device. Images are small (drawn scenes, 320 px): add the reading of photographs, which `fastgoal bench step`
    measures. Takes about seven minutes on two cores with `tiny`.

    Example: `fastgoal bench cost --model runs/goal/model --samples 2000 --batch 256 --device cuda`

    Args:
        model: a CLIP of ViT-B/16's shape with random weights (`vit-b-16`), a local folder, a hub id, or `tiny`.
        samples: of the runs that the forecast is fitted to.
        times: as many more has the run that checks it.
        batch: samples of a training step.
    """
    from fastgoal.bench.cost import CostBench

    expect_sizes({"--samples": [samples], "--times": [times]})
    if not 2 <= batch <= samples // 3:
        mend = "Give 2 or more, and at least three times as many --samples."
        raise ConfigError(f"{batch} samples of a step with {samples} of a run", where="--batch", mend=mend)
    quiet_libraries()
    publish(CostBench(model=model, samples=samples, times=times, batch=batch, device=device).rows(), json, device)


@bench.command
def search(
    *,
    images: int = 100_000,
    dims: int = 512,
    queries: int = 200,
    model: str = "vit-b-16",
    scenes: int = 64,
    rounds: Rounds = 3,
    device: Device = "cpu",
    json: Json = None,
) -> None:
    """Search from memory beside the bare product, by the approximate index, and indexing beside its forward passes.

    And the memory of a process that answers queries with the bundled model. Latencies are of one client, without the
    time to embed its text. Takes about five minutes on two cores.

    Example: `fastgoal bench search --images 20000 --scenes 0`

    Args:
        images: vectors that are searched.
        dims: dimensions of each.
        queries: of every latency.
        model: that images are indexed with: a CLIP of ViT-B/16's shape with random weights (`vit-b-16`), a local
            folder, a hub id, or `tiny`.
        scenes: drawn images that are indexed; 0 leaves it out.
    """
    from fastgoal.bench.search import SearchBench

    expect_sizes({"--images": [images], "--dims": [dims], "--queries": [queries], "--rounds": [rounds]})
    quiet_libraries()
    measured = SearchBench(
        images=images,
        dims=dims,
        queries=queries,
        model=model,
        scenes=max(0, scenes),
        rounds=rounds,
        device=device,
    )
    publish(measured.rows(), json, device)


def expect_sizes(given: dict[str, Sequence[int]], step: int = 1) -> None:
    """Refuse numbers that are no multiples of `step`, or below it.

    Raises:
        ConfigError: naming the option.
    """
    for name, values in given.items():
        for value in values:
            if value < step or value % step:
                mend = "Give 1 or more." if step == 1 else f"Give a multiple of {step}."
                raise ConfigError(f"{value} cannot be measured", where=name, mend=mend)


def publish(rows: Sequence[Row], json: Path | None, device: str = "cpu") -> None:
    """Print the table and write it where `--json` says."""
    found = Bench.of(rows, device)
    print(describe(found))
    write_result(json, found.to_json())
