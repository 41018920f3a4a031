"""The whole story on built-in data: scenes -> match -> fine-tune -> evaluate -> report, offline, in some minutes.

The scenes and the learning rate were chosen by the validation retrieval of the base and of plain `global` fine-tuning
alone, before `goal` was run on them.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from fastgoal.data.scenes import ScenesConfig, write_scenes
from fastgoal.data.source import Source, open_source
from fastgoal.report import ReportFiles, ReportInput
from fastgoal.stages import Arm, Experiment, Heading, Mixture, carry_out, publish
from fastgoal.training import TrainConfig

SCENES = ScenesConfig(train=2400, val=400, test=1000, seed=0)
SHORT = ScenesConfig(train=0, val=0, test=500, seed=1, objects=(1, 2), captions="short", contrast=0)
TRAINING = TrainConfig(method="global", epochs=3, batch_size=16, learning_rate=1e-4)
SEEDS = (1337, 1338, 1339)


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much of the story is told: the data, the arms and the seeds."""

    scenes: ScenesConfig
    short: ScenesConfig
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    mixtures: tuple[Mixture, ...] = ()


def _arm(method: str, **settings: object) -> Arm:
    return Arm(name=method, config=TrainConfig.from_mapping({**TRAINING.to_mapping(), "method": method, **settings}))


def quick() -> Size:
    """A smoke of every stage in under a minute: the figures mean nothing."""
    return Size(
        scenes=replace(SCENES, train=96, val=32, test=96),
        short=replace(SHORT, test=48),
        arms=(_arm("global", epochs=1), _arm("goal", epochs=1)),
        seeds=SEEDS[:1],
    )


def normal() -> Size:
    """Plain fine-tuning and `goal`, one seed."""
    return Size(scenes=SCENES, short=SHORT, arms=(_arm("global"), _arm("goal")), seeds=SEEDS[:1])


def full() -> Size:
    """All four methods with three seeds; those that use local pairs once more with the true ones; what goes beyond the
    papers: hard negatives, a gentle token similarity loss, and what is halfway between the base and its fine-tuned
    models."""
    true = [replace(_arm(method), name=f"{method} with true pairs", pairs="true") for method in ("local", "goal")]
    hard = replace(_arm("global", hard_negatives=0.5), name="global with hard negatives")
    gentle = replace(_arm("goal", tsl_stop_gradient=True, tsl_weight=0.1), name="goal, gentle TSL")
    arms = (*(_arm(method) for method in ("global", "local", "no-tsl")), *true, hard, gentle, _arm("goal"))
    mixtures = tuple(Mixture(name=f"{method}, half blended", arm=method) for method in ("global", "goal"))
    return Size(scenes=SCENES, short=SHORT, arms=arms, seeds=SEEDS, mixtures=mixtures)


def demo(out: str | Path, size: Size, *, command: str, progress: bool = True) -> tuple[ReportInput, ReportFiles]:
    """Tell the story in `out`; started again after an interruption, it continues.

    Raises:
        DataError: `out` cannot be written to.
    """
    out = Path(out)
    test = _scenes(out / "scenes", size.scenes, progress)
    experiment = Experiment(
        model="tiny",
        train=test["train"],
        val=test["val"],
        test=test["test"],
        short=_scenes(out / "scenes-short", size.short, progress)["test"],
        arms=size.arms,
        mixtures=size.mixtures,
        seeds=size.seeds,
    )
    record = carry_out(experiment, out, progress=progress)
    return publish(experiment, record, Heading(title="fastgoal demo", commands=[command]), out)


def _scenes(folder: Path, config: ScenesConfig, progress: bool) -> dict[str, Source]:
    """The splits that are not empty."""
    counts = write_scenes(folder, config, progress=progress)["counts"]
    return {split: open_source(folder / split) for split, count in counts.items() if count}
